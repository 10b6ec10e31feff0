"""Getting a dataset: resumable downloads, checksums, safe unpacking, and a look at the result."""

from pcsearch.data.download.getting import Got, get
from pcsearch.data.download.obtaining import GotArchive
from pcsearch.data.download.places import Presence, presence
from pcsearch.data.download.progress import DownloadProgress, Step

__all__ = ["DownloadProgress", "Got", "GotArchive", "Presence", "Step", "get", "presence"]

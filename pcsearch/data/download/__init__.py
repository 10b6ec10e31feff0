"""Get a dataset: download resumably, verify checksums, unpack safely, and open the result."""

from pcsearch.data.download.archive import GotArchive
from pcsearch.data.download.dataset import Got, get_dataset
from pcsearch.data.download.paths import Presence, presence
from pcsearch.fetch import DownloadProgress, FetchStep

__all__ = [
    "DownloadProgress",
    "FetchStep",
    "Got",
    "GotArchive",
    "Presence",
    "get_dataset",
    "presence",
]

"""Files that show the same picture, before any of them is decoded for training.

Near-duplicates are to be on one side of the held-out test part, so they must be known before there
is one. A thumbnail is enough to tell, and of a JPEG it costs a part of decoding the file: its
decoder leaves out the detail. Thumbnails lie in the image cache like any other decoded images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data.cache import Progress, default_cache_folder, ensure_store
from pcsearch.data.dataset import Int64Array
from pcsearch.data.decode import read_image
from pcsearch.data.sources import FileImages

SIDE = 64
"""Of the thumbnails, in pixels."""


@dataclass(frozen=True)
class Thumbnails:
    """The images of files, decoded to no more detail than `SIDE` pixels need."""

    files: FileImages

    @property
    def key(self) -> str:
        return f"thumbnails {self.files.key}"

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """The path of file `index`."""
        return self.files.name(index)

    def image(self, index: int) -> Image.Image:
        """File `index` as RGB, `SIDE` pixels or more along each side where it has as many."""
        return read_image(self.files.root / self.files.names[index], least_side=SIDE)


def same_picture_groups(
    root: Path,
    names: tuple[str, ...],
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Int64Array:
    """[n] group numbers of files: equal for near-duplicates, -1 for those that cannot be read.

    Args:
        root: the folder.
        names: n files relative to it, or absolute.
        cache: the image cache; None takes this machine's own.
        progress: told of thumbnails made, and in all.

    Raises:
        UserError: none can be read; the cache has no room or is not writable.
    """
    store = ensure_store(
        Thumbnails(FileImages.of(root, names)),
        SIDE,
        folder=cache or default_cache_folder(),
        on_bad_image="skip",
        progress=progress,
        waiting=progress,
    )
    groups = np.full(len(names), -1, dtype=np.int64)
    groups[store.kept] = store.twins
    return groups

"""The image sources that several readers share: files on disk and arrays in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data.dataset import UInt8Array
from pcsearch.data.decode import read_image

_MISSING = "missing"


@dataclass(frozen=True)
class FileImages:
    """Image files under one folder.

    Attributes:
        root: the folder.
        names: the files' paths relative to it, with forward slashes.
        key: fingerprint of the folder's real path and of the files' names, sizes and modification
            times; see `of`.
        missing: the files that were not there, by their position in `names`.
    """

    root: Path
    names: tuple[str, ...]
    key: str
    missing: tuple[int, ...] = ()

    @staticmethod
    def of(root: Path, names: Sequence[str]) -> FileImages:
        """The source of these files. A missing file is no error here, but when it is read."""
        digest = hashlib.sha256(f"{root.resolve()}\n".encode("utf-8", "surrogateescape"))
        missing = []
        for index, name in enumerate(names):
            stamp = _stamp(root / name)
            if stamp == _MISSING:
                missing.append(index)
            digest.update(f"{name}\0{stamp}\n".encode("utf-8", "surrogateescape"))
        return FileImages(root, tuple(names), digest.hexdigest(), tuple(missing))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path of file `index`."""
        return str(self.root / self.names[index])

    def image(self, index: int) -> Image.Image:
        """File `index` as RGB; OSError when it cannot be read."""
        return read_image(self.root / self.names[index])


@dataclass(frozen=True)
class ArrayImages:
    """Images held in memory.

    Attributes:
        pixels: uint8 [n, height, width] (grey) or [n, height, width, 3].
        title: what messages call an image, followed by its number.
    """

    pixels: UInt8Array
    title: str

    @property
    def key(self) -> str:
        """Fingerprint of shape and pixels."""
        digest = hashlib.sha256(f"{self.pixels.shape}".encode())
        digest.update(np.ascontiguousarray(self.pixels).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.pixels)

    def name(self, index: int) -> str:
        """For example `digit 17`."""
        return f"{self.title} {index}"

    def image(self, index: int) -> Image.Image:
        """Image `index` as RGB."""
        return Image.fromarray(self.pixels[index]).convert("RGB")


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return _MISSING
    return f"{status.st_size} {status.st_mtime_ns}"

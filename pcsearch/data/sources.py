"""Image sources that several readers share: files, arrays, and big files with many images."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data.dataset import ImageSource, Int64Array, UInt8Array
from pcsearch.data.decode import read_image
from pcsearch.errors import UserError
from pcsearch.printable import encodable

_MISSING = "missing"
_CHUNK_FILES = 1024
_STAT_THREADS = 8  # a shared file system answers slowly, but many requests at once


@dataclass(frozen=True)
class FileImages:
    """Image files under one folder.

    Attributes:
        root: the folder.
        names: the files' paths relative to it, with forward slashes, or absolute.
        key: fingerprint of the folder's real path and of the files' names, sizes and modification
            times.
        missing: positions in `names` of the files that did not exist.
    """

    root: Path
    names: tuple[str, ...]
    key: str
    missing: tuple[int, ...] = ()

    @staticmethod
    def of(root: Path, names: Sequence[str]) -> FileImages:
        """The source of these files. A missing file is an error only when it is read."""
        digest = hashlib.sha256(f"{root.resolve()}\n".encode("utf-8", "surrogateescape"))
        missing: list[int] = []
        chunks = [names[i : i + _CHUNK_FILES] for i in range(0, len(names), _CHUNK_FILES)]
        with ThreadPoolExecutor(min(_STAT_THREADS, max(1, len(chunks)))) as pool:
            for number, stamps in enumerate(pool.map(partial(_stamps, str(root)), chunks)):
                lines = [
                    f"{name}\0{stamp}\n" for name, stamp in zip(chunks[number], stamps, strict=True)
                ]
                digest.update("".join(lines).encode("utf-8", "surrogateescape"))
                start = number * _CHUNK_FILES
                missing += [start + i for i, stamp in enumerate(stamps) if stamp == _MISSING]
        return FileImages(root, tuple(names), digest.hexdigest(), tuple(missing))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path of file `index`."""
        return str(self.root / self.names[index])

    def image(self, index: int) -> Image.Image:
        """File `index` as RGB; OSError if it cannot be read."""
        return read_image(self.root / self.names[index])


@dataclass(frozen=True)
class ArrayImages:
    """Images held in memory.

    Attributes:
        pixels: uint8 [n, height, width] (grey) or [n, height, width, 3].
        title: an image's name in messages, before its number.
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


def image_names(source: ImageSource, rows: Int64Array) -> tuple[str, ...]:
    """Names of these images, `encodable`: paths within their folder, which stay when it moves."""
    if isinstance(source, FileImages):
        return tuple(encodable(source.names[row]) for row in rows)
    return tuple(encodable(source.name(int(row))) for row in rows)


class _Held:
    """Pixels that may be loaded. A copy or a pickle starts without them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pixels: UInt8Array | None = None

    def __reduce__(self) -> tuple[type[_Held], tuple[()]]:
        return _Held, ()


@dataclass(frozen=True, eq=False)
class LoadedImages:
    """Images inside a few big files. The files are read when the first image is needed.

    Opening and pickling are cheap: pixels are neither hashed nor pickled.

    Attributes:
        files: the files.
        load: reads all their images, uint8 [total, height, width, 3], or raises UserError. It is
            pickled, so it must be a function of a module.
        rows: [n] the rows of this source among these images.
        total: number of images in the files when the labels were read.
        title: an image's name in messages, before its number in the files.
        key: fingerprint of the files' real paths, sizes and modification times and of `rows`.
    """

    files: tuple[Path, ...]
    load: Callable[[Sequence[Path]], UInt8Array]
    rows: Int64Array
    total: int
    title: str
    key: str
    _held: _Held = field(default_factory=_Held, init=False, repr=False)

    @staticmethod
    def of(
        files: Sequence[Path],
        load: Callable[[Sequence[Path]], UInt8Array],
        rows: Int64Array,
        total: int,
        title: str,
    ) -> LoadedImages:
        """The source of these rows. See the attributes."""
        digest = hashlib.sha256(f"{total}\n".encode())
        for file in files:
            line = f"{file.resolve()}\0{_stamp(str(file))}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        digest.update(rows.astype("<i8").tobytes())
        return LoadedImages(tuple(files), load, rows, total, title, digest.hexdigest())

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """For example `cifar-10-batches-py, training image 17`."""
        return f"{self.title} {self.rows[index]}"

    def image(self, index: int) -> Image.Image:
        """Image `index` as RGB.

        Raises:
            UserError: the files can no longer be read.
        """
        return Image.fromarray(np.ascontiguousarray(self._pixels()[self.rows[index]]))

    def drop(self) -> None:
        """Free the pixels. The next image reads them again."""
        with self._held.lock:
            self._held.pixels = None

    def _pixels(self) -> UInt8Array:
        with self._held.lock:
            if self._held.pixels is None:
                pixels = self.load(self.files)
                if len(pixels) != self.total:
                    raise UserError(
                        f"{self.files[0].parent} has changed while it was in use: it held "
                        f"{self.total} images and holds {len(pixels)} now. Start the command again."
                    )
                self._held.pixels = pixels
            return self._held.pixels


def _stamps(root: str, names: Sequence[str]) -> list[str]:
    return [_stamp(os.path.join(root, name)) for name in names]  # noqa: PTH118 (twice as fast)


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # ValueError: a zero byte within the name
        return _MISSING
    return f"{status.st_size} {status.st_mtime_ns}"

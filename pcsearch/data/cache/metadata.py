"""A store's metadata, kept beside its pixels with a checksum; and how an image becomes a square."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from pcsearch.io import read_regular

Aspect = Literal["warp", "keep"]
_LONGEST = 100  # times `resize`: at 256 pixels, that is 20 MB in memory before the crop


def resized(image: Image.Image, resize: int, aspect: Aspect) -> Image.Image:
    """A square of side `resize`, by Pillow's antialiased bilinear filter.

    `warp` gives the same pixels as torchvision's Resize((resize, resize)). `keep` gives those of
    Resize(resize), which brings the shorter side to `resize`, and CenterCrop(resize).

    Raises:
        OSError: `keep` would make the longer side over 100 times `resize`. A line of pixels would
            take gigabytes and is no picture.
    """
    width, height = image.size
    size = resize, resize
    if aspect == "keep":
        if width <= height:
            size = resize, int(resize * height / width)
        else:
            size = int(resize * width / height), resize
        if max(size) > _LONGEST * resize:
            raise OSError(
                f"{width} x {height} pixels are too long a strip to crop a square from; "
                "image.aspect=warp squeezes it instead"
            )
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    if size == (resize, resize):
        return image
    # torchvision rounds halves to even, as Python does
    left, top = (round((side - resize) / 2.0) for side in size)
    return image.crop((left, top, left + resize, top + resize))


FORMAT = 4
"""Version of the stores' layout. Stores of other versions are not opened, but listed and evicted.
Raise it also when `pcsearch.data.duplicates` changes: stores hold its results."""
_LARGEST_BYTES = 2**28


@dataclass(frozen=True)
class StoreMeta:
    """A store's metadata.

    Attributes:
        title: where its images come from, for people.
        resize: side of the stored images in pixels.
        aspect: how images were made square.
        source_images: images in the source, readable or not.
        bad_indices: the source's images that could not be read.
        bad: their names in messages.
        file_bytes: size of the pixel file.
        file_mtime_ns: the pixel file's modification time when it was last known to be whole.
        header_checksum: CRC-32 of the pixel file's header.
        block_rows: images in a block of pixels.
        block_checksums: CRC-32 of each block.
        twins_checksum: CRC-32 of the file of near-duplicates.
        prints_checksum: CRC-32 of the file of fingerprints.
        format: the layout's version.
    """

    title: str
    resize: int
    aspect: Aspect
    source_images: int
    bad_indices: tuple[int, ...]
    bad: tuple[str, ...]
    file_bytes: int
    file_mtime_ns: int
    header_checksum: int
    block_rows: int
    block_checksums: tuple[int, ...]
    twins_checksum: int
    prints_checksum: int
    format: int = FORMAT

    @property
    def images(self) -> int:
        """m, the images in the store."""
        return self.source_images - len(self.bad_indices)

    def dump(self) -> bytes:
        """As JSON, with a checksum."""
        facts = asdict(self)
        return json.dumps(facts | {"checksum": _checksum(facts)}).encode()


def read_meta(path: Path) -> StoreMeta | None:
    """The metadata in a file; None if it is missing, damaged or of another version."""
    try:
        facts = json.loads(read_regular(path, _LARGEST_BYTES))
        checksum = facts.pop("checksum")
        if facts["format"] != FORMAT or checksum != _checksum(facts):
            return None
        lists = ("bad_indices", "bad", "block_checksums")
        return StoreMeta(**facts | {name: tuple(facts[name]) for name in lists})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _checksum(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

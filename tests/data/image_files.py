"""Small image folders and sources for the tests of `pcsearch.data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CUB_ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def noise(height: int, width: int, seed: int) -> Image.Image:
    """A smooth random RGB picture: coarse noise, enlarged."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def save_classes(folder: Path, counts: Mapping[str, int], seed: int = 0) -> None:
    """`counts` images of 20 x 24 pixels in a sub-folder a class."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            picture = noise(20, 24, seed * 10_000 + label * 100 + index)
            picture.save(folder / name / f"{index:02}.jpg")


@dataclass(frozen=True)
class ForbiddenImages:
    """A source whose every use is an error."""

    size: int

    @property
    def key(self) -> str:
        raise AssertionError("the source was asked for its key")

    def __len__(self) -> int:
        return self.size

    def name(self, index: int) -> str:
        raise AssertionError("the source was asked for a name")

    def image(self, index: int) -> Image.Image:
        raise AssertionError("the source was asked for an image")


@dataclass(frozen=True)
class CountedImages:
    """Pictures that write down that they were drawn, from whichever process."""

    log: Path
    size: int = 40
    key: str = "counted"

    def __len__(self) -> int:
        return self.size

    def name(self, index: int) -> str:
        return f"picture {index}"

    def image(self, index: int) -> Image.Image:
        with self.log.open("a") as log:
            log.write(f"{index}\n")
        return noise(9, 9, index)


def leftovers(folder: Path) -> list[str]:
    """What lies in a cache folder beside the locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")

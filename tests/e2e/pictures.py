"""Small generated image folders: classes that differ in colour, with much noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"crimson": (190, 90, 90), "emerald": (90, 190, 90), "azure": (90, 90, 190)}
WIDTH, HEIGHT = 44, 36


def save_picture(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    """Noise of which a class's colour is a faint part; JPEG or PNG by the path."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 11, 3)).astype(np.float64)
    pixels = 0.85 * coarse + 0.15 * np.array(colour)
    image = Image.fromarray(pixels.astype(np.uint8)).resize((WIDTH, HEIGHT))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def save_classes(folder: Path, images: int = 20, first: int = 0, classes: int = 3) -> Path:
    """`images` pictures in each of up to three sub-folders; `first` keeps parts apart."""
    for label, (name, colour) in enumerate(list(COLOURS.items())[:classes]):
        for index in range(first, first + images):
            kind = "png" if index % 4 == 0 else "jpg"
            save_picture(folder / name / f"{index:03}.{kind}", colour, 1000 * label + index)
    return folder


def save_parts(folder: Path, train: int = 12, val: int = 4, test: int = 12) -> Path:
    """The same with train/, val/ and test/."""
    first = 0
    for part, images in (("train", train), ("val", val), ("test", test)):
        save_classes(folder / part, images, first)
        first += images
    return folder

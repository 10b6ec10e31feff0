"""Scanned digits of 8 x 8 pixels, part of the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset, Int64Array, Part
from pcsearch.data.sources import ArrayImages
from pcsearch.data.splits import stratified_split

_TEST_FRACTION = 0.2
_SPLIT_SEED = 0
_WHITE = 16  # brightest value of the 4-bit scans


def read(options: DataOptions) -> Dataset:
    """1,797 grey images of 8 x 8 pixels, 10 classes numbered 0 to 9, in the order of the file.

    There is no official split. The test part is a stratified 20 %, always chosen by seed 0.
    """
    table = _table()
    pixels = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / _WHITE)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    split = stratified_split(labels, _TEST_FRACTION, _SPLIT_SEED)
    names = [str(digit) for digit in range(10)]
    chosen = choose_classes(names, options.classes, numbers=range(10))

    def part(rows: Int64Array) -> Part:
        of_chosen, renumbered = rows_of(labels[rows], chosen)
        return Part(ArrayImages(pixels[rows[of_chosen]], "digit"), renumbered)

    return Dataset("digits", tuple(names[i] for i in chosen), part(split.fit), part(split.val))


def _table() -> Int64Array:
    """[1797, 65]: each image's 64 pixels, 0 to 16, then its digit. `digits.txt` has the licence."""
    with (files("pcsearch.data.datasets") / "digits.npz").open("rb") as file:
        table: Int64Array = np.load(file, allow_pickle=False)["table"].astype(np.int64)
    return table


ENTRY = CatalogEntry(
    id="digits",
    title="Optical recognition of handwritten digits",
    classes=10,
    reader=read,
    description="1,797 scanned digits of 8 x 8 pixels; test images are a fixed stratified 20 % "
    "(seed 0).",
    citation="E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI Machine "
    "Learning Repository, 1998. doi:10.24432/C50P49",
    terms="CC BY 4.0",
    homepage="",
    images={"train": 1438, "test": 359},
)

"""The drawn field guide as a dataset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data import fieldguide
from pcsearch.data.classes import choose_classes
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset, Part
from pcsearch.data.fieldguide.options import FieldguideOptions

_TRAIN_FRACTION = 0.6


@dataclass(frozen=True)
class FieldguideImages:
    """Pictures of the field guide, drawn on demand.

    Attributes:
        options: how the guide is drawn.
        pictures: (species, index) of each picture.
    """

    options: FieldguideOptions
    pictures: tuple[tuple[int, int], ...]

    @property
    def key(self) -> str:
        """Fingerprint of options, pictures and the source code that draws them."""
        digest = hashlib.sha256(f"{self.options} {self.pictures}".encode())
        for path in sorted(Path(fieldguide.__file__).parent.glob("*.py")):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        """For example `fieldguide species 3, picture 17`."""
        species, picture = self.pictures[index]
        return f"fieldguide species {species}, picture {picture}"

    def image(self, index: int) -> Image.Image:
        """Picture `index` as RGB."""
        return fieldguide.draw_bird(self.options, *self.pictures[index])[0].convert("RGB")

    def box(self, index: int) -> tuple[float, float, float, float]:
        """The bird's x, y, width, height in pixels. It takes as long as drawing the picture."""
        return fieldguide.draw_bird(self.options, *self.pictures[index])[1]


def read(options: DataOptions) -> Dataset:
    """The first 60 % of each species' pictures train, the others test.

    `boxes` is None because a box costs as much as its picture. Use `FieldguideImages.box`.
    """
    guide = options.fieldguide
    names = fieldguide.species_names(guide)
    chosen = choose_classes(names, options.classes)
    train: list[tuple[int, int, int]] = []
    test: list[tuple[int, int, int]] = []
    images_of_species = fieldguide.images_of_species(guide)
    for label, species in enumerate(chosen):
        pictures = images_of_species[species]
        first_test = min(round(_TRAIN_FRACTION * pictures), pictures - 1)
        for index in range(pictures):
            (train if index < first_test else test).append((label, species, index))

    def part(rows: list[tuple[int, int, int]]) -> Part:
        pictures = tuple((species, index) for _, species, index in rows)
        labels = np.array([label for label, _, _ in rows], dtype=np.int64)
        return Part(FieldguideImages(guide, pictures), labels)

    return Dataset("fieldguide", tuple(names[i] for i in chosen), part(train), part(test))


ENTRY = CatalogEntry(
    id="fieldguide",
    title="Procedural field guide",
    classes=None,
    reader=read,
    description="look-alike bird species drawn from a seed, each image with a box; the first 60 % "
    "of each species' images train, the others test.",
    citation="",
    terms="part of this package, under its licence",
    homepage="",
)

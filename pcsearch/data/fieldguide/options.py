"""The options of the drawn field guide, and the number of images of each species."""

from __future__ import annotations

from dataclasses import dataclass

from pcsearch.errors import UserError

_FEWEST_IMAGES = 3  # one each for training, validation and test


@dataclass(frozen=True)
class FieldguideOptions:
    """Options of the drawn image set. Equal options give equal images, on any machine.

    Args:
        species: number of classes, 2 to 1000.
        images_per_species: images of each class (with `imbalance`, of the commonest), >= 3.
        size: side of the square images in pixels, 32 to 512.
        similarity: 0 = species differ in large marks and colours, 1 = nearly the same bird.
        imbalance: 0 = all species equally common, 1 = a geometric tail down to 3 images.
        seed: chooses the genus, its species and every image.

    Raises:
        UserError: a value is out of range. The text lists all problems, one a line.
    """

    species: int = 20
    images_per_species: int = 80
    size: int = 64
    similarity: float = 0.4
    imbalance: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            _outside("species", self.species, 2, 1000),
            _outside("images_per_species", self.images_per_species, _FEWEST_IMAGES, None),
            _outside("size", self.size, 32, 512),
            _outside("similarity", self.similarity, 0, 1),
            _outside("imbalance", self.imbalance, 0, 1),
            _outside("seed", self.seed, 0, None),
        ]
        found = [problem for problem in problems if problem]
        if found:
            raise UserError("\n".join(found))


def _outside(name: str, value: float, low: int, high: int | None) -> str:
    """The message for a value outside [low, high] or NaN, else an empty string."""
    if value >= low and (high is None or value <= high):
        return ""
    allowed = f"at least {low}" if high is None else f"from {low} to {high}"
    return f"fieldguide: {name} is {value}, but must be {allowed}"


def images_of_species(options: FieldguideOptions) -> tuple[int, ...]:
    """The number of images of each species, the commonest first.

    With n = `images_per_species` and S species, species k has
    n · (3/n)^(imbalance · k / (S - 1)) images, rounded, and at least 3. That is n for all species
    at imbalance 0, and a geometric tail from n down to 3 at imbalance 1.
    """
    commonest = options.images_per_species
    rarest_share = (_FEWEST_IMAGES / commonest) ** options.imbalance
    return tuple(
        max(_FEWEST_IMAGES, round(commonest * rarest_share ** (rank / (options.species - 1))))
        for rank in range(options.species)
    )

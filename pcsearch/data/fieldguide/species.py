"""The differences between species: traits drawn from a seed, and an invented name.

A genus is drawn from the seed, and each species departs from it. `similarity` scales the
departures. So the distance between any two species shrinks smoothly as `similarity` rises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcsearch.data.fieldguide import palettes
from pcsearch.data.fieldguide.options import FieldguideOptions
from pcsearch.data.fieldguide.palettes import Colour


class Purpose(IntEnum):
    """The purpose of a random stream. No two purposes share a stream."""

    GENUS = 0
    SPECIES = 1
    IMAGE = 2
    NAMES = 3


def stream(seed: int, purpose: Purpose, *indices: int) -> np.random.Generator:
    """A generator that depends on its arguments alone."""
    # Not in the entropy: SeedSequence pads that with zeros, so (1, 2) would equal (1, 2, 0).
    key = (int(purpose), len(indices), *indices)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


# They name places, times and temper, never plumage: a name must not contradict the bird.
_ADJECTIVES = """
Alder Amberwood Bleak Boreal Bracken Brisk Coastal Copse Dawn Dell Drifting Eastern Evening
Fallow Fenland Furtive Gentle Glade Harbour Heath Hollow Lantern Lonely Lowland Marsh Meadow
Midland Misty Moorland Orchard Quiet Restless Ridge Riverine Shy Solemn Southern Thicket Upland
Valley Wandering Willow Winter Wistful
"""
_NOUNS = """
Bramblet Briarling Burrlet Catkin Dapplewit Fernlet Flitterling Grasslet Hazelwit Ivywing
Lintlet Mosslet Nettlewing Piplet Quillet Reedwit Rushling Sedgelet Spindlewing Sprigtail
Tanglewit Thistlet Tuftling Twigtail Whinlet Wickerwing
"""


@lru_cache(maxsize=16)
def _ordered_names(seed: int) -> tuple[str, ...]:
    names = [f"{adjective} {noun}" for adjective in _ADJECTIVES.split() for noun in _NOUNS.split()]
    order = stream(seed, Purpose.NAMES).permutation(len(names))
    return tuple(names[position] for position in order)


def species_names(options: FieldguideOptions) -> tuple[str, ...]:
    """One unique name for each species. A name depends only on (seed, species)."""
    return _ordered_names(options.seed)[: options.species]


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traits:
    """Colours (red, green, blue in 0..1), marks (strength 0..1) and proportions of one species."""

    upper: Colour
    wing: Colour
    under: Colour
    face: Colour
    pale: Colour  # bars, rings and edges
    crown: Colour  # cap and crown stripe
    bib: Colour
    breast: Colour  # the breast's patch, band and streaks
    bill: Colour
    legs: Colour

    upper_bar: float
    lower_bar: float
    wing_panel: float
    eye_ring: float
    eyebrow: float
    eye_line: float
    cap: float
    crown_stripe: float
    breast_patch: float
    breast_band: float
    streaks: float
    throat_bib: float
    tail_edges: float
    tail_tip: float

    bill_length: float  # share of the head's diameter
    bill_depth: float
    tail_length: float  # 1 is the genus's mean


# Each row is a place on the body. Each entry is one of its looks: the marks that are on.
LOOKS: tuple[tuple[tuple[str, ...], ...], ...] = (
    ((), ("lower_bar",), ("upper_bar", "lower_bar"), ("wing_panel",)),
    ((), ("eye_ring",), ("eyebrow",), ("eye_line",)),
    ((), ("cap",), ("crown_stripe",)),
    ((), ("breast_patch",), ("breast_band",), ("streaks",)),
    ((), ("throat_bib",)),
    ((), ("tail_edges",), ("tail_tip",)),
)
MARKS: tuple[str, ...] = tuple(
    dict.fromkeys(mark for place in LOOKS for look in place for mark in look)
)
BILLS: tuple[tuple[float, float], ...] = ((0.34, 0.17), (0.36, 0.29), (0.62, 0.17))
_COMBINATIONS = int(np.prod([len(place) for place in LOOKS])) * len(BILLS)
_LEAST_SPREAD = 0.05


def colour_spread(similarity: float) -> float:
    """Share of a species' own colouring that is kept. It falls fast with similarity."""
    return _LEAST_SPREAD + (1 - _LEAST_SPREAD) * math.sqrt((1 - similarity) ** 3)


def mark_spread(similarity: float) -> float:
    """Share of a species' marks and proportions that is kept. It falls late."""
    return _LEAST_SPREAD + (1 - _LEAST_SPREAD) * (1 - similarity**3)


@lru_cache(maxsize=16)
def _looks_order(seed: int) -> tuple[int, ...]:
    return tuple(stream(seed, Purpose.GENUS, 1).permutation(_COMBINATIONS).tolist())


def _looks_of(seed: int, species: int) -> tuple[dict[str, float], tuple[float, float]]:
    """The marks and the bill of a species: a different combination for each (up to 1000)."""
    code = _looks_order(seed)[species]
    marks = dict.fromkeys(MARKS, 0.0)
    for place in LOOKS:
        code, look = divmod(code, len(place))
        marks.update(dict.fromkeys(place[look], 1.0))
    return marks, BILLS[code]


def _colours(
    rng: np.random.Generator,
    plumages: tuple[tuple[Colour, ...], ...],
    accents: tuple[Colour, ...],
) -> dict[str, Colour]:
    def pick(choices: tuple[Colour, ...]) -> Colour:
        return choices[int(rng.integers(len(choices)))]

    plumage = plumages[int(rng.integers(len(plumages)))]
    colours = dict(zip(("upper", "wing", "under", "face"), plumage, strict=True))
    colours |= {"crown": pick(accents), "bib": pick(accents), "breast": pick(accents)}
    return colours | {
        "pale": pick(palettes.PALES),
        "bill": pick(palettes.BILL_COLOURS),
        "legs": pick(palettes.LEGS),
    }


@lru_cache(maxsize=16)
def _genus(seed: int) -> Traits:
    """The traits that all species start from: no marks, mean proportions."""
    rng = stream(seed, Purpose.GENUS, 0)
    bill_length, bill_depth = np.mean(BILLS, axis=0).tolist()
    values: dict[str, Any] = dict.fromkeys(MARKS, 0.0)
    values |= _colours(rng, palettes.PLUMAGES[:5], palettes.ACCENTS[:2])
    values |= {"bill_length": bill_length, "bill_depth": bill_depth, "tail_length": 1.0}
    return Traits(**values)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


@lru_cache(maxsize=1024)
def species_traits(options: FieldguideOptions, species: int) -> Traits:
    """The traits of one species. They depend only on seed, similarity and the species' number."""
    rng = stream(options.seed, Purpose.SPECIES, species)
    genus = _genus(options.seed)
    own, (bill_length, bill_depth) = _looks_of(options.seed, species)
    colours = _colours(rng, palettes.PLUMAGES, palettes.ACCENTS)
    own |= {"bill_length": bill_length, "bill_depth": bill_depth}
    own["tail_length"] = float(rng.uniform(0.8, 1.2))
    share, kept = colour_spread(options.similarity), mark_spread(options.similarity)
    values: dict[str, Any] = {
        name: _mix(getattr(genus, name), colour, share) for name, colour in colours.items()
    }
    for name, value in own.items():
        common = getattr(genus, name)
        values[name] = common + kept * (value - common)
    return Traits(**values)


def trait_vector(traits: Traits) -> Floats:
    """All traits as one vector [30 colour components, 14 marks, 3 proportions]."""
    return np.concatenate([np.atleast_1d(getattr(traits, field.name)) for field in fields(traits)])


def trait_distance(first: Traits, second: Traits) -> float:
    """Euclidean distance between two species' trait vectors."""
    return float(np.linalg.norm(trait_vector(first) - trait_vector(second)))

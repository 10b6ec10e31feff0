"""Invented names for the species: an adjective and a noun, never twice in one guide."""

from __future__ import annotations

from functools import lru_cache

from pcsearch.data.fieldguide.options import FieldguideOptions
from pcsearch.data.fieldguide.seeding import Purpose, stream

# They tell of places, hours and temper, never of plumage: a name must not contradict the bird.
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
    """One unique name a species; a name depends on (seed, species) only."""
    return _ordered_names(options.seed)[: options.species]

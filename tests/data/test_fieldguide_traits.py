"""The field guide's species: unique names and marks, and what the knobs do to them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.data.fieldguide import FieldguideOptions, images_of_species, species_names
from pcsearch.data.fieldguide.drawing import _bird, _mask, _placed
from pcsearch.data.fieldguide.plumage import plumage
from pcsearch.data.fieldguide.pose import Pose
from pcsearch.data.fieldguide.species import (
    MARKS,
    colour_spread,
    mark_spread,
    species_traits,
    trait_distance,
    trait_vector,
)
from pcsearch.errors import UserError

DEFAULT = FieldguideOptions()


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_a_thousand_species_have_a_thousand_names_and_looks(seed: int) -> None:
    options = FieldguideOptions(species=1000, seed=seed)
    names = species_names(options)
    assert len(set(names)) == 1000
    assert all(len(name.split()) == 2 for name in names)
    vectors = np.array([trait_vector(species_traits(options, k)) for k in range(1000)])
    marks_and_bill = np.round(vectors[:, 30:-1], 6)
    assert len(np.unique(marks_and_bill, axis=0)) == 1000


def test_names_and_traits_do_not_depend_on_how_many_species_there_are() -> None:
    many = replace(DEFAULT, species=200)
    assert species_names(many)[:20] == species_names(DEFAULT)
    assert species_traits(many, 11) == species_traits(DEFAULT, 11)
    assert species_names(DEFAULT) != species_names(replace(DEFAULT, seed=1))


@given(seed=st.integers(0, 10**6), first=st.integers(0, 19), second=st.integers(0, 19))
@settings(max_examples=25, deadline=None)
def test_similarity_shrinks_every_distance_but_never_to_nothing(
    seed: int, first: int, second: int
) -> None:
    distances = []
    for similarity in np.linspace(0, 1, 9):
        options = FieldguideOptions(similarity=float(similarity), seed=seed)
        distances.append(
            trait_distance(species_traits(options, first), species_traits(options, second))
        )
    if first == second:
        assert distances == [0.0] * 9
    else:
        assert all(before > after for before, after in pairwise(distances))
        assert distances[-1] > 0
        assert distances[-1] < 0.06 * distances[0]


def test_spreads_by_hand() -> None:
    assert colour_spread(0) == mark_spread(0) == 1
    assert colour_spread(1) == mark_spread(1) == pytest.approx(0.05)
    assert colour_spread(0.75) == pytest.approx(0.05 + 0.95 * 0.125)
    assert mark_spread(0.5) == pytest.approx(0.05 + 0.95 * 0.875)


@pytest.mark.parametrize("mark", MARKS)
def test_each_mark_is_seen_and_only_where_it_belongs(mark: str) -> None:
    """Switching one mark on repaints its own patches, visibly, and nothing far from them."""
    side = 192
    traits = replace(species_traits(DEFAULT, 0), **dict.fromkeys(MARKS, 0.0))
    # Contrasting inks, as a mark in its ground's own colour would rightly be unseen.
    traits = replace(traits, crown=(0.9, 0.2, 0.2), breast=(0.2, 0.2, 0.9), bib=(0.1, 0.1, 0.1))
    marked = replace(traits, **{mark: 1.0})
    figure = _placed(DEFAULT, 0, Pose(), side)
    mask = _mask(figure, side)
    images, outlines = [], []
    for one in (traits, marked):
        patches = plumage(one)
        # The pose is the identity but for scale and shift, so the body plan maps straight.
        body = next(k for k, patch in enumerate(figure.patches) if patch.name == "body")
        source, target = figure.patches[body].outline, figure.outlines[body]
        scale = np.ptp(target[:, 0]) / np.ptp(source[:, 0])
        shift = target.min(axis=0) - scale * source.min(axis=0)
        placed = tuple(patch.outline * scale + shift for patch in patches)
        images.append(
            np.asarray(_bird(replace(figure, patches=patches, outlines=placed), mask, one.legs,
                             (0.0, -1.0)), float)
        )  # fmt: skip
        outlines = [o for patch, o in zip(patches, placed, strict=True) if patch.name == mark]
    change = np.abs(images[1] - images[0]).max(axis=-1)
    change[np.asarray(mask) == 0] = 0
    points = np.concatenate(outlines)
    left, top = np.floor(points.min(axis=0)).astype(int) - 4
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + 5
    inside = change[max(top, 0) : bottom, max(left, 0) : right]
    assert (inside > 40).sum() >= 60  # of 192 × 192 painted, about 7 of 64 × 64 kept
    assert inside.sum() == pytest.approx(change.sum(), rel=0.02)


def test_balanced_counts() -> None:
    assert images_of_species(replace(DEFAULT, images_per_species=7)) == (7,) * 20


def test_imbalanced_counts_by_hand() -> None:
    """n = 48, S = 5: 48 · (1/16)^(k/4) = 48, 24, 12, 6, 3 at 1, and their roots at 1/2."""
    options = FieldguideOptions(species=5, images_per_species=48, imbalance=1.0)
    assert images_of_species(options) == (48, 24, 12, 6, 3)
    half = replace(options, imbalance=0.5)
    assert images_of_species(half) == (48, 34, 24, 17, 12)
    assert images_of_species(replace(options, images_per_species=3)) == (3,) * 5


@given(
    species=st.integers(2, 1000),
    images=st.integers(3, 500),
    imbalance=st.floats(0, 1),
)
@settings(deadline=None)
def test_counts_fall_and_stay_at_three_or_more(species: int, images: int, imbalance: float) -> None:
    counts = images_of_species(
        FieldguideOptions(species=species, images_per_species=images, imbalance=imbalance)
    )
    assert len(counts) == species
    assert counts[0] == images
    assert list(counts) == sorted(counts, reverse=True)
    assert min(counts) >= 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("species", 1),
        ("species", 1001),
        ("images_per_species", 2),
        ("size", 31),
        ("size", 513),
        ("similarity", -0.1),
        ("similarity", float("nan")),
        ("imbalance", 1.5),
        ("seed", -1),
    ],
)
def test_values_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name} is {value}, but must be"):
        replace(DEFAULT, **{name: value})


def test_all_problems_at_once() -> None:
    with pytest.raises(UserError) as caught:
        FieldguideOptions(species=0, size=8)
    assert len(str(caught.value).splitlines()) == 2

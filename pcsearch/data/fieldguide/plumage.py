"""From a species' traits to coloured outlines on the body plan, not yet posed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np

from pcsearch.data.fieldguide import anatomy
from pcsearch.data.fieldguide.anatomy import on_wing
from pcsearch.data.fieldguide.options import FieldguideOptions
from pcsearch.data.fieldguide.outlines import Floats, Points, closed, ellipse, opened, stroke
from pcsearch.data.fieldguide.palettes import Colour
from pcsearch.data.fieldguide.species import Traits, species_traits

_BLACK: Colour = (0.07, 0.06, 0.06)
_WHITE: Colour = (1.0, 1.0, 1.0)


class Layer(Enum):
    """How an outline is painted."""

    BODY = "body"  # part of the bird's outline, and a soft patch
    SOFT = "soft"  # a patch that fades into its surroundings
    CRISP = "crisp"  # a feather edge or a mark
    OUTER = "outer"  # crisp, and part of the bird's outline (tail, bill)


@dataclass(frozen=True)
class Patch:
    """One coloured outline [n, 2] in body units. `wing` patches move with the folded wing."""

    name: str
    layer: Layer
    outline: Floats
    colour: Colour
    opacity: float = 1.0
    wing: bool = False


def toned(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter (factor > 1), kept in 0..1."""
    red, green, blue = (min(1.0, part * factor) for part in colour)
    return red, green, blue


def _body(traits: Traits) -> list[Patch]:
    soft = Layer.SOFT
    belly = closed([(0.2, 0.2), (-0.1, 0.3), (-0.5, 0.4), (-0.4, 0.6), (0.1, 0.62), (0.4, 0.4)])
    patches = [
        Patch("body", Layer.BODY, closed(anatomy.BODY), traits.upper),
        Patch("underparts", soft, closed(anatomy.UNDERPARTS), traits.under),
        Patch("flank", soft, stroke([(0.3, 0.18), (0, 0.3), (-0.4, 0.36)], 0.1, 0.05), traits.face,
              0.35),
        Patch("belly", soft, belly, toned(traits.under, 1.06), 0.7),
        Patch("cheek", soft, closed(anatomy.CHEEK), traits.face, 0.9),
        Patch("breast_patch", soft, closed(anatomy.BREAST), traits.breast, traits.breast_patch),
    ]  # fmt: skip
    for start in np.linspace(0.1, 0.8, 5):
        x, y = 0.28 - 0.75 * start, -0.44 + 0.62 * start
        streak = stroke([(x, y + 0.04), (x - 0.08, y + 0.12)], 0.004, 0.006, 0.03)
        patches.append(Patch("mantle", Layer.CRISP, streak, toned(traits.upper, 0.72), 0.4))
    return patches


def _breast(traits: Traits) -> list[Patch]:
    crisp = Layer.CRISP
    band = stroke(anatomy.BREAST_BAND, 0.16, 0.09)
    patches = [
        Patch("throat_bib", crisp, closed(anatomy.BIB), traits.bib, traits.throat_bib),
        Patch("breast_band", crisp, band, traits.breast, traits.breast_band),
    ]
    for row, y in enumerate((-0.1, 0.0, 0.1, 0.2, 0.3, 0.4)):
        for column in range(3):
            x = 0.56 - 0.1 * column - 0.06 * row - 0.02 * (row % 2)
            mark = stroke([(x, y), (x - 0.035, y + 0.075)], 0.01, 0.014, 0.052)
            patches.append(Patch("streaks", crisp, mark, traits.breast, traits.streaks))
    return patches


def _tail(traits: Traits) -> list[Patch]:
    def at(*points: tuple[float, float]) -> Floats:
        return anatomy.on_tail(points, traits.tail_length)

    def line(across: float) -> Floats:
        return stroke(at((0.1, across * 0.6), (0.6, across), (0.97, across)), 0.01, 0.014)

    outline = at((-0.1, -0.8), (0.4, -0.95), (1, -1), (1.02, -0.3), (0.95, 0), (1.02, 0.3), (1, 1),
                 (0.4, 0.95), (-0.1, 0.8))  # fmt: skip
    edges = (
        at((0.15, -0.75), (1.0, -1.0), (1.0, -0.35), (0.3, -0.5)),
        at((0.15, 0.85), (1.0, 1.0), (1.0, 0.6), (0.3, 0.65)),
    )
    tip = at((0.8, -1.1), (1.1, -1.1), (1.1, 1.1), (0.8, 1.1))
    return [
        Patch("tail", Layer.OUTER, outline, toned(traits.wing, 0.95)),
        *(Patch("tail_feather", Layer.CRISP, line(v), toned(traits.wing, 0.6), 0.8)
          for v in (-0.45, 0.05, 0.5)),
        *(Patch("tail_edges", Layer.CRISP, edge, traits.pale, traits.tail_edges) for edge in edges),
        Patch("tail_tip", Layer.CRISP, tip, traits.pale, traits.tail_tip),
    ]  # fmt: skip


def _wing(traits: Traits) -> list[Patch]:
    def line(points: Points, start: float, end: float, middle: float | None = None) -> Floats:
        return stroke(on_wing(points), start, end, middle)

    def patch(name: str, outline: Floats, colour: Colour, opacity: float) -> Patch:
        return Patch(name, Layer.CRISP, outline, colour, opacity, wing=True)

    dark, light = toned(traits.wing, 0.62), toned(traits.wing, 1.35)
    coverts = closed(
        on_wing(
            [
                (0.0, -0.7),
                (0.16, -1.0),
                (0.3, -0.96),
                (0.37, -0.5),
                (0.385, 0.2),
                (0.33, 0.85),
                (0.18, 1.0),
                (0.05, 0.85),
            ]
        )
    )
    scales = [
        line([(u, v), (u + length, 0.96 * v)], 0.004, 0.008, 0.012)
        for u, length, places in (
            (0.1, 0.07, (-0.5, 0.05, 0.55)),
            (0.24, 0.11, (-0.75, -0.35, 0.05, 0.45)),
        )
        for v in places
    ]
    primaries = on_wing([(0.5, -1), (0.75, -1), (1, -1), (1, 1), (0.85, 1), (0.72, 0.9), (0.6, 0)])
    panel = closed(
        on_wing([(0.44, -0.7), (0.58, -0.8), (0.74, -0.6), (0.76, 0), (0.6, 0.3), (0.46, 0.2)])
    )
    shadow = line([(0.02, -1.0), (0.3, -1.08), (0.6, -1.08), (0.9, -1.05)], 0.01, 0.01, 0.05)
    return [
        patch("wing_shadow", shadow, _BLACK, 0.3),
        patch("wing", anatomy.wing_outline(), traits.wing, 1.0),
        patch("coverts", coverts, toned(traits.upper, 0.92), 0.8),
        *(patch("scale", scale, toned(traits.upper, 1.4), 0.55) for scale in scales),
        patch("primaries", primaries, dark, 0.6),
        *(patch("feather", line([(0.4, v), (0.68, 0.85 * v), (0.97, 0.5 * v)], 0.01, 0.006), edge,
                0.7) for v, edge in ((-0.75, light), (-0.45, dark), (-0.15, light), (0.15, dark),
                                     (0.45, light), (0.75, dark))),
        patch("wing_panel", panel, traits.pale, 0.9 * traits.wing_panel),
        patch("upper_bar", line([(0.2, -0.85), (0.235, -0.1), (0.2, 0.6)], 0.05, 0.03, 0.06),
              traits.pale, traits.upper_bar),
        patch("lower_bar", line([(0.36, -0.95), (0.41, -0.1), (0.37, 0.7)], 0.06, 0.03, 0.075),
              traits.pale, traits.lower_bar),
    ]  # fmt: skip


def _head(traits: Traits) -> list[Patch]:
    crisp = Layer.CRISP
    x, y = anatomy.EYE
    upper_bill, lower_bill = anatomy.bill_outlines(traits.bill_length, traits.bill_depth)
    stripe = stroke([(0.72, -0.56), (0.56, -0.635), (0.4, -0.63), (0.26, -0.52)], 0.05, 0.06, 0.09)
    eyebrow = stroke([(0.72, -0.49), (0.6, -0.55), (0.46, -0.545), (0.3, -0.47)], 0.035, 0.02, 0.06)
    eye_line = stroke([(0.74, -0.44), (x, y), (0.46, -0.46), (0.32, -0.4)], 0.05, 0.02, 0.07)
    return [
        Patch("cap", crisp, closed(anatomy.CAP), traits.crown, traits.cap),
        Patch("crown_stripe", crisp, stripe, traits.crown, traits.crown_stripe),
        Patch("eyebrow", crisp, eyebrow, traits.pale, traits.eyebrow),
        Patch("eye_line", crisp, eye_line, _BLACK, 0.9 * traits.eye_line),
        Patch("eye_ring", crisp, ellipse(x, y, 0.09, 0.085), traits.pale, traits.eye_ring),
        Patch("eye", crisp, ellipse(x, y, 0.05, 0.048), _BLACK),
        Patch("glint", crisp, ellipse(x + 0.015, y - 0.018, 0.015, 0.014), _WHITE, 0.9),
        Patch("bill", Layer.OUTER, lower_bill, toned(traits.bill, 1.15)),
        Patch("bill", Layer.OUTER, upper_bill, traits.bill),
        Patch("gape", crisp, stroke(opened([(0.7, -0.425), (0.8, -0.425)]), 0.01, 0.004), _BLACK,
              0.4),
    ]  # fmt: skip


def plumage(traits: Traits) -> tuple[Patch, ...]:
    """All outlines of a bird with these traits, in painting order."""
    patches = [*_body(traits), *_tail(traits), *_breast(traits), *_wing(traits), *_head(traits)]
    return tuple(patch for patch in patches if patch.opacity > 0)


@lru_cache(maxsize=256)
def species_plumage(options: FieldguideOptions, species: int) -> tuple[Patch, ...]:
    """The plumage of one species of the guide."""
    return plumage(species_traits(options, species))

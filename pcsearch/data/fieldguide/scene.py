"""The scene around a bird: a soft background, the perch, and twigs and leaves in front."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pcsearch.data.fieldguide import palettes
from pcsearch.data.fieldguide.outlines import Floats, closed, stroke
from pcsearch.data.fieldguide.palettes import Colour
from pcsearch.data.fieldguide.plumage import toned

_COARSE = 32  # pixels; the background is painted this small and enlarged, so it is out of focus


@lru_cache(maxsize=4096)
def ink(colour: Colour, opacity: float = 1.0) -> tuple[int, int, int, int]:
    """A colour as the painter's red, green, blue and alpha bytes."""
    red, green, blue = (round(255 * part) for part in colour)
    return red, green, blue, round(255 * opacity)


def fill(
    painter: ImageDraw.ImageDraw, outline: Floats, colour: Colour, opacity: float = 1.0
) -> None:
    """Paint a polygon given in pixels [n, 2]."""
    painter.polygon(outline.ravel().tolist(), fill=ink(colour, opacity))


def background(rng: np.random.Generator, side: int) -> Image.Image:
    """Sky, middle distance and ground, blended into each other, with blurred foliage."""
    three = np.array(palettes.BACKGROUNDS[int(rng.integers(len(palettes.BACKGROUNDS)))])
    three = np.clip(three * rng.uniform(0.8, 1.1), 0, 1)
    height = np.linspace(0, 1, 8)[:, None] + rng.normal(0, 0.16, (8, 8))
    stops = np.sort(rng.uniform((0.0, 0.35, 0.7), (0.2, 0.6, 1.0)))
    mixed = np.stack([np.interp(height, stops, three[:, band]) for band in range(3)], axis=-1)
    image = Image.fromarray((255 * mixed).astype(np.uint8)).resize(
        (_COARSE, _COARSE), Image.Resampling.BICUBIC
    )
    painter = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(rng.integers(3, 9))):
        x, y, radius, tone = rng.random(4).tolist()
        colour = toned(_pick(rng, palettes.LEAVES), 0.8 + 0.7 * tone)
        reach = 2 + 4 * radius
        box = (x * _COARSE - reach, y * _COARSE - reach, x * _COARSE + reach, y * _COARSE + reach)
        painter.ellipse(box, fill=ink(colour, 0.2 + 0.3 * tone))
    soft = image.filter(ImageFilter.GaussianBlur(1.6))
    return soft.resize((side, side), Image.Resampling.BILINEAR)


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


@dataclass(frozen=True)
class Perch:
    """A branch through `point` [2] (pixels), at `angle` radians, `thickness` pixels."""

    point: Floats
    angle: float
    thickness: float
    bark: Colour

    def at(self, along: float, across: float = 0.0) -> tuple[float, float]:
        """The pixel `along` the branch from its point, and `across` it (down is positive)."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        x, y = self.point.tolist()
        return x + along * cosine - across * sine, y + along * sine + across * cosine


def random_perch(rng: np.random.Generator, feet: Floats, unit: float) -> Perch:
    """A branch under the feet [2, 2]; `unit` is the pixels in a body unit."""
    angle, thickness = rng.uniform((-0.2, 0.07), (0.2, 0.15)).tolist()
    down = np.array([0.0, 0.3 * thickness * unit])
    return Perch(feet.mean(axis=0) + down, angle, thickness * unit, _pick(rng, palettes.BARK))


def paint_perch(
    painter: ImageDraw.ImageDraw, rng: np.random.Generator, perch: Perch, side: int
) -> None:
    """The branch from edge to edge, lit from above, with side twigs and leaves."""
    bends = rng.uniform(-0.5, 0.5, 2) * perch.thickness
    ends = rng.uniform(0.55, 1.3, 2) * perch.thickness
    line = [perch.at(-1.5 * side, 2 * bends[0]), perch.at(-0.5 * side, bends[0]), perch.at(0),
            perch.at(0.5 * side, bends[1]), perch.at(1.5 * side, 2 * bends[1])]  # fmt: skip
    for _ in range(int(rng.integers(0, 4))):
        start, turn, length = rng.uniform((-0.5, 0.3, 0.12), (0.5, 1.2, 0.4)).tolist()
        up = -1 if rng.random() < 0.5 else 1
        x, y = perch.at(start * side)
        heading = perch.angle + up * turn + (math.pi if start < 0 else 0.0)
        _twig(painter, rng, (x, y), heading, length * side, perch, leafy=rng.random() < 0.7)
    fill(painter, stroke(line, ends[0], ends[1], perch.thickness), toned(perch.bark, 0.72))
    lifted = [(x, y - 0.16 * perch.thickness) for x, y in line]
    fill(painter, stroke(lifted, 0.6 * ends[0], 0.6 * ends[1], 0.6 * perch.thickness), perch.bark)
    lifted = [(x, y - 0.28 * perch.thickness) for x, y in line]
    highlight = stroke(lifted, 0.2 * ends[0], 0.2 * ends[1], 0.2 * perch.thickness)
    fill(painter, highlight, toned(perch.bark, 1.3), 0.8)


def _twig(
    painter: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    root: tuple[float, float],
    heading: float,
    length: float,
    perch: Perch,
    *,
    leafy: bool,
) -> None:
    bend = float(rng.uniform(-0.4, 0.4))
    points = [root]
    for step in range(3):
        angle = heading + bend * step
        x, y = points[-1]
        points.append((x + length / 3 * math.cos(angle), y + length / 3 * math.sin(angle)))
    width = 0.3 * perch.thickness
    fill(painter, stroke(points, width, 0.3 * width), toned(perch.bark, 0.85))
    if leafy:
        colour = _pick(rng, palettes.LEAVES)
        for point, turn in zip(points[1:], (0.7, -0.7, 0.1), strict=True):
            _paint_leaf(painter, point, heading + bend + turn, 0.35 * length, colour)


def _paint_leaf(
    painter: ImageDraw.ImageDraw,
    root: tuple[float, float],
    heading: float,
    length: float,
    colour: Colour,
) -> None:
    """A pointed leaf growing from `root`, with a lighter half and a midrib."""
    cosine, sine = math.cos(heading), math.sin(heading)

    def at(along: float, across: float) -> tuple[float, float]:
        x, y = along * length, across * length
        return root[0] + cosine * x - sine * y, root[1] + sine * x + cosine * y

    whole = [at(0, 0), at(0.3, 0.2), at(0.65, 0.17), at(1, 0), at(0.65, -0.17), at(0.3, -0.2)]
    fill(painter, closed(whole, 4), toned(colour, 0.85))
    half = [at(0, 0), at(0.3, -0.19), at(0.65, -0.16), at(1, 0), at(0.5, 0.01)]
    fill(painter, closed(half, 4), toned(colour, 1.1))
    fill(painter, stroke([at(-0.15, 0), at(0.5, 0.01), at(1, 0)], 0.05 * length, 0.015 * length),
         toned(colour, 0.65))  # fmt: skip


def paint_occluders(
    painter: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    box: tuple[float, float, float, float],
    perch: Perch,
) -> None:
    """Up to three leaves, grass blades or twigs across the bird's box (pixels)."""
    left, top, width, height = box
    reach = max(width, height)
    for _ in range(int(rng.choice(4, p=(0.4, 0.4, 0.15, 0.05)))):
        x, y, angle, length, kind = rng.random(5).tolist()
        point = (left + width * x, top + height * y)
        if kind < 0.5:
            colour = _pick(rng, palettes.LEAVES)
            _paint_leaf(painter, point, 2 * math.pi * angle, (0.16 + 0.2 * length) * reach, colour)
            continue
        lean = 0.9 * (angle - 0.5)
        base = (point[0] - lean * 0.9 * reach, point[1] + 0.9 * reach)
        tip = (point[0] + lean * 0.3 * reach, point[1] - (0.05 + 0.5 * length) * reach)
        colour = _pick(rng, palettes.LEAVES) if kind < 0.8 else perch.bark
        fill(painter, stroke([base, point, tip], 0.05 * reach, 0.006 * reach), toned(colour, 0.95))

"""Smooth outlines: Catmull-Rom splines, tapered strokes and ellipses as polygons [n, 2]."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Points = Sequence[tuple[float, float]]

_BASIS = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], float)


@lru_cache(maxsize=8)
def _weights(steps: int) -> Floats:
    """Uniform Catmull-Rom weights of the four control points [steps, 4], t = 0 .. 1 - 1/steps."""
    powers = (np.arange(steps) / steps)[:, None] ** np.arange(4)
    weights: Floats = powers @ _BASIS
    return weights


def _segments(padded: Floats, steps: int) -> Floats:
    quads = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)
    curve: Floats = (_weights(steps) @ quads).reshape(-1, 2)
    return curve


def closed(points: Points | Floats, steps: int = 5) -> Floats:
    """The closed Catmull-Rom spline through `points`, `steps` vertices a segment."""
    ring = np.asarray(points, float)
    return _segments(np.concatenate([ring[-1:], ring, ring[:2]]), steps)


def opened(points: Points | Floats, steps: int = 5) -> Floats:
    """The open Catmull-Rom spline from the first point to the last."""
    line = np.asarray(points, float)
    padded = np.concatenate([2 * line[:1] - line[1:2], line, 2 * line[-1:] - line[-2:-1]])
    return np.concatenate([_segments(padded, steps), line[-1:]])


def stroke(
    points: Points | Floats, start: float, end: float, middle: float | None = None
) -> Floats:
    """A brush stroke along a spline, with its widths at the start, the middle and the end."""
    line = opened(points)
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[[0, -1]] = line[[1, -1]] - line[[0, -2]]
    middle = (start + end) / 2 if middle is None else middle
    last = len(line) - 1
    width = np.interp(np.arange(last + 1), (0, last / 2, last), (start, middle, end))
    half = along[:, ::-1] * (-0.5, 0.5)
    half *= (width / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9))[:, None]
    return np.concatenate([line + half, (line - half)[::-1]])


def ellipse(x: float, y: float, radius_x: float, radius_y: float, turn: float = 0.0) -> Floats:
    """An ellipse of 18 vertices about (x, y), turned by `turn` radians."""
    angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    flat = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1)
    cosine, sine = np.cos(turn), np.sin(turn)
    turned: Floats = flat @ np.array([[cosine, sine], [-sine, cosine]]) + (x, y)
    return turned

"""A bird's pose: turns of body, head, tail and wing, its size and its place in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcsearch.data.fieldguide import anatomy
from pcsearch.data.fieldguide.outlines import Floats


@dataclass(frozen=True)
class Pose:
    """A pose: turns in radians (clockwise on screen), all else as shares.

    Attributes:
        tilt, head, tail, wing: turns of the whole bird and of its parts.
        width: foreshortening of the bird's length (1 is a pure side view).
        plump: height of the body over the body plan's.
        leg: length of the visible leg in body units.
        faces_left: mirrored.
        fill: the longer side of the bird's box as a share of the picture's side.
        place: position of the box in the free room, 0..1 from left and from top.
    """

    tilt: float = 0.0
    head: float = 0.0
    tail: float = 0.0
    wing: float = 0.0
    width: float = 1.0
    plump: float = 1.0
    leg: float = 0.2
    faces_left: bool = False
    fill: float = 0.92
    place: tuple[float, float] = (0.5, 0.5)


def random_pose(rng: np.random.Generator) -> Pose:
    """A random pose for one picture."""
    tilt, head, tail, wing = rng.uniform(-1, 1, 4).tolist()
    width, plump, leg, fill = rng.random(4).tolist()
    x, y = rng.random(2).tolist()
    return Pose(
        tilt=0.06 + 0.22 * tilt,
        head=0.22 * head - 0.1 * tilt,  # a tilted bird keeps its head level
        tail=0.25 * tail,
        wing=0.07 * wing,
        width=0.86 + 0.14 * width,
        plump=0.94 + 0.14 * plump,
        leg=0.14 + 0.12 * leg,
        faces_left=bool(rng.random() < 0.5),
        fill=0.74 + 0.2 * fill,
        place=(x, y),
    )


def _eased(value: Floats) -> Floats:
    clipped = np.clip(value, 0.0, 1.0)
    return clipped * clipped * (3 - 2 * clipped)


@dataclass(frozen=True)
class Rig:
    """Points of the body plan [n, 2], and how far each one follows head, tail and wing [n]."""

    points: Floats
    head: Floats
    tail: Floats
    wing: Floats


def rig(points: Floats, wing: Floats) -> Rig:
    """Weights by position, smooth along the neck and the tail's root; `wing` is 0 or 1."""
    x, y = points.T
    body = 1 - wing
    towards_head = (x - 0.18) * 0.6 + (-0.08 - y) * 0.8
    towards_tail = (-0.36 - x) * 0.8 + (y - 0.16) * 0.6
    return Rig(points, body * _eased(towards_head / 0.28), body * _eased(towards_tail / 0.24), wing)


def _turned(points: Floats, about: tuple[float, float], angles: Floats | float) -> Floats:
    x, y = (points - about).T
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.stack([cosine * x - sine * y + about[0], sine * x + cosine * y + about[1]], axis=1)


def posed(rigged: Rig, pose: Pose) -> Floats:
    """The points [n, 2] after all turns, still in body units."""
    points = _turned(rigged.points, anatomy.NECK, pose.head * rigged.head)
    points = _turned(points, anatomy.TAIL_ROOT, pose.tail * rigged.tail)
    points = _turned(points, anatomy.SHOULDER, pose.wing * rigged.wing)
    points = points * (1.0, pose.plump)
    points = _turned(points, (0.0, 0.0), pose.tilt)
    points *= (-pose.width if pose.faces_left else pose.width, 1.0)
    return points


def feet(hips: Floats, pose: Pose) -> Floats:
    """Positions of the toes on the perch [2, 2]: below the posed hips, a little forward."""
    forward = -0.05 if pose.faces_left else 0.05
    level = hips[:, 1].mean() + pose.leg
    return np.stack([hips[:, 0] + forward, np.full(len(hips), level)], axis=1)


def placement(outline: Floats, pose: Pose, side: float) -> tuple[float, Floats]:
    """Scale (pixels per body unit) and shift [2] that put the outline's box into the picture."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    extent = high - low
    scale = float(pose.fill * side / extent.max())
    margin = 0.02 * side
    room = np.maximum(side - scale * extent - 2 * margin, 0.0)
    return scale, margin + room * np.array(pose.place) - scale * low

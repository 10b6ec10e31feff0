"""The body plan of every species, facing right, in body units (x right, y down).

The bird is about two units long. A folded wing has its own coordinates: u runs from the shoulder
(0) to the wing's tip (1), v from the lower edge (-1) to the upper edge (1).
"""

from __future__ import annotations

import numpy as np

from pcsearch.data.fieldguide.outlines import Floats, Points, closed

NECK = (0.36, -0.26)  # where the head turns
TAIL_ROOT = (-0.48, 0.27)
SHOULDER = (0.36, -0.04)
EYE = (0.585, -0.475)
HIPS = ((0.02, 0.44), (0.14, 0.41))

BODY: Points = (
    (0.735, -0.44), (0.69, -0.56), (0.58, -0.645), (0.44, -0.65), (0.32, -0.57), (0.22, -0.42),
    (0.07, -0.24), (-0.16, -0.06), (-0.38, 0.12), (-0.56, 0.25), (-0.60, 0.36), (-0.46, 0.44),
    (-0.24, 0.51), (0.00, 0.53), (0.22, 0.46), (0.41, 0.31), (0.54, 0.11), (0.60, -0.09),
    (0.625, -0.24), (0.69, -0.345),
)  # fmt: skip
UNDERPARTS: Points = (
    (0.80, -0.38), (0.66, -0.37), (0.50, -0.30), (0.42, -0.14), (0.36, 0.06), (0.16, 0.20),
    (-0.16, 0.28), (-0.44, 0.36), (-0.66, 0.40), (-0.46, 0.60), (0.00, 0.70), (0.45, 0.50),
    (0.75, 0.10),
)  # fmt: skip
CHEEK: Points = ((0.72, -0.43), (0.58, -0.45), (0.42, -0.44), (0.36, -0.34), (0.46, -0.27),
                 (0.62, -0.30))  # fmt: skip
CAP: Points = (
    (0.80, -0.46), (0.70, -0.515), (0.56, -0.545), (0.42, -0.52), (0.30, -0.44), (0.20, -0.46),
    (0.24, -0.62), (0.42, -0.76), (0.62, -0.74), (0.76, -0.62),
)  # fmt: skip
BIB: Points = ((0.78, -0.36), (0.66, -0.365), (0.56, -0.30), (0.50, -0.17), (0.56, -0.08),
               (0.70, -0.10), (0.76, -0.24))  # fmt: skip
BREAST: Points = ((0.70, -0.16), (0.52, -0.14), (0.42, 0.00), (0.36, 0.16), (0.40, 0.32),
                  (0.56, 0.30), (0.70, 0.06))  # fmt: skip
BREAST_BAND: Points = ((0.66, -0.08), (0.54, -0.03), (0.43, -0.02), (0.36, 0.02))

_WING_TIP = (-0.80, 0.44)
_AXIS = np.subtract(_WING_TIP, SHOULDER)
_NORMAL = np.array([_AXIS[1], -_AXIS[0]]) / np.hypot(*_AXIS) * -1.0
_HALF_WIDTH = ((0.0, 0.1, 0.25, 0.45, 0.65, 0.8, 0.92, 1.0),
               (0.09, 0.16, 0.205, 0.185, 0.12, 0.075, 0.045, 0.012))  # fmt: skip


def on_wing(points: Points) -> Floats:
    """Wing coordinates (u, v) to body units [n, 2]."""
    along, across = np.asarray(points, float).T
    half = np.interp(along, *_HALF_WIDTH)
    placed: Floats = SHOULDER + along[:, None] * _AXIS - (across * half)[:, None] * _NORMAL
    return placed


def wing_outline() -> Floats:
    """The folded wing's outline."""
    lower = [(u, -1.0) for u in (0.0, 0.12, 0.28, 0.45, 0.62, 0.8, 1.0)]
    upper = [(u, 1.0) for u in (0.92, 0.75, 0.55, 0.35, 0.18, 0.05)]
    return closed(on_wing(lower + upper))


def on_tail(points: Points, length: float) -> Floats:
    """Tail coordinates (0..1 from root to tip, -1..1 from lower to upper edge) to body units."""
    along, across = np.asarray(points, float).T
    axis = np.array([-0.51, 0.36]) * length
    normal = np.array([axis[1], -axis[0]]) / np.hypot(*axis) * -1.0
    half = 0.085 + 0.04 * along
    placed: Floats = TAIL_ROOT + along[:, None] * axis + (across * half)[:, None] * -normal
    return placed


def bill_outlines(length: float, depth: float) -> tuple[Floats, Floats]:
    """The upper and the lower mandible. Sizes are shares of the head's diameter (0.48)."""
    reach, half = 0.48 * length, 0.48 * depth / 2
    x, y = 0.70, -0.43
    upper = [(x, y - half), (x + 0.45 * reach, y - 0.8 * half), (x + 0.85 * reach, y - 0.1 * half),
             (x + reach + 0.03, y + 0.45 * half), (x + 0.5 * reach, y + 0.25 * half),
             (x, y + 0.25 * half)]  # fmt: skip
    lower = [(x, y + 0.2 * half), (x + 0.5 * reach, y + 0.2 * half),
             (x + 0.93 * reach, y + 0.4 * half), (x + 0.5 * reach, y + 0.8 * half),
             (x, y + 1.1 * half)]  # fmt: skip
    return closed(upper, 4), closed(lower, 4)

"""Pixels of more than 8 bits: whether their values span the range that becomes 8 bits.

A file does not say which value is white. 16-bit pixels keep their high byte, and float pixels count
as 0 to 255, as in torchvision. So 12-bit values in 16 bits, or floats from 0 to 1, would come out
black. No image is scaled by its own range: this would remove what its brightness says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WHITE = {"16-bit": 65535, "32-bit": 65535, "float": 255}
"""The value that becomes white, by kind. Whole numbers of 32 bits are read as if they had 16."""
_LEAST_SHARE = 0.25
"""Share of the range that the brightest pixel of a dataset must reach: 14-bit values do not."""


@dataclass(frozen=True)
class PixelRange:
    """The values of an image of more than 8 bits.

    Attributes:
        kind: `16-bit`, `32-bit` (whole numbers) or `float`.
        least, most: its smallest and its largest value.
    """

    kind: str
    least: float
    most: float


def range_fault(found: Sequence[tuple[str, PixelRange]], images: int) -> str | None:
    """What is wrong with the values of a dataset's deep images together, and the remedy, or None.

    Args:
        found: name and values of each image of more than 8 bits.
        images: number of all images.
    """
    faults = []
    for kind, white in _WHITE.items():
        own = [(name, one) for name, one in found if one.kind == kind]
        if not own:
            continue
        least, most = min(one.least for _, one in own), max(one.most for _, one in own)
        if round(least) >= 0 and white * _LEAST_SHARE <= most and round(most) <= white:
            continue
        effect = "nearly black" if round(least) >= 0 and most <= white else "cut off"
        faults.append(
            f"{len(own):,} of {images:,} images have {kind} pixels with values from "
            f"{_number(least)} to {_number(most)} ({own[0][0]}). They are read as 0 to {white:,}, "
            f"so they would come out {effect}. {_remedy(kind, least, most)} Use the same numbers "
            "for all images, training and test alike."
        )
    return " ".join(faults) or None


def _remedy(kind: str, least: float, most: float) -> str:
    """How to save such images with 8 bits."""
    if kind != "float" and least >= 0 and most <= _WHITE[kind]:
        divisor = 2 ** max(0, int(most).bit_length() - 8)
        by = f"Divide their values by {divisor} and save" if divisor > 1 else "Save"
        return f"{by} them as 8-bit images."
    if least >= 0 and most <= 1:
        return "Multiply their values by 255 and save them as 8-bit images."
    return (
        f"Save them as 8-bit images of the values (v - {_number(least)}) * 255 / "
        f"({_number(most)} - {_number(least)})."
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:.4g}"

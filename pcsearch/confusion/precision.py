"""The precision in which losses and measures are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32 if they are fp16 or bf16 (as under autocast), else unchanged.

    Differences of nearly equal probabilities lose all their digits in 8 or 11 bits.
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

"""Mixed precision: where it applies, and how its outputs are widened again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocast(device: torch.device | str, amp: bool) -> AbstractContextManager[object]:
    """bfloat16 autocast on CUDA if `amp`; elsewhere nothing."""
    if amp and torch.device(device).type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def wide(logits: Tensor) -> Tensor:
    """Half-precision logits as float32; others as they are."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits

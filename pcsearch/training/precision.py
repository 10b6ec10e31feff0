"""Mixed precision: where it applies."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device | str, amp: bool) -> AbstractContextManager[object]:
    """bfloat16 autocast on CUDA if `amp`; otherwise no change."""
    if amp and torch.device(device).type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()

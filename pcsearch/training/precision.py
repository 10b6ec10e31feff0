"""Mixed precision: where it applies."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from pcsearch.training.config import AmpName


def autocast(device: torch.device | str, amp: AmpName) -> AbstractContextManager[object]:
    """bfloat16 autocast on CUDA if `amp`, on CPUs if `amp` is "cpu"; otherwise no change."""
    kind = torch.device(device).type
    if (amp and kind == "cuda") or (amp == "cpu" and kind == "cpu"):
        return torch.autocast(kind, dtype=torch.bfloat16)
    return nullcontext()

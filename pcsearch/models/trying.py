"""One forward pass, to see before a campaign whether a network takes images of a size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGES = 2


def failed_pass(module: nn.Module, num_classes: int, crop: int, *, training: bool) -> str | None:
    """Why black images `[2, 3, crop, crop]` do not become logits `[2, num_classes]`, on a line;
    None where they do.

    In training, `(logits, [auxiliary logits, ...])` is right too. The module is left in that mode,
    its batch normalisation's statistics changed in training; the global generators stay as they
    are.
    """
    module.train(training)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output: object = module(torch.zeros(IMAGES, 3, crop, crop))
    except Exception as error:  # whatever a network does not like, and ways to say so differ
        reason = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if training and isinstance(output, tuple) and len(output) == 2:
        output = output[0]
    wanted = [IMAGES, num_classes]
    if not isinstance(output, Tensor):
        return f"its output is a {type(output).__name__}, but must be logits {wanted}"
    if list(output.shape) != wanted:
        return f"its output has the shape {list(output.shape)}, but must be logits {wanted}"
    return None

"""Failures of PyTorch that have one clear cause and one clear remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from pcsearch.errors import PcsearchError, TrialError
from pcsearch.train.settings import FitSettings

Doing = Literal["placing", "training", "evaluating"]
"""Putting the network onto its device, an epoch of training, an evaluation."""


@contextmanager
def explained(settings: FitSettings, doing: Doing = "training") -> Iterator[None]:
    """Within it, a failure with a known cause becomes a TrialError that says what to do."""
    try:
        yield
    except PcsearchError:
        raise
    except Exception as error:
        cause = _cause(error, settings, doing)
        if cause is None:
            raise
        raise TrialError(f"{cause} ({_first_line(error)})") from error


def _cause(error: Exception, settings: FitSettings, doing: Doing) -> str | None:
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return _out_of_memory(settings, doing)
    if isinstance(error, ValueError) and "more than 1 value per channel" in text:
        return (
            "a training batch has one image, too few for batch normalisation: train on 2 images or "
            f"more with a train.batch_size of at least 2 (it is {settings.batch_size})"
        )
    if settings.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return "torch.compile failed on this network: set train.compile to false"
    return None


def _out_of_memory(settings: FitSettings, doing: Doing) -> str:
    if doing == "training":
        return (
            f"out of memory with train.batch_size {settings.batch_size}: lower it, and raise "
            "train.accumulation_steps to keep the update's number of images"
        )
    what = "the network itself" if doing == "placing" else "an evaluation, which keeps no gradients"
    smaller = "a smaller backbone" + (" or image.crop" if doing == "evaluating" else "")
    return (
        f"out of memory for {what}: let fewer trials share the device (raise "
        f"resources.gpus_per_trial, lower resources.max_concurrent), or choose {smaller}"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

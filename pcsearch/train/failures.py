"""Failures of PyTorch that have one clear cause and one clear remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pcsearch.errors import PcsearchError, TrialError
from pcsearch.train.settings import FitSettings


@contextmanager
def explained(settings: FitSettings) -> Iterator[None]:
    """Within it, a failure with a known cause becomes a TrialError that says what to do."""
    try:
        yield
    except PcsearchError:
        raise
    except Exception as error:
        cause = _cause(error, settings)
        if cause is None:
            raise
        raise TrialError(f"{cause} ({_first_line(error)})") from error


def _cause(error: Exception, settings: FitSettings) -> str | None:
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return (
            f"out of memory with train.batch_size {settings.batch_size}: lower it, and raise "
            "train.accumulation_steps to keep the update's number of images"
        )
    if isinstance(error, ValueError) and "more than 1 value per channel" in text:
        return (
            "a training batch has one image, too few for batch normalisation: choose a "
            f"train.batch_size other than {settings.batch_size}, so that none is left over"
        )
    if settings.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return "torch.compile failed on this network: set train.compile to false"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

"""Failures of PyTorch: what they mean for the process, and what to do about them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from pcsearch.errors import PcsearchError, TrialError
from pcsearch.training.config import TrainConfig

Doing = Literal["placing", "training", "evaluating"]
"""Putting the network onto its device, an epoch of training, an evaluation."""

_NO_MEMORY = (
    "can't allocate memory",  # the CPU's allocator
    "CUDA error: out of memory",  # outside PyTorch's own allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one of its causes, says that memory ran out, on any device."""
    return any(
        isinstance(one, torch.OutOfMemoryError | MemoryError)
        or any(sign in str(one) for sign in _NO_MEMORY)
        for one in _with_causes(error)
    )


def breaks_the_process(error: BaseException) -> bool:
    """Whether the CUDA runtime is unusable after an error or one of its causes.

    After running out of memory it is still usable: the training's memory can be freed.
    """
    broken = getattr(torch, "AcceleratorError", None)
    kinds = (broken,) if isinstance(broken, type) else ()
    return not out_of_memory(error) and any(
        isinstance(one, kinds) or "CUDA error" in str(one) for one in _with_causes(error)
    )


def release_memory() -> None:
    """Free unused memory for other processes on the same GPU."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing if CUDA was not used


@contextmanager
def explain_failures(
    settings: TrainConfig, doing: Doing = "training", micro_batches: int = 1
) -> Iterator[None]:
    """Turn a failure with a known cause into a TrialError that says what to do."""
    try:
        yield
    except PcsearchError:
        raise
    except Exception as error:
        cause = _cause(error, settings, doing, micro_batches)
        if cause is None:
            raise
        raise TrialError(f"{cause} ({_first_line(error)})") from error


def _cause(error: Exception, settings: TrainConfig, doing: Doing, micro_batches: int) -> str | None:
    if out_of_memory(error):
        return _no_memory(settings, doing, micro_batches)
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        return (
            "a training batch has one image, too few for batch normalisation: train on 2 images or "
            f"more with train.batch_size at least 2 (it is {settings.batch_size})"
        )
    if settings.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return "torch.compile failed on this network: set train.compile to false"
    return None


def _no_memory(settings: TrainConfig, doing: Doing, micro_batches: int) -> str:
    if doing == "training":
        parts = f" in {micro_batches} parts" if micro_batches > 1 else ""
        return (
            f"out of memory with train.batch_size {settings.batch_size}{parts}: lower it, and raise"
            " train.accumulation_steps to keep the number of images per update"
        )
    what = "the network itself" if doing == "placing" else "an evaluation, which keeps no gradients"
    smaller = "a smaller backbone" + (" or image.crop" if doing == "evaluating" else "")
    return (
        f"out of memory for {what}: let fewer trials share the device (raise "
        f"resources.gpus_per_trial, lower resources.max_concurrent), or choose {smaller}"
    )


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

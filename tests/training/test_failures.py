from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pcsearch.errors import TrialError, UserError
from pcsearch.training.failures import Doing, breaks_the_process, explain_failures, out_of_memory
from tests.training.helpers import MemoryBatches, perceptron, settings, train


def test_out_of_memory_says_what_to_lower() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory.\nlong statistics")
    with (
        pytest.raises(TrialError, match="batch_size 8: lower it") as caught,
        explain_failures(settings()),
    ):
        raise error
    assert "long statistics" not in str(caught.value)


def test_no_memory_on_the_cpu() -> None:
    with (
        pytest.raises(TrialError, match=r"train\.accumulation_steps"),
        explain_failures(settings()),
    ):
        torch.empty(1 << 50, dtype=torch.float64)


def test_out_of_memory_in_parts_says_so() -> None:
    with (
        pytest.raises(TrialError, match="batch_size 8 in 2 parts: "),
        explain_failures(settings(), micro_batches=2),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def allocation_error(size: int) -> Exception:
    """What the CPU's allocator raises for so many bytes."""
    try:
        torch.empty(size, dtype=torch.uint8)
    except Exception as error:
        return error
    raise AssertionError("there is that much memory")


def caused_by(error: Exception) -> Exception:
    outer = TrialError("it failed")
    outer.__cause__ = error
    return outer


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.cuda.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
    allocation_error(1 << 53),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]
BROKEN = [
    RuntimeError("CUDA error: device-side assert triggered"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700),
]


@pytest.mark.parametrize("error", [*NO_MEMORY, *map(caused_by, NO_MEMORY)])
def test_running_out_of_memory_is_recognised_and_survived(error: Exception) -> None:
    assert out_of_memory(error)
    assert not breaks_the_process(error)


@pytest.mark.parametrize("error", [*BROKEN, *map(caused_by, BROKEN)])
def test_a_broken_cuda_runtime_is_no_lack_of_memory(error: Exception) -> None:
    assert breaks_the_process(error)
    assert not out_of_memory(error)


@pytest.mark.parametrize("error", [ValueError("too few images"), UserError("no"), OSError(28, "")])
def test_other_errors_are_neither(error: Exception) -> None:
    assert not out_of_memory(error)
    assert not breaks_the_process(error)


def test_an_explained_lack_of_memory_is_still_one() -> None:
    with pytest.raises(TrialError) as caught, explain_failures(settings()):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("doing", "advice"),
    [
        ("placing", r"network itself: .*gpus_per_trial.*smaller backbone \("),
        ("evaluating", r"an evaluation.*gpus_per_trial.*smaller backbone or image\.crop \("),
    ],
)
def test_out_of_memory_outside_training_is_not_the_batch_size(doing: Doing, advice: str) -> None:
    with pytest.raises(TrialError, match=advice) as caught, explain_failures(settings(), doing):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert "batch_size" not in str(caught.value)


def test_a_network_that_cannot_be_compiled() -> None:
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    error = TorchDynamoException("no compiler")
    compiling = settings(compile=True)
    with (
        pytest.raises(TrialError, match=r"compile to false \(no compiler\)"),
        explain_failures(compiling),
    ):
        raise error


@pytest.mark.parametrize("error", [KeyError("a bug"), ValueError("other"), UserError("a mistake")])
def test_everything_else_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explain_failures(settings()):
        raise error
    assert caught.value is error


class NoRoom(nn.Flatten):
    """As a network is that does not fit onto its device: a failure to move."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoRoom:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_network_that_does_not_fit_onto_the_device_is_explained() -> None:
    backbone = perceptron()
    backbone.module[0] = NoRoom()
    with pytest.raises(TrialError, match="out of memory for the network itself"):
        next(train(backbone, MemoryBatches(), settings()))


def test_no_memory_for_the_evaluation_is_explained() -> None:
    def evaluate(module: nn.Module) -> None:
        torch.empty(1 << 50, dtype=torch.float64)

    with pytest.raises(TrialError, match="out of memory for an evaluation"):
        next(train(perceptron(), MemoryBatches(), settings(), evaluate=evaluate))

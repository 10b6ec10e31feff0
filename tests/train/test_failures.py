from __future__ import annotations

import pytest
import torch

from pcsearch.errors import TrialError, UserError
from pcsearch.train.failures import explained

from .helpers import settings


def test_out_of_memory_says_what_to_lower() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory.\nlong statistics")
    with pytest.raises(TrialError, match="batch_size 8: lower it") as caught, explained(settings()):
        raise error
    assert "long statistics" not in str(caught.value)


def test_no_memory_on_the_cpu() -> None:
    with pytest.raises(TrialError, match=r"train\.accumulation_steps"), explained(settings()):
        torch.empty(1 << 50, dtype=torch.float64)


def test_a_network_that_cannot_be_compiled() -> None:
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    error = TorchDynamoException("no compiler")
    compiling = settings(compile=True)
    with pytest.raises(TrialError, match=r"compile to false \(no compiler\)"), explained(compiling):
        raise error


@pytest.mark.parametrize("error", [KeyError("a bug"), ValueError("other"), UserError("a mistake")])
def test_everything_else_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explained(settings()):
        raise error
    assert caught.value is error

"""torchvision comes without PyTorch's compiler, and the compiler works when it is asked for."""

from __future__ import annotations

import subprocess
import sys


def test_the_compiler_is_loaded_when_it_is_used_and_not_before() -> None:
    code = """
import sys
import pcsearch.models.registry
assert "torchvision.ops.roi_align" in sys.modules
assert "torch._dynamo" not in sys.modules
import torch
from torchvision.ops import roi_align
pooled = roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0]]), 2)
assert pooled.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]
layer = torch.nn.Linear(2, 2)
compiled = torch.compile(layer, backend="eager")
assert torch.equal(compiled(torch.ones(1, 2)), layer(torch.ones(1, 2)))
assert "torch._dynamo" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_compiler_that_is_loaded_already_stays() -> None:
    code = """
import torch._dynamo, sys
before = sys.modules["torch._dynamo"]
import pcsearch.models.registry
assert sys.modules["torch._dynamo"] is before
"""
    subprocess.run([sys.executable, "-c", code], check=True)

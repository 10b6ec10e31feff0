"""What the loss promises whatever its value: λ = 0, odd batches, gradients, errors, imports."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pcsearch.errors import UserError
from pcsearch.losses import VARIANTS, PairwiseConfusionLoss

LAMBDAS = {"euclidean": 7.0, "norm": 3.0, "jeffreys": 0.2, "entropic": 0.4}
variants = pytest.mark.parametrize("variant", list(LAMBDAS))


def batch(
    size: int, classes: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (size,), generator=generator)
    return logits.to(dtype), targets


@variants
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("size", [1, 7, 8])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_lambda_zero_is_cross_entropy_bit_for_bit(
    variant: str, smoothing: float, size: int, dtype: torch.dtype
) -> None:
    logits, targets = batch(size, 5, dtype=dtype)
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = PairwiseConfusionLoss(0.0, variant, smoothing)(ours, targets)
    expected = F.cross_entropy(plain, targets, label_smoothing=smoothing)
    assert value.dtype == expected.dtype
    assert torch.equal(value, expected)
    value.backward()
    expected.backward()
    assert ours.grad is not None
    assert plain.grad is not None
    assert torch.equal(ours.grad, plain.grad)


@variants
@pytest.mark.parametrize("size", [5, 6])
def test_gradcheck(variant: str, size: int) -> None:
    logits, targets = batch(size, 4)
    criterion = PairwiseConfusionLoss(LAMBDAS[variant], variant, 0.1)
    assert torch.autograd.gradcheck(lambda x: criterion(x, targets), logits.requires_grad_())


@pytest.mark.parametrize("variant", ["euclidean", "norm", "jeffreys"])
def test_an_odd_batch_drops_its_last_sample_from_the_pair_term_only(variant: str) -> None:
    logits, targets = batch(9, 4)
    criterion = PairwiseConfusionLoss(LAMBDAS[variant], variant)
    odd_term = criterion(logits, targets) - F.cross_entropy(logits, targets)
    even_term = criterion(logits[:8], targets[:8]) - F.cross_entropy(logits[:8], targets[:8])
    torch.testing.assert_close(odd_term, even_term)


@pytest.mark.parametrize("variant", ["euclidean", "norm", "jeffreys"])
def test_a_batch_of_one_is_cross_entropy(variant: str) -> None:
    logits, targets = batch(1, 4)
    logits.requires_grad_()
    loss = PairwiseConfusionLoss(10.0, variant)(logits, targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, targets), logits)
    assert torch.equal(loss, F.cross_entropy(logits, targets))
    assert torch.equal(gradient, expected)


@variants
def test_gradients_are_finite_at_the_extremes(variant: str) -> None:
    """Equal predictions (a zero norm), and certain ones (probabilities that underflow)."""
    targets = torch.tensor([0, 1, 1, 0])
    for logits in (
        torch.zeros(4, 3),
        300 * torch.eye(3)[[0, 1, 1, 0]],
        300 * torch.eye(3),
    ):
        leaf = logits.clone().requires_grad_()
        loss = PairwiseConfusionLoss(LAMBDAS[variant], variant)(leaf, targets[: len(leaf)])
        loss.backward()
        assert loss.isfinite()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_mistakes_are_refused() -> None:
    for lambda_ in (-1.0, math.nan, math.inf):
        with pytest.raises(UserError, match=r"lambda_ is .* finite"):
            PairwiseConfusionLoss(lambda_)
    with pytest.raises(UserError, match='unknown loss variant "euclidian", did you mean "euclid'):
        PairwiseConfusionLoss(1.0, "euclidian")
    with pytest.raises(UserError, match="choose one of euclidean, norm, jeffreys, entropic"):
        PairwiseConfusionLoss(1.0, "zzz")
    for smoothing in (-0.1, 1.1, math.nan):
        with pytest.raises(UserError, match="label_smoothing"):
            PairwiseConfusionLoss(1.0, label_smoothing=smoothing)
    criterion = PairwiseConfusionLoss(1.0)
    for logits, targets in (
        (torch.zeros(4, 3, 2), torch.zeros(4)),
        (torch.zeros(4, 3), torch.zeros(3)),
    ):
        with pytest.raises(UserError, match=r"logits \[B, N\] and class indices \[B\]"):
            criterion(logits, targets.long())


def test_it_is_an_ordinary_module() -> None:
    criterion = PairwiseConfusionLoss(2, "norm", 0.1)
    assert repr(criterion) == (
        "PairwiseConfusionLoss(lambda_=2, variant='norm', label_smoothing=0.1)"
    )
    logits, targets = batch(6, 4)
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert torch.equal(twin(logits, targets), criterion(logits, targets))
    assert list(VARIANTS) == [
        "euclidean",
        "norm",
        "jeffreys",
        "entropic",
        "logit_margin",
        "poly1",
    ]


@variants
def test_it_compiles_to_one_graph(variant: str) -> None:
    logits, targets = batch(6, 4)
    criterion = PairwiseConfusionLoss(LAMBDAS[variant], variant)
    compiled = torch.compile(criterion, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, targets), criterion(logits, targets))


def test_importing_it_pulls_in_torch_alone() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import pcsearch.losses; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - sys.stdlib_module_names - {'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pcsearch']"

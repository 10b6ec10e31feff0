"""The value of the loss: every variant against naive loops over explicit pairs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pcsearch.losses import PairwiseConfusionLoss

LAMBDAS = {"euclidean": 7.0, "norm": 3.0, "jeffreys": 0.2, "entropic": 0.4}
variants = pytest.mark.parametrize("variant", list(LAMBDAS))
halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


def batch(
    size: int, classes: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (size,), generator=generator)
    return logits.to(dtype), targets


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    exponentials = [math.exp(value - top) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def naive_pair(variant: str, p: list[float], q: list[float], same_class: bool) -> float:
    terms = list(zip(p, q, strict=True))
    if variant == "norm":
        return math.sqrt(sum((a - b) ** 2 for a, b in terms))
    if same_class:
        return 0.0
    if variant == "jeffreys":
        return sum((a - b) * math.log(a / b) for a, b in terms)
    return sum((a - b) ** 2 for a, b in terms)


def naive_loss(
    logits: Tensor, targets: Tensor, lambda_: float, variant: str, smoothing: float = 0.0
) -> float:
    """The definitions, sample by sample and pair by pair, in Python floats."""
    rows, labels = [softmax(row) for row in logits.tolist()], targets.tolist()
    size, classes = len(rows), len(rows[0])
    loss = 0.0
    for row, label in zip(rows, labels, strict=True):
        for index, probability in enumerate(row):
            weight = smoothing / classes + (1 - smoothing) * (index == label)
            loss -= weight * math.log(probability) / size
    if variant == "entropic":
        for row in rows:
            loss += lambda_ * sum(p * math.log(p) for p in row) / size
        return loss
    half = size // 2
    for k in range(half):
        same = labels[k] == labels[k + half]
        loss += lambda_ / 2 * naive_pair(variant, rows[k], rows[k + half], same) / half
    return loss


@variants
@given(
    size=st.integers(1, 9),
    classes=st.integers(2, 6),
    lambda_=st.floats(0, 30),
    smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_loss_equals_naive_loops(
    variant: str, size: int, classes: int, lambda_: float, smoothing: float, seed: int
) -> None:
    logits, targets = batch(size, classes, seed)
    value = PairwiseConfusionLoss(lambda_, variant, smoothing)(logits, targets).item()
    expected = naive_loss(logits, targets, lambda_, variant, smoothing)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@variants
@pytest.mark.parametrize(("size", "classes"), [(8, 2), (6, 1000), (7, 1000)])
def test_few_and_many_classes(variant: str, size: int, classes: int) -> None:
    logits, targets = batch(size, classes)
    value = PairwiseConfusionLoss(LAMBDAS[variant], variant)(logits, targets).item()
    assert value == pytest.approx(naive_loss(logits, targets, LAMBDAS[variant], variant))


def test_numbers_worked_by_hand() -> None:
    """First pair: uniform on {1, 2} and on {2, 3}, D_EC = ½. Second pair: of one class."""
    p = torch.tensor([[0.5, 0.5, 0], [1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    logits, targets = (p + 1e-30).log(), torch.tensor([0, 0, 1, 0])
    cross_entropy = F.cross_entropy(logits, targets).item()
    excess = {}
    for variant in ("euclidean", "norm", "entropic"):
        loss = PairwiseConfusionLoss(4.0, variant)(logits, targets).item()
        excess[variant] = loss - cross_entropy
    assert excess["euclidean"] == pytest.approx(4 / 2 * (0.5 + 0) / 2)
    assert excess["norm"] == pytest.approx(4 * (math.sqrt(0.5) + math.sqrt(2)) / 4)
    assert excess["entropic"] == pytest.approx(-4 * 2 * math.log(2) / 4)


def test_norm_is_the_released_snippet_on_even_batches() -> None:
    """Sum over pairs of the L2 norms of softmax outputs / batch size, labels unseen."""
    logits, targets = batch(10, 4)
    features = logits.softmax(1)
    released = torch.norm((features[:5] - features[5:]).abs(), 2, 1).sum() / 10.0
    expected = F.cross_entropy(logits, targets) + 3 * released
    torch.testing.assert_close(PairwiseConfusionLoss(3.0, "norm")(logits, targets), expected)


def test_entropic_raises_entropy_when_minimised() -> None:
    logits, targets = batch(6, 5)
    plain, entropic = (PairwiseConfusionLoss(x, "entropic")(logits, targets) for x in (0.0, 1.0))
    assert entropic < plain


@variants
def test_all_one_class(variant: str) -> None:
    """The mask makes it plain cross-entropy, but `norm` has none and `entropic` sees no labels."""
    logits, _ = batch(8, 4)
    targets = torch.full((8,), 2)
    loss = PairwiseConfusionLoss(LAMBDAS[variant], variant)(logits, targets)
    masked = variant in ("euclidean", "jeffreys")
    assert torch.equal(loss, F.cross_entropy(logits, targets)) is masked
    assert loss.item() == pytest.approx(naive_loss(logits, targets, LAMBDAS[variant], variant))


@variants
@halves
def test_half_logits_are_penalised_in_float32(variant: str, dtype: torch.dtype) -> None:
    logits, targets = batch(32, 50, dtype=dtype)
    loss = PairwiseConfusionLoss(LAMBDAS[variant], variant)(logits, targets)
    penalty = loss.double() - F.cross_entropy(logits, targets).double()
    exact = naive_loss(logits, targets, LAMBDAS[variant], variant)
    exact -= naive_loss(logits, targets, 0.0, variant)
    assert loss.dtype == torch.float32
    assert penalty.item() == pytest.approx(exact, rel=1e-4)


@variants
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_kept(variant: str, dtype: torch.dtype) -> None:
    logits, targets = batch(32, 50, dtype=dtype)
    loss = PairwiseConfusionLoss(LAMBDAS[variant], variant)(logits, targets)
    assert loss.dtype == dtype
    rel = 1e-5 if dtype == torch.float32 else 1e-12
    expected = naive_loss(logits, targets, LAMBDAS[variant], variant)
    assert loss.item() == pytest.approx(expected, rel=rel)


@variants
def test_autocast(variant: str) -> None:
    """Under autocast the penalty is float32, and λ = 0 is still exactly the cross-entropy."""
    inputs, targets = batch(16, 12, dtype=torch.float32)
    weight = torch.eye(12, requires_grad=True)
    criterion = PairwiseConfusionLoss(LAMBDAS[variant], variant)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = inputs @ weight
        assert logits.dtype == torch.bfloat16
        loss, plain = criterion(logits, targets), F.cross_entropy(logits, targets)
        assert torch.equal(PairwiseConfusionLoss(0.0, variant)(logits, targets), plain)
    exact = naive_loss(logits, targets, LAMBDAS[variant], variant)
    exact -= naive_loss(logits, targets, 0.0, variant)
    assert (loss.double() - plain.double()).item() == pytest.approx(exact, rel=1e-4)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("lambda_", [0.75, 1.0, 5.0, 20.0])
def test_the_best_confidence_is_one_over_the_root_of_two_lambda(lambda_: float) -> None:
    """Descend the loss itself over p, the rest of each prediction lying on classes both share."""
    criterion = PairwiseConfusionLoss(lambda_)
    targets = torch.tensor([0, 1])
    theta = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        p, nothing = theta.sigmoid(), torch.full((), 1e-30, dtype=torch.float64)
        shared = [(1 - p) / 8] * 8
        rows = [torch.stack([p, nothing, *shared]), torch.stack([nothing, p, *shared])]
        loss: Tensor = criterion(torch.stack(rows).log(), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert theta.sigmoid().item() == pytest.approx(1 / math.sqrt(2 * lambda_), abs=1e-5)

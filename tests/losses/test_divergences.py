"""Divergences against hand-computed numbers and naive loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pcsearch.losses import (
    entropy,
    euclidean_confusion,
    jeffreys_divergence,
    kl_divergence,
    total_variation,
)

P, Q = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_pair(classes: int, seed: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 4, classes, generator=generator, dtype=torch.float64)
    return logits[0].log_softmax(-1), logits[1].log_softmax(-1)


def test_numbers_worked_by_hand() -> None:
    p, q = tensor(P), tensor(Q)
    assert euclidean_confusion(p, q).item() == 0.125  # 0.25² + 0.25²
    assert total_variation(p, q).item() == 0.25
    # 0.5·log 2 + 0.25·log ½, and twice that for the symmetric form
    assert kl_divergence(p.log(), q.log()).item() == pytest.approx(0.25 * math.log(2))
    assert jeffreys_divergence(p.log(), q.log()).item() == pytest.approx(0.5 * math.log(2))
    assert entropy(p.log()).item() == pytest.approx(1.5 * math.log(2))


@given(st.integers(2, 12), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_each_equals_a_naive_loop(classes: int, seed: int) -> None:
    log_p, log_q = random_pair(classes, seed)
    p, q = log_p.exp(), log_q.exp()
    results = {
        "euclidean": euclidean_confusion(p, q),
        "tv": total_variation(p, q),
        "kl": kl_divergence(log_p, log_q),
        "jeffreys": jeffreys_divergence(log_p, log_q),
        "entropy": entropy(log_p),
    }
    for row in range(4):
        a, b = p[row].tolist(), q[row].tolist()
        pairs = list(zip(a, b, strict=True))
        naive = {
            "euclidean": sum((x - y) ** 2 for x, y in pairs),
            "tv": 0.5 * sum(abs(x - y) for x, y in pairs),
            "kl": sum(x * math.log(x / y) for x, y in pairs),
            "jeffreys": sum((x - y) * math.log(x / y) for x, y in pairs),
            "entropy": -sum(x * math.log(x) for x in a),
        }
        for name, expected in naive.items():
            assert results[name][row].item() == pytest.approx(expected, rel=1e-9, abs=1e-12), name


@given(st.integers(2, 12), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_ranges_symmetry_and_identity(classes: int, seed: int) -> None:
    log_p, log_q = random_pair(classes, seed)
    p, q = log_p.exp(), log_q.exp()
    both = kl_divergence(log_p, log_q) + kl_divergence(log_q, log_p)
    torch.testing.assert_close(jeffreys_divergence(log_p, log_q), both)
    torch.testing.assert_close(jeffreys_divergence(log_q, log_p), both)
    torch.testing.assert_close(euclidean_confusion(q, p), euclidean_confusion(p, q))
    assert (euclidean_confusion(p, q) <= 2).all()
    assert (total_variation(p, q) <= 1 + 1e-12).all()
    assert (entropy(log_p) <= math.log(classes) + 1e-12).all()
    for same in (
        euclidean_confusion(p, p),
        total_variation(p, p),
        jeffreys_divergence(log_p, log_p),
    ):
        assert (same == 0).all()


def test_zero_probabilities() -> None:
    """A class both rule out adds nothing; a class one rules out makes KL and Jeffreys infinite."""
    log_p, log_q = tensor([0.5, 0.5, 0.0]).log(), tensor([0.25, 0.75, 0.0]).log()
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kl_divergence(log_p, log_q).item() == pytest.approx(expected)
    assert jeffreys_divergence(log_p, log_q).item() == pytest.approx(0.25 * math.log(3))
    assert entropy(log_p).item() == pytest.approx(math.log(2))
    certain = tensor([1.0, 0.0, 0.0]).log()
    assert kl_divergence(certain, log_p).item() == pytest.approx(math.log(2))
    assert kl_divergence(log_p, certain).item() == math.inf
    assert jeffreys_divergence(log_p, certain).item() == math.inf
    assert euclidean_confusion(certain.exp(), tensor([0.0, 1.0, 0.0])).item() == 2.0
    assert total_variation(certain.exp(), tensor([0.0, 1.0, 0.0])).item() == 1.0


def test_gradients_stay_finite_where_a_class_is_masked_out() -> None:
    logits = torch.tensor([[1.0, 2.0, -math.inf], [0.5, 0.1, -math.inf]], requires_grad=True)
    log_p, log_q = logits.log_softmax(-1)
    (jeffreys_divergence(log_p, log_q) + kl_divergence(log_p, log_q) + entropy(log_p)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["euclidean", "tv", "kl", "jeffreys", "entropy"])
def test_gradcheck(name: str) -> None:
    functions = {
        "euclidean": lambda x, y: euclidean_confusion(x.softmax(-1), y.softmax(-1)),
        "tv": lambda x, y: total_variation(x.softmax(-1), y.softmax(-1)),
        "kl": lambda x, y: kl_divergence(x.log_softmax(-1), y.log_softmax(-1)),
        "jeffreys": lambda x, y: jeffreys_divergence(x.log_softmax(-1), y.log_softmax(-1)),
        "entropy": lambda x, y: entropy(x.log_softmax(-1)) + 0 * y.sum(-1),
    }
    x, y = (part.requires_grad_() for part in random_pair(5, seed=1, scale=1.0))
    assert torch.autograd.gradcheck(functions[name], (x, y))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision(dtype: torch.dtype) -> None:
    """Half inputs are widened before subtracting; float64 is kept."""
    log_p, log_q = (part.to(dtype) for part in random_pair(7, seed=2))
    p, q = log_p.exp(), log_q.exp()
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    results = [euclidean_confusion(p, q), total_variation(p, q), entropy(log_p)]
    results += [kl_divergence(log_p, log_q), jeffreys_divergence(log_p, log_q)]
    assert {result.dtype for result in results} == {wide}
    exact = (p.double() - q.double()).square().sum(-1)
    torch.testing.assert_close(results[0].double(), exact, rtol=1e-6, atol=1e-7)

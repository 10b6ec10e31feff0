"""Mixup, CutMix and SAM: their arithmetic by hand, and their place in a training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pcsearch.errors import UserError
from pcsearch.training.mixing import mixed
from pcsearch.training.objective import Objective
from pcsearch.training.sam import uphill
from tests.training.helpers import MemoryBatches, perceptron, same, settings, state, train


def batch(images: int = 6, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Image k is filled with k, so that a mixture shows its parts."""
    values = torch.arange(images, dtype=torch.float32)
    return values.view(-1, 1, 1, 1).expand(-1, 3, side, side).clone(), torch.arange(images)


def test_without_mixing_a_batch_comes_back_as_it_is() -> None:
    images, labels = batch()
    found, same_labels, share = mixed(images, labels, settings())
    assert found is images
    assert same_labels is labels
    assert share == 1


@pytest.mark.parametrize("values", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 2.0}])
def test_a_batch_of_one_image_has_no_partner(values: dict[str, float]) -> None:
    images, labels = batch(1)
    assert mixed(images, labels, settings(**values))[0] is images


@examples(deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0.05, 5))
def test_mixup_blends_each_image_with_its_partner(seed: int, alpha: float) -> None:
    images, labels = batch()
    torch.manual_seed(seed)
    found, pairs, share = mixed(images, labels, settings(mixup=alpha))
    assert torch.equal(images, batch()[0])
    assert 0 <= share <= 1
    assert torch.equal(pairs[:, 0], labels)
    assert sorted(pairs[:, 1].tolist()) == labels.tolist()
    wanted = share * pairs[:, 0] + (1 - share) * pairs[:, 1]
    torch.testing.assert_close(found[:, 0, 0, 0], wanted.float())
    assert torch.equal(found, found[:, :1, :1, :1].expand_as(found))


@examples(deadline=None)
@given(seed=st.integers(0, 10_000), side=st.integers(1, 20))
def test_cutmix_pastes_one_box_and_its_share_is_exact(seed: int, side: int) -> None:
    images, labels = batch(side=side)
    torch.manual_seed(seed)
    found, pairs, share = mixed(images, labels, settings(cutmix=1.0))
    assert torch.equal(images, batch(side=side)[0])
    for image, (own, other) in zip(found, pairs.tolist(), strict=True):
        assert set(image.unique().tolist()) <= {own, other}
        pasted = image[0] == other
        if own != other:
            assert pasted.float().mean().item() == pytest.approx(1 - share, abs=1e-6)
            rows, columns = pasted.any(dim=1), pasted.any(dim=0)
            assert pasted.sum() == rows.sum() * columns.sum()  # a full rectangle
            for line in (rows, columns):
                assert int(line.int().diff().abs().sum()) <= 2  # in one piece


def test_both_take_turns() -> None:
    images, labels = batch()
    torch.manual_seed(0)
    blended = [
        bool((found != found.round()).any())
        for found, _, _ in (
            mixed(images, labels, settings(mixup=1.0, cutmix=1.0)) for _ in range(60)
        )
    ]
    assert 15 < sum(blended) < 45


def test_the_loss_of_a_mixture_is_the_mixture_of_losses() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    pairs, share = torch.tensor([[0, 1], [2, 2], [1, 0], [0, 2]]), 0.3
    loss, _ = Objective(settings())(logits, pairs, share)
    wanted = share * F.cross_entropy(logits, pairs[:, 0])
    wanted = wanted + (1 - share) * F.cross_entropy(logits, pairs[:, 1])
    torch.testing.assert_close(loss, wanted)


def test_sam_takes_the_gradient_uphill_by_hand() -> None:
    """For w²/2 at w = 2, the gradient at 2 + 0.5 is 2.5."""
    weight = nn.Parameter(torch.tensor([2.0]))
    (weight.square() / 2).sum().backward()
    with uphill([weight], 0.5):
        assert weight.grad is None
        assert weight.item() == 2.5
        (weight.square() / 2).sum().backward()
    assert weight.item() == 2
    assert weight.grad is not None
    assert weight.grad.item() == 2.5


def test_sam_moves_by_rho_over_all_parameters_together() -> None:
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    for weight, gradient in zip(weights, ([3.0, 0.0], [4.0]), strict=True):
        weight.grad = torch.tensor(gradient)
    with uphill(weights, 0.1):
        torch.testing.assert_close(weights[0].detach(), torch.tensor([0.06, 0.0]))
        torch.testing.assert_close(weights[1].detach(), torch.tensor([0.08]))


def test_sam_without_a_gradient_stays() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    weight.grad = torch.zeros(1)
    with uphill([weight], 0.5):
        assert weight.item() == 2


def test_sam_counts_each_image_once_in_batch_normalisation() -> None:
    plain, sharp = perceptron(norm=True), perceptron(norm=True)
    list(train(plain, MemoryBatches(8), settings(epochs=1, lr=1e-9)))
    list(train(sharp, MemoryBatches(8), settings(epochs=1, lr=1e-9, sam_rho=0.1)))
    for name, value in state(plain).items():
        if "running" in name or "tracked" in name:
            torch.testing.assert_close(value, state(sharp)[name])


def test_sam_with_a_plain_loop_beside_it() -> None:
    ours, naive = perceptron(), perceptron()
    chosen = settings(epochs=1, schedule="constant", momentum=0.0, weight_decay=0.0, sam_rho=0.05)
    list(train(ours, MemoryBatches(), chosen))
    parameters = list(naive.module.parameters())
    for images, labels in MemoryBatches().epoch(1):
        gradients = torch.autograd.grad(F.cross_entropy(naive.module(images), labels), parameters)
        norm = torch.sqrt(sum(g.square().sum() for g in gradients))  # type: ignore[arg-type]
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p += 0.05 * g / norm
        gradients = torch.autograd.grad(F.cross_entropy(naive.module(images), labels), parameters)
        with torch.no_grad():
            for p, old, g in zip(parameters, before, gradients, strict=True):
                p.copy_(old - 0.1 * g)
    for name, value in state(ours).items():
        torch.testing.assert_close(value, state(naive)[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("values", [{"sam_rho": 0.05}, {"sam_rho": 0.05, "lambda_": 2.0}])
def test_sam_with_accumulation_is_that_of_the_whole_batch(values: dict[str, float]) -> None:
    """Without normalisation and pairs, two batches of 4 make the update of one of 8."""
    values = {key: value for key, value in values.items() if key != "lambda_"}
    whole, parts = perceptron(), perceptron()
    list(train(whole, MemoryBatches(16, 8), settings(**values)))
    list(train(parts, MemoryBatches(16, 4), settings(batch_size=4, accumulation_steps=2, **values)))
    for name, value in state(whole).items():
        torch.testing.assert_close(value, state(parts)[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"mixup": 0.4},
        {"cutmix": 1.0},
        {"mixup": 0.4, "cutmix": 1.0, "lambda_": 3.0},
        {"sam_rho": 0.1},
    ],
)
def test_a_resumed_training_is_the_same_bit_for_bit(
    tmp_path: Path, values: dict[str, float]
) -> None:
    chosen = settings(epochs=4, **values)
    whole, begun = perceptron(dropout=0.2, norm=True), perceptron(dropout=0.2, norm=True)
    records = list(train(whole, MemoryBatches(), chosen))
    first = train(begun, MemoryBatches(), chosen, checkpoints=tmp_path)
    next(first), next(first)
    first.close()
    again = perceptron(dropout=0.2, norm=True, seed=5)
    resumed = list(train(again, MemoryBatches(), chosen, checkpoints=tmp_path))
    assert same(state(whole), state(again))
    assert [r.train_loss for r in records] == [r.train_loss for r in resumed]


def test_micro_batches_train_the_same_mixture() -> None:
    whole, parts = perceptron(), perceptron()
    chosen = settings(mixup=0.5, lambda_=2.0)
    records = list(train(whole, MemoryBatches(), chosen))
    divided = list(train(parts, MemoryBatches(), chosen, micro_batches=2))
    for name, value in state(whole).items():
        torch.testing.assert_close(value, state(parts)[name], rtol=1e-4, atol=1e-5)
    assert [r.train_top1 for r in records] == [r.train_top1 for r in divided]


def test_mixing_and_a_loss_of_ones_own_exclude_each_other() -> None:
    from pcsearch.training.config import OwnLoss

    with pytest.raises(UserError, match="two labels"):
        settings(mixup=0.2, own_loss=OwnLoss("mine:loss"))

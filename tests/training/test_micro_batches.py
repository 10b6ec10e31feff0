"""Batches trained in parts: the same updates as whole, but for rounding."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.losses.pairing import PAIRINGS, epoch_batches, split_pairs
from pcsearch.training.memory import divided, pairs_per_part
from pcsearch.training.metrics import EpochRecord
from tests.training.helpers import (
    MemoryBatches,
    TinyBackbone,
    perceptron,
    seeded,
    settings,
    state,
    train,
)

EPOCHS = 2


class PairedBatches(MemoryBatches):
    """As the package's own batches are made up, merged and doubled ones included."""

    def __init__(self, images: int, batch_size: int, pairing: str) -> None:
        super().__init__(images, batch_size)
        self._pairing = pairing

    def __len__(self) -> int:
        return len(self._order(1))

    def epoch(self, epoch: int) -> Any:
        self.asked.append(epoch)
        for chosen in self._order(epoch):
            yield self.images[chosen], self.labels[chosen]

    def _order(self, epoch: int) -> list[Tensor]:
        return epoch_batches(
            len(self.labels), self.batch_size, self._pairing, seeded(epoch), self.labels
        )


class Widths(nn.Module):
    """Notes how many images pass through it in training."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        return images


def trained(
    batches: MemoryBatches, micro_batches: int, **values: Any
) -> tuple[TinyBackbone, list[EpochRecord]]:
    backbone = perceptron()
    chosen = settings(epochs=EPOCHS, batch_size=batches.batch_size, **values)
    return backbone, list(train(backbone, batches, chosen, micro_batches=micro_batches))


def assert_equal_training(
    one: tuple[TinyBackbone, list[EpochRecord]], other: tuple[TinyBackbone, list[EpochRecord]]
) -> None:
    for name, weight in state(one[0]).items():
        torch.testing.assert_close(weight, state(other[0])[name], rtol=1e-4, atol=1e-5)
    for a, b in zip(one[1], other[1], strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-4)
        assert (a.train_top1, a.lr, a.images) == (b.train_top1, b.lr, b.images)


@pytest.mark.parametrize("images", [48, 53, 49], ids=["even", "a last batch of 5", "merged"])
@pytest.mark.parametrize("batch_size", [16, 7], ids=["16", "odd"])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"accumulation_steps": 3, "clip_norm": 0.3},
        {"optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "label_smoothing": 0.1},
        {"head_only_epochs": 1, "head_only_lr": 0.3},
    ],
    ids=["sgd", "accumulating", "adamw", "head first"],
)
def test_cross_entropy_trains_to_the_same_weights(
    images: int, batch_size: int, values: dict[str, Any]
) -> None:
    batches = PairedBatches(images, batch_size, "split_batch")
    whole = trained(batches, 1, **values)
    for micro_batches in (2, 3, 4):
        assert_equal_training(trained(batches, micro_batches, **values), whole)


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("variant", ["euclidean", "norm", "jeffreys", "entropic"])
def test_the_penalty_of_even_batches_is_the_whole_batch_s(pairing: str, variant: str) -> None:
    """Every pair stays together, so that even Pairwise Confusion trains to the same weights."""
    values = {"pairing": pairing, "variant": variant, "lambda_": 0.1, "clip_norm": 1.0}
    batches = PairedBatches(44, 12, pairing)
    whole = trained(batches, 1, **values)
    assert_equal_training(trained(batches, 3, **values), whole)
    other, _ = trained(batches, 1, **{**values, "lambda_": 0.0})
    assert not torch.allclose(state(other)["4.weight"], state(whole[0])["4.weight"], rtol=1e-3)


def test_against_a_loop_over_parts_written_out() -> None:
    """SGD without momentum, groups of 2 batches of 10 in halves; the last group has 10 + 4."""
    batches = PairedBatches(34, 10, "split_batch")
    backbone, plain = perceptron(), perceptron()
    chosen = settings(
        epochs=1,
        batch_size=10,
        accumulation_steps=2,
        momentum=0.0,
        weight_decay=0.0,
        clip_norm=0.2,
    )
    (record,) = train(backbone, batches, chosen, micro_batches=2)
    assert (len(batches), record.images) == (4, 34)
    parameters = list(plain.module.parameters())
    groups: list[list[tuple[Tensor, Tensor]]] = [[], []]
    for position, batch in enumerate(batches.epoch(1)):
        groups[position // 2].append(batch)
    for update, group in enumerate(groups):
        total = sum(len(labels) for _, labels in group)
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        for images, labels in group:
            for image, label in zip(images, labels, strict=True):
                loss = F.cross_entropy(plain.module(image[None]), label[None])
                for sum_, gradient in zip(
                    gradients, torch.autograd.grad(loss, parameters), strict=True
                ):
                    sum_ += gradient / total
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        lr = 0.1 * (1 - update / 2)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= lr * gradient * min(1.0, 0.2 / norm)
    for name, weight in state(plain).items():
        torch.testing.assert_close(state(backbone)[name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "micro_batches", "widths"),
    [
        (24, 2, [4] * 6),
        (24, 3, [4] * 6),  # four pairs, two of them a part at most
        (24, 100, [2] * 12),
        (20, 2, [4] * 5),  # the last batch of 4 fits as it is
        (21, 4, [2] * 8 + [2, 3]),
    ],
)
def test_no_more_images_at_a_time_than_asked(
    images: int, micro_batches: int, widths: list[int]
) -> None:
    noted = Widths()
    backbone = perceptron()
    backbone.module.insert(0, noted)
    batches = MemoryBatches(images, batch_size=8)
    next(train(backbone, batches, settings(), micro_batches=micro_batches))
    assert noted.seen == widths


def test_a_divided_attempt_goes_on_from_a_whole_one(tmp_path: Path) -> None:
    whole, divided_from_two = perceptron(), perceptron()
    batches = MemoryBatches()
    expected = list(train(whole, batches, settings(epochs=4)))
    run = train(divided_from_two, batches, settings(epochs=4), checkpoints=tmp_path)
    list(islice(run, 2))
    run.close()
    again = train(
        divided_from_two, batches, settings(epochs=4), checkpoints=tmp_path, micro_batches=2
    )
    records = list(again)
    assert [record.replayed for record in records] == [True, True, False, False]
    assert_equal_training((divided_from_two, records), (whole, expected))


def test_fewer_than_one_part_is_refused() -> None:
    with pytest.raises(ValueError, match="micro_batches is 0, but must be at least 1"):
        next(train(perceptron(), MemoryBatches(), settings(), micro_batches=0))


@given(
    images=st.integers(1, 70),
    batch_size=st.integers(1, 64),
    micro_batches=st.integers(1, 70),
)
def test_parts_hold_every_image_once_and_every_pair_together(
    images: int, batch_size: int, micro_batches: int
) -> None:
    pairs = pairs_per_part(batch_size, micro_batches)
    numbers = torch.arange(images)
    parts = list(divided(numbers[:, None], numbers, pairs))
    assert all(torch.equal(part[:, 0], labels) for part, labels in parts)
    labels = [part for _, part in parts]
    assert sorted(torch.cat(labels).tolist()) == list(range(images))
    assert _pairs(numbers) == set().union(*(_pairs(part) for part in labels))
    sizes = [len(part) for part in labels]
    assert max(sizes) <= 2 * pairs + 1
    assert max(sizes) - min(sizes) <= 3
    assert len(sizes) == 1 or min(sizes) >= 2, "batch normalisation cannot train on one image"
    assert sum(size % 2 for size in sizes) == images % 2
    if batch_size % (2 * micro_batches) == 0:
        assert 2 * pairs == batch_size // micro_batches


def _pairs(labels: Tensor) -> set[tuple[int, ...]]:
    return set(zip(*(side.tolist() for side in split_pairs(labels)), strict=True))


def test_parts_keep_the_memory_format() -> None:
    images = torch.rand(8, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    parts = list(divided(images, torch.arange(8), 2))
    assert len(parts) == 2
    assert all(part.is_contiguous(memory_format=torch.channels_last) for part, _ in parts)

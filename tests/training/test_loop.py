from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.errors import TrialError, UserError
from pcsearch.training import trainer as epoch_module
from pcsearch.training.evaluate import evaluate
from pcsearch.training.objective import Objective
from tests.training.helpers import (
    MemoryBatches,
    TinyBackbone,
    perceptron,
    same,
    seeded,
    settings,
    state,
    train,
)


def test_lambda_zero_is_a_plain_cross_entropy_loop_bit_for_bit() -> None:
    batches = MemoryBatches(images=42)  # a last batch of 2
    backbone, plain = perceptron(norm=True), perceptron(norm=True)
    chosen = settings(epochs=3, schedule="cosine", nesterov=True, lambda_=0.0)
    records = list(train(backbone, batches, chosen))
    optimizer = torch.optim.SGD(
        plain.module.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    plain.module.train()
    update = 0
    for record in records:
        total = 0.0
        for images, labels in batches.epoch(record.epoch):
            # half a cosine from 1 to 0, written as the loop writes it so that it rounds the same
            lr = 0.1 * ((1 - math.cos(math.pi * (1 - update / 18))) / 2)
            optimizer.param_groups[0]["lr"] = lr
            loss = F.cross_entropy(plain.module(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            update += 1
        assert record.train_loss == pytest.approx(total / 42, rel=1e-6)
    assert same(state(backbone), state(plain))


def test_lambda_changes_the_training() -> None:
    one, other = perceptron(), perceptron()
    list(train(one, MemoryBatches(), settings()))
    records = list(train(other, MemoryBatches(), settings(lambda_=5.0)))
    assert not same(state(one), state(other))
    assert records[0].train_loss > 0


def test_records() -> None:
    batches = MemoryBatches(images=20)
    seen: list[bool] = []

    def validate(module: nn.Module) -> object:
        seen.append(module.training)
        return evaluate(module, batches.epoch(99), 3, "cpu")  # type: ignore[arg-type]

    backbone = perceptron()
    records = list(train(backbone, batches, settings(epochs=3), evaluate=validate))
    assert [record.epoch for record in records] == [1, 2, 3]
    assert [record.images for record in records] == [20, 20, 20]
    assert [record.lr for record in records] == pytest.approx([0.7 / 9, 0.4 / 9, 0.1 / 9])
    assert all(record.seconds > 0 and not record.replayed for record in records)
    assert records[-1].validation is not None
    assert records[-1].validation == evaluate(backbone.module, batches.epoch(1), 3, "cpu")  # type: ignore[arg-type]
    assert batches.asked[:3] == [1, 99, 2]
    assert len(seen) == 3


def test_train_top1_counts_right_answers() -> None:
    """At a vanishing learning rate the network stays what it is."""
    batches = MemoryBatches(images=21)
    backbone = perceptron()
    right = (backbone.module(batches.images).argmax(1) == batches.labels).sum().item()
    (record,) = train(backbone, batches, settings(epochs=1, lr=1e-12))
    assert record.train_top1 == pytest.approx(100 * right / 21)


@pytest.mark.parametrize("images", [40, 37])  # 37: groups of 16, 16 and 5
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_accumulation_equals_the_large_batch(images: int, label_smoothing: float) -> None:
    large, small = MemoryBatches(images, batch_size=16), MemoryBatches(images, batch_size=4)
    one, other = perceptron(), perceptron()
    shared = {"label_smoothing": label_smoothing, "clip_norm": 0.5}
    a = list(train(one, large, settings(batch_size=16, **shared)))
    b = list(train(other, small, settings(batch_size=4, accumulation_steps=4, **shared)))
    for name, weight in state(one).items():
        torch.testing.assert_close(weight, state(other)[name], rtol=1e-5, atol=1e-6)
    assert [r.train_loss for r in a] == pytest.approx([r.train_loss for r in b], rel=1e-5)
    assert [r.lr for r in a] == pytest.approx([r.lr for r in b])


def test_clipping_is_by_the_norm_of_all_parameters_together() -> None:
    batches = MemoryBatches(images=8)
    backbone = perceptron()
    before = state(backbone)
    chosen = settings(epochs=1, lr=1.0, momentum=0.0, weight_decay=0.0, clip_norm=1e-3)
    list(train(backbone, batches, chosen))
    moved = [weight - before[name] for name, weight in state(backbone).items()]
    norm = math.sqrt(sum(float((part**2).sum()) for part in moved))
    assert norm == pytest.approx(1e-3, rel=1e-2)


def norms_of_plain_updates(batches: MemoryBatches, group: int) -> list[float]:
    """Gradient norms of an epoch in which the network hardly moves, by a loop of its own."""
    module = perceptron().module
    shown = list(batches.epoch(1))
    norms = []
    for start in range(0, len(shown), group):
        images, labels = (
            torch.cat(part) for part in zip(*shown[start : start + group], strict=True)
        )
        module.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        norms.append(math.sqrt(sum(float((p.grad**2).sum()) for p in module.parameters())))
    return norms


@pytest.mark.parametrize("group", [1, 3])  # 5 batches: 5 updates, or 2
def test_the_share_of_clipped_updates_is_counted(group: int) -> None:
    batches = MemoryBatches(images=40)
    norms = sorted(norms_of_plain_updates(batches, group))
    for clipped in range(len(norms) + 1):
        edges = [0.5 * norms[0], *norms, 2 * norms[-1]]
        most = (edges[-2 - clipped] + edges[-1 - clipped]) / 2
        chosen = settings(epochs=1, lr=1e-12, clip_norm=most, accumulation_steps=group)
        (record,) = train(perceptron(), batches, chosen)
        assert record.clipped == pytest.approx(100 * clipped / len(norms))


def test_counting_is_anew_each_epoch_and_without_a_limit_there_is_nothing_to_count() -> None:
    tight = settings(epochs=3, clip_norm=1e-6)
    assert [r.clipped for r in train(perceptron(), MemoryBatches(), tight)] == [100.0] * 3
    assert [r.clipped for r in train(perceptron(), MemoryBatches(), settings())] == [None, None]


def test_a_limit_that_is_never_reached_changes_no_bit() -> None:
    one, other = perceptron(), perceptron()
    free = list(train(one, MemoryBatches(), settings(epochs=3)))
    limited = list(train(other, MemoryBatches(), settings(epochs=3, clip_norm=1e6)))
    assert [r.train_loss for r in free] == [r.train_loss for r in limited]
    assert [r.clipped for r in limited] == [0.0] * 3
    assert all(torch.equal(weight, state(other)[name]) for name, weight in state(one).items())


def test_auxiliary_heads_add_their_weighted_cross_entropy() -> None:
    class WithAuxiliary(nn.Sequential):
        def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
            logits = super().forward(images)
            return logits, [2 * logits, -logits]

    backbone = TinyBackbone(WithAuxiliary(*perceptron().module))
    batches = MemoryBatches(images=8)
    images, labels = next(batches.epoch(1))
    logits, _ = backbone.module(images)
    expected = F.cross_entropy(logits, labels) + 0.3 * (
        F.cross_entropy(2 * logits, labels) + F.cross_entropy(-logits, labels)
    )
    (record,) = train(backbone, batches, settings(epochs=1))
    assert record.train_loss == pytest.approx(expected.item(), rel=1e-6)


def test_auxiliary_heads_get_cross_entropy_and_no_pairwise_confusion() -> None:
    """By hand: two images are one pair, whose squared distance counts λ times half."""
    main = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    side = torch.tensor([[0.0, 3.0, 0.0], [1.0, 0.0, 0.0]])
    labels = torch.tensor([0, 1])
    distance = (main.softmax(1)[0] - main.softmax(1)[1]).square().sum()
    expected = F.cross_entropy(main, labels) + 0.3 * F.cross_entropy(side, labels) + 0.25 * distance
    loss, logits = Objective(settings(lambda_=0.5))((main, [side]), labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(logits, main)


def test_the_head_alone_leaves_the_body_untouched() -> None:
    backbone = perceptron(norm=True)
    before = state(backbone)
    run = train(backbone, MemoryBatches(), settings(epochs=3, head_only_epochs=2, head_only_lr=0.5))
    for epoch, record in zip((1, 2), run, strict=False):
        assert record.epoch == epoch
        assert record.lr == 0.5
        now = state(backbone)
        changed = {name for name in now if not torch.equal(now[name], before[name])}
        assert changed == {"5.weight", "5.bias"}
    assert next(run).lr == pytest.approx(0.1 / 5)
    now = state(backbone)
    assert all(not torch.equal(now[name], before[name]) for name in now)
    assert next(run, None) is None


def test_the_head_alone_sees_the_running_statistics() -> None:
    backbone = perceptron(norm=True)
    with torch.no_grad():
        backbone.module[2].running_mean.fill_(3.0)
    batches = MemoryBatches(images=8)
    backbone.module.eval()
    images, labels = next(batches.epoch(1))
    expected = F.cross_entropy(backbone.module(images), labels).item()
    (record,) = train(backbone, batches, settings(epochs=1, head_only_epochs=1))
    assert record.train_loss == pytest.approx(expected, rel=1e-6)


def test_the_stage_after_the_head_starts_with_fresh_momentum() -> None:
    """Two epochs, the second one from a copy of the first's network: the same end."""
    batches = MemoryBatches()
    backbone, copy = perceptron(), perceptron()
    run = train(backbone, batches, settings(epochs=2, head_only_epochs=1, head_only_lr=0.3))
    next(run)
    copy.module.load_state_dict(state(backbone))
    next(run)
    alone = train(copy, ShiftedBatches(by=1), settings(epochs=1))
    next(alone)
    assert same(state(backbone), state(copy))


class ShiftedBatches(MemoryBatches):
    def __init__(self, by: int) -> None:
        super().__init__()
        self._by = by

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        return super().epoch(epoch + self._by)


def test_closing_early_releases_everything_and_unfreezes() -> None:
    backbone = perceptron()
    batches = MemoryBatches()
    run = train(backbone, batches, settings(epochs=5, head_only_epochs=3))
    next(run)
    assert not any(parameter.requires_grad for parameter in backbone.body_parameters())
    run.close()
    assert all(parameter.requires_grad for parameter in backbone.module.parameters())
    assert all(parameter.grad is None for parameter in backbone.module.parameters())
    assert batches.asked == [1]
    alive = weakref.ref(backbone.module), weakref.ref(batches)
    del run, backbone, batches
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({}, "set train.clip_norm"),
        ({"variant": "jeffreys", "lambda_": 1.0}, "smaller search.jeffreys_lambda"),
        ({"accumulation_steps": 2}, "lower search.lr"),
    ],
)
def test_a_loss_that_is_not_finite_fails_the_trial(values: dict[str, object], advice: str) -> None:
    batches = MemoryBatches()
    batches.images[int(torch.randperm(40, generator=seeded(2))[20])] = float(
        "nan"
    )  # epoch 2's order puts it at place 20: its third batch
    run = train(perceptron(), Poisoned(batches), settings(epochs=3, **values))  # type: ignore[arg-type]
    next(run)
    with pytest.raises(TrialError, match=r"loss became nan at epoch 2, step 3 \(lr 0\.0") as caught:
        next(run)
    assert advice in str(caught.value)


class Poisoned:
    """Whole images in epoch 1, as given afterwards."""

    def __init__(self, batches: MemoryBatches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._batches.epoch(epoch):
            yield (images.nan_to_num() if epoch == 1 else images), labels


@pytest.mark.parametrize("every", [2, 3, 4, 64])
def test_rare_checks_name_the_same_step(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the third and first bad loss of five is found later, or at the epoch's end."""
    monkeypatch.setattr(epoch_module, "batches_between_checks", lambda device: every)
    batches = MemoryBatches()
    batches.images[int(torch.randperm(40, generator=seeded(1))[20])] = float("nan")
    with pytest.raises(TrialError, match=r"loss became nan at epoch 1, step 3 \(lr 0\.08\)"):
        next(train(perceptron(), batches, settings()))
    healthy = list(train(perceptron(), MemoryBatches(), settings()))
    assert [record.epoch for record in healthy] == [1, 2]


def test_divergence_is_noticed_at_a_huge_learning_rate() -> None:
    run = train(perceptron(), MemoryBatches(), settings(epochs=20, lr=1e6))
    with pytest.raises(TrialError, match="loss became"):
        list(run)


def test_batches_of_one_image_and_batch_normalisation_are_explained() -> None:
    chosen = settings(batch_size=1)
    run = train(perceptron(norm=True), MemoryBatches(batch_size=1), chosen)
    with pytest.raises(TrialError, match=r"train\.batch_size at least 2 \(it is 1\)"):
        next(run)


def test_an_unknown_variant_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="euclidean"):
        next(train(perceptron(), MemoryBatches(), settings(variant="euclidian")))


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(train(perceptron(dropout=0.5), MemoryBatches(), settings()))
    assert torch.equal(torch.rand(4), expected)


def test_the_seed_decides_dropout() -> None:
    ends = []
    for seed in (0, 0, 1):
        backbone = perceptron(dropout=0.5)
        torch.manual_seed(len(ends))  # the caller's random state plays no part
        list(train(backbone, MemoryBatches(), settings(seed=seed)))
        ends.append(state(backbone))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


@pytest.mark.parametrize("values", [{}, {"lambda_": 0.3}, {"optimizer": "adamw", "lr": 0.01}])
def test_learns_well_above_chance(values: dict[str, object]) -> None:
    batches = MemoryBatches(images=60)
    backbone = perceptron(norm=True)
    chosen = settings(**{"epochs": 6, "batch_size": 12, **values})
    list(train(backbone, MemoryBatches(images=60, batch_size=12), chosen))
    result = evaluate(backbone.module, batches.epoch(1), 3, "cpu")  # type: ignore[arg-type]
    assert result["top1"] > 90

"""The running mean of the weights: its arithmetic, and its place in a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.helpers import (
    MemoryBatches,
    fixed_evaluation,
    perceptron,
    same,
    settings,
    state,
    train,
)


def test_it_is_the_exponential_mean_of_the_weights_after_each_update() -> None:
    """A naive loop over the same updates: m ← d·m + (1 − d)·w, from the first w on."""
    plain, averaged = perceptron(norm=True), perceptron(norm=True)
    weights: list[dict[str, Tensor]] = []
    step = torch.optim.SGD.step

    def recorded(self: Any, *arguments: Any) -> Any:
        done = step(self, *arguments)
        weights.append(state(plain))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", recorded)
        list(train(plain, MemoryBatches(), settings(epochs=3)))
    mean = weights[0]
    for updates, one in enumerate(weights[1:], start=1):
        decay = min(0.5, (1 + updates) / (10 + updates))  # 2/11, 3/12, ..., 1/2 from the 8th on
        mean = {key: decay * mean[key] + (1 - decay) * one[key] for key in mean}
    assert len(weights) == 15
    list(train(averaged, MemoryBatches(), settings(epochs=3, ema_decay=0.5)))
    for key, value in state(averaged).items():
        if value.is_floating_point():
            torch.testing.assert_close(value, mean[key], rtol=1e-4, atol=1e-6)


def test_it_is_what_is_evaluated_and_training_goes_on_without_it() -> None:
    seen: list[dict[str, Tensor]] = []

    def evaluate(module: nn.Module) -> object:
        seen.append({key: value.clone() for key, value in module.state_dict().items()})
        return fixed_evaluation()

    backbone, plain = perceptron(), perceptron()
    ours = train(backbone, MemoryBatches(), settings(epochs=3, ema_decay=0.9), evaluate=evaluate)
    theirs = train(plain, MemoryBatches(), settings(epochs=3))
    for _ in range(2):
        assert next(ours).train_loss == next(theirs).train_loss
        assert same(state(backbone), state(plain))
        assert not same(seen[-1], state(plain))
    assert next(ours).train_loss == next(theirs).train_loss
    assert same(seen[-1], state(backbone))  # the mean is what is kept


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resumed_it_is_the_same_bit_for_bit(tmp_path: Path, stop: int) -> None:
    chosen = settings(epochs=4, ema_decay=0.8, head_only_epochs=1)
    whole, begun = perceptron(norm=True), perceptron(norm=True)
    list(train(whole, MemoryBatches(), chosen))
    first = train(begun, MemoryBatches(), chosen, checkpoints=tmp_path)
    for _ in range(stop):
        next(first)
    first.close()
    again = perceptron(norm=True, seed=5)
    assert len(list(train(again, MemoryBatches(), chosen, checkpoints=tmp_path))) == 4
    assert same(state(whole), state(again))


def test_without_it_nothing_changes() -> None:
    one, other = perceptron(norm=True), perceptron(norm=True)
    list(train(one, MemoryBatches(), settings()))
    list(train(other, MemoryBatches(), settings(ema_decay=0.0)))
    assert same(state(one), state(other))

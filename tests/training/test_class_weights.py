"""Class weights: counted, scaled, and in the loss of a whole training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pcsearch.errors import UserError
from pcsearch.losses import VARIANTS
from pcsearch.training.class_weights import check_class_weights, with_class_weights
from pcsearch.training.config import OwnLoss
from pcsearch.training.objective import Objective
from tests.training.helpers import (
    MemoryBatches,
    perceptron,
    same,
    settings,
    state,
    train,
)

NAMES = ("007.Crested_Auklet", "Robin", "Wren")
LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])


def numbers(**values: object) -> tuple[float, ...]:
    found = with_class_weights(settings(**values), LABELS, NAMES).class_weights
    assert isinstance(found, tuple)
    return found  # type: ignore[return-value]


def test_balanced_by_hand() -> None:
    """n / (N · n_c), as scikit-learn: 10 images of 3 classes, of which one has 6."""
    assert numbers(class_weights="balanced") == pytest.approx((10 / 18, 10 / 6, 10 / 6))


def test_named_weights_by_hand() -> None:
    """Robins count 3 times: (6 · 1 + 2 · 3 + 2 · 1) / 10 = 1.4 is scaled to 1."""
    found = numbers(class_weights={"robin": 3.0})
    assert found == pytest.approx((1 / 1.4, 3 / 1.4, 1 / 1.4))
    assert numbers(class_weights={"crested auklet": 3, "Robin": 9, "Wren": 3}) == pytest.approx(
        numbers(class_weights={"Robin": 3})
    )
    # balanced sampling shows each class equally often: (1 + 3 + 1) / 3
    sampled = numbers(class_weights={"Robin": 3}, sampling="balanced")
    assert sampled == pytest.approx((0.6, 1.8, 0.6))


def test_none_and_a_class_without_images() -> None:
    assert with_class_weights(settings(), LABELS, NAMES) == settings()
    chosen = with_class_weights(settings(class_weights="balanced"), LABELS, (*NAMES, "Owl"))
    assert np.average(chosen.class_weights[:3], weights=[6, 2, 2]) == pytest.approx(1)  # type: ignore[index]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0.01, 100), min_size=1),
    st.booleans(),
)
def test_the_mean_over_the_images_is_1_and_ratios_stay(
    labels: list[int], stated: dict[str, float], balanced: bool
) -> None:
    chosen = settings(class_weights="balanced" if balanced else stated)
    found = np.array(with_class_weights(chosen, np.array(labels), "abcde").class_weights)
    assert found[labels].mean() == pytest.approx(1)
    if balanced:
        sums = [found[one] * labels.count(one) for one in set(labels)]
        assert sums == pytest.approx([sums[0]] * len(sums))
    else:
        wanted = np.array([stated.get(name, 1.0) for name in "abcde"])
        assert found / found[0] == pytest.approx(wanted / wanted[0])


def test_a_penalty_is_not_weighted_and_mixed_labels_are() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 2, 0, 1])
    chosen = with_class_weights(settings(class_weights={"Robin": 3}, lambda_=2.0), LABELS, NAMES)
    weights = chosen.class_weights
    loss, _ = Objective(chosen)(logits, labels)
    log_p = F.log_softmax(logits, dim=1)
    terms = [-weights[k] * log_p[i, k] for i, k in enumerate(labels.tolist())]  # type: ignore[operator]
    wanted = sum(terms) / 6 + 2 * VARIANTS["euclidean"](logits, labels)
    assert loss.item() == pytest.approx(float(wanted), rel=1e-6)
    mixed, _ = Objective(with_class_weights(settings(class_weights="balanced"), LABELS, NAMES))(
        torch.zeros(1, 3), torch.tensor([[0, 2]]), share=0.25
    )
    assert mixed.item() == pytest.approx((0.25 * 10 / 18 + 0.75 * 10 / 6) * math.log(3))


def test_auxiliary_heads_are_weighted_too() -> None:
    chosen = with_class_weights(settings(class_weights="balanced"), LABELS, NAMES)
    zeros = torch.zeros(1, 3)
    loss, _ = Objective(chosen)((zeros, [zeros]), torch.tensor([1]))
    assert loss.item() == pytest.approx(1.3 * 10 / 6 * math.log(3))


def weighted(**values: object) -> object:
    batches = MemoryBatches(39)
    return with_class_weights(
        settings(class_weights={"a": 5}, **values), batches.labels.numpy(), "abc"
    )


@pytest.mark.parametrize("values", [{"accumulation_steps": 2}, {"focal_gamma": 2.0}])
def test_parts_of_a_batch_and_groups_of_batches_train_as_the_whole(
    values: dict[str, float],
) -> None:
    ends = []
    for parts in (1, 2):
        backbone = perceptron()
        list(train(backbone, MemoryBatches(39), weighted(**values), micro_batches=parts))  # type: ignore[arg-type]
        ends.append(state(backbone))
    for key in ends[0]:
        torch.testing.assert_close(ends[0][key], ends[1][key])


@pytest.mark.parametrize("values", [{}, {"mixup": 0.4, "sam_rho": 0.05}, {"focal_gamma": 2.0}])
def test_resumes_bit_for_bit(values: dict[str, float], tmp_path: Path) -> None:
    whole, first, second = (perceptron() for _ in range(3))
    chosen = weighted(epochs=4, **values)
    list(train(whole, MemoryBatches(39), chosen))  # type: ignore[arg-type]
    run = train(first, MemoryBatches(39), chosen, checkpoints=tmp_path)  # type: ignore[arg-type]
    next(run)
    next(run)
    run.close()
    list(train(second, MemoryBatches(39), chosen, checkpoints=tmp_path))  # type: ignore[arg-type]
    assert same(state(second), state(whole))
    plain = perceptron()
    list(train(plain, MemoryBatches(39), settings(epochs=4, **values)))
    assert not same(state(plain), state(whole))


@hypothesis_settings(max_examples=20)
@given(st.floats(0.01, 100))
def test_equal_weights_change_nothing_but_rounding(weight: float) -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 2, 2, 0, 1, 1, 1])
    equal = settings(class_weights=dict.fromkeys(NAMES, weight))
    found, _ = Objective(with_class_weights(equal, LABELS, NAMES))(logits, labels)
    plain, _ = Objective(settings())(logits, labels)
    assert found.item() == pytest.approx(plain.item(), rel=1e-5)


@pytest.mark.parametrize("stated", ["balanced", {"Robin": 2.0}])
def test_a_training_refuses_weights_that_are_not_numbers_yet(stated: object) -> None:
    with pytest.raises(UserError, match="not yet numbers"):
        Objective(settings(class_weights=stated))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"class_weights": "balance"}, 'class_weights is "balance", but must be none, balanced'),
        ({"class_weights": {}}, "class_weights is empty"),
        ({"class_weights": {"a": 0.0}}, "class_weights has 0.0, but a weight must be greater"),
        ({"class_weights": {"a": math.nan}}, "class_weights has nan"),
        ({"class_weights": "balanced", "sampling": "balanced"}, "twice: choose one"),
        ({"sampling": "balance"}, 'unknown sampling "balance", did you mean "balanced"'),
        ({"class_weights": "balanced", "own_loss": OwnLoss("a:b")}, "in whose place own_loss is"),
    ],
)
def test_impossible_settings(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings(**values)


def test_settings_with_weights_can_be_hashed_and_do_not_depend_on_their_order() -> None:
    one, other = settings(class_weights={"a": 1, "b": 2}), settings(class_weights={"b": 2, "a": 1})
    assert hash(one) == hash(other)
    assert one == other


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (["robbin"], 'names "robbin", which is no class of birds or digits, did you mean "Robin"?'),
        (["zzz"], r'"zzz", which is no class of birds or digits \(6 classes, \'007.Crested'),
        (["robin", "ROBIN"], '"robin" and "ROBIN", which are the same class of birds'),
    ],
)
def test_a_class_that_is_not_there(stated: list[str], message: str) -> None:
    known = {"birds": NAMES, "digits": ("0", "1", "3")}
    with pytest.raises(UserError, match=f"^train.class_weights names .*{message}|{message}"):
        check_class_weights(dict.fromkeys(stated, 2.0), known, "train.class_weights")
    check_class_weights({"crested auklet": 2.0, "3": 2.0}, known, "train.class_weights")


def test_a_name_of_two_classes_is_refused() -> None:
    known = {"birds": ("001.Gull", "002.gull", "Wren")}
    with pytest.raises(UserError, match=r'"gull", which could mean .001.Gull. or .002.gull. of'):
        check_class_weights({"gull": 2.0}, known, "train.class_weights")

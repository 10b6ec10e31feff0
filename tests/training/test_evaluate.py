from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pcsearch.errors import TrialError
from pcsearch.models import build_backbone
from pcsearch.training.evaluate import Evaluation, evaluate
from pcsearch.training.metrics import EpochRecord, record_from_dict
from tests.training.helpers import perceptron, seeded


class Given(nn.Module):
    """Its images [B, 3, 1, N] hold their logits in channel 0."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0]


def batches(
    logits: Tensor, labels: list[int], batch_size: int = 3
) -> Iterator[tuple[Tensor, Tensor]]:
    images = logits[:, None, None].expand(-1, 3, -1, -1)
    for start in range(0, len(labels), batch_size):
        stop = start + batch_size
        yield images[start:stop], torch.tensor(labels[start:stop])


def measured(logits: Tensor, labels: list[int]) -> Evaluation:
    classes = logits.shape[1]
    return evaluate(Given(), batches(logits, labels), classes, "cpu", True)  # type: ignore[arg-type]


def naive(logits: list[list[float]], labels: list[int]) -> Evaluation:
    """Every measure by plain loops."""
    hits, top5, nll = [], [], []
    by_class: dict[int, list[int]] = {}
    bins: list[list[tuple[float, int]]] = [[] for _ in range(15)]
    for row, label in zip(logits, labels, strict=True):
        total = sum(math.exp(value) for value in row)
        ranking = sorted(range(len(row)), key=lambda c: -row[c])
        hit = int(ranking[0] == label)
        confidence = math.exp(row[ranking[0]]) / total
        hits.append(hit)
        top5.append(int(label in ranking[:5]))
        nll.append(-math.log(math.exp(row[label]) / total))
        by_class.setdefault(label, []).append(hit)
        bins[min(14, math.ceil(confidence * 15) - 1)].append((confidence, hit))
    ece = 0.0
    for members in filter(None, bins):
        accuracy = sum(hit for _, hit in members) / len(members)
        confidence = sum(value for value, _ in members) / len(members)
        ece += len(members) / len(labels) * abs(accuracy - confidence)
    count = len(labels)
    class_means = [sum(of) / len(of) for of in by_class.values()]
    return Evaluation(
        {
            "top1": 100 * sum(hits) / count,
            "mean_class_top1": 100 * sum(class_means) / len(class_means),
            "top5": 100 * sum(top5) / count,
            "nll": sum(nll) / count,
            "ece": 100 * ece,
        },
        images=count,
    )


@given(classes=st.integers(2, 12), count=st.integers(1, 40), seed=st.integers(0, 1000))
@hypothesis_settings(max_examples=40, deadline=None)
def test_equals_naive_loops(classes: int, count: int, seed: int) -> None:
    logits = 2 * torch.randn(count, classes, generator=seeded(seed))
    labels = torch.randint(classes, (count,), generator=seeded(seed + 1)).tolist()
    got, wanted = measured(logits, labels), naive(logits.tolist(), labels)
    assert got.images == wanted.images
    assert got.values == pytest.approx(wanted.values, rel=1e-4, abs=1e-4)


def test_by_hand_with_an_absent_class() -> None:
    """Classes 0 (2 of 3 right) and 1 (0 of 1) are there, class 2 is not."""
    logits = torch.tensor([[3.0, 0, 0], [3, 0, 0], [0, 3, 0], [3, 0, 0]])
    got = measured(logits, [0, 0, 0, 1])
    assert got["top1"] == pytest.approx(50)
    assert got["mean_class_top1"] == pytest.approx((2 / 3 + 0) / 2 * 100)
    assert got["top5"] == 100  # three classes: the likeliest three hold the right one
    confidence = math.exp(3) / (math.exp(3) + 2)
    assert got["ece"] == pytest.approx(100 * abs(0.5 - confidence), rel=1e-5)  # all in one bin
    assert got.images == 4


def test_ties_never_put_top1_above_top5() -> None:
    logits = torch.zeros(50, 10)
    labels = torch.randint(10, (50,), generator=seeded(0)).tolist()
    got = measured(logits, labels)
    assert got["top1"] <= got["top5"] < 100
    assert got["nll"] == pytest.approx(math.log(10))


def test_many_small_terms_are_summed_exactly() -> None:
    """In float32, adding 2e5 equal terms one by one would be off in the third digit."""
    logits = torch.tensor([[0.1, 0.0]]).expand(200_000, 2)
    nll = evaluate(Given(), batches(logits, [1] * 200_000, 50_000), 2, "cpu")["nll"]  # type: ignore[arg-type]
    assert nll == pytest.approx(math.log(1 + math.exp(0.1)), rel=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_outputs_that_are_not_finite_fail_the_trial(bad: float) -> None:
    logits = torch.zeros(4, 3)
    logits[2, 1] = bad
    with pytest.raises(TrialError, match="diverged"):
        measured(logits, [1, 1, 1, 1])


def test_no_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        measured(torch.zeros(0, 3), [])


def test_modes_and_statistics_are_left_alone() -> None:
    module = perceptron(norm=True, dropout=0.5).module
    module.train()
    module[2].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    images = torch.randn(6, 3, 4, 4, generator=seeded(0))
    data = [(images, torch.tensor([0, 1, 2, 0, 1, 2]))]
    first = evaluate(module, data, 3, "cpu")  # type: ignore[arg-type]
    assert evaluate(module, data, 3, "cpu") == first  # type: ignore[arg-type] # dropout is off
    assert [layer.training for layer in module] == [True, True, False, True, True, True]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_traced_network_trains_by_its_training_graph_again() -> None:
    """Feature extractors have two graphs, one a mode, which may differ (in dropout, say)."""
    module = build_backbone(
        "bilinear_cnn", 3, options={"features": "squeezenet1_1", "channels": 4}
    ).module
    traced = module.get_submodule("trunk.layers")
    module.train()
    traced.get_submodule("features.3").eval()
    modes = [layer.training for layer in module.modules()]
    data = [(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1]))]
    evaluate(module, data, 3, "cpu")  # type: ignore[arg-type]
    assert [layer.training for layer in module.modules()] == modes
    assert traced.graph is traced.train_graph


def test_a_record_of_the_first_version_is_read() -> None:
    """Its checkpoint has the metrics side by side with the number of images."""
    record = EpochRecord(3, 1.5, 40.0, 0.01, 2.0, 80, validation=Evaluation({"top1": 5.0}, 9, "gA"))
    saved = asdict(record)
    assert record_from_dict(saved) == record
    first = {**saved, "validation": {"top1": 5.0, "images": 9, "hits": "gA"}}
    assert record_from_dict(first) == record

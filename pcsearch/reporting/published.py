"""The paper's numbers as data, for comparison with a campaign's."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypedDict


class Published(TypedDict):
    """A published pair of results and the table it is from."""

    baseline: float
    pc: float
    source: str


def published(dataset: str, backbone: str, num_classes: int) -> Published | None:
    """The paper's top-1 accuracies in percent (Tables 2 and 3); None if it has none.

    Also None if `num_classes` is not the dataset's full number of classes, because accuracies on
    different classes are not comparable.
    """
    return _entry("top1_percent", dataset, backbone, num_classes)


def published_iou(dataset: str, backbone: str, num_classes: int) -> Published | None:
    """The paper's mean IoU, in [0, 1], of Grad-CAM boxes with the given boxes (Table 4)."""
    return _entry("mean_iou", dataset, backbone, num_classes)


def published_backbones(dataset: str) -> tuple[str, ...]:
    """The backbones for which the paper has any number on that dataset, in its order."""
    tables = (_data()[measure].get(dataset, {}) for measure in ("top1_percent", "mean_iou"))
    return tuple(
        dict.fromkeys(name for table in tables for name in table.get("baseline_and_pc", ()))
    )


def _entry(
    measure: Literal["top1_percent", "mean_iou"], dataset: str, backbone: str, num_classes: int
) -> Published | None:
    data = _data()
    entry = data[measure].get(dataset)
    if entry is None or entry["num_classes"] != num_classes:
        return None
    pair = entry["baseline_and_pc"].get(backbone)
    if pair is None:
        return None
    return Published(baseline=pair[0], pc=pair[1], source=f"{data['paper']}, {entry['table']}")


@cache
def _data() -> dict[str, Any]:
    text = (files("pcsearch.reporting") / "published.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data

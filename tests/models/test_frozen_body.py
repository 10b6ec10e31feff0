"""A network is cut before its last layer, and the two parts give what the whole gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.models import Backbone, build_backbone
from pcsearch.models.frozen_body import body_hash, freeze_body
from pcsearch.models.weights import LoadReport

CUTS = [
    ("compact_cnn", 32, "head", [64], []),
    ("squeezenet1_1", 48, "classifier.1", [512, 2, 2], ["Dropout"]),
    ("mobilenet_v2", 32, "classifier.1", [1280], ["Dropout"]),
]


def images(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "side", "layer", "shape", "dropout"), CUTS)
def test_the_head_gives_the_networks_logits(
    name: str, side: int, layer: str, shape: list[int], dropout: list[str]
) -> None:
    backbone = build_backbone(name, 5)
    body = freeze_body(backbone, side)
    given = images(3, side)
    features = body.features(given)
    with torch.no_grad():
        logits = backbone.module.eval()(given)
        alone = body.head.module.eval()(features)
    assert body.layer == layer
    assert list(features.shape) == [3, *shape]
    assert [type(one).__name__ for one in body.head.module.dropout] == dropout  # type: ignore
    assert torch.equal(alone, logits)


def test_the_heads_parameters_are_those_of_the_network() -> None:
    backbone = build_backbone("squeezenet1_1", 5)
    head = freeze_body(backbone, 48).head
    assert head.head_names == ("layer.weight", "layer.bias")
    pairs = zip(head.head_parameters(), backbone.head_parameters(), strict=True)
    assert all(one is other for one, other in pairs)
    assert head.body_parameters() == []


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("bilinear_cnn", {"features": "squeezenet1_1", "channels": 8}, "is several layers"),
        ("bilinear_cnn", {"features": "squeezenet1_1", "channels": 8}, r"\(project, head\)"),
    ],
)
def test_a_head_of_several_layers_is_refused(
    name: str, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        freeze_body(build_backbone(name, 5, options=options), 64)


class Own(nn.Module):
    """Does something between dropout and its last layer, and changes what that layer returns."""

    def __init__(self, factor: float = 1.0, between: str = "nothing") -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(48, 4)
        self.factor, self.between = factor, between

    def forward(self, images: Tensor) -> Tensor:
        if self.between == "flatten":
            values = self.dropout(images.abs()).flatten(1)  # as in Inception v3
        else:
            values = self.dropout(images.abs().flatten(1))
        if self.between == "add":
            values.add_(1)
        logits: Tensor = self.head(values)
        return self.factor * logits


def own(module: nn.Module) -> Backbone:
    return Backbone(module, LoadReport("none"), ("head.weight", "head.bias"))


def test_a_network_that_changes_its_logits_is_refused() -> None:
    assert freeze_body(own(Own()), 4).layer == "head"
    with pytest.raises(UserError, match="the network changes what its last layer, `head`, returns"):
        freeze_body(own(Own(1.001)), 4)


@pytest.mark.parametrize(("between", "found"), [("nothing", 1), ("flatten", 1), ("add", 0)])
def test_dropout_belongs_to_the_head_only_if_it_is_directly_before_it(
    between: str, found: int
) -> None:
    head: Any = freeze_body(own(Own(between=between)), 4).head.module
    assert len(head.dropout) == found


def test_a_hash_holds_every_tensor_of_the_body_and_none_of_the_head() -> None:
    backbone = build_backbone("compact_cnn", 5)
    before = body_hash(backbone)
    other = build_backbone("compact_cnn", 7)
    body = {key: value for key, value in backbone.module.state_dict().items() if "head" not in key}
    assert body_hash(other) != before
    other.module.load_state_dict(body, strict=False)
    assert body_hash(other) == before
    assert body_hash(build_backbone("compact_cnn", 5, seed=1)) != before
    with torch.no_grad():
        backbone.module.head.bias.add_(1)  # type: ignore
    assert body_hash(backbone) == before
    backbone.module.stem[1].running_mean[0] += 1e-6  # type: ignore
    assert body_hash(backbone) != before

"""Finding and replacing classifiers by introspection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models as zoo

from pcsearch.errors import UserError
from pcsearch.models import Backbone, build_backbone
from pcsearch.models.heads import find_head, parameter_names, replace_layer

ONE_A_FAMILY = {
    "alexnet": "classifier.6",
    "convnext_tiny": "classifier.2",
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
    "googlenet": "fc",
    "inception_v3": "fc",
    "maxvit_t": "classifier.5",
    "mnasnet0_5": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3_small": "classifier.3",
    "regnet_y_400mf": "fc",
    "resnet18": "fc",
    "shufflenet_v2_x0_5": "fc",
    "squeezenet1_1": "classifier.1",
    "swin_t": "head",
    "vgg11": "classifier.6",
    "vit_b_32": "heads.head",
}


class ParametersOnMeta(TorchFunctionMode):
    """Layers get weights without memory; what a constructor computes with stays real."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def build_on_meta(name: str) -> Backbone:
    with ParametersOnMeta():
        backbone = build_backbone(name, 7)
    backbone.module.to("meta")
    return backbone


def assert_contract(backbone: Backbone, num_classes: int, size: int = 224) -> None:
    """Logits [B, N] in both modes; head and body partition the parameters."""
    images = torch.zeros(2, 3, size, size, device=next(backbone.module.parameters()).device)
    for training in (True, False):
        logits = backbone.module.train(training)(images)
        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, num_classes)
    head, body = backbone.head_parameters(), backbone.body_parameters()
    assert head
    assert body
    both = [id(p) for p in (*head, *body)]
    assert sorted(both) == sorted(id(p) for p in backbone.module.parameters())
    assert len(set(both)) == len(both)


@pytest.mark.parametrize("name", ONE_A_FAMILY)
def test_one_of_each_torchvision_family(name: str) -> None:
    backbone = build_on_meta(name)
    assert_contract(backbone, 7)
    assert {key.rpartition(".")[0] for key in backbone.head_names} == {ONE_A_FAMILY[name]}


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.list_models(module=zoo))
def test_every_torchvision_classifier(name: str) -> None:
    assert_contract(build_on_meta(name), 7)


def test_families_cover_torchvision() -> None:
    families = {zoo.get_model_builder(name).__module__ for name in zoo.list_models(module=zoo)}
    assert {zoo.get_model_builder(name).__module__ for name in ONE_A_FAMILY} == families


def test_head_layer_keeps_inputs_and_bias() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 9, bias=False))
    replace_layer(network, find_head(network), 3)
    assert network[3].weight.shape == (3, 4)
    assert network[3].bias is None
    assert parameter_names(network, "3") == ("3.weight",)


def test_attribute_is_preferred_to_a_later_linear_layer() -> None:
    class TwoLinear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.later = nn.Linear(4, 4)

    assert find_head(TwoLinear()) == "head"


def test_head_of_an_unknown_kind_is_taken_whole() -> None:
    class Cosine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prototypes = nn.Parameter(torch.ones(3, 4))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.head = Cosine()

    assert find_head(Network()) == "head"
    assert parameter_names(Network(), "head") == ("head.prototypes",)
    with pytest.raises(UserError, match="cannot replace"):
        replace_layer(Network(), "head", 5)


def test_empty_attribute_is_passed_over() -> None:
    network = zoo.resnet18()
    network.head = nn.Identity()
    assert find_head(network) == "fc"


def test_no_classifier_is_an_error() -> None:
    with pytest.raises(UserError, match="no recognisable classifier"):
        find_head(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))

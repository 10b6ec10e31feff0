"""State dicts between torchvision's and timm's names, for networks that both libraries have.

Both libraries define the layers of such a network in the same order, so the n-th tensor of one is
the n-th of the other, but for those of `_MOVED`. Tensors may have another shape of as many
values, as a linear layer and a 1x1 convolution do. Order and size alone prove nothing: a network is
listed in `TWINS` only if a test shows that both versions give the same logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.models.names import TIMM
from pcsearch.models.torchvision_import import zoo
from pcsearch.models.weights import COMPUTED, WRAPPERS

TWINS: Mapping[str, str] = {
    "convnext_tiny": "convnext_tiny",
    "convnext_small": "convnext_small",
    "convnext_base": "convnext_base",
    "convnext_large": "convnext_large",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet0_75": "mnasnet_075",
    "mnasnet1_0": "mnasnet_100",
    "mobilenet_v2": "mobilenetv2_100",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "vgg11": "vgg11",
    "vgg11_bn": "vgg11_bn",
    "vgg13": "vgg13",
    "vgg13_bn": "vgg13_bn",
    "vgg16": "vgg16",
    "vgg16_bn": "vgg16_bn",
    "vgg19": "vgg19",
    "vgg19_bn": "vgg19_bn",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
}
"""torchvision's network → timm's, where the names of their tensors differ.

ResNets and DenseNets have the same names in both. Not listed: EfficientNets, since timm has two
with the same tensors that differ in their padding; MobileNet v3 and EfficientNet v2, which differ
in a constant of their normalisation; RegNets and Swin v2, which differ in the order or the tensors.
"""

_MOVED: Mapping[str, float] = {"pos_embed": 2.5, ".downsample.reduction.weight": -2.5}
"""Ends of timm's names, and by how many places torchvision defines these tensors later."""


def translated(name: str, state: Mapping[str, Tensor], source: str) -> Mapping[str, Tensor]:
    """`state` with the names of the network `name`, if it has those of its twin; else as it is.

    Args:
        name: a backbone's name.
        state: the file's tensors.
        source: where `state` comes from, for messages.

    Raises:
        UserError: the file has the twin's names, but lacks some, or has more layers or other sizes.
    """
    twin = _twin(name)
    if twin is None or find_spec("timm") is None:
        return state
    theirs, ours = _tensors(twin), _tensors(name)
    named = ({prefix.sub("", key): value for key, value in state.items()} for prefix in WRAPPERS)
    file = max(named, key=lambda one: len(theirs.keys() & one.keys()))
    known = len(theirs.keys() & file.keys())
    if known <= max(len(theirs) / 2, len(ours.keys() & file.keys())):
        return state
    pairs = dict(zip(theirs, ours, strict=True))
    head = list(theirs)[-2:]
    wrong = [
        f"{key} is {list(file[key].shape) if key in file else 'absent'}, not {list(shape)}"
        for key, shape in theirs.items()
        if key not in head and (key not in file or file[key].shape != shape)
    ]
    wrong += [
        f"{key} has no place"
        for key, value in file.items()
        if key not in theirs and value.ndim and not key.endswith(COMPUTED)
    ]
    if wrong:
        raise UserError(
            f"weights: {source} has names of {twin}, but {len(wrong)} of its tensors do not match "
            f"those of {name}: {', '.join(wrong[:3])}{', ...' if wrong[3:] else ''}; give weights "
            "of this network, or choose the backbone to which they belong"
        )
    return {
        own: file[key].reshape(-1 if key in head else len(file[key]), *ours[own][1:])
        for key, own in pairs.items()
        if key in file
    }


def _twin(name: str) -> str | None:
    """The name of the same network in the other library, as recipes write it."""
    if not name.startswith(TIMM):
        return TIMM + TWINS[name] if name in TWINS else None
    plain = name.removeprefix(TIMM).partition(".")[0]
    return next((key for key, value in TWINS.items() if value == plain), None)


def _tensors(name: str) -> dict[str, torch.Size]:
    """Names and shapes of a network's trained tensors, in torchvision's order; the head is last."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = _network(name)
    shapes = {
        key: value.shape for key, value in module.state_dict().items() if not key.endswith(COMPUTED)
    }
    return {key: shapes[key] for key in _ordered(list(shapes))}


def _network(name: str) -> nn.Module:
    module: nn.Module
    if name.startswith(TIMM):
        import timm

        module = timm.create_model(name.removeprefix(TIMM).partition(".")[0])
    else:
        module = zoo.get_model(name, weights=None, progress=False)
    return module


def _ordered(names: Sequence[str]) -> list[str]:
    def place(index: int) -> float:
        moved = (by for end, by in _MOVED.items() if names[index].endswith(end))
        return index + next(moved, 0.0)

    return [names[index] for index in sorted(range(len(names)), key=place)]

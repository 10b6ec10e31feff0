"""State dicts between timm's and torchvision's names: both versions give the same logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.models import build_backbone
from pcsearch.models.translation import TWINS

timm = pytest.importorskip("timm")

QUICK = {"convnext_tiny", "mobilenet_v2", "swin_t"}
SAME_NAMES = {"resnet18": "resnet18", "densenet121": "densenet121"}
CLASSES, PIXELS = 1000, 224


def drawn(module: nn.Module) -> dict[str, Tensor]:
    """Random values for every tensor that is trained: no two layers are alike, no branch is off."""
    generator = torch.Generator().manual_seed(5)
    state = {}
    for key, value in module.state_dict().items():
        if not value.is_floating_point():
            state[key] = value
        elif key.endswith("running_var"):
            state[key] = torch.rand(value.shape, generator=generator) + 0.5
        else:
            spread = value[0].numel() ** -0.5 if value.ndim > 1 else 0.2
            centre = 1.0 if value.ndim == 1 and key.endswith("weight") else 0.0
            state[key] = centre + spread * torch.randn(value.shape, generator=generator)
    return state


def logits(module: nn.Module) -> Tensor:
    images = torch.randn(2, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        found: Tensor = module.eval()(images)
    return found


def stored(module: nn.Module, path: Path) -> str:
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, path)
    return str(path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in {*QUICK, "resnet18"} else pytest.mark.slow)
        for name in (*TWINS, *SAME_NAMES)
    ],
)
def test_both_libraries_compute_the_same(name: str, tmp_path: Path) -> None:
    """A file of timm's for torchvision's network, and the file of that for timm's network."""
    twin = (TWINS | SAME_NAMES)[name]
    first = timm.create_model(twin)
    first.load_state_dict(drawn(first))
    expected = logits(first)
    assert expected.std() > 0.01
    there = build_backbone(name, CLASSES, weights=stored(first, tmp_path / "timm.safetensors"))
    back = build_backbone(
        f"timm/{twin}",
        CLASSES,
        weights=stored(there.module, tmp_path / "torchvision.safetensors"),
    )
    for backbone in (there, back):
        assert backbone.loading.missing == ()
        torch.testing.assert_close(logits(backbone.module), expected, rtol=1e-4, atol=1e-4)


def small(name: str) -> dict[str, Tensor]:
    """The state dict of timm's network: every value is 0."""
    with torch.device("meta"):
        names = timm.create_model(name).state_dict()
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in names.items()}


def test_prefixes_and_a_head_of_another_size(tmp_path: Path) -> None:
    state = {f"module.{key}": value + 1 for key, value in small("mobilenetv2_100").items()}
    save_file(state, tmp_path / "w.safetensors")
    backbone = build_backbone("mobilenet_v2", 7, weights=str(tmp_path / "w.safetensors"))
    assert set(backbone.loading.dropped) == set(backbone.head_names)
    assert backbone.loading.missing == ()
    assert backbone.module.state_dict()["features.0.0.weight"].eq(1).all()


def refusal(name: str, state: dict[str, Tensor], folder: Path) -> str:
    save_file(state, folder / "w.safetensors")
    with pytest.raises(UserError) as caught:
        build_backbone(name, 7, weights=str(folder / "w.safetensors"))
    return str(caught.value)


def test_what_does_not_match_is_named(tmp_path: Path) -> None:
    state = small("mobilenetv2_100")
    told = refusal("mobilenet_v2", state | {"conv_stem.weight": torch.zeros(8, 3, 3, 3)}, tmp_path)
    assert "has names of timm/mobilenetv2_100, but 1 of its tensors do not match" in told
    assert "conv_stem.weight is [8, 3, 3, 3], not [32, 3, 3, 3]" in told
    less = {key: value for key, value in state.items() if key != "bn2.bias"}
    assert "bn2.bias is absent, not [1280]" in refusal("mobilenet_v2", less, tmp_path)
    more = state | {"norm_pre.weight": torch.zeros(3)}
    assert "norm_pre.weight has no place" in refusal("mobilenet_v2", more, tmp_path)


def test_a_deeper_twin_is_refused(tmp_path: Path) -> None:
    told = refusal("convnext_tiny", small("convnext_small"), tmp_path)
    assert "162 of its tensors do not match those of convnext_tiny: stages.2.blocks." in told
    assert "has no place" in told


def test_networks_whose_versions_differ_are_not_translated(tmp_path: Path) -> None:
    """timm's efficientnet_b0 and tf_efficientnet_b0 have the same tensors and other paddings."""
    told = refusal("efficientnet_b0", small("efficientnet_b0"), tmp_path)
    assert "fits no layer of this network: the file starts with" in told

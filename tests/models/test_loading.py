"""Matching state dicts with networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.models import build_backbone
from pcsearch.models.weights import load_state

HEAD = ("classifier.1.weight", "classifier.1.bias")
NAME = "squeezenet1_1"


def state_of(name: str, num_classes: int, **how: object) -> dict[str, Tensor]:
    return dict(build_backbone(name, num_classes, seed=9, **how).module.state_dict())


def saved(state: dict[str, Tensor], folder: Path) -> str:
    torch.save(state, folder / "w.pth")
    return str(folder / "w.pth")


def assert_same(module: torch.nn.Module, state: dict[str, Tensor], *, without: str = "~") -> None:
    own = module.state_dict()
    assert all(torch.equal(own[k], v) for k, v in state.items() if not k.startswith(without))


def test_same_classes_load_whole(tmp_path: Path) -> None:
    state = state_of(NAME, 5)
    backbone = build_backbone(NAME, 5, weights=saved(state, tmp_path))
    assert_same(backbone.module, state)
    report = backbone.loading
    assert (report.source, report.dropped, report.missing) == (str(tmp_path / "w.pth"), (), ())


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "model.",
        "model._orig_mod.",
        "backbone.",
        "model.backbone.",
        "module.encoder.",
        "network._orig_mod.",
    ],
)
def test_wrappers_prefixes(tmp_path: Path, prefix: str) -> None:
    state = state_of(NAME, 5)
    path = saved({prefix + key: value for key, value in state.items()}, tmp_path)
    backbone = build_backbone(NAME, 5, weights=path)
    assert_same(backbone.module, state)
    assert backbone.loading.missing == ()


def test_a_checkpoint_with_plain_and_averaged_weights(tmp_path: Path) -> None:
    """As torchvision's reference training writes it."""
    plain = state_of(NAME, 5)
    mean = {f"module.{key}": value / 2 for key, value in plain.items()}
    content = {"model": plain, "model_ema": {"n_averaged": torch.tensor(9), **mean}, "epoch": 3}
    torch.save(content, tmp_path / "w.pth")
    backbone = build_backbone(NAME, 5, weights=str(tmp_path / "w.pth"))
    assert_same(backbone.module, {key: value / 2 for key, value in plain.items()})
    assert backbone.loading.source == (
        f"{tmp_path / 'w.pth'} (its averaged weights `model_ema`, not the plain ones `model`)"
    )


def test_head_of_another_size_is_dropped_and_seeded(tmp_path: Path) -> None:
    state = state_of(NAME, 1000)
    backbone = build_backbone(NAME, 5, weights=saved(state, tmp_path), seed=3)
    assert backbone.loading.dropped == HEAD
    assert backbone.loading.missing == ()
    assert_same(backbone.module, state, without="classifier")
    fresh = build_backbone(NAME, 5, seed=3)
    for loaded, random in zip(backbone.head_parameters(), fresh.head_parameters(), strict=True):
        assert torch.equal(loaded, random)


def test_absent_head_and_absent_body_layer_are_reported(tmp_path: Path) -> None:
    state = state_of(NAME, 5)
    gone = (*HEAD, "features.3.squeeze.bias")
    kept = {key: value for key, value in state.items() if key not in gone}
    loading = build_backbone(NAME, 5, weights=saved(kept, tmp_path)).loading
    assert set(loading.missing) == set(gone)
    assert loading.dropped == ()


def test_half_precision_is_cast(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in state_of(NAME, 5).items()}
    module = build_backbone(NAME, 5, weights=saved(state, tmp_path)).module
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert_same(module, {key: value.float() for key, value in state.items()})


def test_nothing_in_common(tmp_path: Path) -> None:
    path = saved(state_of("compact_cnn", 5), tmp_path)
    with pytest.raises(UserError, match=r"starts with stem\.0\.weight.*network with features\.0"):
        build_backbone(NAME, 5, weights=path)


def test_only_a_head_in_common_is_nothing(tmp_path: Path) -> None:
    head = {key: value for key, value in state_of(NAME, 5).items() if key in HEAD}
    with pytest.raises(UserError, match="fits no layer"):
        build_backbone(NAME, 5, weights=saved(head, tmp_path))


def test_another_network_of_the_same_names(tmp_path: Path) -> None:
    path = saved(state_of("compact_cnn", 5, options={"width": 8}), tmp_path)
    with pytest.raises(UserError, match=r"another network: stem\.0\.weight is \[8, 3, 3, 3\]"):
        build_backbone("compact_cnn", 5, weights=path)


def test_unused_entries_are_reported(tmp_path: Path) -> None:
    state = state_of("googlenet", 5, options={"aux": True})
    loading = build_backbone("googlenet", 5, weights=saved(state, tmp_path)).loading
    assert loading.dropped
    assert all(key.startswith("aux") for key in loading.dropped)
    assert loading.missing == ()


def test_batch_counters_may_be_absent(tmp_path: Path) -> None:
    state = state_of("compact_cnn", 5)
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    assert build_backbone("compact_cnn", 5, weights=saved(old, tmp_path)).loading.missing == ()


def test_old_densenet_names(tmp_path: Path) -> None:
    state = state_of("densenet121", 5)
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in state.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    backbone = build_backbone("densenet121", 5, weights=saved(old, tmp_path))
    assert_same(backbone.module, state)
    assert backbone.loading.dropped == backbone.loading.missing == ()


def test_bilinear_takes_plain_weights_and_its_own(tmp_path: Path) -> None:
    options = {"features": NAME, "channels": 8}
    plain = state_of(NAME, 1000)
    path = saved({f"module.{key}": value for key, value in plain.items()}, tmp_path)
    backbone = build_backbone("bilinear_cnn", 5, weights=path, options=options)
    own = backbone.module.state_dict()
    features = [key for key in plain if key.startswith("features")]
    assert all(torch.equal(own[f"trunk.layers.{key}"], plain[key]) for key in features)
    assert set(backbone.loading.dropped) == {f"trunk.layers.{key}" for key in HEAD}
    assert set(backbone.loading.missing) == set(backbone.head_names)

    path = saved(dict(own), tmp_path)
    again = build_backbone("bilinear_cnn", 5, weights=path, options=options)
    assert_same(again.module, dict(own))
    assert again.loading.dropped == again.loading.missing == ()


def test_safetensors_of_a_network_that_reads_a_format_version(tmp_path: Path) -> None:
    state = state_of("mnasnet0_5", 5)
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "w.safetensors")
    backbone = build_backbone("mnasnet0_5", 5, weights=str(tmp_path / "w.safetensors"))
    assert_same(backbone.module, state)


def test_a_lightning_checkpoint_with_more_in_it(tmp_path: Path) -> None:
    state = state_of(NAME, 5)
    stored = {f"model.{key}": value for key, value in state.items()} | {"loss.w": torch.ones(2)}
    torch.save({"state_dict": stored, "epoch": 3}, tmp_path / "w.ckpt")
    backbone = build_backbone(NAME, 5, weights=str(tmp_path / "w.ckpt"))
    assert_same(backbone.module, state)
    assert (backbone.loading.dropped, backbone.loading.missing) == (("loss.w",), ())


class Wrapping(nn.Module):
    """A network whose own names begin as a wrapper's."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 2)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_that_has_a_wrappers_name_in_it(prefix: str) -> None:
    own, other = Wrapping(), Wrapping()
    state = {prefix + key: value for key, value in other.state_dict().items()}
    report = load_state(own, state, head=("head.weight", "head.bias"), source="w")
    assert (report.dropped, report.missing) == ((), ())
    assert_same(own, dict(other.state_dict()))


def test_a_part_that_explains_little_is_not_guessed(tmp_path: Path) -> None:
    """Two of 50 tensors have their names under `encoder.`: another network's, by chance."""
    names = ("features.0.weight", "features.0.bias")
    state = {f"encoder.{key}": state_of(NAME, 5)[key] for key in names}
    with pytest.raises(UserError, match="fits no layer"):
        build_backbone(NAME, 5, weights=saved(state, tmp_path))


def without(state: dict[str, Tensor], share: float) -> tuple[dict[str, Tensor], list[str]]:
    """`state` less the last `share` of its body's tensors, and these tensors' names."""
    body = [key for key in state if key not in HEAD]
    gone = body[len(body) - int(share * len(body)) :]
    return {key: value for key, value in state.items() if key not in gone}, gone


def test_up_to_a_tenth_of_the_body_may_be_missing(tmp_path: Path) -> None:
    kept, gone = without(state_of(NAME, 5), 0.1)
    assert gone
    backbone = build_backbone(NAME, 5, weights=saved(kept, tmp_path))
    assert list(backbone.loading.missing) == gone


def test_more_of_the_body_missing_is_another_network(tmp_path: Path) -> None:
    kept, gone = without(state_of(NAME, 5), 0.2)
    with pytest.raises(UserError, match=rf"lacks {len(gone)} of the 50 .*: {gone[0]}, .*choose"):
        build_backbone(NAME, 5, weights=saved(kept, tmp_path))


def test_a_shallower_network_of_the_same_names(tmp_path: Path) -> None:
    path = saved(state_of("resnet50", 5), tmp_path)
    with pytest.raises(UserError, match=r"lacks 255 of .*layer3\.6\.conv1\.weight"):
        build_backbone("resnet101", 5, weights=path)


def test_a_deeper_network_of_the_same_names(tmp_path: Path) -> None:
    path = saved(state_of("resnet34", 5), tmp_path)
    with pytest.raises(UserError, match=r"is of a larger network: \d+ of its \d+ tensors"):
        build_backbone("resnet18", 5, weights=path)


def test_parts_that_a_network_lacks_as_a_whole_are_left_out(tmp_path: Path) -> None:
    state = state_of(NAME, 5)
    more = {f"decoder.{key}": value for key, value in state.items()}
    assert build_backbone(NAME, 5, weights=saved(state | more, tmp_path)).loading.dropped


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("half", [False, True])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float, half: bool) -> None:
    state = state_of(NAME, 5)
    bad = state["features.3.squeeze.weight"].flatten()
    bad[[7, 9]] = value
    state = {key: tensor.half() if half else tensor for key, tensor in state.items()}
    path = saved(state, tmp_path)
    with pytest.raises(UserError) as error:
        build_backbone(NAME, 5, weights=path)
    told = f"weights: {path}: the tensor features.3.squeeze.weight holds 2 values that are NaN or"
    assert str(error.value).startswith(f"{told} infinite, of 1024: ")


def test_large_values_and_a_head_that_is_dropped_are_not_refused(tmp_path: Path) -> None:
    state = state_of(NAME, 1000)
    state["features.3.squeeze.weight"][:] = 3e38  # their sum is beyond float32
    state["classifier.1.bias"][0] = float("nan")
    loaded = build_backbone(NAME, 5, weights=saved(state, tmp_path)).module.state_dict()
    assert torch.equal(loaded["features.3.squeeze.weight"], state["features.3.squeeze.weight"])

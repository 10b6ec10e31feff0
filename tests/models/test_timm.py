"""timm's networks by name: their heads, options and weights files, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file

from pcsearch.errors import UserError
from pcsearch.models import (
    PublishedWeights,
    build_backbone,
    published_weights,
    weights_normalisation,
)
from pcsearch.models.names import timm_networks, wrong_name, wrong_options
from pcsearch.recipe import RecipeError, load_recipe
from pcsearch.search.journal.events import StudyId

timm = pytest.importorskip("timm")

SMALL = {
    "timm/test_resnet": {"fc.weight", "fc.bias"},
    "timm/test_convnext": {"head.fc.weight", "head.fc.bias"},
    "timm/test_vit.r160_in1k": {"head.weight", "head.bias"},
    "timm/test_efficientnet": {"classifier.weight", "classifier.bias"},
}


def test_names_are_read_without_importing_it() -> None:
    code = (
        "import sys; from pcsearch.models.names import timm_networks; "
        "print(len(timm_networks()), 'timm' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(timm.list_models())), "False", "False"]
    assert set(timm_networks()) == set(timm.list_models())


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_network_gets_a_head_for_the_classes(name: str) -> None:
    backbone = build_backbone(name, 7)
    assert set(backbone.head_names) == SMALL[name]
    with torch.no_grad():
        assert backbone.module.eval()(torch.zeros(2, 3, 160, 160)).shape == (2, 7)
    assert backbone.body_parameters()
    assert len(backbone.head_parameters()) == 2


def test_the_seed_decides() -> None:
    one, same, other = (build_backbone("timm/test_resnet", 3, seed=seed) for seed in (1, 1, 2))
    first = next(iter(one.module.state_dict()))
    assert torch.equal(one.module.state_dict()[first], same.module.state_dict()[first])
    assert not torch.equal(one.module.state_dict()[first], other.module.state_dict()[first])


def test_a_state_dict_in_timms_format(tmp_path: Path) -> None:
    published = timm.create_model("test_resnet", num_classes=1000)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    backbone = build_backbone("timm/test_resnet", 5, weights=str(tmp_path / "model.safetensors"))
    ours, theirs = backbone.module.state_dict(), published.state_dict()
    assert set(backbone.loading.dropped) == {"fc.weight", "fc.bias"}
    for name in set(ours) - set(backbone.head_names):
        assert torch.equal(ours[name], theirs[name])


def test_another_networks_state_dict_is_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet26").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="weights: "):
        build_backbone("timm/resnet14t", 5, weights=str(tmp_path / "model.safetensors"))


def test_options() -> None:
    backbone = build_backbone("timm/test_vit", 3, options={"img_size": 32, "drop_path_rate": 0.1})
    with torch.no_grad():
        assert backbone.module.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    rates = [m.drop_prob for m in backbone.module.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.1)
    with pytest.raises(UserError, match="cannot be built with the options"):
        build_backbone("timm/test_resnet", 3, options={"window_size": 3})
    for key in ("checkpoint_path", "pretrained", "pretrained_cfg", "cache_dir", "num_classes"):
        assert "has no option" in wrong_options("timm/test_vit", {key: "x"})[key]


def test_its_own_normalisation() -> None:
    found = weights_normalisation("timm/test_vit.r160_in1k", "imagenet")
    assert found is not None
    assert found.mean == (0.5, 0.5, 0.5)
    assert weights_normalisation("timm/test_vit", "none") is None


def test_the_licence_is_the_one_that_timm_states() -> None:
    assert published_weights("timm/resnet50.a1_in1k", "imagenet") == PublishedWeights(
        "timm/resnet50.a1_in1k",
        "timm",
        "apache-2.0",
        "https://github.com/huggingface/pytorch-image-models",
    )
    noncommercial = published_weights("timm/convnextv2_tiny.fcmae", "imagenet")
    assert noncommercial is not None
    assert noncommercial.licence == "cc-by-nc-4.0"
    assert published_weights("timm/resnet50.a1_in1k", "none") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnett50", 'timm has no such network, did you mean "resnet50"'),
        ("timm/resnet5O", "write timm/NAME or timm/NAME.TAG"),
        ("timm/hf-hub:someone/net", "write timm/NAME"),
        ("timm/local-dir:/tmp/x", "write timm/NAME"),
        ("timm/../resnet50", "write timm/NAME"),
        ("timm/", "write timm/NAME"),
        ("timm/resnet50.a1/b", "write timm/NAME"),
    ],
)
def test_what_is_no_name(name: str, message: str) -> None:
    assert message in wrong_name(name)
    with pytest.raises(RecipeError):
        load_recipe("quickstart", [f"backbones=[{name!r}]"])
    with pytest.raises(UserError):
        build_backbone(name, 3)


def test_a_tag_that_does_not_exist_and_weights_that_are_not_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="timm/test_resnet"):
        build_backbone("timm/test_resnet.no_such_tag", 3)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="is not in the cache and cannot be downloaded"):
        build_backbone("timm/test_resnet.r160_in1k", 3, weights="imagenet")


def test_networks_without_published_weights_say_so() -> None:
    settings = {name: timm.get_pretrained_cfg(name) for name in timm.list_models()}
    bare = next(name for name, one in settings.items() if not (one.hf_hub_id or one.url))
    with pytest.raises(UserError, match="there are no published weights"):
        build_backbone(f"timm/{bare}", 3, weights="imagenet")


def test_studies_of_a_journal_may_have_such_a_name() -> None:
    check = TypeAdapter(StudyId).validate_python
    assert check("digits/timm/test_vit.r160_in1k")
    for wrong in ("digits/timm/", "digits/timm/a/b", "digits/other/a", "digits/timm/../x"):
        with pytest.raises(ValidationError):
            check(wrong)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    timm_networks.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    try:
        assert 'needs timm: pip install "pcsearch[timm]"' in wrong_name("timm/resnet50")
    finally:
        timm_networks.cache_clear()

"""The user's own backbone, `module:function`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pcsearch.errors import UserError
from pcsearch.models import build_backbone, check_backbone, check_options

SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, width), nn.ReLU())
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.fc(self.body(images))

def net(num_classes, width=4):
    return Net(num_classes, width)

def fixed(num_classes):
    return Net(1000, 4)

def text(num_classes):
    return "no module"

def broken(num_classes):
    return 1 / 0

class Holder:
    make = staticmethod(net)

constant = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module in the working directory that is on no path."""
    (tmp_path / "own_backbones.py").write_text(SOURCE)
    (tmp_path / "own_unfinished.py").write_text("import no_such_package_here")
    monkeypatch.chdir(tmp_path)
    for name in ("own_backbones", "own_unfinished"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "own_backbones"


@pytest.mark.parametrize(
    "reference",
    ["os:system", "subprocess:Popen", "torch.hub:load", "torch:load", "own_backbones:nn.Linear"],
)
def test_functions_of_python_and_pytorch_are_never_called(own: str, reference: str) -> None:
    """`torch.load` takes any keyword, and unpickles; a recipe may come from anywhere."""
    with pytest.raises(UserError, match=f'"{reference}" is of [a-z]+ itself; name a function'):
        check_backbone(reference)


@pytest.mark.parametrize("sign", ["journal.jsonl", "recipe.yaml"])
def test_nothing_in_a_run_is_run(own: str, tmp_path: Path, sign: str) -> None:
    evil = tmp_path / "runs" / "evil"
    evil.mkdir(parents=True)
    (evil / sign).touch()
    (evil / "payload.py").write_text("raise SystemExit('was run')")
    with pytest.raises(UserError, match="evil is a run, whose files are never run"):
        check_backbone("runs.evil.payload:net")


def test_a_recipe_beside_the_module_is_no_run(own: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    check_backbone(f"{own}:net")
    (tmp_path / "journal.jsonl").touch()
    with pytest.raises(UserError, match="is a run"):
        check_backbone(f"{own}:net")


def test_build(own: str) -> None:
    path = list(sys.path)
    check_backbone(f"{own}:net")
    check_options(f"{own}:net", {"width": 6})
    backbone = build_backbone(f"{own}:net", 5, options={"width": 6}, seed=2)
    assert backbone.module(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    assert backbone.head_names == ("fc.weight", "fc.bias")
    assert [tuple(p.shape) for p in backbone.body_parameters()] == [(6, 192), (6,)]
    again = build_backbone(f"{own}:net", 5, options={"width": 6}, seed=2)
    assert torch.equal(again.module.fc.weight, backbone.module.fc.weight)
    assert sys.path == path


def test_attribute_of_a_class(own: str) -> None:
    assert build_backbone(f"{own}:Holder.make", 5).module.fc.out_features == 5


def test_weights(own: str, tmp_path: Path) -> None:
    torch.save(build_backbone(f"{own}:net", 9).module.state_dict(), tmp_path / "w.pth")
    loading = build_backbone(f"{own}:net", 5, weights=str(tmp_path / "w.pth")).loading
    assert loading.dropped == ("fc.weight", "fc.bias")
    with pytest.raises(UserError, match=f"there are none for {own}:net"):
        build_backbone(f"{own}:net", 5, weights="imagenet")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("own_backbones:", "not of the form module:function"),
        (":net", "not of the form"),
        ("own_backbones:net:x", "not of the form"),
        ("own backbones:net", "not of the form"),
        ("own_backbone:net", "ModuleNotFoundError.*working directory"),
        ("own_unfinished:net", "no_such_package_here"),
        ("own_backbones:nett", 'no nett in it, did you mean "net"'),
        ("own_backbones:constant", "is a int, not a function"),
    ],
)
def test_wrong_reference(own: str, reference: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_backbone(reference)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("net", {"depth": 3}, r"\(num_classes=5, depth=3\) raised TypeError.*depth"),
        ("broken", {}, "raised ZeroDivisionError"),
        ("text", {}, "returned a str"),
        ("fixed", {}, "`fc`, has 1000 outputs, but there are 5 classes"),
    ],
)
def test_wrong_function(own: str, function: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_backbone(f"{own}:{function}", 5, options=options)

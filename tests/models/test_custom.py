"""The user's own backbone, `module:function`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pcsearch.code_consent import VARIABLE, allow
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
    """Name of an allowed module in the working directory that is on no path."""
    (tmp_path / "own_backbones.py").write_text(SOURCE)
    (tmp_path / "own_unfinished.py").write_text("import no_such_package_here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "own_backbones, own_unfinished")
    for name in ("own_backbones", "own_unfinished"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "own_backbones"


@pytest.mark.parametrize(
    "reference", ["os:system", "subprocess:Popen", "torch.hub:load", "torch:load"]
)
def test_functions_of_python_and_pytorch_are_never_called(own: str, reference: str) -> None:
    """`torch.load` takes any keyword, and unpickles; a recipe may come from anywhere."""
    top = reference.partition(":")[0].partition(".")[0]
    allow([top, f"installed:{top}"])
    with pytest.raises(UserError, match=f'"{reference}" is part of {top} itself; name a function'):
        check_backbone(reference)


@pytest.mark.parametrize(
    ("path", "home"),
    [
        ("nn.Linear", "torch.nn.modules.linear"),
        ("net.__class__", "builtins"),
        ("net.__globals__.get", "None"),
        ("Net.__init__.__globals__.clear", "None"),
        ("nn.Module.load_state_dict", "torch.nn.modules.module"),
    ],
)
def test_only_what_the_module_itself_defines_is_called(own: str, path: str, home: str) -> None:
    with pytest.raises(UserError, match=f"not defined in {own} but in {home}"):
        check_backbone(f"{own}:{path}")


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
    with pytest.raises(UserError, match=f"no ImageNet weights for {own}:net"):
        build_backbone(f"{own}:net", 5, weights="imagenet")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("own_backbones:", "not of the form module:function"),
        (":net", "not of the form"),
        ("own_backbones:net:x", "not of the form"),
        ("own backbones:net", "not of the form"),
        (
            "own_backbone:net",
            "there is no module own_backbone with source files in the working directory",
        ),
        ("own_unfinished:net", "no_such_package_here"),
        ("own_backbones:nett", 'no "nett" in it, did you mean "net"'),
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

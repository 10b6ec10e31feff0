"""Reading weights files: formats, nesting, and every wrong kind of file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pcsearch.errors import UserError
from pcsearch.models import check_weights
from pcsearch.models.weights import read_state_dict

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def saved(content: object, folder: Path, name: str = "w.pth", **how: object) -> Path:
    torch.save(content, folder / name, **how)
    return folder / name


def assert_is_state(path: Path) -> None:
    check_weights(path)
    read = read_state_dict(path)
    assert list(read) == list(STATE)
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
def test_plain_and_nested(tmp_path: Path, key: str | None) -> None:
    content: object = STATE if key is None else {"epoch": 3, key: STATE}
    assert_is_state(saved(content, tmp_path))


def test_old_file_format(tmp_path: Path) -> None:
    assert_is_state(saved(STATE, tmp_path, _use_new_zipfile_serialization=False))


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    read = read_state_dict(tmp_path / "w.safetensors")
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


def test_a_whole_module_is_not_unpickled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"never unpickled.*model\.state_dict\(\)"):
        check_weights(saved(nn.Linear(2, 2), tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "not a state dict but Tensor"),
        ([torch.ones(3)], "not a state dict but list"),
        ({}, "an empty mapping"),
        ({"epoch": 3, "lr": 0.1}, "entry 'epoch' is a int"),
        ({1: torch.ones(2)}, "entry 1 is a Tensor"),
    ],
)
def test_other_contents(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_weights(saved(content, tmp_path))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world\n" * 50, b"\x89PNG\r\n\x1a\n" + b"\0" * 99])
def test_other_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        check_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, name: str, share: float) -> None:
    if name.endswith("pth"):
        saved(STATE, tmp_path, name)
    else:
        save_file(STATE, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=name):
        check_weights(tmp_path / name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file.*`imagenet` or `none`"):
        check_weights(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="a folder"):
        check_weights(tmp_path)

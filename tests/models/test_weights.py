"""Reading weights files: formats, nesting, and every wrong kind of file."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pcsearch.errors import UserError
from pcsearch.models.weights import read_state_dict, read_weights

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def saved(content: object, folder: Path, name: str = "w.pth", **how: object) -> Path:
    torch.save(content, folder / name, **how)
    return folder / name


def assert_is_state(path: Path) -> None:
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


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.pth")
    saved(STATE, tmp_path, "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert set(read_state_dict(tmp_path / name)) == set(STATE)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_pointer_of_git_lfs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match="is a Git LFS pointer, not the file itself: run `git lfs"):
        read_state_dict(tmp_path / name)


def test_a_whole_module_is_not_unpickled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"never unpickled.*model\.state_dict\(\)"):
        read_state_dict(saved(nn.Linear(2, 2), tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "not a state dict but Tensor"),
        ([torch.ones(3)], "not a state dict but list"),
        ({}, "an empty mapping"),
        ({"epoch": 3, "lr": 0.1}, 'entry "epoch" is of type int'),
        ({1: torch.ones(2)}, r"an entry named by an? int is of type Tensor"),
    ],
)
def test_other_contents(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_state_dict(saved(content, tmp_path))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world\n" * 50, b"\x89PNG\r\n\x1a\n" + b"\0" * 99])
def test_other_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["this is not a state dict", "Name,Class\nDuck,1\n", "}", "jjjj", "G"]
)
def test_texts(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.pth").write_text(text)
    with pytest.raises(UserError, match=r"w\.pth.*state dict"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("seed", range(200))
def test_short_random_files(tmp_path: Path, seed: int) -> None:
    """Bytes, printable texts, and texts of a pickle's own instructions."""
    draw = random.Random(seed)
    alphabet = (bytes(range(256)), string.printable.encode(), b"().]}auesjhqrtRbcKXIN0129\x80\n")
    content = bytes(draw.choices(alphabet[seed % 3], k=draw.randrange(1, 60)))
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pth"):
        read_state_dict(tmp_path / "w.pth")


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
        read_state_dict(tmp_path / name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file.*`imagenet` or `none`"):
        read_state_dict(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="a folder"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    ("plain", "averaged"),
    [("model", "model_ema"), ("state_dict", "state_dict_ema"), ("model", "ema")],
)
def test_averaged_weights_come_first_and_are_named(
    tmp_path: Path, plain: str, averaged: str
) -> None:
    """timm saves `state_dict` and `state_dict_ema`, torchvision `model` and `model_ema`."""
    mean = {key: value + 1 for key, value in STATE.items()}
    state, part = read_weights(saved({plain: STATE, averaged: mean, "epoch": 3}, tmp_path))
    assert all(torch.equal(state[key], STATE[key] + 1) for key in STATE)
    assert part == f"its averaged weights `{averaged}`, not the plain ones `{plain}`"
    _, part = read_weights(saved({averaged: mean}, tmp_path))
    assert part == f"its averaged weights `{averaged}`"


def test_a_part_is_named_only_if_there_is_a_choice(tmp_path: Path) -> None:
    assert read_weights(saved({"model": STATE}, tmp_path))[1] == ""
    assert read_weights(saved({"model": STATE, "model_ema": None}, tmp_path))[1] == ""
    assert read_weights(saved({"model": STATE, "ema": {"decay": 0.9}}, tmp_path))[1] == ""
    assert read_weights(saved({**STATE, "ema": torch.ones(1)}, tmp_path))[1] == ""

"""Pickles that crash their reader, or fill its memory, are refused before they are read."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pcsearch.errors import UserError
from pcsearch.models.weights import read_state_dict
from pcsearch.pickle_check import check_pickle, check_torch_file

TUPLES = b"\x80\x02}" + b")" + b"\x85" * 3_000_000 + b"K\x01s."
HOSTILE = {
    "a key of three million nested tuples": (TUPLES, "nest more than"),
    "nested pairs": (b"\x80\x02)" + b"K\x01\x86" * 5000 + b".", "nest more than"),
    "nested by the memo": (
        b"\x80\x02)" + b"".join(b"q\x01h\x01\x86" for _ in range(5000)) + b".", "nest more"
    ),
    "nested lists": (b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", "nest more than"),
    "nested dictionaries": (
        b"\x80\x02" + b"}K\x01" * 5000 + b"N" + b"s" * 5000 + b".", "nest more than"
    ),
    "a memo of 500 million places": (b"\x80\x02}r\xff\xff\xff\x1f.", "memo reaches further"),
    "four gigabytes of zeros": (b"\x80\x02cbuiltins\nbytearray\n.", "does not hold"),
    "no end": (b"\x80\x02}", "pickle exhausted|STOP"),
    "nothing to take": (b"\x80\x02\x85.", "do not fit together"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_with_the_reason(name: str) -> None:
    content, reason = HOSTILE[name]
    with pytest.raises(ValueError, match=reason):
        check_pickle(io.BytesIO(content))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("in_zip", [True, False])
def test_weights_files_of_them_are_one_message(tmp_path: Path, name: str, in_zip: bool) -> None:
    file = tmp_path / "w.pth"
    content, _ = HOSTILE[name]
    if in_zip:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3")
    else:
        file.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a state dict"):
        read_state_dict(file)


def test_what_unpacks_to_more_than_its_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(10_000_000))
    with pytest.raises(UserError, match="it is compressed"):
        read_state_dict(file)


@pytest.mark.parametrize("legacy", [True, False])
def test_files_of_pytorch_pass(tmp_path: Path, legacy: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(network.parameters())
    network[2](torch.ones(1, 4)).sum().backward()
    optimizer.step()
    content = {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    file = tmp_path / "w.pth"
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    with file.open("rb") as opened:
        check_torch_file(opened)
        assert opened.tell() == 0
    assert read_state_dict(file).keys() == network.state_dict().keys()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(0, 5))
def test_whatever_python_pickles_of_plain_data_passes(value: Any, protocol: int) -> None:
    file = io.BytesIO(pickle.dumps([value, value, OrderedDict(a=value)], protocol) + b"rest")
    check_pickle(file)
    assert file.read() == b"rest", "it stops where the pickle does"


@given(st.binary(max_size=200))
def test_any_bytes_are_followed_or_refused(content: bytes) -> None:
    try:
        check_pickle(io.BytesIO(content))
    except ValueError:
        return

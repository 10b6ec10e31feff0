"""Only regular files are opened: what else has the name is told, and never waited for."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pcsearch.cluster.files.cluster_file import load_cluster_file
from pcsearch.data.cache.eviction import clear_stores, list_stores
from pcsearch.data.cache.files import StoreFiles, in_use
from pcsearch.data.cache.metadata import read_meta
from pcsearch.data.datasets.svhn import pixels
from pcsearch.data.decode import read_image
from pcsearch.data.download.archive import unpack
from pcsearch.data.layouts.cifar_files import binary_labels, read_pickle
from pcsearch.data.layouts.duplicate_files import same_bytes_groups
from pcsearch.data.layouts.manifest_table import read_manifest
from pcsearch.data.layouts.matlab import read_mat
from pcsearch.data.layouts.text_tables import read_names
from pcsearch.errors import UserError
from pcsearch.fetch import file_digest
from pcsearch.io import descriptor_of, open_regular, read_regular, read_text
from pcsearch.models.weights import read_state_dict
from pcsearch.recipe import load_recipe
from pcsearch.storage.local import LocalStorage

KINDS = ("pipe", "link to a pipe", "socket", "/dev/zero", "/dev/full", "/proc/self/fd", "folder")

READERS: dict[str, Callable[[Path], object]] = {
    "recipe": lambda path: load_recipe(str(path)),
    "extends": lambda path: load_recipe(_recipe_that_extends(path)),
    "manifest": read_manifest,
    "cluster file": load_cluster_file,
    "weights": read_state_dict,
    "archive": lambda path: unpack(path, path.parent / "out", lambda done, total: None),
    "MATLAB": read_mat,
    "SVHN": lambda path: pixels([path]),
    "CIFAR pickle": read_pickle,
    "CIFAR binary": lambda path: binary_labels(path, 1),
    "table": read_names,
    "image": read_image,
    "checksum": lambda path: file_digest(path, "md5", lambda done, total: None),
}


def _recipe_that_extends(path: Path) -> str:
    own = path.parent / "own.yaml"
    own.write_text(f"extends: {path}\n")
    return str(own)


@pytest.fixture(params=KINDS)
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "file.yaml"
    if request.param == "folder":
        path.mkdir()
    elif request.param.startswith("/proc"):
        ours, theirs = os.pipe()
        path.symlink_to(f"/proc/self/fd/{ours}")
        yield path
        os.close(ours)
        os.close(theirs)
        return
    elif request.param.startswith("/dev"):
        path.symlink_to(request.param)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))
    elif request.param == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    yield path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_told(special: Path, reader: str) -> None:
    with pytest.raises((UserError, OSError)):
        READERS[reader](special)


@pytest.mark.timeout(20)
def test_readers_that_pass_such_files_over(special: Path) -> None:
    assert read_meta(special) is None
    assert not in_use(special)
    (special.parent / "other").write_bytes(b"x")
    same_bytes_groups(special.parent, [special.name, "other", special.name])
    with pytest.raises((UserError, OSError)):
        LocalStorage(special.parent).read(special.name)


@pytest.mark.timeout(20)
def test_a_cache_of_pipes_is_listed_and_cleared(tmp_path: Path) -> None:
    files = StoreFiles(tmp_path, "0" * 32)
    for path in (*files.whole, files.lock):
        os.mkfifo(path)
    (store,) = list_stores(tmp_path)
    assert not store.whole
    assert not store.in_use
    assert clear_stores(tmp_path).stores == 1
    assert not list_stores(tmp_path)


@pytest.mark.timeout(60)
def test_a_pipe_that_is_swapped_in(tmp_path: Path) -> None:
    path, over = tmp_path / "file", threading.Event()
    path.write_bytes(b"content")

    def swap() -> None:
        while not over.is_set():
            os.mkfifo(tmp_path / "pipe")
            (tmp_path / "pipe").replace(path)
            (tmp_path / "plain").write_bytes(b"content")
            (tmp_path / "plain").replace(path)

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes = set()
    attempts = 0
    try:
        while attempts < 3000 or len(outcomes) < 2:  # a busy machine may show one kind for long
            attempts += 1
            try:
                outcomes.add(read_regular(path, 100))
            except OSError as error:
                outcomes.add(error.strerror)
    finally:
        over.set()
        swapping.join()
    assert outcomes == {b"content", "is not a regular file"}


def test_no_more_is_read_than_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="is larger than"):
        read_regular(path, 99)
    with path.open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(OSError, match="is larger than"):
        read_regular(path)
    assert b"VmPeak" in read_regular(Path("/proc/self/status"))  # which states no size


def test_text_and_arrays_as_by_the_usual_ways(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("a\r\nä\rb\n".encode())
    assert read_text(path) == path.read_text(encoding="utf-8")
    np.arange(6, dtype=np.uint8).tofile(path)
    with open_regular(path) as file:
        mapped = np.memmap(file, np.uint8, "r", 0, (6,))
    assert mapped.filename == str(path)
    os.close(descriptor_of(path))

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.dataset import UInt8Array
from pcsearch.data.sources import FileImages, LoadedImages
from pcsearch.errors import UserError


def load(paths: Sequence[Path]) -> UInt8Array:
    """Each byte of a file is a grey image of 2 x 3 pixels; every reading is written down."""
    with paths[0].with_suffix(".log").open("a") as log:
        log.write("read\n")
    values = np.frombuffer(b"".join(path.read_bytes() for path in paths), dtype=np.uint8)
    return np.broadcast_to(values[:, None, None, None], (len(values), 2, 3, 3))


def readings(folder: Path) -> int:
    log = folder / "one.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "one.bin").write_bytes(bytes([10, 11, 12]))
    (tmp_path / "two.bin").write_bytes(bytes([20, 21]))
    return [tmp_path / "one.bin", tmp_path / "two.bin"]


def source(files: list[Path], rows: Sequence[int] = (4, 0, 2)) -> LoadedImages:
    return LoadedImages.of(files, load, np.array(rows, dtype=np.int64), 5, "picture")


def test_loaded_images_are_rows_of_all_files(files: list[Path]) -> None:
    images = source(files)
    assert len(images) == 3
    assert [images.image(i).getpixel((0, 0)) for i in range(3)] == [(v,) * 3 for v in (21, 10, 12)]
    assert images.image(0).size == (3, 2)
    assert images.image(0).mode == "RGB"
    assert images.name(2) == "picture 2"


def test_pixels_are_read_at_the_first_image_once_by_many_threads(files: list[Path]) -> None:
    images = source(files)
    assert len(images.key) == 64
    assert readings(files[0].parent) == 0
    start = threading.Barrier(4)

    def value(index: int) -> object:
        start.wait()
        return images.image(index % 3).getpixel((0, 0))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(value, range(4)))
    assert readings(files[0].parent) == 1
    images.drop()
    assert images.image(1).getpixel((0, 0)) == (10, 10, 10)
    assert readings(files[0].parent) == 2


def test_pixels_do_not_travel(files: list[Path]) -> None:
    images = source(files)
    images.image(0)
    for other in (pickle.loads(pickle.dumps(images)), copy.deepcopy(images)):
        before = readings(files[0].parent)
        assert other.key == images.key
        assert other.image(0).getpixel((0, 0)) == (21, 21, 21)
        assert readings(files[0].parent) == before + 1
    assert len(pickle.dumps(images)) < 2000


def test_key_of_loaded_images_follows_files_and_rows(files: list[Path], tmp_path: Path) -> None:
    key = source(files).key
    assert source(files).key == key
    assert source(files, rows=(0, 4, 2)).key != key
    assert source(files[::-1]).key != key
    os.utime(files[1], ns=(0, 0))
    assert source(files).key != key


def test_files_that_change_while_in_use(files: list[Path]) -> None:
    images = source(files)
    files[1].write_bytes(b"x")
    with pytest.raises(UserError, match="it held 5 images and holds 4 now"):
        images.image(0)


def naive_key(root: Path, names: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{root.resolve()}\n".encode())
    for name in names:
        path = root / name
        stamp = f"{path.stat().st_size} {path.stat().st_mtime_ns}" if path.exists() else "missing"
        digest.update(f"{name}\0{stamp}\n".encode())
    return digest.hexdigest()


def test_many_missing_files_keep_their_positions(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(3000)]
    for number in (0, 1023, 1024, 2999):
        (tmp_path / names[number]).write_bytes(b"x")
    images = FileImages.of(tmp_path, names)
    assert set(range(3000)) - set(images.missing) == {0, 1023, 1024, 2999}
    assert list(images.missing) == sorted(images.missing)
    assert images.key == naive_key(tmp_path, names)


def test_absolute_and_impossible_names(tmp_path: Path) -> None:
    (tmp_path / "there.jpg").write_bytes(b"x")
    names = [str(tmp_path / "there.jpg"), "a\0b.jpg", "x" * 300]
    images = FileImages.of(tmp_path / "elsewhere", names)
    assert images.missing == (1, 2)
    assert images.name(0) == names[0]
    for index in (1, 2):
        with pytest.raises(OSError):
            images.image(index)

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcsearch.data.cache import ensure_store
from pcsearch.data.catalog import DATASETS, DataOptions, open_dataset
from pcsearch.data.dataset import Dataset, Part, UInt8Array
from pcsearch.errors import UserError
from tests.data.datasets.python2_pickle import dumps

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PER_BATCH = 20
FINE = ["apple", "bee", "cat fish", "dog"]
COARSE = ["animal", "plant"]
ABOVE = [1, 0, 0, 0]


def pixels(count: int, seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def labels(count: int, classes: int, seed: int) -> list[int]:
    return [(number * 7 + seed) % classes for number in range(count)]


def batches10() -> dict[str, tuple[UInt8Array, list[int]]]:
    files = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return {
        file: (pixels(PER_BATCH, seed), labels(PER_BATCH, 10, seed))
        for seed, file in enumerate(files)
    }


def python10(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, (file, (data, targets)) in enumerate(batches10().items()):
        content = {
            "batch_label": f"training batch {number + 1} of 5",
            "labels": targets,
            "data": data,
            "filenames": [f"image_{index}.png" for index in range(len(data))],
        }
        (folder / file).write_bytes(dumps(content))
    meta = {"num_cases_per_batch": PER_BATCH, "label_names": NAMES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(dumps(meta))
    return folder


def binary10(root: Path) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for file, (data, targets) in batches10().items():
        records = [
            bytes([target]) + row.tobytes() for target, row in zip(targets, data, strict=True)
        ]
        (folder / f"{file}.bin").write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def python100(root: Path) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for seed, (file, count) in enumerate((("train", 40), ("test", 12))):
        fine = labels(count, 4, seed)
        content = {
            "filenames": [f"{index}.png" for index in range(count)],
            "batch_label": f"{file}ing batch 1 of 1",
            "fine_labels": fine,
            "coarse_labels": [ABOVE[label] for label in fine],
            "data": pixels(count, seed),
        }
        (folder / file).write_bytes(dumps(content))
    meta = {"fine_label_names": FINE, "coarse_label_names": COARSE}
    (folder / "meta").write_bytes(dumps(meta))
    return folder


def binary100(root: Path) -> Path:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for seed, (file, count) in enumerate((("train", 40), ("test", 12))):
        rows = zip(labels(count, 4, seed), pixels(count, seed), strict=True)
        records = [bytes([ABOVE[fine], fine]) + row.tobytes() for fine, row in rows]
        (folder / f"{file}.bin").write_bytes(b"".join(records))
    (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")
    return folder


def read(dataset_id: str, root: Path, **options: Any) -> Dataset:
    return open_dataset(dataset_id, replace(DataOptions(root=root), **options))


def decoded(part: Part | None) -> UInt8Array:
    assert part is not None
    return np.stack([np.asarray(part.images.image(index)) for index in range(len(part.images))])


def as_image(planes: UInt8Array) -> list[list[list[int]]]:
    """The official description: 1,024 red values row by row, then green, then blue."""
    values = planes.tolist()
    return [
        [[values[plane * 1024 + y * 32 + x] for plane in range(3)] for x in range(32)]
        for y in range(32)
    ]


@pytest.mark.parametrize("make", [python10, binary10])
@pytest.mark.parametrize("in_root", [False, True])
def test_cifar10(tmp_path: Path, make: Any, in_root: bool) -> None:
    folder = make(tmp_path)
    dataset = read("cifar10", folder if in_root else tmp_path)
    batches = batches10()
    assert dataset.class_names == tuple(NAMES)
    assert dataset.ancestors is None
    train = [batches[f"data_batch_{number}"] for number in range(1, 6)]
    assert dataset.train.labels.tolist() == [label for _, targets in train for label in targets]
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == batches["test_batch"][1]
    assert decoded(dataset.train)[23].tolist() == as_image(train[1][0][3])
    assert decoded(dataset.test)[19].tolist() == as_image(batches["test_batch"][0][19])
    assert dataset.train.images.name(23) == f"{folder.name}, training image 23"


@pytest.mark.parametrize("make", [python100, binary100])
def test_cifar100(tmp_path: Path, make: Any) -> None:
    make(tmp_path)
    dataset = read("cifar100", tmp_path)
    assert dataset.class_names == tuple(FINE)
    assert dataset.ancestors == (("plant",), ("animal",), ("animal",), ("animal",))
    assert dataset.train.labels.tolist() == labels(40, 4, 0)
    assert decoded(dataset.train)[7].tolist() == as_image(pixels(40, 0)[7])
    coarse = read("cifar100", tmp_path, levels={"cifar100": "coarse"})
    assert coarse.class_names == ("animal", "plant")
    assert coarse.ancestors is None
    assert coarse.train.labels.tolist() == [ABOVE[label] for label in labels(40, 4, 0)]
    assert coarse.train.images.key == dataset.train.images.key
    with pytest.raises(UserError, match='no level "corse", did you mean "coarse"'):
        read("cifar100", tmp_path, levels={"cifar100": "corse"})


def test_chosen_classes_count_from_zero(tmp_path: Path) -> None:
    python10(tmp_path)
    dataset = read("cifar10", tmp_path, classes=(0, "truck"))
    assert dataset.class_names == ("airplane", "truck")
    every = read("cifar10", tmp_path)
    rows = np.flatnonzero(np.isin(every.train.labels, [0, 9]))
    assert np.array_equal(decoded(dataset.train), decoded(every.train)[rows])
    assert dataset.train.labels.tolist() == [int(every.train.labels[row] == 9) for row in rows]
    assert dataset.train.images.key != every.train.images.key
    with pytest.raises(UserError, match="no class has the number 10; the numbers are 0 to 9"):
        read("cifar10", tmp_path, classes=(1, 10))
    fine = python100(tmp_path) and read("cifar100", tmp_path, classes=(1, 0))
    assert fine.ancestors == (("plant",), ("animal",))


def test_images_reach_the_store(tmp_path: Path) -> None:
    python10(tmp_path)
    dataset = read("cifar10", tmp_path)
    store = ensure_store(dataset.train.images, 32, folder=tmp_path / "cache")
    assert np.array_equal(store.images, decoded(dataset.train))


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_that_run_code_are_refused(tmp_path: Path, protocol: int) -> None:
    folder = python10(tmp_path)
    trap = pickle.dumps({"labels": [], "data": Evil(f"touch {tmp_path / 'ran'}")}, protocol)
    (folder / "data_batch_3").write_bytes(trap)
    with pytest.raises(
        UserError, match=r"data_batch_3 is not the official file.*asks for .*system"
    ):
        read("cifar10", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_trap_would_have_sprung(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(f"touch {tmp_path / 'ran'}")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("payload", [b"cbuiltins\neval\n(U\x011tR.", b"c_codecs\nencode\n."])
def test_no_other_name_is_looked_up(tmp_path: Path, payload: bytes) -> None:
    folder = python10(tmp_path)
    (folder / "batches.meta").write_bytes(payload)
    with pytest.raises(UserError, match=r"batches\.meta is not the official file.*asks for"):
        read("cifar10", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_pickle(tmp_path: Path, share: float) -> None:
    path = python10(tmp_path) / "data_batch_2"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="data_batch_2 is not the official file, or is cut short"):
        read("cifar10", tmp_path)


def good(**changes: Any) -> dict[str, Any]:
    return {"labels": labels(20, 10, 0), "data": pixels(20, 0)} | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no dictionary"),
        ({"labels": [1]}, "lacks the array 'data'"),
        (good(data=np.zeros((20, 3072), np.int32)), "lacks the array 'data' of bytes"),
        (good(data=pixels(20, 0)[:, :3000].copy()), r"'data' is \(20, 3000\), not"),
        (good(data=pixels(0, 0)), r"'data' is \(0, 3072\)"),
        (good(labels=[1] * 19), "a label in 'labels' for each image"),
        ({"data": pixels(20, 0)}, "a label in 'labels' for each image"),
        (good(labels=["x"] * 20), "labels are not numbers"),
        (good(labels=[10] * 20), "labels go from 10 to 10, but there are 10 classes"),
        (good(labels=[-1] * 20), "labels go from -1 to -1"),
        (good(labels=[1] * 19, data=pixels(19, 0)), "data_batch_4 19"),
    ],
)
def test_contents_that_are_not_the_official_ones(
    tmp_path: Path, content: Any, message: str
) -> None:
    (python10(tmp_path) / "data_batch_4").write_bytes(dumps(content))
    with pytest.raises(UserError, match=message):
        read("cifar10", tmp_path)


def test_binary_file_cut_short(tmp_path: Path) -> None:
    path = binary10(tmp_path) / "test_batch.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"test_batch\.bin is cut short: 61459 bytes"):
        read("cifar10", tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is cut short: 0 bytes"):
        read("cifar10", tmp_path)
    path.write_bytes(content)
    first = path.with_name("data_batch_1.bin")
    first.write_bytes(first.read_bytes()[:3073])
    with pytest.raises(UserError, match=r"same number of images \(data_batch_1\.bin 1, "):
        read("cifar10", tmp_path)


def test_class_without_images(tmp_path: Path) -> None:
    folder = python10(tmp_path)
    (folder / "test_batch").write_bytes(dumps(good(labels=[1, 2] * 10)))
    with pytest.raises(UserError, match="class airplane has no test images"):
        read("cifar10", tmp_path)
    assert read("cifar10", tmp_path, classes=(1, 2)).num_classes == 2


def test_a_fine_class_has_one_superclass(tmp_path: Path) -> None:
    path = python100(tmp_path) / "train"
    batch = {"fine_labels": [0, 1, 2, 3, 3], "coarse_labels": [0, 0, 0, 0, 1], "data": pixels(5, 0)}
    path.write_bytes(dumps(batch))
    with pytest.raises(UserError, match="class dog belongs to two coarse classes"):
        read("cifar100", tmp_path)


def test_missing_folder_and_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data get cifar10 --root .*https://"):
        read("cifar10", tmp_path)
    (python10(tmp_path) / "data_batch_5").unlink()
    with pytest.raises(UserError, match="cifar-10-batches-py: data_batch_5 missing"):
        read("cifar10", tmp_path)
    (binary100(tmp_path) / "test.bin").unlink()
    with pytest.raises(UserError, match=r"cifar-100-binary: test\.bin missing"):
        read("cifar100", tmp_path)


def test_the_binary_version_stands_in_for_an_incomplete_one(tmp_path: Path) -> None:
    (python10(tmp_path) / "data_batch_5").unlink()
    binary10(tmp_path)
    assert "cifar-10-batches-bin" in read("cifar10", tmp_path).train.images.name(0)


def test_entries() -> None:
    assert DATASETS["cifar10"].images == {"train": 50_000, "test": 10_000}
    assert DATASETS["cifar100"].levels == ("fine", "coarse")
    assert DATASETS["cifar100"].samples_per_class == 500

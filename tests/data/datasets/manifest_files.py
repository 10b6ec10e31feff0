"""Small manifests with their images, and what reading them must give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset, Part
from tests.data.image_files import noise

ROWS = [
    ("a/1.jpg", "gull", "train"),
    ("a/2.jpg", "tern", "train"),
    ("a/3.jpg", "gull", "val"),
    ("a/4.jpg", "tern", "val"),
    ("a/5.jpg", "gull", "test"),
    ("a/6.jpg", "tern", "test"),
]
SPLIT = "path,label,split\n" + "".join(f"{','.join(row)}\n" for row in ROWS)


def save_images(folder: Path, names: Sequence[str]) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise(9, 9, seed).save(folder / name)


def read(manifest: Path, **options: Any) -> Dataset:
    return open_dataset("manifest", replace(DataOptions(manifest=manifest), **options))


def read_text(folder: Path, text: str | bytes, **options: Any) -> Dataset:
    path = folder / "birds.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, **options)


def files(part: Part | None) -> list[str]:
    assert part is not None
    return [part.images.name(row) for row in range(len(part.images))]


def labelled(dataset: Dataset, part: Part | None, root: Path) -> list[tuple[str, str]]:
    assert part is not None
    names = [str(Path(name).relative_to(root)) for name in files(part)]
    return list(zip(names, [dataset.class_names[label] for label in part.labels], strict=True))


def check(dataset: Dataset, folder: Path) -> None:
    assert dataset.class_names == ("gull", "tern")
    train = labelled(dataset, dataset.train, folder)
    assert train == [(name, label) for name, label, split in ROWS if split != "test"]
    assert dataset.given_val is not None
    assert dataset.given_val.tolist() == [2, 3]
    test = labelled(dataset, dataset.test, folder)
    assert test == [(name, label) for name, label, split in ROWS if split == "test"]
    assert dataset.train.boxes is None
    assert dataset.train.groups is None
    assert dataset.train.images.image(0).size == (9, 9)

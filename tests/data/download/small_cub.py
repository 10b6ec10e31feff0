"""A small archive in the layout of CUB-200-2011, and a catalogue entry that points at it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from pcsearch.data.catalog import DATASETS
from pcsearch.data.dataset import Archive, CatalogEntry
from pcsearch.http import DownloadPatience
from tests.data.image_files import noise

QUICK = DownloadPatience(
    attempts=4,
    first_wait_seconds=0.01,
    longest_wait_seconds=0.02,
    connect_seconds=2,
    read_seconds=0.5,
    worthwhile_bytes=1000,
)
CLASSES = ("001.Auk", "007.Tit")
IMAGES = [f"{name}/{index}.jpg" for name in CLASSES for index in range(6)]
BALLAST_BYTES = 300_000
"""Bytes that do not compress, so that the archive takes several reads."""


def tables() -> dict[str, str]:
    numbers = range(1, len(IMAGES) + 1)
    label = {name: name.split(".")[0].lstrip("0") for name in CLASSES}
    return {
        "images.txt": "".join(f"{i} {IMAGES[i - 1]}\n" for i in numbers),
        "classes.txt": "".join(f"{label[name]} {name}\n" for name in CLASSES),
        "image_class_labels.txt": "".join(
            f"{i} {label[IMAGES[i - 1].split('/')[0]]}\n" for i in numbers
        ),
        "train_test_split.txt": "".join(f"{i} {i % 2}\n" for i in numbers),
        "bounding_boxes.txt": "".join(f"{i} 1 1 8 9\n" for i in numbers),
    }


@cache
def members() -> dict[str, bytes]:
    """All files, by their path from the root."""
    files = {f"CUB_200_2011/{name}": text.encode() for name, text in tables().items()}
    for index, name in enumerate(IMAGES):
        picture = io.BytesIO()
        noise(10, 12, index).save(picture, "JPEG")
        files[f"CUB_200_2011/images/{name}"] = picture.getvalue()
    files["CUB_200_2011/ballast.bin"] = np.random.default_rng(0).bytes(BALLAST_BYTES)
    return files


def tar_of(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """The same bytes in every process: a .tgz without the time at which it was packed."""
    packed = io.BytesIO()
    if mode == "w:gz":
        return gzip.compress(tar_of(files, "w"), mtime=0)
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@cache
def tgz() -> bytes:
    return tar_of(members())


def entry(*urls: str, content: bytes | None = None, **changes: object) -> CatalogEntry:
    """The entry of cub200 with one small archive; `changes` are the archive's."""
    content = tgz() if content is None else content
    archive = Archive(
        file="CUB_200_2011.tgz",
        urls=urls,
        size_bytes=len(content),
        checksum=f"md5:{hashlib.md5(content).hexdigest()}",
    )
    return replace(DATASETS["cub200"], archives=(replace(archive, **changes),))  # type: ignore[arg-type]


@dataclass
class Recorded:
    """A progress that is kept, and checked as it comes."""

    moves: list[tuple[str, str, int, int | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def moved(self, step: str, file: str, done_bytes: int, total_bytes: int | None) -> None:
        assert 0 <= done_bytes <= (total_bytes if total_bytes is not None else done_bytes)
        self.moves.append((step, file, done_bytes, total_bytes))

    def noted(self, line: str) -> None:
        self.notes.append(line)

    def first(self, step: str) -> int:
        return next(done for what, _, done, _ in self.moves if what == step)


def part_of(root: Path, file: str = "CUB_200_2011.tgz", dataset: str = "cub200") -> Path:
    return root / ".pcsearch-downloads" / dataset / f"{file}.part"


def tree(root: Path) -> set[str]:
    """All files below a folder but for locks."""
    return {
        os.path.relpath(Path(folder) / file, root)
        for folder, _, files in os.walk(root)
        for file in files
        if not file.endswith(".lock")
    }


def check_whole(root: Path, *extra: str) -> None:
    """The dataset, byte for byte, and nothing else."""
    assert tree(root) == set(members()) | set(extra)
    for name, content in members().items():
        assert (root / name).read_bytes() == content

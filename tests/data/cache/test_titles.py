from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcsearch.data.cache.eviction import title_of
from pcsearch.data.sources import ArrayImages, FileImages
from tests.data.image_files import ForbiddenImages


def test_common_folder_of_files(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
    assert title_of(FileImages(tmp_path, tuple(names), "key")) == str(tmp_path)
    assert title_of(FileImages(tmp_path, tuple(names[:2]), "key")) == str(tmp_path / "a")
    assert title_of(FileImages(tmp_path, tuple(names[:1]), "key")) == str(tmp_path / "a")


def test_names_that_only_count() -> None:
    assert title_of(ArrayImages(np.zeros((40, 2, 2), np.uint8), "digit")) == "digit"


def test_sources_without_usable_names() -> None:
    @dataclass(frozen=True)
    class Mixed(ForbiddenImages):
        def name(self, index: int) -> str:
            return ["/a/b", "c", "17", ""][index]

    assert title_of(ForbiddenImages(4)) == "ForbiddenImages"
    assert title_of(Mixed(4)) == "Mixed"


def test_names_that_are_not_unicode() -> None:
    title_of(FileImages(Path("/photos/\udcff"), ("1.jpg",), "key")).encode()

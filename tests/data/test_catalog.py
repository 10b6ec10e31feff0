from __future__ import annotations

import subprocess
import sys

import pytest

from pcsearch.data.catalog import DATASETS, DataOptions, open_dataset
from pcsearch.errors import UserError


def test_entries_are_filled_in() -> None:
    assert list(DATASETS) == [
        *("digits", "fieldguide", "cub200", "cars", "aircraft", "nabirds", "flowers102", "dogs"),
        *("cifar10", "cifar100", "svhn", "imagenet", "imagenet_dogs", "imagenet_random"),
        *("images", "manifest"),
    ]
    for dataset_id, entry in DATASETS.items():
        assert entry.id == dataset_id
        assert entry.title
        assert entry.description
        assert entry.terms
        assert callable(entry.reader)
        assert bool(entry.homepage) == bool(entry.archives or entry.by_hand)
        for archive in entry.archives:
            assert archive.urls or entry.by_hand
            assert all(url.startswith(("https://", "http://")) for url in archive.urls)
            assert archive.checksum is None or archive.checksum.startswith(("md5:", "sha256:"))


def test_unknown_dataset() -> None:
    with pytest.raises(UserError, match='unknown dataset "cub20", did you mean "cub200"'):
        open_dataset("cub20", DataOptions())
    with pytest.raises(
        UserError, match=r"\(known: digits, fieldguide, cub200, .*, images, manifest\)"
    ):
        open_dataset("zebra", DataOptions())


def test_opening_datasets_needs_neither_torch_nor_ray() -> None:
    code = (
        "import sys; import pcsearch.data.catalog, pcsearch.data.prepared, pcsearch.data.splits; "
        "print([m for m in ('torch', 'torchvision', 'ray', 'optuna', 'pydantic', 'sklearn', "
        "'scipy', 'pandas', 'pyarrow', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

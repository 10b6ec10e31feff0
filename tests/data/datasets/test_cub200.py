from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcsearch.data.cache import ensure_store
from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from tests.data.image_files import CUB_ROOT, noise

LOOK_ALIKES = (9, 11, 26, 27, 29, 30, 37, 39, 40, 43)
IMAGES = ["001.Auk/a_1.jpg", "001.Auk/a_2.jpg", "007.Tit/t_1.jpg", "007.Tit/t_2.jpg"]
TABLES = {
    "images.txt": "".join(f"{i} {name}\n" for i, name in enumerate(IMAGES, start=1)),
    "classes.txt": "1 001.Auk\n7 007.Tit\n",
    "image_class_labels.txt": "1 1\n2 1\n3 7\n4 7\n",
    "train_test_split.txt": "1 1\n2 0\n3 0\n4 1\n",
    "bounding_boxes.txt": "1 1.0 2.0 3.5 4.0\n2 0 0 9 9\n3 5 5 1 1\n4 2 1 4 3\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "CUB_200_2011"
    for index, name in enumerate(IMAGES):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(10, 12, index).save(path)
    for name, content in TABLES.items():
        (folder / name).write_text(content)
    return tmp_path


def read(root: Path, **options: object) -> Dataset:
    return open_dataset("cub200", replace(DataOptions(root=root), **options))


def check_small(dataset: Dataset) -> None:
    assert dataset.class_names == ("001.Auk", "007.Tit")
    assert dataset.given_val is None
    assert dataset.test is not None
    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.test.labels.tolist() == [0, 1]
    assert dataset.train.images.name(1).endswith("images/007.Tit/t_2.jpg")
    assert dataset.train.boxes is not None
    assert dataset.train.boxes.tolist() == [[1.0, 2.0, 3.5, 4.0], [2.0, 1.0, 4.0, 3.0]]
    assert dataset.train.boxes.dtype == np.float32


def test_official_layout(root: Path) -> None:
    check_small(read(root))
    check_small(read(root / "CUB_200_2011"))


def test_windows_line_ends(root: Path) -> None:
    for name, content in TABLES.items():
        (root / "CUB_200_2011" / name).write_bytes(content.replace("\n", "\r\n").encode())
    check_small(read(root))


def test_classes_by_their_own_numbers(root: Path) -> None:
    check_small(read(root, classes=(7, "auk")))
    with pytest.raises(UserError, match="no class has the number 2; the numbers are 1 to 7"):
        read(root, classes=(1, 2))
    with pytest.raises(UserError, match='did you mean "tit"'):
        read(root, classes=(1, "tits"))


def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data get cub200 --root .*https://.*data\.root"):
        read(tmp_path)


@pytest.mark.parametrize("missing", [*TABLES, "images/"])
def test_incomplete_folder_names_what_is_missing(root: Path, missing: str) -> None:
    (root / "CUB_200_2011" / missing).rename(root / "moved")
    with pytest.raises(UserError, match=f"CUB_200_2011: {missing} missing"):
        read(root)


def test_missing_image_folder(root: Path) -> None:
    (root / "CUB_200_2011" / "images" / "007.Tit").rename(root / "moved")
    with pytest.raises(UserError, match=r"lacks 1 of 2 image folders \(images/007\.Tit"):
        read(root)


def test_missing_image_is_a_bad_image(root: Path) -> None:
    (root / "CUB_200_2011" / "images" / IMAGES[0]).unlink()
    dataset = read(root)
    with pytest.raises(UserError, match=r"a_1\.jpg \(no such file\)"):
        ensure_store(dataset.train.images, 8, folder=root / "cache")


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("images.txt", "", "images.txt is empty"),
        ("images.txt", "1 a.jpg\n2\n", "images.txt, line 2: a number and a value"),
        ("classes.txt", "1 001.Auk\n1 002.Owl\n", "classes.txt, line 2: the number is repeated"),
        ("classes.txt", "1 001.Auk\n2 002.Owl\n", "classes.txt does not name class 7"),
        ("classes.txt", "id name\n1 001.Auk\n7 007.Tit\n", "classes.txt: 'id' is no class number"),
        ("image_class_labels.txt", "1 1\n2 1\n3 7\n", "no line for 1 of 4 images"),
        ("bounding_boxes.txt", "1 1 2 3\n2 0 0 9\n3 5 5 1\n4 2 1 4\n", "x, y, width, height"),
        ("bounding_boxes.txt", "1 1 2 3 4\n2 0 0 9\n3 5 5 1\n4 2 1 4\n", "x, y, width, height"),
        ("train_test_split.txt", "1 1\n2 1\n3 0\n4 1\n", "001.Auk has no test images"),
        ("train_test_split.txt", "1 0\n2 0\n3 0\n4 1\n", "001.Auk has no training images"),
    ],
)
def test_tables_that_do_not_fit(root: Path, table: str, content: str, message: str) -> None:
    (root / "CUB_200_2011" / table).write_text(content)
    with pytest.raises(UserError, match=message):
        read(root)


real = pytest.mark.skipif(not (CUB_ROOT / "CUB_200_2011").is_dir(), reason=f"no {CUB_ROOT}")


@pytest.mark.real
@real
def test_real_images() -> None:
    dataset = read(CUB_ROOT)
    assert dataset.test is not None
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (1500, 1389)
    assert dataset.num_classes == 50
    assert np.bincount(dataset.train.labels).tolist() == [30] * 50
    for part in (dataset.train, dataset.test):
        assert part.boxes is not None
        for index in range(0, len(part.labels), 97):
            with Image.open(part.images.name(index)) as image:
                x, y, width, height = part.boxes[index]
                assert 0 <= x < x + width <= image.width + 1
                assert 0 <= y < y + height <= image.height + 1
            folder = Path(part.images.name(index)).parent.name
            assert folder == dataset.class_names[part.labels[index]]


@pytest.mark.real
@real
def test_real_look_alikes(tmp_path: Path) -> None:
    dataset = read(CUB_ROOT, classes=LOOK_ALIKES)
    assert [int(name[:3]) for name in dataset.class_names] == list(LOOK_ALIKES)
    assert len(dataset.train.labels) == 300
    store = ensure_store(dataset.train.images, 64, folder=tmp_path)
    assert store.images.shape == (300, 64, 64, 3)

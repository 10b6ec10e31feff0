"""The photographs that are measured on: real ones in CUB's layout, or generated JPEGs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
LOOK_ALIKES = (9, 11, 26, 27, 29, 30, 37, 39, 40, 43)
"""Ten classes of CUB-200-2011 that look alike: cowbirds and blackbirds, flycatchers."""

FOLDER = "CUB_200_2011"
WEIGHTS = "squeezenet1_1-imagenet-features-fp16.pth"
_TABLES = ("images", "classes", "image_class_labels", "train_test_split", "bounding_boxes")
_GENERATED = {"classes": 10, "train": 30, "test": 10, "width": 300, "height": 224}


@dataclass(frozen=True)
class Photos:
    """A folder in CUB's layout.

    Attributes:
        root: holds CUB_200_2011/.
        classes: the class numbers in use.
        weights: SqueezeNet 1.1's state dict, None to start from random weights.
        title: for the reader.
    """

    root: Path
    classes: tuple[int, ...]
    weights: Path | None
    title: str

    @property
    def folder(self) -> Path:
        return self.root / FOLDER

    def files(self, *, train_only: bool = False) -> tuple[list[str], np.ndarray]:
        """Paths relative to `folder`, and labels counted from 0 in the order of `classes`."""
        names, label_of, is_train = (
            _read_table(self.folder / f"{table}.txt")
            for table in ("images", "image_class_labels", "train_test_split")
        )
        position = {str(number): index for index, number in enumerate(self.classes)}
        chosen = [
            image
            for image in names
            if label_of[image] in position and (is_train[image] == "1" or not train_only)
        ]
        labels = np.array([position[label_of[image]] for image in chosen], dtype=np.int64)
        return [f"images/{names[image]}" for image in chosen], labels

    def of_all_classes(self) -> Photos:
        """The same folder with every class that has images."""
        numbers = set(_read_table(self.folder / "image_class_labels.txt").values())
        return replace(self, classes=tuple(sorted(int(number) for number in numbers)))


def find_photos(data: Path | None, scratch: Path, seed: int = 0) -> Photos:
    """The photographs under `data`, by default those beside the repository; else generated ones."""
    root = data if data is not None else SHARED / "data"
    if not (root / FOLDER).is_dir():
        if data is not None:
            raise SystemExit(f"--data {data}: there is no {FOLDER}/ in it")
        return generate(scratch / "generated", seed)
    weights = root.resolve().parent / "weights" / WEIGHTS
    found = Photos(root.resolve(), LOOK_ALIKES, None, f"CUB-200-2011 in {root}")
    if not set(LOOK_ALIKES) <= set(found.of_all_classes().classes):
        raise SystemExit(f"--data {data}: it lacks some of the classes {LOOK_ALIKES}")
    return replace(found, weights=weights if weights.is_file() else None)


def generate(root: Path, seed: int) -> Photos:
    """JPEGs of coloured clouds, a hue a class, about as large as the photographs."""
    rng = np.random.default_rng(seed)
    size = _GENERATED
    numbers = range(1, size["classes"] + 1)
    rows: dict[str, list[str]] = {table: [] for table in _TABLES}
    image = 0
    for number in numbers:
        title = f"{number:03}.Cloud_{number}"
        rows["classes"].append(f"{number} {title}")
        (root / FOLDER / "images" / title).mkdir(parents=True, exist_ok=True)
        hue = rng.uniform(60, 200, 3)
        for index in range(size["train"] + size["test"]):
            image += 1
            name = f"{title}/{title}_{index:04}.jpg"
            rows["images"].append(f"{image} {name}")
            rows["image_class_labels"].append(f"{image} {number}")
            rows["train_test_split"].append(f"{image} {int(index < size['train'])}")
            rows["bounding_boxes"].append(f"{image} 10.0 10.0 100.0 100.0")
            cloud = _cloud(rng, hue, size["width"], size["height"])
            cloud.save(root / FOLDER / "images" / name, quality=90)
    for table, lines in rows.items():
        (root / FOLDER / f"{table}.txt").write_text("\n".join(lines) + "\n")
    return Photos(root, tuple(numbers), None, "generated JPEGs")


def _cloud(rng: np.random.Generator, hue: np.ndarray, width: int, height: int) -> Image.Image:
    coarse = np.clip(rng.normal(hue, 50, (height // 16, width // 16, 3)), 0, 255)
    cloud = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.BICUBIC)
    grain = rng.normal(0, 8, (height, width, 3))  # JPEG cost depends on detail
    return Image.fromarray(np.clip(np.asarray(cloud) + grain, 0, 255).astype(np.uint8))


def enlarged(photos: Photos, width: int, height: int, root: Path) -> Photos:
    """The same photographs at width × height (portraits: height × width), as JPEGs of quality 92.

    LANCZOS, once, into a new folder of CUB's layout; only the classes in use are there.
    """
    root.mkdir(parents=True, exist_ok=True)
    for table in _TABLES:
        target = root / FOLDER / f"{table}.txt"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(photos.folder / target.name, target)
    for name in photos.files()[0]:
        target = root / FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(photos.folder / name) as image:
            size = (width, height) if image.width >= image.height else (height, width)
            image.convert("RGB").resize(size, Image.LANCZOS).save(target, quality=92)
    return replace(photos, root=root, title=f"{photos.title}, enlarged to {width} × {height}")


def _read_table(path: Path) -> dict[str, str]:
    pairs = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    return {key: value.strip() for key, value in pairs}


def class_list(classes: Sequence[int]) -> str:
    """As a recipe and a command line write it."""
    return "[" + ", ".join(map(str, classes)) + "]"

"""Tiny copies of official layouts, their files in the very form of the originals.

Every builder writes the dataset's own folder within `root` and returns that folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from tests.data.image_files import noise

Cars = Sequence[tuple[str, int, tuple[int, int, int, int]]]

CAR_NAMES = ("AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo 2012")
CARS_TRAIN: Cars = (
    ("00001.jpg", 2, (39, 116, 569, 375)),
    ("00002.jpg", 1, (1, 1, 12, 10)),
    ("00003.jpg", 3, (5, 8, 6, 9)),
)
CARS_TEST: Cars = (
    ("00001.jpg", 3, (30, 52, 246, 147)),
    ("00002.jpg", 1, (2, 3, 300, 400)),
    ("00003.jpg", 2, (5, 8, 6, 9)),
)

AIRCRAFT = {
    "variants.txt": "707-320\nA300B4\nF/A-18\nYak-42\n",
    "families.txt": "A300\nBoeing 707\nF/A-18\nYak-42\n",
    "manufacturers.txt": "Airbus\nBoeing\nMcDonnell Douglas\nYakovlev\n",
    "images_variant_trainval.txt": "1025794 707-320\n0034309 A300B4\n0056978 F/A-18\n"
    "0450014 Yak-42\n",
    "images_variant_test.txt": "2000001 Yak-42\n2000002 F/A-18\n2000003 A300B4\n0000004 707-320\n",
    "images_family_trainval.txt": "1025794 Boeing 707\n0034309 A300\n0056978 F/A-18\n"
    "0450014 Yak-42\n",
    "images_family_test.txt": "2000001 Yak-42\n2000002 F/A-18\n2000003 A300\n0000004 Boeing 707\n",
    "images_manufacturer_trainval.txt": "1025794 Boeing\n0034309 Airbus\n"
    "0056978 McDonnell Douglas\n0450014 Yakovlev\n",
    "images_manufacturer_test.txt": "2000001 Yakovlev\n2000002 McDonnell Douglas\n2000003 Airbus\n"
    "0000004 Boeing\n",
    "images_box.txt": "1025794 1 1 12 10\n0034309 3 90 1020 593\n0056978 2 2 3 4\n"
    "0450014 1 1 1 1\n2000001 5 6 7 9\n2000002 1 1 2 2\n2000003 1 1 2 2\n0000004 1 1 2 2\n",
}

BIRD_IMAGES = {
    "0000139e-21dc-4d0c-bfe1-4cae3c85c829": ("0817/0000139e21dc4d0cbfe14cae3c85c829.jpg", 817, 0),
    "01f53d6b-f5e4-4943-8d2b-b79e0854bca4": ("0295/01f53d6bf5e449438d2bb79e0854bca4.jpg", 295, 1),
    "0a000000-0000-4000-8000-000000000001": ("0817/0a00000000004000800000000000001.jpg", 817, 1),
    "0a000000-0000-4000-8000-000000000002": ("0295/0a00000000004000800000000000002.jpg", 295, 0),
    "0a000000-0000-4000-8000-000000000003": ("0463/0a00000000004000800000000000003.jpg", 463, 1),
    "0a000000-0000-4000-8000-000000000004": ("0463/0a00000000004000800000000000004.jpg", 463, 0),
    "0a000000-0000-4000-8000-000000000005": ("1001/0a00000000004000800000000000005.jpg", 1001, 1),
    "0a000000-0000-4000-8000-000000000006": ("1001/0a00000000004000800000000000006.jpg", 1001, 0),
}
BIRDS = {
    "images.txt": "".join(f"{key} {file}\n" for key, (file, _, _) in BIRD_IMAGES.items()),
    "image_class_labels.txt": "".join(
        f"{key} {leaf}\n" for key, (_, leaf, _) in BIRD_IMAGES.items()
    ),
    "train_test_split.txt": "".join(f"{key} {use}\n" for key, (_, _, use) in BIRD_IMAGES.items()),
    "bounding_boxes.txt": "".join(
        f"{key} {row} {row + 1} 20 {30 + row}\n" for row, key in enumerate(BIRD_IMAGES)
    ),
    "classes.txt": "0 Birds\n1 Ducks, Geese, and Swans\n22 Perching Birds\n"
    "69 Chickadees and Titmice\n80 Verdin\n179 Common Eider\n295 Common Eider (Adult male)\n"
    "424 Boreal Chickadee\n433 Verdin\n463 Common Eider  (Female/juvenile)\n"
    "817 Boreal Chickadee\n1001 Verdin\n",
    "hierarchy.txt": "1 0\n22 0\n69 22\n80 22\n179 1\n295 179\n424 69\n433 80\n463 179\n817 424\n"
    "1001 433\n",
}

DOG_LISTS = {
    "train_list.mat": (
        ("n02085620-Chihuahua/n02085620_5927.jpg", 1),
        ("n02085782-Japanese_spaniel/n02085782_2.jpg", 2),
        ("n02099267-flat-coated_retriever/n02099267_7.jpg", 3),
    ),
    "test_list.mat": (
        ("n02099267-flat-coated_retriever/n02099267_8.jpg", 3),
        ("n02085620-Chihuahua/n02085620_199.jpg", 1),
        ("n02085782-Japanese_spaniel/n02085782_17.jpg", 2),
    ),
}

FLOWERS = {"trnid": (2, 6), "valid": (5, 1), "tstid": (3, 4, 7)}
FLOWER_LABELS = (102, 1, 1, 102, 1, 102, 1)


def cells(texts: Sequence[str], *, column: bool = False) -> npt.NDArray[np.object_]:
    """A MATLAB cell array of strings, a row or a column."""
    array = np.empty((1, len(texts)), dtype=object)
    array[0, :] = texts
    return array.T if column else array


def structs(columns: Mapping[str, Sequence[Any]]) -> npt.NDArray[Any]:
    """A 1 x n MATLAB struct array; numbers take the smallest type, as in the originals."""
    count = len(next(iter(columns.values())))
    array = np.empty((1, count), dtype=[(name, object) for name in columns])
    for name, values in columns.items():
        for row, value in enumerate(values):
            array[0, row][name] = (
                value if isinstance(value, str) else np.min_scalar_type(value).type(value)
            )
    return array


def save_images(folder: Path, names: Sequence[str]) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise(10, 12, seed).save(folder / name)


def save_tables(folder: Path, tables: Mapping[str, str], line_end: str = "\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tables.items():
        (folder / name).write_bytes(content.replace("\n", line_end).encode())


def save_car_annotations(path: Path, cars: Cars, *, labels: bool = True, first: int = 1) -> None:
    columns: dict[str, Sequence[Any]] = {
        f"bbox_{corner}": [box[i] for _, _, box in cars]
        for i, corner in enumerate(("x1", "y1", "x2", "y2"))
    }
    if labels:
        columns["class"] = [number - 1 + first for _, number, _ in cars]
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": structs({**columns, "fname": [name for name, _, _ in cars]})})


def build_cars(root: Path, *, first: int = 1) -> Path:
    folder = root / "stanford_cars"
    save_images(folder / "cars_train", [name for name, _, _ in CARS_TRAIN])
    save_images(folder / "cars_test", [name for name, _, _ in CARS_TEST])
    save_car_annotations(folder / "devkit" / "cars_train_annos.mat", CARS_TRAIN, first=first)
    save_car_annotations(folder / "devkit" / "cars_test_annos.mat", CARS_TEST, labels=False)
    save_car_annotations(folder / "cars_test_annos_withlabels.mat", CARS_TEST, first=first)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": cells(CAR_NAMES)})
    return folder


def build_cars_in_one_folder(root: Path) -> Path:
    folder = root / "stanford_cars"
    cars = [*CARS_TRAIN, *CARS_TEST]
    names = [f"car_ims/{row:06}.jpg" for row in range(1, len(cars) + 1)]
    save_images(folder, names)
    columns: dict[str, Sequence[Any]] = {"relative_im_path": names}
    for i, corner in enumerate(("x1", "y1", "x2", "y2")):
        columns[f"bbox_{corner}"] = [box[i] for _, _, box in cars]
    columns["class"] = [number for _, number, _ in cars]
    columns["test"] = [0] * len(CARS_TRAIN) + [1] * len(CARS_TEST)
    savemat(
        folder / "cars_annos.mat",
        {"annotations": structs(columns), "class_names": cells(CAR_NAMES)},
    )
    return folder


def build_aircraft(root: Path, line_end: str = "\n") -> Path:
    folder = root / "fgvc-aircraft-2013b"
    save_tables(folder / "data", AIRCRAFT, line_end)
    images = [line.split()[0] for line in AIRCRAFT["images_box.txt"].splitlines()]
    save_images(folder / "data" / "images", [f"{image}.jpg" for image in images])
    return folder


def build_nabirds(root: Path, line_end: str = "\n") -> Path:
    folder = root / "nabirds"
    save_tables(folder, BIRDS, line_end)
    save_images(folder / "images", [file for file, _, _ in BIRD_IMAGES.values()])
    return folder


def build_flowers102(root: Path) -> Path:
    folder = root / "flowers-102"
    save_images(folder, [f"jpg/image_{i:05}.jpg" for i in range(1, len(FLOWER_LABELS) + 1)])
    savemat(folder / "imagelabels.mat", {"labels": np.array([FLOWER_LABELS], dtype=np.uint8)})
    sets = {name: np.array([ids], dtype=np.uint16) for name, ids in FLOWERS.items()}
    savemat(folder / "setid.mat", sets)
    return folder


def save_dog_list(path: Path, rows: Sequence[tuple[str, int]]) -> None:
    files = [file for file, _ in rows]
    savemat(
        path,
        {
            "file_list": cells(files, column=True),
            "annotation_list": cells([file.removesuffix(".jpg") for file in files], column=True),
            "labels": np.array([[float(label)] for _, label in rows]),
        },
    )


def dog_annotation(*boxes: tuple[int, int, int, int]) -> str:
    """An annotation file: boxes are xmin, ymin, xmax, ymax."""
    objects = "".join(
        "\t<object>\n\t\t<name>Chihuahua</name>\n\t\t<pose>Unspecified</pose>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{x1}</xmin>\n\t\t\t<ymin>{y1}</ymin>\n"
        f"\t\t\t<xmax>{x2}</xmax>\n\t\t\t<ymax>{y2}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for x1, y1, x2, y2 in boxes
    )
    return (
        "<annotation>\n\t<folder>02085620</folder>\n\t<filename>%s</filename>\n\t<size>\n"
        "\t\t<width>300</width>\n\t\t<height>430</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segment>0</segment>\n{objects}</annotation>"
    )


def build_dogs(root: Path) -> Path:
    folder = root / "stanford_dogs"
    files = [file for rows in DOG_LISTS.values() for file, _ in rows]
    save_images(folder / "Images", files)
    for row, file in enumerate(files):
        path = folder / "Annotation" / file.removesuffix(".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dog_annotation((65 + row, 50, 249, 404)))
    for name, rows in DOG_LISTS.items():
        save_dog_list(folder / name, rows)
    return folder

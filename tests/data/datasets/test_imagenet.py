from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from pcsearch.data.catalog import DATASETS, DataOptions, open_dataset
from pcsearch.data.dataset import Dataset, Part
from pcsearch.data.datasets.imagenet_subsets import DOGS, draw_classes
from pcsearch.errors import UserError
from tests.data.image_files import noise

TENCH, CRANE, MACHINE = "n01440764", "n02012849", "n03126707"
WORDS = {TENCH: "tench, Tinca tinca", CRANE: "crane", MACHINE: "crane"}
TRAIN = {TENCH: 3, CRANE: 2, MACHINE: 2}
VAL = {1: MACHINE, 2: TENCH, 3: CRANE, 4: TENCH}  # number of the validation image → class


def save_training(folder: Path, counts: Mapping[str, int] = TRAIN) -> None:
    for wnid, count in counts.items():
        (folder / "train" / wnid).mkdir(parents=True)
        for number in range(count):
            noise(9, 9, number).save(folder / "train" / wnid / f"{wnid}_{number + 17}.JPEG")


def save_validation(folder: Path, *, sort: bool, images: Mapping[int, str] = VAL) -> None:
    for number, wnid in images.items():
        path = folder / "val" / (wnid if sort else "") / f"ILSVRC2012_val_{number:08}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(9, 9, number).save(path)


def save_devkit(folder: Path) -> None:
    """The kit numbers classes in an order of its own, and lists inner nodes of WordNet too."""
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    ids = {CRANE: 1, MACHINE: 2, TENCH: 3, "n00001740": 1001}
    words = WORDS | {"n00001740": "entity"}
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("gloss", object)]
    synsets = np.zeros((4, 1), dtype=[*kinds, ("num_children", object)])
    for row, (wnid, number) in enumerate(ids.items()):
        synsets[row, 0] = (number, wnid, words[wnid], "a thing", 0 if number <= 1000 else 3)
    savemat(data / "meta.mat", {"synsets": synsets})
    truth = "".join(f"{ids[VAL[number]]}\n" for number in sorted(VAL))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)


def torchvision_form(root: Path) -> None:
    save_training(root)
    save_validation(root, sort=True)


def archive_form(root: Path) -> None:
    save_training(root)
    save_validation(root, sort=False)
    save_devkit(root)


def kaggle_form(root: Path) -> None:
    images = root / "ILSVRC" / "Data" / "CLS-LOC"
    save_training(images)
    save_validation(images, sort=False)
    (images / "test").mkdir()
    lines = [f"ILSVRC2012_val_{number:08},{wnid} 85 1 499 272 \n" for number, wnid in VAL.items()]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(lines[::-1]))
    mapping = "".join(f"{wnid} {words}\n" for wnid, words in WORDS.items())
    (root / "LOC_synset_mapping.txt").write_text(mapping)


def read(root: Path, dataset_id: str = "imagenet", **options: Any) -> Dataset:
    return open_dataset(dataset_id, replace(DataOptions(root=root), **options))


def read_part(root: Path) -> Dataset:
    """The classes of `TRAIN`, which must be chosen: a part of ImageNet is not read as a whole."""
    return read(root, classes=tuple(TRAIN))


def listed(part: Part | None) -> list[tuple[str, int]]:
    assert part is not None
    names = [Path(part.images.name(row)).name for row in range(len(part.images))]
    return list(zip(names, part.labels.tolist(), strict=True))


def check(dataset: Dataset, names: Sequence[str]) -> None:
    assert dataset.class_names == tuple(names)
    assert listed(dataset.train) == [
        ("n01440764_17.JPEG", 0),
        ("n01440764_18.JPEG", 0),
        ("n01440764_19.JPEG", 0),
        ("n02012849_17.JPEG", 1),
        ("n02012849_18.JPEG", 1),
        ("n03126707_17.JPEG", 2),
        ("n03126707_18.JPEG", 2),
    ]
    assert listed(dataset.test) == [
        ("ILSVRC2012_val_00000002.JPEG", 0),
        ("ILSVRC2012_val_00000004.JPEG", 0),
        ("ILSVRC2012_val_00000003.JPEG", 1),
        ("ILSVRC2012_val_00000001.JPEG", 2),
    ]
    assert dataset.given_val is None
    assert dataset.train.images.image(0).size == (9, 9)


FIRST_DRAWN = [[4, 12, 13, 34, 45], [0, 3, 9, 12, 14], [12, 31, 35, 51, 63]]
HUMAN = ("tench", "crane (n02012849)", "crane (n03126707)")


@pytest.mark.parametrize("folder", ["imagenet", "ILSVRC2012", ""])
@pytest.mark.parametrize(
    ("make", "names"),
    [(torchvision_form, tuple(WORDS)), (archive_form, HUMAN), (kaggle_form, HUMAN)],
)
def test_forms(tmp_path: Path, folder: str, make: Any, names: tuple[str, ...]) -> None:
    make(tmp_path / folder)
    check(read_part(tmp_path), names)
    check(read_part(tmp_path / folder), names)


def test_other_things_in_the_folders(tmp_path: Path) -> None:
    kaggle_form(tmp_path)
    images = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    (images / "train" / TENCH / "notes.txt").write_text("x")
    (images / "train" / TENCH / "._n01440764_17.JPEG").write_text("x")
    (images / "train" / "readme").mkdir()
    (images / "val" / "sums.txt").write_text("x")
    (tmp_path / "imagenet" / "train").mkdir(parents=True)  # begun and left
    check(read_part(tmp_path), HUMAN)


def test_classes_by_number_name_and_wordnet_id(tmp_path: Path) -> None:
    kaggle_form(tmp_path)
    for classes in ((0, 2), ("tench", "crane (n03126707)"), (TENCH, MACHINE), (2, TENCH)):
        dataset = read(tmp_path, classes=classes)
        assert dataset.class_names == ("tench", "crane (n03126707)")
        assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(UserError, match="the numbers are 0 to 2"):
        read(tmp_path, classes=(0, 3))
    with pytest.raises(UserError, match="no class is called 'crane'"):
        read(tmp_path, classes=(0, "crane"))


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"imagenet\. ImageNet needs an account.*data\.root"):
        read(tmp_path)
    (tmp_path / "train" / "gull").mkdir(parents=True)  # another dataset's
    with pytest.raises(UserError, match="ImageNet needs an account"):
        read(tmp_path)


def test_half_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet" / "train"
    folder.mkdir(parents=True)
    (folder / f"{TENCH}.tar").write_bytes(b"x")
    with pytest.raises(UserError, match=rf"such as {TENCH}\.tar: .*train/{TENCH}\."):
        read(tmp_path)
    save_training(tmp_path / "imagenet")
    with pytest.raises(UserError, match=r"no val/: unpack ILSVRC2012_img_val\.tar"):
        read(tmp_path)
    (tmp_path / "imagenet" / "val").mkdir()
    with pytest.raises(UserError, match="val holds no images"):
        read_part(tmp_path)
    save_validation(tmp_path / "imagenet", sort=False)
    with pytest.raises(UserError, match=r"their classes are unknown: put LOC_val_solution\.csv"):
        read_part(tmp_path)
    save_devkit(tmp_path / "imagenet")
    assert read_part(tmp_path).num_classes == 3


def test_class_without_images(tmp_path: Path) -> None:
    torchvision_form(tmp_path)
    (tmp_path / "train" / "n09999999").mkdir()
    with pytest.raises(UserError, match="class n09999999 has no training images"):
        read(tmp_path, classes=(0, "n09999999"))
    save_training(tmp_path, {"n09999998": 1})
    (tmp_path / "train" / "n09999999").rmdir()
    with pytest.raises(UserError, match="class n09999998 has no test images"):
        read(tmp_path, classes=(0, "n09999998"))
    check(read(tmp_path, classes=(0, 1, 2)), tuple(WORDS))


def test_tables_that_do_not_fit(tmp_path: Path) -> None:
    kaggle_form(tmp_path / "k")
    (tmp_path / "k" / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n")
    with pytest.raises(UserError, match="no line for ILSVRC2012_val_00000001 and 3 more"):
        read_part(tmp_path / "k")
    archive_form(tmp_path / "a")
    truth = tmp_path / "a/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    for content in ("1\n2\n", "1\n2\n3\n77\n", "1\n2\n3\nx\n"):
        truth.write_text(content)
        with pytest.raises(UserError, match="does not fit the 4 images"):
            read_part(tmp_path / "a")


def test_dogs_are_the_breeds_shared_with_stanford_dogs() -> None:
    assert len(set(DOGS)) == 117
    assert list(DOGS) == sorted(DOGS)
    assert (DOGS[0], DOGS[-1]) == ("n02085620", "n02113978")  # Chihuahua, Mexican hairless
    for absent in ("n02110341", "n02115641", "n02115913", "n02116738", "n02114367"):
        assert absent not in DOGS  # dalmatian, dingo, dhole, African hunting dog, timber wolf


def stub(folder: Path, wnids: Sequence[str]) -> None:
    """Class folders with an empty image each."""
    for wnid in wnids:
        for part in ("train", "val"):
            (folder / part / wnid).mkdir(parents=True)
            (folder / part / wnid / f"{wnid}_1.JPEG").touch()


def test_dogs(tmp_path: Path) -> None:
    stub(tmp_path, [TENCH, "n02110341", "n02116738", *DOGS])
    dataset = read(tmp_path, "imagenet_dogs")
    assert dataset.class_names == DOGS
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == list(range(117))
    assert f"/train/{DOGS[5]}/" in dataset.train.images.name(5)
    assert read(tmp_path, "imagenet_dogs", classes=(1, DOGS[9])).class_names == (DOGS[0], DOGS[9])
    with pytest.raises(UserError, match="no class has the number 0; the numbers are 1 to "):
        read(tmp_path, "imagenet_dogs", classes=(0, 1))
    (tmp_path / "train" / DOGS[4]).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=rf"lacks 1 of the 117 dog classes \({DOGS[4]}\)"):
        read(tmp_path, "imagenet_dogs")


def test_random_classes(tmp_path: Path) -> None:
    wnids = [f"n{number:08}" for number in range(1, 2001, 2)]
    stub(tmp_path, wnids)
    dataset = read(tmp_path, "imagenet_random", instance=1)
    assert dataset.class_names == tuple(wnids[position] for position in draw_classes(1))
    some = read(tmp_path, "imagenet_random", instance=1, classes=dataset.class_names[3:6])
    assert some.class_names == dataset.class_names[3:6]
    with pytest.raises(UserError, match="instance: -1 is no number of a draw"):
        read(tmp_path, "imagenet_random", instance=-1)
    (tmp_path / "train" / wnids[-1]).rename(tmp_path / "moved")
    with pytest.raises(
        UserError, match="holds 999 class folders; drawing from them needs all 1000"
    ):
        read(tmp_path, "imagenet_random")


def test_a_part_without_chosen_classes_is_refused(tmp_path: Path) -> None:
    torchvision_form(tmp_path)
    with pytest.raises(UserError, match=r"train holds 3 of ImageNet's 1,000 class folders\. What"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"the rest, .* data\.classes, .* \(--images .*\)\.$"):
        read(tmp_path)
    (tmp_path / "val" / "n02085620").mkdir()
    with pytest.raises(UserError, match=r"3 of .* folders \(it lacks n02085620, for example\)"):
        read(tmp_path)
    check(read_part(tmp_path), tuple(WORDS))


@pytest.mark.parametrize("make", [archive_form, kaggle_form])
def test_an_absent_class_is_told_from_the_tables(tmp_path: Path, make: Any) -> None:
    make(tmp_path)
    next(tmp_path.rglob(f"train/{CRANE}")).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=rf"2 of .* folders \(it lacks {CRANE}, for example\)"):
        read(tmp_path)


def test_all_classes(tmp_path: Path) -> None:
    wnids = [f"n{number:08}" for number in range(1000)]
    stub(tmp_path, wnids)
    assert read(tmp_path).class_names == tuple(wnids)
    for stranger in ("n09999998", "n09999999"):
        (tmp_path / "val" / stranger).mkdir()
    with pytest.raises(UserError, match=r"val holds .*train lacks \(n09999998 and 1 more\)"):
        read(tmp_path)
    assert read(tmp_path, classes=(0, 5)).num_classes == 2
    (tmp_path / "train" / wnids[7]).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"holds 999 of .* \(it lacks n00000007, for example\)"):
        read(tmp_path)


def test_draws_never_change() -> None:
    drawn = [draw_classes(instance) for instance in range(3)]
    for positions in drawn:
        assert len(set(positions)) == 117
        assert positions == sorted(positions)
        assert set(positions) <= set(range(1000))
    assert [positions[:5] for positions in drawn] == FIRST_DRAWN


def test_entries_say_what_the_paper_leaves_open() -> None:
    assert "unpublished" in DATASETS["imagenet_random"].description
    assert "our reading" in DATASETS["imagenet_dogs"].description
    assert DATASETS["imagenet"].images == {"train": 1_281_167, "test": 50_000}
    assert not any(DATASETS[i].archives for i in ("imagenet", "imagenet_dogs", "imagenet_random"))

"""The paper's numbers; its own printed gains check the transcription of Table 2."""

from __future__ import annotations

import pytest

from pcsearch.reporting.published import published, published_iou

TABLE_2 = {  # dataset: classes, and the printed gain of ResNet-50, Bilinear CNN, DenseNet-161
    "cub200": (200, (2.06, 1.48, 2.66)),
    "cars": (196, (1.72, 1.25, 1.03)),
    "aircraft": (100, (2.21, 1.68, 2.94)),
    "nabirds": (555, (4.60, 1.11, 3.44)),
    "flowers102": (102, (1.04, 1.13, 1.32)),
    "dogs": (120, (3.43, 0.91, 2.57)),
}
TABLE_3 = {"imagenet_random": 117, "imagenet_dogs": 117, "cifar10": 10, "cifar100": 100}


@pytest.mark.parametrize("dataset", TABLE_2)
def test_table_2_has_the_gains_that_the_paper_prints(dataset: str) -> None:
    classes, gains = TABLE_2[dataset]
    for backbone, gain in zip(("resnet50", "bilinear_cnn", "densenet161"), gains, strict=True):
        entry = published(dataset, backbone, classes)
        assert entry is not None
        assert entry["pc"] - entry["baseline"] == pytest.approx(gain, abs=1e-9)
        assert entry["source"].endswith("ECCV 2018, Table 2")
        assert published(dataset, backbone, classes - 1) is None
    assert published(dataset, "googlenet", classes) is None


def test_table_3_is_whole() -> None:
    for dataset, classes in TABLE_3.items():
        for backbone in ("googlenet", "resnet50", "densenet161"):
            entry = published(dataset, backbone, classes)
            assert entry is not None
            assert entry["source"].endswith("Table 3")
        assert published(dataset, "bilinear_cnn", classes) is None
    worse = published("cifar10", "densenet161", 10)  # the one place where PC loses
    assert worse is not None
    assert (worse["baseline"], worse["pc"]) == (95.15, 95.08)
    dogs = published("imagenet_dogs", "googlenet", 117)
    assert dogs is not None
    assert (dogs["baseline"], dogs["pc"]) == (62.35, 64.17)


def test_table_4_improves_by_the_mean_that_its_caption_states() -> None:
    names = ("googlenet", "vgg16", "resnet50", "densenet161", "bilinear_cnn")
    entries = [published_iou("cub200", name, 200) for name in names]
    gains = [entry["pc"] - entry["baseline"] for entry in entries if entry is not None]
    assert sum(gains) / 5 == pytest.approx(0.034)
    assert published_iou("cub200", "vgg16", 50) is None


@pytest.mark.parametrize(
    "place", [("digits", "resnet50", 10), ("cub200", "compact_cnn", 200), ("images", "vgg16", 3)]
)
def test_nothing_is_published_of_other_places(place: tuple[str, str, int]) -> None:
    assert published(*place) is None

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from pcsearch.cli.views.probe import probe_view
from pcsearch.reporting.lambda_curve import CurvePoint, Difference, FeatureFacts, LambdaCurve
from tests.cli.test_app import pcsearch

TINY = ("quickstart", "datasets=[fieldguide]", "data.fieldguide.images_per_species=12")


def test_from_recipe_to_json(tmp_path: Path) -> None:
    done = pcsearch("probe", *TINY, "--repeats", "2", "--json", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    (study,) = json.loads(done.stdout)
    assert study["study"] == "fieldguide/compact_cnn"
    assert [point["lambda_over_n"] for point in study["points"]][:2] == [0, 0.005]
    assert len(study["points"]) == 13
    assert all(0 <= point["value"] <= 100 for point in study["points"])
    assert study["best_lambda_over_n"] in study["near_best_lambda_over_n"]
    assert study["features"]["dimensions"] == 64
    assert "random" in " ".join(study["notes"])
    assert "fieldguide/compact_cnn features" in done.stderr
    assert list(tmp_path.iterdir()) == []  # no run folder


def test_from_recipe_to_table(tmp_path: Path) -> None:
    done = pcsearch(
        "probe", *TINY, "--repeats", "2", cwd=tmp_path, COLUMNS="80", OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert len([line for line in lines if re.match(r" *[\d.]+ +[\d.]+ +[\d.]+ ± ", line)]) == 13
    assert "prediction from frozen features, not a verdict" in " ".join(done.stdout.split())
    assert "its features are random" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-such-recipe",), "no-such-recipe"),
        ((), "no recipe is given"),
        (("quickstart", "cub200"), "probe takes one recipe"),
        (("quickstart", "asha.max_epoch=3"), "max_epoch"),
        (("quickstart", "image.crop=9", "backbones=[resnet18]", "image.resize=9",
          "weights=no-such-file.pth"), "no-such-file.pth"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = pcsearch("probe", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_images(tmp_path: Path) -> None:
    from PIL import Image

    for name, images in (("ant", 5), ("bee", 1)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(images):
            picture = Image.new("RGB", (40, 40), (40 * index, 9, 200 if name == "ant" else 0))
            picture.save(tmp_path / "train" / name / f"{index}.png")
    done = pcsearch("probe", "--images", str(tmp_path), "weights=none", "backbones=[compact_cnn]")
    assert done.returncode == 2
    assert "bee (1)" in done.stderr
    assert "Traceback" not in done.stderr


# The view, from a curve that is known.


def point(fraction: float, value: float, gain: float | None, behind: float | None) -> CurvePoint:
    def around(mean: float | None) -> Difference | None:
        return None if mean is None else Difference(mean, mean - 2, mean + 2)

    return CurvePoint(fraction, 50 * fraction, value, 1.25, around(gain), around(behind), 1.0)


CURVE = LambdaCurve(
    "cub200/squeezenet1_1", 50, 1200, 300, 8, False, "top1", "euclidean", "split_batch", 32, 15,
    FeatureFacts("classifier.1", "Conv2d", True, 512, "imagenet: squeezenet1_1-b8a52dc0.pth"),
    (point(0, 52, None, -1), point(0.05, 53, 1, None), point(0.5, 43, -9, -10)),
    ("Look.",), 3.4, 21.0,
)  # fmt: skip


def text_of(columns: int) -> str:
    console = Console(width=columns, color_system=None)
    with console.capture() as capture:
        console.print(probe_view(CURVE, columns))
    return capture.get()


@pytest.mark.parametrize("columns", [70, 80, 100, 200])
def test_the_view_fits_and_draws_the_differences(columns: int) -> None:
    text = text_of(columns)
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= columns
    words = " ".join(text.split())
    for part in (
        "1,200 training and 300 validation images, 50 classes",
        "the input of classifier.1 (Conv2d), averaged over positions, 512 numbers an image",
        "λ/N = 0.05 looks best (53.0 %), but these do not differ from it: 0 (within error).",
        "-9.0 [-11.0, -7.0]",
        "Look.",
    ):
        assert part in words
    control, best, worst = (line for line in lines if "±" in line and "s.e." not in line)
    zero = control.index("●")
    # λ = 0 is at one place in all rows; the intervals are as long as they are wide.
    assert best[zero] == "┼"
    assert best.index("●") > zero
    assert worst[zero] == "│"
    assert worst.index("○") < zero
    assert "●" not in worst
    drawn = worst[:zero].count("─") + 1
    cells_per_point = (zero - worst.index("○")) / 9
    assert drawn == pytest.approx(4 * cells_per_point + 1, abs=1.5)


def test_numbers_are_not_cut_for_the_drawing() -> None:
    wide = replace(CURVE.points[2], gain=Difference(-16.7, -261.2, 227.9))
    curve = replace(CURVE, points=(*CURVE.points[:2], wide))
    for columns, drawn in ((55, False), (80, True)):
        console = Console(width=columns, color_system=None)
        with console.capture() as capture:
            console.print(probe_view(curve, columns))
        (line,) = (line for line in capture.get().splitlines() if "261" in line)
        assert line.split()[:5] == ["0.5", "25", "43.0", "±", "1.2"]
        assert "-16.7 [-261.2, +227.9]" in line
        assert ("●" in line or "○" in line) == drawn

"""`pcsearch evaluate` on runs with known weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import binomtest

from tests.cli.conftest import Command
from tests.cli.kept_runs import CLASSES, STUDY, answers, write_kept_run
from tests.e2e.pictures import save_classes, save_parts


def test_accuracies_and_differences_are_counted_anew(command: Command, tmp_path: Path) -> None:
    run = write_kept_run(tmp_path)
    files = sorted(save_classes(tmp_path / "new", images=16).rglob("*.*"))
    code, out, err = command("evaluate", "kept", "new", "--json")
    assert code == 0, err
    content = json.loads(out)
    hits = {}
    for arm in ("control", "pc"):
        weights = run / f"weights/{STUDY.replace('/', '.')}.{arm}.safetensors"
        given = answers("compact_cnn", weights, files).argmax(dim=1).tolist()
        names = [file.parent.name for file in files]
        hits[arm] = [CLASSES[n] == name for n, name in zip(given, names, strict=True)]
        found = content["arms"][arm]
        assert found["accuracy"]["hits"] == sum(hits[arm])
        assert found["accuracy"]["images"] == 48
        for label, own in found["per_class"].items():
            pairs = zip(hits[arm], names, strict=True)
            assert own["hits"] == sum(hit for hit, name in pairs if name == label)
            assert own["images"] == 16
    both = list(zip(hits["pc"], hits["control"], strict=True))
    (one,) = content["differences"]
    assert (one["first"], one["second"]) == ("pc", "control")
    assert one["only_first"] == both.count((True, False))
    assert one["only_second"] == both.count((False, True))
    differing = one["only_first"] + one["only_second"]
    assert differing > 0, "the networks of this test must differ"
    assert one["p_value"] == pytest.approx(binomtest(one["only_first"], differing).pvalue)


def test_a_manifest_of_some_classes_in_other_spellings(command: Command, tmp_path: Path) -> None:
    write_kept_run(tmp_path)
    save_classes(tmp_path / "new", images=4)
    lines = [f"new/azure/00{n}.jpg,AZURE" for n in (1, 2, 3)]
    lines += ["new/azure/absent.jpg,azure", "new/crimson/001.jpg,crimsom"]
    (tmp_path / "new.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    code, out, _ = command("evaluate", "kept", "new.csv")
    assert code == 1  # one image is missing
    text = " ".join(out.split())
    assert "new.csv: 3 images of 1 of 3 classes" in text
    assert "1 of 4 images cannot be read and are not counted; the first is" in text
    assert '"crimsom", did you mean "crimson"?' in text
    assert "PC − control: " in text


def test_of_a_set_with_parts_the_test_images_are_measured(command: Command, tmp_path: Path) -> None:
    write_kept_run(tmp_path)
    save_parts(tmp_path / "set", train=2, val=1, test=3)
    code, out, _ = command("evaluate", "kept", "set", "--arm", "pc")
    assert code == 0
    assert "set: 9 images of 3 of 3 classes" in out
    assert "only its test images were measured" in out
    assert "control" not in out
    save_parts(tmp_path / "alone", train=0, val=0, test=2)
    assert "alone: 6 images" in command("evaluate", "kept", "alone")[1]
    rows = ["path,label,split", "set/train/azure/000.png,azure,train"]
    (tmp_path / "m.csv").write_text("\n".join([*rows, "set/test/azure/003.jpg,azure,test\n"]))
    assert "m.csv: 1 image of 1 of 3 classes" in command("evaluate", "kept", "m.csv")[1]


def test_it_fits_into_80_columns(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = tuple(f"{number:03d}.{'A very long name of a bird ' * 3}" for number in range(40))
    write_kept_run(tmp_path, classes=names)
    picture = save_classes(tmp_path / "one", images=1) / "azure/000.png"
    for name in names:
        (tmp_path / "new" / name).mkdir(parents=True)
        (tmp_path / "new" / name / "1.png").write_bytes(picture.read_bytes())
    code, out, _ = command("evaluate", "kept", "new")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "the 30 worst classes" in " ".join(out.split())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("absent", "there is no folder or manifest absent"),
        ("flat", "has no labels: it holds no images in sub-folders"),
        ("others", 'has no class of the network, which knows 3, "azure" to "emerald"'),
        ("broken", "none of the 1 images of broken can be read: broken/azure/1.jpg: not an image"),
        ("cells.csv", "has no column label"),
    ],
)
def test_mistakes_are_one_message(
    command: Command, tmp_path: Path, given: str, message: str
) -> None:
    write_kept_run(tmp_path)
    save_classes(tmp_path / "flat", images=1, classes=0)
    (tmp_path / "flat").mkdir(exist_ok=True)
    save_classes(tmp_path / "others", images=1, classes=1)
    (tmp_path / "others/crimson").rename(tmp_path / "others/wren")
    (tmp_path / "broken/azure").mkdir(parents=True)
    (tmp_path / "broken/azure/1.jpg").write_text("no image")
    (tmp_path / "cells.csv").write_text("path,klass\na.jpg,azure\n")
    code, out, err = command("evaluate", "kept", given)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())

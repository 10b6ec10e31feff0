"""`pcsearch predict` on runs with known weights."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcsearch import api
from pcsearch.errors import UserError
from tests.cli.campaigns import arm, plan
from tests.cli.conftest import Command
from tests.cli.kept_runs import (
    CLASSES,
    HOW,
    STUDY,
    answers,
    one_study,
    save_odd_images,
    write_kept_run,
)
from tests.e2e.pictures import save_classes


@pytest.mark.parametrize("aspect", ["warp", "keep"])
def test_probabilities_are_those_of_plain_torchvision(
    command: Command, tmp_path: Path, aspect: str
) -> None:
    how = {**HOW, "aspect": aspect}
    run = write_kept_run(tmp_path, how=how)
    folder = save_classes(tmp_path / "new", images=15)
    files = sorted(folder.rglob("*.*"))
    code, out, err = command("predict", "kept", "new", "--json", "--arm", "control")
    assert code == 0, err
    content = json.loads(out)
    expected = answers(
        "compact_cnn", run / f"weights/{STUDY.replace('/', '.')}.control.safetensors", files, how
    )
    assert [one["file"] for one in content["predictions"]] == [
        str(file.relative_to(tmp_path)) for file in files
    ]
    for one, row in zip(content["predictions"], expected, strict=True):
        assert [top["class"] for top in one["top"]] == [
            CLASSES[i] for i in row.argsort(descending=True)
        ]
        for top in one["top"]:
            assert top["probability"] == pytest.approx(
                float(row[CLASSES.index(top["class"])]), abs=2e-5
            )
    hits = sum(
        CLASSES[row.argmax()] == file.parent.name for row, file in zip(expected, files, strict=True)
    )
    assert content["labels"]["accuracy"]["hits"] == hits
    assert content["labels"]["accuracy"]["images"] == 45
    assert sum(sum(row.values()) for row in content["labels"]["confusion"].values()) == 45
    assert content["trial"] == f"{STUDY}/control/confirm-000"


def test_the_better_arm_answers_and_the_command_says_why(command: Command, tmp_path: Path) -> None:
    """In this campaign every arm measures 91 %, so the plainer one is taken."""
    write_kept_run(tmp_path)
    save_classes(tmp_path / "new", images=1)
    code, out, _ = command("predict", "kept", "new")
    assert code == 0
    assert out.startswith(
        f"Network: control of {STUDY}. It has 91.00 % on the test images (mean of 3 seeds), PC "
        "91.00 %. Gain of PC: 0.00"
    )
    _, out, _ = command("predict", "kept", "new", "--arm", "pc")
    assert out.startswith(f"Network: PC of {STUDY}, as asked for.")


def test_two_lines_an_image_at_80_columns(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"{number:03d}.A long name of a bird" for number in range(7))
    write_kept_run(tmp_path, classes=names)
    save_classes(tmp_path / "new", images=1)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = command("predict", "kept", "new/azure/000.png")
    assert max(map(len, out.splitlines())) <= 80
    lines = out.splitlines()
    at = lines.index("new/azure/000.png")
    assert lines[at + 1].startswith("   ")
    assert lines[at + 1].count(" % 00") == 2  # names are never broken
    assert sum(line.count(" % 00") for line in lines[at + 1 : at + 4]) == 5


def test_odd_images_are_answered_and_broken_ones_are_counted(
    command: Command, tmp_path: Path
) -> None:
    write_kept_run(tmp_path)
    save_odd_images(tmp_path / "odd")
    code, out, err = command("predict", "kept", "odd", "--csv")
    assert code == 1
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(out))}
    assert set(rows) == {
        "odd/alpha.png", "odd/deep.png", "odd/one.png", 'odd/=1+1 "q",x.png',
        r"odd/m\udcf6we.png", "odd/broken.jpg", "odd/empty.jpg",
    }  # fmt: skip
    assert rows["odd/empty.jpg"]["error"] == "the file is empty"
    assert rows["odd/empty.jpg"]["class_1"] == ""
    assert all(row["class_1"] in CLASSES for row in rows.values() if not row["error"])
    assert "2 of 7 images cannot be read and are not counted." in err
    code, out, _ = command("predict", "kept", "odd")
    assert code == 1
    assert "cannot be read: the file is empty" in out


def test_16_bit_images_that_come_out_black_are_told(command: Command, tmp_path: Path) -> None:
    write_kept_run(tmp_path)
    Image.fromarray(np.full((40, 40), 4000, dtype=np.uint16)).save(tmp_path / "dark.png")
    code, out, _ = command("predict", "kept", "dark.png")
    assert code == 0
    assert "come out nearly black. Divide their values by 16" in " ".join(out.split())


def test_class_names_are_safe_in_every_format(command: Command, tmp_path: Path) -> None:
    names = ("=cmd()", 'quo"ted, name', "slash/ed", r"m\udcf6we", "new\nline", "\x1b[31mred")
    write_kept_run(tmp_path, classes=names)
    (tmp_path / "new" / 'quo"ted, name').mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (40, 40), (80 * number, 0, 0)).save(
            tmp_path / f"new/{names[1]}/{number}.png"
        )
    code, out, _ = command("predict", "kept", "new", "--csv")
    assert code == 0
    assert "\x1b" not in out
    rows = list(csv.reader(io.StringIO(out)))
    shown = {cell for row in rows[1:] for cell in row[3::2]}
    wanted = {"'=cmd()", 'quo"ted, name', "slash/ed", r"m\udcf6we", "new\nline", "\\x1b[31mred"}
    assert shown <= wanted
    assert {row[1] for row in rows[1:]} == {'quo"ted, name'}
    _, out, _ = command("predict", "kept", "new", "--json")
    found = {top["class"] for one in json.loads(out)["predictions"] for top in one["top"]}
    assert found <= set(names)
    _, out, _ = command("predict", "kept", "new", "--confusion")
    assert "\x1b" not in out


def test_folders_of_other_names_are_told_with_near_spellings(
    command: Command, tmp_path: Path
) -> None:
    write_kept_run(tmp_path)
    save_classes(tmp_path / "new", images=2)
    (tmp_path / "new/azure").rename(tmp_path / "new/azur")
    (tmp_path / "new/crimson").rename(tmp_path / "new/003.Crimson")
    _, out, _ = command("predict", "kept", "new")
    assert "1 folder of other names than the network's classes" in out
    assert '"azur", did you mean "azure"?' in out
    assert "of 4 images are right" in out  # a leading number does not matter
    shutil.rmtree(tmp_path / "new/emerald")
    shutil.rmtree(tmp_path / "new/003.Crimson")
    _, out, _ = command("predict", "kept", "new")
    assert "No sub-folder is named as a class of the network" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kept", "absent.png"), "there is no image or folder absent.png"),
        (("kept", "runs"), "runs holds no images"),
        (("kep", "new"), 'there is no run "kep" under runs, did you mean "kept"?'),
        (("new", "new"), 'there is no run "new"'),
        (("kept", "new", "--arm", "pcc"), 'has no arm "pcc", did you mean "pc"?'),
        (("kept", "new", "--study", "image"), 'has no study "image", did you mean "images"?'),
        (("kept", "new", "--csv", "--json"), "--csv and --json exclude each other"),
    ],
)
def test_mistakes_are_one_message(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    write_kept_run(tmp_path)
    save_classes(tmp_path / "new", images=1)
    code, out, err = command("predict", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_runs_without_weights_say_what_is_missing(command: Command, tmp_path: Path) -> None:
    save_classes(tmp_path / "new", images=1)

    def refusal(run: str, *more: str) -> str:
        code, _, err = command("predict", run, "new", *more)
        assert code == 2
        return " ".join(err.split())

    write_kept_run(tmp_path, "begun", until=4, status="interrupted")
    assert (
        f"runs/begun has no trained network of {STUDY} yet: it was interrupted before"
        in refusal("begun")
    )
    write_kept_run(tmp_path, "searched", one_study(seeds=0))
    assert (
        "it was searched only. Train one with: pcsearch resume runs/searched confirm.seeds=1"
        in refusal("searched")
    )
    write_kept_run(tmp_path, "failed", fails=lambda spec: spec.phase == "confirm", status="failed")
    assert f"{STUDY}/control/confirm-000 failed: loss became nan" in refusal("failed")
    write_kept_run(tmp_path, "two", plan((STUDY, "digits/compact_cnn")))
    assert f"has 2 studies; name one with --study: {STUDY}, digits/compact_cnn" in refusal("two")
    assert command("predict", "two", "new", "--study", "digits")[0] == 0
    run = write_kept_run(tmp_path, "lost")
    for file in run.glob("weights/*.control.*"):
        file.unlink()
    assert "lacks weights/images.compact_cnn.control.safetensors" in refusal(
        "lost", "--arm", "control"
    )
    assert "PC of" in command("predict", "lost", "new")[1]  # the other arm is still there
    (file,) = run.glob("weights/*.pc.*")
    file.write_bytes(file.read_bytes()[:1000])
    assert "restore it from a copy" in refusal("lost")


def test_weights_of_another_trial_are_refused(tmp_path: Path) -> None:
    run = write_kept_run(tmp_path)
    save_classes(tmp_path / "new", images=1)
    stem = run / "weights" / STUDY.replace("/", ".")
    shutil.copy(f"{stem}.control.safetensors", f"{stem}.pc.safetensors")
    with pytest.raises(
        UserError, match=r"holds the weights of .*/control/confirm-000, not of .*/pc/"
    ):
        api.predict(run, [tmp_path / "new"], arm="pc")


def test_a_network_of_the_users_own_needs_consent(tmp_path: Path) -> None:
    """Reading the weights file of a stranger imports nothing."""
    from pcsearch.models.registry import Backbone
    from pcsearch.training.export import facts_of, load_trained, save_weights
    from tests.training.helpers import perceptron

    backbone: Backbone = perceptron()  # type: ignore[assignment]
    save_weights(tmp_path / "w.safetensors", backbone, {})
    facts = facts_of(
        {"backbone": "os:getcwd", "class_names": ["a", "b"], "preprocessing": HOW}, "x"
    )
    with pytest.raises(UserError, match="os"):
        load_trained(facts, tmp_path / "w.safetensors")


def test_a_weights_file_loads_by_its_documented_name(tmp_path: Path) -> None:
    import pcsearch
    from pcsearch.models import CompactCNN

    run = write_kept_run(tmp_path, options={"width": 8})
    (file,) = run.glob("weights/*.pc.safetensors")
    network = pcsearch.load_network(file)
    assert isinstance(network.module, CompactCNN)
    assert not network.module.training
    assert network.facts.class_names == CLASSES
    assert network.facts.preprocessing.crop == HOW["crop"]


def test_a_run_of_an_earlier_version_has_the_network_of_pc_alone(
    command: Command, tmp_path: Path
) -> None:
    from pcsearch.models.registry import build_backbone
    from pcsearch.runs.folder import RunFolder, new_run
    from pcsearch.training.export import save_weights

    journal = Path(__file__).parents[1] / "search/journal/journal_format_2.jsonl"
    with new_run(tmp_path / "runs", "old", "name: demo\n", {}) as run:
        shutil.copy(journal, run.journal)
    state = RunFolder(run.path).state()
    kept = [trial.spec for trial in state.trials.values() if trial.spec.keep_weights]
    assert [spec.arm for spec in kept] == ["pc"]
    metadata = {  # what version 0.1.0 wrote
        "backbone": "compact_cnn", "backbone_options": {}, "dataset": "digits",
        "class_names": list(CLASSES), "preprocessing": HOW, "trial": kept[0].trial,
        "config": kept[0].config, "variant": "euclidean",
    }  # fmt: skip
    network = build_backbone("compact_cnn", 3)
    save_weights(run.weights / "digits.compact_cnn.pc.safetensors", network, metadata)
    save_classes(tmp_path / "new", images=1)
    code, out, _ = command("predict", "old", "new")
    assert code == 0
    assert out.startswith("Network: PC of digits/compact_cnn. It has ")
    assert "and alone has weights here." in out
    code, _, err = command("predict", "old", "new", "--arm", "control")
    assert code == 2
    assert "keeps the weights of pc alone, as versions up to 0.1.0 did" in " ".join(err.split())


def test_one_seed_and_no_control(command: Command, tmp_path: Path) -> None:
    save_classes(tmp_path / "new", images=1)
    write_kept_run(tmp_path, "one", one_study(seeds=1))
    _, out, _ = command("predict", "one", "new")
    assert "It has 90.00 % on the test images (one seed), PC 90.00 %." in out
    write_kept_run(tmp_path, "alone", plan((STUDY,), (arm("pc", 2),)), arms=("pc",))
    _, out, _ = command("predict", "alone", "new")
    assert "Network: PC of images/compact_cnn. It has 91.00 %" in out
    assert "and is the only arm." in out
    assert command("evaluate", "alone", "new")[0] == 0


def test_diverged_weights_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    run = write_kept_run(tmp_path)
    save_classes(tmp_path / "new", images=1)
    (file,) = run.glob("weights/*.pc.*")
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        metadata = stored.metadata()
    tensors = load_file(file)
    tensors["head.bias"][0] = torch.nan
    save_file(tensors, file, metadata)
    with pytest.raises(UserError, match=r"head.bias holds 1 values that are NaN"):
        api.predict(run, [tmp_path / "new"], arm="pc")

"""`show` on run folders that real campaigns wrote, with made-up predictions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pcsearch.cli import completion
from pcsearch.cli.app import main
from pcsearch.runs.folder import new_run
from pcsearch.search.journal.journal_file import FileJournal
from pcsearch.search.plan import Plan
from tests.cli.campaigns import plan as plan_without_predictions
from tests.cli.conftest import Command
from tests.cli.test_run_commands import write_run
from tests.reporting.predicting_campaigns import (
    NAMES,
    PER_CLASS,
    image_name,
    predicting_campaign,
    predicting_plan,
    predictions_of,
)
from tests.search.driving import pc_arm

STUDY = "birds/compact_cnn"


@pytest.fixture
def command(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same, in a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    return command


def make(name: str = "birds", plan: Plan | None = None, **options: Any) -> None:
    with (
        new_run(Path("runs"), name, "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        predicting_campaign(folder.path, plan, journal, **options)


def shown(command: Command, *arguments: str) -> Any:
    code, out, err = command("show", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_without_a_name_it_says_what_can_be_shown(command: Command) -> None:
    make()
    code, out, _ = command("show", "birds")
    assert code == 0
    assert f"  {STUDY}/control/search-000\n" in out
    assert "5 classes of birds/compact_cnn:\n  grey heron\n" in out
    assert "60 test images of birds/compact_cnn:\n  test/grey heron/00.png\n" in out
    assert "Show one with: pcsearch show runs/birds NAME" in out
    content = shown(command, "birds")
    assert content["kind"] == "run"
    assert content["studies"] == [
        {
            "study": STUDY,
            "classes": list(NAMES),
            "images": [image_name(index) for index in range(5 * PER_CLASS)],
        }
    ]
    assert f"{STUDY}/pc/confirm-000" in content["trials"]


def test_a_search_trial_with_its_rungs(command: Command) -> None:
    make()
    rows = [json.loads(line) for line in command("trials", "birds", "--json")[1].splitlines()]
    stopped = next(row for row in rows if row["state"] == "PRUNED")
    code, out, _ = command("show", "birds", stopped["trial"])
    assert code == 0
    assert (
        f"search trial of {'PC' if '/pc/' in stopped['trial'] else 'control'}: stopped early" in out
    )
    rung = shown(command, "birds", stopped["trial"])["rungs"][-1]
    text = f"stopped at {rung['epoch']}: {rung['value']:.1f}, where {rung['cut']:.1f} went on"
    assert text in out
    assert "█" in out
    content = shown(command, "birds", stopped["trial"])
    assert content["kind"] == "trial"
    assert {key: content[key] for key in stopped} == stopped
    assert [one["epoch"] for one in content["metrics"]] == [epoch for epoch, _ in stopped["epochs"]]


def test_a_confirm_trial_by_its_last_words(command: Command) -> None:
    make()
    _, out, _ = command("show", "birds", "pc/confirm-001")
    assert out.startswith(f"{STUDY}/pc/confirm-001\nconfirm trial of PC: complete after 9 of 9")
    assert "training top-1 by epoch, %; last 91.00" in out
    assert "configuration found by birds/compact_cnn/" in out
    assert "test images: top-1" in out


def test_a_name_of_several_trials_lists_them(command: Command) -> None:
    make()
    code, _, err = command("show", "birds", "confirm-001")
    assert code == 2
    assert err.splitlines() == [
        'error: "confirm-001" means 2 trials; name one of them:',
        f"  {STUDY}/control/confirm-001",
        f"  {STUDY}/pc/confirm-001",
    ]


def test_an_image_with_the_prediction_of_every_network(command: Command) -> None:
    make()
    row = 2 * PER_CLASS + 3
    content = shown(command, "birds", "test/2/03.png")
    assert content["kind"] == "image"
    (study,) = content["studies"]
    assert (study["study"], study["image"], study["label"]) == (STUDY, "test/2/03.png", NAMES[2])
    assert [one["arm"] for one in study["answers"]] == ["control"] * 3 + ["pc"] * 3
    from pcsearch.runs.find import find_run

    trials = find_run("birds", "runs").state().trials.values()
    for one in study["answers"]:
        spec = next(
            t.spec
            for t in trials
            if (t.spec.phase, t.spec.arm) == ("confirm", one["arm"])
            and t.spec.config["seed"] == one["seed"]
        )
        found = predictions_of(spec)
        p = {NAMES[c]: float(2.718281828**v) for c, v in enumerate(found.log_probabilities[row])}
        assert one["predicted"] == max(p, key=lambda name: p[name])
        assert one["probability"] == pytest.approx(max(p.values()), rel=2e-3)
        assert one["of_label"] == pytest.approx(p[NAMES[2]], rel=2e-3)
        assert len(one["likeliest"]) == 3
    code, out, _ = command("show", "birds", "2/03.png")
    assert code == 0
    assert "test/2/03.png in birds/compact_cnn" in out
    assert "label: up/../and\\down; " in out


@pytest.mark.parametrize(
    "typed",
    [
        "grey heron",
        "GREY HERON",
        "heron",
        'the "great" egret',
        "up/../and\\down",
        "\\udcff no UTF-8",
        "\udcff no UTF-8",  # as the shell gives the byte ff
    ],
)
def test_a_class_by_any_name_it_has(command: Command, typed: str) -> None:
    make()
    content = shown(command, "birds", typed)
    assert content["kind"] == "class"
    (study,) = content["studies"]
    assert study["name"] in NAMES
    assert study["images"] == PER_CLASS
    code, out, _ = command("show", "birds", typed)
    assert code == 0
    assert "\udcff" not in out


@pytest.mark.parametrize(
    ("typed", "image"),
    [("2/03.png", "test/2/03.png"), ("HERON/1", ""), ("heron/11", "test/grey heron/11.png")],
)
def test_an_image_by_a_part_of_its_path(command: Command, typed: str, image: str) -> None:
    make()
    code, out, err = command("show", "birds", typed)
    assert code == (0 if image else 2)
    if image:
        assert out.startswith(f"{image} in birds/compact_cnn")
    else:
        assert "means 2 test images; name one of them:\n  test/grey heron/10.png" in err


def test_a_part_of_several_classes_lists_them(command: Command) -> None:
    make()
    code, _, err = command("show", "birds", "gre")
    assert code == 2
    assert 'means 2 classes; name one of them:\n  grey heron\n  the "great" egret' in err


def test_a_classs_errors(command: Command) -> None:
    make()
    (study,) = shown(command, "birds", "grey heron")["studies"]
    analysis = json.loads(command("summary", "birds", "--json")[1])["studies"][0]["analysis"]
    for arm in ("control", "pc"):
        accuracy = study["accuracy"][arm]
        assert accuracy["mean"] == pytest.approx(analysis["arms"][arm]["class_top1"][0])
        missed = sum(study["taken_for"][arm].values())
        assert 100 * (1 - missed / PER_CLASS) == pytest.approx(accuracy["mean"])
        told = sum(sum(one["taken_for"].get(arm, {}).values()) for one in study["wrong"])
        assert told == pytest.approx(3 * missed)
    assert study["wrong"][0]["image"].startswith("test/grey heron/")
    _, out, _ = command("show", "birds", "grey heron")
    assert "12 test images" in out
    assert "of 3: " in out


def test_a_class_that_nobody_predicts(command: Command) -> None:
    make()
    (study,) = shown(command, "birds", "never predicted")["studies"]
    assert study["accuracy"]["pc"]["mean"] == 0
    assert study["taken_for_it"] == {"control": {}, "pc": {}}
    assert len(study["wrong"]) == PER_CLASS


def test_an_unknown_name_gets_near_spellings(command: Command) -> None:
    make()
    for typed, near in (
        ("gray heron", "grey heron"),
        ("pc/serch-001", "pc/search-001"),
        ("test/2/033.png", "test/2/03.png"),
    ):
        code, _, err = command("show", "birds", typed)
        assert code == 2
        assert f'no trial, test image or class is named "{typed}", did you mean "{near}"?' in err
        assert "`pcsearch show runs/birds` lists what can be shown" in err
    code, _, err = command("show", "birds", "png")
    assert code == 2
    assert "means 60 test images; name one of them:" in err
    assert "and 50 more" in err


def test_a_run_from_before_predictions_were_kept(command: Command) -> None:
    write_run("old", plan_without_predictions(), status="complete")
    code, out, _ = command("show", "old", "digits/compact_cnn/pc/search-000")
    assert code == 0
    assert "search trial of PC" in out
    code, out, _ = command("show", "old")
    assert code == 0
    assert "This run keeps no predictions (it was made before they were kept)" in " ".join(
        out.split()
    )
    code, _, err = command("show", "old", "heron")
    assert code == 2
    assert "this run keeps no predictions" in err
    assert "`pcsearch trials runs/old` lists them" in err
    code, out, _ = command("summary", "old", "--classes")
    assert code == 0
    assert "This run keeps no predictions" in out


def test_nothing_has_ended_yet(command: Command) -> None:
    make(most_epochs=2)
    code, out, _ = command("show", "birds")
    assert code == 0
    assert "No confirm trial has ended" in out
    code, out, _ = command("show", "birds", f"{STUDY}/control/search-000")
    assert code == 0
    assert "interrupted after" in out, "its process is gone"
    code, _, err = command("show", "birds", "heron")
    assert code == 2
    assert "no confirm trial has ended" in err


def test_predictions_that_are_gone_or_changed(command: Command) -> None:
    make()
    folder = Path("runs/birds/predictions")
    first, *others = sorted(folder.glob("*confirm*"))
    first.write_bytes(b"changed")
    code, out, err = command("show", "birds", "grey heron")
    assert code == 0
    assert "cannot be used: it is not the file that the journal names; it is left out" in err
    assert "grey heron in" in out
    for path in others:
        path.unlink()
    code, _, err = command("show", "birds", "grey heron")
    assert code == 2
    assert "the predictions cannot be used (predictions/birds" in err
    code, out, _ = command("summary", "birds", "--classes")
    assert code == 0


def test_a_link_in_place_of_a_file_is_not_followed(command: Command, tmp_path: Path) -> None:
    make()
    first = sorted(Path("runs/birds/predictions").glob("*confirm*"))[0]
    elsewhere = tmp_path / "elsewhere"
    first.rename(elsewhere)
    first.symlink_to(elsewhere)
    _, _, err = command("show", "birds", "grey heron")
    assert "cannot be used: is a link" in err


def test_one_arm_and_one_seed(command: Command) -> None:
    make(plan=predicting_plan(seeds=1, arms=(pc_arm(4),)))
    (study,) = shown(command, "birds", "grey heron")["studies"]
    assert list(study["accuracy"]) == ["pc"]
    assert study["accuracy"]["pc"]["std"] is None
    assert command("show", "birds", "test/grey heron/00.png")[0] == 0


def test_an_ascii_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    done = command("show", "birds", "pc/search-000")
    assert done[0] == 0
    import io

    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(sys, "argv", ["pcsearch", "show", "birds", "pc/search-000"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    file.flush()
    text = file.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "#" in text


def test_completion_of_trials(command: Command) -> None:
    make()

    def asked(run: str, incomplete: str) -> list[Any]:
        context: Any = SimpleNamespace(params={"runs": "runs", "run": run})
        return completion.trials_of_run(context, incomplete)

    names = [f"{STUDY}/pc/confirm-{index:03d}" for index in range(3)]
    assert asked("birds", "pc/confirm") == names
    assert asked("runs/birds", "pc/confirm") == names
    assert asked("nothing", "") == asked("", "") == asked("s3://bucket/run", "") == []

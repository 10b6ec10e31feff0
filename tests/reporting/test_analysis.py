"""The analysis of a campaign's predictions, and what is said where some are missing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from rich.console import Console

from pcsearch.reporting.analysis import Analysis, analyse
from pcsearch.reporting.analysis_tables import analysis_tables
from pcsearch.reporting.class_statistics import calibration, fitted_temperature, mcnemar
from pcsearch.reporting.summary import summarise
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Trial, predictions_name
from pcsearch.storage import StorageError
from pcsearch.training.predictions_file import save_predictions
from tests.reporting.predicting_campaigns import (
    NAMES,
    PER_CLASS,
    SEEDS,
    predicting_campaign,
    predicting_plan,
    predictions_of,
)
from tests.search.driving import control_arm, pc_arm

Made = tuple[CampaignState, Path]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    return lambda plan=None, **options: (predicting_campaign(tmp_path, plan, **options), tmp_path)


@pytest.fixture
def made(make: Callable[..., Made]) -> Made:
    return make()


def analysed(made: Made) -> Analysis:
    state, folder = made
    return analyse(state, state.plan.studies[0], lambda name: (folder / name).read_bytes())


def trials(state: CampaignState, arm: str, phase: str = "confirm") -> list[Trial]:
    return [t for t in state.trials.values() if (t.spec.arm, t.spec.phase) == (arm, phase)]


def told(made: Made, width: int = 80) -> str:
    state, folder = made
    summary = summarise(state, read=lambda name: (folder / name).read_bytes())
    console = Console(file=io.StringIO(), width=width)
    console.print(analysis_tables(summary))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line.rstrip()) <= width for line in text.splitlines()), text
    return text


def test_arms_recomputed_from_the_predictions(made: Made) -> None:
    state, _ = made
    found = analysed(made)
    assert found.class_names == NAMES
    assert found.class_images == (PER_CLASS,) * 5
    assert found.problems == ()
    for arm, mine in found.arms.items():
        own = [(t, predictions_of(t.spec)) for t in trials(state, arm)]
        assert mine.seeds == tuple(t.spec.config["seed"] for t, _ in own)
        assert mine.train_top1 is not None
        assert mine.train_top1.values == (90.0, 91.0, 92.0)
        assert mine.nll is not None
        assert mine.nll.values == (1.5,) * SEEDS
        for label in range(5):
            right = [100 * (p.predicted == label)[p.labels == label].mean() for _, p in own]
            assert mine.class_top1 is not None
            assert mine.class_top1[label] == pytest.approx(fmean(right))
        source = state.arms["birds/compact_cnn", arm].choice.source  # type: ignore[union-attr]
        validated = [
            (p.log_probabilities, p.labels)
            for t in trials(state, arm, "finalists")
            if t.spec.source == source
            for p in [predictions_of(t.spec)]
        ]
        assert len(validated) == 2
        assert mine.temperature == pytest.approx(fitted_temperature(validated))
        after = [
            calibration(p.log_probabilities, p.predicted, p.labels, mine.temperature)
            for _, p in own
        ]
        assert mine.nll_calibrated is not None
        assert mine.ece_calibrated is not None
        assert mine.nll_calibrated.values == pytest.approx([nll for nll, _ in after])
        assert mine.ece_calibrated.values == pytest.approx([ece for _, ece in after])
        pair = mine.pairs[0]
        taken = [((p.labels == pair.first) & (p.predicted == pair.second)).sum() for _, p in own]
        assert pair.first_as_second == pytest.approx(fmean(taken))
        assert [one.errors for one in mine.pairs] == sorted(
            (one.errors for one in mine.pairs), reverse=True
        )


def test_the_arm_against_the_control(made: Made) -> None:
    state, _ = made
    found = analysed(made)
    assert list(found.comparisons) == ["pc"]
    compared = found.comparisons["pc"]
    for one, other in zip(trials(state, "pc"), trials(state, "control"), strict=True):
        seed = one.spec.config["seed"]
        assert other.spec.config["seed"] == seed
        hits = [p.predicted == p.labels for p in map(predictions_of, (one.spec, other.spec))]
        assert compared.mcnemar[seed] == mcnemar(*hits)
    gains = compared.classes
    assert [one.index for one in gains if one.differs] == [0]
    for arm in ("pc", "control"):
        assert found.arms[arm].class_top1 is not None
    differences = np.subtract(found.arms["pc"].class_top1, found.arms["control"].class_top1)  # type: ignore[arg-type]
    assert [one.gain for one in gains] == pytest.approx(differences.tolist())
    assert (gains[4].gain, gains[4].images) == (0, PER_CLASS), "nobody predicts it"


def test_it_is_json_without_nan(made: Made) -> None:
    state, folder = made
    summary = summarise(state, read=lambda name: (folder / name).read_bytes()).to_json()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    arm = summary["studies"][0]["analysis"]["arms"]["pc"]
    assert {"train_top1", "top5", "nll", "ece", "temperature", "pairs"} <= arm.keys()
    assert summarise(state).to_json()["studies"][0]["analysis"] is None


@pytest.mark.parametrize("width", [80, 100, 140])
def test_what_is_printed(made: Made, width: int) -> None:
    text = " ".join(told(made, width).split())
    assert "training top-1, % 91.00 ± 1.00 91.00 ± 1.00" in text
    assert "PC against control: 1 of 5 classes better, 0 worse (false discovery rate 5 %)" in text
    assert "only PC right" in text
    assert "grey heron 12" in text
    assert "temperature" in text


def drop(folder: Path, trial: Trial) -> None:
    (folder / "predictions" / predictions_name(trial.spec.trial)).unlink()


def test_a_missing_file_is_named_and_left_out(made: Made) -> None:
    state, folder = made
    first, *others = trials(state, "pc")
    drop(folder, first)
    found = analysed(made)
    assert found.problems == (
        "predictions/birds.compact_cnn.pc.confirm-000.safetensors is missing",
    )
    assert found.arms["pc"].seeds == tuple(t.spec.config["seed"] for t in others)
    assert found.arms["pc"].nll is not None
    assert len(found.arms["pc"].nll.values) == SEEDS, "the journal has it"
    assert list(found.comparisons["pc"].mcnemar) == list(found.arms["pc"].seeds)
    text = told(made, 140)
    assert "confirm-000.safetensors is missing; it is left out." in text
    assert "PC: predictions of 2 of 3 trainings are kept." in text


def test_a_changed_file_is_named_and_left_out(made: Made) -> None:
    state, folder = made
    path = folder / "predictions" / predictions_name(trials(state, "control")[1].spec.trial)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    (problem,) = analysed(made).problems
    assert problem == (
        "predictions/birds.compact_cnn.control.confirm-001.safetensors cannot be used: it is not "
        "the file that the journal names"
    )


@pytest.mark.parametrize("change", ["labels", "class_names", "images", "classes"])
def test_files_that_do_not_belong_together_are_left_out(made: Made, change: str) -> None:
    state, folder = made
    trial = trials(state, "pc")[2]
    found = predictions_of(trial.spec)
    if change == "labels":
        found = replace(found, labels=np.roll(found.labels, 1))
    elif change == "class_names":
        found = replace(found, class_names=(*NAMES[:-1], "another"))
    elif change == "images":
        cut = {n: getattr(found, n)[:-1] for n in ("log_probabilities", "predicted", "labels")}
        found = replace(found, rows=found.rows[:-1], image_names=found.image_names[:-1], **cut)
    else:
        more = np.pad(found.log_probabilities, ((0, 0), (0, 1)), constant_values=-20)
        found = replace(found, log_probabilities=more, class_names=(*NAMES, "another"))
    path = folder / "predictions" / predictions_name(trial.spec.trial)
    trial.predictions = save_predictions(path, found)
    after = analysed(made)
    assert len(after.problems) == 1
    assert "confirm-002.safetensors cannot be used: it" in after.problems[0]
    assert len(after.arms["pc"].seeds) == SEEDS - 1


def test_a_store_that_is_silent_costs_no_summary(made: Made) -> None:
    state, _ = made

    def silent(name: str) -> bytes:
        raise StorageError(f"{name}: no answer for minutes")

    found = analyse(state, state.plan.studies[0], silent)
    assert found.class_names is None
    assert len(found.problems) == 2 * SEEDS + 2 * 2
    assert found.arms["pc"].train_top1 is not None


def test_a_run_from_before_predictions_were_kept(make: Callable[..., Made]) -> None:
    state, folder = make()
    for trial in state.trials.values():
        trial.predictions = None
    found = analysed((state, folder))
    assert (found.class_names, found.comparisons, found.problems) == (None, {}, ())
    pc = found.arms["pc"]
    assert pc.train_top1 is not None
    assert (pc.temperature, pc.class_top1, pc.pairs, pc.within) == (None, None, (), None)
    text = told((state, folder))
    assert "This run keeps no predictions" in text
    assert "training top-1, %" in text


def test_no_trial_has_ended_yet(make: Callable[..., Made]) -> None:
    state, folder = make(most_epochs=3)
    found = analysed((state, folder))
    assert found.comparisons == {}
    assert found.arms["pc"].train_top1 is None
    assert "nothing to analyse yet" in told((state, folder))


def test_one_seed_has_mcnemar_but_no_classes(make: Callable[..., Made]) -> None:
    state, folder = make(predicting_plan(seeds=1))
    compared = analysed((state, folder)).comparisons["pc"]
    assert len(compared.mcnemar) == 1
    assert all(one.p_value is None for one in compared.classes)
    assert "needs two seeds and two test images" in " ".join(told((state, folder)).split())


def no_finalists() -> Plan:
    return predicting_plan(finalist_configs=0, finalist_repeats=0)


def test_without_finalists_there_is_no_temperature(make: Callable[..., Made]) -> None:
    state, folder = make(no_finalists())
    arm = analysed((state, folder)).arms["pc"]
    assert (arm.temperature, arm.nll_calibrated) == (None, None)
    assert arm.class_top1 is not None
    assert "temperature" not in told((state, folder))


def test_without_a_control_nothing_is_compared(make: Callable[..., Made]) -> None:
    state, folder = make(predicting_plan(arms=(pc_arm(4),)))
    found = analysed((state, folder))
    assert found.comparisons == {}
    assert found.arms["pc"].class_top1 is not None
    assert "McNemar" not in told((state, folder))


def test_a_study_that_was_given_up(make: Callable[..., Made]) -> None:
    arms = ("control", "pc")
    fails = {f"birds/compact_cnn/{arm}/search-{n:03d}": 1 for arm in arms for n in range(4)}
    state, folder = make(predicting_plan(arms=(control_arm(4), pc_arm(4))), fails=fails)
    assert state.arms["birds/compact_cnn", "pc"].given_up
    found = analysed((state, folder))
    assert found.comparisons == {}
    assert found.arms["pc"].seeds == ()
    assert told((state, folder))

"""The sentences under the table: each appears when it must, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from pcsearch.recipe.search_space import Space
from pcsearch.reporting.notes import notes
from pcsearch.reporting.summary import summarise
from pcsearch.search.plan import ArmPlan, Plan
from pcsearch.search.trial import TrialSpec
from tests.reporting.simulated_campaigns import (
    borrowing_control,
    campaign_plan,
    entropic_arm,
    harmful,
    helpful,
    likes_strong,
    other_study,
    simulate,
    smoothing_arm,
    useless,
)
from tests.search.driving import LR, control_arm, pc_arm, study_plan


def written(plan: Plan, status: str = "complete", **options: Any) -> list[str]:
    state = simulate(plan, **options)
    return notes(summarise(state, status), state)


def only(lines: list[str], word: str) -> str:
    found = [line for line in lines if word in line]
    assert len(found) == 1, (word, lines)
    return found[0]


def test_a_clean_campaign_has_its_verdict_and_nothing_else() -> None:
    lines = written(campaign_plan())
    assert len(lines) == 2
    assert lines[0] == "Search trials trained to the end: 2 of 12 (control), 5 of 12 (PC)."
    assert lines[1].startswith("PC against control: +")
    assert "]: it HELPS (p < 0.001); standard errors in points: seeds 0.0" in lines[1]
    assert lines[1].endswith(", search 0.00 (not measured: test images).")


def test_weights_that_could_not_be_written_are_named() -> None:
    state = simulate(campaign_plan())
    kept = [trial for trial in state.trials.values() if trial.spec.keep_weights]
    assert [trial.spec.arm for trial in kept] == ["control", "pc"]
    trial = kept[1]
    trial.weights_error = "OSError: [Errno 13] Permission denied"
    assert only(notes(summarise(state, "complete"), state), "weights") == (
        f"The weights of {trial.spec.trial} could not be written: OSError: [Errno 13] Permission "
        "denied. Its results count."
    )


def test_nearest_neighbours_on_frozen_features_are_a_line_and_an_object() -> None:
    state = simulate(campaign_plan())
    assert summarise(state, "complete").studies[0].neighbours is None
    trial = next(trial for trial in state.trials.values() if trial.test is not None)
    trial.test = {**(trial.test or {}), "knn": 71.234, "knn_k": 5.0}
    summary = summarise(state, "complete")
    assert only(notes(summary, state), "neighbours") == (
        "k-nearest neighbours (k = 5) on the frozen features: 71.23 % of the test images, without "
        "training."
    )
    (study,) = summary.to_json()["studies"]
    assert study["neighbours"] == {"k": 5, "test": 71.234}


def test_predictions_that_could_not_be_written_are_named() -> None:
    state = simulate(campaign_plan())
    trial = next(trial for trial in state.trials.values() if trial.spec.phase == "confirm")
    trial.predictions_error = "OSError: [Errno 13] Permission denied"
    assert only(notes(summarise(state, "complete"), state), "predictions of") == (
        f"The predictions of {trial.spec.trial} could not be written: OSError: [Errno 13] "
        "Permission denied. Its results count, but not in the analysis of classes."
    )


def test_an_interval_with_zero_is_no_evidence() -> None:
    line = only(written(campaign_plan(), curve=useless), "against control")
    assert "]: no clear difference; standard errors in points: seeds " in line


def test_a_loss_is_said_as_plainly_as_a_gain() -> None:
    line = only(written(campaign_plan(), curve=harmful), "against control")
    assert line.startswith("PC against control: -")
    assert "]: it HURTS (p < 0.001); " in line


def test_one_seed_is_no_evidence() -> None:
    line = only(written(campaign_plan(seeds=1)), "against control")
    assert "no verdict, because one pair of trainings gives no interval" in line


def test_pairs_that_all_differ_by_the_same_are_no_evidence() -> None:
    lines = written(campaign_plan(seeds=3), curve=lambda spec, epoch: 60.0 + (spec.arm == "pc"))
    line = only(lines, "against control")
    assert "all 3 pairs of trainings differ equally, which gives no interval" in line


def test_few_test_images_are_said_with_what_one_is_worth() -> None:
    study = study_plan()
    images = study.images.model_copy(update={"test": 40})
    plan = campaign_plan(study.model_copy(update={"images": images}))
    assert "only 40 test images: one is 2.5 points" in only(written(plan), "test images:")


@pytest.mark.parametrize("part", ["test", "val"])
def test_images_that_are_trained_on_and_measured_with_are_said(part: str) -> None:
    study = study_plan()
    size, use = (300, "test") if part == "test" else (20, "validation")
    for copies, words in (
        (1, f"1 of {size} {use} images is a"),
        (7, f"7 of {size} {use} images are"),
    ):
        images = study.images.model_copy(update={f"{part}_copies": copies})
        plan = campaign_plan(study.model_copy(update={"images": images}))
        line = only(written(plan), "exact or nearly")
        assert line.startswith(words)
        assert "pcsearch data verify digits --json lists them" in line


def test_what_is_of_a_datasets_images_is_said_once() -> None:
    study = study_plan()
    images = study.images.model_copy(update={"test_copies": 3, "test": 100})
    other = {"id": "digits/resnet18", "backbone": "resnet18", "images": images}
    plan = campaign_plan(
        study.model_copy(update={"images": images}), study.model_copy(update=other)
    )
    lines = written(plan)
    assert only(lines, "exact or nearly").startswith("digits: 3 of 100 test images are copies")
    assert only(lines, "only 100 test images").startswith("digits: ")


def test_without_confirm_there_is_no_test_number() -> None:
    lines = written(campaign_plan(seeds=0))
    assert "confirm.seeds: 0" in only(lines, "test images")
    assert not any("against control" in line for line in lines)


def test_lambda_at_the_high_edge_names_key_and_direction() -> None:
    plan = campaign_plan(study_plan(arms=(control_arm(), pc_arm(trials=27))))
    line = only(written(plan, curve=likes_strong), "Widen")
    assert line.startswith("PC's best λ/N, 0.1")
    assert "at the high end" in line
    assert line.endswith(
        "Widen search.lambda_over_n upwards in a new run, for example to [0.05, 0.3]."
    )


def fixed_choices(arm: ArmPlan, **values: tuple[float, ...]) -> ArmPlan:
    space = {"lr": LR, **{key: Space.of(choices) for key, choices in values.items()}}
    return arm.model_copy(update={"space": space})


def test_lambda_at_the_low_edge_of_choices() -> None:
    """With λ/N of 0.1 or 0.2 to choose from, the curve that likes 0.1 ends at the low end."""
    arm = fixed_choices(pc_arm(trials=9), lambda_over_n=(0.1, 0.2))
    line = only(written(campaign_plan(study_plan(arms=(control_arm(), arm)))), "Widen")
    assert "at the low end" in line
    assert line.endswith(
        "Widen search.lambda_over_n downwards in a new run, for example to [0.05, 0.2]."
    )


def test_nothing_lies_below_zero() -> None:
    arm = fixed_choices(pc_arm(trials=9), lambda_over_n=(0.0, 5.0))
    line = only(written(campaign_plan(study_plan(arms=(control_arm(), arm)))), "low end")
    assert "nearly no regularisation" in line
    assert "Widen" not in line


def test_other_arms_have_their_own_keys_and_limits() -> None:
    smoothing = fixed_choices(smoothing_arm(9), label_smoothing=(0.1, 0.6))
    entropic = fixed_choices(entropic_arm(9), **{"lambda": (0.1, 2.0)})
    plan = campaign_plan(study_plan(arms=(control_arm(), pc_arm(), smoothing, entropic)))
    lines = written(plan, curve=likes_strong)
    assert "search.label_smoothing upwards in a new run, for example to [0.1, 0.9]" in only(
        lines, "label smoothing's best"
    )
    assert "search.entropic_lambda upwards in a new run, for example to [0.1, 4]" in only(
        lines, "entropic's best λ"
    )


def test_arms_beside_pc_have_a_line_each() -> None:
    plan = campaign_plan(study_plan(arms=(control_arm(), pc_arm(), smoothing_arm())))
    lines = written(plan)
    line = only(lines, "label smoothing: smoothing 0.")
    assert "val top-1" in line
    assert "test top-1" in line
    assert "against control" in line


def test_intervals_of_several_arms_share_the_error_rate() -> None:
    plan = campaign_plan(study_plan(arms=(control_arm(), pc_arm(), smoothing_arm())))
    arms = summarise(simulate(plan)).studies[0].arms
    for name in ("pc", "label_smoothing"):
        gain = arms[name].gain
        assert gain is not None
        assert gain.level == pytest.approx(0.98)


def test_a_borrowed_control_is_called_an_ablation() -> None:
    line = only(
        written(campaign_plan(study_plan(arms=(borrowing_control(), pc_arm())))), "ablation"
    )
    assert "search.control: single" in line
    assert "PC's chosen configuration without it" in line


def test_failures_are_counted_with_the_first_reason() -> None:
    fails = {f"digits/compact_cnn/pc/search-{i:03d}": 1 for i in (4, 2)}
    line = only(written(campaign_plan(), fails=fails), "failed")
    assert line.startswith("2 of 46 trials failed; the first, digits/compact_cnn/pc/search-002:")
    assert line.endswith("loss became nan")


def test_an_arm_without_any_result_is_named() -> None:
    fails = {f"digits/compact_cnn/pc/search-{i:03d}": 1 for i in range(12)}
    for configs in (0, 2):  # retrained or not
        plan = campaign_plan(finalist_configs=configs)
        fails |= {f"digits/compact_cnn/pc/finalists-{i:03d}": 1 for i in range(8)}
        line = only(written(plan, "failed", fails=fails), "has no result")
        words = "none of its 4 finalist trials was" if configs else "no search trial was"
        assert line.startswith(f"PC has no result: {words} trained to the end")
        assert line.endswith("the first failure: loss became nan")


def test_an_arm_whose_search_failed_gets_the_other_arms_configurations() -> None:
    fails = {f"digits/compact_cnn/pc/search-{i:03d}": 1 for i in range(12)}
    lines = written(campaign_plan(), fails=fails)
    assert not [line for line in lines if "has no result" in line]
    assert "0 of 12 (PC)" in only(lines, "Search trials trained to the end")


@pytest.mark.parametrize(
    ("failing", "words"), [((2,), "4 of 5 confirm seeds"), (range(5), "none of its 5")]
)
def test_fewer_seeds_than_planned(failing: range, words: str) -> None:
    fails = {f"digits/compact_cnn/control/confirm-{i:03d}": 3 for i in failing}
    assert words in only(written(campaign_plan(), fails=fails), words)


def test_seeds_are_counted_until_all_are_there() -> None:
    whole = sum(len(trial.epochs) for trial in simulate(campaign_plan()).trials.values())
    line = only(written(campaign_plan(), "interrupted", most_epochs=whole - 10), "so far")
    assert line.startswith("Confirm seeds so far, of 5: control 5, PC 3. A gain uses the seeds")


def test_a_search_closed_by_its_budget() -> None:
    line = only(written(campaign_plan(budget_seconds=250.0)), "planned search trials")
    asked = int(line.split("after ")[1].split(" of 24")[0])
    assert 2 <= asked < 24
    assert "time budget" in line


def test_what_was_repeated_is_known_at_the_end_only() -> None:
    state = simulate(campaign_plan(), most_epochs=9)
    state.resumed = 1
    for status, words in (("running", "trained again so far."), ("interrupted", "trained again.")):
        assert only(notes(summarise(state, status), state), "was resumed once").endswith(words)


def test_published_numbers_stand_beside_ones_own() -> None:
    line = only(written(campaign_plan(other_study("cub200", "resnet50", 200))), "Published")
    assert "baseline 78.15, PC 80.21, gain +2.06" in line
    assert "Table 2" in line


def test_studies_are_named_when_there_are_several() -> None:
    plan = campaign_plan(study_plan("digits"), other_study("fieldguide", "compact_cnn", 20))
    lines = written(plan)
    only(lines, "digits/compact_cnn: PC against control")
    only(lines, "fieldguide/compact_cnn: PC against control")


def test_what_is_not_finished_says_so() -> None:
    assert "still running" in written(campaign_plan(), "running", most_epochs=30)[0]
    assert "interrupted" in written(campaign_plan(), "interrupted", most_epochs=30)[0]


def test_another_metric_than_top1_is_named() -> None:
    assert "mean per-class" in written(campaign_plan(metric="mean_class_top1"))[0]


def test_an_arm_that_only_guesses_is_no_verdict_on_its_regulariser() -> None:
    def lost(spec: TrialSpec, epoch: int) -> float:
        return 10.0 if spec.arm == "pc" else helpful(spec, epoch)  # of ten classes

    line = only(written(campaign_plan(), curve=lost), "has learned nothing")
    assert line.startswith("PC has learned nothing: ")
    assert "guessing (10.0 % of 10 classes)" in line
    assert "a lower search.lr" in line
    assert not [one for one in written(campaign_plan(), curve=harmful) if "learned nothing" in one]


def test_a_little_better_than_guessing_is_guessing_where_there_are_few_test_images() -> None:
    def little(spec: TrialSpec, epoch: int) -> float:
        return 11.5 if spec.arm == "pc" else helpful(spec, epoch)

    def claims(test_images: int) -> bool:
        images = campaign_plan().studies[0].images.model_copy(update={"test": test_images})
        study = campaign_plan().studies[0].model_copy(update={"images": images})
        plan = campaign_plan().model_copy(update={"studies": (study,)})
        return any("has learned nothing" in line for line in written(plan, curve=little))

    assert claims(400)  # 3 standard deviations are 4.5 points
    assert not claims(5_000)  # and 1.3 here


def with_clipped(shares: dict[str, tuple[float | None, ...]]) -> list[str]:
    """Notes where the arms' confirm epochs had these shares of clipped updates, in turn."""
    state = simulate(campaign_plan())
    for trial in state.trials.values():
        for number, epoch in enumerate(trial.epochs):
            given = shares[trial.spec.arm]
            share = given[number % len(given)] if trial.spec.phase == "confirm" else 100.0
            if share is not None:
                epoch.metrics["clipped"] = share
    return notes(summarise(state, "complete"), state)


def test_clipped_steps_are_said_where_they_are_many() -> None:
    line = only(with_clipped({"control": (55.0, 60.0, 35.0), "pc": (60.0, 61.0, 59.0)}), "clipped")
    assert line == (
        "Confirm updates whose gradient was clipped (train.clip_norm): control 50 %, PC 60 %. "
        "Such a step is shorter than search.lr says. Raise train.clip_norm, or remove it."
    )


def test_clipped_steps_are_said_where_the_arms_differ() -> None:
    line = only(with_clipped({"control": (25.0,), "pc": (4.0,)}), "clipped")
    assert "control 25 %, PC 4 %" in line
    assert "The arms differ in this" in line


@pytest.mark.parametrize(
    "shares",
    [
        {"control": (50.0,), "pc": (30.0,)},
        {"control": (None,), "pc": (None,)},
        {"control": (None,), "pc": (50.0,)},
    ],
)
def test_some_clipped_steps_are_nothing_to_say(shares: dict[str, tuple[float | None, ...]]) -> None:
    assert not any("clipped" in line for line in with_clipped(shares))

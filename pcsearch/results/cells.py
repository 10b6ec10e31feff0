"""What the summary table says of one study, piece by piece; layouts put the pieces in columns."""

from __future__ import annotations

from dataclasses import dataclass

from pcsearch.results import formatting as fmt
from pcsearch.results.objects import ArmSummary, StudySummary


@dataclass(frozen=True)
class Cells:
    """One study's pieces, as text; `style` colours its gain where there is a clear verdict."""

    dataset: str
    backbone: str
    classes: str
    strength: str
    fraction: str
    rate: str
    control_rate: str
    validation: str
    control_validation: str
    treated: str
    control: str
    gain: str
    interval: str
    verdict: str
    trials: str
    epochs: str
    share: str
    time: str
    style: str


def cells(study: StudySummary) -> Cells:
    """The pieces of a study's row."""
    name = fmt.headline(study)
    arm = study.arms[name] if name else None
    control = study.arms.get("control")
    gain = arm.gain if arm else None
    trials, epochs = study.trials, study.epochs
    share = epochs.run / epochs.full_budget if epochs.full_budget else 0.0
    return Cells(
        dataset=study.dataset,
        backbone=study.backbone,
        classes=str(study.num_classes),
        strength=fmt.strength(arm) if arm else fmt.ABSENT,
        fraction=fmt.fraction(arm) if arm else fmt.ABSENT,
        rate=_rate(arm),
        control_rate=_rate(control),
        validation=fmt.percent(arm.val_top1 if arm else None),
        control_validation=fmt.percent(control.val_top1 if control else None),
        treated=fmt.scores(arm.test_top1 if arm else None),
        control=fmt.scores(control.test_top1 if control else None),
        gain=fmt.points(gain.mean) if gain else fmt.ABSENT,
        interval=fmt.interval(gain),
        verdict=arm.verdict.word if arm and arm.verdict else "",
        trials=f"{trials.total} / {trials.pruned} / {trials.failed}",
        epochs=f"{epochs.run} of {epochs.full_budget}",
        share=f"{share:.0%}".replace("%", " %"),
        time=fmt.duration(study.seconds),
        style=_STYLES.get(arm.verdict.word if arm and arm.verdict else "", ""),
    )


def _rate(arm: ArmSummary | None) -> str:
    """The learning rate of an arm's choice, marked where it lies at an end of its range."""
    if arm is None or "lr" not in arm.config:
        return fmt.ABSENT
    end = {"low": "↓", "high": "↑"}.get(arm.edges.get("lr", ""), "")
    return fmt.significant(float(arm.config["lr"])) + end


_STYLES = {"helps": "green", "hurts": "red"}

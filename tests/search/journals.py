"""Journals of whole campaigns, with every kind of event in them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import Event, MemoryJournal, sealed
from pcsearch.search.plan import Plan
from tests.search.driving import Clock, control_arm, drive, make_plan, pc_arm, study_plan


def small_plan(**changes: Any) -> Plan:
    """One study with a control that borrows, PC and its finalists; 6 trials."""
    borrowing = control_arm(trials=0, space={}, fixed={}, borrows="pc")
    study = study_plan(arms=(control_arm(6), pc_arm(6)))
    other = study_plan("fieldguide", arms=(borrowing, pc_arm(4)))
    values: dict[str, Any] = {
        "studies": (study, other),
        "sampler": "random",
        "finalist_configs": 1,
        "finalist_repeats": 2,
    }
    return make_plan(**values | changes)


def all_kinds() -> list[Event]:
    """The events of a campaign that lost workers, was interrupted, gone on with and widened."""
    journal, plan = MemoryJournal(), small_plan()
    campaign = Campaign(plan, journal, Clock(), max_concurrent=3)
    fails = {"digits/compact_cnn/control/search-001": 1}
    drive(campaign, most_epochs=9, fails=fails)
    running = next(iter(campaign.state.running))
    for kind in ("worker", "node", "memory"):
        campaign.lost(running, "its worker died", kind)  # type: ignore[arg-type]
    campaign.end("interrupted")
    resumed = Campaign(plan, journal, campaign._clock, max_concurrent=3, state=campaign.state)
    resumed.resume(host="here", pid=12, version="1.0")
    trial = next(t for t in resumed.state.running.values() if t.epochs)
    first = trial.epochs[0]
    resumed.report(trial.spec.trial, 1, first.value, first.seconds, first.metrics)
    first_live, *others = resumed.state.running
    resumed.diverge(first_live, "the loss is nan in epoch 3")
    for live in others:
        resumed.fail(live, "loss became nan\nat epoch 3")
    drive(resumed)
    resumed.end("complete")
    resumed.resume(host="here", pid=13, version="1.0")
    resumed.extend(small_plan(studies=(widened(plan), plan.studies[1])), "name: demo\n")
    drive(resumed)
    resumed.end("complete")
    return journal.events


def widened(plan: Plan) -> Any:
    study = plan.studies[0]
    arms = tuple(arm.model_copy(update={"trials": arm.trials + 2}) for arm in study.arms)
    return study.model_copy(update={"arms": arms})


def write_events(path: Path, events: list[Event]) -> Path:
    """A journal of these events, with the seals that a driver writes."""
    head, lines = "", []
    for event in events:
        line, head = sealed(event, head)
        lines.append(line)
    path.write_bytes(b"".join(lines))
    return path


class MeasuredCampaign(Campaign):
    """A campaign whose epochs carry what a worker measures: shares of whole images, and hits."""

    def report(self, trial_id: str, epoch: int, value: Any, *rest: Any, **more: Any) -> bool:
        seconds, metrics, test = (*rest, None)[:3]
        spec = self.state.trials[trial_id].spec
        images = self.plan.study(spec.study).images
        metrics = {**metrics, "train_loss": 1.5, "train_top1": 50.5, "images": float(images.fit)}
        if value is not None:
            value = share(value, images.val)
            metrics |= {"val_top1": value, "val_mean_class_top1": value - 1, "val_top5": 100.0}
        if test is not None:
            right = round(share(test["top1"], images.test) * images.test / 100)
            bits = np.array([1] * right + [0] * (images.test - right), dtype=np.uint8)
            more["hits"] = base64.b64encode(np.packbits(bits).tobytes()).decode()
            test = {"top1": 100 * right / images.test, "mean_class_top1": 70.0, "top5": 100.0}
        return super().report(trial_id, epoch, value, seconds, metrics, test, **more)


def share(percent: float, images: int) -> float:
    """The nearest percentage that counts whole images."""
    return 100 * min(images, max(0, round(percent * images / 100))) / images


def measured(**changes: Any) -> list[Event]:
    """A whole campaign with finalists, a choice in both arms, looks and measures; resumed once."""
    journal = MemoryJournal()
    values = {"studies": (study_plan(arms=(control_arm(8), pc_arm(8))),), "sampler": "random"}
    plan = small_plan(**values | changes)
    campaign = MeasuredCampaign(plan, journal, Clock(), max_concurrent=2)
    drive(campaign, most_epochs=30, fails={"digits/compact_cnn/control/search-001": 2})
    campaign.end("interrupted")
    resumed = MeasuredCampaign(
        plan, journal, campaign._clock, max_concurrent=2, state=campaign.state
    )
    resumed.resume(host="here", pid=12, version="1.0")
    for name in tuple(resumed.state.running):
        resumed.fail(name, "no checkpoint")
    drive(resumed)
    resumed.end("complete")
    return journal.events

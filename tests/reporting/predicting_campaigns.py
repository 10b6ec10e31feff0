"""Whole campaigns, really decided, whose retrained networks leave made-up predictions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import Journal, MemoryJournal
from pcsearch.search.plan import ImageCounts, Plan, StudyPlan, confirm_seeds
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import PREDICTIONS, TrialSpec, predictions_name
from pcsearch.training.predictions_file import ImagePredictions, save_predictions
from tests.search.driving import Clock, control_arm, drive, make_plan, pc_arm

NAMES = (
    "grey heron",
    'the "great" egret',
    "up/../and\\down",
    "\\udcff no UTF-8",
    "never predicted",
)
"""Classes; no network predicts the last."""

PER_CLASS = 12
SEEDS = 3


def predicting_plan(seeds: int = SEEDS, **changes: Any) -> Plan:
    """One study of control and PC on five classes with 12 test images each."""
    images = len(NAMES) * PER_CLASS
    study = StudyPlan(
        id="birds/compact_cnn",
        dataset="birds",
        backbone="compact_cnn",
        num_classes=len(NAMES),
        images=ImageCounts(fit=80, val=20, train=100, test=images),
        split_hash="0123456789abcdef",
        arms=changes.pop("arms", (control_arm(4), pc_arm(4))),
    )
    defaults: dict[str, Any] = {
        "studies": (study,),
        "sampler": "random",
        "finalist_configs": 1,
        "finalist_repeats": 2,
        "confirm_seeds": confirm_seeds(0, seeds),
    }
    return make_plan(**defaults | changes)


def image_name(index: int) -> str:
    folder = ("grey heron", *range(1, 9))[index // PER_CLASS]  # one is named like its class
    return f"test/{folder}/{index % PER_CLASS:02}.png"


def predictions_of(spec: TrialSpec) -> ImagePredictions:
    """PC knows the first class by heart, where the control guesses; both know the next three."""
    images = len(NAMES) * PER_CLASS if spec.phase == "confirm" else 20
    rng = np.random.default_rng([spec.config["seed"], spec.arm == "pc"])
    labels = np.repeat(np.arange(len(NAMES)), PER_CLASS) if images != 20 else np.arange(20) % 5
    logits = rng.normal(0, 1, (images, len(NAMES)))
    logits[np.arange(images), labels] += np.array([8 if spec.arm == "pc" else 0, 3, 3, 3, 0])[
        labels
    ]
    logits[:, -1] = -9
    table = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    confirm = spec.phase == "confirm"
    return ImagePredictions(
        table.astype(np.float16),
        table.argmax(axis=1).astype(np.int32),
        labels.astype(np.int32),
        np.arange(images, dtype=np.int32),
        NAMES,
        tuple(map(image_name, range(images))) if confirm else (),
    )


class PredictingCampaign(Campaign):
    """Writes the predictions of every retrained network to a run's folder."""

    folder = Path()

    def report(
        self,
        trial_id: str,
        epoch: int,
        value: float | None,
        seconds: float,
        metrics: Mapping[str, float],
        test: Mapping[str, float] | None = None,
        **others: Any,
    ) -> bool:
        spec = self.state.trials[trial_id].spec
        metrics = {**metrics, "train_top1": 90.0 + spec.index}
        if spec.phase != "search" and epoch == spec.epochs:
            found = predictions_of(spec)
            path = self.folder / PREDICTIONS / predictions_name(trial_id)
            others["predictions"] = {"sha256": save_predictions(path, found)}
            if spec.phase == "confirm":
                hits = found.predicted == found.labels
                others["hits"] = base64.b64encode(np.packbits(hits).tobytes()).decode()
                top1 = 100 * float(hits.mean())
                test = {
                    "top1": top1,
                    "mean_class_top1": top1,
                    "top5": 100.0,
                    "nll": 1.5,
                    "ece": 9.0,
                }
        return super().report(trial_id, epoch, value, seconds, metrics, test, **others)


def predicting_campaign(
    folder: Path, plan: Plan | None = None, journal: Journal | None = None, **options: Any
) -> CampaignState:
    """The state after a campaign whose files are in `folder`; options as of `driving.drive`."""
    campaign = PredictingCampaign(plan or predicting_plan(), journal or MemoryJournal(), Clock())
    campaign.folder = folder
    drive(campaign, **options)
    if not options.get("most_epochs"):
        campaign.end("complete")
    return campaign.state

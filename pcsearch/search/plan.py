"""The plan: a recipe together with the facts on its datasets.

A plan is plain data and the first event of the journal. So the journal alone says what was
searched, and how.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pcsearch.arms import arm_named
from pcsearch.recipe.search_space import SHARED, Space
from pcsearch.search.checkpoint_size import NetworkSize, checkpoint_bytes
from pcsearch.search.sampling.tpe_options import sampler_version
from pcsearch.search.trial import Phase
from pcsearch.training.metrics import deciding_metrics

if TYPE_CHECKING:
    from pcsearch.recipe.schema import Recipe


Match = Literal["trials", "images", "seconds"]

OWN_LOSS = "own_loss"
"""The variant of an arm whose loss is the user's own."""

JOURNAL_SCHEMA = 2
"""The format of new journals. Format 1 had no seals. Both can be read."""

READABLE = (1, 2)
LibraryVersion = Annotated[str, Field(pattern=r"^[A-Za-z0-9 .+_-]+$", max_length=100)]
SHARED_KEYS = tuple(SHARED)
"""Hyperparameters of every arm, in the order of sampling."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageCounts(_Data):
    """Numbers of images. `fit` + `val` = `train`, the official training images; `test` is separate.

    - `skipped` images could not be read and are in no part. `first_skipped` names the first.
    - `test_copies` test images and `val_copies` validation images are near-duplicates of training
      images; None if not compared.
    - `majority` is the percentage of the most frequent class among training or test images,
      whichever is larger; None in older journals.
    """

    fit: int
    val: int
    train: int
    test: int
    skipped: int = 0
    first_skipped: str | None = None
    test_copies: int | None = None
    val_copies: int | None = None
    majority: float | None = None

    def of(self, phase: Phase) -> int:
        """Images that a trial of a phase trains on in an epoch."""
        return self.train if phase == "confirm" else self.fit

    def left_out(self) -> tuple[str, ...]:
        """A sentence on the skipped images, if there are any."""
        if not self.skipped:
            return ()
        images = "image was" if self.skipped == 1 else "images were"
        reason = f"unreadable (data.on_bad_image: skip); the first: {self.first_skipped}"
        return (f"{self.skipped} {images} left out as {reason}",)

    def leaked(self, dataset: str) -> tuple[str, ...]:
        """Sentences on a dataset's images that are used for training and for measuring."""
        own = {"images": "--images DIR", "manifest": "--manifest FILE"}
        look = f"pcsearch data verify {own.get(dataset, dataset)} --json lists them"
        counted = (
            (self.test_copies, self.test, "test", "test accuracies are too high"),
            (
                self.val_copies,
                self.val,
                "validation",
                "choices favour memorised images",
            ),
        )
        return tuple(
            f"{copies} of {images} {use} images {'is a copy' if copies == 1 else 'are copies'}, "
            f"exact or nearly, of training images, so {so}: {look}."
            for copies, images, use, so in counted
            if copies
        )


class ArmPlan(_Data):
    """A regulariser that competes in a study: its loss, its search space, its number of trials."""

    name: str
    variant: str
    parameter: str | None
    """The first parameter of its own, and `further` ones; None for the control."""
    trials: int
    """Search trials; 0 for an arm that takes another arm's configuration."""
    space: dict[str, Space]
    fixed: dict[str, int | float]
    borrows: str | None = None
    """The arm whose chosen configuration this one repeats without its regulariser."""
    measured: tuple[str, ...] = ()
    """Dimensions whose range was measured, as `auto` asks (see `preflight/lr_ranges.py`)."""
    further: tuple[str, ...] = ()
    epochs: int | None = None
    """Epochs of its search trials and finalists (`asha.arm_epochs`); None for the plan's."""
    cost: float = 1.0
    """What one of its epochs costs, in epochs of the control (see `search.match`)."""

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the parameters that are its own, in the order of sampling."""
        return () if self.parameter is None else (self.parameter, *self.further)


class StartPoint(_Data):
    """A configuration of an earlier run, among the first that every searching arm tries."""

    run: str
    """The run's folder or address."""
    trial: str
    """The search trial of that run that has these hyperparameters."""
    values: dict[str, dict[str, int | float]]
    """By arm: a value for each dimension, inside its space."""


class StudyPlan(_Data):
    """One dataset × one backbone."""

    id: str
    dataset: str
    backbone: str
    num_classes: int
    images: ImageCounts
    split_hash: str
    arms: tuple[ArmPlan, ...]
    checkpoint_bytes: int | None = None
    """The approximate size of a trial's checkpoint; None if the network is unknown."""
    pretrained_on: Literal["imagenet"] | None = None
    """What its weights were trained on; None if unknown, or without weights."""
    start_points: tuple[StartPoint, ...] = ()
    """The first search trials of every arm, in this order (see `sampling/start_points.py`)."""
    test_classes: str | None = None
    """The class of each test image, if the metric's weights need it (see `pack_classes`)."""
    bfloat16: bool | None = None
    """Whether trials on CPUs train in bfloat16, measured for `train.amp: auto`; None: not asked."""
    frozen_body: bool = False
    """Whether trials train the head alone, on features that are computed once (`train.freeze`)."""

    def guessing(self, metric: str) -> float:
        """The value of a metric for guessing, in percent."""
        chance = deciding_metrics()[metric].chance
        return chance(self.num_classes, self.images.majority or 0.0)

    def arm(self, name: str) -> ArmPlan:
        return next(arm for arm in self.arms if arm.name == name)


class Plan(_Data):
    """A whole campaign, before it starts."""

    schema_version: int = JOURNAL_SCHEMA
    name: str
    metric: str
    studies: tuple[StudyPlan, ...]
    max_epochs: int
    grace_epochs: int
    reduction_factor: int
    sampler: str
    sampler_version: LibraryVersion | None = None
    """The library that proposes trials, as `optuna 5.0.0`; None if the journal does not say."""
    startup_trials: int
    seed: int
    finalist_configs: int
    finalist_repeats: int
    confirm_seeds: tuple[int, ...]
    confirm_epochs: int
    confirm_looks: tuple[int, ...] = ()
    """Numbers of seeds after which test accuracies are compared; empty: once, after all."""
    rung_rule: Literal["plain", "noise"] = "plain"
    full_trainings: int = 0
    """The least search trials per arm that are trained to the end, even against the rungs."""
    widen: Literal["auto", "never"] = "never"
    """Whether a range is widened once, if an arm is best at its end."""
    match: Match = "trials"
    """What the arms' searches have in equal amounts."""
    comparisons: Literal["bonferroni", "holm"] = "bonferroni"
    """How several arms share an error rate; journals of before say nothing."""
    budget_seconds: float | None = None
    budget_cost: float | None = None
    """What the nodes may cost, in the price's currency."""
    price_per_node_hour: float | None = None

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds after which test accuracies are compared, ascending; (0,) for none."""
        return self.confirm_looks or (len(self.confirm_seeds),)

    def startup(self, study: StudyPlan) -> int:
        """Search trials of each arm before its sampler learns.

        Start points replace quasi-random points, but half of these always stay. A sampler that had
        seen little but wrong start points recovered later.
        """
        least = len(study.start_points) + -(-self.startup_trials // 2)
        return max(self.startup_trials, least) if study.start_points else self.startup_trials

    def epochs(self, arm: ArmPlan, phase: Phase) -> int:
        """Epochs of an arm's training in a phase. An arm's own number scales its confirm phase."""
        own = arm.epochs or self.max_epochs
        return (
            max(1, round(self.confirm_epochs * own / self.max_epochs))
            if phase == "confirm"
            else own
        )

    def full_cost(self, arm: ArmPlan, phase: Phase) -> float:
        """What a whole training of an arm costs, in epochs of the control."""
        return arm.cost * self.epochs(arm, phase)

    def most_finalists(self, study: StudyPlan) -> int:
        """The most finalist trials of a searching arm: each arm retrains the best of all arms."""
        pool = sum(min(self.finalist_configs, arm.trials) for arm in study.arms)
        return pool * self.finalist_repeats

    def study(self, study_id: str) -> StudyPlan:
        return next(study for study in self.studies if study.id == study_id)


@dataclass(frozen=True)
class DatasetFacts:
    """The facts on a dataset that a plan needs."""

    dataset: str
    num_classes: int
    images: ImageCounts
    split_hash: str
    test_classes: str | None = None


def build_plan(
    recipe: Recipe,
    facts: Sequence[DatasetFacts],
    sizes: Mapping[str, NetworkSize] = MappingProxyType({}),
) -> Plan:
    """The plan of a recipe. `facts` come in the order of the recipe's datasets.

    `sizes` of the known backbones give the sizes of checkpoints.
    """
    search, asha = recipe.search, recipe.asha
    needs_classes = deciding_metrics()[recipe.metric].needs_classes
    studies = tuple(
        StudyPlan(
            id=f"{fact.dataset}/{backbone}",
            dataset=fact.dataset,
            backbone=backbone,
            num_classes=fact.num_classes,
            images=fact.images,
            split_hash=fact.split_hash,
            arms=_arms(recipe, backbone),
            checkpoint_bytes=(
                checkpoint_bytes(recipe, backbone, sizes[backbone], fact.num_classes)
                if backbone in sizes
                else None
            ),
            pretrained_on="imagenet" if recipe.weights_for(backbone) == "imagenet" else None,
            test_classes=fact.test_classes if needs_classes else None,
            frozen_body=recipe.freezes_body(backbone),
        )
        for fact in facts
        for backbone in recipe.backbones
    )
    startup = search.startup_trials
    hours = recipe.budget.hours
    return Plan(
        name=recipe.name,
        metric=recipe.metric,
        studies=studies,
        max_epochs=asha.max_epochs,
        grace_epochs=asha.grace_epochs,
        reduction_factor=asha.reduction_factor,
        sampler=search.sampler,
        sampler_version=sampler_version(search.sampler),
        startup_trials=default_startup(search.trials) if startup is None else startup,
        seed=search.seed,
        finalist_configs=recipe.finalists.configs,
        finalist_repeats=recipe.finalists.repeats,
        confirm_seeds=confirm_seeds(search.seed, recipe.confirm.most_seeds),
        confirm_epochs=recipe.confirm_epochs,
        confirm_looks=looks_of(recipe.confirm.seeds, recipe.confirm.max_seeds)
        if recipe.confirm.until == "decided"
        else (),
        rung_rule=asha.rule,
        full_trainings=asha.full_trainings,
        widen=search.widen,
        match=search.match,
        comparisons="holm",
        budget_seconds=None if hours is None else hours * 3600,
        budget_cost=recipe.budget.cost,
        price_per_node_hour=recipe.budget.price_per_node_hour,
    )


def default_startup(trials: int) -> int:
    """Quasi-random trials before the sampler learns: a quarter, at least four, at most all."""
    return min(trials, max(4, -(-trials // 4)))


def looks_of(seeds: int, most: int) -> tuple[int, ...]:
    """Seeds at each look of `confirm.until: decided`, doubled up to `most`."""
    looks = [seeds]
    while 0 < looks[-1] < most:
        looks.append(min(most, 2 * looks[-1]))
    return tuple(looks)


def confirm_seeds(seed: int, count: int) -> tuple[int, ...]:
    """Seeds of the confirm phase: the same in every arm, and separate from the search's seeds."""
    return tuple(derive_seed(seed, "confirm", index) for index in range(count))


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2^31) that depends on the parts alone."""
    digest = hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _arms(recipe: Recipe, backbone: str) -> tuple[ArmPlan, ...]:
    control = recipe.search.control
    names = [*(["control"] if control != "none" else []), *recipe.search.arms]
    return tuple(
        _arm(recipe, backbone, name, single=name == "control" and control == "single")
        for name in names
    )


def _arm(recipe: Recipe, backbone: str, name: str, *, single: bool) -> ArmPlan:
    train, most = recipe.train_for(backbone), recipe.asha.max_epochs
    space = recipe.space_for(backbone, name)
    own = [key for key in space if key not in SHARED_KEYS]
    is_own = name in recipe.arms
    variant = OWN_LOSS if is_own else arm_named(name).variant or str(train["variant"])
    plain = 2 if train["sam_rho"] else 1  # passes of a step in every arm
    cost = 1.0 if is_own else max(plain, arm_named(name).passes) / plain
    epochs = recipe.asha.arm_epochs.get(name)
    trials = matched_trials(
        recipe.search.trials, recipe.search.match, cost * (epochs or most) / most
    )
    return ArmPlan(
        name=name,
        variant=variant,
        parameter=own[0] if own else None,
        further=tuple(own[1:]),
        trials=0 if single else trials,
        space={} if single else space,
        fixed={key: train[key] for key in SHARED_KEYS if key not in space},
        borrows=_lender(recipe) if single else None,
        epochs=epochs,
        cost=cost,
    )


def matched_trials(trials: int, match: Match, cost: float) -> int:
    """Search trials of an arm, at least one, whose training costs `cost` times the control's.

    `match: trials` gives each arm as many. Otherwise dear trainings are fewer.
    """
    return trials if match == "trials" else max(1, round(trials / cost))


def _lender(recipe: Recipe) -> str:
    return "pc" if "pc" in recipe.search.arms else recipe.search.arms[0]

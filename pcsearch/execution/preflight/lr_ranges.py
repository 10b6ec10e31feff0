"""`search.lr: auto`: measure the range of learning rates of each study and arm.

`build_plan` gives such a recipe `auto` spaces. This module replaces them by ranges before a
campaign starts. So the journal begins with numbers, and nothing later depends on the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcsearch.errors import TrialError, UserError
from pcsearch.execution.preflight.datasets import PreparedDataset, PrepareProgress, split_of
from pcsearch.recipe.schema import DEFAULT_LR, Recipe
from pcsearch.recipe.search_space import Number, Space
from pcsearch.search.observer import Observer
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.trial import TrialSpec
from pcsearch.search.trial_config import search_config

if TYPE_CHECKING:
    import torch

    from pcsearch.training.lr_range_test import LossCurve

LR = "lr"
CURVES = 2
"""Range tests per arm, each with its own seed: a single one is off by a factor of up to two."""

AGREE = 2.0
"""Arms share one range if their upper ends differ by less than this factor."""

_MOST_THREADS = 4


def is_automatic(plan: Plan) -> bool:
    """Whether any learning-rate range must still be measured."""
    return any(_automatic(arm) for study in plan.studies for arm in study.arms)


def range_test_images(recipe: Recipe, study: StudyPlan) -> int:
    """Images that the range tests of a study train on, at most; 0 without `auto`."""
    from pcsearch.training.lr_range_test import STEPS

    curves = CURVES * sum(map(_automatic, study.arms))
    return curves * STEPS * int(recipe.train_for(study.backbone)["batch_size"])


def without_automatic(plan: Plan, known: Plan | None) -> tuple[Plan, tuple[str, ...]]:
    """The plan with the ranges of the plan `known`, and the ids of studies without one there."""
    studies = [_as_known(study, known) for study in plan.studies]
    unknown = tuple(study.id for study in studies if any(map(_automatic, study.arms)))
    return plan.model_copy(update={"studies": tuple(studies)}), unknown


def with_default(plan: Plan) -> Plan:
    """The plan with `DEFAULT_LR` in place of every `auto`."""
    return _with_ranges(plan, lambda study: {arm.name: DEFAULT_LR for arm in study.arms})


def with_measured(
    plan: Plan,
    recipe: Recipe,
    datasets: Sequence[PreparedDataset],
    known: Plan | None,
    observer: Observer,
) -> Plan:
    """The plan with a measured range for every `auto`. Ranges of `known` are not measured again.

    Trains only on the training part of split 0. Uses the GPU if trials get one and PyTorch sees
    one, else the CPU.

    Raises:
        UserError: a network diverges, or learns nothing, at every rate.
    """
    plan, unknown = without_automatic(plan, known)
    if not unknown:
        return plan
    by_name = {dataset.facts.dataset: dataset for dataset in datasets}

    def measured(study: StudyPlan) -> dict[str, Space]:
        if study.id not in unknown:
            return {}
        ranges = _measure(plan, study, recipe, by_name[study.dataset], observer.preparing)
        for line in lr_sentences(study.id, ranges):
            observer.noted(line)
        return ranges

    return _with_ranges(plan, measured, note=True)


def shared_ranges(ranges: Mapping[str, tuple[float, float]]) -> dict[str, Space]:
    """The space of each arm, from its measured ends.

    Arms that agree share the range of the arm that diverges first, so they start from the same
    points. Good rates were well below every arm's upper end, so the lower end loses none. A higher
    end would spend trials on rates at which some arm diverges. Other arms keep their own range.
    Arms are compared in their order, the control first if it runs.
    """
    agreed: dict[str, tuple[float, float]] = {}
    for name, (low, high) in ranges.items():
        ends = [end for _, end in agreed.values()] + [high]
        if max(ends) <= AGREE * min(ends):
            agreed[name] = (low, high)
    shared = min(agreed.values(), key=lambda ends: ends[1])
    return {
        name: Space.between(*(shared if name in agreed else own), log=True)
        for name, own in ranges.items()
    }


def lr_sentences(study: str, ranges: Mapping[str, Space]) -> Iterator[str]:
    """A line for each distinct range of a study, with its arms."""
    arms: dict[Space, list[str]] = {}
    for name, space in ranges.items():
        arms.setdefault(space, []).append(name)
    for space, names in arms.items():
        yield f"{study}: lr {space.low:g} to {space.high:g}, measured ({', '.join(names)})"


def _automatic(arm: ArmPlan) -> bool:
    return LR in arm.space and arm.space[LR].kind == "auto"


def _as_known(study: StudyPlan, known: Plan | None) -> StudyPlan:
    earlier = next((s for s in known.studies if s.id == study.id), None) if known else None
    spaces = {arm.name: arm for arm in earlier.arms if LR in arm.space} if earlier else {}
    arms = [
        arm.model_copy(
            update={
                "space": arm.space | {LR: spaces[arm.name].space[LR]},
                "measured": spaces[arm.name].measured,
            }
        )
        if _automatic(arm) and arm.name in spaces
        else arm
        for arm in study.arms
    ]
    return study.model_copy(update={"arms": tuple(arms)})


def _with_ranges(
    plan: Plan, ranges: Callable[[StudyPlan], Mapping[str, Space]], note: bool = False
) -> Plan:
    """The plan with a range in place of every `auto`; `note` marks it as measured."""
    studies = []
    for study in plan.studies:
        found = ranges(study)
        arms = [
            arm.model_copy(
                update={
                    "space": arm.space | {LR: found[arm.name]},
                    "measured": (LR,) if note else (),
                }
            )
            if _automatic(arm)
            else arm
            for arm in study.arms
        ]
        studies.append(study.model_copy(update={"arms": tuple(arms)}))
    return plan.model_copy(update={"studies": tuple(studies)})


@dataclass(frozen=True)
class _Steps:
    """Progress of one study's range tests, in steps of training."""

    what: str
    total: int
    progress: PrepareProgress

    def show(self, before: int, step: int) -> None:
        self.progress(self.what, min(before + step, self.total), self.total)


def _measure(
    plan: Plan,
    study: StudyPlan,
    recipe: Recipe,
    dataset: PreparedDataset,
    progress: PrepareProgress,
) -> dict[str, Space]:
    """The ranges of a study's arms that have none yet."""
    from pcsearch.training.lr_range_test import STEPS, RangeTestError, growing_rates, lr_range

    arms = [arm for arm in study.arms if _automatic(arm)]
    each = CURVES * STEPS
    steps = _Steps(f"{study.id}: learning-rate range", len(arms) * each, progress)
    ranges = {}
    for number, arm in enumerate(arms):
        curves = []
        for index in range(CURVES):
            before = number * each + index * STEPS
            curves.append(_curve(plan, study, arm, index, recipe, dataset, steps, before))
        try:
            ranges[arm.name] = lr_range(curves)
        except RangeTestError as error:
            rates = growing_rates(str(recipe.train_for(study.backbone)["optimizer"]))
            raise UserError(
                f"{study.id}: search.lr is auto, but arm {arm.name} has no range between "
                f"{rates[0]:g} and {rates[-1]:g}: {error}. Choose another backbone or other "
                "weights, or set the range, for example search.lr=[0.0001,0.01]"
            ) from None
    steps.show(steps.total, 0)
    return shared_ranges(ranges)


def _curve(
    plan: Plan,
    study: StudyPlan,
    arm: ArmPlan,
    index: int,
    recipe: Recipe,
    dataset: PreparedDataset,
    steps: _Steps,
    before: int,
) -> LossCurve:
    """One range test, with batches in ever smaller parts while memory runs out."""
    from pcsearch.training.failures import out_of_memory, release_memory

    spec = _spec(plan, study, arm, index)
    micro_batches = 1
    while True:
        try:
            return _trained(
                spec,
                recipe,
                dataset,
                micro_batches,
                lambda step: steps.show(before, step),
                study.bfloat16,
            )
        except TrialError as error:
            if not out_of_memory(error) or 4 * micro_batches > spec.config["batch_size"]:
                raise UserError(
                    f"{study.id}: the range test of search.lr failed: {error}"
                ) from None
        micro_batches *= 2
        release_memory()


def _spec(plan: Plan, study: StudyPlan, arm: ArmPlan, index: int) -> TrialSpec:
    """A search trial with the configuration of the search space that diverges first.

    It has the smallest batches and the largest value of every other dimension.
    """
    sampled: dict[str, Number] = {
        key: space.lowest if key == "batch_size" else space.highest
        for key, space in arm.space.items()
        if key != LR
    }
    config = search_config(plan, study, arm, index, sampled) | {LR: 1.0}
    return TrialSpec(
        trial=f"{study.id}/{arm.name}/range-{index}",
        study=study.id,
        arm=arm.name,
        phase="search",
        index=index,
        epochs=plan.epochs(arm, "search"),
        variant=arm.variant,
        config=config,
    )


def _trained(
    spec: TrialSpec,
    recipe: Recipe,
    dataset: PreparedDataset,
    micro_batches: int,
    progress: Callable[[int], None],
    bfloat16: bool | None,
) -> LossCurve:
    from pcsearch.execution.frozen_body import frozen_study
    from pcsearch.execution.trial_run import fit_batches, train_config
    from pcsearch.models.registry import build_backbone
    from pcsearch.training.class_weights import with_class_weights
    from pcsearch.training.failures import release_memory
    from pcsearch.training.lr_range_test import measure_curve

    name = spec.study.split("/", 1)[1]
    settings = train_config(recipe, name, spec, bfloat16)
    with _device(recipe) as device:
        backbone = build_backbone(
            name,
            dataset.facts.num_classes,
            weights=recipe.weights_for(name),
            options=recipe.options_for(name),
            seed=settings.seed,
        )
        frozen = frozen_study(recipe, spec.study, backbone, settings, device, micro_batches)
        indices = split_of(recipe, dataset.training, 0).fit
        images = dataset.training
        settings = with_class_weights(settings, images.labels[indices], images.class_names)
        batches = fit_batches(
            recipe, dataset.facts.dataset, dataset.training, indices, settings, device, frozen
        )
        try:
            return measure_curve(
                backbone if frozen is None else frozen.head,
                batches,
                settings,
                dataset.facts.num_classes,
                device=device,
                micro_batches=micro_batches,
                progress=progress,
            )
        finally:
            release_memory()


@contextmanager
def _device(recipe: Recipe) -> Iterator[torch.device]:
    """The GPU if trials use one and there is one, else a few CPU cores.

    No trial runs on this machine yet. The number of threads is restored for them.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, _MOST_THREADS))
    try:
        wanted = recipe.resources.gpus_per_trial != 0
        yield torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")
    finally:
        torch.set_num_threads(threads)

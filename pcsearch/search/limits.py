"""What a plan cannot show, however long it runs: seeds and images that are too few."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.recipe.arms import CONTROL
from pcsearch.search.gain import alpha_of, detectable_gain
from pcsearch.search.plan import ImageCounts, Plan, StudyPlan
from pcsearch.search.verdict import FEWEST_TEST_IMAGES

FEW_TEST_IMAGES = 200
"""Below this, the choice of test images matters more than the training seeds do."""

FEW_VALIDATION_IMAGES = 50
"""Below this, one image is more than two points, and most configurations are ties."""


def limits(plan: Plan) -> tuple[str, ...]:
    """Sentences to read before a campaign starts, on its seeds first."""
    return (*_seeds(plan), *_finalists(plan), *_images(plan), *_gains(plan))


def few_test_images(images: ImageCounts) -> tuple[str, ...]:
    """A sentence where the test images are few; nothing where none are asked for."""
    if not 0 < images.test < FEW_TEST_IMAGES:
        return ()
    are = "is only 1 test image" if images.test == 1 else f"are only {images.test} test images"
    return (
        f"There {are}: one is {_points(images.test)} points, and other images of the same classes "
        "may give another gain.",
    )


def _seeds(plan: Plan) -> Iterator[str]:
    names = {arm.name for study in plan.studies for arm in study.arms}
    seeds = len(plan.confirm_seeds)
    if seeds == 0:
        yield (
            "Nothing will be measured on test images (confirm.seeds: 0), so the campaign cannot "
            "show a gain."
        )
    elif seeds == 1 and CONTROL in names and len(names) > 1:
        yield (
            "A gain will have no interval (confirm.seeds: 1), so it will be no evidence either "
            "way. Give confirm.seeds=5 for an interval."
        )


def smallest_gain(plan: Plan, study: StudyPlan) -> float | None:
    """About the gain in points that a study tells; None where it has no control or no interval."""
    arms = {arm.name for arm in study.arms}
    seeds = plan.looks[-1]
    if CONTROL not in arms or len(arms) < 2 or seeds < 2 or study.images.test < FEWEST_TEST_IMAGES:
        return None
    repeats = plan.finalist_repeats if plan.finalist_configs else 0
    alpha = alpha_of((), len(plan.looks)) / (len(arms) - 1)  # looks and arms share it
    return detectable_gain(seeds, repeats, study.images.test, alpha=alpha)


def _gains(plan: Plan) -> Iterator[str]:
    """How small a gain the planned seeds and the test images tell, and what one point takes."""
    for study in plan.studies:
        least = smallest_gain(plan, study)
        if least is not None:
            yield (
                f"{study.id}: {plan.looks[-1]} seeds and {study.images.test:,} test images tell a "
                f"gain of about {least:.1f} points in 8 of 10 campaigns. "
                f"{_for_one_point(study.images.test)}"
            )


def _for_one_point(test_images: int) -> str:
    """How many seeds and repeats a gain of one point takes, or that none are enough."""
    for times in (1, 2, 4, 8, 16, 32):
        if detectable_gain(5 * times, 4 * times, test_images) <= 1:
            return f"One point takes about confirm.seeds={5 * times} finalists.repeats={4 * times}."
    return "One point takes more test images, whatever the number of seeds."


def _finalists(plan: Plan) -> Iterator[str]:
    """Without repeats, nothing tells how much the search's luck weighs."""
    names = {arm.name for study in plan.studies for arm in study.arms}
    compared = CONTROL in names and len(names) > 1 and plan.looks[-1] > 1
    if compared and not (plan.finalist_configs and plan.finalist_repeats > 1):
        yield (
            "There will be a gain, but no verdict: how much the search's luck weighs is not "
            "measured. Give finalists.configs=2 finalists.repeats=4 for one."
        )


def _images(plan: Plan) -> Iterator[str]:
    for dataset, images in {study.dataset: study.images for study in plan.studies}.items():
        if plan.confirm_seeds:
            yield from (f"{dataset}: {line}" for line in few_test_images(images))
        if 0 < images.val < FEW_VALIDATION_IMAGES:
            are = "is only 1 validation image" if images.val == 1 else f"are only {images.val}"
            are += "" if images.val == 1 else " validation images"
            yield (
                f"{dataset}: There {are}: one is {_points(images.val)} points, so many "
                "configurations will be equally good."
            )


def _points(images: int) -> str:
    return f"{100 / images:.1f}"

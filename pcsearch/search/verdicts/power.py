"""The limits of a plan: too few seeds or images, or weights that know the test images."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.arms import CONTROL
from pcsearch.search.plan import ImageCounts, Plan, StudyPlan
from pcsearch.search.verdicts.gain import TYPICAL, alpha_of, detectable_gain
from pcsearch.search.verdicts.verdict import FEWEST_TEST_IMAGES


def overlap(study: StudyPlan) -> tuple[str, ...]:
    """A sentence if published weights were trained on images of the same set.

    Nothing is known of a user's own state dict, so there is no sentence on it.
    """
    from pcsearch.data.catalog import DATASETS

    entry = DATASETS.get(study.dataset)
    if study.pretrained_on is None or entry is None or not entry.in_imagenet:
        return ()
    known = entry.in_imagenet[0].upper() + entry.in_imagenet[1:]
    return (
        f"{known}. ImageNet weights may have been trained on images that validate or test here, "
        "so accuracies may be too high. Weights of other images, or none, avoid this.",
    )


_FEW_TEST_IMAGES = 200
"""Below this, the choice of test images matters more than the training seeds."""

FEW_VALIDATION_IMAGES = 50
"""Below this, one image is more than two points, and most configurations are ties."""


def limits(plan: Plan) -> tuple[str, ...]:
    """Sentences to read before a campaign starts; those on seeds come first."""
    return (*_seeds(plan), *_no_verdict(plan), *_images(plan), *_gains(plan))


def few_test_images(images: ImageCounts) -> tuple[str, ...]:
    """A sentence if there are few test images; nothing for none."""
    if not 0 < images.test < _FEW_TEST_IMAGES:
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
            "way. Give confirm.seeds=5 for an interval and a verdict."
        )


def smallest_gain(plan: Plan, study: StudyPlan) -> float | None:
    """The approximate smallest gain, in points, that a study can show; None without a verdict."""
    seeds, arms = plan.looks[-1], len(study.arms)
    if seeds < 2 or arms < 2 or _why_no_verdict(plan, study) is not None:
        return None
    alpha = alpha_of((), len(plan.looks)) / (arms - 1)  # looks and arms share the error rate
    return detectable_gain(seeds, plan.finalist_repeats, study.images.test, alpha=alpha)


def _gains(plan: Plan) -> Iterator[str]:
    """The smallest gain that the planned seeds and test images show, and what one point takes."""
    for study in plan.studies:
        least = smallest_gain(plan, study)
        if least is not None:
            yield (
                f"{study.id}: with {plan.looks[-1]} seeds and {study.images.test:,} test images, a "
                f"true gain must be about {least:.1f} points for 8 of 10 campaigns to find it"
                f"{_sharing(plan)}. This assumes that seeds scatter as on ten bird classes (SD of "
                f"a difference {TYPICAL.pair:g} points). {_for_one_point(study.images.test)}"
            )


def _sharing(plan: Plan) -> str:
    """More looks make each one stricter, so more seeds may tell no more."""
    looks = len(plan.looks)
    return f", as {looks} looks share the error rate" if looks > 1 else ""


def _for_one_point(test_images: int) -> str:
    """How many seeds and repeats a gain of one point takes, or that none are enough."""
    for times in (1, 2, 4, 8, 16, 32):
        if detectable_gain(5 * times, 4 * times, test_images) <= 1:
            return f"One point takes about confirm.seeds={5 * times} finalists.repeats={4 * times}."
    return "One point takes more test images; more seeds do not help."


def _no_verdict(plan: Plan) -> Iterator[str]:
    """Each known reason to withhold verdicts, once, with the studies that it concerns."""
    if plan.looks[-1] < 2:
        return  # `_seeds` says so
    reasons = [(study.id, _why_no_verdict(plan, study)) for study in plan.studies]
    for reason in dict.fromkeys(reason for _, reason in reasons if reason is not None):
        of = [study for study, why in reasons if why == reason]
        where = "" if len(of) == len(reasons) else f"{', '.join(of)}: "
        yield f"{where}There will be no verdict: {reason}"


def _why_no_verdict(plan: Plan, study: StudyPlan) -> str | None:
    """Why the study's verdicts will be withheld, and what to do; None if they will not be."""
    control = next((arm for arm in study.arms if arm.name == CONTROL), None)
    if control is None:
        return "there is no control to compare with. Give search.control=matched for one."
    if len(study.arms) < 2:
        return None
    if control.borrows is not None:
        return (
            "the control is not tuned for itself (search.control: single). Give "
            "search.control=matched for one."
        )
    if not (plan.finalist_configs and plan.finalist_repeats > 1):
        return (
            "the luck of the search is not measured. Give finalists.configs=2 "
            "finalists.repeats=4 for one."
        )
    if study.images.test < FEWEST_TEST_IMAGES:
        return f"there are only {study.images.test} test images; {FEWEST_TEST_IMAGES} are needed."
    return None


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

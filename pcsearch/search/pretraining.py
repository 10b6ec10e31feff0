"""Whether a network's weights were trained on the images that judge it, as far as is known."""

from __future__ import annotations

from pcsearch.search.plan import StudyPlan


def overlap(study: StudyPlan) -> tuple[str, ...]:
    """A sentence where published weights meet images of the set that they were trained on.

    Of a state dict of the user's own nothing is known, so nothing is said.
    """
    from pcsearch.data.catalog import DATASETS

    entry = DATASETS.get(study.dataset)
    if study.pretrained_on is None or entry is None or not entry.in_imagenet:
        return ()
    known = entry.in_imagenet[0].upper() + entry.in_imagenet[1:]
    return (
        f"{known}. ImageNet weights may have been trained on images that validate or test here, "
        "so accuracies may be too high. Weights of other images, or none, are free of that.",
    )

"""The end of a summary: which loss to use, in one's own script too, and what would settle the rest.

A recommendation follows from the verdicts alone. Without a verdict there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pcsearch.arms import ARMS, CONTROL
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import ArmSummary, StudySummary
from pcsearch.search.verdicts.gain import Gain, alpha_of

_MOST_SEEDS = 100
"""More seeds are not advised."""

_SHOWN = 3
"""With more studies, each has one line, without code."""


def what_now(studies: tuple[StudySummary, ...]) -> list[str]:
    """Lines for every study with verdicts on all its arms; code is indented."""
    lines: list[str] = []
    for study in studies:
        prefix = f"{study.id}: " if len(studies) > 1 else ""
        lines += _study(study, prefix, code=len(studies) <= _SHOWN)
    return lines


def _study(study: StudySummary, prefix: str, *, code: bool) -> list[str]:
    control = study.arms.get(CONTROL)
    competing = {name: arm for name, arm in study.arms.items() if name != CONTROL}
    words = {name: arm.verdict.word for name, arm in competing.items() if arm.verdict}
    if control is None or not competing or len(words) < len(competing):
        return []
    if all(word == "withheld" for word in words.values()):
        return []
    helping = {name: arm for name, arm in competing.items() if words[name] == "helps"}
    if helping:
        name, best = max(helping.items(), key=lambda item: item[1].gain.mean if item[1].gain else 0)
        lines = [f"{prefix}Use {fmt.label(name)}{_settings(best)}."]
    else:
        name, best = CONTROL, control
        lines = [
            f"{prefix}Use plain cross-entropy{_settings(control)}: "
            + (
                "every arm hurts."
                if set(words.values()) == {"hurts"}
                else "no arm is clearly better."
            )
        ]
    if code:
        lines += [f"    {line}" for line in _code(name, best)]
    undecided = {n: arm for n, arm in competing.items() if words[n] == "no clear difference"}
    return lines + _more_seeds(study, undecided, len(competing), prefix)


def _settings(arm: ArmSummary) -> str:
    rate = arm.config.get("lr")
    parts = [f"{symbol} {fmt.significant(value)}" for symbol, value in fmt.strengths(arm) if value]
    parts += [f"learning rate {fmt.significant(rate)}"] if rate is not None else []
    return f" with {' and '.join(parts)}" if parts else ""


def _code(name: str, arm: ArmSummary) -> list[str]:
    """Lines of Python for a training script; none for an arm that is more than a loss."""
    row = ARMS.get(name)
    loss = "loss = criterion(model(images), labels)"
    if name == CONTROL:
        return ["criterion = torch.nn.CrossEntropyLoss()", loss]
    if name == "label_smoothing":
        smoothing = arm.config["label_smoothing"]
        return [f"criterion = torch.nn.CrossEntropyLoss(label_smoothing={smoothing:.3g})", loss]
    if row is None or arm.lambda_ is None or len(row.parameters) != 1:
        return []
    variant = "" if arm.variant == "euclidean" else f', variant="{arm.variant}"'
    return [
        "from pcsearch.losses import PairwiseConfusionLoss",
        f"criterion = PairwiseConfusionLoss(lambda_={arm.lambda_:.3g}{variant})",
        loss,
    ]


def _more_seeds(
    study: StudySummary, undecided: Mapping[str, ArmSummary], competing: int, prefix: str
) -> list[str]:
    """How many confirm seeds would settle the clearest of the undecided gains."""
    alpha = alpha_of([look.alpha for look in study.looks if look.could_decide], 1) / competing
    needed = {
        name: seeds
        for name, arm in undecided.items()
        if arm.gain is not None
        and arm.test_top1 is not None
        and (seeds := seeds_to_settle(arm.gain, len(arm.test_top1.values), alpha)) is not None
    }
    if not undecided:
        return []
    if not needed:
        return [
            f"{prefix}More seeds would hardly settle it: gains this small, if real, need more test "
            "images or repeats of the finalists."
        ]
    name = min(needed, key=lambda name: needed[name])
    gain = undecided[name].gain
    assert gain is not None
    return [
        f"{prefix}If the gain of {fmt.label(name)} stays at {fmt.points(gain.mean)}, about "
        f"{needed[name]} seeds would settle it: pcsearch resume RUN confirm.seeds={needed[name]}"
    ]


def seeds_to_settle(gain: Gain, seeds: int, alpha: float) -> int | None:
    """Confirm seeds after which the interval would leave out zero, if the gain stays as it is.

    The variance over seeds falls with their number; those of the search's luck and of the test
    images stay. None if not even 100 seeds are enough, or the scatter is unknown.

    Args:
        gain: The gain so far.
        seeds: The seeds that it comes from.
        alpha: Error rate of the next look.
    """
    from scipy.special import stdtrit

    if gain.parts.seeds is None:
        return None
    fixed = (gain.parts.search or 0.0) ** 2 + (gain.parts.images or 0.0) ** 2
    for count in range(seeds + 1, _MOST_SEEDS + 1):
        error = math.sqrt(gain.parts.seeds**2 * seeds / count + fixed)
        if abs(gain.mean) > float(stdtrit(count - 1, 1 - alpha / 2)) * error:
            return count
    return None

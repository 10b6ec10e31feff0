"""When trials fail: why nothing could be chosen, and when it is hopeless to go on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pcsearch.search.arm_state import ArmState
from pcsearch.search.trial import Trial

HOPELESS = 3
"""Search trials of a study that fail alike, with none that trains, before it is given up."""

_LAST_LINES = 5
_VARYING = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)


def why_nothing(arm: ArmState) -> str:
    """Why an arm has no fully trained trial to choose."""
    repeats = arm.trials["finalists"]
    trials = repeats or arm.trials["search"]
    which = f"none of its {len(repeats)} finalist trials" if repeats else "no search trial"
    errors = [trial.error for trial in trials if trial.error]
    first = f"; the first failure: {errors[0]}" if errors else ""
    return f"{which} was trained to the end: {_ended(trials)}{first}"


def _ended(trials: Sequence[Trial]) -> str:
    """How many of the trials ended in which way, and what helps."""
    states = Counter(trial.state for trial in trials)
    divided = sum(trial.state == "COMPLETE" and not trial.comparable for trial in trials)
    ways = [f"{states['FAILED']} failed"] if states["FAILED"] or not states["DIVERGED"] else []
    if states["DIVERGED"]:
        ways.append(f"{states['DIVERGED']} diverged (lower search.lr)")
    if states["PRUNED"]:
        ways.append(f"{states['PRUNED']} stopped early against one that failed later")
    if divided:
        ways.append(
            f"{divided} ran out of memory and were trained in smaller batches, which do not "
            "compare (lower train.batch_size or image.crop)"
        )
    return ", ".join(ways)


def hopeless(arms: Sequence[ArmState]) -> str | None:
    """Why to give a study up: its first search trials have all failed, and for the same reason.

    Numbers in the messages (seeds, epochs, learning rates) may differ. Trials that were divided for
    want of memory have failed in this sense, too: none of them can be chosen. None while there is
    hope.
    """
    if any(arm.trained for arm in arms):
        return None
    return _alike([trial for arm in arms for trial in arm.judged])


def _alike(trials: Sequence[Trial]) -> str | None:
    divided = [trial for trial in trials if not trial.comparable]
    if len(divided) >= HOPELESS and not any(t.comparable and t.epochs for t in trials):
        return (
            f"its first {len(divided)} trials ran out of memory with whole batches; lower "
            "train.batch_size (raise train.accumulation_steps in turn) or image.crop, or run fewer "
            "trials on a GPU at once (resources.gpus_per_trial)"
        )
    ended = [trial for trial in trials if trial.state != "RUNNING"]
    errors = [trial.error or "" for trial in ended if trial.state == "FAILED"]
    if len(errors) < HOPELESS or len(errors) < len(ended):
        return None
    if any(trial.epochs for trial in trials if trial.state == "RUNNING"):
        return None
    if len({_VARYING.sub("#", error) for error in errors}) > 1:
        return None
    lines = [line for line in errors[0].splitlines() if line.strip()]
    return f"its first {len(errors)} trials failed for the same reason: " + "\n".join(
        lines[-_LAST_LINES:]
    )

"""What became of a trial's worker, from what Ray says of it."""

from __future__ import annotations

import re
from pathlib import Path

from pcsearch.search.trial import Loss

_NODE = ("node has died", "node died", "node was drained", "node is dead", "its node")
_ASKED = "The process receives a SIGTERM"


def loss_of(
    error: BaseException | None, *, one_machine: bool = False, waited: bool = False
) -> tuple[str, Loss]:
    """A reason to write down, and its kind: the node was lost, or the process alone.

    A lost node is not the trial's fault: it does not use up its retries. Where a connection broke,
    Ray does not know yet which of the two it was; that counts as a node's loss, unless there is
    but `one_machine`, which is still there. So does a worker that was asked to end: a machine that
    shuts down, as one does that a cloud takes back, asks all that it runs, in any order. And one
    that died while it `waited` for a trial was not ended by the trial that finds it dead.
    """
    if error is None:
        return "its worker was lost", "worker"
    from ray.exceptions import (
        ActorUnavailableError,
        NodeDiedError,
        OutOfMemoryError,
        RayActorError,
        RayTaskError,
    )

    text = " ".join(str(error).split())
    if isinstance(error, NodeDiedError) or any(sign in text for sign in _NODE):
        return "its node was lost", "node"
    if isinstance(error, ActorUnavailableError):
        return "the connection to its worker broke", "worker" if one_machine else "node"
    if _ASKED in text and isinstance(error, RayActorError) and not one_machine:
        return "its worker was asked to end, by SIGTERM", "node"
    if isinstance(error, OutOfMemoryError):
        return "its node ran out of memory and Ray ended its worker", "worker"
    if isinstance(error, RayTaskError):
        lines = [line for line in str(error).splitlines() if line.strip()]
        return (
            f"its worker failed: {lines[-1].strip() if lines else 'no reason is known'}",
            "worker",
        )
    if isinstance(error, RayActorError) and waited:
        return "its worker had died while it waited for a trial", "node"
    if isinstance(error, RayActorError):
        return f"its worker died ({_cause(str(error))})", "worker"
    return f"its worker was lost ({text or 'no reason is known'})", "worker"


def error_of(pickled: str | None) -> BaseException | None:
    """What ended a worker, from the file that Tune has just written in its scratch folder.

    Tune's own function to read it still answers None when a scheduler is told of the error.
    """
    from ray import cloudpickle

    try:
        error = cloudpickle.loads(Path(pickled or "").read_bytes())
    except Exception:
        return None
    return error if isinstance(error, BaseException) else None


def _cause(message: str) -> str:
    """The part of Ray's message that says why, without names, ids and guesses."""
    detail = re.search(
        r"exit detail: (.*?)(?: Some common causes| There are some|$)", message, re.S
    )
    lines = (detail[1] if detail else message).strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "no reason is known"

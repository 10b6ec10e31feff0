"""What Ray says of a lost worker, and what is made of it."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, RayTaskError

from pcsearch.execution.worker_health import classify_failure
from pcsearch.search.trial import FailureKind

KILLED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker "
    "exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some "
    "common causes include: (1) the process was killed by the OOM killer"
)
NODE = "The actor died because its node has died. Node Id: 4f1d"


def died(message: str) -> ActorDiedError:
    error = ActorDiedError()
    error.error_msg = f"{ActorDiedError.BASE_ERROR_MSG}\n\tclass_name: ImplicitFunc\n{message}"
    return error


@pytest.mark.parametrize(
    ("error", "reason", "kind"),
    [
        (
            died(KILLED),
            "its worker died (Worker unexpectedly exits with a connection error code 2. "
            "End of file)",
            "worker",
        ),
        (died(NODE), "its node was lost", "node"),
        (NodeDiedError("the node has died"), "its node was lost", "node"),
        (
            RayTaskError("train", "Traceback\n  line 1\nRuntimeError: CUDA error\n", ValueError()),
            "its worker failed: RuntimeError: CUDA error",
            "worker",
        ),
        (None, "its worker was lost", "worker"),
    ],
)
def test_reason_and_kind(error: BaseException | None, reason: str, kind: FailureKind) -> None:
    assert classify_failure(error) == (reason, kind)


def test_a_broken_connection_is_taken_for_a_lost_node_where_there_are_several() -> None:
    """As Ray tells of a machine that vanished, before its health check has noticed."""
    error = ActorUnavailableError("RPC error: Connection reset by peer rpc_code: 14", b"a" * 16)
    assert classify_failure(error) == ("the connection to its worker broke", "node")
    assert classify_failure(error, one_machine=True)[1] == "worker"


def test_a_worker_that_died_while_it_waited_costs_no_retry() -> None:
    """The trial that finds it dead has not begun on it; several may have died meanwhile."""
    error = died("The actor is dead because its worker process has died.")
    assert classify_failure(error, one_machine=True)[1] == "worker"
    reason, kind = classify_failure(error, one_machine=True, waited=True)
    assert (reason, kind) == ("its worker had died while it waited for a trial", "node")


def test_a_worker_that_was_asked_to_end_is_one_of_a_machine_that_shuts_down() -> None:
    """Where Ray tells of the process before it knows of the node."""
    error = died(
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
        "Worker exit detail: Worker exits unexpectedly. Worker exits with an exit code 1. The "
        "process receives a SIGTERM."
    )
    assert classify_failure(error) == ("its worker was asked to end, by SIGTERM", "node")
    assert classify_failure(error, one_machine=True)[1] == "worker"

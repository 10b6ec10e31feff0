"""Check the head of a Ray cluster before this process joins."""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Iterator

from pcsearch.cluster import ray_internals
from pcsearch.cluster.session.security import warn_if_readable
from pcsearch.errors import UserError

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0


@contextlib.contextmanager
def reachable(address: str) -> Iterator[str]:
    """Yield the HOST:PORT to join, after one request to it.

    Ray itself retries for 20 seconds with a wrong token, and for minutes without an answer.

    Raises:
        UserError: nothing answers there, the token or the version of Ray or Python differs, or this
            machine is not a node of the cluster.
    """
    found = _find(address)
    with (
        ray_internals.loopback()
        if found.startswith(("127.", "localhost:"))
        else contextlib.nullcontext()
    ):
        try:
            head = ray_internals.canonical_address(found)
        except Exception as error:
            raise UserError(
                f"--address {address}: not an address; expected HOST:PORT or auto"
            ) from error
        _ask(head)
        _compare_pythons(head)
        if not ray_internals.is_own_node():
            raise UserError(
                f"this machine is not a node of the Ray cluster at {head}; start the campaign on "
                "one of its nodes, for example its head"
            )
        yield head


def _find(address: str) -> str:
    found = address
    if address == "auto":
        try:
            found = ray_internals.address_from_environment()
        except ConnectionError as error:
            raise UserError(
                "--address auto: no Ray cluster runs on this machine; give HOST:PORT of its head, "
                "or omit --address to use this machine alone"
            ) from error
    if found.startswith("ray://"):
        raise UserError(
            f"--address {found}: a campaign cannot run through Ray Client; start it on a node of "
            "the cluster, with HOST:PORT of the head (6379 by default) or auto"
        )
    return found


def _ask(head: str) -> None:
    import grpc  # type: ignore[import-untyped]
    import ray
    from ray.exceptions import AuthenticationError

    token = (
        "set RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN) to the token of its head, by default "
        "~/.ray/auth_token there"
    )
    warn_if_readable()
    try:
        sends_token = ray_internals.enable_token()
        version = ray_internals.version_of_head(head, _ANSWER_SECONDS)
    except AuthenticationError as error:
        raise UserError(f"no token for the Ray cluster at {head}; {token}") from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise UserError(f"the Ray cluster at {head} wants another token; {token}") from error
        raise UserError(
            f"no Ray head answers at {head}; check the address (HOST:PORT, 6379 by default) and "
            "that `ray status` answers there"
        ) from error
    if not sends_token:
        _log.warning(
            "the Ray cluster at %s asks for no token: anybody who reaches its ports can run code "
            "there; start its nodes with RAY_AUTH_MODE=token",
            head,
        )
    if version != ray.__version__:
        raise UserError(
            f"the cluster at {head} runs Ray {version}, this machine {ray.__version__}; "
            "install the same version on both"
        )


def _compare_pythons(head: str) -> None:
    """UserError if the head has another Python. Ray refuses any other patch version, but late."""
    theirs, ours = ray_internals.python_of_head(head), platform.python_version()
    if theirs not in (None, ours):  # None: joining will show it
        raise UserError(
            f"the cluster at {head} runs Python {theirs}, this machine {ours}; Ray needs the same "
            f"on both: make an environment here with Python {theirs}, or start the campaign on the "
            "head with pcsearch cluster submit"
        )

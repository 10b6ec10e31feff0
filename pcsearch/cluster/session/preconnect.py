"""The head of a Ray cluster: ask it before joining, and keep what is local on loopback."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import platform
from collections.abc import Iterator

from pcsearch.cluster.session.access import warn_if_readable
from pcsearch.errors import UserError

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0


@contextlib.contextmanager
def loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for what it is.

    Otherwise it turns that into the machine's outer address and listens on every interface. The
    switch is Ray's own, made for systems on which it supports no clusters, and decides that alone.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def quick_start(session_name: str) -> Iterator[None]:
    """Start a local Ray without web server, autoscaler and log forwarder: no campaign asks them.

    They take 2.3 s of processor time, and Ray waits for the first. `include_dashboard=False` alone
    still starts a web server, for usage statistics, which are off; the other two are switches of
    Ray's own that `ray.init` does not pass on, as is the name that its session's folder gets.
    """
    from ray._private import parameter, services

    before = parameter.RayParams, services.start_api_server
    parameter.RayParams = functools.partial(
        before[0], no_monitor=True, include_log_monitor=False, session_name=session_name
    )
    services.start_api_server = lambda *args, **options: (None, None)
    try:
        yield
    finally:
        parameter.RayParams, services.start_api_server = before


@contextlib.contextmanager
def reachable(address: str) -> Iterator[str]:
    """Yields the HOST:PORT to join; asks it one question first.

    Ray itself retries for 20 seconds when the token is wrong, and for minutes when nothing answers.

    Raises:
        UserError: nothing answers there, the token or the version of Ray or Python differs, or this
            machine is not one of the cluster's nodes.
    """
    from ray._private import services

    found = _find(address)
    with loopback() if found.startswith(("127.", "localhost:")) else contextlib.nullcontext():
        try:
            head = services.canonicalize_bootstrap_address(found) or found
        except Exception as error:
            raise UserError(
                f"--address {address}: not an address; expected HOST:PORT or auto"
            ) from error
        _ask(head)
        _compare_pythons(head)
        if not services.find_node_ids():
            raise UserError(
                f"this machine is not a node of the Ray cluster at {head}; start the campaign on "
                "one of its nodes, for example its head"
            )
        yield head


def _find(address: str) -> str:
    from ray._private import services

    found = address
    if address == "auto":
        try:
            found = str(services.get_ray_address_from_environment(address, None))
        except ConnectionError as error:
            raise UserError(
                "--address auto: no Ray cluster runs on this machine; give HOST:PORT of its head, "
                "or leave --address out to use this machine alone"
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
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )
    from ray._private.gcs_utils import create_gcs_channel
    from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
    from ray.exceptions import AuthenticationError

    token = (
        "set RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN) to the token of its head, by default "
        "~/.ray/auth_token there"
    )
    warn_if_readable()
    try:
        sends_token = maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        with create_gcs_channel(head) as channel:
            answer = NodeInfoGcsServiceStub(channel).CheckAlive(
                CheckAliveRequest(), timeout=_ANSWER_SECONDS
            )
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
            "the Ray cluster at %s asks for no token: whoever reaches its ports runs code there; "
            "start its nodes with RAY_AUTH_MODE=token",
            head,
        )
    if answer.ray_version != ray.__version__:
        raise UserError(
            f"the cluster at {head} runs Ray {answer.ray_version}, this machine {ray.__version__}; "
            "install the same version on both"
        )


def _compare_pythons(head: str) -> None:
    """Ray itself refuses another Python, down to the last number, after it has tried to join."""
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
    from ray._raylet import GcsClient  # type: ignore[attr-defined,unused-ignore]

    try:
        told = GcsClient(address=head).internal_kv_get(b"CLUSTER_METADATA", KV_NAMESPACE_CLUSTER)
        theirs = str(json.loads(told or b"{}")["python_version"])
    except (KeyError, ValueError, RuntimeError):
        return  # another Ray may keep it elsewhere; joining will tell
    ours = platform.python_version()
    if theirs != ours:
        raise UserError(
            f"the cluster at {head} runs Python {theirs}, this machine {ours}; Ray needs the same "
            f"on both: make an environment here with Python {theirs}, or start the campaign on the "
            "head with pcsearch cluster submit"
        )

"""The internals of Ray that pcsearch uses: names that Ray may move without notice.

`INTERNALS` lists every such name, its purpose and what happens without it. A test looks for all of
them, so a new Ray that moves one fails the test before it fails a campaign. Changes to Ray Tune are
in `pcsearch.execution.tune_patches`, by the same rule. All names are from Ray 2.60.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pcsearch.printable import encodable


class Internal(NamedTuple):
    """An internal name of Ray, its purpose, and the effect if it is missing."""

    module: str
    name: str
    purpose: str
    without: str


INTERNALS = (
    Internal("ray._private.ray_constants", "ENABLE_RAY_CLUSTER", "loopback only", "no start"),
    Internal("ray._private.parameter", "RayParams", "a quick start", "no start"),
    Internal("ray._private.services", "start_api_server", "a quick start", "2 s more"),
    Internal("ray._private.services", "canonicalize_bootstrap_address", "--address", "no join"),
    Internal("ray._private.services", "get_ray_address_from_environment", "--address", "no join"),
    Internal("ray._private.services", "find_node_ids", "--address", "no join"),
    Internal(
        "ray._private.authentication.authentication_token_setup",
        "maybe_enable_token_auth_if_token_available",
        "the token of a cluster",
        "no join",
    ),
    Internal("ray._private.gcs_utils", "create_gcs_channel", "asking a head", "no join"),
    Internal("ray.core.generated.gcs_service_pb2", "CheckAliveRequest", "asking a head", "no join"),
    Internal(
        "ray.core.generated.gcs_service_pb2_grpc",
        "NodeInfoGcsServiceStub",
        "asking a head",
        "no join",
    ),
    Internal("ray._private.ray_constants", "KV_NAMESPACE_CLUSTER", "a head's Python", "no join"),
    Internal("ray._raylet", "GcsClient", "a head's Python", "no join"),
    Internal("ray._raylet", "AuthenticationTokenLoader", "a second session", "it is refused"),
    Internal("ray._raylet", "Config", "a second session", "it is refused"),
    Internal("ray._private.worker", "_global_node", "own processes, ports", "no start"),
    Internal("ray._private.worker", "global_worker", "nodes, logs", "launching nodes not shown"),
    Internal("ray._private.worker", "print_to_stdstream", "errors to stderr", "to stdout"),
    Internal("ray._private.utils", "get_entrypoint_name", "arguments in Latin-1", "no start"),
    Internal("ray.autoscaler._private.providers", "_NODE_PROVIDERS", "cluster check", "no check"),
    Internal("ray.autoscaler._private.util", "prepare_config", "cluster check", "no check"),
    Internal("ray.autoscaler._private.util", "validate_config", "cluster check", "no check"),
    Internal(
        "ray.autoscaler._private.kuberay.autoscaling_config",
        "_derive_autoscaling_config_from_ray_cr",
        "manifests of KubeRay",
        "they are not read",
    ),
    Internal(
        "ray.autoscaler._private.kuberay.node_provider",
        "KubernetesHttpApiClient",
        "a pod's own cluster",
        "it is not known",
    ),
    Internal("ray.autoscaler.v2.utils", "ClusterStatusParser", "launching nodes", "not shown"),
    Internal(
        "ray.core.generated.autoscaler_pb2", "GetClusterStatusReply", "launching nodes", "not shown"
    ),
)


@contextlib.contextmanager
def loopback() -> Iterator[None]:
    """Make Ray keep 127.0.0.1.

    Otherwise Ray replaces it by the machine's outer address and listens on every interface. The
    switch is Ray's own, for systems without cluster support, and has no other effect.
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
    """Start a local Ray without web server, autoscaler and log forwarder, which no campaign uses.

    They take 2.3 s of processor time, and Ray waits for the web server. `include_dashboard=False`
    still starts it for usage statistics, which are off. Ray has switches for the other two, and a
    parameter for the name of its session folder, but `ray.init` does not pass them on.
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
def encodable_entrypoint() -> Iterator[None]:
    """Let Ray start although an argument, such as a folder's name, is not UTF-8.

    Ray stores the command line with each job, in a field that holds UTF-8 only.
    """
    from ray._private import utils

    before = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: encodable(before())
    try:
        yield
    finally:
        utils.get_entrypoint_name = before


def address_from_environment() -> str:
    """The address of the Ray that runs on this machine.

    Raises:
        ConnectionError: no Ray runs here.
    """
    from ray._private import services

    return str(services.get_ray_address_from_environment("auto", None))


def canonical_address(address: str) -> str:
    """HOST:PORT in Ray's form; Ray's exceptions for an invalid address."""
    from ray._private import services

    return services.canonicalize_bootstrap_address(address) or address


def is_own_node() -> bool:
    """Whether this machine is a node of the contacted cluster."""
    from ray._private import services

    return bool(services.find_node_ids())


def enable_token() -> bool:
    """Send a token from now on, if there is one, for every RAY_AUTH_MODE; whether there is one."""
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    return bool(maybe_enable_token_auth_if_token_available(warn_if_disabled=False))


TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
"""Warns if there is a token, and explains how to switch it off."""
UPLOAD_LOGGER = "ray._private.runtime_env.packaging"


def version_of_head(head: str, timeout_seconds: float) -> str:
    """The version of Ray at HOST:PORT, by one call. Raises exceptions of gRPC and Ray."""
    from ray._private.gcs_utils import create_gcs_channel
    from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

    with create_gcs_channel(head) as channel:
        answer = NodeInfoGcsServiceStub(channel).CheckAlive(
            CheckAliveRequest(), timeout=timeout_seconds
        )
    return str(answer.ray_version)


def python_of_head(head: str) -> str | None:
    """The version of Python at HOST:PORT; None if another version of Ray stores it elsewhere."""
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
    from ray._raylet import GcsClient  # type: ignore[attr-defined,unused-ignore]

    try:
        told = GcsClient(address=head).internal_kv_get(b"CLUSTER_METADATA", KV_NAMESPACE_CLUSTER)
        return str(json.loads(told or b"{}")["python_version"])
    except (KeyError, ValueError, RuntimeError):
        return None


def forget_token() -> None:
    """Clear the mode and the token that Ray's native code caches.

    Otherwise a second session of the same process would refuse this process.
    """
    if native := sys.modules.get("ray._raylet"):
        native.AuthenticationTokenLoader.instance().reset_cache()
        native.Config.initialize("")


def started_node() -> Any:
    """The Ray node that this process started: processes, addresses and ports; None without one."""
    from ray._private import worker

    return worker._global_node


def started_processes() -> dict[str, Any]:
    """Maps names of Ray's vital processes to `subprocess.Popen`; empty if Ray started elsewhere."""
    started = getattr(started_node(), "all_processes", None) or {}
    needed = {"raylet": "raylet", "gcs_server": "GCS"}
    return {
        shown: started[name][0].process
        for name, shown in needed.items()
        if started.get(name) and hasattr(started[name][0].process, "poll")
    }


@contextlib.contextmanager
def errors_on_stderr() -> Iterator[None]:
    """Print errors of Ray's daemons to standard error.

    Ray sends them to the driver's standard output, despite `log_to_driver=False`. If a version of
    Ray lacks the function, nothing changes.
    """
    worker = sys.modules.get("ray._private.worker")
    before = getattr(worker, "print_to_stdstream", None)
    if worker is None or before is None:
        yield
        return

    def tell(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        with contextlib.suppress(OSError):
            os.write(2, ("\n".join(map(str, data["lines"])) + "\n").encode())

    worker.print_to_stdstream = tell  # type: ignore[attr-defined]
    try:
        yield
    finally:
        worker.print_to_stdstream = before  # type: ignore[attr-defined]


def cluster_status(timeout_seconds: float) -> Any:
    """The status of the joined cluster's nodes, over this process's open connection."""
    from ray._private.worker import global_worker
    from ray.autoscaler.v2.schema import Stats
    from ray.autoscaler.v2.utils import ClusterStatusParser
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    told = global_worker.gcs_client.get_cluster_status(timeout_s=timeout_seconds)
    reply = GetClusterStatusReply.FromString(told)
    return ClusterStatusParser.from_get_cluster_status_reply(reply, stats=Stats())


def logs_folder() -> str | None:
    """The log folder of this process's Ray on this machine."""
    from ray._private.worker import global_worker

    node = global_worker.node
    return None if node is None else str(node.get_logs_dir_path())


def node_providers() -> tuple[str, ...]:
    """The values of `provider.type` that Ray's launcher knows."""
    from ray.autoscaler._private.providers import _NODE_PROVIDERS

    return tuple(_NODE_PROVIDERS)


def validate_launcher_file(config: dict[str, Any]) -> None:
    """Ray's own check of a file for its launcher. Prints warnings about file mounts.

    Raises jsonschema's ValidationError and other exceptions.
    """
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def launcher_config_of(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """A launcher file's content, which KubeRay's autoscaler makes from a cluster's manifest."""
    from ray.autoscaler._private.kuberay import autoscaling_config

    config: dict[str, Any] = autoscaling_config._derive_autoscaling_config_from_ray_cr(
        {"metadata": metadata, "spec": spec}
    )
    return config


def raycluster(namespace: str, name: str) -> Any:
    """The Kubernetes object of a RayCluster. Raises exceptions of `requests`."""
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    return KubernetesHttpApiClient(namespace).get(f"rayclusters/{name}")

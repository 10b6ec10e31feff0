"""Whether a Ray that was started here can be reached by others: looked at, not taken on trust."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Iterator, Set
from dataclasses import dataclass

from pcsearch.errors import UserError

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 30.0
_CALLS = {
    "head": "/ray.rpc.NodeInfoGcsService/CheckAlive",
    "raylet": "/ray.rpc.NodeManagerService/GetNodeStats",
}
"""Calls that change nothing, and that Ray 2.60 refuses without a token, as all but health checks;
an unknown name is answered otherwise, with or without one."""


@dataclass(frozen=True)
class Listener:
    """A TCP port on which a process takes connections."""

    address: str
    port: int
    process: str

    @property
    def is_local(self) -> bool:
        address = ipaddress.ip_address(self.address.partition("%")[0])
        inside = getattr(address, "ipv4_mapped", None)  # 127.0.0.1 as a socket of IPv6 has it
        return bool((inside or address).is_loopback)


def listeners(pids: Set[int]) -> frozenset[Listener]:
    """Where these processes, and all that came from them, listen; empty where that is not seen."""
    import psutil  # type: ignore[import-untyped,unused-ignore]  # Ray's own copy, after `import ray`

    found: set[Listener] = set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            family = [process] if pid == os.getpid() else [process, *process.children(True)]
        except psutil.Error:
            continue
        for one in family:
            found.update(_of(one))
    return frozenset(found)


def _of(process: object) -> Iterator[Listener]:
    import psutil

    try:
        name = process.name()  # type: ignore[attr-defined]
        sockets = process.net_connections("tcp")  # type: ignore[attr-defined]
    except psutil.Error:  # it has ended, or is none of this user's
        return
    for socket in sockets:
        if socket.status == psutil.CONN_LISTEN:
            yield Listener(socket.laddr.ip, socket.laddr.port, name)


def check_closed(before: Set[Listener]) -> None:
    """Look at the session that this process has just started.

    Args:
        before: where this process listened already; a program that uses the API may well.

    Raises:
        UserError: it listens beyond loopback, or answers a call without a token.
    """
    from ray._private.worker import _global_node as node

    pids = {one.process.pid for infos in node.all_processes.values() for one in infos}
    found = listeners({os.getpid(), *pids}) - before
    for one in found:
        if not one.is_local:
            raise UserError(
                f"Ray's {one.process} listens at {one.address}, port {one.port}, where other "
                f"machines reach it, so Ray was ended; {_another_ray()}"
            )
    port = int(node.gcs_address.rpartition(":")[2])
    if port not in {one.port for one in found}:
        _log.warning("this system does not show whether Ray listens on loopback alone")
    addresses = (node.gcs_address, f"127.0.0.1:{node.node_manager_port}")
    for (name, call), address in zip(_CALLS.items(), addresses, strict=True):
        if (answer := _answer(address, call)) != "UNAUTHENTICATED":
            raise UserError(
                f"Ray's {name} does not refuse a call without a token ({answer}), so Ray was "
                f"ended; {_another_ray()}"
            )


def _answer(address: str, call: str) -> str:
    """The status of an empty request without a token, as gRPC names it."""
    import grpc  # type: ignore[import-untyped,unused-ignore]

    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            channel.unary_unary(call)(b"", timeout=_ANSWER_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def _another_ray() -> str:
    import ray

    return (
        f"Ray {ray.__version__} may be too new for this pcsearch: install 2.60, "
        "pip install 'ray[default,tune]==2.60.*'"
    )

"""Whether a Ray that was started here can be reached by others: looked at, not taken on trust."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

from pcsearch.errors import UserError

_LISTEN = "0A"  # in /proc/net/tcp, as the words of its addresses are in the machine's order
_BYTE_ORDER = -1 if sys.byteorder == "little" else 1
_ANSWER_SECONDS = (5.0, 15.0, 40.0)
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
    process: str = field(compare=False)

    @property
    def is_local(self) -> bool:
        address = ipaddress.ip_address(self.address.partition("%")[0])
        inside = getattr(address, "ipv4_mapped", None)  # 127.0.0.1 as a socket of IPv6 has it
        return bool((inside or address).is_loopback)


def exposed(pids: Set[int] = frozenset(), known: Set[Listener] = frozenset()) -> set[Listener]:
    """Where this process, and those named with all that came from them, listen beyond loopback.

    Which process has a port takes a tenth of a second, and is not asked where the kernel's tables
    have no such port of this user, other than those that are `known`.
    """
    table = _table()
    if table and all(one.is_local for one in table - known):
        return set()
    import psutil  # type: ignore[import-untyped,unused-ignore]  # Ray's own copy, after `import ray`

    family = [psutil.Process()]
    for pid in pids:
        with contextlib.suppress(psutil.Error):  # it has ended
            process = psutil.Process(pid)
            family += [process, *process.children(recursive=True)]
    return {port for one in family for port in _of(one) if not port.is_local} - known


def exposed_before() -> set[Listener]:
    """What is open beyond loopback anyway, of this user's programs, this one among them."""
    return {one for one in _table() if not one.is_local} or exposed()


def _table() -> set[Listener]:
    """Every port at which a process of this user listens; empty where the kernel shows none."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and fields[7] == str(os.getuid()):
                address, _, port = fields[1].partition(":")
                words = [bytes.fromhex(address[at : at + 8]) for at in range(0, len(address), 8)]
                packed = b"".join(word[::_BYTE_ORDER] for word in words)
                found.add(Listener(str(ipaddress.ip_address(packed)), int(port, 16), ""))
    return found


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
        before: of `exposed_before`, before the start.

    Raises:
        UserError: it listens beyond loopback, or answers a call without a token.
    """
    from ray._private.worker import _global_node as node

    pids = {one.process.pid for infos in node.all_processes.values() for one in infos}
    for one in exposed(pids, known=before):
        raise UserError(
            f"Ray's {one.process} listens at {one.address}, port {one.port}, where other "
            f"machines reach it, so Ray was ended; {_another_ray()}"
        )
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
        answer = "OK"
        for seconds in _ANSWER_SECONDS:  # a machine with much else to do answers late
            try:
                channel.unary_unary(call)(b"", timeout=seconds, wait_for_ready=True)
            except grpc.RpcError as error:
                answer = str(error.code().name)
            if answer not in ("DEADLINE_EXCEEDED", "UNAVAILABLE"):
                break
    return answer


def _another_ray() -> str:
    import ray

    return (
        f"Ray {ray.__version__} may be too new for this pcsearch: install 2.60, "
        "pip install 'ray[default,tune]==2.60.*'"
    )

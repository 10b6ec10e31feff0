"""Who may reach a Ray that was started here: its folder, its token, and what listens."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pcsearch.cluster import ray_internals
from pcsearch.errors import UserError
from pcsearch.storage.scratch import scratch_folder

SESSION_NAME = "session"
"""Ray's own name, with a time and a process in it, would take 42 bytes of a socket's path."""

_PREFIX = "pcsearch-ray-"
_LONGEST = Path("ray", SESSION_NAME, "sockets", "plasma_store")
_PATH_BYTES = 103 if sys.platform == "darwin" else 107  # of an AF_UNIX socket
_ROOM_BYTES = 16 * 2**20
"""Ray writes 0.2 MB of logs while it starts, and more with every worker and hour."""


@contextmanager
def session_folder() -> Iterator[Path]:
    """What to give Ray as its temporary folder; removed at the end.

    Ray makes its folder and all below it 0777 (`try_make_directory_shared`, 2.60): another user of
    the machine could put a socket in the place of the raylet's. So it lies in one of 0700. Folders
    of this user whose processes were killed are removed first.

    Raises:
        UserError: the machine's temporary folder is full, cannot be written, has too long a path,
            or another user could put something else in the place of what lies there.
    """
    variable, base = _temporary_folder()
    with ExitStack() as held:
        try:
            base = base.resolve()  # a link on the way may be another user's
            check_parents(base)
            private = held.enter_context(scratch_folder(base, _PREFIX))
            _check_room(private / "room")
        except OSError as error:
            raise UserError(
                f"{base}: Ray's sockets and logs cannot be kept here ({error.strerror or error}); "
                f"set {variable} to a folder of yours with a short path and "
                f"{_ROOM_BYTES / 1e6:.0f} MB of room"
            ) from error
        if (too_many := len(os.fsencode(private / _LONGEST)) - _PATH_BYTES) > 0:
            raise UserError(
                f"{base} is too long a path for Ray's sockets, by {too_many} bytes; "
                f"set {variable} to a shorter one"
            )
        yield private / _LONGEST.parts[0]


def _temporary_folder() -> tuple[str, Path]:
    """The variable that names it, and the folder: the same that Ray takes."""
    if "RAY_TMPDIR" in os.environ:
        return "RAY_TMPDIR", Path(os.environ["RAY_TMPDIR"]).absolute()
    if sys.platform == "darwin":  # whose TMPDIR is too long for sockets
        return "RAY_TMPDIR", Path("/tmp")
    return "TMPDIR", Path(os.environ.get("TMPDIR") or "/tmp").absolute()


def check_parents(base: Path) -> None:
    """OSError if another user may rename a folder on the way, and put one of theirs there."""
    there = base.resolve()
    for folder in (there, *there.parents):
        if not folder.exists():
            continue  # it will be made
        found = folder.stat()
        if found.st_uid not in _trusted():
            raise PermissionError(0, f"{folder} belongs to another user")
        others = stat.S_IWOTH if _is_own_group(found.st_gid) else stat.S_IWOTH | stat.S_IWGRP
        if found.st_mode & others and not found.st_mode & stat.S_ISVTX:
            raise PermissionError(0, f"other users may replace what lies in {folder}")


def _trusted() -> set[int]:
    """This user, root, and in a user namespace the number that stands for the root outside."""
    users = {0, os.getuid()}
    try:
        mapped = Path("/proc/self/uid_map").read_text().split()
        if mapped != ["0", "0", str(2**32 - 1)]:
            users.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    except (OSError, ValueError):
        pass  # a system without user namespaces
    return users


def _is_own_group(group: int) -> bool:
    """Whether this is the group of this user alone that many systems make with an account."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == user and set(found.gr_mem) <= {user}


def _check_room(file: Path) -> None:
    """OSError unless so many bytes can be written; a quota counts, which free space does not."""
    with file.open("xb") as probe:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(probe.fileno(), 0, _ROOM_BYTES)
            else:
                probe.write(bytes(_ROOM_BYTES))
                probe.flush()
        finally:
            file.unlink()


_log = logging.getLogger(__name__)

_VARIABLES = (
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_ENABLE_K8S_TOKEN_AUTH",  # asks a Kubernetes server in place of comparing tokens
)
_warned: set[Path] = set()


@contextmanager
def session_token() -> Iterator[None]:
    """Token authentication for a Ray that is started in the meantime, whatever the environment
    says; the environment is afterwards as it was.

    Ray itself would write its token to ~/.ray/auth_token, readable by everyone (0644, as of 2.60),
    and use it for every session. Ours is in the environment of that session's processes alone,
    which the kernel shows to their user only.
    """
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {key: os.environ.pop(key, None) for key in _VARIABLES}
    os.environ.update(own)
    ray_internals.forget_token()
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        ray_internals.forget_token()


def warn_if_readable() -> None:
    """Warn, once, of a token's file that other users of this machine can read."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        file = Path(named or "~/.ray/auth_token").expanduser().resolve()
        readable = file not in _warned and others_read(file)
    except (OSError, RuntimeError):  # no such file, or no home
        return
    if readable:
        _warned.add(file)
        _log.warning(
            "other users of this machine can read the cluster's token in %s; chmod 600 %s, and "
            "make another token if they may have read it",
            file,
            file,
        )


def others_read(file: Path) -> bool:
    """Whether its mode lets others read it, and those of the folders above let them get there."""
    mode = file.stat().st_mode
    above = [folder.stat().st_mode for folder in file.parents]
    return any(
        mode & read and all(folder & enter for folder in above)
        for read, enter in (
            (stat.S_IROTH, stat.S_IXOTH),
            (stat.S_IRGRP, stat.S_IXGRP | stat.S_IXOTH),
        )
    )


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
    node = ray_internals.started_node()
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

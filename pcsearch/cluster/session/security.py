"""Who can reach a Ray that was started here: its folder, its token, its ports."""

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
from pcsearch.printable import encodable
from pcsearch.storage.scratch import scratch_folder

SESSION_NAME = "session"
"""Ray's own name, with time and process, would take 42 bytes of a socket's path."""

_PREFIX = "pcsearch-ray-"
_LONGEST = Path("ray", SESSION_NAME, "sockets", "plasma_store")
_PATH_BYTES = 103 if sys.platform == "darwin" else 107  # of an AF_UNIX socket
_ROOM_BYTES = 16 * 2**20
"""Ray writes 0.2 MB of logs at its start, and more with every worker and hour."""


@contextmanager
def session_folder() -> Iterator[Path]:
    """A temporary folder for Ray; removed at the end.

    Ray makes its folder and all below it 0777 (`try_make_directory_shared`, 2.60): another user of
    the machine could replace the raylet's socket. So it is in a folder of 0700. Folders that this
    user's killed processes left are removed first.

    Raises:
        UserError: the machine's temporary folder is full, cannot be written, has too long a path
            or one that is not UTF-8, or lets another user replace its content.
    """
    variable, base = _temporary_folder()
    with ExitStack() as held:
        try:
            base = base.resolve()  # another user may own a link on the path
            check_parents(base)
            private = held.enter_context(scratch_folder(base, _PREFIX))
            _check_room(private / "room")
        except OSError as error:
            raise UserError(
                f"{base}: Ray's sockets and logs cannot be kept here ({error.strerror or error}); "
                f"set {variable} to a folder of yours with a short path and "
                f"{_ROOM_BYTES / 1e6:.0f} MB of room"
            ) from error
        if encodable(str(base)) != str(base):
            raise UserError(
                f"{base}: the path is not UTF-8, which Ray needs for its sockets and logs; set "
                f"{variable} to another folder"
            )
        if (too_many := len(os.fsencode(private / _LONGEST)) - _PATH_BYTES) > 0:
            raise UserError(
                f"{base}: the path is {too_many} bytes too long for Ray's sockets; "
                f"set {variable} to a shorter one"
            )
        yield private / _LONGEST.parts[0]


def _temporary_folder() -> tuple[str, Path]:
    """The folder that Ray would use, after the variable that sets it."""
    if "RAY_TMPDIR" in os.environ:
        return "RAY_TMPDIR", Path(os.environ["RAY_TMPDIR"]).absolute()
    if sys.platform == "darwin":  # whose TMPDIR is too long for sockets
        return "RAY_TMPDIR", Path("/tmp")
    return "TMPDIR", Path(os.environ.get("TMPDIR") or "/tmp").absolute()


def check_parents(base: Path) -> None:
    """OSError if another user can replace a folder on the path."""
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
    """This user, root, and in a user namespace the id of the outer root."""
    users = {0, os.getuid()}
    try:
        mapped = Path("/proc/self/uid_map").read_text().split()
        if mapped != ["0", "0", str(2**32 - 1)]:
            users.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    except (OSError, ValueError):
        pass  # a system without user namespaces
    return users


def _is_own_group(group: int) -> bool:
    """Whether this is the user's private group, which many systems make with an account."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == user and set(found.gr_mem) <= {user}


def _check_room(file: Path) -> None:
    """OSError unless `_ROOM_BYTES` can be written. Free space alone ignores quotas."""
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
    """Token authentication for a Ray that starts in this context. Restores the environment.

    Ray itself would write its token to ~/.ray/auth_token, readable by everyone (0644, as of 2.60),
    and use it for every session. Our token is only in the environment of the session's processes,
    which the kernel shows to their user alone.
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


def make_token(file: Path) -> bool:
    """Write a new token that only this user can read; False if the file exists.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as token:
        token.write(secrets.token_hex(32))
    return True


def warn_if_readable() -> None:
    """Warn, once per file, if other users of this machine can read the token's file."""
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
            "make a new token if they may have read it",
            file,
            file,
        )


def others_read(file: Path) -> bool:
    """Whether the modes of a file and of the folders above it let others read it."""
    mode = file.stat().st_mode
    above = [folder.stat().st_mode for folder in file.parents]
    return any(
        mode & read and all(folder & enter for folder in above)
        for read, enter in (
            (stat.S_IROTH, stat.S_IXOTH),
            (stat.S_IRGRP, stat.S_IXGRP | stat.S_IXOTH),
        )
    )


_LISTEN = "0A"  # the state in /proc/net/tcp, whose address words are in the machine's byte order
_BYTE_ORDER = -1 if sys.byteorder == "little" else 1
_ANSWER_SECONDS = (5.0, 15.0, 40.0)
_CALLS = {
    "head": "/ray.rpc.NodeInfoGcsService/CheckAlive",
    "raylet": "/ray.rpc.NodeManagerService/GetNodeStats",
}
"""Calls that change nothing. Ray 2.60 refuses them without a token, like all except health checks.
An unknown call gets another status, with or without a token."""


@dataclass(frozen=True)
class Listener:
    """A TCP port on which a process accepts connections."""

    address: str
    port: int
    process: str = field(compare=False)

    @property
    def is_local(self) -> bool:
        address = ipaddress.ip_address(self.address.partition("%")[0])
        inside = getattr(address, "ipv4_mapped", None)  # 127.0.0.1 in an IPv6 socket
        return bool((inside or address).is_loopback)


def exposed(pids: Set[int] = frozenset(), known: Set[Listener] = frozenset()) -> set[Listener]:
    """Where this process, and those in `pids` with their descendants, listen beyond loopback.

    Finding a port's process takes a tenth of a second. It is skipped if the kernel's tables show no
    such port of this user besides the `known` ones.
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
    """The ports that this user's programs already open beyond loopback."""
    return {one for one in _table() if not one.is_local} or exposed()


def _table() -> set[Listener]:
    """Every port on which this user's processes listen; empty if the kernel has no tables."""
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
    except psutil.Error:  # it has ended, or belongs to another user
        return
    for socket in sockets:
        if socket.status == psutil.CONN_LISTEN:
            yield Listener(socket.laddr.ip, socket.laddr.port, name)


def check_closed(before: Set[Listener]) -> None:
    """Check the session that this process has just started.

    Args:
        before: The result of `exposed_before`, before the start.

    Raises:
        UserError: the session listens beyond loopback, or answers a call without a token.
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
        for seconds in _ANSWER_SECONDS:  # a busy machine answers late
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

"""A web server on the loopback with every bad habit that a test asks for."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Habits:
    """How a path is answered.

    Attributes:
        body: the file.
        etag, last_modified: its version; not sent where empty.
        ranges: whether Range is honoured (and If-Range with it).
        ignores_if_range: sends the rest even of another version.
        drop_after: close the connection after so many bytes of a body.
        reset: do so by a reset, as of a broken network.
        length: the Content-Length to state in place of the true one; None for none at all.
        status: in place of 200.
        headers: further ones.
        seconds_per_chunk: a pause after each 1000 bytes.
        stall_after: send nothing more after so many bytes, and leave the connection open.
        align: answer ranges from the last multiple of this.
        range_offset: lie about where a range starts.
    """

    body: bytes = b""
    etag: str = '"v1"'
    last_modified: str = ""
    ranges: bool = True
    ignores_if_range: bool = False
    drop_after: int | None = None
    reset: bool = False
    length: int | None = -1
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    seconds_per_chunk: float = 0.0
    stall_after: int | None = None
    align: int = 1
    range_offset: int = 0


@dataclass
class Request:
    """A request as it arrived, and how many bytes of a body were handed to the network for it."""

    path: str
    headers: dict[str, str]
    sent_bytes: int = 0
    status: int = 0


@dataclass
class Server:
    """The server: what each path is, as a function of how often it was asked for, and the log."""

    url: str = ""
    paths: dict[str, Callable[[int], Habits]] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def serve(self, path: str, *habits: Habits) -> str:
        """Answer the first request by the first habits, and so on; the last ones stay."""
        self.paths[path] = lambda asked: habits[min(asked, len(habits) - 1)]
        return self.url + path

    def sent(self, path: str) -> list[int]:
        """Bytes of the bodies sent for a path, one number a request."""
        return [request.sent_bytes for request in self.log if request.path == path]

    def ranges(self, path: str) -> list[str | None]:
        return [request.headers.get("range") for request in self.log if request.path == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        state = self.state
        asked = sum(request.path == self.path for request in state.log)
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(self.path, headers)
        state.log.append(request)
        make = state.paths.get(self.path)
        habits = Habits(status=404, body=b"no such file") if make is None else make(asked)
        status, start, extra = _status(habits, headers)
        request.status = status
        self.send_response(status)
        for key, value in (*habits.headers, *extra):
            self.send_header(key, value)
        if habits.etag and status < 400:
            self.send_header("ETag", habits.etag)
        if habits.last_modified:
            self.send_header("Last-Modified", habits.last_modified)
        body = habits.body[start:] if status != 416 else b""
        if habits.length is not None:
            self.send_header(
                "Content-Length", str(len(body) if habits.length < 0 else habits.length)
            )
        if habits.length is None or habits.length > len(body):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self._send(body, habits, request)

    do_HEAD = do_GET  # noqa: N815  the name that the standard library looks for

    def _send(self, body: bytes, habits: Habits, request: Request) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while sent < len(body):
                left = [len(body) - sent, 1000]
                for limit in (habits.drop_after, habits.stall_after):
                    if limit is not None:
                        left.append(limit - sent)
                if min(left) <= 0:
                    break
                request.sent_bytes = sent + min(left)  # before the client can have it
                self.wfile.write(body[sent : sent + min(left)])
                sent += min(left)
                if habits.seconds_per_chunk:
                    time.sleep(habits.seconds_per_chunk)
            if sent == habits.stall_after:
                self.state.stop.wait(20)
            if sent < len(body):
                self.close_connection = True
                if habits.reset:  # linger 0: as a broken network, which loses what is on its way
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                else:
                    self.connection.shutdown(socket.SHUT_RDWR)


def _status(habits: Habits, headers: dict[str, str]) -> tuple[int, int, list[tuple[str, str]]]:
    """The status, the offset at which the body starts, and headers that say so."""
    asked = re.match(r"bytes=(\d+)-$", headers.get("range", ""))
    if habits.status != 200 or not asked or not habits.ranges:
        return habits.status, 0, []
    condition, total = headers.get("if-range"), len(habits.body)
    current = condition is None or condition in (habits.etag, habits.last_modified)
    if not current and not habits.ignores_if_range:
        return 200, 0, []
    start = int(asked[1]) // habits.align * habits.align
    if start >= total:
        return 416, 0, [("Content-Range", f"bytes */{total}")]
    stated = start + habits.range_offset
    return 206, start, [("Content-Range", f"bytes {stated}-{total - 1}/{total}")]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what some tests are about."""


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server on a free port of 127.0.0.1."""
    state = Server()
    handler = type("Handler", (_Handler,), {"state": state})
    with _Server(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.stop.set()
            server.shutdown()
            thread.join()

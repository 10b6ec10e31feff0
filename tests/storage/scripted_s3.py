"""A store that answers as a test says, for what neither S3 nor moto does on demand."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A status, and the code and message of an S3 error, or a body of its own."""

    status: int
    code: str = ""
    body: bytes = b""

    def content(self) -> bytes:
        if self.body or not self.code:
            return self.body
        told = f"<Code>{self.code}</Code><Message>told so</Message>"
        return f'<?xml version="1.0"?><Error>{told}</Error>'.encode()


@dataclass
class Scripted:
    """Answers in their order; then every request is granted, whatever it asks for."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Scripted

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.state.requests.append(self.command)
        answer = self.state.answers.pop(0) if self.state.answers else Answer(200)
        content = answer.content()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815


@contextlib.contextmanager
def running() -> Iterator[Scripted]:
    """A server on a free port of 127.0.0.1."""
    state = Scripted()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()

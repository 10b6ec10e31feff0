"""moto's S3 as a process of its own: `python s3_server.py` prints its port and serves.

Requests are answered one after another, since moto looks for an object and stores it in two steps,
which two requests at once could get between; S3 does both at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any


@contextlib.contextmanager
def running() -> Iterator[int]:
    """A server on a free port of 127.0.0.1."""
    command = [sys.executable, __file__]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the S3 server did not start"
        yield int(line)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _serve() -> None:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()

    def serial(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with one_at_a_time:
            return [b"".join(application(environ, start))]

    handler = MotoRequestHandler
    server = make_server("127.0.0.1", 0, serial, threaded=True, request_handler=handler)
    os.environ["MOTO_PORT"] = str(server.port)
    print(server.port, flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    _serve()

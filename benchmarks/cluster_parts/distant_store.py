"""A store that is some way off: it keeps nothing, and grants every write after that long.

`python distant_store.py MILLISECONDS` prints its port and serves S3's requests on loopback, in a
process of its own, so that its work is not counted as the client's.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

EMPTY = (
    b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
)
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def distant_store(milliseconds: float) -> Iterator[str]:
    """The address of a folder there; boto3 finds the way by this process's environment."""
    command = [sys.executable, __file__, str(milliseconds)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
        with patch.dict("os.environ", {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}):
            yield "s3://bucket/run"
    finally:
        server.kill()
        server.wait()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seconds = 0.0

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _grant(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.seconds)
        content = EMPTY if self.command == "GET" else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"0"')
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = _grant  # noqa: N815


def _serve(milliseconds: float) -> None:
    _Handler.seconds = milliseconds / 1e3
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    _serve(float(sys.argv[1]))

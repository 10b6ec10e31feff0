"""A network of the test's own between a client and a server: it can fail, and lose answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_DENIAL = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_ACCESS_DENIED = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_DENIAL), _DENIAL)
)


class Network:
    """Forwards connections from a port of 127.0.0.1 to a server's."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._changing = threading.Lock()
        self._to_lose: list[bytes] = []
        self._denied: frozenset[bytes] = frozenset()
        self.lost: list[bytes] = []
        """The first lines of the requests that were carried out, but whose answers were lost."""
        self.answered = 0
        """Answers that came through."""
        self._accept_in_background()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def switch_off(self) -> None:
        """Cut all connections; new ones are refused."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changing:
            cut, self._open = self._open, set()
        for one in cut:
            _cut(one)

    def switch_on(self) -> None:
        self._listener = _listen(self.port)
        self._accept_in_background()

    def lose_answer(self, method: bytes, times: int = 1) -> None:
        """Let so many requests of a method through and cut the connection before the answer."""
        self._to_lose += [method] * times

    def deny(self, *methods: bytes) -> None:
        """Answer such requests as S3 does those of somebody who may not make them."""
        self._denied = frozenset(methods)

    def _accept_in_background(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            with self._changing:
                self._open |= {client, server}
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        requested = [b""]

        def requests() -> None:
            with contextlib.suppress(OSError):
                while data := client.recv(1 << 16):
                    if data.split(b" ", 1)[0] in (b"GET", b"PUT", b"POST", b"HEAD", b"DELETE"):
                        requested[0] = data.split(b"\r\n", 1)[0]
                        if requested[0].split(b" ", 1)[0] in self._denied:
                            client.sendall(_ACCESS_DENIED)
                            _cut(client)
                            break
                    server.sendall(data)
            _cut(server)

        threading.Thread(target=requests, daemon=True).start()
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                method = requested[0].split(b" ", 1)[0]
                while data.startswith(
                    b"HTTP/1.1 100"
                ):  # one or more; the answer may follow at once
                    interim, end, data = data.partition(b"\r\n\r\n")
                    client.sendall(interim + end)
                if not data:
                    continue
                if method in self._to_lose:
                    self._to_lose.remove(method)
                    self.lost.append(requested[0])
                    break
                self.answered += 1
                client.sendall(data)
        _cut(client)
        _cut(server)


@contextlib.contextmanager
def network_to(server_port: int) -> Iterator[Network]:
    """A network in order; it is switched off at the end."""
    network = Network(server_port)
    try:
        yield network
    finally:
        network.switch_off()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

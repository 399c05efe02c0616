"""What can go wrong between the service and a server: silence, eavesdroppers, cut lines."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.servers.certificates import Certificate


class Listener:
    """Takes connections and hands each to ``serve`` in a thread of its own."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.connections = 0
        self.received = b""
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._tls = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate.cert, certificate.key)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A thread that waits in accept() is not woken by close().
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()
        # First wake the threads, then wait for them: what they use must not be closed under them.
        for one in self._open:
            _hang_up(one)
        for thread in self._threads:
            thread.join(5)
        for one in self._open:
            one.close()

    def serve(self, client: socket.socket) -> None:
        """Read, keep what was read, and never answer."""
        while data := client.recv(65536):
            self.received += data
            self.answer(client, data)

    def answer(self, client: socket.socket, data: bytes) -> None:
        """Say nothing to *data*."""

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                self.connections += 1
                self._open.append(client)
                thread = threading.Thread(target=self._served, args=[client], daemon=True)
                self._threads.append(thread)
                thread.start()

    def _served(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                # In two steps: the socket of a handshake that fails must be closed, too.
                client = self._tls.wrap_socket(
                    client, server_side=True, do_handshake_on_connect=False
                )
                self._open.append(client)
                client.do_handshake()
            self.serve(client)


class Answering(Listener):
    """Gives the same answer to everything."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self._words = words

    def answer(self, client: socket.socket, data: bytes) -> None:
        client.sendall(self._words)


class Relay(Listener):
    """Passes on to a server, until a request has *marker* in it.

    ``before`` cuts the line instead of passing that on; ``after`` when the server has answered,
    and keeps the answer; ``silent`` never passes the answer on, and holds the line.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        marker: bytes,
        cut: str,
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(certificate)
        self._connect = connect
        self._marker = marker
        self._cut = cut
        self.met = 0

    def serve(self, client: socket.socket) -> None:
        """Pass on and back until one side ends, or the line is to be cut."""
        with self._connect() as server:
            back = threading.Thread(target=self._pass_back, args=[server, client], daemon=True)
            back.start()
            while data := client.recv(65536):
                cut = self._marker in data
                self.met += cut
                if cut and self._cut == "before":
                    break
                server.sendall(data)
            _hang_up(client)
            _hang_up(server)
            back.join(5)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            # Clients send the next request when they have the whole answer to the one before.
            while (data := server.recv(65536)) and not self.met:
                client.sendall(data)
            if self.met and self._cut == "silent":
                return
        _hang_up(client)


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)

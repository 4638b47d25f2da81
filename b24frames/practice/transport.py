"""HTTP on the loopback interface: one thread for each connection, stopped promptly."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from b24frames.practice.forms import as_int

_JSON_TYPE = "application/json; charset=utf-8"
_LONGEST_STOP = 5.0


@dataclass(frozen=True)
class Reply:
    """An HTTP answer.

    Attributes
    ----------
    status : int
        The HTTP status.
    body : bytes
        The body.
    headers : mapping of str to str
        The headers, but for ``Content-Length``.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": _JSON_TYPE})


class Handler(BaseHTTPRequestHandler):
    """The server's end of one connection.

    Attributes
    ----------
    stopping : threading.Event
        That of the server.
    on_status : callable
        Told the status of an answer before it is sent.
    """

    protocol_version = "HTTP/1.1"
    server_version = "practice"
    sys_version = ""
    disable_nagle_algorithm = True
    server: LoopbackServer
    on_status: Callable[[int], None]

    def setup(self) -> None:
        """Let the server know of the connection."""
        self.stopping = self.server.stopping
        super().setup()
        self.server.open[threading.current_thread()] = self.connection
        if self.stopping.is_set():
            _shut(self.connection)

    def finish(self) -> None:
        """Let the server forget the connection."""
        self.server.open.pop(threading.current_thread(), None)
        super().finish()

    def do_POST(self) -> None:
        """Answer a request with parameters in its body."""
        self.server.answer(self, self.rfile.read(as_int(self.headers.get("Content-Length"))))

    def do_GET(self) -> None:
        """Answer a request with all its parameters in the address."""
        self.server.answer(self, b"")

    def send(self, reply: Reply) -> None:
        """Write a whole answer."""
        self.send_head(reply)
        self.wfile.write(reply.body)

    def send_head(self, reply: Reply) -> None:
        """Write status line and headers."""
        self.on_status(reply.status)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing: addresses hold the secret."""


class LoopbackServer(ThreadingHTTPServer):
    """An HTTP server on a free port of the loopback interface.

    Parameters
    ----------
    answer : callable
        Answers a request, given its handler and its body.
    ssl_context : ssl.SSLContext or None
        For https.

    Attributes
    ----------
    stopping : threading.Event
        Set when the server is about to stop; whatever waits, waits for this too.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, answer: Callable[[Handler, bytes], None], ssl_context: ssl.SSLContext | None
    ) -> None:
        self.answer = answer
        self.stopping = threading.Event()
        self.open: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", 0), Handler)
        if ssl_context is not None:
            # Without a handshake on accepting, a client that is slow at it delays only itself.
            self.socket = ssl_context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Take connections until the server is about to stop."""
        while not self.stopping.is_set():
            self.handle_request()

    def server_bind(self) -> None:
        """Bind without asking the name service who 127.0.0.1 is."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def verify_request(self, *_: Any) -> bool:
        """Take none of the connections that come too late."""
        return not self.stopping.is_set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of a mistake in the server; a client that leaves is none."""
        if not (isinstance(sys.exception(), OSError) or self.stopping.is_set()):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stop answering, close every connection and free the port."""
        self.stopping.set()
        socket.create_connection((self.server_name, self.server_port)).close()  # ends the wait
        self._thread.join()
        self.server_close()
        for thread, connection in list(self.open.items()):
            _shut(connection)
            thread.join(_LONGEST_STOP)


def _shut(connection: socket.socket) -> None:
    """End a connection that another thread may be reading from."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return

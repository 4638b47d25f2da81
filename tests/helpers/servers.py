"""Servers on this machine that answer as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

Reply = Callable[[str, bytes], tuple[int, list[str], str]]
"""Given path and body of a request, returns the status, further header lines and the text."""


class Answers(BaseHTTPRequestHandler):
    """Answers each request with what the test wants, given its path and body."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        """Answer a call of a method."""
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        """Answer a refresh."""
        self.answer(b"")

    def do_CONNECT(self) -> None:
        """Answer as a proxy."""
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        """Write what the test wants."""
        status, heads, text = self.server.reply(self.path, body)
        data = text.encode()
        self.wfile.write(f"HTTP/1.1 {status} Words\r\nContent-Length: {len(data)}\r\n".encode())
        self.wfile.write("".join(f"{head}\r\n" for head in heads).encode() + b"\r\n" + data)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """A server that answers as a test wants; its `address` is known at once."""

    daemon_threads = True

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"


S = TypeVar("S", bound=Server)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    """Run a server that replies so; give its address."""
    with running(Server(reply)) as server:
        yield server.address

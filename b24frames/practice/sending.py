"""What faults do on the way on which an answer is sent."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from io import BufferedIOBase
from typing import Protocol

from b24frames.practice.faults import Fault
from b24frames.practice.replies import Reply


class Connection(Protocol):
    """The server's end of a connection, with a request that waits for its answer."""

    connection: socket.socket
    wfile: BufferedIOBase
    close_connection: bool
    stopping: threading.Event

    def send_head(self, reply: Reply) -> None:
        """Write status line and headers."""

    def send(self, reply: Reply) -> None:
        """Write a whole answer."""


def send_badly(fault: Fault, connection: Connection, reply: Reply) -> None:
    """Send an answer, or not, as a fault has it."""
    SENDING[fault.kind](fault, connection, reply)


def _truncate(_: Fault, connection: Connection, reply: Reply) -> None:
    """Send half of the body that was announced, and close."""
    connection.send_head(reply)
    connection.wfile.write(reply.body[: len(reply.body) // 2])
    connection.close_connection = True


def _close(_: Fault, connection: Connection, __: Reply) -> None:
    """Close without a word."""
    connection.close_connection = True


def _reset(_: Fault, connection: Connection, __: Reply) -> None:
    """Reset the connection: closed with the option to linger for no time."""
    linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
    connection.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    socket.close(connection.connection.detach())
    connection.close_connection = True


def _hang(fault: Fault, connection: Connection, reply: Reply) -> None:
    """Wait for so long, or until the client leaves or the server stops."""
    ticks = None if fault.seconds is None else int(fault.seconds / _TICK)
    while ticks is None or ticks > 0:
        # A client that waits for an answer sends nothing: what can be read is its farewell.
        left = select.select([connection.connection], [], [], 0)[0]
        if left or connection.stopping.wait(_TICK):
            connection.close_connection = True
            return
        ticks = None if ticks is None else ticks - 1
    connection.send(reply)


def _drip(fault: Fault, connection: Connection, reply: Reply) -> None:
    """Send the body a few bytes at a time."""
    connection.send_head(reply)
    pause = (0.1 if fault.seconds is None else fault.seconds) / _DROPS
    size = max(1, -(-len(reply.body) // _DROPS))
    for start in range(0, len(reply.body), size):
        connection.wfile.write(reply.body[start : start + size])
        if connection.stopping.wait(pause):
            break


_TICK = 0.02
_DROPS = 40
SENDING: dict[str, Callable[[Fault, Connection, Reply], None]] = {
    "truncated": _truncate,
    "reset": _reset,
    "close": _close,
    "hang": _hang,
    "drip": _drip,
}

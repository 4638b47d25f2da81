"""What faults do: to a command, in place of an answer, to an answer, and on its way.

One table for each place at which a fault acts says what every kind does.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from b24frames.practice.faults import Fault
from b24frames.practice.forms import as_map
from b24frames.practice.methods import Outcome
from b24frames.practice.transport import Handler, Reply

_HTML_TYPE = "text/html; charset=utf-8"
# Python's own notation for a byte that is not UTF-8, and what JSON makes of it.
_NOT_UTF8 = "\udcff"
_NOT_UTF8_ESCAPED = b"\\udcff"
_TICK = 0.02  # between two looks at a client that is kept waiting [s]
_DROPS = 40  # pieces of a body that drips


def write_json(answer: object) -> bytes:
    """Return an answer as JSON text, escaped as PHP does; ``bad-bytes`` become what they are."""
    return json.dumps(answer).encode().replace(_NOT_UTF8_ESCAPED, b"\xff\xfe")


def change_outcome(fault: Fault, outcome: Outcome, other: object) -> Outcome | None:
    """Return what a command answers under a fault; `other` is some other record."""
    return ON_COMMAND[fault.kind](outcome, other)


def _subject_with(text: str) -> Callable[[Outcome, object], Outcome]:
    """Return what adds a text to the SUBJECT of a record."""

    def change(outcome: Outcome, _: object) -> Outcome:
        if not isinstance(outcome.result, dict):
            return outcome
        subject = f"{outcome.result.get('SUBJECT') or ''}{text}"
        return replace(outcome, result=outcome.result | {"SUBJECT": subject})

    return change


ON_COMMAND: dict[str, Callable[[Outcome, object], Outcome | None]] = {
    "unanswered": lambda _outcome, _other: None,
    "other-record": lambda outcome, other: replace(outcome, result=other),
    "surrogate": _subject_with("\ud800"),
    "bad-bytes": _subject_with(_NOT_UTF8),
}


def reply_instead(fault: Fault, path: str) -> Reply:
    """Return what a fault puts in place of the answer to a request of this path."""
    refused = fault.refusal()
    if refused is not None:
        reply = Reply(refused.status, write_json(refused.answer()))
    else:
        reply = INSTEAD[fault.kind](fault, path)
    if fault.retry_after is None:
        return reply
    return replace(reply, headers={**reply.headers, "Retry-After": str(fault.retry_after)})


def _gateway_page(status: int) -> Callable[[Fault, str], Reply]:
    """Return what answers with the page of a gateway."""
    page = b"<html><head><title>nginx</title></head><body><h1>Gateway</h1></body></html>"
    return lambda fault, _: Reply(fault.status or status, page, {"Content-Type": _HTML_TYPE})


def _redirect(fault: Fault, path: str) -> Reply:
    """Point to the same path elsewhere."""
    location = (fault.location or "").rstrip("/") + path
    return Reply(302, b"", {"Content-Type": _HTML_TYPE, "Location": location})


INSTEAD: dict[str, Callable[[Fault, str], Reply]] = {
    "html": _gateway_page(502),
    "empty": lambda fault, _: Reply(fault.status or 200, b""),
    "redirect": _redirect,
    "batch-timeout": _gateway_page(504),
}


def change_reply(fault: Fault, reply: Reply) -> Reply:
    """Return what a fault makes of an answer."""
    return ON_ANSWER[fault.kind](reply)


def _maps_as_lists(reply: Reply) -> Reply:
    """Write those maps of a batch's answer as lists whose names are all numbers."""
    answer = json.loads(reply.body)
    result: dict[str, Any] = as_map(answer.get("result"))
    for name, value in result.items():
        if isinstance(value, dict) and all(key.isdecimal() for key in value):
            answer["result"][name] = list(value.values())
    return replace(reply, body=write_json(answer))


ON_ANSWER: dict[str, Callable[[Reply], Reply]] = {
    "cut-json": lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2]),
    "wrong-type": lambda reply: replace(reply, headers={"Content-Type": _HTML_TYPE}),
    "gzip": lambda reply: replace(
        reply,
        body=gzip.compress(reply.body),
        headers={**reply.headers, "Content-Encoding": "gzip"},
    ),
    "maps-as-list": _maps_as_lists,
    "bom": lambda reply: replace(reply, body=codecs.BOM_UTF8 + reply.body),
}


def send_badly(fault: Fault, handler: Handler, reply: Reply) -> None:
    """Send an answer, or not, as a fault has it."""
    SENDING[fault.kind](fault, handler, reply)


def _truncate(_: Fault, handler: Handler, reply: Reply) -> None:
    """Send half of the body that was announced, and close."""
    handler.send_head(reply)
    handler.wfile.write(reply.body[: len(reply.body) // 2])
    handler.close_connection = True


def _close(_: Fault, handler: Handler, __: Reply) -> None:
    """Close without a word."""
    handler.close_connection = True


def _reset(_: Fault, handler: Handler, __: Reply) -> None:
    """Reset the connection: closed with the option to linger for no time."""
    linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    socket.close(handler.connection.detach())
    handler.close_connection = True


def _hang(fault: Fault, handler: Handler, reply: Reply) -> None:
    """Wait for so long, or until the client leaves or the server stops."""
    for _ in count() if fault.seconds is None else range(int(fault.seconds / _TICK)):
        # A client that waits for an answer sends nothing: what can be read is its farewell.
        left = select.select([handler.connection], [], [], 0)[0]
        if left or handler.stopping.wait(_TICK):
            handler.close_connection = True
            return
    handler.send(reply)


def _drip(fault: Fault, handler: Handler, reply: Reply) -> None:
    """Send the body a few bytes at a time."""
    handler.send_head(reply)
    pause = (0.1 if fault.seconds is None else fault.seconds) / _DROPS
    size = max(1, -(-len(reply.body) // _DROPS))
    for start in range(0, len(reply.body), size):
        handler.wfile.write(reply.body[start : start + size])
        if handler.stopping.wait(pause):
            break


SENDING: dict[str, Callable[[Fault, Handler, Reply], None]] = {
    "truncated": _truncate,
    "reset": _reset,
    "close": _close,
    "hang": _hang,
    "drip": _drip,
}

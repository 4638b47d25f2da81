"""Faults that nobody needs to practise with, but that clients have met, for the practice server.

`Fault` has these kinds besides those of `b24frames.practice.faults.Fault`:

- commands: ``empty-error``, ``other-record``, ``surrogate`` (half a character in SUBJECT);
- answers to requests: ``bad-bytes`` (SUBJECT of `ids` is not UTF-8), ``wrong-type``, ``gzip``,
  ``maps-as-list``, ``bom`` (a byte order mark comes first), ``one-error`` (a batch is answered as
  one call that found nothing), ``bare-text`` (the errors of `ids` in a batch are texts),
  ``to-path`` (a redirect to `location` as it is);
- the way they are sent: ``truncated``, ``reset``, ``close``, ``drip`` (over `seconds`, 0.1 by
  default).
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

from b24frames.practice import faults
from b24frames.practice.faults import Effect, Refused, Reply
from b24frames.practice.formats import as_map
from b24frames.practice.methods import Answer, Call

HTML = "text/html; charset=utf-8"
DROPS = 40  # pieces of a body that drips


def _refuse_without_a_word(fault: faults.Fault, *_: object) -> NoReturn:
    raise Refused("", "", status=fault.status)


def _other_record(_: faults.Fault, call: Call, answer: Callable[[], Answer]) -> Answer:
    other = next(number for number in call.store.ids() if number not in call.ids)
    return answer() | {"result": call.store.record(other)}


def _surrogate(_: faults.Fault, __: Call, answer: Callable[[], Answer]) -> Answer:
    answered = answer()
    if isinstance(answered["result"], dict):
        subject = f"{answered['result'].get('SUBJECT') or ''}\ud800"
        answered["result"] = answered["result"] | {"SUBJECT": subject}
    return answered


def _bad_bytes(fault: faults.Fault, _: object, answer: Callable[[], Reply]) -> Reply:
    """Spoil the subjects of some records; Python has a surrogate for a byte that is not UTF-8."""

    def spoil(found: dict[str, Any]) -> dict[str, Any]:
        if "SUBJECT" in found and int(found["ID"]) in (fault.ids or ()):
            found["SUBJECT"] = f"{found['SUBJECT'] or ''}\udcff"
        return found

    reply = answer()
    content = json.dumps(json.loads(reply.body, object_hook=spoil)).encode()
    return replace(reply, body=content.replace(rb"\udcff", b"\xff\xfe"))


def _gzip(_: faults.Fault, __: object, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    return replace(reply, body=gzip.compress(reply.body), headers=headers)


def _maps_as_lists(_: faults.Fault, __: object, answer: Callable[[], Reply]) -> Reply:
    """Write those maps of a batch's answer as lists whose names are all numbers."""
    reply = answer()
    content = json.loads(reply.body)
    result: dict[str, Any] = as_map(content.get("result"))
    for name, value in result.items():
        if isinstance(value, dict) and all(key.isdecimal() for key in value):
            content["result"][name] = list(value.values())
    return replace(reply, body=json.dumps(content).encode())


def _bom(_: faults.Fault, __: object, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    return replace(reply, body=codecs.BOM_UTF8 + reply.body)


def _bare_text(fault: faults.Fault, request: Any, answer: Callable[[], Reply]) -> Reply:
    """Answer the commands for some activities in a batch by a text."""
    reply = answer()
    content = json.loads(reply.body)
    result = content["result"]
    result["result_error"] = as_map(result["result_error"])
    for name in [f"a{i}" for i in fault.ids or () if f"a{i}" in as_map(request.params.get("cmd"))]:
        as_map(result["result"]).pop(name, None)
        result["result_error"][name] = "Internal error\nof the server"
    return replace(reply, body=json.dumps(content).encode())


@dataclass(frozen=True)
class _TruncatedReply(Reply):
    """Half of the body that is announced."""

    def send(self, handler: Any) -> None:
        self.send_head(handler)
        handler.wfile.write(self.cut().body)
        handler.close_connection = True


@dataclass(frozen=True)
class _ClosedReply(Reply):
    """A connection that is closed without a word."""

    def send(self, handler: Any) -> None:
        handler.close_connection = True


@dataclass(frozen=True)
class _ResetReply(Reply):
    """A connection that is reset: closed with the option to linger for no time."""

    def send(self, handler: Any) -> None:
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.close(handler.connection.detach())
        handler.close_connection = True


@dataclass(frozen=True)
class _DrippingReply(Reply):
    """A body that comes a few bytes at a time."""

    seconds: float = 0.1

    def send(self, handler: Any) -> None:
        self.send_head(handler)
        size = max(1, -(-len(self.body) // DROPS))
        for start in range(0, len(self.body), size):
            handler.wfile.write(self.body[start : start + size])
            if handler.stopping.wait(self.seconds / DROPS):
                break


def _sent_as(kind: type[Reply]) -> Effect:
    """Return the effect that the right answer is sent in a way of its own."""
    return lambda _fault, _request, answer: kind(**vars(answer()))


class Fault(faults.Fault):
    """A fault of the practice portal, or one of the exotic ones."""

    on_command: ClassVar[Mapping[str, Effect]] = {
        **faults.Fault.on_command,
        "empty-error": _refuse_without_a_word,
        "other-record": _other_record,
        "surrogate": _surrogate,
    }
    on_request: ClassVar[Mapping[str, Effect]] = {
        **faults.Fault.on_request,
        "bad-bytes": _bad_bytes,
        "wrong-type": lambda _fault, _request, answer: replace(answer(), content_type=HTML),
        "gzip": _gzip,
        "maps-as-list": _maps_as_lists,
        "bom": _bom,
        "one-error": lambda *_: Reply(200, b'{"error": "", "error_description": "Not found"}'),
        "bare-text": _bare_text,
        "to-path": lambda fault, *_: Reply(301, b"", HTML, {"Location": fault.location}),
        "truncated": _sent_as(_TruncatedReply),
        "close": _sent_as(_ClosedReply),
        "reset": _sent_as(_ResetReply),
        "drip": lambda fault, _, answer: _DrippingReply(
            **vars(answer()), seconds=0.1 if fault.seconds is None else fault.seconds
        ),
    }

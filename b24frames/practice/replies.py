"""What faults make of the answer to a command, and of the answer to a request.

One table for each place at which a fault acts says what every kind does.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from b24frames.practice.faults import Fault
from b24frames.practice.methods import Outcome
from b24frames.practice.php import as_map
from b24frames.practice.refusals import SYSTEM_ERRORS, Refused

JSON_TYPE = "application/json; charset=utf-8"
_HTML_TYPE = "text/html; charset=utf-8"


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
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})


def write_json(answer: object) -> bytes:
    """Return an answer as JSON text, escaped as PHP does; ``bad-bytes`` become what they are."""
    return json.dumps(answer).encode().replace(_NOT_UTF8_ESCAPED, b"\xff\xfe")


# Python's own notation for a byte that is not UTF-8.
_NOT_UTF8 = "\udcff"
_NOT_UTF8_ESCAPED = b"\\udcff"


def change_outcome(fault: Fault, outcome: Outcome, other: object) -> Outcome | None:
    """Return what a command answers under a fault; `other` is some other record."""
    return ON_COMMAND[fault.kind](outcome, other)


def refusal(fault: Fault) -> Refused | None:
    """Return the error that a fault is, if it is one."""
    if fault.kind == "empty-error":
        return Refused("", "", fault.status)
    if fault.kind in SYSTEM_ERRORS:
        return Refused(fault.kind, status=fault.status)
    return None


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
    refused = refusal(fault)
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
}

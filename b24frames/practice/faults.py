"""Faults of the practice portal: their kinds, when they occur, and their effects.

A fault affects single commands, in a batch or not, or whole HTTP requests. Its effect is a function
of the fault, the command or request, and a function that returns the right answer.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from random import Random
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NoReturn, TypeVar

from b24frames.practice.formats import load, lower_keys, parse_query

SYSTEM_ERRORS: Mapping[str, tuple[int, str]] = MappingProxyType(load("system_errors"))
"""HTTP status and description of each error code that any method may return [1]_."""

# The answer of a reverse proxy if the portal behind it does not answer.
_HTML = "text/html; charset=utf-8"
_GATEWAY_PAGE = b"<html><head><title>nginx</title></head><body><h1>Gateway</h1></body></html>"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer.

    Attributes
    ----------
    status : int
        The HTTP status.
    body : bytes
        The body.
    content_type : str
        The header ``Content-Type``.
    headers : mapping of str to object
        Further headers, except ``Content-Length``; those that are None are left out.
    delay : float
        The delay before it is sent [s].
    """

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, object] = field(default_factory=dict)
    delay: float = 0.0

    def cut(self) -> Reply:
        """Return it with half of its body."""
        # The header has the length of that half: the client sees invalid JSON, no lost connection.
        return replace(self, body=self.body[: len(self.body) // 2])

    def send(self, handler: Any) -> None:
        """Write the whole answer by the handler of a connection."""
        self.send_head(handler)
        handler.wfile.write(self.body)

    def send_head(self, handler: Any) -> None:
        """Write the status line and the headers."""
        handler.received.status = self.status
        handler.send_response(self.status)
        headers = {"Content-Type": self.content_type, "Content-Length": len(self.body)}
        for name, value in {**headers, **self.headers}.items():
            if value is not None:
                handler.send_header(name, str(value))
        handler.end_headers()


@dataclass(eq=False)
class Refused(Exception):
    """A call that the portal refuses.

    Parameters
    ----------
    code : str
        The error code; often empty.
    description : str, optional
        The message; by default the usual one of a system error.
    status : int, optional
        The HTTP status; by default the documented one of a system error.
    retry_after : int, optional
        The header ``Retry-After`` of the answer [s].

    Attributes
    ----------
    answer : dict of str to str
        The error as the portal writes it.
    reply : Reply
        The HTTP answer to a refused request.
    """

    code: str
    description: str | None = None
    status: int | None = None
    retry_after: int | None = None

    def __post_init__(self) -> None:
        status, usual = SYSTEM_ERRORS.get(self.code, (400, ""))
        text = usual if self.description is None else self.description
        self.answer = {"error": self.code, "error_description": text}
        body, headers = json.dumps(self.answer).encode(), {"Retry-After": self.retry_after}
        self.reply = Reply(self.status or status, body, headers=headers)


@dataclass
class Target:
    """The target of a fault: a call, alone or in a batch, or a whole HTTP request.

    Attributes
    ----------
    method : str
        The REST method, in lower case; empty if the path of a request has none.
    params : dict of str to object
        The parameters.
    commands : tuple of str
        The commands of a batch.
    """

    method: str
    params: dict[str, Any]
    commands: tuple[str, ...] = field(default=(), kw_only=True)

    @cached_property
    def ids(self) -> frozenset[int]:
        """The activities that it concerns."""
        calls = [parse_query(command.partition("?")[2]) for command in self.commands]
        found = (activity_id(lower_keys(call)) for call in calls or [self.params])
        return frozenset(number for number in found if number is not None)


def activity_id(params: Mapping[str, Any]) -> int | None:
    """Return the activity that a call concerns, or None."""
    match = re.fullmatch(r"\s*(0*[1-9][0-9]*)\s*", str(params.get("id")))
    return int(match[1]) if match else None


T = TypeVar("T")
Scope = Literal["command", "request"]
Effect = Callable[["Fault", Any, Callable[[], Any]], Any]
"""Returns the answer to a command, as a dict, or the `Reply` to a request."""


def _refuse(fault: Fault, *_: object) -> NoReturn:
    raise Refused(fault.kind, status=fault.status, retry_after=fault.retry_after)


def _page(fault: Fault, status: int) -> Reply:
    headers = {"Retry-After": fault.retry_after}
    return Reply(fault.status or status, _GATEWAY_PAGE, _HTML, headers)


@dataclass(frozen=True)
class Fault:
    """A fault that affects the calls it matches.

    Parameters
    ----------
    kind : str
        An error code of the REST API, or one of

        - ``html``: a gateway's page in place of the answer;
        - ``batch-timeout``: the same, with HTTP 504;
        - ``empty``: an answer without a body;
        - ``redirect``: to `location`;
        - ``cut-json``: half of the answer;
        - ``hang``: no answer, or a late one;
        - ``unanswered``: an answer without this command.

        An error code affects requests; with `ids`, or with a `method` other than ``batch``, each
        such command, alone or in a batch.
    times : int, optional
        How often it occurs; by default without end.
    probability : float, default 1.0
        The probability that it occurs.
    method : str, optional
        It affects only this method, which may be ``batch``.
    ids : collection of int, optional
        It affects only calls that concern one of these activities, and batches with such commands.
    more_than : int, optional
        It affects only requests with more commands than this.
    status : int, optional
        The HTTP status of ``html`` (by default 502) and ``empty`` (200), or of an error code,
        instead of the documented one.
    retry_after : int, optional
        The header ``Retry-After`` of the faulty answer [s].
    location : str, optional
        Scheme and host to which ``redirect`` points; the path stays.
    seconds : float, optional
        The delay of ``hang`` before the right answer; by default until the client disconnects [s].

    Attributes
    ----------
    on_command, on_request : mapping of str to callable
        The effects of the kinds that affect commands, and of those that affect requests. A
        subclass may have more of them.

    Raises
    ------
    ValueError
        There is no such kind.
    """

    on_command: ClassVar[Mapping[str, Effect]] = MappingProxyType(
        {"unanswered": lambda _fault, _call, answer: answer() and {}}
    )
    on_request: ClassVar[Mapping[str, Effect]] = MappingProxyType(
        {
            "html": lambda fault, *_: _page(fault, 502),
            "batch-timeout": lambda fault, *_: _page(fault, 504),
            "empty": lambda fault, *_: replace(_page(fault, 200), body=b""),
            "redirect": lambda fault, request, _: Reply(
                302, b"", _HTML, {"Location": (fault.location or "").rstrip("/") + request.path}
            ),
            "cut-json": lambda _fault, _request, answer: answer().cut(),
            # An endless delay ends when the client disconnects or the server stops.
            "hang": lambda fault, _, answer: replace(
                answer(), delay=math.inf if fault.seconds is None else fault.seconds
            ),
        }
    )

    kind: str
    _: KW_ONLY
    times: int | None = None
    probability: float = 1.0
    method: str | None = None
    ids: Collection[int] | None = None
    more_than: int | None = None
    status: int | None = None
    retry_after: int | None = None
    location: str | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        kinds = [*self.on_request, *self.on_command, *SYSTEM_ERRORS]
        if self.kind not in kinds:
            raise ValueError(f"kind={self.kind!r} is not accepted; accepted are {', '.join(kinds)}")

    def effect_on(self, scope: Scope) -> Effect | None:
        """Return its effect on commands or requests; None if it does not affect them."""
        if self.kind in SYSTEM_ERRORS:
            # An error affects single commands only if the fault selects them by ids or method.
            narrow = self.ids is not None or self.method not in (None, "batch")
            return _refuse if narrow == (scope == "command") else None
        return (self.on_command if scope == "command" else self.on_request).get(self.kind)

    def matches(self, target: Target) -> bool:
        """Return whether it may affect a call or request."""
        return (
            self.method in (None, target.method)
            and (self.ids is None or any(i in self.ids for i in target.ids))
            and (self.more_than is None or len(target.commands) > self.more_than)
        )


class Faults(list[Fault]):
    """The faults of a server, in the order in which they are tried; only appended and cleared.

    At most one affects a request, and one a command.

    Parameters
    ----------
    seed : int
        The seed of their probabilities.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._counts: Counter[object] = Counter()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            super().clear()
            self._counts.clear()

    def apply(self, scope: Scope, target: Target, answer: Callable[[], T]) -> T:
        """Return the answer to a command or request, after the first fault that affects it."""
        for place, fault in enumerate(list(self)):
            effect = fault.effect_on(scope)
            if effect is not None and fault.matches(target) and self._happens(place, fault, target):
                answered: T = effect(fault, target, answer)
                return answered
        return answer()

    def _happens(self, place: int, fault: Fault, target: Target) -> bool:
        """Return whether a fault that matches occurs now, and count it."""
        with self._lock:
            if self._counts[place] == fault.times:
                return False
            if fault.probability < 1:
                # Drawn per target, so that the result does not depend on the order of threads, and
                # per place: two equal faults are drawn independently.
                what = (target.method, target.commands, tuple(target.ids))
                self._counts[place, what] += 1
                key = f"{self._seed}:{place}:{what}:{self._counts[place, what]}"
                if Random(key).random() >= fault.probability:
                    return False
            self._counts[place] += 1
            return True

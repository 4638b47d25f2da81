"""Faults of the practice portal: what they are, when they happen, and what they do.

A fault strikes single commands, in a batch or not, or whole HTTP requests. What it then does is its
effect: a function of the fault, what it strikes, and a function that returns the right answer.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler
from random import Random
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NoReturn, Protocol, TypeVar

from b24frames.practice.formats import load

SYSTEM_ERRORS: Mapping[str, tuple[int, str]] = MappingProxyType(load("system_errors"))
"""HTTP status and description of every code that any method may answer with [1]_."""

# What a proxy in front of a portal answers when the portal itself does not.
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
        Further headers, but for ``Content-Length``; those that are None are left out.
    delay : float
        How long the client is kept waiting for it [s].
    """

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, object] = field(default_factory=dict)
    delay: float = 0.0

    def cut(self) -> Reply:
        """Return it with half of its body."""
        return replace(self, body=self.body[: len(self.body) // 2])

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """Write the whole answer."""
        self.send_head(handler)
        handler.wfile.write(self.body)

    def send_head(self, handler: BaseHTTPRequestHandler) -> None:
        """Write the status line and the headers."""
        handler.send_response(self.status)
        headers = {"Content-Type": self.content_type, "Content-Length": len(self.body)}
        for name, value in {**headers, **self.headers}.items():
            if value is not None:
                handler.send_header(name, str(value))
        handler.end_headers()


class Refused(Exception):
    """A call that the portal refuses.

    Parameters
    ----------
    code : str
        The error code; often empty.
    description : str, optional
        What happened; of a system error, its usual description.
    status : int, optional
        HTTP status; of a system error, its documented one.
    retry_after : int, optional
        The header ``Retry-After`` of the answer to the request [s].
    """

    def __init__(
        self,
        code: str,
        description: str | None = None,
        *,
        status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        usual_status, usual_description = SYSTEM_ERRORS.get(code, (400, ""))
        text = usual_description if description is None else description
        self.answer = {"error": code, "error_description": text}
        self.status = status or usual_status
        self.retry_after = retry_after
        super().__init__(code, text)

    def reply(self) -> Reply:
        """Return the HTTP answer to a request that is refused."""
        headers = {"Retry-After": self.retry_after}
        return Reply(self.status, json.dumps(self.answer).encode(), headers=headers)


class Target(Protocol):
    """What a fault may strike: a call by itself or in a batch, or a whole HTTP request."""

    @property
    def method(self) -> str:
        """The REST method, in lower case."""

    @property
    def ids(self) -> Collection[int]:
        """The activities that it is about."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands of a batch."""


T = TypeVar("T")
Scope = Literal["command", "request"]
Effect = Callable[["Fault", Any, Callable[[], Any]], Any]
"""Returns what a command answers, as a dict, or the `Reply` to a request."""


def _refuse(fault: Fault, *_: object) -> NoReturn:
    raise Refused(fault.kind, status=fault.status, retry_after=fault.retry_after)


def _page(fault: Fault, status: int) -> Reply:
    headers = {"Retry-After": fault.retry_after}
    return Reply(fault.status or status, _GATEWAY_PAGE, _HTML, headers)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with the calls it matches.

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
        - ``unanswered``: no word about the command.

        An error code strikes requests; with `ids`, or with a `method` other than ``batch``, every
        such command, by itself or in a batch.
    times : int, optional
        How often it happens; by default for ever.
    probability : float, default 1.0
        How likely it is to happen.
    method : str, optional
        It happens only to this method; ``batch`` is one.
    ids : collection of int, optional
        It happens only where one of these activities is concerned: to a batch, when one of its
        commands is about one of them.
    more_than : int, optional
        It happens only to requests with more commands than this.
    status : int, optional
        HTTP status of ``html`` (502 by default) and ``empty`` (200), or of an error code in
        place of the documented one.
    retry_after : int, optional
        The header ``Retry-After`` of what stands in place of the answer [s].
    location : str, optional
        Scheme and host to which ``redirect`` points; the path stays.
    seconds : float, optional
        How long ``hang`` lasts before the right answer; by default until the client leaves [s].

    Attributes
    ----------
    on_command, on_request : mapping of str to callable
        The effects of the kinds that strike commands, and of those that strike requests. A
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
        """Return what it does to commands or requests, or None if it does not strike them."""
        if self.kind in SYSTEM_ERRORS:
            # An error strikes single commands where the fault says which: by ids or by method.
            narrow = self.ids is not None or self.method not in (None, "batch")
            return _refuse if narrow == (scope == "command") else None
        return (self.on_command if scope == "command" else self.on_request).get(self.kind)

    def matches(self, target: Target) -> bool:
        """Return whether it may happen to a call or request."""
        return (
            self.method in (None, target.method)
            and (self.ids is None or any(i in self.ids for i in target.ids))
            and (self.more_than is None or len(target.commands) > self.more_than)
        )


@dataclass
class _Entry:
    """A fault, how often it happened, and how often it was drawn for each target."""

    fault: Fault
    name: str
    used: int = 0
    drawn: Counter[object] = field(default_factory=Counter)

    def happens(self, target: Target) -> bool:
        """Return whether it happens now, and count it."""
        if self.used == self.fault.times or not self.fault.matches(target):
            return False
        if self.fault.probability < 1:
            # Drawn for each target separately: the order of the client's threads must not matter.
            what = (target.method, target.commands, tuple(target.ids))
            self.drawn[what] += 1
            draw = Random(f"{self.name}:{what}:{self.drawn[what]}").random()
            if draw >= self.fault.probability:
                return False
        self.used += 1
        return True


class Faults:
    """The faults of a server, in the order in which they are tried.

    At most one of them happens to a request, and one to a command.

    Parameters
    ----------
    seed : int
        What their probabilities are drawn from.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()

    def append(self, fault: Fault) -> None:
        """Add a fault."""
        with self._lock:
            self._entries.append(_Entry(fault, f"{self._seed}:{len(self._entries)}"))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Fault]:
        return iter([entry.fault for entry in self._entries])

    def apply(self, scope: Scope, target: Target, answer: Callable[[], T]) -> T:
        """Return the answer to a command or request, under the first fault that happens to it."""
        # The lock is free by now: the answer to a request asks for the faults of its commands.
        effect = self._take(scope, target)
        answered: T = answer() if effect is None else effect(target, answer)
        return answered

    def _take(self, scope: Scope, target: Target) -> Callable[..., Any] | None:
        with self._lock:
            for entry in self._entries:
                effect = entry.fault.effect_on(scope)
                if effect is not None and entry.happens(target):
                    return partial(effect, entry.fault)
        return None

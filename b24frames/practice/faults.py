"""What may go wrong between a portal and its client: the portal's errors, and faults on demand.

A fault acts at one of four places: on a command, in place of the answer to a request, on that
answer, or on the way it is sent. This module says which kinds there are and when one happens;
`effects` says what then happens.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from random import Random
from types import MappingProxyType
from typing import Protocol

SYSTEM_ERRORS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "INTERNAL_SERVER_ERROR": (500, "Internal server error"),
        "ERROR_UNEXPECTED_ANSWER": (500, "Server returned an unexpected response"),
        "QUERY_LIMIT_EXCEEDED": (503, "Too many requests"),
        "OPERATION_TIME_LIMIT": (429, "Method is blocked due to operation time limit."),
        "ERROR_BATCH_METHOD_NOT_ALLOWED": (405, "Method is not allowed for batch usage"),
        "ERROR_BATCH_LENGTH_EXCEEDED": (400, "Max batch length exceeded"),
        "NO_AUTH_FOUND": (401, "Wrong authorization data"),
        "INVALID_REQUEST": (400, "Https required."),
        "OVERLOAD_LIMIT": (503, "REST API is blocked due to overload."),
        "ACCESS_DENIED": (403, "REST API is available only on commercial plans."),
        "INVALID_CREDENTIALS": (403, "Invalid request credentials"),
        "ERROR_MANIFEST_IS_NOT_AVAILABLE": (404, "Manifest is not available"),
        "ERROR_METHOD_NOT_FOUND": (404, "Method not found!"),
        "insufficient_scope": (
            403,
            "The request requires higher privileges than provided by the webhook token",
        ),
        "expired_token": (401, "The access token provided has expired."),
        "user_access_error": (403, "The user does not have access to the application."),
        "PORTAL_DELETED": (500, "The public part of the site is closed."),
    }
)
"""HTTP status and description of every code that any method may answer with [1]_."""


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
    """

    def __init__(
        self, code: str, description: str | None = None, status: int | None = None
    ) -> None:
        usual_status, usual_description = SYSTEM_ERRORS.get(code, (400, ""))
        self.code = code
        self.description = usual_description if description is None else description
        self.status = status or usual_status
        super().__init__(self.code, self.description, self.status)

    def answer(self) -> dict[str, str]:
        """Return the error as the portal writes it."""
        return {"error": self.code, "error_description": self.description}


class Place(Enum):
    """Where a fault acts."""

    COMMAND = "on a command"
    INSTEAD = "in place of the answer"
    ANSWER = "on the answer"
    SENDING = "on the way it is sent"


KINDS: Mapping[str, Place] = MappingProxyType(
    {
        "empty-error": Place.COMMAND,
        "unanswered": Place.COMMAND,
        "other-record": Place.COMMAND,
        "surrogate": Place.COMMAND,
        "bad-bytes": Place.COMMAND,
        "html": Place.INSTEAD,
        "empty": Place.INSTEAD,
        "redirect": Place.INSTEAD,
        "batch-timeout": Place.INSTEAD,
        "cut-json": Place.ANSWER,
        "wrong-type": Place.ANSWER,
        "gzip": Place.ANSWER,
        "maps-as-list": Place.ANSWER,
        "bom": Place.ANSWER,
        "truncated": Place.SENDING,
        "reset": Place.SENDING,
        "close": Place.SENDING,
        "hang": Place.SENDING,
        "drip": Place.SENDING,
    }
)
"""Where each kind acts, besides the error codes of the REST API."""


class Target(Protocol):
    """What a fault may happen to: a call by itself or in a batch, or a whole HTTP request."""

    @property
    def method(self) -> str:
        """The REST method, in lower case."""

    @property
    def ids(self) -> Collection[int]:
        """The activities that it is about."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands of a batch."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with the calls it matches.

    Parameters
    ----------
    kind : str
        An error code of the REST API, or one of

        - on a command: ``empty-error``, ``unanswered`` (no word about the command),
          ``other-record``, ``surrogate`` (half a character in SUBJECT), ``bad-bytes`` (SUBJECT is
          not UTF-8);
        - in place of the answer: ``html`` (a gateway's page), ``empty``, ``redirect``,
          ``batch-timeout`` (a gateway's page, HTTP 504);
        - on the answer: ``cut-json``, ``wrong-type``, ``gzip``, ``maps-as-list``,
          ``bom`` (a byte order mark comes first);
        - on the way it is sent: ``truncated``, ``reset``, ``close``, ``hang``, ``drip``.

        An error code acts in place of the answer; with `ids`, or with a `method` other than
        ``batch``, on every such command, by itself or in a batch.
    times : int, optional
        How often it happens; by default for ever.
    probability : float, default 1.0
        How likely it is to happen to what it matches.
    method : str, optional
        The only method that it happens to: of the command, or else of the HTTP request.
    ids : collection of int, optional
        The only activities that it happens to; to a request, when one of its commands is about
        one of them.
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
        How long ``hang`` lasts before the right answer (by default until the client leaves), and
        over how long ``drip`` spreads it (0.1 by default) [s].

    Raises
    ------
    ValueError
        There is no such kind.
    """

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
        if self.kind not in KINDS and self.kind not in SYSTEM_ERRORS:
            known = ", ".join([*KINDS, *SYSTEM_ERRORS])
            raise ValueError(f"kind={self.kind!r} is not accepted; accepted are {known}")

    @property
    def place(self) -> Place:
        """Where it acts."""
        if self.kind in SYSTEM_ERRORS:
            narrow = self.ids is not None or self.method not in (None, "batch")
            return Place.COMMAND if narrow else Place.INSTEAD
        return KINDS[self.kind]

    def refusal(self) -> Refused | None:
        """Return the error that it is, if it is one."""
        if self.kind == "empty-error":
            return Refused("", "", self.status)
        return Refused(self.kind, status=self.status) if self.kind in SYSTEM_ERRORS else None

    def matches(self, target: Target) -> bool:
        """Tell whether it may happen to a call or request."""
        return (
            self.method in (None, target.method)
            and (self.ids is None or any(i in self.ids for i in target.ids))
            and (self.more_than is None or len(target.commands) > self.more_than)
        )


@dataclass
class _Entry:
    """A fault of a server, and what it has done: how often it happened, and was to be drawn."""

    fault: Fault
    name: str
    used: int = 0
    drawn: Counter[object] = field(default_factory=Counter)

    def happens(self, target: Target) -> bool:
        """Draw whether it happens, by what it would happen to and how often that was asked for.

        So that the same calls meet the same fate, however their threads overtake each other.
        """
        what = (target.method, target.commands, tuple(target.ids))
        self.drawn[what] += 1
        draw = Random(f"{self.name}:{what}:{self.drawn[what]}").random()
        return draw < self.fault.probability


class Faults:
    """The faults of a server, in the order in which they are tried.

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

    def take(self, place: Place, target: Target) -> Fault | None:
        """Return the first fault that happens now, and count it."""
        with self._lock:
            for entry in self._entries:
                fault = entry.fault
                if (
                    fault.place is place
                    and (fault.times is None or entry.used < fault.times)
                    and fault.matches(target)
                    and (fault.probability >= 1 or entry.happens(target))
                ):
                    entry.used += 1
                    return fault
            return None

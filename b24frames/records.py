"""The results of a read: its records and report, and its view of the cache.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import SEEK_END
from typing import Any, BinaryIO, Protocol

from b24frames.cache import ACTIVITY_METHOD, MISSING_AGE, ActivityCache, Lookup
from b24frames.credentials import redact_addresses, scrub_traceback
from b24frames.errors import CacheError, CacheWarning, InvalidAnswerError, PortalError
from b24frames.ids import GREATEST_ID
from b24frames.messages import facts_html, facts_text, one_line, warn_at_caller
from b24frames.portal import Portal, as_portal
from b24frames.portal.commands import Command
from b24frames.portal.scheduler import Run
from b24frames.serialization import encode_record

GET, LIST = "crm.activity.get", "crm.activity.list"
# The documented size of a page of the list [2]_.
PAGE = 50
# Providers whose activities the list returns and get refuses.
_REFUSED_BY_GET = ("CONFIGURABLE_REST_APP",)

Records = MutableMapping[int, bytes]
"""The JSON text of records by activity id: in a dict, or in a file if they may be too many."""


class SpooledRecords(UserDict[int, Any]):
    """Records kept in a file, so that any number of them takes little memory.

    What is removed stays in the file, which lasts no longer than the read.

    Parameters
    ----------
    file : binary file
        Open for reading and writing; the caller closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()  # `data` has the place of each
        self._file = file

    def __getitem__(self, key: int) -> bytes:
        start, length = self.data[key]
        self._file.seek(start)
        return self._file.read(length)

    def __setitem__(self, key: int, record: bytes) -> None:
        self.data[key] = (self._file.seek(0, SEEK_END), len(record))
        self._file.write(record)


@dataclass
class ReadReport:
    """What a read did, and what it did not find.

    Attributes
    ----------
    requested, from_cache, fetched : int
        The number of distinct ids, of those found in the cache, and of those from the portal.
    http_requests : int
        The number of HTTP requests sent.
    cache_age : float
        The age of the oldest record from the cache [s].
    missing : dict of int to str
        The ids without a record, in the order given, each with its reason.
    stale : list of int
        Ids whose record is older than `max_age`, since the portal was out of reach.
    read_at : str
        When, ISO 8601 in UTC.
    portal_time : str
        When, by the portal's own clock, it began to answer.
    """

    requested: int = 0
    from_cache: int = 0
    fetched: int = 0
    http_requests: int = 0
    cache_age: float = 0.0
    missing: dict[int, str] = field(default_factory=dict)
    stale: list[int] = field(default_factory=list)
    read_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    portal_time: str = ""


@dataclass(repr=False)
class SyncReport:
    """What a sync has changed.

    Attributes
    ----------
    added, changed, gone, unchanged : int
        How many rows were added, rewritten and removed, and how many stayed as they were.
    http_requests : int
        How many HTTP requests were sent.
    seconds : float
        How long it took [s].
    """

    added: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0
    http_requests: int = 0
    seconds: float = 0.0

    def _facts(self) -> list[tuple[str, str]]:
        facts = {name.replace("_", " "): f"{value:,}" for name, value in asdict(self).items()}
        if self.gone:
            facts["gone"] += " (deleted, no longer visible to this user, or no longer matching)"
        return list(facts.items())

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _repr_html_(self) -> str:
        return facts_html(self._facts())


class Entries:
    """The cache as seen by one read: if it fails, the read goes on without it."""

    def __init__(self, cache: ActivityCache | None, portal: Portal) -> None:
        self._cache = self._given = cache
        self._portal = portal
        self._error: CacheError | None = None

    def read(
        self,
        ids: Iterable[int],
        max_age: float | None,
        missing_age: float | None = MISSING_AGE,
        method: str = ACTIVITY_METHOD,
    ) -> Lookup:
        """Return the entries of the ids; none without a cache."""
        if self._cache is not None:
            try:
                return self._cache.read(self._portal, ids, max_age, missing_age, method=method)
            # Set to None, so that a broken cache is tried and reported once, not per request.
            except CacheError as error:
                self._cache, self._error = None, error
        return Lookup()

    def write(
        self,
        found: Mapping[int, bytes],
        missing: Mapping[int, str],
        method: str = ACTIVITY_METHOD,
    ) -> None:
        """Store the records and the missing ids of one request."""
        if self._cache is not None and (found or missing):
            try:
                self._cache.write(self._portal, found, missing, method=method)
            except CacheError as error:
                self._cache, self._error = None, error

    def warn(self) -> None:
        """Warn if the cache was damaged or has failed."""
        warnings = self._given.take_warnings() if self._given is not None else []
        if self._error is not None:
            warnings.append(f"{self._error}; this read goes on without it")
        if warnings:
            warn_at_caller("; ".join(warnings), CacheWarning)


class HasAttrs(Protocol):
    """A frame or a Series."""

    attrs: dict[Any, Any]


@scrub_traceback
def portal_of(frame: HasAttrs, portal: Portal | str | None) -> Portal:
    """Return the portal that a frame was read from.

    Parameters
    ----------
    frame : HasAttrs
        Has the portal and the user in ``attrs["b24"]``.
    portal : Portal, str or None
        That portal; None for the one of ``B24_WEBHOOK_URL``.

    Raises
    ------
    ValueError
        The frame is of another portal or user, or has neither and no portal was given.
    """
    facts = frame.attrs.get("b24")
    known = facts if isinstance(facts, Mapping) else {}
    source = known.get("portal"), known.get("user_id")
    if portal is None and None in source:
        raise ValueError(
            "this frame does not say which portal and user it was read from: an operation has "
            "dropped df.attrs['b24']; name the portal, such as portal=b24frames.Portal(url)"
        )
    # Rebound, so that no traceback shows the webhook URL that was given.
    portal = as_portal(portal)
    given = portal.address, portal.user_id
    if any(is_of not in (None, asked) for is_of, asked in zip(source, given, strict=True)):
        was = redact_addresses(one_line(f"{source[0]}, user {source[1]}"))
        raise ValueError(
            f"this frame was read from {was}, and the portal to ask is {given[0]}, user "
            f"{given[1]}: an id is another activity there, or not visible"
        )
    return portal


def rows_of(answer: Any) -> list[Any] | None:
    """Return the rows of a page; None: it is none."""
    rows = list(answer.values()) if isinstance(answer, dict) else answer
    return rows if isinstance(rows, list) else None


def id_of(record: object) -> int | None:
    """Return the activity id in a record; None if there is none, 0 if it is invalid."""
    if not isinstance(record, dict) or record.get("ID") in (None, ""):
        return None
    value = record["ID"]
    # Some servers write 15 as 15.0 or "15.0".
    digits = str(value).removesuffix(".0")
    is_id = digits.isascii() and digits.isdigit() and len(digits) < 20
    return int(digits) if is_id and not isinstance(value, bool) else 0


def id_bounds(after: int, last: int) -> dict[str, int]:
    """Return the portal's filter for ids after one and up to another."""
    lowest = {">ID": after} if after > 0 else {}
    return lowest | ({"<=ID": last} if last < GREATEST_ID else {})


def accept(run: Run, name: str, command: Command, answer: object, problem: str) -> bool:
    """Return whether an answer is right; a wrong one is asked for again, or raises.

    Parameters
    ----------
    run : Run
        The run that the answer is of.
    name, command : str, Command
        What it answers.
    answer : object
        The answer.
    problem : str
        What is wrong with it; empty where it is right.

    Raises
    ------
    PortalError
        The answer.
    InvalidAnswerError
        It is still wrong.
    """
    if isinstance(answer, PortalError):
        raise answer
    if problem and not run.reject(name, command):
        raise InvalidAnswerError(f"the portal lists {problem}", method=command[0])
    return not problem


def is_given_by_get(record: Mapping[str, Any]) -> bool:
    """Return whether `crm.activity.get` returns a record of the list, too."""
    return record.get("PROVIDER_ID") not in _REFUSED_BY_GET


def encode_listed(record: Mapping[str, Any], i: int) -> bytes:
    """Return a record of a list as a line, as get gives it: FILES only where there are any."""
    as_got = {**record, "ID": str(i)}
    if not as_got.get("FILES", True):
        del as_got["FILES"]
    return encode_record(as_got)

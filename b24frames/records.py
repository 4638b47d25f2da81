"""From ids to records: the cache first, the portal for the rest, the missing ones named.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import SEEK_END
from itertools import chain
from typing import Any, BinaryIO, Literal, TypeGuard

from b24frames.arguments import ProgressBar
from b24frames.cache import MISSING_AGE, ActivityCache, Lookup
from b24frames.errors import (
    ActivityNotFoundError,
    ActivityRefusedError,
    CacheError,
    CacheWarning,
    InvalidAnswerError,
    MethodsDifferWarning,
    OperatingTimeError,
    PortalError,
    RateLimitError,
    StaleDataWarning,
)
from b24frames.ids import chunks
from b24frames.messages import name_some, short_repr, warn_at_caller
from b24frames.portal import Portal
from b24frames.portal.commands import MAX_COMMANDS, Command, CommandQueue
from b24frames.schema import COLUMNS
from b24frames.serialization import decode_record, encode_record

PAGE = 50
_PROBE = "probe"
_GET, _LIST = "crm.activity.get", "crm.activity.list"
_IDS_AT_ONCE = 2_500
_MANY = 5_000
_NOT_CACHED = "not in the cache"
_TOO_OLD = "in the cache, but older than max_age"
_NOT_FOUND = "not found, or not visible to this user"
# What the list returns and get does not: both are to give the same frame.
_REFUSED_BY_GET = ("CONFIGURABLE_REST_APP",)

Records = MutableMapping[int, bytes]
"""The JSON text of records by activity id: a dict, or where they are too many, a file."""

Via = Literal["get", "list"]


class SpooledRecords(Records):
    """Records kept in a file, so that any number of them takes little memory.

    Parameters
    ----------
    file : binary file
        Open for reading and writing; the caller's to close.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: dict[int, tuple[int, int]] = {}

    def __getitem__(self, key: int) -> bytes:
        start, length = self._places[key]
        self._file.seek(start)
        return self._file.read(length)

    def __setitem__(self, key: int, record: bytes) -> None:
        self._places[key] = (self._file.seek(0, SEEK_END), len(record))
        self._file.write(record)

    def __delitem__(self, key: int) -> None:
        del self._places[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass
class ReadReport:
    """What a read did, and could not do.

    Attributes
    ----------
    requested, from_cache, fetched : int
        How many distinct ids were asked for, were in the cache, and came from the portal.
    http_requests : int
        How many HTTP requests were sent.
    cache_age : float
        How long ago the portal was asked for the oldest record from the cache [s].
    missing : dict of int to str
        The ids without a record, in the order asked for, each with its reason.
    stale : list of int
        Ids whose record is older than asked for, because the portal was out of reach.
    read_at : str
        When, ISO 8601 in UTC.
    """

    requested: int = 0
    from_cache: int = 0
    fetched: int = 0
    http_requests: int = 0
    cache_age: float = 0.0
    missing: dict[int, str] = field(default_factory=dict)
    stale: list[int] = field(default_factory=list)
    read_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True)
class Freshness:
    """Which cache entries to accept.

    Attributes
    ----------
    max_age : float or None
        The oldest [s]; None: any age.
    only_if_cached : bool
        Never ask the portal.
    stale_if_error : bool
        Older ones too, when the portal is out of reach.
    """

    max_age: float | None = 3600.0
    only_if_cached: bool = False
    stale_if_error: bool = False


def fetch_records(
    ids: Sequence[int],
    portal: Portal,
    cache: ActivityCache | None,
    records: Records,
    freshness: Freshness,
    via: Via,
    bar: ProgressBar,
) -> ReadReport:
    """Put the record of every id into `records` and report those that have none.

    Parameters
    ----------
    ids : sequence of int
        Distinct activity ids.
    portal : Portal
        Asked for what is not in the cache; every answer is cached before it is passed on.
    cache : ActivityCache or None
        Where entries are kept; None: nowhere.
    records : mutable mapping of int to bytes
        Filled with the JSON text of each record.
    freshness : Freshness
        Which cache entries to accept.
    via : {"get", "list"}
        The method that brings the rest: ``crm.activity.get`` [1]_, 50 ids a request, or
        ``crm.activity.list`` [2]_, 2 500 ids a request.
    bar : ProgressBar
        What it raises ends the read.

    Raises
    ------
    PortalError
        The portal refused or was out of reach; what had been received is in the cache.
    """
    read = _Read(portal, _Entries(cache, portal), records, bar, ReadReport(requested=len(ids)))
    report = read.report
    try:
        rest = read.take_cached(ids, freshness)
        if via == "get" and len(rest) >= _MANY:
            by_get, by_list = -(-len(rest) // MAX_COMMANDS), -(-len(rest) // (PAGE * MAX_COMMANDS))
            bar.set_postfix_str(f'via="list" would take {by_list} requests in place of {by_get:,}')
        try:
            read.fetch(rest, via)
        except PortalError as error:
            if not (freshness.stale_if_error and error.retryable):
                raise
            rest = [i for i in rest if i not in records and i not in report.missing]
            read.take_stale(rest, error)
    finally:
        read.entries.warn()
    report.missing = {i: report.missing[i] for i in ids if i in report.missing}
    return report


class _Entries:
    """The cache as seen from one read: when it fails, the read goes on without it."""

    def __init__(self, cache: ActivityCache | None, portal: Portal) -> None:
        self._cache = self._given = cache
        self._portal = portal
        self._error: CacheError | None = None

    def read(
        self, ids: Iterable[int], max_age: float | None, missing_age: float | None = MISSING_AGE
    ) -> Lookup:
        """Return what the cache knows; nothing where there is none."""
        if self._cache is not None:
            try:
                return self._cache.read(self._portal, ids, max_age, missing_age)
            except CacheError as error:
                self._cache, self._error = None, error
        return Lookup()

    def write(self, found: Mapping[int, bytes], missing: Mapping[int, str]) -> None:
        """Keep what one request brought."""
        if self._cache is not None and (found or missing):
            try:
                self._cache.write(self._portal, found, missing)
            except CacheError as error:
                self._cache, self._error = None, error

    def warn(self) -> None:
        """Tell the caller when the cache was damaged or has failed."""
        warnings = self._given.take_warnings() if self._given is not None else []
        if self._error is not None:
            warnings.append(f"{self._error}; this read goes on without it")
        if warnings:
            warn_at_caller("; ".join(warnings), CacheWarning)


@dataclass
class _Read:
    """One read under way: from the cache and the portal into records and report."""

    portal: Portal
    entries: _Entries
    records: Records
    bar: ProgressBar
    report: ReadReport
    ids: Sequence[int] = ()
    held: dict[str, Any] | None = None  # answers of the list, before it has been compared
    differences: Sequence[str] = ()
    refusal: PortalError | None = None  # of one id: it counts for all where none is answered

    def take_cached(self, ids: Sequence[int], freshness: Freshness) -> list[int]:
        """Take what is in the cache and fresh; return the ids to ask the portal for."""
        rest: list[int] = []
        for block in chunks(ids, _IDS_AT_ONCE):
            hits = self.entries.read(block, freshness.max_age)
            self._take(hits)
            misses = [i for i in block if i not in hits.records and i not in hits.missing]
            if freshness.only_if_cached:
                too_old = set(hits.too_old)
                reasons = {i: _TOO_OLD if i in too_old else _NOT_CACHED for i in misses}
                self.report.missing |= reasons
                misses = []
            rest += misses
            self.bar.update(len(block) - len(misses))
        return rest

    def take_stale(self, ids: Sequence[int], error: PortalError) -> None:
        """Take entries of any age for all ids, or raise the error where one has none."""
        hits = self.entries.read(ids, max_age=None, missing_age=None)
        if any(i not in hits.records and i not in hits.missing for i in ids):
            raise error
        self._take(hits)
        self.report.stale = [i for i in ids if i in hits.records]
        warn_at_caller(
            f"the portal is out of reach ({error}); older cache entries stand in for "
            f"{len(self.report.stale)} of the activities: {name_some(self.report.stale)}",
            StaleDataWarning,
        )

    def _take(self, hits: Lookup) -> None:
        self.records.update(hits.records)
        self.report.from_cache += len(hits.records)
        self.report.cache_age = max(self.report.cache_age, hits.age)
        self.report.missing |= hits.missing

    def fetch(self, ids: Sequence[int], via: Via) -> None:
        """Ask the portal for activities, and keep what each request brings.

        By list, the first request gets one of them, too: where the two methods do not agree the
        read goes on by get. All pages are asked for at once; what comes before is held back.
        """
        self.ids = ids
        commands: Iterable[tuple[str, Command]] = ((f"a{i}", (_GET, {"id": i})) for i in ids)
        if via == "list" and ids:
            self.held = {}
            starts = range(0, len(ids), PAGE)
            pages = ((f"p{start}", _list(ids[start : start + PAGE])) for start in starts)
            commands = chain([(_PROBE, (_GET, {"id": ids[0]}))], pages)
        self.queue = CommandQueue(commands)
        self.run = self.portal.run(self.queue)
        waiting = ""
        try:
            for answers in self.run:
                self._keep(answers)
                if self.differences:
                    break
                if self.run.waiting != waiting:
                    waiting = self.run.waiting
                    self.bar.set_postfix_str(waiting)
        except BaseException:
            self._keep(self.run.drain())
            raise
        finally:
            self.report.http_requests += self.run.requests
        if self.differences:
            warn_at_caller(
                f"{_LIST} and {_GET} do not agree on activity {ids[0]} "
                f"({name_some(self.differences)}); the read goes on by get",
                MethodsDifferWarning,
            )
            self.differences, self.held = (), None
            self.fetch(ids, "get")
        elif self.refusal is not None and not self.report.fetched:
            raise self.refusal

    def _keep(self, answers: dict[str, Any]) -> None:
        """Read the answers of a request, cache them, and take them into the result."""
        if self.held is not None:
            self.held |= answers
            if not {_PROBE, "p0"} <= self.held.keys():
                return
            answers = self.held
            self.differences = _differences(answers.pop(_PROBE), answers["p0"], self.ids[0])
            if self.differences:
                return
            self.held = None
        brought = _Brought()
        for name, answer in answers.items():
            if name.startswith("a"):
                self._read_got(int(name[1:]), answer, brought)
            elif name != _PROBE:
                self._read_page(int(name[1:]), answer, brought)
        self.entries.write(brought.found, brought.missing)
        self.records.update(brought.found)
        self.report.fetched += len(brought.found)
        self.report.missing |= brought.missing | brought.odd
        self.bar.update(len(brought.found) + len(brought.missing) + len(brought.odd))
        if brought.failure is not None:
            raise brought.failure

    def _read_got(self, i: int, answer: object, brought: _Brought) -> None:
        """Read the answer to one `crm.activity.get`."""
        if _is_record_of(answer, i):
            brought.found[i] = encode_record({**answer, "ID": str(i)})
        elif isinstance(answer, ActivityNotFoundError):
            brought.missing[i] = f"{_NOT_FOUND} ({answer.description})"
        elif isinstance(answer, PortalError):
            words = answer.description or answer.code or "without a reason"
            is_final = isinstance(answer, ActivityRefusedError)
            reasons = brought.missing if is_final else brought.odd
            reasons[i] = f"refused by the portal ({words})"
            if _concerns_all(answer):
                answer.description = f"{answer.description} (activity {i})"
                brought.failure = answer
            elif not isinstance(answer, (ActivityRefusedError, InvalidAnswerError)):
                self.refusal = answer
        elif not self.run.reject(f"a{i}", (_GET, {"id": i})):
            brought.odd[i] = f"the portal answers with {_described(answer)} in place of its record"

    def _read_page(self, start: int, answer: Any, brought: _Brought) -> None:
        """Read a page of `crm.activity.list`; what is not in an odd one is got one by one."""
        page = self.ids[start : start + PAGE]
        if isinstance(answer, PortalError) and _concerns_all(answer):
            brought.failure = answer
            return
        records = answer.values() if isinstance(answer, dict) else answer
        wanted = set(page)
        is_odd = not isinstance(answer, (dict, list))
        for record in () if is_odd else records:
            if (i := _id_of(record)) not in wanted:
                is_odd = True
            elif record.get("PROVIDER_ID") in _REFUSED_BY_GET:
                brought.missing[i] = f"refused by the portal ({_GET} does not give it)"
            else:
                # As get gives it: FILES only where there are any.
                record = {n: value for n, value in record.items() if value or n != "FILES"}
                brought.found[i] = encode_record({**record, "ID": str(i)})
        for i in page:
            if i not in brought.found and i not in brought.missing:
                if is_odd:
                    self.queue.append(f"a{i}", (_GET, {"id": i}))
                else:
                    brought.missing[i] = _NOT_FOUND


@dataclass
class _Brought:
    """What one request brought: records, and reasons for missing ones."""

    found: dict[int, bytes] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    odd: dict[int, str] = field(default_factory=dict)  # reasons that are not remembered
    failure: PortalError | None = None  # that of all others, too


def _list(page: Sequence[int]) -> Command:
    return _LIST, {"filter": {"@ID": page}, "select": ["*", "FILES"], "start": -1}


def _concerns_all(error: PortalError) -> bool:
    """Return whether an error is not that of the one command that it refused."""
    return error.ends_all or isinstance(error, (RateLimitError, OperatingTimeError))


def _described(answer: object) -> str:
    """Return what was answered in place of a record."""
    number = _id_of(answer)
    return f"the record of activity {number}" if number else short_repr(answer)


def _differences(got: object, listed: Any, i: int) -> Sequence[str]:
    """Return the fields in which a record that was got is not as it was listed."""
    for answer in (got, listed):
        if isinstance(answer, PortalError) and (answer.retryable or answer.ends_all):
            raise answer
    if isinstance(listed, PortalError):
        raise listed
    records = listed.values() if isinstance(listed, dict) else listed
    found = [record for record in records if _id_of(record) == i]
    if found and found[0].get("PROVIDER_ID") in _REFUSED_BY_GET:
        found = []
    if not _is_record_of(got, i):
        return ["only in the list"] if found and isinstance(got, PortalError) else []
    if not found:
        return ["not in the list"]
    left, right = (decode_record(encode_record(r)) for r in (got, found[0]))
    return [name for name in COLUMNS if left.get(name) != right.get(name)]


def _is_record_of(answer: object, i: int) -> TypeGuard[dict[str, Any]]:
    """Return whether an answer is the record of an activity; it may lack its id."""
    if not isinstance(answer, dict):
        return False
    number = _id_of(answer)
    return number == i or (number is None and not answer.keys().isdisjoint(COLUMNS))


def _id_of(record: object) -> int | None:
    """Return the activity id that a record says it has; None: it says none, 0: it is no id."""
    if not isinstance(record, dict) or record.get("ID") in (None, ""):
        return None
    value = record["ID"]
    # "15.0" and 15.0, as some servers write 15; of a number, too.
    digits = str(value).removesuffix(".0")
    is_id = digits.isascii() and digits.isdigit() and len(digits) < 20
    return int(digits) if is_id and not isinstance(value, bool) else 0

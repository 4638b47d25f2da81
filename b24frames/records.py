"""From ids to records: the cache first, the portal for the rest, the missing ones named.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import SEEK_END
from itertools import islice
from queue import SimpleQueue
from typing import Any, BinaryIO, Literal

from b24frames.cache import MISSING_AGE, ActivityCache, Hits
from b24frames.errors import (
    ActivityNotFoundError,
    ActivityRefusedError,
    CacheError,
    CacheWarning,
    InvalidAnswerError,
    MethodsDifferWarning,
    PortalError,
    StaleDataWarning,
)
from b24frames.messages import name_some, warn_at_caller
from b24frames.portal import Portal
from b24frames.portal.calls import MAX_COMMANDS, Command, Watch
from b24frames.portal.limits import MAX_ATTEMPTS
from b24frames.schema import COLUMNS
from b24frames.serialization import decode_record, encode_record

_IDS_AT_ONCE = 2_500
_MANY = 5_000
_NOT_CACHED = "not in the cache"
_TOO_OLD = "in the cache, but older than max_age"

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
class Reading:
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
    via: Via = "get",
    on_progress: Callable[[int], object] = lambda _: None,
    on_message: Callable[[str], object] = lambda _: None,
) -> Reading:
    """Put the record of every id into `records` and tell of those that have none.

    Parameters
    ----------
    ids : sequence of int
        Distinct activity ids.
    portal : Portal
        Asked for what is not in the cache; every answer is cached before the next request.
    cache : ActivityCache or None
        Where entries are kept; None: nowhere.
    records : mutable mapping of int to bytes
        Filled with the JSON text of each record.
    freshness : Freshness
        Which cache entries to accept.
    via : {"get", "list"}
        The method that brings the rest: ``crm.activity.get``, 50 ids a request, or
        ``crm.activity.list``, 2 500 ids a request; what the list leaves out is got.
    on_progress : callable
        Told how many more ids are settled; 0 now and then while answers are awaited. What it
        raises ends the read.
    on_message : callable
        Told in words, by any thread, why the portal is not asked for a while, and the like.

    Returns
    -------
    Reading

    Raises
    ------
    PortalError
        The portal refused or was out of reach; what had been received is in the cache.
    """
    reading = Reading(requested=len(ids))
    entries = _Entries(cache, portal)
    rest = _take_cached(ids, entries, freshness, records, reading, on_progress)
    requests: SimpleQueue[None] = SimpleQueue()
    watch = Watch(lambda: requests.put(None), on_message, lambda: on_progress(0))
    if via == "get" and len(rest) >= _MANY:
        by_get, by_list = -(-len(rest) // MAX_COMMANDS), -(-len(rest) // (PAGE * MAX_COMMANDS))
        on_message(f'via="list" would take {by_list} requests in place of {by_get:,}')
    try:
        for found, missing in _ask(portal, rest, via, entries, watch):
            records.update(found)
            reading.fetched += len(found)
            reading.missing |= missing
            on_progress(len(found) + len(missing))
    except PortalError as error:
        if not (freshness.stale_if_error and error.retryable):
            raise
        rest = [i for i in rest if i not in records and i not in reading.missing]
        _take_stale(rest, entries, records, reading, error)
    finally:
        entries.warn()
    reading.http_requests = requests.qsize()
    reading.missing = {i: reading.missing[i] for i in ids if i in reading.missing}
    return reading


class _Entries:
    """The cache as seen from one read: when it fails, the read goes on without it."""

    def __init__(self, cache: ActivityCache | None, portal: Portal) -> None:
        self._cache = self._given = cache
        self._portal = portal
        self._error: CacheError | None = None

    def read(
        self, ids: Iterable[int], max_age: float | None, missing_age: float | None = MISSING_AGE
    ) -> Hits:
        """Return what the cache knows; nothing where there is none."""
        cache = self._cache  # of which another thread may find that it fails
        if cache is not None:
            try:
                return cache.read(self._portal, ids, max_age, missing_age)
            except CacheError as error:
                self._cache, self._error = None, error
        return Hits()

    def write(self, found: Mapping[int, bytes], missing: Mapping[int, str]) -> None:
        """Keep what one request brought; called by the threads that received it."""
        cache = self._cache
        if cache is not None:
            try:
                cache.write(self._portal, found, missing)
            except CacheError as error:
                self._cache, self._error = None, error

    def warn(self) -> None:
        """Tell the caller when the cache was damaged or has failed."""
        notices = self._given.take_notices() if self._given is not None else []
        if self._error is not None:
            notices.append(f"{self._error}; this read goes on without it")
        if notices:
            warn_at_caller("; ".join(notices), CacheWarning)


def _take_cached(
    ids: Sequence[int],
    entries: _Entries,
    freshness: Freshness,
    records: Records,
    reading: Reading,
    on_progress: Callable[[int], object],
) -> list[int]:
    """Take what is in the cache and fresh; return the ids to ask the portal for."""
    rest: list[int] = []
    for start in range(0, len(ids), _IDS_AT_ONCE):
        block = ids[start : start + _IDS_AT_ONCE]
        hits = entries.read(block, freshness.max_age)
        records.update(hits.records)
        reading.from_cache += len(hits.records)
        reading.cache_age = max(reading.cache_age, hits.age)
        reading.missing |= hits.missing
        misses = [i for i in block if i not in hits.records and i not in hits.missing]
        if freshness.only_if_cached:
            too_old = set(hits.too_old)
            reading.missing |= {i: _TOO_OLD if i in too_old else _NOT_CACHED for i in misses}
            misses = []
        rest += misses
        on_progress(len(block) - len(misses))
    return rest


def _ask(
    portal: Portal, ids: Sequence[int], via: Via, entries: _Entries, watch: Watch
) -> Iterator[Answered]:
    """Ask the portal, and keep each answer; yield what each request brought."""
    if via == "list":
        listed: set[int] = set()
        for answered in list_activities(portal, ids, entries.write, watch):
            listed |= answered[0].keys()
            yield answered
        ids = [i for i in ids if i not in listed]
    yield from get_activities(portal, ids, entries.write, watch)


def _take_stale(
    ids: Sequence[int],
    entries: _Entries,
    records: Records,
    reading: Reading,
    error: PortalError,
) -> None:
    """Take entries of any age for all ids, or raise the error where one has none."""
    hits = entries.read(ids, max_age=None, missing_age=None)
    if any(i not in hits.records and i not in hits.missing for i in ids):
        raise error
    records.update(hits.records)
    reading.from_cache += len(hits.records)
    reading.cache_age = max(reading.cache_age, hits.age)
    reading.missing |= hits.missing
    reading.stale = [i for i in ids if i in hits.records]
    warn_at_caller(
        f"the portal is out of reach ({error}); older cache entries stand in for "
        f"{len(reading.stale)} of the activities: {name_some(reading.stale)}",
        StaleDataWarning,
    )


PAGE = 50
_GET = "crm.activity.get"
_LIST = "crm.activity.list"
# What the list returns and get does not: both are to give the same frame.
_REFUSED_BY_GET = ("CONFIGURABLE_REST_APP",)

Answered = tuple[dict[int, bytes], dict[int, str]]
"""What one request brought: the JSON text of records by id, and the reasons for missing ones."""

Keep = Callable[[dict[int, bytes], dict[int, str]], None]
"""Keeps what one request brought, in the thread that received it."""


def get_activities(
    portal: Portal, ids: Sequence[int], keep: Keep, watch: Watch
) -> Iterator[Answered]:
    """Get the activities one by one, 50 in a request; a record of another id is asked for again."""

    def handle(answers: dict[str, Any]) -> Answered:
        found: dict[int, bytes] = {}
        missing: dict[int, str] = {}
        for name, answer in answers.items():
            asked = int(name[1:])
            if isinstance(answer, (ActivityNotFoundError, ActivityRefusedError)):
                missing[asked] = _reason(answer)
            elif isinstance(answer, PortalError):
                answer.description = f"{answer.description} (activity {asked})"
            elif isinstance(answer, dict) and _id_of(answer) in (asked, None):
                found[asked] = encode_record({**answer, "ID": answer.get("ID") or str(asked)})
        keep(found, missing)
        _raise_first(a for n, a in answers.items() if int(n[1:]) not in missing)
        return found, missing

    for _ in range(2 * MAX_ATTEMPTS):
        if not ids:
            return
        settled: set[int] = set()
        commands = ((f"a{i}", (_GET, {"id": i})) for i in ids)
        for found, missing in portal.iter_batches(commands, handle, watch):
            settled |= found.keys() | missing.keys()
            yield found, missing
        ids = [i for i in ids if i not in settled]
    raise InvalidAnswerError(
        f"the portal keeps answering with no record, or another, for the ids {name_some(ids)}",
        method=_GET,
    )


def list_activities(
    portal: Portal, ids: Sequence[int], keep: Keep, watch: Watch
) -> Iterator[Answered]:
    """List the activities, a page of 50 in each command.

    The first request carries a `crm.activity.get` too: where the two methods do not agree, nothing
    is taken from the list.
    """
    if not ids:
        return
    pages = (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
    commands: Iterator[tuple[str, Command]] = (
        (f"p{number}", (_LIST, {"filter": {"@ID": page}, "select": ["*", "FILES"], "start": -1}))
        for number, page in enumerate(pages)
    )
    asked = set(ids)

    def handle(answers: dict[str, Any]) -> Answered:
        found = _read_pages(answers.values(), asked)
        keep(found, {})
        _raise_first(answers.values())
        return found, {}

    first = dict(islice(commands, MAX_COMMANDS - 1))
    first["probe"] = (_GET, {"id": ids[0]})
    answers: dict[str, Any] = {}
    for part in portal.iter_batches(first.items(), lambda part: part, watch):
        answers |= part
    got = answers.pop("probe")
    differing = _differences(got, _read_pages(answers.values(), asked).get(ids[0]))
    if differing:
        warn_at_caller(
            f"{_LIST} and {_GET} do not agree on activity {ids[0]} ({name_some(differing)}); "
            "the read goes on by get",
            MethodsDifferWarning,
        )
        return
    yield handle(answers)
    yield from portal.iter_batches(commands, handle, watch)


def _read_pages(pages: Iterable[object], asked: set[int]) -> dict[int, bytes]:
    """Return the records of some pages that were asked for, and that get would give too."""
    found: dict[int, bytes] = {}
    for page in pages:
        records = page.values() if isinstance(page, dict) else page
        for record in records if isinstance(records, Iterable) else ():
            i = _id_of(record)
            if i in asked and record.get("PROVIDER_ID") not in _REFUSED_BY_GET:
                found[i] = encode_record(_as_got(record))
    return found


def _raise_first(answers: Iterable[object]) -> None:
    """Raise the first error among some answers."""
    for answer in answers:
        if isinstance(answer, PortalError):
            raise answer


def _differences(got: object, listed: bytes | None) -> list[str]:
    """Return the fields in which the record that was got is not the one that was listed."""
    if isinstance(got, PortalError) and got.retryable:
        raise got
    if not isinstance(got, dict):
        return [] if listed is None else ["only in the list"]
    if listed is None:
        return ["not in the list"]
    record = decode_record(listed)
    got = decode_record(encode_record(got))
    return [name for name in COLUMNS if got.get(name) != record.get(name)]


def _as_got(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of a list as `crm.activity.get` gives it: FILES only where there are any."""
    return {name: value for name, value in record.items() if value or name != "FILES"}


def _reason(error: PortalError) -> str:
    """Tell why there is no record."""
    if isinstance(error, ActivityNotFoundError):
        return f"not found, or not visible to this user ({error.description})"
    return f"refused by the portal ({error.description or 'without a reason'})"


def _id_of(record: object) -> int | None:
    """Return the activity id that a record says it has; None where it does not say."""
    if not isinstance(record, dict) or record.get("ID") in (None, ""):
        return None
    digits = str(record["ID"])  # of a number, too; what is neither is another's
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0

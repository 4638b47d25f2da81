"""From ids to raw records: the cache first, the portal for the rest, the missing ones named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import SEEK_END
from queue import SimpleQueue
from typing import BinaryIO, Literal

from b24frames.cache import MISSING_AGE, ActivityCache, Hits
from b24frames.errors import (
    CacheError,
    CacheWarning,
    PortalError,
    StaleDataWarning,
    name_some,
    warn_caller,
)
from b24frames.portal import Portal
from b24frames.portal.calls import MAX_COMMANDS, Watch
from b24frames.portal.methods import PAGE, Answered, get_activities, list_activities

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
            warn_caller("; ".join(notices), CacheWarning)


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
    warn_caller(
        f"the portal is out of reach ({error}); older cache entries stand in for "
        f"{len(reading.stale)} of the activities: {name_some(reading.stale)}",
        StaleDataWarning,
    )

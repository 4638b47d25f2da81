"""Read records by id: from the cache first, and the rest from the portal.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, TypeGuard

from b24frames.arguments import ProgressBar
from b24frames.cache import ActivityCache, Lookup
from b24frames.errors import (
    WEB_PAGE,
    ActivityNotFoundError,
    ActivityRefusedError,
    InvalidAnswerError,
    MethodsDifferWarning,
    OperatingTimeError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
    StaleDataWarning,
)
from b24frames.messages import name_some, short_repr, warn_at_caller
from b24frames.portal import Portal
from b24frames.portal.commands import MAX_COMMANDS, Command, CommandQueue
from b24frames.records import (
    GET,
    LIST,
    PAGE,
    Entries,
    ReadReport,
    Records,
    encode_listed,
    id_of,
    is_given_by_get,
    rows_of,
)
from b24frames.schema import COLUMNS
from b24frames.serialization import decode_record, encode_record

_PROBE = "probe"
# Ids looked up in the cache between two updates of the progress bar.
_IDS_AT_ONCE = 2_500
# By get these are 100 requests, twice the burst of a cloud portal: a hint at the list pays.
_MANY = 5_000
_NOT_CACHED = "not in the cache"
_TOO_OLD = "in the cache, but older than max_age"
_NOT_FOUND = "not found, or not visible to this user"
Via = Literal["get", "list"]


@dataclass(frozen=True)
class Freshness:
    """Which cache entries are fresh enough.

    Attributes
    ----------
    max_age : float or None
        The greatest age [s]; None for any age.
    only_if_cached : bool
        Send no request.
    stale_if_error : bool
        Accept older ones if the portal is out of reach.
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
    report: ReadReport,
) -> Generator[None]:
    """Put the record of each id into `records`, and report the missing ones, step by step.

    Parameters
    ----------
    ids : sequence of int
        Distinct activity ids.
    portal : Portal
        Called for what is not in the cache; each answer is cached before it is passed on.
    cache : ActivityCache or None
        The cache; None for none.
    records : mutable mapping of int to bytes
        Filled with the JSON text of each record.
    freshness : Freshness
        Which cache entries are fresh enough.
    via : {"get", "list"}
        The method to read the rest by: ``crm.activity.get`` [1]_, 50 ids a request, or
        ``crm.activity.list`` [2]_, 2 500 ids a request.
    bar : ProgressBar
        An exception that it raises ends the read.
    report : ReadReport
        Filled with figures, and with the ids that have no record.

    Yields
    ------
    None
        Whenever there may be new records.

    Raises
    ------
    PortalError
        The portal refused or was out of reach; the records received are in the cache.
    """
    read = _Read(portal, Entries(cache, portal), records, bar, report)
    try:
        rest = read.take_cached(ids, freshness)
        yield
        if via == "get" and len(rest) >= _MANY:
            by_get, by_list = -(-len(rest) // MAX_COMMANDS), -(-len(rest) // (PAGE * MAX_COMMANDS))
            bar.set_postfix_str(f'via="list" would take {by_list} requests in place of {by_get:,}')
        try:
            yield from read.fetch(rest, via)
        except PortalError as error:
            # A proxy or a login page on the way answers for good, but it is not the portal.
            is_out = isinstance(error, PortalUnavailableError) or error.code == WEB_PAGE
            if not (freshness.stale_if_error and (error.retryable or is_out)):
                raise
            rest = [i for i in rest if i not in records and i not in report.missing]
            read.take_stale(rest, error)
    finally:
        read.entries.warn()
    # Answers come in any order: the missing ids are reported in the order given.
    report.missing = {i: report.missing[i] for i in ids if i in report.missing}
    yield


@dataclass
class _Read:
    """The state of one read."""

    portal: Portal
    entries: Entries
    records: Records
    bar: ProgressBar
    report: ReadReport
    ids: Sequence[int] = ()
    # Pages of the list, held back until get and list have been compared.
    held: dict[str, Any] | None = None
    differences: Sequence[str] = ()
    # A refusal of one id; raised if no id at all was answered.
    refusal: PortalError | None = None

    def take_cached(self, ids: Sequence[int], freshness: Freshness) -> list[int]:
        """Take fresh entries from the cache; return the ids to read from the portal."""
        rest: list[int] = []
        for start in range(0, len(ids), _IDS_AT_ONCE):
            block = ids[start : start + _IDS_AT_ONCE]
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
        """Take entries of any age, or raise the error if an id has none."""
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

    def fetch(self, ids: Sequence[int], via: Via) -> Iterator[None]:
        """Read activities from the portal, and keep the answers of each request.

        By list, the first batch also gets one of them: if the two methods disagree, the read goes
        on by get.
        """
        self.ids = ids
        commands: Iterable[tuple[str, Command]] = ((f"a{i}", (GET, {"id": i})) for i in ids)
        if via == "list" and ids:
            self.held = {}
            starts = range(0, len(ids), PAGE)
            pages = ((f"p{start}", _list(ids[start : start + PAGE])) for start in starts)
            commands = chain([(_PROBE, (GET, {"id": ids[0]}))], pages)
        self.queue = CommandQueue(commands)
        self.run = self.portal.run(self.queue)
        # A second run, by get, adds to the requests of the first.
        waiting, before = "", self.report.http_requests
        try:
            for answers in self.run:
                self.report.http_requests = before + self.run.requests
                self._keep(answers)
                if self.differences:
                    break
                yield
                if self.run.waiting != waiting:
                    waiting = self.run.waiting
                    self.bar.set_postfix_str(waiting)
        # Ctrl-C included: answers already received go into the cache.
        except BaseException:
            self._keep(self.run.drain())
            raise
        finally:
            self.report.http_requests = before + self.run.requests
        if self.differences:
            warn_at_caller(
                f"{LIST} and {GET} do not agree on activity {ids[0]} "
                f"({name_some(self.differences)}); the read goes on by get",
                MethodsDifferWarning,
            )
            self.differences, self.held = (), None
            yield from self.fetch(ids, "get")
        elif self.refusal is not None and not (self.report.fetched or self.report.from_cache):
            raise self.refusal

    def _keep(self, answers: dict[str, Any]) -> None:
        """Parse the answers of a request, cache them, and add them to the result."""
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
        """Parse the answer to one `crm.activity.get`."""
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
                # Once: after it is raised, the answer that it is part of is read again.
                where = f" (activity {i})"
                answer.description = answer.description.removesuffix(where) + where
                brought.failure = answer
            elif not isinstance(answer, (ActivityRefusedError, InvalidAnswerError)):
                self.refusal = answer
        elif not self.run.reject(f"a{i}", (GET, {"id": i})):
            brought.odd[i] = f"the portal answers with {_described(answer)} in place of its record"

    def _read_page(self, start: int, answer: Any, brought: _Brought) -> None:
        """Parse a page of `crm.activity.list`."""
        page = self.ids[start : start + PAGE]
        if isinstance(answer, PortalError) and _concerns_all(answer):
            brought.failure = answer
            return
        records, wanted = rows_of(answer), set(page)
        is_odd = records is None
        for record in records or ():
            i = id_of(record) or 0
            if i not in wanted:
                is_odd = True
                if i in page:  # twice: which of the two is right?
                    brought.found.pop(i, None)
            elif not is_given_by_get(record):
                brought.missing[i] = f"refused by the portal ({GET} does not give it)"
            else:
                brought.found[i] = encode_listed(record, i)
            wanted.discard(i)
        for i in page:
            if i not in brought.found and i not in brought.missing:
                # An id that is absent from an invalid page may exist.
                if is_odd:
                    self.queue.append(f"a{i}", (GET, {"id": i}))
                else:
                    brought.missing[i] = _NOT_FOUND


@dataclass
class _Brought:
    """The content of one answer: records, and reasons for missing ones."""

    found: dict[int, bytes] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    odd: dict[int, str] = field(default_factory=dict)  # reasons that are not cached
    failure: PortalError | None = None  # an error that ends the read


def _list(page: Sequence[int]) -> Command:
    return LIST, {"filter": {"@ID": page}, "select": ["*", "FILES"], "start": -1}


def _concerns_all(error: PortalError) -> bool:
    """Return whether an error concerns more than the one command."""
    return error.ends_all or isinstance(error, (RateLimitError, OperatingTimeError))


def _described(answer: object) -> str:
    number = id_of(answer)
    return f"the record of activity {number}" if number else short_repr(answer)


def _differences(got: object, listed: Any, i: int) -> Sequence[str]:
    """Return the fields in which the results of get and list differ."""
    for answer in (got, listed):
        if isinstance(answer, PortalError) and _concerns_all(answer):
            raise answer
    if isinstance(listed, PortalError) and not listed.retryable:
        raise listed
    records = rows_of(listed)
    if records is None or not all(map(id_of, records)):
        return []  # no page of records: what it should have is asked for by get
    found = [record for record in records if id_of(record) == i]
    # Get refuses some providers that the list has: that is no difference.
    if found and not is_given_by_get(found[0]):
        found = []
    if not _is_record_of(got, i):
        is_refusal = isinstance(got, PortalError) and not got.retryable
        return ["only in the list"] if found and is_refusal else []
    if not found:
        return ["not in the list"]
    left, right = (decode_record(encode_record(r)) for r in (got, found[0]))
    return [name for name in COLUMNS if left.get(name) != right.get(name)]


def _is_record_of(answer: object, i: int) -> TypeGuard[dict[str, Any]]:
    """Return whether an answer is the record of this activity; it may lack an id."""
    if not isinstance(answer, dict):
        return False
    number = id_of(answer)
    return number == i or (number is None and not answer.keys().isdisjoint(COLUMNS))

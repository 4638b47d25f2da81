"""From filters to records: everything that matched from the beginning to the end, once."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from b24frames.arguments import ProgressBar
from b24frames.cache import ActivityCache
from b24frames.filters import BINDINGS, Alternative, Selection
from b24frames.portal import Portal
from b24frames.portal.commands import Command, CommandQueue
from b24frames.records import (
    PAGE,
    Entries,
    ReadReport,
    Records,
    accept,
    encode_listed,
    id_of,
    is_given_by_get,
    rows_of,
)
from b24frames.walk import Page, Walk, belongs

WHOLE = ("*", "FILES")
"""What the list is asked for where whole records are wanted, as `crm.activity.get` gives them."""

_AT_ONCE = 12  # requests: each may bring 2 500 rows, which are held until they are read


@dataclass
class Search:
    """All activities that match one of several alternatives; iterate over it for their ids.

    Parameters
    ----------
    portal : Portal
        The portal.
    alternatives : sequence of Alternative
        What is to match.
    columns : sequence of str or None
        The fields that are asked for; None: whole records, which go into the cache.
    cache : ActivityCache or None
        The cache; None for none.
    records : mutable mapping of int to bytes
        Filled with the JSON text of each record.
    bar : ProgressBar or None
        What it raises ends the search. Its ``total``, if it has one, grows with what is found.
    limit : int or None
        At most so many, those of the highest ids.
    concurrency : int
        How many requests are under way at once: what they bring is held until it is read.

    Attributes
    ----------
    report : ReadReport
        What was done.

    Raises
    ------
    InvalidAnswerError
        The portal ignored a condition, or its pages are not what was asked for.
    PortalError
        It refused, or was out of reach.
    """

    portal: Portal
    alternatives: Sequence[Alternative]
    columns: Sequence[str] | None
    cache: ActivityCache | None
    records: Records
    bar: ProgressBar | None
    limit: int | None = None
    concurrency: int = _AT_ONCE

    def __post_init__(self) -> None:
        self.report = ReadReport()
        self._entries = Entries(self.cache, self.portal)
        self._pending: set[int] = set()
        self._pages: dict[str, Page] = {}  # asked for, and not read yet
        self._numbers = count()
        limit = self.limit if [len(some) for some in self.alternatives] == [1] else None
        self._groups = [
            [Walk(s, self._select(s, n == 0), n == 0, limit) for n, s in enumerate(alternative)]
            for alternative in self.alternatives
        ]
        self._walks = [walk for walks in self._groups for walk in walks]

    def _select(self, selection: Selection, gives_records: bool) -> tuple[str, ...]:
        """Return the fields that are asked for: those wanted, and those of conditions."""
        if gives_records and self.columns is None:
            return WHOLE
        fields = {condition.field for condition in selection.conditions} - {BINDINGS}
        wanted = self.columns or () if gives_records else ()
        return tuple(sorted({"ID", *fields, *wanted}))

    def __iter__(self) -> Generator[list[int]]:
        """Yield ids that are complete: ascending, or, with a limit, all at the end, descending."""
        if not self._walks:
            return
        in_batches = all(walk.selection.fits_batch for walk in self._walks)
        self._queue = CommandQueue()
        for walk in self._walks:
            self._queue.extend(map(self._named, walk.start()))
        self._run = self.portal.run(
            self._queue, in_batches=in_batches, concurrency=self.concurrency
        )
        waiting = ""
        try:
            for answers in self._run:
                self.report.http_requests = self._run.requests
                self.report.portal_time = self._run.portal_time
                self._keep(answers)
                frontier = min(walk.frontier for walk in self._walks)
                if self.limit is None and (ready := self._ready(frontier)):
                    yield ready
                if self._run.waiting != waiting:
                    waiting = self._run.waiting
                    if self.bar is not None:
                        self.bar.set_postfix_str(waiting)
        except BaseException:
            self._salvage(self._run.drain())
            raise
        finally:
            self.report.http_requests = self._run.requests
        self._entries.warn()
        if ready := self._ready(math.inf):
            yield ready

    def _named(self, page: Page) -> tuple[str, Command]:
        """Return the command for a page, under a name of its own."""
        name = f"p{next(self._numbers)}"
        self._pages[name] = page
        return name, page.command

    def _keep(self, answers: dict[str, Any]) -> None:
        """Take the right pages among some answers, and ask for what they leave open."""
        right: dict[str, Any] = {}
        for name, answer in answers.items():
            page = self._pages[name]
            if not accept(self._run, name, page.command, answer, page.problem(answer)):
                continue
            right[name] = answer
            # Before what is planned, so that rows are complete in the order of their ids.
            for further in page.walk.take(page, answer, self._run.totals.get(name)):
                self._queue.append(*self._named(further))
            self._queue.extend(map(self._named, page.walk.rest()))
        found = self._encode(right)
        for name in right:  # only now: an interruption must find them
            del self._pages[name]
        self._pending |= found.keys()
        self.records.update(found)
        if self.bar is not None:
            if hasattr(self.bar, "total"):
                expected = sum(walk.total or 0 for walk in self._walks)
                self.bar.total = max(expected, len(self.records))
            self.bar.update(len(found))

    def _salvage(self, answers: dict[str, Any]) -> None:
        """Keep the whole records among answers that an interruption has left unread."""
        for name, answer in answers.items():
            if name in self._pages and not self._pages[name].problem(answer):
                self._encode({name: answer})

    def _encode(self, pages: dict[str, Any]) -> dict[int, bytes]:
        """Return the records of right pages by their ids; whole ones go into the cache."""
        found: dict[int, bytes] = {}
        given_by_get: dict[int, bytes] = {}
        for name, answer in pages.items():
            page = self._pages[name]
            if not page.walk.gives_records or page.kind in ("last", "total", "none"):
                continue
            for row in rows_of(answer) or ():
                if belongs(page.selection.conditions, row):
                    i = int(id_of(row) or 0)
                    found[i] = encode_listed(row, i)
                    if is_given_by_get(row):
                        given_by_get[i] = found[i]
        if self.columns is None:
            self._entries.write(given_by_get, {})
        return found

    def _ready(self, frontier: float) -> list[int]:
        """Return the ids up to one that match, which are settled from now on."""
        passed = {i for i in self._pending if i <= frontier}
        self._pending -= passed
        ready = sorted(
            i
            for i in passed
            if any(all(i in walk.found for walk in walks) for walks in self._groups)
        )
        for walk in self._walks:
            walk.found -= passed  # a million ids would take 60 MB
        if self.limit is not None:
            ready = ready[::-1][: self.limit]
        self.report.requested += len(ready)
        self.report.fetched += len(ready)
        return ready


def count_matches(portal: Portal, alternatives: Sequence[Alternative]) -> int:
    """Return how many activities match: in one request where the portal can count them."""
    if [len(some) for some in alternatives] == [1] and alternatives[0][0].can_be_counted:
        selection = alternatives[0][0]
        fields = dict.fromkeys(condition.field for condition in selection.conditions)
        walk = Walk(selection, ("ID", *fields))
        # Old rows may match a condition that is ignored, where new ones do not.
        asked = enumerate([*walk.probes(), *walk.bounds(walk.select)])
        pages = {str(number): page for number, page in asked}
        commands = CommandQueue((name, page.command) for name, page in pages.items())
        run = portal.run(commands, in_batches=selection.fits_batch)
        rows, total = 0, None
        for answers in run:
            for name, answer in answers.items():
                page = pages[name]
                is_right = accept(run, name, page.command, answer, page.problem(answer))
                if is_right and page.kind == "total":
                    rows, total = len(rows_of(answer) or ()), run.totals.get(name)
        # A page that is not full has all rows; where the total is none of these, they are counted.
        if isinstance(total, int) and (total == rows or total > rows >= PAGE):
            return int(total)
    search = Search(portal, alternatives, ("ID",), None, {}, None)
    return sum(map(len, search))

"""From filters to records: everything that matched from the beginning to the end, once."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from b24frames.arguments import ProgressBar
from b24frames.errors import InvalidAnswerError, PortalError
from b24frames.filters import BINDINGS, Alternative
from b24frames.portal import Portal
from b24frames.portal.commands import Command, CommandQueue
from b24frames.records import (
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
from b24frames.walk import Walk, belongs

WHOLE = ("*", "FILES")
"""What the list is asked for where whole records are wanted, as `crm.activity.get` gives them."""

_AT_ONCE = 12  # requests: each may bring 2 500 rows, which are held until they are read


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
    entries : Entries
        The cache.
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

    def __init__(
        self,
        portal: Portal,
        alternatives: Sequence[Alternative],
        columns: Sequence[str] | None,
        entries: Entries,
        records: Records,
        bar: ProgressBar | None,
        limit: int | None = None,
        concurrency: int = _AT_ONCE,
    ) -> None:
        self.report = ReadReport()
        self._portal = portal
        self._entries = entries
        self._records = records
        self._bar = bar
        self._limit = limit
        self._concurrency = concurrency
        self._is_whole = columns is None
        self._pending: set[int] = set()
        self._commands: dict[str, Command] = {}
        self._walks: dict[str, Walk] = {}
        self._alternatives: list[list[Walk]] = []
        for alternative in alternatives:
            walks = []
            for number, selection in enumerate(alternative):
                fields = {condition.field for condition in selection.conditions} - {BINDINGS}
                narrow = tuple(sorted({"ID", *fields, *(() if number else columns or ())}))
                select = narrow if number or columns is not None else WHOLE
                only = len(alternatives) == len(alternative) == 1
                name = f"w{len(self._walks)}_"
                walk = Walk(name, selection, select, limit if only else None)
                self._walks[name] = walk
                walks.append(walk)
            self._alternatives.append(walks)

    def __iter__(self) -> Generator[list[int]]:
        """Yield ids that are complete: ascending, or, with a limit, all at the end, descending."""
        if not self._walks:
            return
        in_batches = all(walk.selection.fits_batch for walk in self._walks.values())
        self._queue = CommandQueue()
        for walk in self._walks.values():
            self._add(walk.start())
        self._run = self._portal.run(
            self._queue, in_batches=in_batches, concurrency=self._concurrency
        )
        waiting = ""
        try:
            for answers in self._run:
                self.report.http_requests = self._run.requests
                self.report.portal_time = self._run.portal_time
                self._keep(answers)
                if self._limit is None and (ready := self._ready(self._frontier())):
                    yield ready
                if self._run.waiting != waiting:
                    waiting = self._run.waiting
                    if self._bar is not None:
                        self._bar.set_postfix_str(waiting)
        except BaseException:
            self._salvage(self._run.drain())
            raise
        finally:
            self.report.http_requests = self._run.requests
        if ready := self._ready(math.inf):
            yield ready

    def _add(self, commands: Iterator[tuple[str, Command]]) -> None:
        """Have commands asked, as they are needed."""

        def noted() -> Iterator[tuple[str, Command]]:
            for name, command in commands:
                self._commands[name] = command
                yield name, command

        self._queue.extend(noted())

    def _keep(self, answers: dict[str, Any]) -> None:
        """Take the right pages among some answers, and ask for what they leave open."""
        for name, answer in answers.items():
            walk = self._walk_of(name)
            if isinstance(answer, PortalError):
                raise answer
            if problem := walk.problem(name, answer):
                if self._run.reject(name, self._commands[name]):
                    continue
                raise InvalidAnswerError(f"the portal lists {problem}", method=LIST)
            del self._commands[name]
            # Before what is planned, so that rows are complete in the order of their ids.
            for new, command in walk.take(name, answer, self._run.totals.get(name)):
                self._commands[new] = command
                self._queue.append(new, command)
            if (rest := walk.rest()) is not None:
                self._add(rest)
        pages = {name: answer for name, answer in answers.items() if name not in self._commands}
        found = self._encode(pages)
        self._pending |= found.keys()
        self._records.update(found)
        if self._bar is not None:
            if hasattr(self._bar, "total"):
                expected = sum(walk.total or 0 for walk in self._walks.values())
                self._bar.total = max(expected, len(self._records))
            self._bar.update(len(found))

    def _salvage(self, answers: dict[str, Any]) -> None:
        """Keep the whole records among answers that an interruption has left unread."""
        for name, answer in answers.items():
            is_error = isinstance(answer, PortalError)
            if not is_error and not self._walk_of(name).problem(name, answer):
                self._encode({name: answer})

    def _encode(self, pages: dict[str, Any]) -> dict[int, bytes]:
        """Return the records of right pages by their ids; whole ones go into the cache."""
        found: dict[int, bytes] = {}
        given_by_get: dict[int, bytes] = {}
        for name, page in pages.items():
            walk = self._walk_of(name)
            if not walk.lists_records(name) or all(walk is not w[0] for w in self._alternatives):
                continue
            for row in rows_of(page) or ():
                if belongs(walk.selection.conditions, row):
                    i = int(id_of(row) or 0)
                    found[i] = encode_listed(row, i)
                    if is_given_by_get(row):
                        given_by_get[i] = found[i]
        if self._is_whole:
            self._entries.write(given_by_get, {})
        return found

    def _walk_of(self, name: str) -> Walk:
        return self._walks[name[: name.index("_") + 1]]

    def _frontier(self) -> float:
        return min(walk.frontier for walk in self._walks.values())

    def _ready(self, frontier: float) -> list[int]:
        """Return the ids up to one that match, which are settled from now on."""
        passed = {i for i in self._pending if i <= frontier}
        self._pending -= passed
        ready = sorted(
            i
            for i in passed
            if any(all(i in walk.found for walk in walks) for walks in self._alternatives)
        )
        for walk in self._walks.values():
            walk.found -= passed  # a million ids would take 60 MB
        if self._limit is not None:
            ready = ready[::-1][: self._limit]
        self.report.requested += len(ready)
        self.report.fetched += len(ready)
        return ready


def count_matches(portal: Portal, alternatives: Sequence[Alternative]) -> int:
    """Return how many activities match: in one request where the portal can count them."""
    if [len(some) for some in alternatives] == [1] and alternatives[0][0].can_be_counted:
        selection = alternatives[0][0]
        fields = dict.fromkeys(condition.field for condition in selection.conditions)
        walk = Walk("w0_", selection, ("ID", *fields))
        # Old rows may match a condition that is ignored, where new ones do not.
        ends = {"w0_total": walk.command({}, start=0), "w0_last": walk.command({}, order="DESC")}
        commands = dict(walk.probes()) | ends
        run = portal.run(CommandQueue(commands.items()), in_batches=selection.fits_batch)
        rows, total = 0, None
        for answers in run:
            for name, answer in answers.items():
                if isinstance(answer, PortalError):
                    raise answer
                problem = walk.problem(name, answer)
                if problem and not run.reject(name, commands[name]):
                    raise InvalidAnswerError(f"the portal lists {problem}", method=LIST)
                if name == "w0_total":
                    rows, total = len(rows_of(answer) or ()), run.totals.get(name)
        # A page that is not full has all rows; where the total is none of these, they are counted.
        if isinstance(total, int) and (total == rows or total > rows >= PAGE):
            return int(total)
    search = Search(portal, alternatives, ("ID",), Entries(None, portal), {}, None)
    return sum(map(len, search))

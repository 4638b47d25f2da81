"""All rows of a method that sorts by two texts, such as ``voximplant.statistic.get``, by their ids.

Such a method has no order of its own, so that its pages by offset overlap. Here the first and the
last page are read, and what lies between is cut into ranges of ids that are read side by side, each
page by page from its last id on, until a short page ends it. No place in a batch is left empty:
where ranges have ended, the others are cut again.

References
----------
.. [1] https://apidocs.bitrix24.com/settings/performance/huge-data.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from b24frames.ids import GREATEST_ID
from b24frames.messages import short_repr
from b24frames.portal import Portal
from b24frames.portal.commands import MAX_COMMANDS, Command, CommandQueue
from b24frames.records import PAGE, accept, id_bounds, id_of, rows_of

Row = dict[str, Any]
List = Callable[[Mapping[str, Any], str, int], Command]
"""Returns the command that lists a page, of a filter, an order (ASC or DESC) and a start."""

_ROWS_A_PAGE = 40  # what is expected to be fewer fits a page in all likelihood
# Of several batches at once each ends half empty: of 20 000 calls, measured with gaps between their
# ids, one after the other took 10 requests, four at once 13.
_ROWS_A_BATCH, _BATCHES = 20_000, 12
_COMPARED = ("ID", "CRM_ACTIVITY_ID")


@dataclass(frozen=True)
class Range:
    """Rows that a filter selects, after an id and up to another.

    Attributes
    ----------
    filter : mapping of str to object
        The portal's; rows are compared with a list of ids under ``ID`` or ``CRM_ACTIVITY_ID``.
    after, last : int
        The bounds.
    rows : float
        About how many there are; 0: not known.
    order : {"ASC", "DESC"}
        Which page is read: the first, or the last.
    start : int
        0 has the portal count the rows; -1: it need not.
    """

    filter: Mapping[str, Any]
    after: int = 0
    last: int = GREATEST_ID
    rows: float = 0.0
    order: str = "ASC"
    start: int = -1

    def cut(self, parts: int) -> Iterator[Range]:
        """Yield ranges of one width that are this one together."""
        width = max(1, math.ceil((self.last - self.after) / parts))
        for after in range(self.after, self.last, width):
            last = min(after + width, self.last)
            yield replace(self, after=after, last=last, rows=self.rows / parts)

    def rest(self, ids: Sequence[int]) -> Iterator[Range]:
        """Yield what a page leaves to be read."""
        if len(ids) >= PAGE and ids[-1] < self.last and self.order == "ASC" and self.start < 0:
            # About as dense as what was just read.
            rows = PAGE * (self.last - ids[-1]) / (ids[-1] - self.after)
            yield replace(self, after=ids[-1], rows=rows if self.last < GREATEST_ID else 0.0)


@dataclass
class Keyset:
    """The rows of one method by their ids.

    Attributes
    ----------
    portal : Portal
        The portal.
    list : callable
        As of `List`.
    in_batches : bool
        Whether its commands may go in a batch.
    rows : dict of int to dict
        What has been read.
    requests : int
        How many HTTP requests were sent.
    """

    portal: Portal
    list: List
    in_batches: bool = True
    rows: dict[int, Row] = field(default_factory=dict)
    requests: int = 0
    _asked: dict[str, tuple[Range, Command]] = field(default_factory=dict)
    _total: object = None

    def read(self, ranges: Iterable[Range], at_once: int = _BATCHES) -> None:
        """Read all rows of some ranges.

        Raises
        ------
        InvalidAnswerError
            Pages are not what was asked for.
        PortalError
            The portal refused, or was out of reach.
        """
        queue = CommandQueue(map(self._ask, ranges))
        run = self.portal.run(queue, in_batches=self.in_batches, concurrency=at_once)
        for answers in run:
            left: list[Range] = []
            for name, answer in answers.items():
                part, command = self._asked[name]
                if not accept(run, name, command, answer, _problem(part, answer)):
                    continue
                page = {int(id_of(row) or 0): row for row in rows_of(answer) or ()}
                self.rows |= {i: {**row, "ID": str(i)} for i, row in page.items()}
                left += part.rest(list(page))
            for part in _spread(left):
                queue.append(*self._ask(part))
        self.requests += run.requests
        self._total = run.totals.get("0")

    def read_all(self, part: Range) -> None:
        """Read all rows of a range of which nothing is known, as the first of all."""
        self.read([replace(part, start=0), replace(part, order="DESC")])
        ids, total = sorted(self.rows), self._total
        if len(ids) < 2 * PAGE:  # the two pages overlap, or are one
            return
        rows = max(1, total - len(ids)) if isinstance(total, int) else 1
        batches = min(max(1, rows // _ROWS_A_BATCH), _BATCHES)
        between = replace(part, after=ids[PAGE - 1], last=ids[PAGE] - 1, rows=rows)
        parts = min(batches * MAX_COMMANDS, math.ceil(rows / _ROWS_A_PAGE))
        self.read(between.cut(parts), batches)

    def _ask(self, part: Range) -> tuple[str, Command]:
        """Return the command for the first page of a range."""
        filters = {**part.filter, **id_bounds(part.after, part.last)}
        name, command = str(len(self._asked)), self.list(filters, part.order, part.start)
        self._asked[name] = part, command
        return name, command


def _spread(left: Sequence[Range]) -> Iterator[Range]:
    """Cut ranges so that there are as many as commands in a batch, if they have enough rows."""
    spare, rows = MAX_COMMANDS - len(left), sum(part.rows for part in left)
    for part in left:
        further = min(spare * part.rows / rows, part.rows / _ROWS_A_PAGE) if rows else 0
        yield from part.cut(1 + int(further)) if part.rows else [part]


def _problem(part: Range, answer: object) -> str:
    """Return what is wrong with the answer to a command; nothing where it is a right page."""
    rows = rows_of(answer)
    if rows is None:
        return f"{short_repr(answer)} in place of a page"
    ids = [id_of(row) or 0 for row in rows]
    if 0 in ids:
        return f"{short_repr(rows[ids.index(0)])} in place of a row"
    if ids != sorted(set(ids), reverse=part.order == "DESC"):
        return "rows that are not in the order asked for"
    if any(not part.after < i <= part.last for i in ids):
        return f"other rows than those from {part.after + 1} to {part.last}"
    for name in part.filter.keys() & set(_COMPARED):
        wanted = set(part.filter[name])
        if not wanted.issuperset(id_of({"ID": row.get(name)}) or 0 for row in rows):
            return f"rows with another {name}: the condition on that field was ignored"
    return ""

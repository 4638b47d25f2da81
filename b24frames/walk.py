"""A walk through all that one filter of the portal selects, by ranges of ids.

The portal's pages by offset lose rows and repeat others while it is worked on. Here the first page
and the last id are asked for, and what lies between is cut into ranges of ids that need about one
page each; a full page leaves the rest of its range open, a short one closes it. What is created,
changed or deleted meanwhile moves no row from one range to another.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
.. [2] https://apidocs.bitrix24.com/settings/performance/huge-data.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import ge, gt, le, lt
from typing import Any
from uuid import uuid4

from b24frames.filters import BINDINGS, Condition, Selection
from b24frames.frame.convert import BAD_VALUE, PARSERS
from b24frames.ids import chunks
from b24frames.messages import short_repr
from b24frames.portal.commands import Command
from b24frames.records import LIST, PAGE, id_bounds, id_of, rows_of
from b24frames.schema import ACTIVITY, ALL_FIELDS, Wire

_ROWS_A_RANGE = 40  # of the 50 of a page: more would leave many ranges open, fewer need more pages
_MORE = 1.25  # how much further than the rows that lack may be, if they are less dense
_NOBODY = 2**31 - 1  # an id that no object has
_EPOCH, _SECOND = datetime(1970, 1, 1), timedelta(seconds=1)
# Dates of a narrow select may be an hour off [us]: the portal takes today's offset from them.
_MAY_BE_OFF = 3_600 * 1_000_000


@dataclass(frozen=True, eq=False)
class Page:
    """A page of the list that is asked for in one command.

    Attributes
    ----------
    walk : Walk
        The walk that it is a part of.
    kind : str
        Of rows: ``ids`` (known ones), ``first``, ``range``, ``sweep`` (what was created meanwhile),
        ``down`` (the highest ids). Of one fact: ``last`` (the highest id), ``total``, ``none``
        (nothing matches what nobody has).
    selection : Selection
        What it selects.
    after, last : int
        After which id, and up to which.
    select : sequence of str
        The fields.
    order : {"ASC", "DESC"}
        The order of ids.
    start : int
        0 has the portal count the rows; -1: it need not.
    ids : sequence of int
        The only ids, if they are known.
    probed : str
        Of ``none``, the field that nobody has the value in.
    """

    walk: Walk
    kind: str
    selection: Selection
    after: int
    last: int
    select: Sequence[str]
    order: str = "ASC"
    start: int = -1
    ids: Sequence[int] = ()
    probed: str = ""

    @property
    def command(self) -> Command:
        """The command that lists it."""
        bounds = {"@ID": self.ids} if self.ids else id_bounds(self.after, self.last)
        return LIST, {
            "filter": self.selection.filter | bounds,
            "order": {"ID": self.order},
            "select": list(self.select),
            "start": self.start,
        }

    def problem(self, answer: Any) -> str:
        """Return what is wrong with the answer to the command; nothing where it is a right page."""
        rows = rows_of(answer)
        if rows is None:
            return f"{short_repr(answer)} in place of a page"
        if self.kind == "none":
            return f"the condition on {self.probed} was ignored" if rows else ""
        ids = [id_of(row) or 0 for row in rows]
        if 0 in ids:
            return f"{short_repr(rows[ids.index(0)])} in place of an activity"
        conditions = self.selection.conditions
        repeats = any(condition.field == BINDINGS for condition in conditions)
        is_mixed = self.kind != "total" and ids != sorted(ids, reverse=self.order == "DESC")
        if is_mixed or (len(set(ids)) < len(ids) and not repeats):
            return "activities that are not in the order asked for"
        is_unknown = self.ids and not set(self.ids).issuperset(ids)
        if is_unknown or any(not self.after < i <= self.last for i in ids):
            return f"other activities than those of ID {self.after + 1} to {self.last}"
        for row in rows:
            for condition in conditions:
                if not holds(condition, row, exact="*" in self.walk.select):
                    value = short_repr(row.get(condition.field))
                    return (
                        f"activity {row['ID']} with {condition.field} {value}: "
                        "the condition on that field was ignored"
                    )
        return ""


@dataclass
class Walk:
    """A walk through all that one selection matches: what is asked, and what its pages hold."""

    selection: Selection
    select: tuple[str, ...]
    gives_records: bool = True  # its rows have all the fields that are wanted
    limit: int | None = None  # how many rows are enough, from the highest id down
    found: set[int] = field(default_factory=set)
    last: int | None = None  # the highest id
    total: int | None = None  # the number of rows, as the portal tells it
    _open: set[Page] = field(default_factory=set)
    _first_page_end: int | None = None
    _planned: float = 0  # what is after this id is not asked for yet
    _top: int = 0  # with a limit: the highest id that was read
    _floor: int = 0  # and down to which id all rows are there

    def __post_init__(self) -> None:
        first, last = self.selection.first, self.selection.last
        self._whole = Page(self, "first", self.selection, first - 1, last, self.select)

    @property
    def frontier(self) -> float:
        """Up to which id all rows are there."""
        return min([self._planned, *(page.after for page in self._open)])

    def start(self) -> Iterator[Page]:
        """Yield what is asked first: pages of known ids, or a page with the bounds of the rest."""
        for ids in chunks(self.selection.ids or (), PAGE):
            self._planned = ids[-1]
            yield self._ask("ids", after=ids[0] - 1, last=ids[-1], ids=ids)
        self._planned = math.inf
        if self.selection.ids is None and self.limit is not None:
            yield self._ask("down", order="DESC")
        elif self.selection.ids is None:
            yield self._ask("first")
            yield from self.bounds(("ID",))
        yield from self.probes()

    def bounds(self, select: Sequence[str]) -> Iterator[Page]:
        """Yield questions for the highest id and for the number of rows."""
        yield replace(self._whole, kind="last", order="DESC", select=select)
        yield replace(self._whole, kind="total", start=0, select=select)

    def probes(self) -> Iterator[Page]:
        """Yield questions for what nobody has: a portal that ignores a condition finds it.

        For conditions with which rows cannot be compared: texts, which are equal by rules of the
        portal's, and links, which are in no row.
        """
        for number, condition in enumerate(self.selection.conditions):
            if condition.field == BINDINGS:
                values: tuple[Any, ...] = tuple((kind, _NOBODY) for kind, _ in condition.values)
            elif ACTIVITY[condition.field].wire is Wire.TEXT and "!" not in condition.prefix:
                values = (uuid4().hex,)
            else:
                continue
            conditions = list(self.selection.conditions)
            conditions[number] = replace(condition, values=values)
            probe = replace(self._whole, kind="none", probed=condition.field, select=("ID",))
            yield replace(probe, selection=replace(self.selection, conditions=tuple(conditions)))

    def _ask(self, kind: str, **changes: Any) -> Page:
        """Return a page of rows, which is open from now on."""
        page = replace(self._whole, kind=kind, **changes)
        self._open.add(page)
        return page

    def _cut(self, after: int, last: int, rows: float) -> Iterator[Page]:
        """Yield pages for a range that about so many rows are in."""
        width = max(PAGE, int((last - after) * _ROWS_A_RANGE / max(rows, 1)))
        for start in range(after, last, width):
            yield self._ask("range", after=start, last=min(start + width, last))

    def _plan(self, after: int, last: int, rows: float) -> Iterator[Page]:
        """Yield pages for all that is left as they are asked for, and the sweep at their end."""
        for page in self._cut(after, last, rows):
            self._planned = page.last
            yield page
        yield self._ask("sweep", after=last)
        self._planned = math.inf

    def take(self, page: Page, answer: Any, total: object) -> Iterator[Page]:
        """Take a right answer; yield what is to be asked next."""
        rows, kind = rows_of(answer) or [], page.kind
        ids = [id_of(row) or 0 for row in rows]
        self._open.discard(page)
        if kind == "last":
            self.last = ids[0] if ids else 0
        elif kind == "total":
            self.total = total if isinstance(total, int) else 0
        else:
            conditions = self.selection.conditions
            self.found |= {i for i, row in zip(ids, rows, strict=True) if belongs(conditions, row)}
        is_full = len(rows) >= PAGE
        if kind == "first" and is_full:
            self._first_page_end = self._planned = ids[-1]
        elif kind == "sweep" and is_full:
            yield self._ask("sweep", after=ids[-1])
        elif kind == "range" and is_full and ids[-1] < page.last:
            # About as dense as what was just read.
            rest = (page.last - ids[-1]) * PAGE / (ids[-1] - page.after)
            yield from self._cut(ids[-1], page.last, rest)
        elif kind == "ids" and is_full and ids[-1] < page.last:
            # With a condition on BINDINGS, an activity comes once for each of its links.
            further = [i for i in page.ids if i > ids[-1]]
            yield self._ask("ids", after=ids[-1], last=page.last, ids=further)
        elif kind == "down":
            self._top, self._floor = (ids[0], ids[-1] - 1) if is_full else (0, page.after)
        if self.limit is not None and not self._open:
            yield from self._descend(self.limit)

    def _descend(self, limit: int) -> Iterator[Page]:
        """Yield pages for the rows that lack, below those that are there."""
        rows, floor, end = limit - len(self.found), self._floor, self.selection.first - 1
        if rows > 0 and floor > end:
            width = math.ceil(_MORE * rows * (self._top - floor) / max(1, len(self.found)))
            self._floor = max(end, floor - width - PAGE)
            yield from self._cut(self._floor, floor, _MORE * rows)

    def rest(self) -> Iterator[Page]:
        """Return the plan for what the first page left open, once its bounds are known."""
        if self._first_page_end is None or self.last is None or self.total is None:
            return iter(())
        after, self._first_page_end = self._first_page_end, None
        rows = max(self.total - len(self.found), 1)
        return self._plan(after, max(after, self.last), rows)


_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_UNREADABLE = object()  # the portal may compare it; the frame has NA, and a warning


def _value(condition: Condition, row: dict[str, Any]) -> Any:
    """Return what a row has in a field; None: nothing; `_UNREADABLE`: what cannot be understood."""
    try:
        value = PARSERS[ALL_FIELDS[condition.field].wire](row.get(condition.field))
    except BAD_VALUE:
        return _UNREADABLE
    # The portal compares whole seconds, as do conditions.
    return (value - _EPOCH) // _SECOND * 10**6 if isinstance(value, datetime) else value


def belongs(conditions: Iterable[Condition], row: dict[str, Any]) -> bool:
    """Return whether a row that the portal finds matches by our rules: an empty number is not 0."""
    loose = ((c.prefix, _value(c, row)) for c in conditions if c.is_loose)
    return all(value != 0 if prefix == "!=" else value is not None for prefix, value in loose)


def holds(condition: Condition, row: dict[str, Any], *, exact: bool) -> bool:
    """Return whether a condition holds for a row, as far as rows can be compared with it."""
    wire, prefix = ALL_FIELDS[condition.field].wire, condition.prefix
    if condition.field not in row or condition.field == BINDINGS:
        return True
    value, wanted = _value(condition, row), condition.asked
    if value is _UNREADABLE:
        return True
    if wire is Wire.TEXT:
        # Equal to us is equal to the portal, but not the other way round.
        return "!" not in prefix or value is None or value.lower() not in condition.equals
    if value is None:
        is_none = wanted == (None,) and prefix in ("=", ">=")
        return is_none or "!" in prefix or condition.is_loose
    if wanted == (None,):
        return prefix == "<"
    if "=" not in prefix[:1] and "@" not in prefix and prefix != "!=":
        slack = 0 if exact or wire is not Wire.DATETIME else _MAY_BE_OFF
        return _COMPARE[prefix](value, wanted[0] + (slack if "<" in prefix else -slack))
    if wire is Wire.DATETIME and not exact:
        near = any(abs(value - one) <= _MAY_BE_OFF for one in wanted)
        return near or "!" in prefix
    return (value in condition.equals) is ("!" not in prefix)

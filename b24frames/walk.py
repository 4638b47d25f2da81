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
from typing import Any
from uuid import uuid4

from b24frames.filters import BINDINGS, Condition, Selection
from b24frames.frame.convert import BAD_VALUE, PARSERS
from b24frames.ids import chunks
from b24frames.messages import short_repr
from b24frames.portal.commands import Command
from b24frames.records import LIST, PAGE, id_of, rows_of
from b24frames.schema import ACTIVITY, ALL_FIELDS, Wire

_ROWS_A_RANGE = 40  # of the 50 of a page: more would leave many ranges open, fewer need more pages
_MORE = 1.25  # how much further than the rows that lack may be, if they are less dense
_NOBODY = 2**31 - 1  # an id that no object has
_END = 2**63 - 1
_EPOCH, _SECOND = datetime(1970, 1, 1), timedelta(seconds=1)
# Dates of a narrow select may be an hour off [us]: the portal takes today's offset from them.
_MAY_BE_OFF = 3_600 * 1_000_000


@dataclass
class Walk:
    """A walk through all that one selection matches: what is asked, and what its pages hold."""

    name: str  # how the names of its commands begin
    selection: Selection
    select: tuple[str, ...]
    limit: int | None = None  # how many rows are enough, from the highest id down
    found: set[int] = field(default_factory=set)
    last: int | None = None  # the highest id
    total: int | None = None  # the number of rows, as the portal tells it
    _open: dict[str, tuple[int, int]] = field(default_factory=dict)  # after an id, up to another
    _first_page_end: int | None = None
    _planned: float = 0  # what is after this id is not asked for yet
    _top: int = 0  # with a limit: the highest id that was read
    _floor: int = 0  # and down to which id all rows are there
    _asked: int = 0

    def __post_init__(self) -> None:
        self._known = frozenset(self.selection.ids or ())

    @property
    def frontier(self) -> float:
        """Up to which id all rows are there."""
        return min([self._planned, *(after for after, _ in self._open.values())])

    def start(self) -> Iterator[tuple[str, Command]]:
        """Yield what is asked first: pages of known ids, or a page with the bounds of the rest."""
        selection = self.selection
        if selection.ids is not None:
            for ids in chunks(selection.ids, PAGE):
                self._planned = ids[-1]
                yield self._ask("ids", ids[0] - 1, ids[-1], {"@ID": ids})
            self._planned = math.inf
            yield from self.probes()
            return
        self._planned = math.inf
        if self.limit is not None:
            yield self._ask("down", selection.first - 1, selection.last, order="DESC")
        else:
            yield self._ask("first", selection.first - 1, selection.last)
            yield f"{self.name}last", self.command({}, order="DESC", select=("ID",))
            yield f"{self.name}total", self.command({}, start=0, select=("ID",))
        yield from self.probes()

    def probes(self) -> Iterator[tuple[str, Command]]:
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
            selection = replace(self.selection, conditions=tuple(conditions))
            command = replace(self, selection=selection).command({}, select=("ID",))
            yield f"{self.name}none_{condition.field}_{number}", command

    def command(
        self,
        bounds: dict[str, Any],
        *,
        order: str = "ASC",
        start: int = -1,
        select: Sequence[str] = (),
    ) -> Command:
        """Return the command that lists a page."""
        first, last = self.selection.first, self.selection.last
        limits = ({">ID": first - 1} if first > 1 else {}) | ({"<=ID": last} if last < _END else {})
        return LIST, {
            "filter": self.selection.filter | limits | bounds,
            "order": {"ID": order},
            "select": list(select or self.select),
            "start": start,
        }

    def _ask(
        self,
        kind: str,
        after: int,
        last: int,
        bounds: dict[str, Any] | None = None,
        order: str = "ASC",
    ) -> tuple[str, Command]:
        """Return the command for a range of ids, which is open from now on."""
        if bounds is None:
            bounds = ({">ID": after} if after > 0 else {}) | ({"<=ID": last} if last < _END else {})
        self._asked += 1
        name = f"{self.name}{kind}_{self._asked}"
        self._open[name] = (after, last)
        return name, self.command(bounds, order=order)

    def _cut(self, after: int, last: int, rows: float) -> Iterator[tuple[str, Command]]:
        """Yield commands for a range that about so many rows are in."""
        width = max(PAGE, int((last - after) * _ROWS_A_RANGE / max(rows, 1)))
        for start in range(after, last, width):
            yield self._ask("range", start, min(start + width, last))

    def _plan(self, after: int, last: int, rows: float) -> Iterator[tuple[str, Command]]:
        """Yield commands for all that is left as they are sent, and the sweep at their end."""
        for name, command in self._cut(after, last, rows):
            self._planned = self._open[name][1]
            yield name, command
        yield self._ask("sweep", last, self.selection.last)  # what was created meanwhile
        self._planned = math.inf

    def lists_records(self, name: str) -> bool:
        """Return whether a command asks for records, and not only for a bound or a total."""
        return not name.removeprefix(self.name).startswith(("last", "total", "none"))

    def problem(self, name: str, answer: Any) -> str:
        """Return what is wrong with the answer to a command; nothing where it is a right page."""
        rows = rows_of(answer)
        if rows is None:
            return f"{short_repr(answer)} in place of a page"
        kind = name.removeprefix(self.name)
        if kind.startswith("none_"):
            field = kind.removeprefix("none_").rpartition("_")[0]
            return f"the condition on {field} was ignored" if rows else ""
        ids = [id_of(row) or 0 for row in rows]
        if 0 in ids:
            return f"{short_repr(rows[ids.index(0)])} in place of an activity"
        after, last = self._open.get(name, (self.selection.first - 1, self.selection.last))
        repeats = any(condition.field == BINDINGS for condition in self.selection.conditions)
        in_order = sorted(ids, reverse=kind.startswith(("down", "last")))
        is_mixed = kind != "total" and ids != in_order
        if is_mixed or (len(set(ids)) < len(ids) and not repeats):
            return "activities that are not in the order asked for"
        is_unknown = self.selection.ids is not None and not self._known.issuperset(ids)
        if is_unknown or any(not after < i <= last for i in ids):
            return f"other activities than those of ID {after + 1} to {last}"
        for row in rows:
            for condition in self.selection.conditions:
                if not holds(condition, row, exact="*" in self.select):
                    value = short_repr(row.get(condition.field))
                    return (
                        f"activity {row['ID']} with {condition.field} {value}: "
                        "the condition on that field was ignored"
                    )
        return ""

    def take(self, name: str, answer: Any, total: object) -> Iterator[tuple[str, Command]]:
        """Take a right answer; yield what is to be asked next."""
        rows, kind = rows_of(answer) or [], name.removeprefix(self.name)
        ids = [id_of(row) or 0 for row in rows]
        after, last = self._open.pop(name, (0, 0))
        if kind == "last":
            self.last = ids[0] if ids else 0
        elif kind == "total":
            self.total = total if isinstance(total, int) else 0
        else:
            conditions = self.selection.conditions
            self.found |= {i for i, row in zip(ids, rows, strict=True) if belongs(conditions, row)}
        is_full = len(rows) >= PAGE
        if kind.startswith("first") and is_full:
            self._first_page_end = self._planned = ids[-1]
        elif kind.startswith("sweep") and is_full:
            yield self._ask("sweep", ids[-1], last)
        elif kind.startswith("range") and is_full and ids[-1] < last:
            # About as dense as what was just read.
            rest = (last - ids[-1]) * PAGE / (ids[-1] - after)
            yield from self._cut(ids[-1], last, rest)
        elif kind.startswith("ids") and is_full and ids[-1] < last:
            # With a condition on BINDINGS, an activity comes once for each of its links.
            further = [i for i in self.selection.ids or () if ids[-1] < i <= last]
            yield self._ask("ids", ids[-1], last, {"@ID": further})
        elif kind.startswith("down"):
            self._top, self._floor = (ids[0], ids[-1] - 1) if is_full else (0, after)
        if self.limit is not None and not self._open:
            yield from self._descend(self.limit)

    def _descend(self, limit: int) -> Iterator[tuple[str, Command]]:
        """Yield commands for the rows that lack, below those that are there."""
        rows, floor, end = limit - len(self.found), self._floor, self.selection.first - 1
        if rows > 0 and floor > end:
            width = math.ceil(_MORE * rows * (self._top - floor) / max(1, len(self.found)))
            self._floor = max(end, floor - width - PAGE)
            yield from self._cut(self._floor, floor, _MORE * rows)

    def rest(self) -> Iterator[tuple[str, Command]] | None:
        """Return the plan for what the first page left open, once its bounds are known."""
        if self._first_page_end is None or self.last is None or self.total is None:
            return None
        after, self._first_page_end = self._first_page_end, None
        rows = max(self.total - len(self.found), 1)
        return self._plan(after, max(after, self.last), rows)


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
        texts = {text.lower() for text in wanted}
        return "!" not in prefix or value is None or value.lower() not in texts
    if value is None:
        is_none = wanted == (None,) and prefix in ("=", ">=")
        return is_none or "!" in prefix or condition.is_loose
    if wanted == (None,):
        return prefix == "<"
    if "=" not in prefix[:1] and "@" not in prefix and prefix != "!=":
        slack = 0 if exact or wire is not Wire.DATETIME else _MAY_BE_OFF
        return _COMPARE[prefix](value, wanted[0], slack)
    if wire is Wire.DATETIME and not exact:
        near = any(abs(value - one) <= _MAY_BE_OFF for one in wanted)
        return near or "!" in prefix
    return (value in wanted) is ("!" not in prefix)


_COMPARE: Mapping[str, Callable[[Any, Any, float], bool]] = {
    ">": lambda value, bound, slack: value > bound - slack,
    ">=": lambda value, bound, slack: value >= bound - slack,
    "<": lambda value, bound, slack: value < bound + slack,
    "<=": lambda value, bound, slack: value <= bound + slack,
}

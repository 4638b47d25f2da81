"""Filters, order and pages of the portal's lists, with their pitfalls.

A portal silently ignores invalid conditions of a filter, and returns more rows than expected.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice, repeat
from typing import Any, NamedTuple

from b24frames.practice.dataset import Record, Store, Table, communications, links
from b24frames.practice.faults import Refused
from b24frames.practice.formats import as_int, as_list, as_map, comparable
from b24frames.schema import Wire

PAGE = 50
_KEY = re.compile(r"([!=<>@%?]*)(\w+)", re.ASCII)
_COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_COMMON = {op: op for op in ("=", "!=", "%", *_COMPARISONS)} | {"": "=", "!": "!="}
CRM_PREFIXES = _COMMON | {"@": "@", "!@": "!@", "=%": "like", "%=": "like"}
"""The operators of the prefixes of keys in a filter."""
ACTIVITY_PREFIXES = CRM_PREFIXES | {"!%": "%", "!=%": "like", "!%=": "like"}
"""The same in ``crm.activity.list``, which ignores the negation of ``%``."""
CALL_PREFIXES = _COMMON | {"?": "%", "!%": "!%", "><": "><", "!><": "!><"}
"""The same in ``voximplant.statistic.get``."""

_FILES = {"FILES", "WEBDAV_ELEMENTS", "STORAGE_ELEMENT_IDS"}
_ON_REQUEST = {"COMMUNICATIONS", "FILES", "IS_INCOMING_CHANNEL"}

Holds = Callable[[Any], bool]
Page = tuple[list[int], dict[str, int]]
"""The ids of a page, and its ``next`` and ``total``."""


class Condition(NamedTuple):
    """One valid entry of a filter.

    Attributes
    ----------
    field, operator : str
        Left side and operator.
    value : object
        The right side, as received.
    holds : callable
        Returns whether a comparable value satisfies the condition.
    """

    field: str
    operator: str
    value: Any
    holds: Holds


def parse_filter(
    table: Table, filters: Mapping[str, Any], prefixes: Mapping[str, str], strict: bool = False
) -> list[Condition]:
    """Parse a filter; drop invalid entries, or refuse them if the method is strict."""
    conditions = []
    for key, value in filters.items():
        match = _KEY.fullmatch(key)
        operator_ = prefixes.get(match[1]) if match else None
        field = table.names.get(match[2].upper()) if match else None
        if operator_ is None or field is None:
            if strict:
                raise Refused("INVALID_ARG_VALUE", f"Invalid filter: field '{key}' is not allowed")
            continue
        holds = _compile(operator_, table.fields[field], value)
        if holds is not None:
            conditions.append(Condition(field, operator_, value, holds))
    return conditions


def _compile(operator_: str, wire: Wire, value: object) -> Holds | None:
    """Return the predicate of a condition, or None if the portal drops the condition."""
    if operator_.startswith("!"):
        opposite, is_list = _compile(operator_[1:], wire, value), operator_ == "!@"
        # SQL's NOT IN is never true of NULL; other negations take it in.
        return opposite and (lambda found: not opposite(found) and not (is_list and found is None))
    if operator_ in _COMPARISONS and wire is Wire.INTEGER:
        value = as_int(value)
    items = as_list(value)
    if not items:
        return None
    if operator_ in ("%", "like"):
        texts = [re.escape(str(item).casefold()) for item in items]
        if operator_ == "like":
            texts = [text.replace("%", ".*").replace("_", ".") for text in texts]
        else:
            texts = [f".*{text}.*" for text in texts]
        pattern = re.compile("|".join(texts), re.DOTALL)
        return lambda found: found is not None and pattern.fullmatch(str(found)) is not None
    nothing = {Wire.INTEGER: 0, Wire.DOUBLE: 0.0}.get(wire)
    operands: list[Any] = [comparable(wire, item) or nothing for item in items]
    if operator_ in ("=", "@"):
        # A number that is 0 also equals NULL, but not in a list of ``@``.
        wanted = {*operands, *([None] if operator_ == "=" and 0 in operands else [])}
        return wanted.__contains__
    if None in operands:
        return lambda found: found is None
    if operator_ == "><":
        low, high = operands[0], operands[-1]
        return lambda found: found is not None and low <= found <= high
    compare = _COMPARISONS[operator_]
    return lambda found: found is not None and any(compare(found, it) for it in operands)


def find(
    table: Table,
    conditions: Sequence[Condition],
    order: Sequence[tuple[str, bool]],
    params: Mapping[str, Any],
    times: Callable[[int], int] = lambda _: 1,
) -> Page:
    """Return one page of the rows that satisfy all conditions.

    Parameters
    ----------
    table : Table
        All rows.
    conditions : sequence of Condition
        All of them must hold.
    order : sequence of (str, bool)
        The fields to sort by, and whether each is descending.
    params : mapping of str to object
        Those of the method: ``start`` is the first row; if negative, nothing is counted.
    times : callable
        Returns how often a row occurs; 0 if the user may not see it.
    """
    start = as_int(params.get("start"))
    key = next(iter(table.fields))
    others = [(c.field, c.holds) for c in conditions if c.field != key]
    ids = _candidates(table, [c for c in conditions if c.field == key])

    def matches(ids: Iterable[int]) -> Iterator[int]:
        for number in ids:
            if all(holds(table.value(number, field)) for field, holds in others):
                yield from repeat(number, times(number))

    if order and order[0][0] == key:
        return _cut(matches(reversed(ids) if order[0][1] else ids), start)
    # Ties are not broken: equal rows are in a different order on each page.
    found = sorted(matches(ids), key=lambda number: hash((start, number)))
    for field, descending in reversed(order):
        # Sorting is stable, so the last key is sorted by first; NULL is less than any value.
        values = {number: table.value(number, field) for number in found}
        found.sort(key=lambda n: (values[n] is not None, values[n]), reverse=descending)
    return _cut(found, start)


def _candidates(table: Table, conditions: Sequence[Condition]) -> Sequence[int]:
    """Return the sorted ids that satisfy conditions on ids, without reading a row."""
    # A portal may have a million rows: bounds and equality must not scan them.
    ids: Sequence[int] = table.ids()
    for condition in conditions:
        if condition.operator in ("=", "@"):
            wanted = sorted({as_int(item) for item in as_list(condition.value)})
            ids = [n for n in wanted if bisect_left(ids, n) < bisect_right(ids, n)]
    bounds = [(c.operator, as_int(c.value)) for c in conditions if c.operator in _COMPARISONS]
    low = max((bound + (op == ">") for op, bound in bounds if op.startswith(">")), default=0)
    highs = [bound - (op == "<") for op, bound in bounds if op.startswith("<")]
    ids = ids[bisect_left(ids, low) : bisect_right(ids, min(highs)) if highs else None]
    scans = [c.holds for c in conditions if c.operator not in ("=", "@", *_COMPARISONS)]
    return [n for n in ids if all(holds(n) for holds in scans)] if scans else ids


def _cut(found: Iterable[int], start: int) -> Page:
    """Return the page with the row `start`, or the first if there is none."""
    if start < 0:
        # Without a count, no row after the page has to be read.
        return list(islice(found, PAGE)), {}
    numbers = list(found)
    first = start // PAGE * PAGE
    first = first if first < len(numbers) else 0
    following = {"next": first + PAGE} if first + PAGE < len(numbers) else {}
    return numbers[first : first + PAGE], {**following, "total": len(numbers)}


def list_activities(
    store: Store, params: Mapping[str, Any], may_see: Callable[[int], bool]
) -> dict[str, Any]:
    """Return one page of ``crm.activity.list`` [1]_: records, and ``next`` and ``total``."""
    for name in ("filter", "order", "select"):
        if not isinstance(params.get(name) or [], (list, dict)):
            raise Refused("", f"Parameter '{name}' must be array.")
    filters = as_map(params.get("filter"))
    conditions = parse_filter(store.table, filters, ACTIVITY_PREFIXES)
    wanted = [
        (as_int(entry["OWNER_TYPE_ID"]), entry.get("OWNER_ID"))
        for entry in as_map(filters.get("BINDINGS")).values()
        if isinstance(entry, dict) and "OWNER_TYPE_ID" in entry
    ]
    asked = as_map(params.get("order")) or {"START_TIME": "ASC"}
    order = [
        (name.upper(), str(way).upper() != "ASC")
        for name, way in asked.items()
        if name.upper() in store.table.fields
    ]

    def times(number: int) -> int:
        if not may_see(number):
            return 0
        # A row occurs once for each of its links that matches.
        return not wanted or sum(
            any(kind == link[0] and (i is None or as_int(i) == link[1]) for kind, i in wanted)
            for link in links(store.table.row(number))
        )

    numbers, paging = find(store.table, conditions, order, params, times)
    names = {str(name).upper() for name in as_list(params.get("select") or "*")}
    return {"result": [_select(store.table.row(n), names) for n in numbers], **paging}


def _select(record: Record, names: Set[str]) -> Record:
    """Return the selected fields, and ID."""
    named = {"ID", *names}
    # Some fields bring others along.
    if named & _FILES:
        named.add("FILES")
    if "DESCRIPTION" in named:
        named |= {"PROVIDER_ID", "PROVIDER_TYPE_ID"}
    if "COMMUNICATIONS" in named:
        record = record | {"COMMUNICATIONS": communications(record)}
    if "IS_INCOMING_CHANNEL" in named:
        record = record | {"IS_INCOMING_CHANNEL": "NY"[str(record["DIRECTION"]) == "1"]}
    return {
        name: value
        for name, value in record.items()
        if name in named or ("*" in named and name not in _ON_REQUEST)
    }

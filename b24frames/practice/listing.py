"""Filter, order, select and pages of ``crm.activity.list``.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from b24frames.practice.formats import as_int, as_list, as_map, read_date
from b24frames.practice.store import Record, Store, communications
from b24frames.schema import ACTIVITY, Wire

PAGE = 50
_PREFIXED = re.compile(r"(!@|!=|!%|>=|<=|[@!><=%]?)(\w+)")
_ON_REQUEST = ("COMMUNICATIONS", "FILES")
_EQUALITIES = ("", "=", "@")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Condition(NamedTuple):
    """One entry of a filter."""

    prefix: str
    field: str
    value: Any

    def holds(self, value: object) -> bool:
        """Return whether the value of a record meets it."""
        if self.prefix.startswith("!"):
            return not self._replace(prefix=self.prefix[1:]).holds(value)
        if self.prefix == "%":
            return str(self.value).casefold() in str(value or "").casefold()
        left = _comparable(self.field, value)
        if self.prefix in _EQUALITIES:
            return left in [_comparable(self.field, item) for item in as_list(self.value)]
        right = _comparable(self.field, self.value)
        return None not in (left, right) and _COMPARISONS[self.prefix](left, right)


def list_activities(store: Store, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return one page of records, and its ``next`` and ``total``."""
    matches = _matches(store, as_map(params.get("filter")), as_map(params.get("order")))
    select = {str(name).upper() for name in as_list(params.get("select") or "*")}
    start = as_int(params.get("start"))
    paging: dict[str, int] = {}
    if start < 0:
        # Without a count, no record after the page has to be made.
        page = list(islice(matches, PAGE))
    else:
        found = list(matches)
        page = found[start : start + PAGE]
        paging = {"next": start + PAGE} if start + PAGE < len(found) else {}
        paging["total"] = len(found)
    records = (store.record(number) for number in page)
    return {"result": [_select(record, select) for record in records if record], **paging}


def _matches(store: Store, filters: Mapping[str, Any], order: Mapping[str, Any]) -> Iterable[int]:
    """Return the ids that match, in order; by id, they are searched only as far as needed."""
    parsed = [(_PREFIXED.fullmatch(key), value) for key, value in filters.items()]
    conditions = [Condition(m[1], m[2].upper(), value) for m, value in parsed if m]
    # Entries of unknown fields are ignored, as portals do.
    conditions = [c for c in conditions if c.field in ACTIVITY]
    ids = _candidates(store, [c for c in conditions if c.field == "ID"])
    others = [c for c in conditions if c.field != "ID"]
    keys = [(name.upper(), str(way).upper() == "DESC") for name, way in order.items()]
    if not keys or keys[0][0] == "ID":
        return _filtered(store, reversed(ids) if keys and keys[0][1] else ids, others)
    # Sorting is stable, so the last key comes first.
    found = list(_filtered(store, ids, others))
    for field, descending in reversed([key for key in keys if key[0] in ACTIVITY]):
        found.sort(key=partial(_sort_key, store, field), reverse=descending)
    return found


def _candidates(store: Store, conditions: Iterable[Condition]) -> Sequence[int]:
    """Return the sorted ids that meet conditions on ID, without making a record."""
    ids = store.ids()
    for condition in conditions:
        prefix, _, value = condition
        # A portal may have a million activities: bounds and equality must not scan them.
        if prefix in _COMPARISONS:
            bisect = bisect_right if prefix in (">", "<=") else bisect_left
            place = bisect(ids, as_int(value))
            ids = ids[place:] if prefix.startswith(">") else ids[:place]
        elif prefix in _EQUALITIES:
            wanted = sorted({as_int(item) for item in as_list(value)})
            ids = [i for i in wanted if bisect_left(ids, i) < bisect_right(ids, i)]
        else:
            ids = [i for i in ids if condition.holds(i)]
    return ids


def _filtered(store: Store, ids: Iterable[int], conditions: Collection[Condition]) -> Iterator[int]:
    """Yield the ids whose records meet the conditions."""
    for number in ids:
        record = store.record(number) if conditions else {}
        if record is not None and all(c.holds(record.get(c.field)) for c in conditions):
            yield number


def _sort_key(store: Store, field: str, number: int) -> tuple[bool, Any]:
    """Return what ids are sorted by: the value of a field, absent ones first."""
    value = _comparable(field, (store.record(number) or {}).get(field))
    return (False, 0) if value is None else (True, value)


def _comparable(field: str, value: object) -> Any:
    """Return a value as what it means, so that ``"5"`` is 5 and dates are instants."""
    if value is None or value == "":
        return None
    wire = ACTIVITY[field].wire
    if wire is Wire.INTEGER:
        return as_int(value)
    if wire is Wire.DATETIME:
        return read_date(str(value)) or datetime.min.replace(tzinfo=UTC)
    if wire is Wire.DOUBLE:
        try:
            return float(str(value))
        except ValueError:
            return None
    return str(value)


def _select(record: Record, names: Collection[str]) -> Record:
    """Return the fields that were asked for, and ID."""
    if "COMMUNICATIONS" in names:
        record = record | {"COMMUNICATIONS": communications(record)}
    return {
        name: value
        for name, value in record.items()
        if name == "ID"
        or name in names
        or ("*" in names and name not in _ON_REQUEST)
        or ("UF_*" in names and name.startswith("UF_"))
    }

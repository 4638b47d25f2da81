"""Filter, order, select and pages of ``crm.activity.list``.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from b24frames.practice.data import communications
from b24frames.practice.draft import Record
from b24frames.practice.forms import as_int, as_list, as_map, read_date
from b24frames.practice.store import Store
from b24frames.schema import ACTIVITY, Wire

PAGE = 50
_PREFIXED = re.compile(r"(!@|!=|!%|>=|<=|[@!><=%]?)(\w+)")
_ON_REQUEST = ("COMMUNICATIONS", "FILES")

_Condition = tuple[str, str, Any]
"""Prefix, field and value: one entry of a filter."""


def list_activities(store: Store, params: Mapping[str, Any]) -> tuple[list[Record], dict[str, int]]:
    """Return one page of records, and its ``next`` and ``total``."""
    matches = _matches(store, _conditions(params.get("filter")), as_map(params.get("order")))
    select = {str(name).upper() for name in as_list(params.get("select") or "*")}
    start = as_int(params.get("start"))
    paging: dict[str, int] = {}
    if start < 0:
        page = list(islice(matches, PAGE))
    else:
        found = list(matches)
        page = found[start : start + PAGE]
        paging = {"next": start + PAGE} if start + PAGE < len(found) else {}
        paging["total"] = len(found)
    records = (store.record(number) for number in page)
    return [_select(record, select) for record in records if record is not None], paging


def _conditions(filters: object) -> list[_Condition]:
    """Read a filter; what it asks of unknown fields is ignored, as portals do."""
    matches = ((_PREFIXED.fullmatch(key), value) for key, value in as_map(filters).items())
    return [(m[1], m[2].upper(), v) for m, v in matches if m and m[2].upper() in ACTIVITY]


def _matches(
    store: Store, conditions: Collection[_Condition], order: Mapping[str, Any]
) -> Iterable[int]:
    """Return the ids that match, in order; by id, they are found only as they are asked for."""
    ids = _ids_between(store, [c for c in conditions if c[1] == "ID"])
    others = [c for c in conditions if c[1] != "ID"]
    keys = [(str(k).upper(), str(v).upper() == "DESC") for k, v in order.items()]
    if not keys or keys[0][0] == "ID":
        return _filtered(store, reversed(ids) if keys and keys[0][1] else ids, others)
    found = list(_filtered(store, ids, others))
    for field, descending in reversed([key for key in keys if key[0] in ACTIVITY]):
        found.sort(key=_sort_key(store, field), reverse=descending)
    return found


def _ids_between(store: Store, conditions: Iterable[_Condition]) -> Sequence[int]:
    """Return the sorted ids that meet conditions on ID, without making a record."""
    ids = store.ids()
    for prefix, _, value in conditions:
        bound = as_int(value)
        if prefix in (">", ">="):
            ids = ids[(bisect_right if prefix == ">" else bisect_left)(ids, bound) :]
        elif prefix in ("<", "<="):
            ids = ids[: (bisect_left if prefix == "<" else bisect_right)(ids, bound)]
        elif prefix in ("", "=", "@"):
            wanted = sorted({as_int(item) for item in as_list(value)})
            ids = [i for i in wanted if _contains(ids, i)]
        else:
            ids = [i for i in ids if _holds(prefix, "ID", value, i)]
    return ids


def _contains(ids: Sequence[int], number: int) -> bool:
    """Tell whether a number is among sorted ids."""
    place = bisect_left(ids, number)
    return place < len(ids) and ids[place] == number


def _filtered(
    store: Store, ids: Iterable[int], conditions: Collection[_Condition]
) -> Iterator[int]:
    """Yield the ids whose records meet the conditions."""
    for number in ids:
        record = store.record(number) if conditions else {}
        if record is not None and all(
            _holds(prefix, field, value, record.get(field)) for prefix, field, value in conditions
        ):
            yield number


def _sort_key(store: Store, field: str) -> Callable[[int], tuple[bool, Any]]:
    """Return what ids are sorted by: the value of a field, absent ones first."""

    def key(number: int) -> tuple[bool, Any]:
        value = _comparable(field, (store.record(number) or {}).get(field))
        return (True, value) if value is not None else (False, 0)

    return key


def _holds(prefix: str, field: str, wanted: object, value: object) -> bool:
    """Tell whether a value meets a condition."""
    if prefix.startswith("!"):
        return not _holds(prefix[1:] or "=", field, wanted, value)
    if prefix == "%":
        return str(wanted).casefold() in str(value or "").casefold()
    left = _comparable(field, value)
    if prefix in ("", "=", "@"):
        return left in [_comparable(field, item) for item in as_list(wanted)]
    right = _comparable(field, wanted)
    if left is None or right is None:
        return False
    return bool(_COMPARISONS[prefix](left, right))


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


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
        return _as_float(str(value))
    return str(value)


def _as_float(text: str) -> float | None:
    """Return the number that a text is, or None."""
    try:
        return float(text)
    except ValueError:
        return None


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

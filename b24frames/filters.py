"""Conditions on activities: parsed and typed before any request, in the form the portal reads.

The portal ignores a key that it does not know and then gives everything, reads a date that it does
not understand as "is empty", and drops an empty list: so nothing of a user's goes there unchecked.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import cached_property
from math import inf, isfinite
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from b24frames.arguments import unknown_field
from b24frames.ids import GREATEST_ID, IdList
from b24frames.messages import short_repr, visible
from b24frames.schema import ACTIVITY, ALL_FIELDS, CALL, COLUMNS, Field, Wire, code_of

BINDINGS = "BINDINGS"
Filters = Sequence[Any]
"""As in `pandas.read_parquet`: conditions (field, operator, value) that must all hold, or a list of
such lists. Type checkers take what they infer for a mixture of these for a list of objects."""

_ORDERS = (">", ">=", "<", "<=")
_PREFIXES = {"==": "=", "=": "=", "!=": "!="} | {order: order for order in _ORDERS}
_PREFIXES |= {"in": "@", "not in": "!@", "contains": "%"}
_EQUALS = ("=", "!=", "@", "!@")
# The database's maximum, which says "none", at any offset is later; no date of anybody's is.
# What is before the year 1 the portal does not understand.
_NEVER = "9999-12-30T00:00:00Z"
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_128_000  # 0001-01-01 and _NEVER, since 1970
_WHERE = re.compile(
    r"\s*(\w+)\s*(==|!=|>=|<=|=|>|<|\bnot\s+in\b|\bin\b|\bcontains\b)(.*)", re.I | re.S
)


@dataclass(frozen=True)
class Condition:
    """One condition, as the portal reads it and as rows can be compared with it.

    Attributes
    ----------
    field : str
        The field.
    prefix : str
        The operator in the portal's form, such as ``>=`` or ``@``.
    values : tuple
        What the field is compared with; for ``=``, ``!=`` and ``@`` several. Integers, doubles,
        truth values, texts, or microseconds since 1970 in UTC; of BINDINGS pairs (type, id or
        None).
    """

    field: str
    prefix: str
    values: tuple[Any, ...]

    @property
    def key(self) -> str:
        """The key in the portal's filter."""
        return BINDINGS if self.field == BINDINGS else f"{self.prefix}{self.field}"

    @property
    def wire(self) -> Any:
        """The value in the portal's filter."""
        if self.field == BINDINGS:
            # Without the type, the portal would ignore a link.
            return [
                {"OWNER_TYPE_ID": kind} | ({"OWNER_ID": i} if i else {}) for kind, i in self.values
            ]
        if self.prefix == "=" and self.values == (None,):
            return ""
        write = _KINDS[ALL_FIELDS[self.field].wire].write
        written = [write(value) for value in self.asked]
        return written if self.prefix == "@" or len(written) > 1 else written[0]

    @cached_property
    def asked(self) -> tuple[Any, ...]:
        """The values that the portal compares the field with."""
        # Where it excludes 0, the portal excludes empty numbers, too.
        excludes_0 = self.is_loose and self.prefix == "!="
        return tuple(v for v in self.values if v != 0) if excludes_0 else self.values

    @cached_property
    def equals(self) -> frozenset[Any]:
        """The same to compare rows with: texts, whose case the portal ignores, in lower case."""
        return frozenset(v.lower() if isinstance(v, str) else v for v in self.asked)

    @cached_property
    def is_loose(self) -> bool:
        """Whether the portal gives more than matches: to it, an empty number is 0."""
        is_number = ALL_FIELDS[self.field].wire in (Wire.INTEGER, Wire.DOUBLE)
        return is_number and 0 in self.values and self.prefix not in (">", "<")


@dataclass(frozen=True)
class Selection:
    """What one filter of the portal selects: conditions that it can hold at once.

    Attributes
    ----------
    conditions : tuple of Condition
        Each key once, none on ID but for what is excluded.
    first, last : int
        The lowest and the highest id.
    ids : tuple of int or None
        The only ids, if they are known.
    """

    conditions: tuple[Condition, ...] = ()
    first: int = 1
    last: int = GREATEST_ID
    ids: tuple[int, ...] | None = None

    @property
    def filter(self) -> dict[str, Any]:
        """The portal's filter, but for ids."""
        found = {condition.key: condition.wire for condition in self.conditions if condition.asked}
        for condition in self.conditions:
            name, is_date = condition.field, ALL_FIELDS[condition.field].wire is Wire.DATETIME
            is_after = is_date and condition.prefix in (">", ">=") and condition.values != (None,)
            if is_after and not found.keys() & {f"<{name}", f"<={name}"}:
                # What has no date is stored as the greatest one: it is after none.
                found[f"<{name}"] = _NEVER
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the filter with the bounds of ids, as it is sent, and what is excluded here."""
        here = {c.key: list(c.values) for c in self.conditions if c.asked != c.values}
        bounds = {">=ID": self.first} if self.first > 1 else {}
        bounds |= {"<=ID": self.last} if self.last < GREATEST_ID else {}
        return self.filter | here | bounds | ({} if self.ids is None else {"@ID": IdList(self.ids)})

    @property
    def is_empty(self) -> bool:
        """Whether nothing can match."""
        return self.first > self.last or self.ids == ()

    @property
    def can_be_counted(self) -> bool:
        """Whether the portal's count is ours: no row comes twice, and only what matches comes."""
        repeats = any(condition.field == BINDINGS for condition in self.conditions)
        return self.ids is None and not repeats and not any(c.is_loose for c in self.conditions)

    @property
    def fits_batch(self) -> bool:
        """Whether no text in it could be taken for a reference to another command of a batch."""
        return not any("$" in v for c in self.conditions for v in c.values if isinstance(v, str))


Alternative = tuple[Selection, ...]
"""Selections that must all hold."""


def parse_filters(
    filters: Any, tz: tzinfo, fields: Mapping[str, Field] = ACTIVITY
) -> list[Alternative]:
    """Return the selections of which all must hold, for each alternative.

    Parameters
    ----------
    filters : list of tuple, list of list of tuple, or None
        Conditions (field, operator, value).
    tz : tzinfo
        The zone of dates without one.
    fields : mapping of str to Field
        The table that conditions are about; by default that of activities.

    Raises
    ------
    TypeError, ValueError
        What is not accepted; the message names it and what is.

    Examples
    --------
    >>> from datetime import UTC
    >>> filters = [("CREATED", ">=", "2026-10-01"), ("TYPE_ID", "==", "call")]
    >>> parse_filters(filters, UTC)[0][0].filter
    {'>=CREATED': '2026-10-01T00:00:00Z', '=TYPE_ID': 2, '<CREATED': '9999-12-30T00:00:00Z'}
    """
    if filters is None:
        return [(Selection(),)]
    if not isinstance(filters, list) or not filters:
        given = "an empty list" if isinstance(filters, list) else f"a {type(filters).__name__}"
        raise ValueError(f"filters: {given} was given; {_ACCEPTED}")
    if all(isinstance(part, list) and part for part in filters):
        alternatives = filters
    elif all(isinstance(part, tuple) for part in filters):
        alternatives = [filters]
    else:
        raise ValueError(f"filters: {short_repr(filters)} is neither of the two forms; {_ACCEPTED}")
    parsed = [[_parse_condition(part, tz, fields) for part in one] for one in alternatives]
    found = [_select(conditions) for one in parsed for conditions in _without_none(one)]
    return [selections for selections in found if not any(s.is_empty for s in selections)]


_ACCEPTED = (
    "accepted are a list of conditions (field, operator, value), such as "
    "[('TYPE_ID', '==', 'call')], a list of such lists, of which one must hold, and None for all"
)


def parse_where(text: str) -> tuple[str, str, Any]:
    """Return the condition of a text such as ``CREATED>=2026-10-01``.

    Examples
    --------
    >>> parse_where("TYPE_ID in call, meeting"), parse_where("SUBJECT contains offer")
    (('TYPE_ID', 'in', ['call', 'meeting']), ('SUBJECT', 'contains', 'offer'))
    """
    match = _WHERE.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{short_repr(text)} is not a condition, such as CREATED>=2026-10-01, "
            "'TYPE_ID in call,meeting' or 'SUBJECT contains offer'"
        )
    name, operator, value = match[1].upper(), " ".join(match[2].lower().split()), match[3].strip()
    if name == BINDINGS:
        pairs = (part.strip().split(":") for part in value.split(",") if part.strip())
        return name, operator, [(kind, ":".join(i) if i else None) for kind, *i in pairs]
    if operator in ("in", "not in"):
        return name, operator, [part.strip() for part in value.split(",") if part.strip()]
    return name, operator, None if (name, value.lower()) == ("DEADLINE", "none") else value


def _parse_condition(part: Any, tz: tzinfo, fields: Mapping[str, Field]) -> Condition:
    """Return a condition, or raise for what is wrong with it."""
    if not isinstance(part, tuple) or len(part) != 3:
        raise ValueError(f"filters: {short_repr(part)} is not a condition; {_ACCEPTED}")
    name, operator, value = part
    if name == BINDINGS and fields is ACTIVITY:
        return _parse_bindings(operator, value)
    accepted = (*FIELDS, BINDINGS) if fields is ACTIVITY else tuple(fields)
    if name not in accepted:
        why = f"{short_repr(name)} is not a field of a call"
        if isinstance(name, str) and name in (ACTIVITY if fields is ACTIVITY else CALL):
            why = f"{name} cannot be filtered by"
        elif fields is ACTIVITY:
            why = unknown_field(name)
        raise ValueError(f"filters: {why}; fields of conditions are {', '.join(accepted)}")
    field = fields[name]
    prefix = _PREFIXES.get(operator) if isinstance(operator, str) else None
    prefixes = _KINDS[field.wire].prefixes
    if prefix not in prefixes:
        known_as = [o for o, p in _PREFIXES.items() if p in prefixes and o != "="]
        raise ValueError(
            f"filters: {short_repr(operator)} is not an operator of {name}; "
            f"accepted are {', '.join(map(repr, known_as))}"
        )
    if "@" in prefix:
        return Condition(name, prefix, tuple(dict.fromkeys(_parse_list(field, value, tz))))
    if value is None and name == "DEADLINE" and prefix in ("=", "!="):
        return Condition(name, prefix, (None,))
    # What labels contain is not what their codes do.
    parsed = _parse_value(replace(field, labels={}) if prefix == "%" else field, value, tz)
    if field.wire is Wire.DATETIME:
        return Condition(name, *_on_whole_seconds(prefix, parsed, name, value))
    if prefix == "%" and not parsed:
        raise ValueError(f"filters: every text contains {value!r}; leave the condition out")
    return Condition(name, prefix, (parsed,))


def _is_list(values: Any) -> bool:
    """Return whether a value can be a list to compare with: no text, table or lone number."""
    is_one = isinstance(values, (str, bytes, Mapping)) or getattr(values, "ndim", 1) != 1
    return isinstance(values, Iterable) and not is_one


def _parse_list(field: Field, values: Any, tz: tzinfo) -> Iterator[Any]:
    """Yield the values of a list."""
    if not _is_list(values):
        given = f"{short_repr(values)} (a {type(values).__name__})"
        raise ValueError(f"filters: {field.name} is compared with {given}; a list is needed")
    for value in values:
        parsed = _parse_value(field, value, tz)
        is_date = field.wire is Wire.DATETIME
        yield _on_whole_seconds("=", parsed, field.name, value)[1][0] if is_date else parsed


def _parse_bindings(operator: Any, pairs: Any) -> Condition:
    """Return the condition on the objects that an activity is linked to."""
    accepted = "accepted is ('BINDINGS', 'in', [('deal', 5), (3, 7), ('company', None)])"
    if operator != "in" or not _is_list(pairs):
        raise ValueError(
            f"filters: BINDINGS {short_repr(operator)} {short_repr(pairs)}; {accepted}"
        )
    values = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"filters: BINDINGS: {short_repr(pair)} is not a pair; {accepted}")
        owner_type = _parse_value(ACTIVITY["OWNER_TYPE_ID"], pair[0])
        i = None if pair[1] is None else _parse_value(ACTIVITY["OWNER_ID"], pair[1])
        if i is not None and i < 1:
            raise ValueError(f"filters: BINDINGS: {short_repr(pair)}: no object has this id")
        values.append((owner_type, i))
    return Condition(BINDINGS, "@", tuple(dict.fromkeys(values)))


def _parse_value(field: Field, value: Any, tz: tzinfo = UTC) -> Any:
    """Return what a field is compared with; a date in microseconds since 1970."""
    value = code_of(field, value.as_py() if hasattr(value, "as_py") else value)  # of Arrow
    with suppress(ValueError, TypeError, ArithmeticError, NotImplementedError):  # NaN, infinity …
        parsed = _KINDS[field.wire].parse(value, tz)
        if parsed is not None:
            return parsed
    accepted = _KINDS[field.wire].accepted
    if field.labels and field.wire is Wire.INTEGER:
        accepted += f", or one of {', '.join(map(repr, field.labels.values()))}"
    elif field.name == "DEADLINE":
        accepted += "; None with == and !="
    given = f"{short_repr(value)} (a {type(value).__name__})"
    raise ValueError(f"filters: {field.name} is compared with {given}; accepted are {accepted}")


def _is_number(value: Any) -> bool:
    """Return whether a value is a number of any library; to NumPy, time spans are some, too."""
    return isinstance(value, (Real, Decimal)) and not isinstance(value, (bool, np.timedelta64))


def _parse_integer(value: Any, _: tzinfo) -> int | None:
    is_text = isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,19}\s*", value, re.A)
    is_whole = is_text or (_is_number(value) and int(value) == value)
    return int(value) if is_whole and -(2**63) <= int(value) < 2**63 else None


def _parse_double(value: Any, _: tzinfo) -> float | None:
    is_text = isinstance(value, str) and value.isascii() and "_" not in value
    is_finite = (is_text or _is_number(value)) and isfinite(float(value))
    return float(value) + 0.0 if is_finite else None  # no -0.0


def _parse_flag(value: Any, _: tzinfo) -> bool | None:
    if isinstance(value, str):
        return {"Y": True, "N": False}.get(value)
    return bool(value) if isinstance(value, (bool, np.bool_)) else None


def _parse_text(value: Any, _: tzinfo) -> str | None:
    return str(value) if isinstance(value, str) and visible(value) == value else None


def _parse_date(value: Any, tz: tzinfo) -> int | None:
    """Return a moment [us since 1970]; without a zone it is meant in `tz`."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    if not isinstance(value, (date, np.datetime64)) or pd.isna(value):
        return None
    moment = pd.Timestamp(value).as_unit("us")
    if moment.tz is None:
        # A time that a zone skips is when it does so; of one that comes twice, the first is meant,
        # or by its `fold` the second. In some zones that befalls midnight.
        is_first = not getattr(value, "fold", 0)
        moment = moment.tz_localize(tz, ambiguous=is_first, nonexistent="shift_forward")
    return int(moment.asm8.astype("int64")) | (pd.Timestamp(value).nanosecond > 0)


def _on_whole_seconds(prefix: str, moment: int, name: str, value: object) -> tuple[str, tuple[int]]:
    """Return a comparison with a moment as one with whole seconds, which the portal has."""
    seconds, rest = divmod(moment, 1_000_000)
    if rest and prefix not in _ORDERS:
        raise ValueError(f"filters: {name} has whole seconds only, so it is never {value!r}")
    if rest and prefix in (">=", "<"):
        prefix = {">=": ">", "<": "<="}[prefix]
    return prefix, (max(_FIRST_SECOND, min(seconds, _LAST_SECOND)) * 1_000_000,)


def _write_date(value: int | None) -> str:
    """Return a moment as the portal reads it whatever carries it: no ``+`` that could be lost."""
    return _NEVER if value is None else f"{np.datetime64(value // 1_000_000, 's')}Z"


class _Kind(NamedTuple):
    """How conditions on the fields of one wire form are parsed and written."""

    prefixes: tuple[str, ...]
    parse: Callable[[Any, tzinfo], Any]
    write: Callable[[Any], Any]
    accepted: str


_NUMBERS = (*_EQUALS, *_ORDERS)
_DATES = "datetime, Timestamp, date and ISO text, such as '2026-10-01T09:00+03:00'"
_KINDS: Mapping[Wire, _Kind] = {
    Wire.INTEGER: _Kind(_NUMBERS, _parse_integer, int, "int and str of digits"),
    # No exponent.
    Wire.DOUBLE: _Kind(_NUMBERS, _parse_double, lambda v: f"{Decimal(repr(v)):f}", "numbers"),
    Wire.FLAG: _Kind(_EQUALS, _parse_flag, lambda v: "Y" if v else "N", "True, False, 'Y' and 'N'"),
    Wire.TEXT: _Kind((*_EQUALS, "%"), _parse_text, str, "texts"),
    Wire.DATETIME: _Kind(_NUMBERS, _parse_date, _write_date, _DATES),
}
FIELDS = tuple(name for name in COLUMNS if ACTIVITY[name].wire in _KINDS)
"""The fields that conditions may be about, besides BINDINGS."""


def _without_none(conditions: Sequence[Condition]) -> list[list[Condition]]:
    """Replace the question for no deadline, which is stored in two ways, by alternatives."""
    plain = [c for c in conditions if c.values != (None,)]
    asked = {c.prefix for c in conditions if c.values == (None,)}
    has_date = any(c.field == "DEADLINE" and "!" not in c.prefix for c in plain)
    if "=" in asked:
        stored = [] if has_date or "!=" in asked else [">=", "="]
        return [[*plain, Condition("DEADLINE", prefix, (None,))] for prefix in stored]
    return [[*plain, Condition("DEADLINE", "<", (None,))]] if asked and not has_date else [plain]


def _select(conditions: Sequence[Condition]) -> Alternative:
    """Return the fewest selections that hold all conditions; one filter has each key once."""
    first, last, known = 1, GREATEST_ID, None
    by_key: dict[tuple[str, str], list[Condition]] = {}
    for condition in conditions:
        name, prefix, values = condition.field, condition.prefix, condition.values
        if name == "ID" and "!" not in prefix:
            if prefix in ("=", "@"):
                known = {*values} if known is None else known.intersection(values)
            first = max(first, values[0] + (prefix == ">")) if prefix in (">", ">=") else first
            last = min(last, values[0] - (prefix == "<")) if prefix in ("<", "<=") else last
            continue
        key = (name, "!@" if prefix == "!=" else "@" if prefix == "=" else prefix)
        by_key.setdefault(key, []).append(condition)
    merged = [_merge(name, prefix, some) for (name, prefix), some in by_key.items()]
    ids = None if known is None else tuple(sorted(i for i in known if first <= i <= last))
    if any(part.prefix == "@" and not part.values for parts in merged for part in parts):
        ids = ()
    return tuple(
        Selection(tuple(parts[number % len(parts)] for parts in merged if parts), first, last, ids)
        for number in range(max((len(parts) for parts in merged), default=1) or 1)
    )


def _merge(name: str, prefix: str, some: Sequence[Condition]) -> list[Condition]:
    """Return conditions on one field with one operator as few, or as several that must all hold."""
    if prefix in _ORDERS:
        best = max if prefix in (">", ">=") else min
        return [best(some, key=lambda c: inf if c.values[0] is None else c.values[0])]
    if prefix == "!@":
        # Sent as != with a list: to ``!@``, as to SQL's NOT IN, nothing empty ever matches.
        values = tuple(dict.fromkeys(value for c in some for value in c.values))
        return [Condition(name, "!=", values)] if values else []
    is_exact = name != BINDINGS and ALL_FIELDS[name].wire is not Wire.TEXT
    if prefix == "@" and is_exact:
        values = tuple(sorted(set.intersection(*(set(c.values) for c in some))))
        return [Condition(name, "=" if len(values) == 1 else "@", values)]
    # Texts that differ may be equal to the portal, and links and parts of a text are many. In a
    # list of ``@`` the empty text is not none.
    return list(dict.fromkeys(replace(c, prefix="=") if "" in c.values else c for c in some))

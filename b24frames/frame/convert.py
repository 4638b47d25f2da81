"""From the raw values of one field to typed arrays: each distinct text is read once.

The parsers are the law, value by value: every one returns None for a value that says nothing, and
raises `ValueError`, `OverflowError` or `RecursionError` for one that cannot be understood. What is
of the usual wire form is read all at once, with the same result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from b24frames.schema import Wire

NOT_UNDERSTOOD = (ValueError, OverflowError, RecursionError)
NO_DEADLINE = "9999-12-31"
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


def parse_integer(value: Any) -> int | None:
    """Read an integer of 64 bits in a string, or a JSON number.

    Examples
    --------
    >>> parse_integer("007"), parse_integer(7.0), parse_integer("")
    (7, 7, None)
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        number = int(_ascii(value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value):
        number = int(value)
    else:
        raise ValueError(value)
    if not -(2**63) <= number < 2**63:
        raise OverflowError(value)
    return number


def parse_double(value: Any) -> float | None:
    """Read a double in a string, or a JSON number.

    Examples
    --------
    >>> parse_double("1500.5000")
    1500.5
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(value)
    number = float(_ascii(value) if isinstance(value, str) else value)
    if not isfinite(number):
        raise ValueError(value)
    return number


def parse_instant(value: Any) -> int | None:
    """Read a date and time with offset as microseconds since 1970 in UTC; None: no deadline.

    Examples
    --------
    >>> parse_instant("1970-01-01T02:00:01+02:00")
    1000000
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(value)
    if value.startswith(NO_DEADLINE):
        return None
    moment = datetime.fromisoformat(value)
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(value)
    instant = (moment.replace(tzinfo=None) - EPOCH - offset) // MICROSECOND
    EPOCH + instant * MICROSECOND  # OverflowError: before the year 1 or after 9999 in UTC
    return instant


def parse_flag(value: Any) -> bool | None:
    """Read Y or N, or a JSON truth value.

    Examples
    --------
    >>> parse_flag("Y")
    True
    """
    if value is None or value == "":
        return None
    if value is True or value is False:
        return bool(value)
    if value in ("Y", "N"):
        return bool(value == "Y")
    raise ValueError(value)


def parse_text(value: Any) -> str | None:
    """Keep text as it is, and write a number as text.

    Examples
    --------
    >>> parse_text(7)
    '7'
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError(value)


def parse_object(value: Any) -> dict[str, Any] | None:
    """Keep an object, or read it from JSON text; PHP writes an empty one as a list.

    Examples
    --------
    >>> parse_object([]), parse_object('{"A": 1}')
    ({}, {'A': 1})
    """
    nested = _parse_nested(value)
    if nested is None or isinstance(nested, dict):
        return nested
    # A PHP array with the keys 0, 1, 2 … arrives as a list.
    return {str(position): part for position, part in enumerate(nested)}


def parse_list(value: Any) -> list[Any] | None:
    """Keep a list, or read it from JSON text; PHP writes one with gaps in its keys as an object.

    Examples
    --------
    >>> parse_list({"1": "x"})
    ['x']
    """
    nested = _parse_nested(value)
    return list(nested.values()) if isinstance(nested, dict) else nested


def parse_storable(value: Any) -> str | None:
    """Keep text that can be written as UTF-8, which is all that Arrow takes."""
    text = parse_text(value)
    if text is not None:
        text.encode()  # UnicodeEncodeError: a lone surrogate
    return text


def as_json(parse: Callable[[Any], Any]) -> Callable[[Any], str | None]:
    """Return a parser that gives JSON text where `parse` gives a nested value.

    Examples
    --------
    >>> as_json(parse_object)([])
    '{}'
    """

    def parse_to_json(value: Any) -> str | None:
        nested = parse(value)
        if nested is None or isinstance(nested, str):
            return parse_storable(nested)
        return json.dumps(nested)

    return parse_to_json


def keep(value: Any) -> Any:
    """Keep any value as it is."""
    return value


def _ascii(text: str) -> str:
    """Refuse what only Python reads as a number: other scripts' digits, and underscores."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text


def _parse_nested(value: Any) -> Any:
    """Keep an object or a list, or read it from JSON text; PHP writes false for a broken one."""
    if isinstance(value, str) and value:
        value = json.loads(value)
    if value is None or value is False or value == "":
        return None
    if not isinstance(value, (dict, list)):
        raise ValueError(value)
    return value


PARSERS: Mapping[Wire, Callable[[Any], Any]] = {
    Wire.INTEGER: parse_integer,
    Wire.DOUBLE: parse_double,
    Wire.DATETIME: parse_instant,
    Wire.FLAG: parse_flag,
    Wire.TEXT: parse_text,
    Wire.OBJECT: parse_object,
    Wire.LIST: parse_list,
    Wire.ANY: keep,
}
ARROW_PARSERS: Mapping[Wire, Callable[[Any], Any]] = {
    **PARSERS,
    Wire.TEXT: parse_storable,
    Wire.OBJECT: as_json(parse_object),
    Wire.LIST: as_json(parse_list),
    Wire.ANY: as_json(keep),
}

# numpy dtype of the values of each wire form that is no object.
_KINDS = {Wire.INTEGER: "i8", Wire.DOUBLE: "f8", Wire.FLAG: "?", Wire.DATETIME: "i8"}
# JSON values, besides text, whose str is how the field's text would write them.
_NUMBERS: dict[Wire, set[type]] = {Wire.INTEGER: {int}, Wire.DOUBLE: {int, float}}
# Types of JSON values that stay as they are.
_PLAIN: dict[Wire, set[type]] = {Wire.TEXT: {str}, Wire.OBJECT: {dict}, Wire.LIST: {list}}

DATE_LENGTH = len("2020-09-27T13:26:55+02:00")
_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24]
_SEPARATORS = [4, 7, 10, 13, 16, 22]
_SECOND = 1_000_000  # [us]
_FIRST = (EPOCH.min - EPOCH) // MICROSECOND
_LAST = (EPOCH.max - EPOCH) // MICROSECOND


@dataclass(frozen=True)
class Texts:
    """Raw values that are all text or null, each distinct one kept once.

    Attributes
    ----------
    codes : numpy.ndarray of int, shape (m,)
        The position in `distinct` of each value; -1: null.
    distinct : sequence of str
        The texts.
    """

    codes: npt.NDArray[np.int64]
    distinct: Sequence[str]

    def objects(self) -> list[str | None]:
        """Return the values, None where they are null."""
        values = [*self.distinct, None]
        return [values[code] for code in self.codes.tolist()]


@dataclass(frozen=True)
class Typed:
    """Typed values of one field.

    Attributes
    ----------
    values : numpy.ndarray, shape (m,)
        Integers, doubles, truth values, microseconds since 1970 in UTC, or objects.
    na : numpy.ndarray of bool, shape (m,)
        Where there is none; nowhere for objects, which are None there.
    bad : dict of int to object
        The values that were not understood, by their position.
    """

    values: npt.NDArray[Any]
    na: npt.NDArray[np.bool_]
    bad: dict[int, Any] = field(default_factory=dict)


def coerce(column: Sequence[Any] | Texts, wire: Wire, arrow: bool) -> Typed:
    """Return the typed values of a column.

    Parameters
    ----------
    column : sequence or Texts
        The raw values as JSON has them, or texts.
    wire : Wire
        The usual wire form.
    arrow : bool
        Whether they are for Arrow, where nested values are JSON text.

    Examples
    --------
    >>> coerce(["7", "", 5, "x"], Wire.INTEGER, arrow=False)
    Typed(values=array([7, 0, 5, 0]), na=array([False,  True, False,  True]), bad={3: 'x'})
    """
    if wire in _KINDS:
        texts = column if isinstance(column, Texts) else _factorize(column, wire)
        if texts is not None:
            return _coerce_texts(texts, wire)
    objects = column.objects() if isinstance(column, Texts) else column
    if wire is Wire.OBJECT and not arrow:
        # Each its own, since rows must not share what can be changed.
        objects = [{} if value == "[]" or value == [] else value for value in objects]
    return _coerce_each(objects, wire, arrow)


def coerce_dates(letters: npt.NDArray[np.uint8]) -> Typed | None:
    """Read dates of the usual form, 25 letters each; None where one of them is not."""
    instants, understood, given = _instants(letters)
    return Typed(instants, ~given) if understood.all() else None


def no_values(rows: int, wire: Wire) -> Typed:
    """Return a column in which nothing is given."""
    if wire not in _KINDS:
        return Typed(as_objects([None] * rows), np.zeros(rows, np.bool_))
    return Typed(np.zeros(rows, _KINDS[wire]), np.ones(rows, np.bool_))


def as_objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Return an array of any objects; numpy would look into lists."""
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array


def _plain_types(values: Sequence[Any], wire: Wire, arrow: bool) -> set[type]:
    """Return the types of the values that stay as they are."""
    if arrow and not (wire is Wire.TEXT and _is_storable(values)):
        return {type(None)}
    return {type(None)} | _PLAIN.get(wire, set())


def _is_storable(values: Sequence[Any]) -> bool:
    """Tell whether all values are texts that can be written as UTF-8, or nothing."""
    try:
        "".join(filter(None, values)).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True


def _coerce_each(column: Sequence[Any], wire: Wire, arrow: bool) -> Typed:
    """Read the values one by one."""
    parse = (ARROW_PARSERS if arrow else PARSERS)[wire]
    plain = _plain_types(column, wire, arrow)
    values, bad = list(column), {}
    for position, value in enumerate(column):
        if type(value) not in plain:
            try:
                values[position] = parse(value)
            except NOT_UNDERSTOOD:
                values[position], bad[position] = None, value
    if wire not in _KINDS:
        return Typed(as_objects(values), np.zeros(len(values), np.bool_), bad)
    na = np.array([value is None for value in values], np.bool_)
    return Typed(np.array([value or 0 for value in values], _KINDS[wire]), na, bad)


def _factorize(column: Sequence[Any], wire: Wire) -> Texts | None:
    """Return the values as texts; None where some are neither text nor a usual number."""
    if wire is Wire.DATETIME and set(map(type, column)) <= {str, type(None)}:
        return Texts(np.arange(len(column)), [value or "" for value in column])  # few are equal
    try:
        distinct = set(column)
    except TypeError:  # nested values
        return None
    distinct.discard(None)
    # All values are looked at, since 1, 1.0 and True are one in a set.
    usual = {str, type(None)} | _NUMBERS.get(wire, set())
    if not set(map(type, distinct)) <= {str} and not set(map(type, column)) <= usual:
        return None
    codes = {value: code for code, value in enumerate(distinct)}
    codes[None] = -1
    found = np.fromiter(map(codes.__getitem__, column), np.int64, len(column))
    return Texts(found, [v if type(v) is str else repr(v) for v in distinct])


def _coerce_texts(texts: Texts, wire: Wire) -> Typed:
    """Read each distinct text once."""
    read = _read_instants if wire is Wire.DATETIME else _read_numbers
    given = np.fromiter(map(bool, texts.distinct), np.bool_, len(texts.distinct))
    distinct = no_values(len(given) + 1, wire)  # the last one is that of the code -1
    _put(read([text for text in texts.distinct if text], wire), np.flatnonzero(given), distinct)
    bad: dict[int, Any] = {}
    if distinct.bad:
        positions = np.flatnonzero(np.isin(texts.codes, list(distinct.bad)))
        bad = {int(p): distinct.bad[int(texts.codes[p])] for p in positions}
    return Typed(distinct.values[texts.codes], distinct.na[texts.codes], bad)


def _put(some: Typed, positions: npt.NDArray[np.int64], typed: Typed) -> None:
    """Put some values in their places."""
    typed.values[positions], typed.na[positions] = some.values, some.na
    typed.bad.update({int(positions[p]): value for p, value in some.bad.items()})


def _read_numbers(texts: Sequence[str], wire: Wire) -> Typed:
    """Read texts all at once, where none of them is unusual."""
    kind = {Wire.INTEGER: int, Wire.DOUBLE: float}.get(wire)
    if kind is not None and _is_ascii(texts):
        try:
            values = np.array(list(map(kind, texts)), _KINDS[wire])
        except (ValueError, OverflowError):
            return _coerce_each(texts, wire, arrow=False)
        if np.isfinite(values).all():
            return Typed(values, np.zeros(len(values), np.bool_))
    return _coerce_each(texts, wire, arrow=False)


def _is_ascii(texts: Sequence[str]) -> bool:
    """Refuse what only Python reads as a number: other scripts' digits, and underscores."""
    text = "".join(texts)
    return text.isascii() and "_" not in text


def _read_instants(texts: Sequence[str], wire: Wire) -> Typed:
    """Read dates of the usual form all at once, and the others one by one."""
    typed = no_values(len(texts), wire)
    read = np.fromiter(map(len, texts), np.int64, len(texts)) == DATE_LENGTH
    try:
        letters = np.array([text for text in texts if len(text) == DATE_LENGTH], f"S{DATE_LENGTH}")
    except UnicodeEncodeError:
        read[:] = False
    else:
        instants, understood, given = _instants(letters.view(np.uint8).reshape(-1, DATE_LENGTH))
        read[read] = understood
        typed.values[read] = instants[understood]
        typed.na[read] = ~given[understood]
    rest = np.flatnonzero(~read)
    _put(_coerce_each([texts[i] for i in rest.tolist()], wire, arrow=False), rest, typed)
    return typed


def _instants(
    letters: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Read dates of the usual form, ``YYYY-MM-DDThh:mm:ss±hh:mm``.

    Returns microseconds since 1970 in UTC, what was understood, and what is not "no deadline".
    """
    digits = letters[:, _DIGITS] - np.uint8(ord("0"))
    sign = letters[:, 19]
    is_date = (
        (digits <= 9).all(axis=1)
        & (letters[:, _SEPARATORS] == np.frombuffer(b"--T:::", np.uint8)).all(axis=1)
        & ((sign == ord("+")) | (sign == ord("-")))
    )
    pairs = digits[:, 0::2].astype(np.int64) * 10 + digits[:, 1::2]
    century, year, month, day, hour, minute, second, off_hour, off_minute = pairs.T
    year = century * 100 + year
    days = _days_since_1970(year, month, day)
    is_date &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    is_date &= day <= _days_since_1970(year, month + 1, 1) - _days_since_1970(year, month, 1)
    is_date &= (hour < 24) & (minute < 60) & (second < 60) & (off_hour < 24) & (off_minute < 60)
    offset = np.where(sign == ord("-"), -60, 60) * (off_hour * 60 + off_minute)
    instants = (days * 86_400 + hour * 3_600 + minute * 60 + second - offset) * _SECOND
    no_deadline = letters[:, :10] == np.frombuffer(NO_DEADLINE.encode(), np.uint8)
    given = ~no_deadline.all(axis=1)
    in_range = (instants >= _FIRST) & (instants <= _LAST)
    return instants, is_date & (in_range | ~given), given


def _days_since_1970(
    year: npt.NDArray[np.int64], month: npt.NDArray[np.int64], day: npt.NDArray[np.int64] | int
) -> npt.NDArray[np.int64]:
    """Count days of the Gregorian calendar; years are taken to begin in March, after leap days."""
    year = year - (month <= 2)
    leap_days = year // 4 - year // 100 + year // 400
    days: npt.NDArray[np.int64] = year * 365 + leap_days + (153 * ((month + 9) % 12) + 2) // 5 + day
    return days - 719_469

"""From the raw values of one field to typed arrays: each distinct text is parsed once.

The parsers define the result of each value: None for an empty one, and `ValueError`,
`OverflowError` or `RecursionError` for an invalid one. Values of the usual wire form are parsed
all at once, with the same result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from b24frames.messages import visible
from b24frames.schema import Wire
from b24frames.serialization import as_plain

BAD_VALUE = (ValueError, OverflowError, RecursionError)
# The date that portals write for activities without a deadline.
NO_DEADLINE = "9999-12-31"
_EXACT = 2**53  # beyond it, what was a double has lost digits
_OF_NUMPY = (np.integer, np.floating, np.bool_)


def parse_integer(value: Any) -> int | None:
    """Parse a 64-bit integer in a string, or a JSON number.

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
    """Parse a double in a string, or a JSON number.

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


def parse_datetime(value: Any) -> datetime | None:
    """Parse a date and time with offset into naive UTC; None for no deadline.

    Examples
    --------
    >>> parse_datetime("1970-01-01T02:00:01+02:00")
    datetime.datetime(1970, 1, 1, 0, 0, 1)
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(value)
    if value.startswith(NO_DEADLINE):
        return None
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(value)
    # OverflowError: in UTC, the year would be 0 or 10 000.
    return moment.astimezone(UTC).replace(tzinfo=None)


def parse_flag(value: Any) -> bool | None:
    """Parse Y or N, or a JSON boolean.

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
    """Return text that UTF-8 can encode, or a number as text.

    Examples
    --------
    >>> parse_text(7)
    '7'
    """
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError: a lone surrogate
    elif isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ValueError(value)
    return None if value is None else str(value)


def parse_object(value: Any) -> dict[str, Any] | None:
    """Return an object, or parse it from JSON text; PHP writes an empty one as a list.

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
    """Return a list, or parse it from JSON text; PHP writes one with gaps as an object.

    Examples
    --------
    >>> parse_list({"1": "x"})
    ['x']
    """
    nested = _parse_nested(value)
    return list(nested.values()) if isinstance(nested, dict) else nested


def unix_seconds(text: Any) -> int:
    """Return a date and time in seconds since 1970; 0 if it is none.

    Examples
    --------
    >>> unix_seconds("1970-01-01T03:00:05+03:00"), unix_seconds("")
    (5, 0)
    """
    with suppress(*BAD_VALUE):
        if moment := parse_datetime(text):
            return int(moment.replace(tzinfo=UTC).timestamp())
    return 0


def as_json(parse: Callable[[Any], Any]) -> Callable[[Any], str | None]:
    """Return a parser that returns the nested values of `parse` as JSON text.

    Examples
    --------
    >>> as_json(parse_object)([])
    '{}'
    """
    empty = json.dumps(parse([]))  # as most are

    def parse_to_json(value: Any) -> str | None:
        if value == []:
            return empty
        nested = parse(value)
        if nested is None or isinstance(nested, str):
            return parse_text(nested)
        return json.dumps(nested, default=as_plain)

    return parse_to_json


def of_numbers(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a parser that takes numbers of NumPy and decimal ones as Python's own.

    Examples
    --------
    >>> of_numbers(parse_integer)(np.int64(7))
    7
    """

    def parse_number(value: Any) -> Any:
        if isinstance(value, Decimal) and value.is_finite() and abs(value) < _EXACT:
            value = int(value) if value == int(value) else float(value)
        elif isinstance(value, _OF_NUMPY) and not isinstance(value, np.timedelta64):
            value = value.item()
        return parse(value)

    return parse_number


def parse_any(value: Any) -> Any:
    """Return any value as it is, except for text that UTF-8 cannot encode."""
    return parse_text(value) if isinstance(value, str) else value


def _ascii(text: str) -> str:
    # int() and float() also accept digits of other scripts, and underscores.
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text


def _parse_nested(value: Any) -> Any:
    """Return an object or a list, or parse it from JSON text."""
    if isinstance(value, str) and value:
        value = json.loads(value)
    # PHP writes false for data that it cannot unserialize.
    if value is None or value is False or value == "":
        return None
    if not isinstance(value, (dict, list)):
        raise ValueError(value)
    return value


PARSERS: Mapping[Wire, Callable[[Any], Any]] = {
    Wire.INTEGER: of_numbers(parse_integer),
    Wire.DOUBLE: of_numbers(parse_double),
    Wire.DATETIME: parse_datetime,
    Wire.FLAG: of_numbers(parse_flag),
    Wire.TEXT: of_numbers(parse_text),
    Wire.OBJECT: parse_object,
    Wire.LIST: parse_list,
    Wire.ANY: parse_any,
}
ARROW_PARSERS: Mapping[Wire, Callable[[Any], Any]] = {
    **PARSERS,
    Wire.OBJECT: as_json(parse_object),
    Wire.LIST: as_json(parse_list),
    Wire.ANY: as_json(parse_any),
}

# NumPy dtypes of wire forms; the others are objects.
_KINDS = {Wire.INTEGER: "i8", Wire.DOUBLE: "f8", Wire.FLAG: "?", Wire.DATETIME: "M8[us]"}
# Wire forms of numbers, and of JSON values, besides text, whose str is the text of the same value.
_NUMBERS: dict[Wire, type] = {Wire.INTEGER: int, Wire.DOUBLE: int}
# Types of JSON values that stay as they are.
_PLAIN: dict[Wire, set[type]] = {Wire.OBJECT: {dict}, Wire.LIST: {list}}

# The usual wire form of dates and times: all digits zero, all signs plus; files have a space for T.
_SHAPE = b"0000+00+00T00:00:00+00:00"
_TO_SHAPE = bytes.maketrans(b"123456789- ", b"000000000+T")
_LENGTH = len(_SHAPE)


Column = Any
"""The raw values of a field: a list of JSON values; a numpy.ndarray of integers, or of objects of
which any NA is null; or a pyarrow.ChunkedArray of text."""


@dataclass(frozen=True)
class TypedColumn:
    """Typed values of one field.

    Attributes
    ----------
    values : numpy.ndarray, shape (m,)
        Integers, doubles, booleans, dates and times in UTC, or objects.
    na : numpy.ndarray of bool, shape (m,)
        Which values are NA; all False for objects, which are None instead.
    bad : dict of int to object
        The invalid values by position.
    """

    values: npt.NDArray[Any]
    na: npt.NDArray[np.bool_]
    bad: dict[int, Any] = field(default_factory=dict)

    def put(self, positions: npt.NDArray[np.int64], some: TypedColumn) -> None:
        """Set the values at these positions."""
        self.values[positions], self.na[positions] = some.values, some.na
        self.bad.update({int(positions[p]): value for p, value in some.bad.items()})


def convert_all(
    columns: Mapping[str, Column], wires: Mapping[str, Wire], rows: int, arrow: bool
) -> dict[str, TypedColumn]:
    """Return the typed values of some columns; a missing column is NA."""
    return {
        name: convert(columns[name], wire, arrow) if name in columns else _all_na(rows, wire)
        for name, wire in wires.items()
    }


def convert(column: Column, wire: Wire, arrow: bool) -> TypedColumn:
    """Return the typed values of a column.

    Parameters
    ----------
    column : list, numpy.ndarray or pyarrow.ChunkedArray
        The raw values.
    wire : Wire
        The wire form of the field.
    arrow : bool
        Whether the values are for Arrow, where nested ones are JSON text.

    Examples
    --------
    >>> convert(["7", "", 5, "x"], Wire.INTEGER, arrow=False)
    TypedColumn(values=array([7, 0, 5, 0]), na=array([False,  True, False,  True]), bad={3: 'x'})
    """
    if wire is Wire.DATETIME:
        return _convert_datetimes(column)
    if isinstance(column, np.ndarray) and column.dtype.kind == "i":
        return TypedColumn(column.astype(np.int64), np.zeros(len(column), np.bool_))
    # Nested values are shared as text only: rows must not share an object.
    if wire in _KINDS or (arrow and wire in _PLAIN):
        factorized = _factorize(column, wire)
        if factorized is not None:
            return _convert_factorized(*factorized, wire, arrow)
    values = as_objects(column)
    if wire is Wire.OBJECT and not arrow:
        # A new dict for each, since rows must not share a mutable value.
        values = [{} if value == "[]" or value == [] else value for value in values]
    return _convert_each(values, wire, arrow)


def is_arrow(column: Column) -> bool:
    """Return whether a column is text of Arrow."""
    return not isinstance(column, (list, np.ndarray))


def as_objects(column: Column) -> list[Any]:
    """Return the raw values of a column, None for null."""
    if isinstance(column, list):
        return column
    if is_arrow(column):
        values = column.to_numpy(zero_copy_only=False)
    else:
        values = column.astype(np.object_)
        values[pd.isna(column)] = None
    objects: list[Any] = values.tolist()
    return objects


def is_unwritable(value: object, wire: Wire) -> bool:
    """Return whether an invalid value is text, which is kept with escapes instead of NA."""
    return isinstance(value, str) and wire in (Wire.TEXT, Wire.ANY)


def _all_na(rows: int, wire: Wire) -> TypedColumn:
    if wire not in _KINDS:
        return TypedColumn(np.full(rows, None, np.object_), np.zeros(rows, np.bool_))
    return TypedColumn(np.zeros(rows, _KINDS[wire]), np.ones(rows, np.bool_))


def _convert_each(column: Sequence[Any], wire: Wire, arrow: bool = False) -> TypedColumn:
    parse = (ARROW_PARSERS if arrow else PARSERS)[wire]
    plain = {type(None)} | (set() if arrow else _PLAIN.get(wire, set()))
    if wire is Wire.TEXT:
        # One check of all texts at once; only if it fails is each checked.
        with suppress(TypeError, UnicodeEncodeError):
            "".join(value for value in column if value is not None).encode()
            plain.add(str)
    values, bad = list(column), {}
    for position, value in enumerate(column):
        if type(value) not in plain:
            try:
                values[position] = parse(value)
            except BAD_VALUE:
                values[position], bad[position] = None, value
                if is_unwritable(value, wire):
                    values[position] = visible(value)
    typed = _all_na(len(values), wire)
    if wire in _KINDS:
        typed.na[:] = [value is None for value in values]
        given = [value for value in values if value is not None]
        typed.values[~typed.na] = np.array(given, _KINDS[wire])
    else:
        typed.values[:] = values
    typed.bad.update(bad)
    return typed


def _factorize(column: Column, wire: Wire) -> tuple[npt.NDArray[np.intp], Sequence[str]] | None:
    """Return codes, -1 for null, and distinct texts; None if some are no text nor usual number."""
    if is_arrow(column):
        encoded = column.combine_chunks().dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return codes, as_objects(encoded.dictionary)
    # The types of all values, since 1, 1.0 and True are equal.
    if not set(map(type, column)) <= {str, type(None), _NUMBERS.get(wire, str)}:
        return None
    codes, distinct = pd.factorize(np.asarray(column, np.object_))
    return codes, [value if type(value) is str else repr(value) for value in distinct]


def _convert_factorized(
    codes: npt.NDArray[np.intp], texts: Sequence[str], wire: Wire, arrow: bool
) -> TypedColumn:
    """Parse each distinct text once."""
    given = np.fromiter(map(bool, texts), np.bool_, len(texts))
    distinct = _all_na(len(given) + 1, wire)  # the last one is that of the code -1
    typed = _convert_distinct([text for text in texts if text], wire, arrow)
    distinct.put(np.flatnonzero(given), typed)
    positions = np.flatnonzero(np.isin(codes, list(distinct.bad))) if distinct.bad else ()
    bad = {int(p): distinct.bad[int(codes[p])] for p in positions}
    return TypedColumn(distinct.values[codes], distinct.na[codes], bad)


def _convert_distinct(texts: Sequence[str], wire: Wire, arrow: bool) -> TypedColumn:
    """Parse texts, numbers all at once, unless one of them is invalid."""
    if wire in _NUMBERS:
        with suppress(ValueError, OverflowError):
            _ascii("".join(texts))
            parse = int if wire is Wire.INTEGER else float
            values = np.array(list(map(parse, texts)), _KINDS[wire])
            if np.isfinite(values).all():
                return TypedColumn(values, np.zeros(len(values), np.bool_))
    return _convert_each(texts, wire, arrow)


def _convert_datetimes(column: Column) -> TypedColumn:
    """Parse all values of the usual wire form at once, and the others one by one."""
    encoded = _encode_datetimes(column)
    usual = np.frombuffer(encoded.tobytes().translate(_TO_SHAPE), encoded.dtype) == _SHAPE
    # Away from the first and last day of the calendar, and with offsets below 20:00.
    usual &= (encoded > b"0001-01-03") & (encoded < b"9999-12-30")
    letters = encoded.view(np.uint8).reshape(-1, _LENGTH).T.astype(np.int64, order="C")
    pairs = letters[:-1] * 10 + letters[1:] - 11 * ord("0")  # numbers of two digits
    month, day, hour, minute, second = pairs[5:18:3]
    year, offset = pairs[0] * 100 + pairs[2], pairs[20] * 60 + pairs[23]
    months = (year * 12 + month - 23_641).astype("M8[M]")
    days = months.astype("M8[D]") + (day - 1)
    usual &= (month > 0) & (month < 13) & (days.astype("M8[M]") == months)
    usual &= (hour < 24) & (minute < 60) & (second < 60) & (pairs[20] < 20) & (pairs[23] < 60)
    offset *= np.where(letters[19] == ord("-"), -1, 1)
    moments = days.astype("M8[us]") + ((hour * 60 + minute - offset) * 60 + second).astype("m8[s]")
    typed = _all_na(len(column), Wire.DATETIME)
    typed.values[usual], typed.na[usual] = moments[usual], False
    rest = np.flatnonzero(~usual & (encoded.astype("S10") != NO_DEADLINE.encode()))
    values = column.take(rest) if is_arrow(column) else [column[p] for p in rest.tolist()]
    typed.put(rest, _convert_each(as_objects(values), Wire.DATETIME))
    return typed


def _encode_datetimes(column: Column) -> npt.NDArray[np.bytes_]:
    """Return the texts of the usual length, and spaces in place of all else."""
    other, dtype = " " * _LENGTH, f"S{_LENGTH}"
    if not is_arrow(column):
        texts = [v if type(v) is str and len(v) == _LENGTH else other for v in column]
        return np.frombuffer("".join(texts).encode("ascii", "replace"), dtype)
    import pyarrow.compute as pc  # optional: the extra "arrow"

    usual = pc.fill_null(pc.equal(pc.binary_length(column), _LENGTH), False)
    _, _, letters = pc.if_else(usual, column, other).combine_chunks().buffers()
    return np.frombuffer(letters or b"", dtype, len(column))

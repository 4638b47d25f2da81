"""From the value of one field, as JSON writes it, to what it says: pure, one value at a time.

Every parser returns None for a value that says nothing, and raises `ValueError`, `OverflowError`
or `RecursionError` for one that cannot be understood.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

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

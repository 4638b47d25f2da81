"""One record as one line of JSON whose values are all text, as it is kept and typed.

A line holds the known fields as strings: numbers and flags in their usual wire form, nested values
as JSON text; null fields are left out. All else (fields that are not known, values of an unusual
wire form) is one JSON object in text under the empty name. Lines of this form can be read by
Arrow, column by column, and lose nothing that a frame shows. Tokens in addresses are no part of
them, since lines are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

from b24frames.credentials import remove_tokens
from b24frames.schema import ACTIVITY, COLUMNS, Wire

OTHER = ""
"""The name of what is not a text of a known field."""

_ALWAYS = frozenset(COLUMNS)
_SOMETIMES = frozenset(ACTIVITY) - _ALWAYS
_MARKS = tuple(f'"{name}":'.encode() for name in (OTHER, *_SOMETIMES))

# `json.dumps` would make an encoder for each of many short texts.
_to_json = json.JSONEncoder(separators=(",", ":")).encode  # ASCII: survives lone surrogates too
_to_unescaped_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def encode_record(record: Mapping[str, Any]) -> bytes:
    r"""Return a record, decoded from JSON, as a line; without the tokens in its addresses.

    Examples
    --------
    >>> encode_record({"ID": 7, "SETTINGS": [], "ORIGIN_ID": None, "UF_CRM_1": [5]})
    b'{"ID":"7","SETTINGS":"[]","":"{\\"UF_CRM_1\\":[5]}"}'
    """
    line: dict[str, str] = {}
    other: dict[str, Any] = {}
    for name, value in record.items():
        write = _WRITERS.get(name)
        if write is not None and type(value) is str:
            line[name] = value
        elif value is None and name in _ALWAYS:
            continue
        elif write is None or (text := write(value)) is None:
            other[name] = value
        else:
            line[name] = text
    if other:
        line[OTHER] = _to_json(other)
    try:
        encoded = _to_unescaped_json(line).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can write
        encoded = _to_json(line).encode()
    return remove_tokens(encoded) if b"=" in encoded or b"/" in encoded else encoded


def as_plain(value: Any) -> Any:
    """Return arrays of NumPy as lists, dates as ISO text, and what else JSON lacks as text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def decode_record(line: bytes) -> dict[str, Any]:
    """Return the record of a line, its known fields as text.

    Examples
    --------
    >>> decode_record(encode_record({"ID": 7, "UF_CRM_1": [5]}))
    {'ID': '7', 'UF_CRM_1': [5]}
    """
    return merge_other(json.loads(line))


def merge_other(record: dict[str, Any]) -> dict[str, Any]:
    """Put what a decoded line has under the empty name back in its place."""
    other = record.pop(OTHER, None)
    return record if other is None else {**record, **json.loads(other)}


def extra_names(lines: Iterable[bytes]) -> set[str]:
    """Return the names of the fields in some lines that not every frame has as a column."""
    with_extras = (line for line in lines if any(mark in line for mark in _MARKS))
    return {name for line in with_extras for name in decode_record(line)} - set(COLUMNS)


def _integer_text(value: object) -> str | None:
    """Return the usual text of an integer."""
    return str(value) if type(value) is int else None


def _number_text(value: object) -> str | None:
    """Return the usual text of a number."""
    if type(value) is int or (isinstance(value, float) and isfinite(value)):
        return repr(value)
    return None


def _flag_text(value: object) -> str | None:
    """Return the usual letter of a truth value."""
    return None if type(value) is not bool else "Y" if value else "N"


def _nested_text(value: object) -> str | None:
    """Return the JSON text of a nested value; PHP writes false where it cannot read its own."""
    if value == []:  # most are
        return "[]"
    return _to_json(value) if value is False or isinstance(value, (dict, list)) else None


_TEXTS: Mapping[Wire, Callable[[object], str | None]] = {
    Wire.INTEGER: _integer_text,
    Wire.DOUBLE: _number_text,
    Wire.FLAG: _flag_text,
    Wire.TEXT: _number_text,
    Wire.DATETIME: lambda _: None,
    Wire.OBJECT: _nested_text,
    Wire.LIST: _nested_text,
}
_WRITERS = {name: _TEXTS[field.wire] for name, field in ACTIVITY.items()}

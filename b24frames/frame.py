"""From raw records to a typed DataFrame: pure, without network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, Literal

import numpy as np
import pandas as pd

from b24frames.errors import BadValueError, BadValueWarning, name_some, short_repr, warn_caller
from b24frames.schema import ACTIVITY, COLUMNS, CUSTOM_FIELD_PREFIX, DTYPES, Wire

Backend = Literal["numpy_nullable", "pyarrow"]
OnBadValue = Literal["warn", "raise"]
_RECORDS_AT_ONCE = 200  # a few dicts at a time: the garbage collector looks at all there are
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_NO_DEADLINE = "9999-12-31"


@dataclass(frozen=True)
class Layout:
    """What the frame is to look like.

    Attributes
    ----------
    columns : tuple of str, optional
        The fields to keep, in that order; None: all.
    index_col : str, optional
        The field that becomes the index; None: a RangeIndex.
    dtype_backend : {"numpy_nullable", "pyarrow"}
        The family of dtypes.
    tz : tzinfo
        The zone of the datetime columns.
    on_bad_value : {"warn", "raise"}
        What to do about a value that cannot be understood.
    """

    columns: tuple[str, ...] | None = None
    index_col: str | None = "ID"
    dtype_backend: Backend = "numpy_nullable"
    tz: tzinfo = UTC
    on_bad_value: OnBadValue = "warn"

    def names(self, extras: Iterable[str]) -> list[str]:
        """Return the names of all columns, index included, given the extra fields of the data."""
        index = () if self.index_col is None else (self.index_col,)
        columns = (*COLUMNS, *extras) if self.columns is None else self.columns
        return list(dict.fromkeys((*index, *columns)))


@dataclass
class _Columns:
    """The raw values of each column, filled with some records at a time."""

    values: dict[str, list[Any]]
    rows: int = 0
    extras: set[str] = field(default_factory=set)

    def add(self, records: Sequence[Mapping[str, Any]], keep_extras: bool) -> None:
        """Append records; a field that one lacks is None."""
        if keep_extras:
            for name in {name for record in records for name in record} - self.values.keys():
                self.values[name] = [None] * self.rows
                self.extras.add(name)
        for name, column in self.values.items():
            column += [record.get(name) for record in records]
        self.rows += len(records)


def build_frame(
    records: Iterable[Mapping[str, Any]], layout: Layout, extras: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the typed frame of raw records, one row each.

    Parameters
    ----------
    records : iterable of mapping
        Records as the portal sent them, decoded from JSON; m of them.
    layout : Layout
        Columns, index, dtypes and zone.
    extras : sequence of str, optional
        The columns beyond the 39 that every frame has; by default those that the records have.

    Returns
    -------
    pandas.DataFrame, shape (m, k)
        Columns and dtypes do not depend on the values, but for extra fields.

    Raises
    ------
    BadValueError
        A value cannot be understood, and ``on_bad_value`` is ``"raise"``.

    Warns
    -----
    BadValueWarning
        Values that cannot be understood became NA.

    Examples
    --------
    >>> frame = build_frame([{"ID": "7", "TYPE_ID": "2"}], Layout(columns=("TYPE_ID",)))
    >>> frame
        TYPE_ID
    ID
    7         2
    """
    names = layout.names(extras or ())
    # The id is read along in any case: a bad value is named with it.
    columns = _Columns({name: [] for name in dict.fromkeys((*names, "ID"))})
    keep_extras = layout.columns is None and extras is None
    source = iter(records)
    while some := list(islice(source, _RECORDS_AT_ONCE)):
        columns.add(some, keep_extras)
    names += sort_extras(columns.extras)
    typed = {name: _type_column(name, columns.values, layout) for name in names}
    index = pd.RangeIndex(columns.rows)
    if layout.index_col is not None:
        index = pd.Index(typed.pop(layout.index_col), name=layout.index_col)
    # As Series, since a DataFrame made of object arrays looks for a narrower dtype.
    frame = pd.DataFrame(
        {name: pd.Series(values, copy=False) for name, values in typed.items()},
        index=pd.RangeIndex(columns.rows),
    )
    return frame.set_axis(index, axis="index")


def nested_to_json(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose nested values are JSON text, so that it can be written to a file.

    Examples
    --------
    >>> frame = build_frame([{"ID": "7", "SETTINGS": {"DURATION": 5}}], Layout())
    >>> nested_to_json(frame).at[7, "SETTINGS"]
    '{"DURATION": 5}'
    """
    parse = _as_json(_PARSERS[Wire.ANY])
    texts = {
        str(name): pd.array([parse(value) for value in column], dtype="string")
        for name, column in frame.select_dtypes("object").items()
    }
    return frame.assign(**texts)


def sort_extras(extras: Iterable[str]) -> list[str]:
    """Return the names of extra fields in the order of their columns: known ones first."""
    known = [name for name in ACTIVITY if name not in COLUMNS]
    return sorted(
        set(extras) - set(COLUMNS),
        key=lambda name: (known.index(name), "") if name in known else (len(known), name),
    )


def is_column(name: object) -> bool:
    """Tell whether a frame can have a column of this name: a known field, or a portal's own."""
    return isinstance(name, str) and (name in ACTIVITY or name.startswith(CUSTOM_FIELD_PREFIX))


def _type_column(name: str, columns: Mapping[str, list[Any]], layout: Layout) -> Any:
    """Return the values of one column as an array of its dtype."""
    wire = ACTIVITY[name].wire if name in ACTIVITY else Wire.ANY
    arrow = layout.dtype_backend == "pyarrow"
    parse = _ARROW_PARSERS.get(wire, _PARSERS[wire]) if arrow else _PARSERS[wire]
    parsed: list[Any] = []
    bad: list[int] = []
    known: dict[str, Any] = {}  # most columns repeat few texts
    nested = wire in (Wire.OBJECT, Wire.LIST)  # rows must not share what can be changed
    for position, value in enumerate(columns[name]):
        try:
            if type(value) is not str or nested:
                parsed.append(parse(value))
            elif value in known:
                parsed.append(known[value])
            else:
                parsed.append(known.setdefault(value, parse(value)))
        except (ValueError, OverflowError, RecursionError):
            parsed.append(None)
            bad.append(position)
    if bad:
        _report(name, wire, [(columns["ID"][i], columns[name][i]) for i in bad], layout)
    array = _instants(parsed, layout.tz) if wire is Wire.DATETIME else _array(parsed, wire)
    return _to_arrow(array, wire) if arrow else array


def _report(name: str, wire: Wire, bad: list[tuple[Any, Any]], layout: Layout) -> None:
    """Warn of, or raise for, the values of one field that cannot be understood."""
    shown = [f"{short_repr(value)} (id {short_repr(i).strip(chr(39))})" for i, value in bad]
    values = "value" if len(bad) == 1 else "values"
    message = f"{name}: {len(bad)} {values} not understood as {wire}: {name_some(shown)}"
    if layout.on_bad_value == "raise":
        raise BadValueError(message)
    warn_caller(f"{message}; NA in place of each", BadValueWarning)


def _parse_integer(value: Any) -> int | None:
    """Read an integer in a string, or a JSON number."""
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


def _ascii(text: str) -> str:
    """Refuse what only Python reads as a number: other scripts' digits, and underscores."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text


def _parse_double(value: Any) -> float | None:
    """Read a double in a string, or a JSON number."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(value)
    number = float(_ascii(value) if isinstance(value, str) else value)
    if not np.isfinite(number):
        raise ValueError(value)
    return number


def _parse_instant(value: Any) -> int | None:
    """Read a date and time with offset as microseconds since 1970 in UTC; NA for "no deadline"."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(value)
    if value.startswith(_NO_DEADLINE):
        return None
    moment = datetime.fromisoformat(value)
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(value)
    instant = (moment.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND
    _EPOCH + instant * _MICROSECOND  # OverflowError: before the year 1 or after 9999 in UTC
    return instant


def _parse_flag(value: Any) -> bool | None:
    """Read Y or N, or a JSON truth value."""
    if value is None or value == "":
        return None
    if value is True or value is False:
        return value
    if value in ("Y", "N"):
        return bool(value == "Y")
    raise ValueError(value)


def _parse_text(value: Any) -> str | None:
    """Keep text as it is, and write a number as text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError(value)


def _parse_object(value: Any) -> dict[str, Any] | None:
    """Keep an object; PHP writes an empty one as a list, and false where it cannot read it."""
    nested = _parse_nested(value)
    if nested is None or isinstance(nested, dict):
        return nested
    if nested == []:
        return {}
    # A PHP array with the keys 0, 1, 2 … arrives as a list.
    return {str(position): part for position, part in enumerate(nested)}


def _parse_list(value: Any) -> list[Any] | None:
    """Keep a list; PHP writes one with gaps in its keys as an object."""
    nested = _parse_nested(value)
    return list(nested.values()) if isinstance(nested, dict) else nested


def _parse_nested(value: Any) -> Any:
    """Keep an object or a list, or read it from JSON text."""
    if isinstance(value, str) and value:
        value = json.loads(value)
    if value is None or value is False or value == "":
        return None
    if not isinstance(value, (dict, list)):
        raise ValueError(value)
    return value


def _as_json(parse: Callable[[Any], Any]) -> Callable[[Any], str | None]:
    """Return a parser that gives JSON text where `parse` gives a nested value."""

    def parse_to_json(value: Any) -> str | None:
        nested = parse(value)
        if nested is None or isinstance(nested, str):
            return _parse_storable(nested)
        return json.dumps(nested, ensure_ascii=True)

    return parse_to_json


def _parse_storable(value: Any) -> str | None:
    """Keep text that can be written as UTF-8, which is all that Arrow takes."""
    text = _parse_text(value)
    if text is not None:
        text.encode()  # UnicodeEncodeError: a lone surrogate
    return text


_PARSERS: Mapping[Wire, Callable[[Any], Any]] = {
    Wire.INTEGER: _parse_integer,
    Wire.DOUBLE: _parse_double,
    Wire.DATETIME: _parse_instant,
    Wire.FLAG: _parse_flag,
    Wire.TEXT: _parse_text,
    Wire.OBJECT: _parse_object,
    Wire.LIST: _parse_list,
    Wire.ANY: lambda value: value,
}
_ARROW_PARSERS: Mapping[Wire, Callable[[Any], Any]] = {
    Wire.TEXT: _parse_storable,
    Wire.OBJECT: _as_json(_parse_object),
    Wire.LIST: _as_json(_parse_list),
    Wire.ANY: _as_json(_PARSERS[Wire.ANY]),
}


def _array(values: list[Any], wire: Wire) -> Any:
    """Return parsed values as an extension array of the nullable family."""
    dtype: Any = DTYPES["numpy_nullable"][wire]
    if dtype == "string":
        # One storage whatever is installed: Arrow's cannot keep a lone surrogate.
        return pd.array(values, dtype=pd.StringDtype("python"))
    if dtype == "object":
        return pd.Series(values, dtype=dtype)
    return pd.array(values, dtype=dtype)


def _instants(values: list[int | None], tz: tzinfo) -> Any:
    """Return microseconds since 1970 in UTC as an array of dates and times in a zone."""
    nat = np.iinfo(np.int64).min
    instants = np.array([nat if v is None else v for v in values], dtype=np.int64)
    return pd.DatetimeIndex(instants.view("M8[us]")).tz_localize("UTC").tz_convert(tz).array


def _to_arrow(array: Any, wire: Wire) -> Any:
    """Return the array with the dtype of the pyarrow family."""
    import pyarrow as pa  # optional: the extra "arrow"

    text = DTYPES["pyarrow"][wire].startswith("string")
    data = pa.array(array, type=pa.string() if text else None, from_pandas=True)
    return pd.arrays.ArrowExtensionArray(data)

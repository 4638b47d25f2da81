"""To files and other programs, and back: pure functions of frames.

`typed` reads what `storable` and `spreadsheet_safe` write, and whatever pandas reads from a file
or makes of records.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api import types

from b24frames.accessor.analysis import NAME_COLUMNS, text_dtype
from b24frames.errors import BadValueWarning
from b24frames.messages import name_some, one_line, warn_at_caller
from b24frames.schema import ALL_FIELDS, Wire, is_column
from b24frames.serialization import as_plain

if TYPE_CHECKING:
    from b24frames.frame import Layout

_MOST_IN_CELL = 32_767  # characters of UTF-16, in Excel and what follows it
_EXACT = 2**53  # beyond it a double has lost digits
_FLAGS = {form(str(flag)): flag for flag in (True, False) for form in (str, str.lower, str.upper)}
# An apostrophe more or less in front of these; so none is lost that the text itself has.
_FORMULA = re.compile(r"(?='*[=+\-@\t\r\n＝＋－＠])")
_ESCAPED = re.compile(r"\A'(?='*[=+\-@\t\r\n＝＋－＠])")
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# No deadline is the last day of the calendar in the portal's zone; none is further east than this.
_NO_DEADLINE = np.datetime64("9999-12-30T10", "s")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Also of what stands beside activities.
_WIRES = {name: field.wire for name, field in ALL_FIELDS.items()} | dict.fromkeys(
    NAME_COLUMNS, Wire.TEXT
)


def typed(frame: pd.DataFrame, layout: Layout, *, from_spreadsheet: bool = False) -> pd.DataFrame:
    """Return a frame whose fields have the dtypes of `read_activities`."""
    from b24frames.frame import build_frame_of_columns  # the import of b24frames does without it

    names = [name for name, column in frame.items() if _is_field(name, column)]
    if not names and frame.index.name != "ID":
        raise AttributeError(
            "this frame has no column that is a field of an activity, such as TYPE_ID; "
            "accepted are records, and what was written from a frame of activities"
        )
    if not frame.columns.is_unique:
        raise ValueError("this frame has several columns of one name")
    columns = {str(name): frame[name] for name in names}
    by_id = frame.index.name == "ID" and "ID" not in columns
    if by_id:
        columns["ID"] = frame.index.to_series()
    if from_spreadsheet:
        _warn_of_long_texts(columns.items(), operator.eq, "they may have been cut")
    values = {n: _raw_values(c, _wire(n), from_spreadsheet) for n, c in columns.items()}
    layout = replace(layout, columns=tuple(values), index_col=None)
    built = build_frame_of_columns(values, len(frame), layout, _WIRES)
    index = pd.Index(built["ID"].array, name="ID") if by_id else frame.index
    result = frame.set_axis(index, axis="index")
    result = result.assign(**{str(name): built[name].set_axis(index) for name in names})
    result.attrs = deepcopy(frame.attrs)
    return result


def storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame that any file and any other program can take; `typed` undoes it."""
    return _with_texts(frame, _SURROGATE, str)


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of which a spreadsheet executes nothing, and that it can show."""

    def safe_name(name: Any) -> Any:
        return escape_formula(name) if isinstance(name, str) else name

    def dates_as_text(dates: pd.Series) -> Any:  # spreadsheets know no zones
        return pd.array(_iso_texts(dates), pd.StringDtype())

    dated = frame.copy(deep=False)
    for position, (_, column) in enumerate(frame.items()):
        if _is_date(column):
            dated.isetitem(position, dates_as_text(column))
    dated.index = _with_levels(frame.index, _is_date, dates_as_text)
    safe = _with_texts(dated, _UNSEEN, escape_formula)
    _warn_of_long_texts(safe.items(), operator.gt, "Excel cuts them")
    return safe.rename(columns=safe_name).rename_axis(index=safe_name)


def escape_formula(text: str) -> str:
    """Put an apostrophe in front of text that a spreadsheet would take for a formula.

    Examples
    --------
    >>> escape_formula("=1+1"), escape_formula("1+1")
    ("'=1+1", '1+1')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def to_json(frame: pd.DataFrame) -> str:
    """Return a frame as JSON: a list of objects, nested values and null as such.

    Dates are ISO text. Numbers keep all their digits, which `DataFrame.to_json` cuts.

    Examples
    --------
    >>> to_json(pd.DataFrame({"RESULT_SUM": [0.1], "SETTINGS": [{"A": None}]}))
    '[{"RESULT_SUM": 0.1, "SETTINGS": {"A": null}}]'
    """
    records: list[dict[str, Any]] = [{} for _ in range(len(frame))]
    for name, column in frame.items():
        values = _iso_texts(column) if _is_date(column) else _without_na(column)
        if _wire(name) in (Wire.OBJECT, Wire.LIST):  # the pyarrow backend has JSON text
            values = [json.loads(v) if isinstance(v, str) else v for v in values]
        for record, value in zip(records, values, strict=True):
            record[str(name)] = value
    return json.dumps(records, ensure_ascii=False, default=as_plain)


def _is_field(name: object, column: pd.Series) -> bool:
    """Return whether a column is a field; one of a new release has capitals and text."""
    is_raw = _is_text(column) and not isinstance(column.dtype, pd.CategoricalDtype)
    is_known = name in _WIRES or is_column(name)
    return is_known or (isinstance(name, str) and name.isupper() and is_raw)


def _wire(name: Any) -> Wire:
    return _WIRES.get(name, Wire.ANY)


def _raw_values(column: pd.Series, wire: Wire, from_spreadsheet: bool) -> Any:
    """Return the values of a column as the portal would have sent them, text perhaps by Arrow."""
    if column.dtype.type is date:  # Arrow's days, which to pandas are dates with times
        return _iso_texts(column)
    if _is_date(column):
        return _utc_texts(column)
    read, is_escaped = _READERS.get(wire), from_spreadsheet and wire in (Wire.TEXT, Wire.ANY)
    texts = None if is_escaped else _arrow_text(column)
    if texts is not None and (
        read is None
        or wire is Wire.DATETIME
        or all(read(text) is text for text in texts.unique().to_pylist())
    ):
        return texts
    if wire is Wire.INTEGER and isinstance(column.dtype, np.dtype) and column.dtype.kind in "iO":
        return column.to_numpy()
    values = _without_na(column)
    if wire in (Wire.INTEGER, Wire.TEXT) and types.is_float_dtype(column.dtype):
        return [None if v is None else _whole(v) for v in values]
    if is_escaped:
        return [_ESCAPED.sub("", v, count=1) if isinstance(v, str) else v for v in values]
    if wire is Wire.FLAG and types.is_numeric_dtype(column.dtype):
        # Flags with gaps become doubles where pandas reads JSON or Excel.
        return [bool(v) if v in (0, 1) else v for v in values]
    if read is None or set(map(type, values)) <= _AS_SENT:
        return values
    return [read(v) for v in values]


def _arrow_text(column: pd.Series) -> Any:
    """Return the pyarrow.ChunkedArray of a column that Arrow holds as text; None for others."""
    if not isinstance(column.array, pd.arrays.ArrowExtensionArray):
        return None
    import pyarrow as pa  # which holds the column

    texts = column.array.__arrow_array__()
    if texts.type in (pa.string(), pa.large_string()):
        with suppress(pa.ArrowInvalid):  # over 2 GB
            return texts.cast(pa.string())
    return None


def _whole(number: float) -> object:
    """Return the integer that pandas has made a double of, in a column with gaps."""
    if abs(number) >= _EXACT:
        return Decimal(number)  # which is refused: its last digits are not what they were
    return int(number) if number.is_integer() else number


def _read_nested(value: object) -> object:
    """Read what `DataFrame.to_csv` writes for an object (Python's own notation), and arrays."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str) and value:
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            try:
                return ast.literal_eval(value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                return value
    return value


_READERS: Mapping[Wire, Callable[[Any], object]] = {
    Wire.FLAG: lambda value: _FLAGS.get(value, value) if isinstance(value, str) else value,
    Wire.DATETIME: lambda value: value.isoformat() if isinstance(value, datetime) else value,
    Wire.OBJECT: _read_nested,
    Wire.LIST: _read_nested,
}
_OF_JSON = (type(None), str, bool, int, float, dict, list, tuple)
# Types of values that are read as they are.
_AS_SENT = {type(None), bool, int, float, dict, list}


def _is_date(column: pd.Series | pd.Index) -> bool:
    return types.is_datetime64_any_dtype(column.dtype)


def _utc_texts(column: pd.Series) -> list[str | None]:
    """Return dates and times as ISO text in UTC, without an offset where they have no zone."""
    moments = column.to_numpy("M8[us]")
    offset = "" if getattr(column.iloc[:1].dt, "tz", None) is None else "+00:00"
    if offset:
        moments = np.where(moments >= _NO_DEADLINE, np.datetime64("NaT"), moments)
    seconds = moments.astype("M8[s]")
    texts = np.datetime_as_string(seconds).tolist()
    for position in np.flatnonzero(seconds != moments):
        texts[position] = str(moments[position])
    return [None if text == "NaT" else f"{text}{offset}" for text in texts]


def _iso_texts(column: pd.Series) -> list[str | None]:
    """Return dates and times as ISO text, None for NA."""
    return [None if pd.isna(moment) else moment.isoformat() for moment in column]


def _without_na(column: pd.Series) -> list[Any]:
    """Return the values of a column, None for NA."""
    values = column.tolist()
    for position in np.flatnonzero(column.isna()):
        values[position] = None
    return values


def _is_text(column: pd.Series | pd.Index) -> bool:
    dtype = getattr(column.dtype, "categories", column).dtype
    return dtype.kind in "OU"  # as objects are; Arrow's text is of the kind U


def _with_texts(
    frame: pd.DataFrame, unseen: re.Pattern[str], change: Callable[[str], str]
) -> pd.DataFrame:
    """Return a frame whose texts, also of its index, have been changed; nested ones are JSON."""

    def changed(column: pd.Series) -> Any:
        visible = _make_visible(column, unseen)
        texts = [None if text is None else change(text) for text in visible]
        return pd.array(texts, dtype=text_dtype(column))

    result = frame.copy()
    for position, (_, column) in enumerate(frame.items()):
        if _is_text(column):
            result.isetitem(position, changed(column))
    result.index = _with_levels(frame.index, _is_text, changed)
    return result


def _with_levels(
    index: pd.Index, is_wanted: Callable[[Any], bool], change: Callable[[pd.Series], Any]
) -> pd.Index:
    """Return an index whose wanted levels have been changed."""
    levels = [index.get_level_values(number) for number in range(index.nlevels)]
    if not any(map(is_wanted, levels)):
        return index
    arrays = [change(level.to_series()) if is_wanted(level) else level for level in levels]
    several = pd.MultiIndex.from_arrays(arrays, names=index.names)
    return several if index.nlevels > 1 else pd.Index(arrays[0], name=index.name)


def _make_visible(column: pd.Series, unseen: re.Pattern[str]) -> list[str | None]:
    """Return a column as text; characters that cannot be written become escapes, with a warning."""

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    values = _without_na(column)
    plain = [v if isinstance(v, _OF_JSON) else as_plain(v) for v in values]
    texts = [
        v if v is None or isinstance(v, str) else json.dumps(v, default=as_plain) for v in plain
    ]
    rows = [row for row, text in enumerate(texts) if text is not None and unseen.search(text)]
    if not rows:
        return texts
    problem, instead = "characters that cannot be written", "escapes such as \\x00 in place of each"
    _warn_of_rows(column, rows, problem, instead)
    return [None if text is None else unseen.sub(escape, text) for text in texts]


def _warn_of_long_texts(
    columns: Iterable[tuple[Any, pd.Series]], compare: Callable[[int, int], bool], then: str
) -> None:
    """Name the texts that fill a cell, or more, and what comes of them."""

    def is_long(text: object) -> bool:
        if not isinstance(text, str) or 2 * len(text) < _MOST_IN_CELL:
            return False
        units = len(text.encode("utf-16-le", "surrogatepass")) // 2
        return compare(units, _MOST_IN_CELL) or compare(len(text), _MOST_IN_CELL)

    what = f"long texts (a cell holds {_MOST_IN_CELL:,} characters)"
    for column in (column for _, column in columns if _is_text(column)):
        if rows := [row for row, text in enumerate(_without_na(column)) if is_long(text)]:
            _warn_of_rows(column, rows, what, then)


def _warn_of_rows(column: pd.Series, rows: list[int], what: str, then: str) -> None:
    named = one_line(name_some(column.index[rows].tolist()))
    message = f"{one_line(column.name)}: {what}, in the rows {named}; {then}"
    warn_at_caller(message, BadValueWarning)

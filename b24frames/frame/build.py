"""From raw records to a typed DataFrame: pure, without network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from b24frames.errors import BadValueError, BadValueWarning
from b24frames.frame.convert import Texts, Typed, coerce, no_values
from b24frames.frame.decode import (
    ArrowText,
    Column,
    Fields,
    block_of_lines,
    block_of_records,
    without_gc,
)
from b24frames.ids import chunks
from b24frames.messages import name_some, short_repr, warn_at_caller
from b24frames.schema import ACTIVITY, COLUMNS, DTYPES, Backend, OnBadValue, Wire

_ROWS_AT_ONCE = 10_000


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
    columns = _Columns(layout, extras)
    for rows in chunks(records, _ROWS_AT_ONCE):
        columns.add(block_of_records(rows, columns.fields), len(rows))
    return columns.to_frame()


def build_frame_of_lines(
    lines: Iterable[bytes], layout: Layout, extras: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the typed frame of encoded records, one row each.

    The same as `build_frame` of the decoded records, but faster where pyarrow is installed.

    Examples
    --------
    >>> build_frame_of_lines([b'{"ID":"7","TYPE_ID":"2"}'], Layout(columns=("TYPE_ID",)))
        TYPE_ID
    ID
    7         2
    """
    columns = _Columns(layout, extras)
    with without_gc():
        for rows in chunks(lines, _ROWS_AT_ONCE):
            columns.add(block_of_lines(rows, columns.fields), len(rows))
        return columns.to_frame()


def build_frame_of_columns(
    columns: Mapping[str, Column], rows: int, layout: Layout
) -> pd.DataFrame:
    """Return the typed frame of raw values that are in columns already.

    Examples
    --------
    >>> build_frame_of_columns({"TYPE_ID": ["2", ""]}, 2, Layout(("TYPE_ID",), index_col=None))
       TYPE_ID
    0        2
    1     <NA>
    """
    frame = _Columns(layout, ())
    frame.add(columns, rows)
    return frame.to_frame()


def sort_extras(extras: Iterable[str]) -> list[str]:
    """Return the names of extra fields in the order of their columns: known ones first."""
    known = [name for name in ACTIVITY if name not in COLUMNS]
    return sorted(
        set(extras) - set(COLUMNS),
        key=lambda name: (known.index(name), "") if name in known else (len(known), name),
    )


class _Columns:
    """The columns of a frame that is built of blocks of rows.

    Parameters
    ----------
    layout : Layout
        Columns, index, dtypes and zone.
    extras : sequence of str, optional
        The extra columns; None: those that the blocks have.
    """

    def __init__(self, layout: Layout, extras: Sequence[str] | None) -> None:
        self._layout = layout
        self._names = layout.names(extras or ())
        self.fields = Fields(
            # The id is read along in any case: a bad value is named with it.
            names=tuple(dict.fromkeys((*self._names, "ID"))),
            extras=layout.columns is None and extras is None,
            keep_text=layout.dtype_backend == "pyarrow" or pd.StringDtype().storage == "pyarrow",
        )
        self._extras: set[str] = set()
        self._rows: list[int] = []
        self._parts: dict[str, dict[int, Any]] = {name: {} for name in self.fields.names}
        self._bad: dict[str, list[tuple[Any, Any]]] = {}

    def add(self, block: Mapping[str, Column], rows: int) -> None:
        """Append rows; a field that is not in the block has no values."""
        if self.fields.extras:
            new = block.keys() - self._parts.keys()
            self._extras |= new
            self._parts |= {name: {} for name in new}
        number = len(self._rows)
        self._rows.append(rows)
        for name, column in block.items():
            if isinstance(column, ArrowText):
                self._parts[name][number] = _text_of_arrow(column, self._layout)
            elif name in self._parts:
                arrow = self._layout.dtype_backend == "pyarrow"
                typed = column if isinstance(column, Typed) else coerce(column, _wire(name), arrow)
                self._parts[name][number] = _array(typed, _wire(name), self._layout)
                if typed.bad:
                    ids = _raw(block.get("ID"), typed.bad)
                    self._bad.setdefault(name, []).extend(zip(ids, typed.bad.values(), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """Return the frame of all rows."""
        names = self._names + sort_extras(self._extras)
        for name in names:
            if name in self._bad:
                _report(name, self._bad[name], self._layout)
        index: pd.Index = pd.RangeIndex(sum(self._rows))
        if self._layout.index_col is not None:
            ids = self._column(self._layout.index_col)
            index = pd.Index(ids, dtype=ids.dtype, name=_label(self._layout.index_col))
            names.remove(self._layout.index_col)
        columns = {_label(name): self._column(name) for name in names}
        labels = pd.Index(list(columns), dtype=str)  # text too where there are no columns
        # Of objects as Series, since pandas looks for a narrower dtype of their arrays.
        columns |= {
            label: pd.Series(array, index, dtype=object, copy=False)
            for label, array in columns.items()
            if array.dtype == object
        }
        return pd.DataFrame(columns, index=index, columns=labels, copy=False)

    def _column(self, name: str) -> Any:
        """Return the array of one column of all rows."""
        parts = self._parts.pop(name)
        for number, rows in enumerate(self._rows or [0]):
            if number not in parts:
                parts[number] = _array(no_values(rows, _wire(name)), _wire(name), self._layout)
        arrays = [parts[number] for number in sorted(parts)]
        if any(getattr(array.dtype, "storage", "") == "python" for array in arrays):
            # Arrow, which has the other blocks, would have to take this one's half of a character.
            arrays = [array.astype(pd.StringDtype("python")) for array in arrays]
        if len(arrays) == 1:
            return arrays[0]
        if arrays[0].dtype == object:
            return np.concatenate(arrays)
        series = [pd.Series(array, copy=False) for array in arrays]
        return pd.concat(series, ignore_index=True).array


def _label(name: str) -> str:
    """Return the label of a column; half a character, which Arrow refuses, is made visible."""
    return name.encode("utf-8", "backslashreplace").decode()


def _raw(column: Column | None, positions: Iterable[int]) -> list[Any]:
    """Return some of the raw values of a column."""
    values = column.objects() if isinstance(column, Texts) else column
    return [values[p] if isinstance(values, list) else None for p in positions]


def _wire(name: str) -> Wire:
    """Return the wire form of a field; that of others is not documented."""
    return ACTIVITY[name].wire if name in ACTIVITY else Wire.ANY


def _report(name: str, bad: Sequence[tuple[Any, Any]], layout: Layout) -> None:
    """Warn of, or raise for, the values of one field that cannot be understood."""
    texts = ((short_repr(i).strip("'"), short_repr(value)) for i, value in bad)
    shown = [f"{value} (id {i})" for i, value in texts]
    values = "value" if len(bad) == 1 else "values"
    message = f"{name}: {len(bad)} {values} not understood as {_wire(name)}: {name_some(shown)}"
    if layout.on_bad_value == "raise":
        raise BadValueError(message)
    warn_at_caller(f"{message}; NA in place of each", BadValueWarning)


def _array(typed: Typed, wire: Wire, layout: Layout) -> Any:
    """Return typed values as an array of their dtype."""
    values: Any = typed.values
    na = typed.na
    arrow = layout.dtype_backend == "pyarrow"
    if wire is Wire.DATETIME:
        values[na] = 0 if arrow else np.iinfo(np.int64).min  # NaT
        zone = layout.tz
        values = pd.DatetimeIndex(values.view("M8[us]")).tz_localize("UTC").tz_convert(zone).array
    if arrow:
        return _arrow_array(values, na, wire)
    if wire is Wire.INTEGER:
        return pd.arrays.IntegerArray(values, na)
    if wire is Wire.DOUBLE:
        return pd.arrays.FloatingArray(values, na)
    if wire is Wire.FLAG:
        return pd.arrays.BooleanArray(values, na)
    return text_array(values) if wire is Wire.TEXT else values


def _arrow_array(values: Any, na: npt.NDArray[np.bool_], wire: Wire) -> Any:
    """Return typed values as an array of the pyarrow family."""
    import pyarrow as pa  # optional: the extra "arrow"

    text = pa.string() if DTYPES["pyarrow"][wire].startswith("string") else None
    mask = None if text else na  # objects are None where there are none
    return pd.arrays.ArrowExtensionArray(pa.array(values, type=text, mask=mask, from_pandas=True))


def _text_of_arrow(text: ArrowText, layout: Layout) -> Any:
    """Return text that Arrow has read as an array of its dtype."""
    if layout.dtype_backend == "pyarrow":
        return pd.arrays.ArrowExtensionArray(text.column)
    return pd.arrays.ArrowStringArray(text.column)


def text_array(values: Sequence[str | None] | npt.NDArray[np.object_]) -> Any:
    """Return text in the storage that pandas prefers; Arrow's cannot keep a lone surrogate."""
    try:
        return pd.array(values, dtype=pd.StringDtype())
    except UnicodeEncodeError:
        return pd.array(values, dtype=pd.StringDtype("python"))

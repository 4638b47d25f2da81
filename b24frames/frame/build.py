"""From raw records to a typed DataFrame: pure, without network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

import numpy as np
import pandas as pd

from b24frames.errors import BadValueError, BadValueWarning
from b24frames.frame.convert import (
    Column,
    TypedColumn,
    as_objects,
    convert_all,
    is_arrow,
    is_unwritable,
)
from b24frames.frame.decode import Fields, block_of_lines, without_gc
from b24frames.ids import chunks
from b24frames.messages import name_some, short_repr, visible, warn_at_caller
from b24frames.schema import ACTIVITY, COLUMNS, Backend, OnBadValue, Wire

WIRES: Mapping[str, Wire] = {name: field.wire for name, field in ACTIVITY.items()}
"""The wire forms of the known fields."""

# Blocks of rows, so that the records of a large frame never all exist as Python objects.
_ROWS_AT_ONCE = 10_000
_MASKED = {
    Wire.INTEGER: pd.arrays.IntegerArray,
    Wire.DOUBLE: pd.arrays.FloatingArray,
    Wire.FLAG: pd.arrays.BooleanArray,
}


@dataclass(frozen=True)
class Layout:
    """Columns, index, dtypes and zone of a frame.

    Attributes
    ----------
    columns : tuple of str, optional
        The fields to keep, in that order; None for all.
    index_col : str, optional
        The field that becomes the index; None for a RangeIndex.
    dtype_backend : {"numpy_nullable", "pyarrow"}
        The family of dtypes.
    tz : tzinfo
        The zone of the datetime columns.
    on_bad_value : {"warn", "raise"}
        Whether an invalid value becomes NA with a warning, or raises.
    """

    columns: tuple[str, ...] | None = None
    index_col: str | None = "ID"
    dtype_backend: Backend = "numpy_nullable"
    tz: tzinfo = UTC
    on_bad_value: OnBadValue = "warn"


def build_frame_of_lines(
    lines: Iterable[bytes], layout: Layout, extras: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the typed frame of encoded records, one row each.

    Parameters
    ----------
    lines : iterable of bytes
        m records as `serialization.encode_record` writes them.
    layout : Layout
        Columns, index, dtypes and zone.
    extras : sequence of str, optional
        The columns besides the 39 of every frame; by default those in the records.

    Returns
    -------
    pandas.DataFrame, shape (m, k)
        Except for extra fields, columns and dtypes do not depend on the values.

    Raises
    ------
    BadValueError
        A value is invalid, and ``on_bad_value`` is ``"raise"``.

    Warns
    -----
    BadValueWarning
        Invalid values became NA.

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
    columns: Mapping[str, Column], rows: int, layout: Layout, wires: Mapping[str, Wire] = WIRES
) -> pd.DataFrame:
    """Return the typed frame of columns of raw values, by default those of activities.

    Examples
    --------
    >>> build_frame_of_columns({"TYPE_ID": ["2", ""]}, 2, Layout(("TYPE_ID",), index_col=None))
       TYPE_ID
    0        2
    1     <NA>
    """
    frame = _Columns(layout, (), wires)
    frame.add(columns, rows)
    return frame.to_frame()


def sort_extras(extras: Iterable[str]) -> list[str]:
    """Return the names of extra fields in the order of their columns: known ones first."""
    names = set(extras) - set(COLUMNS)
    return [name for name in ACTIVITY if name in names] + sorted(names - ACTIVITY.keys())


class _Columns:
    """The columns of a frame, built from blocks of rows.

    Parameters
    ----------
    layout : Layout
        Columns, index, dtypes and zone.
    extras : sequence of str, optional
        The extra columns; None for those in the blocks.
    wires : mapping of str to Wire
        The wire forms of known fields.
    """

    def __init__(
        self, layout: Layout, extras: Sequence[str] | None, wires: Mapping[str, Wire] = WIRES
    ) -> None:
        self._layout, self._wires = layout, wires
        index = () if layout.index_col is None else (layout.index_col,)
        columns = (*COLUMNS, *(extras or ())) if layout.columns is None else layout.columns
        self._names = list(dict.fromkeys((*index, *columns)))
        self.fields = Fields(
            # The id is always read, for warnings about invalid values.
            names=tuple(dict.fromkeys((*self._names, "ID"))),
            extras=layout.columns is None and extras is None,
        )
        self._keep_text = "pyarrow" in (layout.dtype_backend, pd.StringDtype().storage)
        self._rows = 0
        self._parts: dict[str, list[Any]] = {name: [] for name in self.fields.names}
        self._bad: dict[str, list[tuple[str, Any]]] = {}

    def add(self, block: Mapping[str, Column], rows: int) -> None:
        """Append a block of rows; fields that it lacks are NA."""
        arrow = self._layout.dtype_backend == "pyarrow"
        if self.fields.extras:
            # A field that is new in this block has no values in those before.
            for name in block.keys() - self._parts.keys():
                none = convert_all({}, {name: self._wire(name)}, self._rows, arrow)
                self._parts[name] = [_typed_array(none[name], self._wire(name), self._layout)]
        # Text of Arrow is valid, and stays in its array.
        texts = {n for n, c in block.items() if self._wire(n) is Wire.TEXT and is_arrow(c)}
        kept = texts if self._keep_text else set()
        wires = {name: self._wire(name) for name in self._parts if name not in kept}
        typed = convert_all(block, wires, rows, arrow)
        for name, parts in self._parts.items():
            if name in kept:
                kind = pd.arrays.ArrowExtensionArray if arrow else pd.arrays.ArrowStringArray
                parts.append(kind(block[name]))
            else:
                parts.append(_typed_array(typed[name], wires[name], self._layout))
        ids = block.get("ID")
        for name in [name for name, column in typed.items() if column.bad]:
            bad = self._bad.setdefault(name, [])
            values = None if ids is None else as_objects(ids)
            for row, value in typed[name].bad.items():
                at = f"row {self._rows + row}" if values is None else f"id {_shown(values[row])}"
                bad.append((at, value))
        self._rows += rows

    def _wire(self, name: str) -> Wire:
        return self._wires.get(name, Wire.ANY)

    def to_frame(self) -> pd.DataFrame:
        """Return the frame of all rows."""
        if not self._rows:
            self.add({}, 0)
        extras = sort_extras(self._parts.keys() - set(self.fields.names))
        names = self._names + extras
        # Names that the portal made up may be no valid text.
        shown = {name: visible(name) for name in names}
        for name in names:
            if name in self._bad:
                self._report(name)
        index: pd.Index = pd.RangeIndex(self._rows)
        if self._layout.index_col is not None:
            ids = _concat(self._parts.pop(self._layout.index_col))
            index = pd.Index(ids, dtype=ids.dtype, name=shown[self._layout.index_col])
            names.remove(self._layout.index_col)
        columns = {shown[name]: _concat(self._parts.pop(name)) for name in names}
        # The same dtype of labels if there are no columns.
        labels = pd.Index(list(columns), dtype=str)
        # As Series: pandas infers a narrower dtype for arrays of objects.
        columns |= {
            label: pd.Series(array, index, dtype=object, copy=False)
            for label, array in columns.items()
            if array.dtype == object
        }
        return pd.DataFrame(columns, index=index, columns=labels, copy=False)

    def _report(self, name: str) -> None:
        """Warn about, or raise for, the invalid values of one field."""
        wire = self._wire(name)
        for unwritable, problem, instead in (
            (False, f"not understood as {wire}", "NA in place of each"),
            (True, "with characters that no UTF-8 can hold", "escapes such as \\ud83d instead"),
        ):
            bad = [(at, v) for at, v in self._bad[name] if is_unwritable(v, wire) is unwritable]
            shown = [f"{short_repr(value)} ({at})" for at, value in bad]
            values = "value" if len(bad) == 1 else "values"
            message = f"{name}: {len(bad)} {values} {problem}: {name_some(shown)}"
            if bad and self._layout.on_bad_value == "raise":
                raise BadValueError(message)
            if bad:
                warn_at_caller(f"{message}; {instead}", BadValueWarning)


def _shown(i: Any) -> str:
    return short_repr(i).strip("'")


def _concat(arrays: Sequence[Any]) -> Any:
    # Without empty arrays; a single array is not copied.
    arrays = [array for array in arrays if len(array)] or arrays[:1]
    if len(arrays) == 1:
        return arrays[0]
    if arrays[0].dtype == object:
        return np.concatenate(arrays)
    return pd.concat([pd.Series(a, copy=False) for a in arrays], ignore_index=True).array


def _typed_array(typed: TypedColumn, wire: Wire, layout: Layout) -> Any:
    """Return typed values as an array of their dtype."""
    values: Any = typed.values
    if wire is Wire.DATETIME:
        # Arrow's subtraction also reads the values under nulls, which must stay valid dates: 1970.
        values[typed.na] = 0 if layout.dtype_backend == "pyarrow" else np.datetime64("NaT")
        values = pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(layout.tz).array
    if layout.dtype_backend == "pyarrow":
        import pyarrow as pa  # optional: the extra "arrow"

        kind, mask = (pa.string(), None) if values.dtype == object else (None, typed.na)
        array = pa.array(values, type=kind, mask=mask, from_pandas=True)
        return pd.arrays.ArrowExtensionArray(array)
    if wire in _MASKED:
        return _MASKED[wire](values, typed.na)
    return pd.array(values, dtype=pd.StringDtype()) if wire is Wire.TEXT else values

"""Nested values, such as SETTINGS: their parts, and these as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from b24frames.errors import short_repr
from b24frames.schema import DTYPES, Wire

HOW = (
    "b24frames.read_activities(ids) gives all columns (columns= only those it names), and "
    "df.b24.typed() types a raw frame of activities"
)
"""How to get a frame that the accessor's methods take."""


def expand(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the parts of a nested column as columns, such as SETTINGS.DURATION.

    Parameters
    ----------
    frame : pandas.DataFrame
        Activities.
    column : str
        A column of objects or lists, or of JSON text of such.

    Returns
    -------
    pandas.DataFrame
        One column for each key, in the order in which they first appear; a list's keys are its
        positions, from 0. Parts that are all whole numbers, numbers, truth values or texts get
        the dtype of such fields; others stay ``object``. Parts that are nested themselves can be
        expanded in turn.

    Raises
    ------
    ValueError
        A value is neither an object, a list nor JSON text of such.

    Examples
    --------
    >>> expand(pd.DataFrame({"SETTINGS": [{"DURATION": 61}, {}]}), "SETTINGS")
       SETTINGS.DURATION
    0                 61
    1               <NA>
    """
    if column not in frame.columns:
        raise AttributeError(f"this frame has no column {short_repr(column)} to expand; {HOW}")
    if isinstance(frame[column], pd.DataFrame):
        raise AttributeError(f"df.b24.expand: several columns are named {short_repr(column)}")
    parts: dict[str, list[Any]] = {}
    for row, cell in enumerate(frame[column]):
        try:
            nested = parts_of(cell)
        except ValueError:
            raise ValueError(
                f"{column}: {short_repr(cell)} in row {row} is neither an object nor a list"
            ) from None
        for key, value in nested.items():
            if key not in parts:
                parts[key] = [None] * len(frame)
            parts[key][row] = value
    arrow = isinstance(frame[column].dtype, pd.ArrowDtype)
    typed = {f"{column}.{k}": _typed(v, frame.index, arrow=arrow) for k, v in parts.items()}
    return pd.DataFrame(typed, index=frame.index, copy=False)


def parts_of(cell: Any) -> Mapping[str, Any]:
    """Return the parts of an object, a list or JSON text by their key; none of what is NA.

    Examples
    --------
    >>> parts_of('{"SIM": "1"}'), parts_of(["x"]), parts_of(None)
    ({'SIM': '1'}, {'0': 'x'}, {})
    """
    if isinstance(cell, str):
        cell = json.loads(cell) if cell else None
    if isinstance(cell, dict):
        return cell
    if isinstance(cell, list):
        return {str(position): part for position, part in enumerate(cell)}
    if cell is None or cell is False or pd.isna(cell):
        return {}
    raise ValueError(cell)


_WIRES = {int: Wire.INTEGER, bool: Wire.FLAG, float: Wire.DOUBLE, str: Wire.TEXT}


def _common_wire(values: list[Any]) -> Wire:
    """Return the wire form that all values have."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and not all(v is None or -(2**63) <= v < 2**63 for v in values):
        return Wire.ANY
    if kinds == {int, float}:
        return Wire.DOUBLE
    return _WIRES.get(kinds.pop(), Wire.ANY) if len(kinds) == 1 else Wire.ANY


def _typed(values: list[Any], index: pd.Index, *, arrow: bool) -> pd.Series:
    """Return parts with the dtype that all of them have."""
    wire = _common_wire(values)
    dtype: Any = DTYPES["numpy_nullable"][wire]
    if arrow:
        import pyarrow as pa

        if wire is Wire.ANY:
            values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        kinds = {Wire.INTEGER: pa.int64(), Wire.FLAG: pa.bool_(), Wire.DOUBLE: pa.float64()}
        dtype = pd.ArrowDtype(kinds.get(wire, pa.string()))
    elif wire is Wire.TEXT:
        from b24frames.frame import text_array  # the import of b24frames does without it

        return pd.Series(text_array(values), index=index, copy=False)
    typed: pd.Series = pd.Series(values, index=index, dtype=dtype)
    return typed

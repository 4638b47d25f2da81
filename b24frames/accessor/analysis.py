"""What people ask of activities again and again: pure functions of a typed frame.

None of them changes its input, and each result has the index of the frame. A column that is not
there, or has not been typed, is an `AttributeError` that says how to get a right frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types
from pandas.api.extensions import ExtensionArray

from b24frames.messages import name_some, short_repr
from b24frames.schema import ACTIVITY, DTYPES, PROVIDERS, Wire, label

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


ENUMERATIONS: tuple[str, ...] = tuple(
    name for name, field in ACTIVITY.items() if field.labels and field.wire is Wire.INTEGER
)
"""The columns that hold the number of a code."""

_TELEPHONY, _TELEPHONY_ORIGIN = "VOXIMPLANT_CALL", "VI_"
_LONGEST_TABLE = 4096
_MISSED = 4  # of RESULT_STREAM
_MISSED_CALL = "MISSED_CALL"  # of SETTINGS


def labels(frame: pd.DataFrame, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Return enumerations as ordered categoricals.

    Parameters
    ----------
    frame : pandas.DataFrame
        Activities.
    columns : iterable of str, optional
        Which ones, in that order; by default all of `ENUMERATIONS` that the frame has.

    Returns
    -------
    pandas.DataFrame
        These columns only. The categories are the labels in the order of their codes: all that
        are known, and the codes in the data that have none, as text. NA stays NA.

    Examples
    --------
    >>> labels(pd.DataFrame({"TYPE_ID": pd.array([2, 77, None], "Int64")}))
      TYPE_ID
    0    call
    1      77
    2     NaN
    """
    names = _enumerations(frame, columns)
    require(frame, "labels", names)
    categoricals = {
        name: _text_labels(frame[name]) if name == "PROVIDER_ID" else _labels(frame[name], name)
        for name in names
    }
    return pd.DataFrame(categoricals, index=frame.index, copy=False)


def duration(frame: pd.DataFrame) -> pd.Series:
    """Return END_TIME - START_TIME; NA where one of them is.

    Examples
    --------
    >>> duration(b24.read_activities([1], portal)).dtype
    dtype('<m8[us]')
    """
    require(frame, "duration", ["START_TIME", "END_TIME"])
    spans = _between(frame["START_TIME"].array, frame["END_TIME"].array)
    return pd.Series(spans, index=frame.index, name="duration", copy=False)


def talk_time(frame: pd.DataFrame) -> pd.Series:
    """Return the duration of calls that telephony made, and NA elsewhere.

    Only of these calls is END_TIME - START_TIME the length of the talk: PROVIDER_ID is
    VOXIMPLANT_CALL, and ORIGIN_ID begins with ``VI_``. A call that was planned by hand has none.

    Examples
    --------
    >>> frame = b24.read_activities(range(10, 100), portal)
    >>> bool(talk_time(frame).count() < (frame["PROVIDER_ID"] == "VOXIMPLANT_CALL").sum())
    True
    """
    names = ["PROVIDER_ID", "ORIGIN_ID", "START_TIME", "END_TIME"]
    require(frame, "talk_time", names)
    rows = np.flatnonzero(_equals(frame["PROVIDER_ID"], _TELEPHONY))
    rows = rows[_starts_with(frame["ORIGIN_ID"].array.take(rows), _TELEPHONY_ORIGIN)]
    spans = _between(frame["START_TIME"].array.take(rows), frame["END_TIME"].array.take(rows))
    places = np.full(len(frame), -1)
    places[rows] = np.arange(len(rows))
    talks = spans.take(places, allow_fill=True)
    return pd.Series(talks, index=frame.index, name="talk_time", copy=False)


def is_overdue(frame: pd.DataFrame, at: str | datetime | None = None) -> pd.Series:
    """Tell which activities are past their deadline and not completed.

    Parameters
    ----------
    frame : pandas.DataFrame
        Activities.
    at : str or datetime, optional
        The moment, with a time zone; by default now.

    Returns
    -------
    pandas.Series
        What has no deadline is not overdue. NA where it is not known whether the activity is
        completed, unless its deadline is still to come.

    Raises
    ------
    ValueError
        `at` is not a moment, or has no zone.

    Examples
    --------
    >>> frame = b24.read_activities([1, 2], portal)
    >>> is_overdue(frame, "2022-01-05T00:00:00+00:00").dtype
    BooleanDtype
    """
    require(frame, "is_overdue", ["DEADLINE", "COMPLETED"])
    deadline, completed = frame["DEADLINE"], frame["COMPLETED"]
    due = (deadline < parse_moment(at)).fillna(False)
    unknown = deadline.isna() & completed.isna()
    return ((due | unknown) & ~completed).rename("is_overdue")


def is_missed_call(frame: pd.DataFrame) -> pd.Series:
    """Tell which activities are missed calls: RESULT_STREAM 4, or SETTINGS.MISSED_CALL true.

    Returns
    -------
    pandas.Series
        NA where RESULT_STREAM is, unless SETTINGS tells.

    Examples
    --------
    >>> settings = [{"MISSED_CALL": True}, {}]
    >>> is_missed_call(pd.DataFrame({"RESULT_STREAM": [1, 1], "SETTINGS": settings})).tolist()
    [True, False]
    """
    require(frame, "is_missed_call", ["RESULT_STREAM", "SETTINGS"])
    told = _is_told(frame["SETTINGS"], _MISSED_CALL)
    return ((frame["RESULT_STREAM"] == _MISSED) | told).rename("is_missed_call")


def provider_name(frame: pd.DataFrame) -> pd.Series:
    """Return readable names in place of PROVIDER_ID; one that is not known keeps its id.

    Examples
    --------
    >>> provider_name(pd.DataFrame({"PROVIDER_ID": ["CRM_SMS", "NEW"]})).tolist()
    ['SMS', 'NEW']
    """
    require(frame, "provider_name", ["PROVIDER_ID"])
    return _map_text(frame["PROVIDER_ID"], PROVIDERS).rename("provider_name")


_IS_WIRE: Mapping[Wire, Callable[[Any], bool]] = {
    Wire.INTEGER: types.is_integer_dtype,
    Wire.FLAG: types.is_bool_dtype,
    Wire.DATETIME: lambda dtype: (
        getattr(dtype, "tz", None) is not None
        or (isinstance(dtype, pd.ArrowDtype) and "tz=" in str(dtype))
    ),
}


def require(frame: pd.DataFrame, method: str, names: Sequence[str]) -> None:
    """Refuse a frame that lacks columns, or whose columns have not been typed."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise AttributeError(f"df.b24.{method} needs {', '.join(missing)}, not there; {HOW}")
    if several := [name for name in names if isinstance(frame[name], pd.DataFrame)]:
        raise AttributeError(f"df.b24.{method}: several columns are named {', '.join(several)}")
    for name in names:
        is_wire = _IS_WIRE.get(ACTIVITY[name].wire)
        if is_wire is not None and not is_wire(frame[name].dtype):
            dtype = DTYPES["numpy_nullable"][ACTIVITY[name].wire].format(tz="tz")
            raise AttributeError(
                f"df.b24.{method} needs {name} as {dtype}; here it is {frame[name].dtype}; {HOW}"
            )


def _enumerations(frame: pd.DataFrame, columns: Iterable[str] | None) -> list[str]:
    """Return the names of the enumerations to label."""
    if columns is None:
        names = [name for name in ENUMERATIONS if name in frame.columns]
        if not names:
            raise AttributeError(f"df.b24.labels needs one of {', '.join(ENUMERATIONS)}; {HOW}")
        return names
    if isinstance(columns, str):
        raise TypeError(
            f"columns={short_repr(columns)} is not a list of names, such as ['TYPE_ID']"
        )
    names = list(dict.fromkeys(columns))
    accepted = (*ENUMERATIONS, "PROVIDER_ID")
    unknown = [name for name in names if name not in accepted]
    if unknown:
        named = name_some([short_repr(name) for name in unknown])
        raise ValueError(f"{named}: no enumeration; those are {', '.join(accepted)}")
    return names


def _labels(column: pd.Series, name: str) -> pd.Categorical:
    """Return the labels of codes."""
    na = np.asarray(column.array.isna(), dtype=np.bool_)
    known = np.array(sorted(ACTIVITY[name].labels))
    values = column.to_numpy(np.int64, na_value=known[0]) if na.any() else column.to_numpy(np.int64)
    places = _places(values, known)
    others: list[int] = []
    if len(places) and places.min() < 0:
        others = sorted(pd.unique(values[places < 0]).tolist())
        places = _places(values, np.union1d(known, others))
    if na.any():
        places[na] = -1
    return pd.Categorical.from_codes(places, dtype=_categories(name, tuple(others)))


@lru_cache(maxsize=64)
def _categories(name: str, others: tuple[int, ...]) -> pd.CategoricalDtype:
    """Return the labels of an enumeration, and those of other codes, in the order of all codes."""
    codes = sorted([*ACTIVITY[name].labels, *others])
    return pd.CategoricalDtype([label(name, int(code)) for code in codes], ordered=True)


def _places(
    values: npt.NDArray[np.int64], codes: npt.NDArray[np.int64]
) -> npt.NDArray[np.signedinteger[Any]]:
    """Return the place of each value among sorted codes, -1 for one that is not there."""
    # Read as unsigned, negative numbers are the largest.
    if len(values) and values.view(np.uint64).max() >= _LONGEST_TABLE:
        found = np.searchsorted(codes, values).clip(max=len(codes) - 1)
        return np.where(codes[found] == values, found, -1)
    # A table of all numbers: ten times as fast, and codes are small.
    table = np.full(_LONGEST_TABLE, -1, np.min_scalar_type(-len(codes)))
    small = codes[codes < _LONGEST_TABLE]
    table[small] = np.arange(len(small))
    return table.take(values, mode="clip")


def _text_labels(column: pd.Series) -> pd.Categorical:
    """Return the names of providers, in the order of their ids."""
    codes, distinct = pd.factorize(column)
    names = {i: PROVIDERS.get(i, i) for i in sorted({*PROVIDERS, *distinct})}
    categories = list(dict.fromkeys(names.values()))  # an id may be the name of another
    places = np.array([*(categories.index(names[i]) for i in distinct), -1])
    dtype = pd.CategoricalDtype(categories, ordered=True)
    return pd.Categorical.from_codes(places[codes], dtype=dtype)


class _Keeping(dict[Any, Any]):
    """A mapping that gives back what it does not know."""

    def __missing__(self, key: object) -> object:
        return key


def _map_text(column: pd.Series, names: Mapping[str, str]) -> pd.Series:
    """Replace the texts that a mapping knows."""
    known = _Keeping(names)
    if _is_arrow(column.dtype):
        codes, distinct = pd.factorize(column)
        texts = pd.Series([known[text] for text in distinct], dtype=column.dtype).array
        array: Any = pd.api.extensions.take(texts, codes, allow_fill=True)
    else:
        dtype = column.dtype if isinstance(column.dtype, pd.StringDtype) else pd.StringDtype()
        cells = map(known.__getitem__, _cells(column))
        array = pd.array(np.fromiter(cells, np.object_, len(column)), dtype)
    return pd.Series(array, index=column.index, copy=False)


def _is_arrow(dtype: object) -> bool:
    """Tell whether text is kept by Arrow, whose own functions are the fast ones."""
    if isinstance(dtype, pd.StringDtype):
        return str(dtype.storage) == "pyarrow"
    return isinstance(dtype, pd.ArrowDtype)


def _cells(column: pd.Series) -> npt.NDArray[np.object_]:
    """Return the values as they are kept; of text that pandas keeps, no copy is made."""
    return np.asarray(column.array, dtype=np.object_)


def _equals(column: pd.Series, text: str) -> npt.NDArray[np.bool_]:
    """Tell which texts are this one."""
    if _is_arrow(column.dtype):
        return (column == text).to_numpy(np.bool_, na_value=False)
    try:
        return np.asarray(_cells(column) == text, dtype=np.bool_)
    except TypeError:  # NA is neither equal nor not
        return np.asarray(column.isin([text]), dtype=np.bool_)


def _starts_with(texts: ExtensionArray, prefix: str) -> npt.NDArray[np.bool_]:
    """Tell which texts begin like this."""
    if _is_arrow(texts.dtype):
        return pd.Series(texts).str.startswith(prefix).to_numpy(np.bool_, na_value=False)
    cells = np.asarray(texts, dtype=np.object_)
    return np.array([type(c) is str and c.startswith(prefix) for c in cells], np.bool_)


def _is_told(column: pd.Series, key: str) -> npt.NDArray[np.bool_]:
    """Tell which cells, objects or JSON text of such, have a part that is true."""
    if _is_arrow(column.dtype):
        codes, distinct = pd.factorize(column)
        told = [f'"{key}"' in text and _has(text, key) for text in distinct]
        return np.array([*told, False], np.bool_)[codes]
    try:
        # By way of bytes, which is the cheapest from truth values to an array.
        found = bytes([key in cell if cell else False for cell in _cells(column)])
    except TypeError:  # NaN and NA, which other operations put in the place of None
        return _is_told(column.astype(object).where(column.notna(), None), key)
    mentioned = np.frombuffer(bytearray(found), np.bool_)
    mentioned[mentioned] = [_has(cell, key) for cell in _cells(column)[mentioned]]
    return mentioned


def _has(cell: Any, key: str) -> bool:
    """Tell whether a part of an object is true."""
    return parts_of(cell).get(key) in (True, "Y")


def _between(start: Any, end: Any) -> Any:
    """Return the time from start to end, which are extension arrays of dates."""
    if not isinstance(start.dtype, pd.ArrowDtype):
        return end - start
    import pyarrow as pa
    import pyarrow.compute as pc

    # Not pandas' subtraction: Arrow's checked one looks at what stands in the place of nulls.
    spans = pc.subtract(pa.chunked_array(pa.array(end)), pa.chunked_array(pa.array(start)))
    return pd.arrays.ArrowExtensionArray(spans)


def parse_moment(at: object) -> pd.Timestamp:
    """Return a moment with a zone; by default now."""
    if at is None:
        return pd.Timestamp.now("UTC").as_unit("us")
    moment: object = None
    if isinstance(at, (str, datetime)):
        with suppress(ValueError):  # no date at all
            moment = pd.Timestamp(at)
    if not isinstance(moment, pd.Timestamp) or moment.tz is None:
        raise ValueError(
            f"at={short_repr(at)} is not a moment with a time zone; accepted are such as "
            "'2026-01-31T12:00:00+01:00' and pd.Timestamp('2026-01-31 12:00', tz='Europe/Berlin')"
        )
    return moment.as_unit("us")

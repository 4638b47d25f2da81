"""What people ask of activities again and again: pure functions of a typed frame.

None of them changes its input, and each result has the index of the frame. A column that is not
there, or has not been typed, is an `AttributeError` that says how to get a right frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import pandas as pd
from pandas.api import types

from b24frames.messages import name_some, short_repr
from b24frames.schema import ACTIVITY, DTYPES, PROVIDERS, Wire, label

HOW = (
    "b24frames.read_activities(ids) gives all columns (columns= only those it names), and "
    "df.b24.typed() types a raw frame of activities"
)
"""How to get a frame that the accessor's methods take."""

ENUMERATIONS: tuple[str, ...] = tuple(
    name for name, field in ACTIVITY.items() if field.labels and field.wire is Wire.INTEGER
)
"""The columns that hold the number of a code."""

TALK_COLUMNS = ["PROVIDER_ID", "ORIGIN_ID", "CREATED", "START_TIME", "END_TIME"]
"""The columns that the length of a talk needs."""

_MISSED_STREAM = 4  # of RESULT_STREAM
_MISSED_CALL = "MISSED_CALL"  # of SETTINGS
_INCOMING = 1  # of DIRECTION


def labels(frame: pd.DataFrame, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Return enumerations as ordered categoricals."""
    names = _enumerations(frame, columns)
    require(frame, "labels", names)
    return pd.DataFrame({name: _labels(frame, name) for name in names}, index=frame.index)


def _labels(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return an enumeration; its categories are in the order of all codes."""
    codes = sorted({*ACTIVITY[name].labels, *frame[name].dropna().unique().tolist()})
    categories = [label(name, code) for code in codes]
    if name == "PROVIDER_ID":  # an id may be the name of another
        dtype = pd.CategoricalDtype(list(dict.fromkeys(categories)), ordered=True)
        return provider_name(frame).astype(dtype)
    coded = frame[name].astype(pd.CategoricalDtype(codes, ordered=True))
    return coded.cat.rename_categories(categories)


def duration(frame: pd.DataFrame) -> pd.Series:
    """Return END_TIME - START_TIME; NA where one of them is."""
    require(frame, "duration", ["START_TIME", "END_TIME"])
    times = frame[["START_TIME", "END_TIME"]].reset_index(drop=True)
    known = times.dropna()  # Arrow would subtract what stands in the place of nulls, too
    spans = (known["END_TIME"] - known["START_TIME"]).reindex(times.index)
    return spans.set_axis(frame.index).rename("duration")


def talk_time(frame: pd.DataFrame) -> pd.Series:
    """Return the duration of calls that telephony made, and NA elsewhere."""
    require(frame, "talk_time", TALK_COLUMNS)
    is_call = frame["PROVIDER_ID"] == "VOXIMPLANT_CALL"
    is_call &= frame["ORIGIN_ID"].astype(text_dtype(frame["ORIGIN_ID"])).str.startswith("VI_")
    # A planned call that telephony attached itself to has such an ORIGIN_ID, and planned times.
    is_call &= frame["CREATED"] == frame["START_TIME"]
    return duration(frame).where(is_call.fillna(False).astype(bool)).rename("talk_time")


def is_overdue(frame: pd.DataFrame, at: str | datetime | None = None) -> pd.Series:
    """Return which activities are past their deadline and not completed."""
    require(frame, "is_overdue", ["DEADLINE", "COMPLETED"])
    deadline, completed = frame["DEADLINE"], frame["COMPLETED"]
    due = (deadline < parse_moment(at)).fillna(False)
    unknown = deadline.isna() & completed.isna()
    return ((due | unknown) & ~completed).rename("is_overdue")


def is_missed_call(frame: pd.DataFrame) -> pd.Series:
    """Return which activities are incoming calls that nobody answered."""
    require(frame, "is_missed_call", ["RESULT_STREAM", "SETTINGS", "DIRECTION"])
    missed = [
        isinstance(cell, (dict, str))
        and _MISSED_CALL in cell
        and parts_of(cell).get(_MISSED_CALL) in (True, "Y")
        for cell in frame["SETTINGS"].to_numpy(object)
    ]
    by_settings = pd.Series(missed, frame.index, dtype=bool)
    unanswered = (frame["RESULT_STREAM"] == _MISSED_STREAM) | by_settings
    return (unanswered & (frame["DIRECTION"] == _INCOMING)).rename("is_missed_call")


def provider_name(frame: pd.DataFrame) -> pd.Series:
    """Return readable names in place of PROVIDER_ID; an unknown one keeps its id."""
    require(frame, "provider_name", ["PROVIDER_ID"])
    codes, ids = pd.factorize(frame["PROVIDER_ID"])
    dtype = text_dtype(frame["PROVIDER_ID"])
    names: pd.Series = pd.Series([PROVIDERS.get(i, i) for i in ids], dtype=dtype)
    return names.reindex(codes).set_axis(frame.index).rename("provider_name")


def expand(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the parts of a nested column as columns, such as SETTINGS.DURATION.

    Parts that are all whole numbers, numbers, truth values or texts get the dtype of such fields.
    """
    from b24frames.frame import Layout, build_frame_of_columns  # the import does without it

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
            name = f"{column}.{key}"
            if name not in parts:
                parts[name] = [None] * len(frame)
            parts[name][row] = value
    arrow = isinstance(frame[column].dtype, pd.ArrowDtype)
    layout = Layout(tuple(parts), None, "pyarrow" if arrow else "numpy_nullable")
    wires = {name: _common_wire(values) for name, values in parts.items()}
    return build_frame_of_columns(parts, len(frame), layout, wires).set_axis(frame.index)


def parts_of(cell: Any) -> Mapping[str, Any]:
    """Return the parts of an object, a list or JSON text by their key; none of NA.

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


def _common_wire(values: list[Any]) -> Wire:
    """Return the wire form that all values have."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and all(v is None or -(2**63) <= v < 2**63 for v in values):
        return Wire.INTEGER
    if kinds and kinds <= {int, float} and float in kinds:
        return Wire.DOUBLE
    return Wire.FLAG if kinds == {bool} else Wire.TEXT if kinds == {str} else Wire.ANY


def text_dtype(column: pd.Series) -> Any:
    """Return the dtype of a text column: its own if it is one of text."""
    dtype = column.dtype
    own = isinstance(dtype, (pd.StringDtype, pd.ArrowDtype)) and dtype.type is str
    return dtype if own else pd.StringDtype()


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

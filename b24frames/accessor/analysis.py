"""What people ask of activities again and again: pure functions of a typed frame.

None of them changes its input, and each result has the index of the frame. A column that is not
there, or has not been typed, is an `AttributeError` that says how to get a right frame.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from b24frames import schema
from b24frames.messages import name_in, name_some, short_repr, visible
from b24frames.schema import (
    ALL_FIELDS,
    DTYPES,
    USER_TYPE,
    Backend,
    Language,
    Wire,
    is_smart_process,
    label,
)

HOW = (
    "b24frames.read_activities(ids) gives all columns (columns= only those it names), and "
    "df.b24.typed() types a raw frame of activities"
)
"""How to get a frame that the accessor's methods take."""

ENUMERATIONS: tuple[str, ...] = tuple(
    name for name, field in ALL_FIELDS.items() if field.labels and name != "PROVIDER_ID"
)
"""The columns that hold a code; PROVIDER_ID is an id, too."""

TALK_COLUMNS = ["PROVIDER_ID", "ORIGIN_ID", "CREATED", "START_TIME", "END_TIME"]
"""The columns that the length of a talk needs."""

_PEOPLE = ("RESPONSIBLE", "AUTHOR", "EDITOR", "PORTAL_USER")  # the last one in frames of calls
_OWNER = ("OWNER_TYPE_ID", "OWNER_ID")
NAME_COLUMNS = [f"{who}_NAME" for who in (*_PEOPLE, "OWNER")]
"""The columns of names that a frame can have."""
_PATHS = {1: "lead", 2: "deal", 3: "contact", 4: "company", 7: "type/7", 31: "type/31"}
_COMMUNICATION: Mapping[str, Wire] = {
    "ID": Wire.INTEGER,
    "TYPE": Wire.TEXT,
    "VALUE": Wire.TEXT,
    "ENTITY_TYPE_ID": Wire.INTEGER,
    "ENTITY_ID": Wire.INTEGER,
    "NAME": Wire.TEXT,
}
_MISSED_STREAM = 4  # of RESULT_STREAM
_MISSED_CALL = "MISSED_CALL"  # of SETTINGS
_INCOMING = 1  # of DIRECTION
_LONGEST_TALK = 2**33  # [s], what pandas 2.2 can convert


def labels(
    frame: pd.DataFrame, columns: Iterable[str] | None = None, language: Language = "en"
) -> pd.DataFrame:
    """Return enumerations as ordered categoricals."""
    if isinstance(columns, str):
        raise TypeError(
            f"columns={short_repr(columns)} is not a list of names, such as ['TYPE_ID']"
        )
    if columns is None:
        names = [name for name in ENUMERATIONS if name in frame.columns]
        if not names:
            raise AttributeError(f"df.b24.labels needs one of {', '.join(ENUMERATIONS)}; {HOW}")
    else:
        names = list(dict.fromkeys(columns))
    accepted = (*ENUMERATIONS, "PROVIDER_ID")
    if unknown := [short_repr(name) for name in names if name not in accepted]:
        raise ValueError(f"{name_some(unknown)}: no enumeration; those are {', '.join(accepted)}")
    require(frame, "labels", names)
    labelled = {name: _labels(frame, name, language) for name in names}
    return pd.DataFrame(labelled, index=frame.index)


def _labels(frame: pd.DataFrame, name: str, language: Language) -> pd.Series:
    """Return an enumeration; its categories are in the order of all codes."""
    known = {*ALL_FIELDS[name].labels, *pd.factorize(frame[name])[1].tolist()}
    codes = sorted(known, key=lambda code: (isinstance(code, str), code))
    # A dict, since a code may be the label of another.
    categories = dict.fromkeys(visible(label(name, code, language)) for code in codes)
    return _label(frame[name], pd.CategoricalDtype(list(categories), ordered=True), language)


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
    rows = np.flatnonzero((frame["PROVIDER_ID"] == "VOXIMPLANT_CALL").fillna(False))
    calls = frame[TALK_COLUMNS].iloc[rows].set_axis(rows)
    # A planned call that telephony attached itself to has such an ORIGIN_ID, and planned times.
    is_made = (calls["CREATED"] == calls["START_TIME"]).fillna(False).astype(bool)
    is_made &= np.array([str(i).startswith("VI_") for i in calls["ORIGIN_ID"].tolist()], bool)
    spans = duration(calls[is_made]).reindex(range(len(frame)))
    return spans.set_axis(frame.index).rename("talk_time")


def talk_time_from(frame: pd.DataFrame, calls: pd.DataFrame) -> pd.Series:
    """Return how long calls lasted by their statistics, and `talk_time` where there are none."""
    require(calls, "talk_time_from", ["CRM_ACTIVITY_ID", "CALL_DURATION"])
    spans = talk_time(frame)
    seconds = calls.groupby("CRM_ACTIVITY_ID")["CALL_DURATION"].sum(min_count=1).to_dict()
    told = pd.Series([seconds.get(i) for i in ids_of(frame)], frame.index, dtype="Int64")
    known = pd.to_timedelta(told.where(told < _LONGEST_TALK), unit="s").astype(spans.dtype)
    return known.fillna(spans).rename("talk_time")


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
    is_incoming = frame["DIRECTION"] == _INCOMING
    rows = np.flatnonzero(is_incoming.fillna(True)).tolist()
    told = {
        row: cell
        for row, cell in zip(rows, frame["SETTINGS"].iloc[rows].to_numpy(object), strict=True)
        if isinstance(cell, (dict, str)) and _MISSED_CALL in cell
    }
    missed = np.zeros(len(frame), bool)
    parts = _nested("SETTINGS", told.items())
    missed[list(told)] = [part.get(_MISSED_CALL) in (True, "Y") for part in parts]
    unanswered = (frame["RESULT_STREAM"] == _MISSED_STREAM) | missed
    return (unanswered & is_incoming).rename("is_missed_call")


def provider_name(frame: pd.DataFrame) -> pd.Series:
    """Return readable names in place of PROVIDER_ID; an unknown one keeps its id."""
    require(frame, "provider_name", ["PROVIDER_ID"])
    column = frame["PROVIDER_ID"]
    return _label(column, text_dtype(column)).rename("provider_name")


def _label(column: pd.Series, dtype: Any, language: Language = "en") -> pd.Series:
    """Return labels in place of codes; an unknown one stays what it is."""
    places, codes = pd.factorize(column)
    labels = [visible(label(str(column.name), code, language)) for code in codes]
    return pd.Series(pd.array(labels, dtype=dtype).take(places, allow_fill=True), column.index)


def name_keys(frame: pd.DataFrame) -> dict[str, list[tuple[int, int]]]:
    """Return, for each column of names that a frame can have, type and id of each row; 0: none."""
    people = [who for who in _PEOPLE if f"{who}_ID" in frame.columns]
    owner = [name for name in _OWNER if set(_OWNER) <= set(frame.columns)]
    if not people and not owner:
        ids = ", ".join(f"{who}_ID" for who in _PEOPLE)
        raise AttributeError(f"df.b24.names needs one of {ids}, or {' and '.join(_OWNER)}; {HOW}")
    require(frame, "names", [*(f"{who}_ID" for who in people), *owner])
    keys = {
        f"{who}_NAME": [(USER_TYPE, i) for i in frame[f"{who}_ID"].fillna(0).tolist()]
        for who in people
    }
    if owner:
        keys["OWNER_NAME"] = _owners(frame)
    return keys


def _owners(frame: pd.DataFrame) -> list[tuple[int, int]]:
    """Return type and id of the owner of each row; none: the id 0."""
    kinds, ids = (frame[name].fillna(0).tolist() for name in _OWNER)
    return [(k, i if k > 0 else 0) for k, i in zip(kinds, ids, strict=True)]


def name_columns(frame: pd.DataFrame, columns: Mapping[str, list[str | None]]) -> pd.DataFrame:
    """Return columns of text beside a frame: with its dtypes, and its attrs, which a join keeps."""
    from b24frames.frame import Layout, build_frame_of_columns

    layout = Layout(tuple(columns), None, backend_of(frame))
    wires = dict.fromkeys(columns, Wire.TEXT)
    beside = build_frame_of_columns(columns, len(frame), layout, wires).set_axis(frame.index)
    beside.attrs.update(deepcopy(frame.attrs))
    return beside


def owner_url(frame: pd.DataFrame, address: str) -> pd.Series:
    """Return the address of each owner's page in the portal; NA where there is none."""
    require(frame, "owner_url", list(_OWNER))
    urls: list[str | None] = []
    for kind, i in _owners(frame):
        path = f"type/{kind}" if is_smart_process(kind) else _PATHS.get(kind)
        urls.append(f"{address}/crm/{path}/details/{i}/" if i > 0 and path else None)
    return name_columns(frame, {"owner_url": urls})["owner_url"]


def communications(frame: pd.DataFrame) -> pd.DataFrame:
    """Return COMMUNICATIONS as rows, whatever shape the portal gives them."""
    from b24frames.frame import Layout, build_frame_of_columns

    if "COMMUNICATIONS" not in frame.columns:
        raise AttributeError(
            "df.b24.communications needs COMMUNICATIONS, not there; "
            "b24frames.find_activities(…, columns=['COMMUNICATIONS']) asks for it"
        )
    rows: list[dict[str, Any]] = []
    cells = enumerate(frame["COMMUNICATIONS"])
    for i, parts in zip(ids_of(frame).tolist(), _nested("COMMUNICATIONS", cells), strict=True):
        for part in parts.values():
            if isinstance(part, dict):
                settings = part.get("ENTITY_SETTINGS")
                name = name_in(settings) if isinstance(settings, dict) else ""
                rows.append({**part, "ID": i, "NAME": name or None})
    columns = {name: [row.get(name) for row in rows] for name in _COMMUNICATION}
    layout = Layout(tuple(_COMMUNICATION), dtype_backend=backend_of(frame))
    return build_frame_of_columns(columns, len(rows), layout, _COMMUNICATION)


def ids_of(frame: pd.DataFrame) -> pd.Series:
    """Return the activity ids of a frame: its column or index ID."""
    own = set(frame.columns) - {"ID"}
    others = own & (schema.CALL.keys() | schema.USER.keys())
    is_of_others = bool(others) and not own & schema.ACTIVITY.keys()
    if "ID" not in frame.columns and frame.index.name != "ID":
        raise AttributeError("this frame has no column or index ID of activity ids")
    ids = frame["ID"] if "ID" in frame.columns else frame.index.to_series()
    if isinstance(ids, pd.DataFrame):
        raise AttributeError("several columns of this frame are named ID")
    if "CRM_ACTIVITY_ID" in own:  # calls beside activities: the ids are of either
        told = frame["CRM_ACTIVITY_ID"].set_axis(ids.index)
        is_of_others = is_of_others or not (told.isna() | (told == ids)).all()
    if is_of_others:
        raise AttributeError("the ids of this frame are of calls or users, not of activities")
    return ids


def backend_of(frame: pd.DataFrame) -> Backend:
    """Return the family of dtypes of a frame."""
    dtypes = (*frame.dtypes, frame.index.dtype)
    is_arrow = any(isinstance(dtype, pd.ArrowDtype) for dtype in dtypes)
    return "pyarrow" if is_arrow else "numpy_nullable"


def zone_of(frame: pd.DataFrame) -> Any:
    """Return the zone of the dates of a frame; UTC where it has none."""
    own = (*frame.dtypes, frame.index.dtype)
    dtypes = (getattr(dtype, "pyarrow_dtype", dtype) for dtype in own)
    return next((tz for dtype in dtypes if (tz := getattr(dtype, "tz", None))), "UTC")


def expand(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the parts of a nested column as columns, such as SETTINGS.DURATION.

    Parts that are all whole numbers, numbers, truth values or texts get the dtype of such fields.
    """
    from b24frames.frame import Layout, build_frame_of_columns  # the import does without it

    if column not in frame.columns:
        raise AttributeError(f"this frame has no column {short_repr(column)} to expand; {HOW}")
    if isinstance(frame[column], pd.DataFrame):
        raise AttributeError(f"df.b24.expand: several columns are named {short_repr(column)}")
    parts: dict[str, list[Any]] = defaultdict(lambda: [None] * len(frame))
    for row, nested in enumerate(_nested(column, enumerate(frame[column]))):
        for key, value in nested.items():
            parts[visible(f"{column}.{key}")][row] = value
    layout = Layout(tuple(parts), None, backend_of(frame[[column]]))
    wires = {name: _common_wire(values) for name, values in parts.items()}
    return build_frame_of_columns(parts, len(frame), layout, wires).set_axis(frame.index)


def _nested(column: str, cells: Iterable[tuple[int, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of each cell of a nested column, given by its row."""
    for row, cell in cells:
        try:
            yield parts_of(cell)
        except ValueError:
            raise ValueError(
                f"{column}: {short_repr(cell)} in row {row} is neither an object nor a list; {HOW}"
            ) from None


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
        is_wire = _IS_WIRE.get(ALL_FIELDS[name].wire)
        if is_wire is not None and not is_wire(frame[name].dtype):
            dtype = DTYPES["numpy_nullable"][ALL_FIELDS[name].wire].format(tz="tz")
            raise AttributeError(
                f"df.b24.{method} needs {name} as {dtype}; here it is {frame[name].dtype}; {HOW}"
            )


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

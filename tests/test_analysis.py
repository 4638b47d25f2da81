"""What people ask of activities again and again: labels, times, missed calls, nested parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.accessor import analysis
from b24frames.accessor.analysis import ENUMERATIONS, expand
from b24frames.accessor.interchange import storable
from b24frames.frame import Layout
from b24frames.practice.dataset import make_record
from b24frames.schema import ACTIVITY, label
from tests.helpers.frames import assert_frame_equal, build_frame

NOON = "2026-03-01T12:00:00+00:00"


@pytest.fixture(params=["numpy_nullable", "pyarrow"])
def backend(request: pytest.FixtureRequest) -> Any:
    """Run a test for both families of dtypes."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
    return request.param


def frame_of(records: list[dict[str, Any]], backend: Any = "numpy_nullable") -> pd.DataFrame:
    """Make the typed frame of records, indexed by their number from 1."""
    numbered = [{"ID": str(i), **record} for i, record in enumerate(records, 1)]
    return build_frame(numbered, Layout(dtype_backend=backend))


def values(column: pd.Series) -> list[Any]:
    """Return the values of a column, None for NA."""
    return [None if pd.isna(value) else value for value in column]


@pytest.mark.parametrize("name", [name for name in ENUMERATIONS if name in ACTIVITY])
def test_labels__every_enumeration(name: str, backend: Any) -> None:
    """Each code has its label, an unknown one keeps its code, and the order is that of codes."""
    codes = [*reversed(ACTIVITY[name].labels), 77, None]
    column = analysis.labels(frame_of([{name: code} for code in codes], backend))[name]
    expected = [*reversed(ACTIVITY[name].labels.values()), "77", None]
    assert values(column) == expected
    assert column.cat.ordered
    in_order = sorted([*ACTIVITY[name].labels, 77])
    assert list(column.cat.categories) == [label(name, code) for code in in_order]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 5000)))
def test_labels__any_code(codes: list[int | None]) -> None:
    """Whatever the codes, each row has the label of its own, and NA stays NA."""
    frame = pd.DataFrame({"STATUS": pd.array(codes, "Int64")})
    column = analysis.labels(frame)["STATUS"]
    assert values(column) == [None if code is None else label("STATUS", code) for code in codes]
    unknown = sorted({code for code in codes if code is not None} | set(ACTIVITY["STATUS"].labels))
    assert list(column.cat.categories) == [label("STATUS", code) for code in unknown]


def test_labels__owner_types() -> None:
    """Smart processes and the recycle bin are told by their number."""
    codes = [2, 18, 128, 192, 1024, 1030, 1031, 77]
    frame = frame_of([{"OWNER_TYPE_ID": code} for code in codes])
    assert analysis.labels(frame)["OWNER_TYPE_ID"].tolist() == [
        "deal",
        "18 (recycle bin)",
        "smart process 128",
        "smart process 192 (recycle bin)",
        "system",
        "smart process 1030",
        "smart process 1031 (recycle bin)",
        "77",
    ]


def test_labels__russian(backend: Any) -> None:
    """In Russian each code has its Russian label, in the same order; unknown ones and NA stay."""
    rows = [
        {"TYPE_ID": "2", "PROVIDER_ID": "CRM_TODO"},
        {"TYPE_ID": "77", "PROVIDER_ID": "NEW"},
        {},
    ]
    frame = frame_of(rows, backend)
    shown = frame.b24.labels(["TYPE_ID", "PROVIDER_ID"], language="ru")
    assert values(shown["TYPE_ID"]) == ["звонок", "77", None]
    assert values(shown["PROVIDER_ID"]) == ["дело", "NEW", None]
    assert shown["TYPE_ID"].cat.ordered
    russian = ACTIVITY["TYPE_ID"].russian_labels.values()
    assert list(shown["TYPE_ID"].cat.categories) == [*russian, "77"]
    with pytest.raises(ValueError, match="language='de' is not accepted; accepted are 'en', 'ru'"):
        frame.b24.labels(language="de")


def test_labels__columns() -> None:
    """The columns asked for come in that order; others are refused, by name."""
    frame = frame_of([{"STATUS": "2", "PROVIDER_ID": "NEW"}, {"PROVIDER_ID": "call"}])
    chosen = analysis.labels(frame, ["PROVIDER_ID", "STATUS"])
    assert list(chosen.columns) == ["PROVIDER_ID", "STATUS"]
    assert values(chosen["PROVIDER_ID"]) == ["NEW", "call"]
    assert chosen["PROVIDER_ID"].cat.ordered
    assert chosen.index.equals(frame.index)
    mixed = pd.DataFrame({"PROVIDER_ID": ["CRM_TODO", 5, None]})
    assert values(mixed.b24.labels(["PROVIDER_ID"])["PROVIDER_ID"]) == ["to-do", "5", None]
    with pytest.raises(ValueError, match="'SUBJECT': no enumeration"):
        analysis.labels(frame, ["SUBJECT"])
    with pytest.raises(TypeError, match="list of names"):
        analysis.labels(frame, "STATUS")
    with pytest.raises(AttributeError, match="TYPE_ID"):
        analysis.labels(pd.DataFrame({"A": [1]}))


def test_duration__subtracts(backend: Any) -> None:
    """The duration is the end less the start, across offsets; NA where one is missing."""
    frame = frame_of(
        [
            {"START_TIME": "2026-03-01T12:00:00+01:00", "END_TIME": "2026-03-01T12:30:00+00:00"},
            {"START_TIME": "0001-01-02T00:00:00+00:00", "END_TIME": "9998-01-01T00:00:00+00:00"},
            {"START_TIME": "2026-03-01T12:00:00+01:00", "END_TIME": ""},
            {"START_TIME": "9999-12-31T00:00:00+03:00", "END_TIME": "2026-03-01T12:00:00+01:00"},
        ],
        backend,
    )
    spans = analysis.duration(frame)
    assert spans.iloc[0] == pd.Timedelta("1h30min")
    assert spans.iloc[1].days == (datetime(9998, 1, 1) - datetime(1, 1, 2)).days
    assert spans.isna().tolist() == [False, False, True, True]
    assert spans.index.equals(frame.index)


NINE, NINE_UTC = "2026-03-01T12:00:00+03:00", "2026-03-01T09:00:00+00:00"
NOON_PLANNED = {"START_TIME": NOON, "END_TIME": "2026-03-01T13:00:00+00:00"}
CALL = {
    "PROVIDER_ID": "VOXIMPLANT_CALL",
    "PROVIDER_TYPE_ID": "CALL",
    "ORIGIN_ID": "VI_1",
    "CREATED": NINE,
    "START_TIME": NINE_UTC,
    "END_TIME": "2026-03-01T12:02:05+03:00",
    "DIRECTION": "1",
    "RESULT_STREAM": "1",
}
TALK = pd.Timedelta("2min5s")
CALLS: dict[str, tuple[dict[str, Any], pd.Timedelta | None, bool | None]] = {
    "incoming": ({}, TALK, False),
    "incoming, missed": ({"RESULT_STREAM": "4", "END_TIME": NINE}, pd.Timedelta(0), True),
    "incoming, missed by its settings": ({"SETTINGS": {"MISSED_CALL": True}}, TALK, True),
    "outgoing": ({"DIRECTION": "2", "RESULT_STREAM": "2"}, TALK, False),
    "outgoing, not answered": ({"DIRECTION": "2", "RESULT_STREAM": "4"}, TALK, False),
    "outgoing, by its settings": (
        {"DIRECTION": "2", "SETTINGS": {"MISSED_CALL": True}},
        TALK,
        False,
    ),
    "callback": (
        {"PROVIDER_TYPE_ID": "CALLBACK", "DIRECTION": "2", "RESULT_STREAM": "3"},
        TALK,
        False,
    ),
    "callback, not answered": (
        {"PROVIDER_TYPE_ID": "CALLBACK", "DIRECTION": "2", "RESULT_STREAM": "4"},
        TALK,
        False,
    ),
    "planned": ({**NOON_PLANNED, "ORIGIN_ID": None, "RESULT_STREAM": "0"}, None, False),
    "planned for the moment": ({"ORIGIN_ID": None}, None, False),
    "planned, then attached": (NOON_PLANNED, None, False),
    "planned, then attached and missed": ({**NOON_PLANNED, "RESULT_STREAM": "4"}, None, True),
    "of another origin": ({"ORIGIN_ID": "XVI_1"}, None, False),
    "of a similar origin": ({"ORIGIN_ID": "VI1"}, None, False),
    "of a mobile phone": (
        {"PROVIDER_ID": "CRM_CALL_TRACKER", "SETTINGS": {"DURATION": 5}},
        None,
        False,
    ),
    "of no provider": ({"PROVIDER_ID": None}, None, False),
    "without times": ({"CREATED": "", "START_TIME": "", "END_TIME": ""}, None, False),
    "without an end": ({"END_TIME": ""}, None, False),
    "of no direction": ({"DIRECTION": None, "RESULT_STREAM": "4"}, TALK, None),
    "of no direction, answered": ({"DIRECTION": None}, TALK, False),
    "of an undefined direction": ({"DIRECTION": "0", "RESULT_STREAM": "4"}, TALK, False),
}
"""Calls: how each differs from an incoming one, its length, and whether it was missed."""


@pytest.mark.parametrize("name", CALLS)
def test_calls__talk_and_missed(name: str, backend: Any) -> None:
    """Only what telephony made has a time of talk, and only incoming calls are missed."""
    differences, talk, missed = CALLS[name]
    frame = frame_of([{**CALL, "SETTINGS": [], **differences}], backend)
    spans = analysis.talk_time(frame)
    assert values(spans) == [talk]
    assert spans.dtype == analysis.duration(frame).dtype
    assert values(analysis.is_missed_call(frame)) == [missed]


def test_calls__practice_records() -> None:
    """The practice portal's calls follow the rules: those that telephony made start when created.

    Others had been planned, and telephony attached itself to them.
    """
    frame = build_frame([make_record(0, i) for i in range(1, 1001)], Layout())
    calls = frame[frame["ORIGIN_ID"].str.startswith("VI_").fillna(False)].dropna(
        subset=["START_TIME", "END_TIME"]
    )
    made = calls[calls["CREATED"] == calls["START_TIME"]]
    assert 10 < len(calls) - len(made) < len(made) / 4
    assert analysis.talk_time(frame).dropna().index.equals(made.index)
    unanswered = frame[frame["RESULT_STREAM"] == 4]
    assert set(unanswered["DIRECTION"]) == {1, 2}
    incoming = unanswered[unanswered["DIRECTION"] == 1]
    missed = analysis.is_missed_call(frame)
    assert missed[missed].index.equals(incoming.index)


def test_is_overdue__all_cases(backend: Any) -> None:
    """Late is what is past its deadline and open; without a deadline nothing is late."""
    past, future = "2026-03-01T11:59:59+00:00", "2026-03-01T12:00:00+00:00"
    cases = [
        (past, "N", True),
        (past, "Y", False),
        (past, None, None),
        (future, "N", False),
        (future, None, False),
        ("9999-12-31T00:00:00+03:00", "N", False),
        ("", "Y", False),
        (None, None, None),
    ]
    frame = frame_of([{"DEADLINE": d, "COMPLETED": c} for d, c, _ in cases], backend)
    late = analysis.is_overdue(frame, NOON)
    assert values(late) == [expected for *_, expected in cases]
    assert pd.api.types.is_bool_dtype(late.dtype)
    berlin = pd.Timestamp(NOON).tz_convert("Europe/Berlin")
    for at in (berlin, berlin.to_pydatetime()):
        assert analysis.is_overdue(frame, at).equals(late)


def test_is_overdue__now() -> None:
    """By default the moment is now."""
    frame = frame_of(
        [
            {"DEADLINE": "2001-01-01T00:00:00+00:00", "COMPLETED": "N"},
            {"DEADLINE": "9000-01-01T00:00:00+00:00", "COMPLETED": "N"},
        ]
    )
    assert analysis.is_overdue(frame).tolist() == [True, False]


@pytest.mark.parametrize(
    "at", [datetime(2026, 3, 1), "2026-03-01", pd.NaT, 5, "soon", datetime(2026, 3, 1).date()]
)
def test_is_overdue__refused(at: Any) -> None:
    """A moment without a zone, or none at all, is refused: nothing is guessed."""
    with pytest.raises(ValueError, match="soon|not a moment with a time zone"):
        analysis.is_overdue(frame_of([{}]), at)


@pytest.mark.parametrize("as_text", [False, True])
def test_is_missed_call__all_cases(backend: Any, as_text: bool) -> None:
    """Of what comes in, RESULT_STREAM 4 is missed, or what SETTINGS say, objects or JSON text."""
    cases: list[tuple[Any, Any, bool | None]] = [
        ("4", [], True),
        ("4", {"MISSED_CALL": False}, True),
        ("1", {"MISSED_CALL": True}, True),
        ("1", {"A": {"MISSED_CALL": True}}, False),
        ("1", {"NOTE": '"MISSED_CALL"'}, False),
        ("1", {"MISSED_CALL": False}, False),
        ("1", False, False),
        (None, {"MISSED_CALL": True}, True),
        (None, None, None),
    ]
    records = [{"RESULT_STREAM": r, "SETTINGS": s, "DIRECTION": "1"} for r, s, _ in cases]
    frame = frame_of(records, backend)
    if as_text:
        frame = storable(frame)
    assert values(analysis.is_missed_call(frame)) == [expected for *_, expected in cases]
    joined = frame.reindex([*frame.index, 99])
    assert values(analysis.is_missed_call(joined)) == [*(e for *_, e in cases), None]


def test_provider_name__all(backend: Any) -> None:
    """Each provider has its name; an unknown one keeps its id, and NA stays NA."""
    known = ACTIVITY["PROVIDER_ID"].labels
    ids = [*known, "NEW", "", None]
    names = analysis.provider_name(frame_of([{"PROVIDER_ID": i} for i in ids], backend))
    assert values(names) == [*known.values(), "NEW", "", None]
    assert names.dtype == frame_of([], backend)["PROVIDER_ID"].dtype


@pytest.mark.parametrize(
    "ask",
    [
        lambda frame: frame.b24.provider_name,
        lambda frame: frame.b24.labels(["PROVIDER_ID"])["PROVIDER_ID"].cat.categories,
        lambda frame: frame.b24.talk_time.isna().map(str),
        lambda frame: frame.b24.expand("SETTINGS").columns,
    ],
    ids=["provider_name", "labels", "talk_time", "expand"],
)
def test_methods__half_a_character(ask: Callable[[pd.DataFrame], Any]) -> None:
    """Half a character in a raw frame is made visible where a dtype of text cannot hold it."""
    half, moment = "half \ud83d", pd.Timestamp("2026-01-01", tz="UTC")
    cells = {"PROVIDER_ID": [half], "ORIGIN_ID": [half], "SETTINGS": [{half: 1}]}
    raw = pd.DataFrame(cells, dtype=object)
    raw = raw.assign(CREATED=moment, START_TIME=moment, END_TIME=moment)
    assert [text.encode() for text in ask(raw)]


def test_expand__parts(backend: Any) -> None:
    """Each key becomes a column of the same index, with the dtype that all its values have."""
    frame = frame_of(
        [
            {"SETTINGS": {"DURATION": 61, "SIM": "1", "META": {"A": [1]}}},
            {"SETTINGS": {"MISSED_CALL": True, "SIM": None, "BIG": 2**70, "SUM": 1.5}},
            {"SETTINGS": []},
            {"SETTINGS": False},
        ],
        backend,
    )
    parts = expand(frame, "SETTINGS")
    assert parts.index.equals(frame.index)
    names = ["DURATION", "SIM", "META", "MISSED_CALL", "BIG", "SUM"]
    assert list(parts.columns) == [f"SETTINGS.{name}" for name in names]
    assert values(parts["SETTINGS.DURATION"]) == [61, None, None, None]
    assert values(parts["SETTINGS.MISSED_CALL"]) == [None, True, None, None]
    assert values(parts["SETTINGS.SIM"]) == ["1", None, None, None]
    typed = frame_of([], backend)
    assert parts["SETTINGS.DURATION"].dtype == typed["OWNER_ID"].dtype
    assert parts["SETTINGS.MISSED_CALL"].dtype == typed["COMPLETED"].dtype
    assert parts["SETTINGS.SUM"].dtype == typed["RESULT_SUM"].dtype
    assert parts["SETTINGS.META"].dtype == typed["SETTINGS"].dtype
    assert str(parts["SETTINGS.BIG"].iloc[1]) == str(2**70)
    assert expand(parts, "SETTINGS.META")["SETTINGS.META.A"].notna().tolist() == [
        True,
        *[False] * 3,
    ]


def test_expand__list(backend: Any) -> None:
    """The keys of a list are its positions."""
    frame = frame_of([{"BINDINGS": [{"OWNER_ID": 1}, {"OWNER_ID": 2}]}, {"BINDINGS": []}], backend)
    parts = expand(frame, "BINDINGS")
    assert list(parts.columns) == ["BINDINGS.0", "BINDINGS.1"]
    assert expand(parts, "BINDINGS.1")["BINDINGS.1.OWNER_ID"].iloc[0] == 2


def test_expand__refused() -> None:
    """What is no nested column is refused, with the value and its row."""
    frame = frame_of([{"SUBJECT": "[1]"}, {"SUBJECT": "text"}])
    with pytest.raises(ValueError, match="SUBJECT: 'text' in row 1"):
        expand(frame, "SUBJECT")
    with pytest.raises(AttributeError, match="'OTHER'"):
        expand(frame, "OTHER")


METHODS = {
    "labels": analysis.labels,
    "duration": analysis.duration,
    "talk_time": analysis.talk_time,
    "is_overdue": analysis.is_overdue,
    "is_missed_call": analysis.is_missed_call,
    "provider_name": analysis.provider_name,
    "expand": lambda frame: expand(frame, "SETTINGS"),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("index_col", [None, "ID"])
def test_methods__keep_index_and_input(name: str, rows: int, index_col: Any, backend: Any) -> None:
    """Every method gives rows of the same index, also none, and changes nothing."""
    records = [{"ID": "5", "SETTINGS": {"A": 1}, "COMPLETED": "N", "TYPE_ID": "2"}] * rows
    layout = Layout(dtype_backend=backend, index_col=index_col)
    frame = build_frame(records, layout)
    result = METHODS[name](frame)
    assert result.index.equals(frame.index)
    assert_frame_equal(frame, build_frame(records, layout))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("labels", "expand")])
def test_methods__refuse_other_frames(name: str) -> None:
    """A frame without the columns, or with raw ones, is refused with the way to a right one."""
    with pytest.raises(AttributeError, match=rf"df\.b24\.{name} needs .*read_activities"):
        METHODS[name](pd.DataFrame({"A": [1]}))
    if name != "provider_name":
        raw = pd.DataFrame([{**dict.fromkeys(ACTIVITY, ""), "RESULT_STREAM": "4"}])
        with pytest.raises(AttributeError, match=r"here it is .*df\.b24\.typed\(\)"):
            METHODS[name](raw)


def test_duration__names_the_dtype() -> None:
    """The refusal of raw dates says which dtype is needed, in the words of the page of columns."""
    raw = pd.DataFrame({"START_TIME": ["2024-01-01"], "END_TIME": ["2024-01-02"]})
    with pytest.raises(AttributeError, match=r"needs START_TIME as datetime64\[us, tz\]; here"):
        _ = raw.b24.duration


def test_methods__plain_numpy_columns() -> None:
    """Columns that lost their nullable dtype on the way still work."""
    frame = pd.DataFrame(
        {
            "RESULT_STREAM": np.array([4, 1]),
            "DIRECTION": np.array([1, 1]),
            "SETTINGS": [np.nan, {"MISSED_CALL": True}],
            "PROVIDER_ID": np.array(["CRM_SMS", None], dtype=object),
        }
    )
    assert analysis.is_missed_call(frame).tolist() == [True, True]
    assert values(analysis.provider_name(frame)) == ["SMS", None]


def test_is_missed_call__settings_of_csv() -> None:
    """Objects in Python's own notation, as CSV has them, are refused with what to do."""
    frame = pd.DataFrame(
        {"RESULT_STREAM": [1], "SETTINGS": ["{'MISSED_CALL': True}"], "DIRECTION": [1]}
    )
    with pytest.raises(ValueError, match=r"SETTINGS: .* in row 0 is neither .*typed\(\)"):
        _ = frame.b24.is_missed_call

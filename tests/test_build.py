"""The frame: the same columns and dtypes whatever the data, and nothing silently wrong."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.accessor.interchange import storable
from b24frames.arguments import check_tz
from b24frames.errors import BadValueError, BadValueWarning
from b24frames.frame import Layout, build_frame_of_lines
from b24frames.messages import visible
from b24frames.schema import ACTIVITY, COLUMNS, DTYPES, Wire
from b24frames.serialization import encode_record
from tests.helpers.frames import build_frame

# The example of the method's page.
PAGE_RECORD: dict[str, Any] = {
    "ID": "999",
    "OWNER_ID": "15",
    "OWNER_TYPE_ID": "3",
    "TYPE_ID": "2",
    "PROVIDER_ID": "VOXIMPLANT_CALL",
    "PROVIDER_TYPE_ID": "CALL",
    "PROVIDER_GROUP_ID": None,
    "ASSOCIATED_ENTITY_ID": "0",
    "SUBJECT": "Outgoing call Andrew Johnson",
    "CREATED": "2020-09-27T13:26:55+02:00",
    "LAST_UPDATED": "2021-03-21T20:28:24+02:00",
    "START_TIME": "2020-09-27T13:25:00+02:00",
    "END_TIME": "2020-09-27T19:25:00+02:00",
    "DEADLINE": "2020-09-27T13:25:00+02:00",
    "COMPLETED": "Y",
    "STATUS": "2",
    "RESPONSIBLE_ID": "505",
    "PRIORITY": "2",
    "NOTIFY_TYPE": "1",
    "NOTIFY_VALUE": "15",
    "DESCRIPTION": "",
    "DESCRIPTION_TYPE": "1",
    "DIRECTION": "2",
    "LOCATION": "",
    "SETTINGS": [],
    "ORIGINATOR_ID": None,
    "ORIGIN_ID": None,
    "AUTHOR_ID": "505",
    "EDITOR_ID": "505",
    "PROVIDER_PARAMS": [],
    "PROVIDER_DATA": None,
    "RESULT_MARK": "0",
    "RESULT_VALUE": None,
    "RESULT_SUM": None,
    "RESULT_CURRENCY_ID": None,
    "RESULT_STATUS": "0",
    "RESULT_STREAM": "0",
    "RESULT_SOURCE_ID": None,
    "AUTOCOMPLETE_RULE": "0",
}
BACKENDS = ["numpy_nullable", "pyarrow"]
INTEGERS = [name for name in COLUMNS if ACTIVITY[name].wire is Wire.INTEGER]
DATETIMES = [name for name in COLUMNS if ACTIVITY[name].wire is Wire.DATETIME]


def layout(backend: str = "numpy_nullable", **options: Any) -> Layout:
    """Make a layout, after checking that the backend is there."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    return Layout(dtype_backend=backend, **options)  # type: ignore[arg-type]


def one(field: str, value: Any, **options: Any) -> Any:
    """Return what a frame of one record has for one value."""
    return build_frame([{"ID": "1", field: value}], layout(**options))[field].iloc[0]


def test_build_frame__page_record() -> None:
    """The example of the method's page becomes what it says."""
    frame = build_frame([PAGE_RECORD], layout())
    row = frame.loc[999]
    assert list(frame.columns) == list(COLUMNS[1:])
    assert row["OWNER_ID"] == 15
    assert row["COMPLETED"] is np.True_ or row["COMPLETED"] is True
    assert row["CREATED"] == pd.Timestamp("2020-09-27T11:26:55Z")
    assert row["DESCRIPTION"] == ""
    assert row["ORIGIN_ID"] is pd.NA
    assert row["SETTINGS"] == {}
    assert row["RESULT_SUM"] is pd.NA


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "records",
    [
        [],
        [{}],
        [PAGE_RECORD],
        [dict.fromkeys(PAGE_RECORD)],
        [dict.fromkeys(PAGE_RECORD, "")],
        [PAGE_RECORD] * 3 + [{"ID": 5}],
    ],
    ids=["none", "bare", "one", "null", "empty", "several"],
)
@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin"])
def test_build_frame__dtypes(backend: str, records: list[dict[str, Any]], tz: str) -> None:
    """Columns and dtypes are those of the schema, whatever the records."""
    zone = UTC if tz == "UTC" else ZoneInfo(tz)
    frame = build_frame(records, layout(backend, tz=zone, index_col=None))
    expected = [DTYPES[backend][ACTIVITY[name].wire].format(tz=tz) for name in COLUMNS]
    assert list(frame.columns) == list(COLUMNS)
    assert [str(dtype) for dtype in frame.dtypes] == expected
    assert frame.index.equals(pd.RangeIndex(len(records)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_build_frame__index(backend: str) -> None:
    """The index has the dtype of its column, also when there are no rows."""
    for records in ([], [PAGE_RECORD]):
        frame = build_frame(records, layout(backend))
        assert frame.index.name == "ID"
        assert str(frame.index.dtype) == DTYPES[backend][Wire.INTEGER]
        assert "ID" not in frame.columns


def test_build_frame__columns() -> None:
    """Only the columns asked for are there, in that order; the index is not a column."""
    frame = build_frame([PAGE_RECORD], layout(columns=("SUBJECT", "ID", "UF_X", "OWNER_ID")))
    assert list(frame.columns) == ["SUBJECT", "UF_X", "OWNER_ID"]
    assert frame["UF_X"].iloc[0] is None
    frame = build_frame([PAGE_RECORD], layout(columns=("SUBJECT", "ID"), index_col=None))
    assert list(frame.columns) == ["SUBJECT", "ID"]
    assert build_frame([PAGE_RECORD], layout(columns=())).shape == (1, 0)


def test_build_frame__extras() -> None:
    """Fields beyond the 39 come after them, known ones typed and first, the rest as sent."""
    records = [
        {"ID": "1", "UF_B": "text", "NEW": {"a": 1}},
        {"ID": "2", "FILES": [{"id": 5}], "UF_A": 7, "IS_INCOMING_CHANNEL": "N"},
    ]
    frame = build_frame(records, layout())
    extras = ["IS_INCOMING_CHANNEL", "FILES", "NEW", "UF_A", "UF_B"]
    assert list(frame.columns[38:]) == extras
    assert str(frame["IS_INCOMING_CHANNEL"].dtype) == "boolean"
    assert frame["FILES"].tolist() == [None, [{"id": 5}]]
    assert frame["NEW"].tolist() == [{"a": 1}, None]
    assert frame["UF_A"].tolist() == [None, 7]
    assert frame["UF_B"].tolist() == ["text", None]
    assert {str(frame[name].dtype) for name in extras[1:]} == {"object"}
    fixed = build_frame(records, layout(), extras=["UF_B"])
    assert list(fixed.columns[38:]) == ["UF_B"]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("OWNER_ID", "0", 0),
        ("OWNER_ID", " 007 ", 7),
        ("OWNER_ID", "-5", -5),
        ("OWNER_ID", 12, 12),
        ("OWNER_ID", 12.0, 12),
        ("OWNER_ID", "9007199254740993", 9007199254740993),
        ("OWNER_ID", str(-(2**63)), -(2**63)),
        ("OWNER_ID", "", pd.NA),
        ("RESULT_SUM", "1500.5000", 1500.5),
        ("RESULT_SUM", 7, 7.0),
        ("RESULT_SUM", "", pd.NA),
        ("COMPLETED", "Y", True),
        ("COMPLETED", "N", False),
        ("COMPLETED", True, True),
        ("COMPLETED", "", pd.NA),
        ("SUBJECT", "", ""),
        ("SUBJECT", "a\x00 ", "a\x00 "),
        ("ORIGIN_ID", "007", "007"),
        ("ORIGIN_ID", 7, "7"),
        ("SETTINGS", [], {}),
        ("SETTINGS", {"A": [1]}, {"A": [1]}),
        ("SETTINGS", '{"A": 1}', {"A": 1}),
        ("SETTINGS", ["x"], {"0": "x"}),
        ("SETTINGS", False, None),
        ("FILES", {"1": {"id": 5}}, [{"id": 5}]),
        ("CREATED", "2020-09-27T13:26:55+02:00", "2020-09-27T11:26:55"),
        ("CREATED", "2020-09-27T13:26:55.123456-09:30", "2020-09-27T22:56:55.123456"),
        ("CREATED", "2020-09-27T13:26Z", "2020-09-27T13:26:00"),
        ("CREATED", "0001-01-02T00:00:00+00:00", "0001-01-02T00:00:00"),
        ("CREATED", "9999-12-30T23:59:59-11:00", "9999-12-31T10:59:59"),
        ("DEADLINE", "9999-12-31T00:00:00+03:00", pd.NaT),
        ("DEADLINE", "9999-12-31T23:00:00-05:00", pd.NaT),
        ("DEADLINE", "", pd.NaT),
    ],
)
def test_build_frame__value(field: str, value: Any, expected: Any) -> None:
    """Each wire form is read for what it says."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        typed = one(field, value)
    if field in DATETIMES and expected is not pd.NaT:
        expected = datetime.fromisoformat(expected).replace(tzinfo=UTC)
        typed = typed.to_pydatetime()
    if expected is pd.NA or expected is pd.NaT or expected is None:
        assert typed is expected
    else:
        assert typed == expected


BAD_VALUES: list[tuple[str, Any]] = [
    ("OWNER_ID", "x"),
    ("OWNER_ID", "1.5"),
    ("OWNER_ID", 1.5),
    ("OWNER_ID", "1_000"),
    ("OWNER_ID", "٣"),
    ("OWNER_ID", True),
    ("OWNER_ID", str(2**63)),
    ("OWNER_ID", [1]),
    ("OWNER_ID", float("inf")),
    ("RESULT_SUM", "1,5"),
    ("RESULT_SUM", "nan"),
    ("RESULT_SUM", "1e999"),
    ("RESULT_SUM", {}),
    ("COMPLETED", "yes"),
    ("COMPLETED", "y"),
    ("COMPLETED", 1),
    ("CREATED", "yesterday"),
    ("CREATED", "0000-00-00T00:00:00+00:00"),
    ("CREATED", "-0001-11-30T00:00:00+02:00"),
    ("CREATED", "0001-01-01T00:00:00+05:00"),
    ("CREATED", "2020-02-30T00:00:00+00:00"),
    ("CREATED", "2020-09-27T13:26:55"),
    ("CREATED", 5),
    ("SUBJECT", {"a": 1}),
    ("SUBJECT", True),
    ("SETTINGS", "{"),
    ("SETTINGS", "[" * 100_000),
    ("SETTINGS", 5),
    ("FILES", True),
]


@pytest.mark.parametrize(("field", "value"), BAD_VALUES)
def test_build_frame__bad_value(field: str, value: Any) -> None:
    """What cannot be understood becomes NA, and field, id and value are named."""
    records = [{"ID": "41", field: None}, {"ID": "42", field: value}]
    with pytest.warns(BadValueWarning, match=rf"^{field}: 1 value .*\(id 42\)") as caught:
        frame = build_frame(records, layout())
    assert len(caught) == 1
    assert pd.isna(frame.loc[42, field])
    with pytest.raises(BadValueError, match=rf"^{field}: .*\(id 42\)"):
        build_frame(records, layout(on_bad_value="raise"))


def test_build_frame__bad_values_are_counted() -> None:
    """Many bad values of a field give one warning, which names the first and counts the rest."""
    records = [{"ID": str(i), "STATUS": "?" * 99} for i in range(1, 101)]
    with pytest.warns(BadValueWarning) as caught:
        build_frame(records, layout())
    (warning,) = caught
    assert "100 values" in str(warning.message)
    assert "(id 5) and 95 more" in str(warning.message)
    assert len(str(warning.message)) < 500


def test_build_frame__bad_values_of_columns_asked_for() -> None:
    """A bad value in a column that nobody asked for is nobody's trouble."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_frame([{"ID": "1", "STATUS": "x"}], layout(columns=("SUBJECT",)))


def test_build_frame__arrow_text() -> None:
    """Nested values are JSON text with the pyarrow backend."""
    records = [{"ID": "1", "SETTINGS": {"A": "ü"}, "UF_X": [1]}]
    frame = build_frame(records, layout("pyarrow"))
    assert json.loads(frame.loc[1, "SETTINGS"]) == {"A": "ü"}
    assert frame.loc[1, "UF_X"] == "[1]"


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("code", [0xD83D, 0xDCE9], ids=["surrogate", "byte"])
@pytest.mark.parametrize("field", ["SUBJECT", "PROVIDER_DATA", "ORIGIN_VERSION", "UF_X"])
def test_build_frame__half_a_character(backend: Any, code: int, field: str) -> None:
    """What no UTF-8 can hold is an escape, named in a warning; dtypes are those of other texts."""
    half, escape = chr(code), f"\\u{code:04x}"
    records = [{"ID": str(i), field: "good ü"} for i in range(1, 4)]
    usual = build_frame(records, layout(backend))
    records[1][field] = f"half {half}"
    with pytest.warns(BadValueWarning) as caught:
        frame = build_frame(records, layout(backend))
    assert frame[field].tolist() == ["good ü", f"half {escape}", "good ü"]
    assert frame[field].dtype == usual[field].dtype
    assert getattr(frame[field].dtype, "storage", "") == getattr(usual[field].dtype, "storage", "")
    (message,) = [str(warning.message) for warning in caught]
    assert message.startswith(f"{field}: 1 value with characters that no UTF-8 can hold: ")
    assert f"'half {escape}' (id 2)" in message
    with pytest.raises(BadValueError, match=rf"{field}: 1 value .*\(id 2\)"):
        build_frame(records, layout(backend, on_bad_value="raise"))


def test_build_frame__half_a_character_in_the_index() -> None:
    """An index of texts keeps its dtype, too."""
    records = [{"ID": "1", "ORIGIN_ID": "half \ud83d"}]
    with pytest.warns(BadValueWarning, match=r"ORIGIN_ID: .*\(id 1\)"):
        frame = build_frame(records, layout(index_col="ORIGIN_ID"))
    assert frame.index.tolist() == ["half \\ud83d"]
    assert str(frame.index.dtype) == str(build_frame([], layout(index_col="ORIGIN_ID")).index.dtype)


def test_build_frame__two_kinds_of_bad_text() -> None:
    """What is no text at all is NA, beside escapes in other rows; each is named as what it is."""
    records = [{"ID": "1", "SUBJECT": "half \ud83d"}, {"ID": "2", "SUBJECT": [5]}]
    with pytest.warns(BadValueWarning) as caught:
        frame = build_frame(records, layout())
    assert frame["SUBJECT"].tolist() == ["half \\ud83d", pd.NA]
    first, second = (str(warning.message) for warning in caught)
    assert "[5] (id 2); NA in place" in first
    assert "(id 1); escapes" in second


def test_storable__writes_and_reads(tmp_path: Any) -> None:
    """A frame with nested values can be written to parquet, and the frame itself is unchanged."""
    pytest.importorskip("pyarrow")
    frame = build_frame(
        [{"ID": "1", "SETTINGS": {"A": [1]}}, {"ID": "2", "SETTINGS": []}], layout()
    )
    storable(frame).to_parquet(tmp_path / "a.parquet")
    again = pd.read_parquet(tmp_path / "a.parquet")
    assert [json.loads(text) for text in again["SETTINGS"]] == [{"A": [1]}, {}]
    assert frame.loc[1, "SETTINGS"] == {"A": [1]}
    typed = [name for name in COLUMNS[1:] if ACTIVITY[name].wire is not Wire.OBJECT]
    # pandas does not keep the storage of text, nor the dtype of an index.
    pd.testing.assert_frame_equal(
        again[typed].astype(frame[typed].dtypes), frame[typed], check_index_type=False
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(st.dictionaries(st.sampled_from([*COLUMNS, "UF_X", "FILES"]), json_values), max_size=3)
)
def test_build_frame__any_json(records: list[dict[str, Any]]) -> None:
    """Any JSON in any field gives the same columns and dtypes, and no error but a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        frame = build_frame(records, layout(index_col=None))
    assert len(frame) == len(records)
    assert list(frame.dtypes[list(COLUMNS)]) == list(build_frame([], layout(index_col=None)).dtypes)


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()), st.sampled_from(INTEGERS), st.booleans()
)
def test_build_frame__any_integer(values: list[int | None], field: str, text: bool) -> None:
    """Every integer of 64 bits is kept to the last digit, from text and from numbers."""
    records = [{field: str(v) if text and v is not None else v} for v in values]
    column = build_frame(records, layout(index_col=None))[field]
    assert [None if v is pd.NA else int(v) for v in column] == values


offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets)


@given(st.lists(instants), st.sampled_from(DATETIMES), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_build_frame__any_instant(values: list[datetime], field: str, tz: str) -> None:
    """Every instant of the years 1 to 9999 is kept to the microsecond, at any mix of offsets."""
    records = [{field: value.isoformat()} for value in values]
    column = build_frame(records, layout(index_col=None, tz=ZoneInfo(tz)))[field]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = [(value - epoch) // timedelta(microseconds=1) for value in values]
    assert column.dt.tz_convert("UTC").dt.tz_localize(None).astype("int64").tolist() == expected


@pytest.mark.parametrize(
    "odd", ["2020-02-30T00:00:00+00:00", "2020-09-27T13:26:60+02:00", "0000-00-00T00:00:00+00:00"]
)
def test_build_frame__impossible_date_among_many(odd: str) -> None:
    """One impossible date is named, and costs none of the many others."""
    dates = [f"2020-01-{1 + i % 31:02}T13:26:55+02:00" for i in range(2_000)]
    dates[1_000] = odd
    with pytest.warns(BadValueWarning, match=r"^CREATED: 1 value .*\(id 1000\)"):
        frame = build_frame([{"ID": str(i), "CREATED": d} for i, d in enumerate(dates)], layout())
    assert frame.index[frame["CREATED"].isna()].tolist() == [1_000]
    assert frame.at[1_999, "CREATED"] == pd.Timestamp("2020-01-16T11:26:55Z")


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=[])) | st.none()))
def test_build_frame__any_text(values: list[str | None]) -> None:
    """Text is kept character by character, but for lone surrogates; "" and null stay apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        column = build_frame([{"SUBJECT": v} for v in values], layout(index_col=None))["SUBJECT"]
    assert [None if v is pd.NA else v for v in column] == [v and visible(v) for v in values]


def test_build_frame__half_a_character_among_many() -> None:
    """One text that UTF-8 cannot hold costs the frame of several blocks nothing."""
    texts = ["x"] * 25_000
    texts[5] = "half: \ud83d"
    lines = (encode_record({"ID": str(i), "SUBJECT": t}) for i, t in enumerate(texts, 1))
    with pytest.warns(BadValueWarning, match="id 6"):
        column = build_frame_of_lines(lines, layout(columns=("SUBJECT",)))["SUBJECT"]
    texts[5] = "half: \\ud83d"
    assert column.tolist() == texts
    assert column.dtype == pd.StringDtype()


def test_build_frame__name_with_half_a_character() -> None:
    """A field whose name no frame can hold costs nothing else: it is made visible."""
    frame = build_frame_of_lines([encode_record({"ID": "1", "UF_\ud800": "x"})], layout())
    assert frame["UF_\\ud800"].tolist() == ["x"]


def test_check_tz__offset_without_a_colon() -> None:
    """Offsets as `strftime` writes them keep their minutes."""
    for text in ("+0530", "-0530", "UTC+0530", "+05:30"):
        moment = datetime(2026, 1, 1, tzinfo=check_tz(text))
        assert abs(moment.utcoffset() or timedelta()) == timedelta(hours=5, minutes=30)

"""`df.b24.typed`: raw frames get the dtypes of `read_activities`, and nothing is guessed."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import b24frames as b24
from b24frames.errors import BadValueError, BadValueWarning
from b24frames.frame import Layout
from b24frames.practice.dataset import make_record
from b24frames.serialization import decode_record, encode_record
from tests.helpers.frames import assert_frame_equal, build_frame


@pytest.fixture(params=["numpy_nullable", "pyarrow"])
def backend(request: pytest.FixtureRequest) -> Any:
    """Run a test for both families of dtypes."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
    return request.param


RECORDS = [make_record(0, i) for i in range(1, 121)]


def expected(backend: Any, **options: Any) -> pd.DataFrame:
    """Return the frame that a read of the records gives, with its ids as a column."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        return build_frame(RECORDS, Layout(dtype_backend=backend, index_col=None, **options))


def test_typed__records(backend: Any) -> None:
    """A frame of records becomes what a read gives; the input stays as it was."""
    # Without tokens in addresses, which a read removes.
    raw = pd.DataFrame([decode_record(encode_record(record)) for record in RECORDS])
    before = raw.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        typed = raw.b24.typed(dtype_backend=backend)
    frame = expected(backend)
    assert_frame_equal(typed[frame.columns], frame)
    assert_frame_equal(raw, before)


def test_typed__twice(backend: Any) -> None:
    """A typed frame stays as it is, with its attrs."""
    frame = expected(backend).set_index("ID")
    frame.attrs["b24"] = {"missing": [7]}
    typed = frame.b24.typed(dtype_backend=backend)
    assert_frame_equal(typed, frame)
    assert typed.attrs == frame.attrs
    assert typed.attrs["b24"] is not frame.attrs["b24"]


def test_typed__across_backends_and_zones(backend: Any) -> None:
    """Another backend and another zone, and back, lose nothing."""
    pytest.importorskip("pyarrow")
    other = "pyarrow" if backend == "numpy_nullable" else "numpy_nullable"
    frame = expected(backend)
    there = frame.b24.typed(dtype_backend=other, tz="Asia/Kolkata")
    assert "Asia/Kolkata" in str(there["CREATED"].dtype)
    assert_frame_equal(there.b24.typed(dtype_backend=backend), frame)


def test_typed__keeps_the_shape() -> None:
    """Columns, their order, the index, and what is not a field of an activity stay as they are."""
    raw = pd.DataFrame(
        {"score": [0.5, 1.5], "COMPLETED": ["Y", "N"], "ID": ["5", "3"], "UF_A": [[1], None]},
        index=["a", "a"],
    )
    typed = raw.b24.typed()
    assert list(typed.columns) == list(raw.columns)
    assert typed.index.tolist() == ["a", "a"]
    assert typed["score"].tolist() == [0.5, 1.5]
    assert typed["ID"].tolist() == [5, 3]
    assert typed["UF_A"].tolist() == [[1], None]
    by_id = raw.set_index("ID").b24.typed()
    assert by_id.index.equals(pd.Index(pd.array([5, 3], "Int64"), name="ID"))


def test_typed__numbers_of_others(backend: Any) -> None:
    """Numbers of NumPy and decimal ones are numbers among objects, too."""
    raw = pd.DataFrame(
        {"ID": [np.int64(7), Decimal(8)], "COMPLETED": [np.True_, None], "OWNER_ID": [None, 5]}
        | {"RESULT_SUM": [Decimal("1500.50"), np.float64(0.5)]},
        dtype=object,
    )
    typed = raw.b24.typed(dtype_backend=backend)
    assert typed["ID"].tolist() == [7, 8]
    assert typed["COMPLETED"].astype(object).tolist()[0] is True
    assert typed["RESULT_SUM"].tolist() == [1500.5, 0.5]
    odd = pd.DataFrame({"ID": [1, 2, 3], "OWNER_ID": [Decimal("1.5"), np.timedelta64(1), None]})
    with pytest.warns(BadValueWarning, match="2 values not understood as integer"):
        assert odd.b24.typed()["OWNER_ID"].isna().all()


def test_typed__which_columns() -> None:
    """Fields are the known ones, a portal's own, and text under a name in capitals."""
    text = pd.Series(["x"], dtype="string")
    raw = pd.DataFrame(
        {"OWNER_ID": text.replace("x", "5"), "UF_A": text, "NEW": text, "New": text}
        | {"MARGIN": [0.5], "REGION": text.astype("category")}
    )
    typed = raw.b24.typed()
    changed = [name for name in raw if typed[name].dtype != raw[name].dtype]
    assert changed == ["OWNER_ID", "UF_A", "NEW"]


def test_typed__empty(backend: Any) -> None:
    """No rows get the same dtypes."""
    typed = expected(backend).head(0).astype(object).b24.typed(dtype_backend=backend)
    assert list(typed.dtypes) == list(expected(backend).dtypes)
    assert typed.empty


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("OWNER_ID", [5.0, None], 5),
        ("OWNER_ID", [-5, 3], -5),
        ("ORIGIN_ID", [12345.0, None], "12345"),
        ("ORIGIN_ID", [12345, 6], "12345"),
        ("COMPLETED", ["True", None], True),
        ("COMPLETED", ["FALSE", ""], False),
        ("COMPLETED", [1.0, None], True),
        ("COMPLETED", [True, None], True),
        ("RESULT_SUM", ["1.5", None], 1.5),
        ("SETTINGS", ['{"A": [1]}', None], {"A": [1]}),
        ("SETTINGS", ["{'A': None, 'B': \"it's\"}", "[]"], {"A": None, "B": "it's"}),
        ("BINDINGS", ["[{'A': True}]", None], [{"A": True}]),
        ("CREATED", ["2026-03-01 12:00:00+01:00", None], pd.Timestamp("2026-03-01T11:00Z")),
        ("CREATED", ["2026-03-01T11:00:00.000000Z", ""], pd.Timestamp("2026-03-01T11:00Z")),
        ("CREATED", pd.to_datetime(["2026-03-01T11:00Z", None]), pd.Timestamp("2026-03-01T11:00Z")),
        (
            "CREATED",
            [pd.Timestamp("2026-03-01T11:00Z"), "x"][:1],
            pd.Timestamp("2026-03-01T11:00Z"),
        ),
        ("DEADLINE", ["9999-12-31T00:00:00+03:00", None], None),
    ],
)
def test_typed__what_pandas_reads(name: str, raw: Any, value: Any) -> None:
    """What pandas makes of a field when it reads a file is understood."""
    typed = pd.DataFrame({name: raw}).b24.typed(on_bad_value="raise")[name].iloc[0]
    assert pd.isna(typed) if value is None else typed == value


@pytest.mark.parametrize(
    ("name", "raw", "named"),
    [
        ("OWNER_ID", [2.0**53, None], "9007199254740992"),
        ("ORIGIN_ID", [1.2345678901234567e19, None], "12345678901234567168"),
        ("CREATED", pd.to_datetime(["2026-03-01 12:00"]), "2026-03-01T12:00:00"),
        ("COMPLETED", ["maybe"], "maybe"),
        ("SETTINGS", ["{broken"], "broken"),
        ("SETTINGS", ["__import__('os')"], "__import__"),
    ],
)
def test_typed__never_guesses(name: str, raw: Any, named: str) -> None:
    """Lost digits, dates without a zone and the like are named, and not guessed."""
    frame = pd.DataFrame({"ID": range(41, 41 + len(raw)), name: raw})
    with pytest.warns(BadValueWarning, match=rf"{name}: 1 value .*{named}.*id 41"):
        assert frame.b24.typed()[name].isna().all()
    with pytest.raises(BadValueError, match=named):
        frame.b24.typed(on_bad_value="raise")


near_forms = st.text("0123456789+-:TZ.ex_ \n\u0663", max_size=26) | st.sampled_from(
    ["2026-03-01T12:00:00+01:00", "9999-12-31T00:00:00+03:00", "2026-02-30T12:00:00+01:00"]
    + ["2026-03-01T12:00:00+01:0é", "0x10", "007", "", "Y", "True", "[]", "{'A': 1}", '{"A": [1]}']
)
ALL_FIELDS = sorted(b24.schema.ACTIVITY)


@given(st.lists(near_forms | st.none(), max_size=6), st.sampled_from(ALL_FIELDS), st.data())
def test_typed__text_of_any_dtype(values: list[str | None], name: str, data: st.DataObject) -> None:
    """Text gives the same values and warnings, whether Arrow, pandas or Python holds it."""
    pytest.importorskip("pyarrow")
    backend = data.draw(st.sampled_from(["numpy_nullable", "pyarrow"]))
    results = []
    for dtype in ("object", "string[python]", "string[pyarrow]", pd.ArrowDtype(pa_string())):
        raw = pd.DataFrame({name: pd.Series(values, dtype=dtype)})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append((raw.b24.typed(dtype_backend=backend), [str(w.message) for w in caught]))
    for frame, messages in results[1:]:
        assert_frame_equal(frame, results[0][0])
        assert messages == results[0][1]


def pa_string() -> Any:
    """Return Arrow's type of text."""
    return pytest.importorskip("pyarrow").string()


@pytest.mark.parametrize(
    "raw",
    [[5, 0], [5.0, 0.0], ["5", 0], ["5", 0, float("nan")], [5, "0", None], ["5", "0", pd.NA]],
    ids=repr,
)
@pytest.mark.parametrize("name", ["OWNER_ID", "RESULT_SUM"])
def test_typed__numbers_and_gaps(raw: list[Any], name: str, backend: Any) -> None:
    """Numbers are read as numbers and as text, side by side, and gaps of any kind are NA."""
    frame = pd.DataFrame({name: raw})
    typed = frame.b24.typed(dtype_backend=backend, on_bad_value="raise")[name]
    assert [None if pd.isna(v) else v for v in typed] == [5, 0, None][: len(raw)]


def test_typed__truth_values_are_no_numbers() -> None:
    """1 and True are equal, and yet only one of them is a number."""
    raw = pd.DataFrame({"ID": [1, 2, 3], "OWNER_ID": pd.Series([1, True, "1"], dtype=object)})
    with pytest.warns(BadValueWarning, match=r"OWNER_ID: 1 value .*True \(id 2\)"):
        assert raw.b24.typed()["OWNER_ID"].tolist() == [1, pd.NA, 1]


def test_typed__does_not_share_nested_values() -> None:
    """A change to the object of one row changes no other row."""
    typed = pd.DataFrame({"SETTINGS": pd.Series(['{"A": 1}'] * 2, dtype="string")}).b24.typed()
    typed["SETTINGS"][0]["A"] = 2
    assert typed["SETTINGS"].tolist() == [{"A": 2}, {"A": 1}]


def test_typed__refused() -> None:
    """Frames and options that make no sense are refused with what is accepted."""
    with pytest.raises(AttributeError, match="no column that is a field"):
        pd.DataFrame({"a": [1]}).b24.typed()
    with pytest.raises(ValueError, match="several columns of one name"):
        pd.DataFrame([[1, 2]], columns=["ID", "ID"]).b24.typed()
    for options in ({"tz": "Mars"}, {"dtype_backend": "numpy"}, {"on_bad_value": "ignore"}):
        with pytest.raises(ValueError, match="accepted"):
            pd.DataFrame({"ID": [1]}).b24.typed(**options)


# No notation of Python's own, which only `typed` reads.
TEXT = st.text(st.characters(exclude_characters="[{("))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXT, parts, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(RECORDS[0], JSON)), max_size=4))
def test_typed__as_read(records: list[dict[str, Any]]) -> None:
    """Whatever the records, a frame of them becomes what a read of them gives, or is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        read = build_frame(records, Layout(index_col=None))
        typed = pd.DataFrame(records, columns=list(RECORDS[0]), dtype=object).b24.typed()
    for name in set(b24.schema.COLUMNS) - {"COMPLETED"}:
        same = [
            (a is pd.NA and b is pd.NA) or a == b or (a != a and b != b)
            for a, b in zip(read[name].astype(object), typed[name].astype(object), strict=True)
        ]
        assert all(same), name


def test_typed__column_and_index_of_one_name() -> None:
    """A column ID is typed, and an index of the same name, which may be another's id, stays."""
    raw = pd.DataFrame({"ID": ["2", "3"]}, index=pd.Index([10, 11], name="ID"))
    typed = raw.b24.typed()
    assert typed["ID"].tolist() == [2, 3]
    assert typed["ID"].dtype == "Int64"
    pd.testing.assert_index_equal(typed.index, raw.index)


def test_typed__categories_stay() -> None:
    """A categorical column is nothing that a portal sent, whatever its name."""
    raw = pd.DataFrame({"ID": ["2"], "REGION": pd.Categorical(["north"])})
    assert raw.b24.typed()["REGION"].dtype == "category"


def test_typed__no_notation() -> None:
    """Text in braces that is neither JSON nor Python's notation is a bad value."""
    with pytest.warns(BadValueWarning, match="SETTINGS"):
        assert pd.DataFrame({"ID": [1], "SETTINGS": ["{{}}"]}).b24.typed()["SETTINGS"].isna().all()


def test_typed__days_of_arrow() -> None:
    """Days that Arrow read in a column of unknown meaning are their ISO text."""
    pytest.importorskip("pyarrow")
    raw = pd.DataFrame({"ID": [1, 2], "UF_CRM_DAY": ["2026-01-15", None]})
    raw = raw.astype({"UF_CRM_DAY": "date32[pyarrow]"})
    assert raw.b24.typed()["UF_CRM_DAY"].tolist() == ["2026-01-15", None]


@pytest.mark.parametrize("zone", ["-12:00", "+00:00", "+03:00", "+14:00"])
def test_typed__no_deadline(zone: str, backend: Any) -> None:
    """No deadline is NA, too, where pandas has made a date of it, and the caller's date stays."""
    sent = [datetime.fromisoformat(f"{year}-12-31T00:00:00{zone}") for year in (9999, 2026)]
    naive = [moment.astimezone(UTC).replace(tzinfo=None) for moment in sent]
    # By NumPy: pandas 2.2 parses dates to nanoseconds, which end in 2262.
    raw = pd.DataFrame({"DEADLINE": pd.Series(np.array(naive, "M8[us]")).dt.tz_localize("UTC")})
    typed = raw.b24.typed(dtype_backend=backend)["DEADLINE"]
    assert typed.isna().tolist() == [True, False]
    assert raw["DEADLINE"].notna().all()


def test_typed__arrays_within(backend: Any) -> None:
    """Arrays, as pandas reads them from Parquet, are lists in every JSON text."""
    raw = pd.DataFrame({"ID": [1], "SETTINGS": [{"A": np.array([1, 2]), "B": np.int64(3)}]})
    text = '{"A": [1, 2], "B": 3}'
    assert raw.b24.storable().at[0, "SETTINGS"] == text
    assert raw.b24.typed(dtype_backend=backend).b24.storable().at[0, "SETTINGS"] == text


def test_typed__rows_without_ids() -> None:
    """Where a frame has no ids, bad values are named by their rows."""
    with pytest.warns(BadValueWarning, match=r"TYPE_ID: .*'a' \(row 1\)$|'a' \(row 1\);"):
        pd.DataFrame({"TYPE_ID": ["2", "a"]}).b24.typed()

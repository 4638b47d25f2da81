"""Ids: what is accepted, and how the rest is refused."""

from __future__ import annotations

import array
import decimal
import fractions
from collections import UserString
from enum import StrEnum
from http import HTTPStatus
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.ids import parse_column, parse_id_text, parse_ids

REFUSED: list[tuple[Any, str]] = [
    (True, "True"),
    (False, "False"),
    (0, "0"),
    (-1, "-1"),
    (1.5, "1.5"),
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (2**63, str(2**63)),
    ("abc", "'abc'"),
    ("9" * 5000, "'99999"),
    ("", "''"),
    ("-5", "'-5'"),
    ("1.0", "'1.0'"),
    ("1_000", "'1_000'"),
    ("٣", "'٣'"),
    ("1-5", "'1-5'"),
    (None, "a NoneType was given"),
    (b"12", "a bytes was given"),
    ({"ID": 1}, "a dict was given"),
    (object, "a type was given"),
    ([5, 0], "0 at position 1"),
    ([2**63], f"{2**63} at position 0"),
    ([1, True], "True at position 1"),
    ([1, 2, "x"], "'x' at position 2"),
    ([None], "None at position 0"),
    ([pd.NA], "<NA> at position 0"),
    ([pd.NaT], "NaT at position 0"),
    ([[1, 2]], r"\[1, 2\] at position 0"),
    ([decimal.Decimal("1.5")], r"Decimal\('1.5'\) at position 0"),
    ([decimal.Decimal("NaN")], r"Decimal\('NaN'\) at position 0"),
    ([decimal.Decimal("sNaN")], r"Decimal\('sNaN'\) at position 0"),
    ([decimal.Decimal("-Infinity")], "at position 0"),
    ([decimal.Decimal("1E+999999999")], r"Decimal\('1E\+999999999'\)"),
    (decimal.Decimal(0), "Decimal"),
    ([1, HTTPStatus.OK], "OK.* at position 1 .a HTTPStatus"),
    (HTTPStatus.OK, "OK"),
    ([StrEnum("Names", {"A": "12"}).A], "A.* at position 0"),
    ([1, b"12"], "b'12' at position 1"),
    (np.array([b"12"]), "b'12'"),
    (bytearray(b"12"), "a bytearray was given"),
    (memoryview(b"12"), "a memoryview was given"),
    (UserString("12"), "a UserString was given"),
    (array.array("u", "12"), "an? array was given"),
    (np.ma.array([1, 2], mask=[False, True]), "masked at position 1"),
    (np.ma.array([1.0, 2.0], mask=[False, True]), "masked at position 1"),
    ([np.ma.array(5, mask=True)], "at position 0"),
    (np.ma.masked, "0 dimensions"),
    (np.array([1, None], dtype=object), "None at position 1"),
    (np.array([1, True], dtype=object), "True at position 1"),
    (np.array(5), "0 dimensions"),
    ([np.array([5])], r"array\(\[5\]\) at position 0"),
    ([np.array(True)], r"array\(True\) at position 0"),
    ([1, np.bool_(True)], "True.* at position 1"),
    (np.array([5], dtype="m8[s]"), "at position 0"),
    (np.array(["NaT"], dtype="m8[s]"), "NaT.* at position 0"),
    (np.array(["NaT"], dtype="M8[s]"), "NaT.* at position 0"),
    (np.array([(1,)], dtype=[("ID", int)]), r"\(1,\).* at position 0"),
    (array.array("d", [1.0, float("nan")]), "nan at position 1"),
    (pd.Series([1, 2]).astype("datetime64[ns]"), "at position 0"),
    (pd.Series([True, False], dtype="boolean"), "True_? at position 0"),
    (pd.array([1, None], dtype="Int64"), "<NA> at position 1"),
    (pd.arrays.SparseArray([1.0, None]), "nan at position 1"),
    ({1: 2}.items(), r"\(1, 2\) at position 0"),
    ([1j], "1j"),
    ([np.timedelta64(5, "s")], "timedelta64"),
    ([fractions.Fraction(10**400)], "Fraction"),
    ([["https://acme.bitrix24.com/rest/1/abc/"]], "an address at position 0"),
    (np.array([True]), "True"),
    (np.array([1.5]), "1.5"),
    (np.array([[1, 2]]), "2 dimensions"),
    (pd.Series([1.0, None]), "nan at position 1"),
    (pd.Series([1, None], dtype="Int64"), "<NA> at position 1"),
    (pd.DataFrame({"ID": [1]}), "2 dimensions"),
    ((i for i in [1, -2]), "-2 at position 1"),
]
"""Arguments that are no ids, and what the message must name."""


@pytest.mark.parametrize(("ids", "named"), REFUSED, ids=[named[:40] for _, named in REFUSED])
def test_parse_ids__refused(ids: Any, named: str) -> None:
    """What is not an id is refused with its value and position."""
    with pytest.raises((TypeError, ValueError), match=named):
        parse_ids(ids)


GAPS = [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, np.ma.masked, decimal.Decimal("NaN")]


@pytest.mark.parametrize("gap", GAPS)
def test_parse_ids__gap(gap: Any) -> None:
    """Who gives a column with gaps is told what to do about them."""
    with pytest.raises((TypeError, ValueError), match=r"leave gaps out by dropna\(\)"):
        parse_ids([1, gap])


@pytest.mark.parametrize("ids", [[-1], [0.5], ["nan"], ["None"], ["x"], ["NaT"]])
def test_parse_ids__no_gap(ids: Any) -> None:
    """Who gives anything else is told nothing of gaps."""
    with pytest.raises(ValueError, match="is not an activity id") as caught:
        parse_ids(ids)
    assert "gaps" not in str(caught.value)


@pytest.mark.parametrize(
    "ids",
    [
        [3, 1, 2],
        ("3", "1", "2"),
        [" 3 ", 1, "2"],
        [3.0, 1.0, 2.0],
        [3, 1, 2, 3, "1"],
        np.array([3, 1, 2]),
        np.array(["3", "1", "2"]),
        np.array([3, 1, 2], dtype="uint8"),
        [np.int64(3), np.float64(1), 2],
        pd.Series([3, 1, 2], index=list("abc")),
        pd.Series([3.0, 1.0, 2.0]),
        pd.Series(["3", "1", "2"], dtype="string"),
        pd.Index([3, 1, 2], dtype="Int64"),
        pd.Categorical(["3", "1", "2"]),
        [decimal.Decimal(3), decimal.Decimal("1.0"), decimal.Decimal("2E0")],
        [fractions.Fraction(3), 1, 2],
        array.array("q", [3, 1, 2]),
        np.ma.array([3, 1, 9, 2], mask=[False] * 4)[[0, 1, 3]],
        np.array([3, "1", 2.0], dtype=object),
        StringIO("3\n1\n2\n"),
        (i for i in (3, 1, 2)),
        {3: 0, 1: 0, 2: 0}.keys(),
    ],
    ids=lambda ids: f"{type(ids).__name__}",
)
def test_parse_ids__accepted(ids: Any) -> None:
    """Every usual container of ids gives the distinct ids in the order of first appearance."""
    parsed = parse_ids(ids)
    assert parsed == [3, 1, 2]
    assert {type(i) for i in parsed} == {int}


def arrow(values: list[Any], kind: str | None = None) -> Any:
    """Make an array of Arrow."""
    pa = pytest.importorskip("pyarrow")
    return pa.array(values, type=kind and getattr(pa, kind)())


def chunked(values: list[Any], kind: str | None = None) -> Any:
    """Make a chunked array of Arrow."""
    pa = pytest.importorskip("pyarrow")
    whole = arrow(values, kind)
    return pa.chunked_array([whole[:1], whole[1:]])


def encoded(values: list[Any], kind: str | None = None) -> Any:
    """Make an array of Arrow that keeps each distinct value once."""
    return arrow(values, kind).dictionary_encode()


def scalars(values: list[Any], kind: str | None = None) -> Any:
    """Make a list of Arrow's scalars."""
    return list(arrow(values, kind))


def polars(values: list[Any], kind: str | None = None) -> Any:
    """Make a Series of polars."""
    names = {"bool_": "Boolean", "string": "String", "float64": "Float64", "binary": "Binary"}
    pl = pytest.importorskip("polars")
    return pl.Series(values, dtype=getattr(pl, names[kind]) if kind else None)


@pytest.mark.parametrize("container", [arrow, chunked, encoded, scalars, polars])
@pytest.mark.parametrize(
    ("values", "kind", "named"),
    [
        ([1, None], None, "None at position 1 .*leave gaps out"),
        ([1, 0], None, "0 at position 1"),
        (["1", None], "string", "None at position 1"),
        (["1", "x"], "string", "'x' at position 1"),
        ([1.0, 1.5], "float64", "1.5 at position 1"),
        ([1.0, float("nan")], "float64", "nan at position 1"),
        ([b"1", b"2"], "binary", "b'1' at position 0"),
        ([True, False], "bool_", "True at position 0"),
    ],
)
def test_parse_ids__other_containers(
    container: Any, values: list[Any], kind: str | None, named: str
) -> None:
    """Gaps and other values are refused by value and position, whatever they are in."""
    with pytest.raises((TypeError, ValueError), match=f"ids: {named}"):
        parse_ids(container(values, kind))


@pytest.mark.parametrize("container", [arrow, chunked, encoded, scalars, polars])
@pytest.mark.parametrize("kind", [None, "string", "float64"])
def test_parse_ids__ids_in_other_containers(container: Any, kind: str | None) -> None:
    """Ids in columns of other programs are read as those of pandas."""
    make = {None: int, "string": str, "float64": float}[kind]
    parsed = parse_ids(container([make(i) for i in (3, 1, 3)], kind))
    assert parsed == [3, 1]
    assert {type(i) for i in parsed} == {int}


@pytest.mark.parametrize("single", [999, "999", 999.0, np.int64(999), decimal.Decimal(999)])
def test_parse_ids__single(single: Any) -> None:
    """A single id needs no list."""
    assert parse_ids(single) == [999]


@pytest.mark.parametrize("single", [1, 2**63 - 1])
def test_parse_ids__bounds(single: int) -> None:
    """The smallest and the largest id are accepted, in any form."""
    assert parse_ids([single]) == parse_ids(single) == parse_ids(str(single)) == [single]
    assert parse_id_text(str(single)) == parse_id_text(f"{single}-{single}") == [single]


@given(st.lists(st.integers(1, 2**63 - 1)))
def test_parse_ids__property(ids: list[int]) -> None:
    """Any list of ids, as numbers or text, gives each once, in order."""
    expected = list(dict.fromkeys(ids))
    assert parse_ids(ids) == expected
    assert parse_ids(map(str, ids)) == expected


@given(st.one_of(st.text(), st.floats(), st.binary(), st.none(), st.booleans()))
def test_parse_ids__any_value(value: Any) -> None:
    """Any value is an id or is refused with one of two errors, nothing else."""
    try:
        (parsed,) = parse_ids([value])
    except (TypeError, ValueError) as error:
        assert "at position 0" in str(error)  # noqa: PT017 - most values are refused
    else:
        assert parsed == int(value) > 0


def test_parse_id_text__ranges() -> None:
    """Ids and ranges may be mixed; an id that is named twice is there once."""
    assert parse_id_text("1-3, 999;2") == [1, 2, 3, 999]


@pytest.mark.parametrize(
    "text",
    ["", "a", "3-1", "1-", "-1", "0", "1--2", "1 2", "1-99999999999"]
    + ["1-10000001", "1-9999999, 1-2"],
)
def test_parse_id_text__refused(text: str) -> None:
    """What is neither an id nor a range is refused, and so is a range past all bounds."""
    with pytest.raises(ValueError, match="ids"):
        parse_id_text(text)


def test_parse_column__keeps_positions() -> None:
    """A column keeps its duplicates and its gaps."""
    assert parse_column(["5", None, 5, 6.0]) == [5, None, 5, 6]
    with pytest.raises(ValueError, match="'x' at position 2"):
        parse_column([1, None, "x"])

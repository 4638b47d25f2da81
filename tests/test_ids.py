"""Ids: what is accepted, and how the rest is refused."""

from __future__ import annotations

import array
import decimal
import fractions
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.ids import parse_column, parse_id_text, parse_ids
from tests.helpers.cases import REFUSED_IDS


@pytest.mark.parametrize(
    ("ids", "named"), REFUSED_IDS, ids=[named[:40] for _, named in REFUSED_IDS]
)
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


@pytest.mark.parametrize("ids", [[0], ["0"], [0.0]])
def test_parse_ids__zero(ids: Any) -> None:
    """Portals write 0 for none: the message says what to do about it."""
    with pytest.raises(ValueError, match="is not an id.*no id, put NA in its place"):
        parse_ids(ids)


@pytest.mark.parametrize("ids", [[-1], [0.5], ["nan"], ["None"], ["x"], ["NaT"]])
def test_parse_ids__no_gap(ids: Any) -> None:
    """Who gives anything else is told nothing of gaps."""
    with pytest.raises(ValueError, match="is not an id") as caught:
        parse_ids(ids)
    assert "gaps" not in str(caught.value)


@pytest.mark.parametrize(
    "number",
    [2.0**53, 2.0**53 + 2, 1e18, np.float64(2**60), np.float32(2**24 + 1), np.float16(2049)],
    ids=repr,
)
def test_parse_ids__lost_digits(number: Any) -> None:
    """A float that may have lost digits is no id: the one that was meant may be another."""
    with pytest.raises(ValueError, match="at position 1"):
        parse_ids([1, number])
    with pytest.raises(ValueError, match="is not an id"):
        parse_ids(np.array([number]))


@pytest.mark.parametrize("number", [2.0**53 - 1, np.float32(2**24 - 1), np.float16(2047)], ids=repr)
def test_parse_ids__all_digits(number: Any) -> None:
    """A float up to that is what it says."""
    assert parse_ids(pd.Series([number])) == parse_ids([number]) == [int(number)]
    assert parse_ids(decimal.Decimal(2**63 - 1)) == [2**63 - 1]


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


def test_parse_ids__refused_in_a_generator() -> None:
    """What can be iterated over only once is refused by value and position, too."""
    with pytest.raises(ValueError, match="-2 at position 1"):
        parse_ids(i for i in [1, -2])

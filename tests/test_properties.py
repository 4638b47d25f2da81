"""From records to a frame and back: whatever a portal sends, nothing is lost or changed in silence.

Each field is sent in any of its wire forms, or not at all, beside fields that nobody knows. What
the frame then has is compared with what was meant, not with what the code makes of it.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from b24frames.accessor.interchange import storable
from b24frames.errors import BadValueError, BadValueWarning
from b24frames.frame import (
    Layout,
    build_frame_of_columns,
    build_frame_of_lines,
    decode,
    sort_extras,
)
from b24frames.frame import build as frame_module
from b24frames.frame.convert import BAD_VALUE, PARSERS, convert
from b24frames.messages import visible
from b24frames.schema import ACTIVITY, COLUMNS, DTYPES, Wire
from b24frames.serialization import OTHER, decode_record, encode_record, extra_names
from tests.helpers.frames import assert_frame_equal, build_frame

Record = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIELDS = {wire: [f.name for f in ACTIVITY.values() if f.wire is wire] for wire in Wire}
ALL = Layout(index_col=None)
try:
    import pyarrow  # noqa: F401 - whether it is there

    ARROW = Layout(index_col=None, dtype_backend="pyarrow")
    LAYOUTS = [ALL, ARROW]
except ImportError:
    LAYOUTS = [ALL]


# --- what a portal may send, and what it means ---------------------------------------------------

texts = st.text(st.characters(exclude_categories=[]), max_size=12)
storable_texts = st.text(max_size=12)
nothing = st.sampled_from([(None, None), ("", None)])
offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(texts, part, max_size=3),
    max_leaves=5,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)


def integer_forms(number: int) -> st.SearchStrategy[Any]:
    """Write an integer in any way that portals do."""
    forms: list[Any] = [str(number), number, f" {number} ", f"{number:05d}"]
    return st.sampled_from([*forms, float(number)] if abs(number) < 2**53 else forms)


def double_forms(number: float) -> st.SearchStrategy[Any]:
    """Write a number in any way that portals do."""
    forms: list[Any] = [repr(number), number, f" {number!r}"]
    whole = number.is_integer() and math.copysign(1, number) == 1
    return st.sampled_from([*forms, int(number)] if whole else forms)


def instant_forms(moment: datetime) -> st.SearchStrategy[Any]:
    """Write an instant in any way that portals do."""
    text = moment.isoformat()
    forms = [text, text.replace("T", " ")]
    if moment.utcoffset() == timedelta(0):
        forms.append(text.replace("+00:00", "Z"))
    if moment.second == moment.microsecond == 0:
        forms.append(moment.isoformat(timespec="minutes"))
    return st.sampled_from(forms)


def with_meaning(
    meanings: st.SearchStrategy[Any], forms: Callable[[Any], st.SearchStrategy[Any]]
) -> st.SearchStrategy[tuple[Any, Any]]:
    """Pair what may be sent with what it means."""
    return meanings.flatmap(lambda meaning: forms(meaning).map(lambda sent: (sent, meaning)))


def micros(moment: datetime) -> int:
    """Count microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets)
round_moments = moments.map(lambda m: m.replace(second=0, microsecond=0))
no_deadlines = st.datetimes(datetime(9999, 12, 31), timezones=offsets).map(datetime.isoformat)
instants = with_meaning(moments | round_moments, instant_forms).map(lambda p: (p[0], micros(p[1])))

SENT: Mapping[Wire, st.SearchStrategy[tuple[Any, Any]]] = {
    Wire.INTEGER: nothing | with_meaning(st.integers(-(2**63), 2**63 - 1), integer_forms),
    Wire.DOUBLE: nothing
    | with_meaning(st.floats(allow_nan=False, allow_infinity=False), double_forms),
    Wire.FLAG: nothing | st.sampled_from([("Y", True), ("N", False), (True, True), (False, False)]),
    Wire.DATETIME: nothing | instants | no_deadlines.map(lambda text: (text, None)),
    Wire.TEXT: st.just((None, None))
    | storable_texts.map(lambda text: (text, text))
    | st.integers().map(lambda number: (number, str(number))),
    Wire.OBJECT: st.sampled_from([(None, None), ("", None), (False, None), ([], {}), ({}, {})])
    | json_objects.map(lambda value: (value, value))
    | json_objects.map(lambda value: (json.dumps(value), value)),
    Wire.LIST: st.sampled_from([(None, None), ("", None), (False, None)])
    | st.lists(json_objects, max_size=2).map(lambda value: (value, value))
    | st.lists(json_objects, max_size=2).map(lambda v: (dict(enumerate_as_text(v)), v)),
}


def enumerate_as_text(values: list[Any]) -> Iterator[tuple[str, Any]]:
    """Give values numbers as PHP writes a list with gaps."""
    return ((str(2 * i), value) for i, value in enumerate(values))


def shown(value: Any) -> Any:
    """Return what a frame has for a value: escapes for what no UTF-8 can hold in a text."""
    return visible(value) if isinstance(value, str) else value


@st.composite
def activities(draw: st.DrawFn) -> tuple[Record, Record]:
    """Make a record and what it means, of some fields."""
    names = draw(st.lists(st.sampled_from([n for n in ACTIVITY if n != "ID"]), unique=True))
    pairs = {name: draw(SENT[ACTIVITY[name].wire]) for name in names}
    unknown = draw(st.dictionaries(st.sampled_from(["UF_A", "UF_B", "NEW", ""]), json_values))
    pairs |= {name: (value, shown(value)) for name, value in unknown.items()}
    order = draw(st.permutations(list(pairs)))
    meant = {name: pairs[name][1] for name in order}
    return {name: pairs[name][0] for name in order}, meant


read_activities = st.lists(activities(), max_size=4)
any_records = st.lists(
    st.dictionaries(st.sampled_from([*ACTIVITY, "UF_A", "NEW"]), json_values, max_size=8),
    max_size=4,
)


# Text with half a character, which the frame shows as an escape and tells of.
may_have_halves = pytest.mark.filterwarnings(
    "ignore:.*characters that no UTF-8 can hold:b24frames.errors.BadValueWarning"
)


def sent(pairs: list[tuple[Record, Record]]) -> list[Record]:
    """Return the records that were sent, numbered."""
    return [{"ID": str(i), **record} for i, (record, _) in enumerate(pairs, 1)]


def quietly(build: Callable[..., pd.DataFrame], *args: Any, **options: Any) -> pd.DataFrame:
    """Build a frame without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        return build(*args, **options)


def warned(build: Callable[..., pd.DataFrame], *args: Any) -> list[str]:
    """Return the messages of a frame's warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build(*args)
    return [str(warning.message) for warning in caught]


def by_json(lines: list[bytes], layout: Layout) -> pd.DataFrame:
    """Build a frame of lines as without pyarrow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "find_spec", lambda name: None)
        return build_frame_of_lines(lines, layout)


def by_columns(records: list[Record], layout: Layout) -> pd.DataFrame:
    """Build a frame of records column by column, without their lines."""
    extras = sort_extras({name for record in records for name in record})
    names = [*COLUMNS, *extras]
    columns = {name: [record.get(name) for record in records] for name in names}
    layout = replace(layout, columns=tuple(names))
    return build_frame_of_columns(columns, len(records), layout)


def meanings(frame: pd.DataFrame) -> list[Record]:
    """Return what each row of a frame says, as the record that it was meant to be."""
    rows: list[Record] = [{} for _ in range(len(frame))]
    for name, column in frame.items():
        wire = ACTIVITY[str(name)].wire if name in ACTIVITY else Wire.ANY
        for row, value in zip(rows, column, strict=True):
            row[str(name)] = meaning(value, wire)
    return rows


def meaning(value: Any, wire: Wire) -> Any:
    """Return what one value of a frame says."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if wire is Wire.DATETIME:
        return micros(value.to_pydatetime()) + value.nanosecond
    if wire in (Wire.OBJECT, Wire.LIST, Wire.ANY) and isinstance(value, str):
        return value
    return value.item() if isinstance(value, np.generic) else value


def rewrite(name: str, value: Any) -> Any:
    """Write what a value means so that it can be sent."""
    if name in FIELDS[Wire.DATETIME]:
        return (EPOCH + timedelta(microseconds=value)).isoformat()
    return value


def same(value: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same, down to the type and the sign of zero."""
    return repr(value) == repr(other)


# --- each wire form -------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", SENT, ids=lambda wire: wire.name)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.dtype_backend)
@given(data=st.data())
def test_wire_form__means_the_same(data: st.DataObject, wire: Wire, layout: Layout) -> None:
    """Whatever way a value is written, the frame has what it means, and nobody is warned."""
    pairs = data.draw(st.lists(SENT[wire], max_size=5))
    name = data.draw(st.sampled_from(FIELDS[wire]))
    records = [{name: value} for value, _ in pairs]
    lines = list(map(encode_record, records))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = [build_frame_of_lines(lines, layout), by_json(lines, layout)]
    for frame in frames:
        got = [meaning(value, wire) for value in frame[name]] if name in frame else []
        if layout.dtype_backend == "pyarrow" and wire in (Wire.OBJECT, Wire.LIST):
            got = [None if text is None else json.loads(text) for text in got]
        meant = [value for _, value in pairs]
        assert all(map(same, got, meant))
        assert len(got) == len(meant)


@given(st.lists(texts | st.none(), max_size=5), st.sampled_from(FIELDS[Wire.TEXT]))
def test_text__byte_for_byte(values: list[str | None], name: str) -> None:
    """Text is kept character by character, but for lone surrogates; "" and null stay apart."""
    records = [{name: value} for value in values]
    lines = list(map(encode_record, records))
    for build in (build_frame_of_lines, by_json):
        frame = quietly(build, lines, ALL)
        if name in frame:
            assert [meaning(v, Wire.TEXT) for v in frame[name]] == [shown(v) for v in values]
            assert frame[name].dtype == pd.StringDtype()


@given(st.lists(json_values, max_size=5))
def test_unknown_field__as_sent(values: list[Any]) -> None:
    """A field that nobody knows comes after the known ones, and is kept as it was sent."""
    records = [{"UF_X": value} for value in values]
    lines = list(map(encode_record, records))
    for build in (build_frame_of_lines, by_json):
        frame = quietly(build, lines, ALL)
        assert list(frame.columns) == [*COLUMNS, *(["UF_X"] if values else [])]
        assert all(map(same, frame.get("UF_X", []), map(shown, values)))


near_dates = st.from_regex(
    r"(9999-12-31|[0-9]{4}-[01][0-9]-[0-3][0-9])[T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
    r"[+-][0-2][0-9]:[0-6][0-9][\x00 Z]?",
    fullmatch=True,
)
near_numbers = st.text("0123456789+-._eExnaif \u0663\n", max_size=6)


@settings(max_examples=2 * settings().max_examples)
@given(st.lists(near_dates | near_numbers, max_size=8), st.sampled_from(list(SENT)[:4]))
def test_wire_form__all_at_once_or_one_by_one(values: list[str], wire: Wire) -> None:
    """What looks much like a date or a number is read, or refused, as if it were the only one."""
    typed = convert(values, wire, arrow=False)
    for position, value in enumerate(values):
        try:
            expected = PARSERS[wire](value)
        except BAD_VALUE:
            assert typed.bad[position] == value
            expected = None
        got = None if typed.na[position] else typed.values[position].item()
        assert same(got, expected)


# --- whole records --------------------------------------------------------------------------------


@may_have_halves
@given(read_activities)
def test_record__nothing_lost(pairs: list[tuple[Record, Record]]) -> None:
    """Every field of every record says in the frame what it was meant to say."""
    lines = list(map(encode_record, sent(pairs)))
    for build in (build_frame_of_lines, by_json):
        rows = meanings(build(lines, ALL))
        for number, (row, (_, meant)) in enumerate(zip(rows, pairs, strict=True), 1):
            given_fields = {name: value for name, value in row.items() if value is not None}
            expected = {name: value for name, value in meant.items() if value is not None}
            assert same(
                dict(sorted(given_fields.items())), dict(sorted({"ID": number, **expected}.items()))
            )


@may_have_halves
@given(read_activities)
def test_record__back_to_the_wire(pairs: list[tuple[Record, Record]]) -> None:
    """What a frame says, sent again, gives the same frame."""
    frame = build_frame(sent(pairs), ALL)
    again = [
        {name: rewrite(name, value) for name, value in row.items() if value is not None}
        for row in meanings(frame)
    ]
    extras = [str(name) for name in frame.columns[len(COLUMNS) :]]
    assert_frame_equal(build_frame(again, ALL, extras), frame)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.dtype_backend)
@given(any_records)
def test_record__any_json(layout: Layout, records: list[Record]) -> None:
    """Any JSON in any field gives the columns and dtypes of the schema, and no error."""
    frame = quietly(build_frame, records, layout)
    expected = [DTYPES[layout.dtype_backend][ACTIVITY[n].wire].format(tz="UTC") for n in COLUMNS]
    assert [str(dtype) for dtype in frame.dtypes[list(COLUMNS)]] == expected
    assert set(frame.columns) - set(COLUMNS) == {n for r in records for n in r} - set(COLUMNS)
    assert len(frame) == len(records)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.dtype_backend)
@given(any_records)
def test_record__every_way_to_the_same_frame(layout: Layout, records: list[Record]) -> None:
    """Lines read by Arrow, lines read by json and columns of raw values give one frame."""
    lines = list(map(encode_record, records))
    expected = quietly(build_frame_of_lines, lines, layout)
    assert_frame_equal(quietly(by_json, lines, layout), expected)
    assert_frame_equal(quietly(by_columns, records, layout), expected)


@given(any_records)
def test_record__every_way_warns_alike(records: list[Record]) -> None:
    """The same values are named, whichever way they came."""
    lines = list(map(encode_record, records))
    expected = warned(by_columns, records, ALL)
    assert warned(build_frame_of_lines, lines, ALL) == expected
    assert warned(by_json, lines, ALL) == expected


@given(any_records)
def test_record__bad_values_are_named(records: list[Record]) -> None:
    """Where a value was sent and none is in the frame, its field is named."""
    frame = quietly(build_frame, records, ALL)
    messages = "\n".join(warned(build_frame, records, ALL))
    for name in COLUMNS:
        sent_values = [record.get(name) for record in records]
        for value, typed in zip(sent_values, frame[name], strict=True):
            says_nothing = (
                value in (None, "") or value is False or str(value).startswith("9999-12-31")
            )
            if meaning(typed, ACTIVITY[name].wire) is None and not says_nothing:
                assert f"{name}: " in messages


@given(any_records)
def test_record__warning_or_error(records: list[Record]) -> None:
    """What is warned of by default is raised when asked for, with the same facts."""
    messages = warned(build_frame, records, ALL)
    strict = Layout(index_col=None, on_bad_value="raise")
    if not messages:
        assert_frame_equal(build_frame(records, strict), build_frame(records, ALL))
        return
    with pytest.raises(BadValueError) as raised:
        build_frame(records, strict)
    assert messages[0].startswith(str(raised.value))


@given(any_records)
def test_record__input_unchanged(records: list[Record]) -> None:
    """Building a frame changes none of the records."""
    before = copy.deepcopy(records)
    quietly(build_frame, records, ALL)
    assert same(records, before)


@given(st.lists(st.sampled_from(['{"A": [1]}', "[]", "{}"]), min_size=2, max_size=5))
def test_record__nothing_shared(values: list[str]) -> None:
    """Rows whose nested text is the same can be changed one by one."""
    lines = [encode_record({"SETTINGS": value}) for value in values]
    for frame in (build_frame_of_lines(lines, ALL), by_json(lines, ALL)):
        frame["SETTINGS"].iloc[0]["NEW"] = 1
        assert not any("NEW" in value for value in frame["SETTINGS"].iloc[1:])


# --- rows, blocks, columns -----------------------------------------------------------------------


@given(any_records, st.integers(0, 4))
def test_rows__parts_make_the_whole(records: list[Record], cut: int) -> None:
    """A frame built of all records is that of the first ones and the last ones together."""
    extras = sorted({name for record in records for name in record} - set(COLUMNS))
    whole = quietly(build_frame, records, ALL, extras)
    parts = [quietly(build_frame, part, ALL, extras) for part in (records[:cut], records[cut:])]
    for part, start in zip(parts, (0, len(records[:cut])), strict=True):
        expected = whole.iloc[start : start + len(part)].reset_index(drop=True)
        assert_frame_equal(part, expected)


@given(any_records, st.integers(1, 3), st.integers(1, 2))
def test_rows__in_blocks_of_any_size(records: list[Record], rows: int, dicts: int) -> None:
    """How many rows are taken at a time changes nothing."""
    expected = quietly(build_frame, records, ALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_module, "_ROWS_AT_ONCE", rows)
        patch.setattr(decode, "_DICTS_AT_ONCE", dicts)
        lines = list(map(encode_record, records))
        for build in (build_frame_of_lines, by_json):
            assert_frame_equal(quietly(build, lines, ALL), expected)
        assert warned(by_json, lines, ALL) == warned(build_frame_of_lines, lines, ALL)


@given(st.data(), any_records)
def test_rows__in_any_order(data: st.DataObject, records: list[Record]) -> None:
    """The order of the records is that of the rows, and changes nothing else."""
    order = data.draw(st.permutations(range(len(records))))
    frame = quietly(build_frame, records, ALL)
    shuffled = quietly(build_frame, [records[i] for i in order], ALL)
    assert_frame_equal(shuffled, frame.iloc[list(order)].reset_index(drop=True))


@given(st.data(), any_records)
def test_fields__in_any_order(data: st.DataObject, records: list[Record]) -> None:
    """The order of a record's fields says nothing."""
    shuffled = [{n: r[n] for n in data.draw(st.permutations(list(r)))} for r in records]
    assert_frame_equal(quietly(build_frame, shuffled, ALL), quietly(build_frame, records, ALL))


@given(any_records)
def test_fields__missing_is_null(records: list[Record]) -> None:
    """A field that is not there is one that is null."""
    filled = [dict.fromkeys(COLUMNS) | record for record in records]
    assert_frame_equal(quietly(build_frame, filled, ALL), quietly(build_frame, records, ALL))


@given(any_records, st.lists(st.sampled_from([*ACTIVITY, "UF_A"]), unique=True))
def test_columns__chosen_ones(records: list[Record], names: list[str]) -> None:
    """The columns that were chosen are those of the whole frame."""
    whole = quietly(
        build_frame,
        records,
        ALL,
        ["UF_A", *FIELDS[Wire.LIST], "ORIGIN_VERSION", "IS_INCOMING_CHANNEL"],
    )
    chosen = Layout(index_col=None, columns=tuple(names))
    lines = list(map(encode_record, records))
    for build in (build_frame_of_lines, by_json):
        assert_frame_equal(quietly(build, lines, chosen), whole[names])


@given(any_records)
def test_index__is_the_column(records: list[Record]) -> None:
    """The field that becomes the index is what the column would be."""
    column = quietly(build_frame, records, ALL)
    indexed = quietly(build_frame, records, Layout())
    pd.testing.assert_series_equal(indexed.index.to_series(index=column.index), column["ID"])


zones = st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Moscow"]).map(ZoneInfo)


@may_have_halves
@given(read_activities, zones)
def test_zone__instants_stay(pairs: list[tuple[Record, Record]], zone: ZoneInfo) -> None:
    """A zone changes how an instant is shown, and never the instant."""
    there = build_frame(sent(pairs), Layout(index_col=None, tz=zone))
    here = build_frame(sent(pairs), ALL)
    for name in FIELDS[Wire.DATETIME]:
        assert str(there[name].dtype) == f"datetime64[us, {zone}]"
        pd.testing.assert_series_equal(
            there[name].dt.tz_convert("UTC"), here[name], check_dtype=False
        )


@pytest.mark.skipif(len(LAYOUTS) == 1, reason="needs pyarrow")
@may_have_halves
@given(read_activities)
def test_backends__agree(pairs: list[tuple[Record, Record]]) -> None:
    """Both families of dtypes hold the same values."""
    nullable, arrow = build_frame(sent(pairs), ALL), build_frame(sent(pairs), ARROW)
    texts_of = storable(nullable)
    for name in COLUMNS:
        wire = ACTIVITY[name].wire
        of_both = zip(texts_of[name], arrow[name], strict=True)
        assert all(same(meaning(a, wire), meaning(b, wire)) for a, b in of_both)


# --- lines ----------------------------------------------------------------------------------------


@given(any_records)
def test_line__is_one_line_of_texts(records: list[Record]) -> None:
    """A line is JSON in UTF-8 without a line break, and has nothing but texts."""
    for record in records:
        line = encode_record(record)
        assert b"\n" not in line
        assert all(type(value) is str for value in json.loads(line.decode()).values())


@given(any_records)
def test_line__decoded_and_encoded_again(records: list[Record]) -> None:
    """What has once been a line stays the same line."""
    for record in records:
        line = encode_record(record)
        assert encode_record(decode_record(line)) == line


@given(any_records)
def test_extra_names__those_of_the_records(records: list[Record]) -> None:
    """The fields that not every frame has are found in lines too."""
    expected = {name for record in records for name in record} - set(COLUMNS)
    assert extra_names(map(encode_record, records)) == expected


@given(st.dictionaries(texts, json_values, max_size=4))
def test_line__any_names(record: Record) -> None:
    """Fields of any name survive, the empty one too."""
    assume(not record.keys() & ACTIVITY.keys())
    assert same(decode_record(encode_record(record)), record)
    assert OTHER in json.loads(encode_record(record)) or not record


@may_have_halves
@given(read_activities)
def test_storable__can_be_read_back(pairs: list[tuple[Record, Record]]) -> None:
    """Nested values written as JSON text are the same when they are read again."""
    frame = build_frame(sent(pairs), ALL)
    written = storable(frame)
    for name in (*FIELDS[Wire.OBJECT], *FIELDS[Wire.LIST]):
        for text, value in zip(written.get(name, []), frame.get(name, []), strict=True):
            assert (text is pd.NA and value is None) or same(json.loads(text), value)


def test_same__is_strict() -> None:
    """The comparison that these tests stand on tells apart what is not the same."""
    assert not same(1, True)
    assert not same(0.0, -0.0)
    assert not same(1, 1.0)
    assert same(math.pi, math.pi)

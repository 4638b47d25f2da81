"""`find_activities`, `count_activities` over real HTTP, against what all records say."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings

import b24frames as b24
from b24frames.errors import B24Error, BadValueWarning, InvalidAnswerError, PortalError
from b24frames.filters import FIELDS
from b24frames.frame import Layout
from b24frames.practice import PracticePortal, practice_portal
from b24frames.practice.dataset import Record, links
from b24frames.practice.faults import Fault
from b24frames.practice.methods import METHODS, Answer, Call
from b24frames.schema import ACTIVITY, COLUMNS, Backend, Wire
from tests.helpers.frames import assert_frame_equal, build_frame
from tests.helpers.practice import posts
from tests.helpers.sessions import Interrupting

MakePortal = Callable[..., PracticePortal]
LIST = "crm.activity.list"
IS_THOROUGH = settings().max_examples > 10

# --- conditions ----------------------------------------------------------------------------------

ORDERS = (">", ">=", "<", "<=")
OPERATORS = {
    Wire.INTEGER: ("==", "!=", *ORDERS, "in", "not in"),
    Wire.DOUBLE: ("==", "!=", *ORDERS, "in", "not in"),
    Wire.DATETIME: ("==", "!=", *ORDERS, "in", "not in"),
    Wire.FLAG: ("==", "!=", "in", "not in"),
    Wire.TEXT: ("==", "!=", "in", "not in", "contains"),
}


@pytest.fixture(scope="module")
def known() -> Iterator[PracticePortal]:
    """Make a portal that is only read, some of its values hard to filter."""
    with practice_portal(activities=200, limits="self-hosted") as portal:
        portal.server.touch(11, ASSOCIATED_ENTITY_ID=None, SUBJECT="", RESULT_SUM=None)
        portal.server.touch(12, ASSOCIATED_ENTITY_ID="0", SUBJECT=None, RESULT_SUM="0.0000")
        portal.server.touch(13, SUBJECT="50% DISCOUNT_now", DEADLINE="")
        portal.server.touch(14, SUBJECT="Straße + Ärger & $result[a] #1 = 2", PRIORITY="77")
        portal.server.touch(15, SUBJECT="STRASSE", DEADLINE="9999-12-31T00:00:00+03:00")
        yield portal


@pytest.fixture(scope="module")
def everything(known: PracticePortal) -> pd.DataFrame:
    """Make the frame of all records, which no filter has seen."""
    frame = build_frame(known.server.records(), Layout())
    return frame.assign(ID=frame.index)


def holds(frame: pd.DataFrame, name: str, operator: str, value: Any) -> pd.Series:
    """Return in which rows a condition holds, by pandas alone; NA differs from everything."""
    column = frame[name]
    if ACTIVITY[name].wire is Wire.TEXT:
        column = column.fillna("").str.casefold()
        value = [v.casefold() for v in value] if isinstance(value, list) else value.casefold()
    if operator == "contains":
        return column.str.contains(value, regex=False)
    if operator in ORDERS:
        compare = {">": column.gt, ">=": column.ge, "<": column.lt, "<=": column.le}[operator]
        return compare(value).fillna(False).astype(bool)
    equal = column.isin(value if isinstance(value, list) else [value]).fillna(False).astype(bool)
    return ~equal if operator in ("!=", "not in") else equal


def values_of(frame: pd.DataFrame, name: str) -> list[Any]:
    """Return what a field is compared with: values that occur, 0, and one that does not."""
    wire = ACTIVITY[name].wire
    if wire is Wire.FLAG:
        return [True, False]
    occurring = frame[name].dropna().unique()
    found = list(occurring[:: max(1, len(occurring) // 2)][:3])
    found += {Wire.INTEGER: [0, 10**6], Wire.TEXT: ["", "no such text"]}.get(wire, [])
    return found if IS_THOROUGH else found[-4:]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.thorough
def test_find_activities__conditions(
    name: str, known: PracticePortal, everything: pd.DataFrame
) -> None:
    """Every operator on every field finds what pandas finds among all records; counts agree."""
    values = values_of(everything, name)
    for number, operator in enumerate(OPERATORS[ACTIVITY[name].wire]):
        for value in values if IS_THOROUGH else [values[number % len(values)]]:
            if operator == "contains":
                value = value[1:6].upper() or "a"
            elif operator in ("in", "not in"):
                value = [value, values[0]]
            truth = everything.index[holds(everything, name, operator, value)]
            condition = (name, operator, value)
            found = b24.find_activities([condition], known, columns=[], cache=False)
            assert found.index.tolist() == truth.tolist(), condition
            assert b24.count_activities([condition], known) == len(truth), condition


@pytest.mark.parametrize(
    "name",
    [name for name in FIELDS if ACTIVITY[name].labels],
)
def test_find_activities__labels(
    name: str, known: PracticePortal, everything: pd.DataFrame
) -> None:
    """The label of a code finds what the code finds."""
    for code in everything[name].dropna().unique():
        label = ACTIVITY[name].labels.get(code)
        if label is not None:
            found = b24.find_activities([(name, "==", label.upper())], known, columns=[])
            assert found.index.tolist() == everything.index[everything[name].eq(code)].tolist()


@pytest.mark.parametrize(
    ("value", "tz", "moment"),
    [
        ("2023-07-01", "UTC", "2023-07-01T00:00Z"),
        ("2023-07-01", "Asia/Almaty", "2023-06-30T18:00Z"),
        ("2023-07-01", "Europe/Berlin", "2023-06-30T22:00Z"),
        (date(2023, 1, 1), "Europe/Berlin", "2022-12-31T23:00Z"),
        ("2023-07-01T03:00+03:00", "America/New_York", "2023-07-01T00:00Z"),
        ("2023-07-01T00:00Z", "America/New_York", "2023-07-01T00:00Z"),
        (datetime(2023, 7, 1, tzinfo=UTC), "Asia/Kolkata", "2023-07-01T00:00Z"),
        (datetime(2023, 7, 1), "Asia/Kolkata", "2023-06-30T18:30Z"),
        (pd.Timestamp("2023-07-01", tz="Asia/Kolkata"), "UTC", "2023-06-30T18:30Z"),
        (pd.Timestamp("2023-07-01").to_datetime64(), "Asia/Kolkata", "2023-06-30T18:30Z"),
    ],
)
def test_find_activities__zones(
    value: Any, tz: str, moment: str, known: PracticePortal, make_portal: MakePortal
) -> None:
    """A date with a zone is an instant; without one it is meant in the frame's, to the second."""
    instant = pd.Timestamp(moment)
    exact = make_portal(activities=3, deleted=(), refused=())
    for i, seconds in enumerate((-1, 0, 1), start=1):
        exact.server.touch(i, CREATED=(instant + pd.Timedelta(seconds, unit="s")).isoformat())
    for operator, ids in {">": [3], ">=": [2, 3], "<": [1], "<=": [1, 2], "==": [2]}.items():
        frame = b24.find_activities([("CREATED", operator, value)], exact, tz=tz)
        assert frame.index.tolist() == ids
        assert str(frame["CREATED"].dt.tz) == tz


def test_find_activities__before_all_dates(known: PracticePortal) -> None:
    """Everything is after a date that lies before all that a portal understands."""
    ages_ago = datetime.min.replace(tzinfo=timezone(timedelta(hours=23)))
    found = b24.find_activities([("CREATED", ">=", ages_ago)], known, columns=["CREATED"])
    assert len(found) == b24.count_activities(None, known)
    assert b24.count_activities([("DEADLINE", "<", ages_ago)], known) == 0


def test_find_activities__no_deadline(known: PracticePortal, everything: pd.DataFrame) -> None:
    """What has no deadline is asked for by None, and is neither before nor after any date."""
    column = everything["DEADLINE"]
    for operator, truth in (("==", column.isna()), ("!=", column.notna())):
        found = b24.find_activities([("DEADLINE", operator, None)], known)
        assert found.index.tolist() == everything.index[truth].tolist()
        assert b24.count_activities([("DEADLINE", operator, None)], known) == truth.sum()
    for operator in ORDERS:
        found = b24.find_activities([("DEADLINE", operator, "2023-06-01")], known)
        assert found["DEADLINE"].notna().all()


def test_find_activities__none_is_not_zero(known: PracticePortal) -> None:
    """An empty number is not 0, whatever the portal takes it for."""
    name, ids = "ASSOCIATED_ENTITY_ID", ("ID", "in", [11, 12])
    for operator, value, truth in (
        ("==", 0, [12]),
        ("in", [0, 5], [12]),
        ("!=", 0, [11]),
        ("not in", [0, 5], [11]),
        (">=", 0, [12]),
        ("<=", 0, [12]),
    ):
        condition = (name, operator, value)
        assert b24.find_activities([ids, condition], known).index.tolist() == truth
        bounds = [("ID", ">=", 11), ("ID", "<=", 12)]
        assert b24.count_activities([*bounds, condition], known) == 1


@pytest.mark.parametrize("empty", [None, "0"])
def test_find_activities__limit_beyond_loose_rows(
    empty: str | None, make_portal: MakePortal
) -> None:
    """A limit is reached though whole pages hold only what the portal takes for a match."""
    portal = make_portal(activities=300, deleted=(), refused=())
    for i in range(1, 301):
        portal.server.touch(i, ASSOCIATED_ENTITY_ID=empty)
    for i in (5, 100, 101):
        portal.server.touch(i, ASSOCIATED_ENTITY_ID="0" if empty is None else None)
    condition = ("ASSOCIATED_ENTITY_ID", "==" if empty is None else "!=", 0)
    for limit in (1, 2, 3, 50):
        found = b24.find_activities([condition], portal, limit=limit, columns=[])
        assert found.index.tolist() == [101, 100, 5][:limit]


def linked(portal: PracticePortal, kind: int, number: int | None = None) -> set[int]:
    """Return the activities that are linked to a CRM object, or to any of a type."""
    return {
        int(record["ID"])
        for record in portal.server.records()
        if any(k == kind and number in (None, i) for k, i in links(record))
    }


def test_find_activities__bindings(known: PracticePortal) -> None:
    """Links find each activity once: of any of several objects, of a type, of several at once."""
    contact, company = linked(known, 3, 5), linked(known, 4, 5)
    contacts, companies = linked(known, 3), linked(known, 4)
    assert 0 < len(contact) < 10
    assert len(contacts & companies) > 10
    for pairs, truth in (
        ([("contact", 5)], contact),
        ([("contact", 5), (4, 5)], contact | company),
        ([("contact", 5), ("contact", None), ("company", None)], contacts | companies),
    ):
        condition = ("BINDINGS", "in", pairs)
        assert set(b24.find_activities([condition], known).index) == truth
        assert b24.count_activities([condition], known) == len(truth)
    both = [("BINDINGS", "in", [("contact", None)]), ("BINDINGS", "in", [("company", None)])]
    frame = b24.find_activities([*both, ("ID", ">", 50)], known)
    assert frame.index.tolist() == sorted(i for i in contacts & companies if i > 50)
    assert b24.count_activities(both, known) == len(contacts & companies)


def test_find_activities__alternatives(known: PracticePortal, everything: pd.DataFrame) -> None:
    """Each row comes once, however many alternatives it meets; a limit takes the highest ids."""
    filters = [
        [("TYPE_ID", "==", "call"), ("ID", "<", 150)],
        [("COMPLETED", "==", False)],
        [("ID", "in", [3, 5, 199])],
    ]
    call, low = everything["TYPE_ID"].eq(2), everything.index < 150
    truth = (call & low) | ~everything["COMPLETED"] | everything.index.isin([3, 5, 199])
    ids = everything.index[truth].tolist()
    assert b24.find_activities(filters, known).index.tolist() == ids
    assert b24.count_activities(filters, known) == len(ids)
    few = b24.find_activities(filters, known, limit=7)
    assert few.index.tolist() == ids[:-8:-1]
    assert few.attrs["b24"]["requested"] == 7


@pytest.mark.parametrize("limit", [1, 50, 51, 120, 10_000])
def test_find_activities__limit(limit: int, known: PracticePortal) -> None:
    """The highest ids come, in descending order, however sparse they are."""
    for condition in (("ID", ">", 0), ("TYPE_ID", "==", 2), ("SUBJECT", "contains", "a")):
        ids = b24.find_activities([condition], known).index.tolist()
        few = b24.find_activities([condition], known, limit=limit)
        assert few.index.tolist() == ids[::-1][:limit]
        assert few.attrs["b24"]["requested"] == min(limit, len(ids))


def test_find_activities__known_ids(make_portal: MakePortal) -> None:
    """Of more ids than a page has, those that meet the other conditions come."""
    portal = make_portal(activities=300, deleted=(), refused=())
    ids = [*range(20, 150), 10**6]
    truth = [i for i in ids[:-1] if portal.server.record(i)["TYPE_ID"] == "2"]  # type: ignore[index]
    frame = b24.find_activities([("ID", "in", ids), ("TYPE_ID", "==", 2)], portal)
    assert frame.index.tolist() == truth
    assert posts(portal) == 1


@pytest.mark.parametrize("limit", [None, 120])
def test_find_activities__known_ids_with_links(limit: int | None, known: PracticePortal) -> None:
    """Known ids that come once for each link fill a page early; the others come with the next."""
    links = ("BINDINGS", "in", [(kind, None) for kind in (1, 2, 3, 4, 7, 31)])
    ids = b24.find_activities([links], known).index.tolist()
    assert len(ids) > 150
    both = [links, ("ID", "in", range(1, 201))]
    found = b24.find_activities(both, known, limit=limit).index.tolist()
    assert sorted(found) == ids[-limit if limit else 0 :]
    assert b24.count_activities(both, known) == len(ids)


def test_find_activities__two_texts_of_a_field(known: PracticePortal) -> None:
    """Two conditions on one text field must both hold, in calls of their own too."""
    for text in ("straße + ärger & $RESULT[a] #1 = 2", "50% DISCOUNT_now"):
        found = [("SUBJECT", "==", text), ("SUBJECT", "contains", text[3:6])]
        assert len(b24.find_activities(found, known)) == 1
        assert b24.count_activities(found, known) == 1
        assert b24.find_activities([*found, ("SUBJECT", "contains", "zzz")], known).empty


def test_find_activities__text_with_a_reference(known: PracticePortal) -> None:
    """What a batch would take for a reference to another command goes in calls of its own."""
    for operator, text in (
        ("contains", "$result[a]"),
        ("==", "straße + ärger & $RESULT[a] #1 = 2"),
    ):
        before = posts(known)
        assert b24.find_activities([("SUBJECT", operator, text)], known).index.tolist() == [14]
        assert {r.method for r in known.server.requests[before:]} == {LIST}


def test_find_activities__empty_in(portal: PracticePortal) -> None:
    """An empty list finds nothing and sends nothing; what it does not exclude is everything."""
    assert len(b24.find_activities([("TYPE_ID", "in", [])], portal)) == 0
    assert posts(portal) == 0
    assert b24.count_activities([("TYPE_ID", "not in", [])], portal) == len(portal.server.records())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"limit": 0}, ValueError, "limit=0"),
        ({"limit": True}, ValueError, "limit=True"),
        ({"chunksize": -1}, ValueError, "chunksize=-1"),
        ({"columns": ["SUBJET"]}, ValueError, "did you mean 'SUBJECT'"),
        ({"columns": "SUBJECT"}, TypeError, "not a list of field names"),
        ({"index_col": "SUBJET"}, ValueError, "did you mean 'SUBJECT'"),
        ({"dtype_backend": "numpy"}, ValueError, "dtype_backend='numpy'"),
        ({"tz": "Mars"}, ValueError, "'Mars'"),
        ({"on_bad_value": "drop"}, ValueError, "on_bad_value='drop'"),
        ({"cache": 5}, TypeError, "cache is of type int"),
        ({"progress": "yes"}, ValueError, "progress='yes'"),
        ({"missing": "warn"}, TypeError, "missing"),
    ],
)
def test_find_activities__refused(
    options: dict[str, Any], error: type[Exception], words: str, portal: PracticePortal
) -> None:
    """An argument that is not accepted is named before any request."""
    with pytest.raises(error, match=words):
        b24.find_activities(None, portal, **options)
    assert posts(portal) == 0


# --- while others work ---------------------------------------------------------------------------

SELECTIONS: tuple[list[Any], ...] = (
    [("ID", ">", 0)],
    [("COMPLETED", "==", False)],
    [("TYPE_ID", "==", "call"), ("CREATED", ">=", "2022-03-01")],
    [[("RESPONSIBLE_ID", "<", 150)], [("TYPE_ID", "==", 2)]],
)


def matching(records: list[Record], filters: list[Any]) -> list[bool]:
    """Return which records match one of the `SELECTIONS`."""
    frame = build_frame(records, Layout(index_col=None))
    codes = {"call": 2, "2022-03-01": pd.Timestamp("2022-03-01", tz="UTC")}
    is_match = pd.Series(False, frame.index)
    for alternative in filters if isinstance(filters[0], list) else [filters]:
        all_hold = pd.Series(True, frame.index)
        for name, operator, value in alternative:
            all_hold &= holds(frame, name, operator, codes.get(value, value))
        is_match |= all_hold
    return is_match.tolist()


@pytest.mark.parametrize("seed", range(30 if IS_THOROUGH else 4))
@pytest.mark.thorough
def test_find_activities__worked_on(seed: int, make_portal: MakePortal) -> None:
    """What matched all the while comes once, as it was at some moment; nothing else comes."""
    portal = make_portal(activities=2000, seed=seed)
    filters = SELECTIONS[seed % len(SELECTIONS)]
    versions = [(int(record["ID"]), record) for record in portal.server.records()]
    options: dict[str, Any] = {"chunksize": 60} if seed % 2 else {}
    options |= {"columns": list(COLUMNS)} if seed % 3 else {}
    with portal.server.work(seed):
        found = b24.find_activities(filters, portal, cache=False, **options)
        frame = pd.concat(found) if seed % 2 else found
    changes = portal.server.changes
    assert len(changes) > 10
    versions += [(change.id, change.record) for change in changes if change.record]
    is_match = matching([record for _, record in versions], filters)
    ever = {i for (i, _), matched in zip(versions, is_match, strict=True) if matched}
    not_always = {i for (i, _), matched in zip(versions, is_match, strict=True) if not matched}
    not_always |= {change.id for change in changes if change.kind in ("created", "deleted")}
    assert frame.index.is_unique
    assert ever - not_always - set(frame.index) == set()
    assert set(frame.index) - ever == set()
    shown = ["LAST_UPDATED", "OWNER_ID", "SUBJECT", "RESPONSIBLE_ID"]
    changed = {change.id for change in changes} & set(frame.index)
    of_changed = build_frame((record for i, record in versions if i in changed), Layout())
    seen = frame.loc[sorted(changed), shown]
    assert set(seen.itertuples(name=None)) <= set(of_changed[shown].itertuples(name=None))


# --- portals that are not to be trusted ----------------------------------------------------------

Spoil = Callable[[Callable[[Call], Answer], Call], Answer]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil], None]:
    """Let practice portals answer lists in a way of their own."""
    answer = METHODS[LIST]
    return lambda change: monkeypatch.setitem(METHODS, LIST, lambda call: change(answer, call))


def without(call: Call, field: str) -> Call:
    """Return a call without the conditions on a field."""
    kept = {
        key: value
        for key, value in call.params["filter"].items()
        if re.sub(r"\W", "", key) != field
    }
    return replace(call, params={**call.params, "filter": kept})


def assert_refused(portal: PracticePortal, filters: Any, words: str, place: Path) -> None:
    """Fail where anything but an error that names what is wrong comes of a search, or is kept."""
    for options in ({}, {"columns": ["SUBJECT"]}, {"limit": 60}, {"columns": [], "chunksize": 10}):
        with pytest.raises(InvalidAnswerError, match=words):  # noqa: PT012 - one or many frames
            found = b24.find_activities(filters, portal, cache=place, **options)
            assert options.get("chunksize")
            assert all(len(frame) == 10 for frame in found)
    truth = {int(record["ID"]): record["SUBJECT"] for record in portal.server.records()}
    with closing(b24.ActivityCache(place)) as cache:
        for i, line in cache.read(portal, range(1, 10_001), max_age=None).records.items():
            assert json.loads(line).get("SUBJECT") == truth[i]


@pytest.mark.parametrize("name", [*(name for name in FIELDS if name != "ID"), "BINDINGS"])
def test_find_activities__condition_ignored(
    name: str, spoil: Callable[[Spoil], None], make_portal: MakePortal, tmp_path: Path
) -> None:
    """A portal that ignores a condition is an error that names the field, and no frame."""
    portal = make_portal(activities=120)
    spoil(lambda answer, call: answer(without(call, name)))
    wire = ACTIVITY[name].wire
    values: dict[Wire, tuple[str, Any]] = {
        Wire.INTEGER: ("in", [123_456, 5]),
        Wire.DOUBLE: (">", 1e9),
        Wire.DATETIME: ("<", "2001-01-01"),
        Wire.FLAG: ("==", False),
        Wire.TEXT: ("contains", "a"),
        Wire.LIST: ("in", [("deal", 5)]),
    }
    operator, value = values[wire]
    filters = [(name, operator, value), ("ID", "<=", 110)]
    assert_refused(portal, filters, name, tmp_path / "kept")
    with pytest.raises(InvalidAnswerError, match=name):
        b24.count_activities(filters, portal)


@pytest.mark.parametrize("ignored", ["=SUBJECT", "%SUBJECT"])
def test_find_activities__one_of_two_ignored(
    ignored: str, spoil: Callable[[Spoil], None], make_portal: MakePortal
) -> None:
    """Of two conditions on one text field, either may be ignored: both are looked at."""
    portal = make_portal(activities=120)
    subject = str(portal.server.records()[0]["SUBJECT"])

    def spoiled(answer: Callable[[Call], Answer], call: Call) -> Answer:
        kept = {key: v for key, v in call.params["filter"].items() if key != ignored}
        return answer(replace(call, params={**call.params, "filter": kept}))

    spoil(spoiled)
    filters = [("SUBJECT", "==", subject), ("SUBJECT", "contains", subject[1:3])]
    for work in (b24.find_activities, b24.count_activities):
        with pytest.raises(InvalidAnswerError, match="the condition on SUBJECT was ignored"):
            work(filters, portal)


def test_count_activities__old_rows_match(
    spoil: Callable[[Spoil], None], make_portal: MakePortal
) -> None:
    """A bound that the oldest rows meet anyway is compared with the newest ones."""
    portal = make_portal(activities=200)
    spoil(lambda answer, call: answer(without(call, "CREATED")))
    with pytest.raises(InvalidAnswerError, match="CREATED"):
        b24.count_activities([("CREATED", "<", portal.server.records()[100]["CREATED"])], portal)


@pytest.mark.parametrize(
    ("field", "value", "condition"),
    [
        ("CREATED", "yesterday", (">=", "2001-01-01")),
        ("PRIORITY", "high", (">=", 0)),
        ("PRIORITY", "high", ("!=", 0)),
        ("PRIORITY", "high", ("in", [1, 2, 3])),
    ],
)
def test_find_activities__unreadable_value(
    field: str, value: str, condition: Any, spoil: Callable[[Spoil], None], make_portal: MakePortal
) -> None:
    """A value that cannot be compared is NA with a warning; the portal has compared it."""
    portal = make_portal(activities=20, deleted=(), refused=())

    def spoiled(answer: Callable[[Call], Answer], call: Call) -> Answer:
        answered = answer(call)
        rows = [row | {field: value} if row["ID"] == "7" else row for row in answered["result"]]
        return {**answered, "result": rows}

    spoil(spoiled)
    with pytest.warns(BadValueWarning, match=rf"{field}: 1 value not understood.*\(id 7\)"):
        frame = b24.find_activities([(field, *condition)], portal)
    assert pd.isna(frame.loc[7, field])


def test_count_activities__ids_ignored(
    spoil: Callable[[Spoil], None], make_portal: MakePortal
) -> None:
    """A portal that ignores the bounds of ids is an error here, too, and no number."""
    portal = make_portal(activities=120)
    spoil(lambda answer, call: answer(without(call, "ID")))
    for bound in (("ID", "<=", 20), ("ID", ">", 20)):
        with pytest.raises(InvalidAnswerError, match="ID"):
            b24.count_activities([bound], portal)


@pytest.mark.parametrize("total", [None, 0, -5, 49, True, "120", "many", []])
@pytest.mark.parametrize("last", [30, 120])
def test_count_activities__no_total(
    total: object, last: int, spoil: Callable[[Spoil], None], make_portal: MakePortal
) -> None:
    """Where the total cannot be that of the rows, they are counted."""
    portal = make_portal(activities=120)
    truth = len(b24.find_activities([("ID", "<=", last)], portal))
    spoil(lambda answer, call: {**answer(call), "total": total})
    assert b24.count_activities([("ID", "<=", last)], portal) == truth


def test_find_activities__text_exclusion_ignored(
    spoil: Callable[[Spoil], None], make_portal: MakePortal
) -> None:
    """Nor does a text come that was to be excluded."""
    portal = make_portal(activities=120)
    subject = portal.server.records()[0]["SUBJECT"]
    spoil(lambda answer, call: answer(without(call, "SUBJECT")))
    with pytest.raises(InvalidAnswerError, match="SUBJECT"):
        b24.find_activities([("SUBJECT", "!=", subject)], portal)


def mixed(rows: list[Any]) -> list[Any]:
    """Return rows in another order."""
    return [*rows[1:], *rows[:1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (mixed, "not in the order asked for"),
        (lambda rows: [*rows, *rows], "not in the order asked for"),
        (lambda rows: [{**row, "ID": str(int(row["ID"]) + 7000)} for row in rows], "other activit"),
        (lambda rows: [{**row, "ID": "-5"} for row in rows], "in place of an activity"),
        (lambda rows: [{**row, "ID": None} for row in rows], "in place of an activity"),
        (lambda rows: [row["ID"] for row in rows], "in place of an activity"),
        (lambda _: "rows", "in place of a page"),
        (lambda _: None, "in place of a page"),
        (lambda _: False, "in place of a page"),
    ],
)
def test_find_activities__odd_pages(
    change: Callable[[list[Any]], Any],
    words: str,
    spoil: Callable[[Spoil], None],
    make_portal: MakePortal,
    tmp_path: Path,
) -> None:
    """Pages that are not those asked for are an error, and nothing of them is kept."""
    portal = make_portal(activities=180)

    def spoiled(answer: Callable[[Call], Answer], call: Call) -> Answer:
        answered = answer(call)
        is_page = len(call.params["select"]) > 1 or call.params["filter"].get(">ID") == "100"
        return {**answered, "result": change(answered["result"])} if is_page else answered

    spoil(spoiled)
    assert_refused(portal, [("ID", "<=", 160)], words, tmp_path / "kept")


def test_find_activities__first_page_again(
    spoil: Callable[[Spoil], None], make_portal: MakePortal, tmp_path: Path
) -> None:
    """A portal that gives the first page for every range never ends a search well, nor for ever."""
    portal = make_portal(activities=300)

    def first_page(answer: Callable[[Call], Answer], call: Call) -> Answer:
        return answer(without(call, "ID"))

    spoil(first_page)
    assert_refused(portal, [("TYPE_ID", "!=", 99)], "other activities", tmp_path / "kept")


def test_find_activities__odd_once(spoil: Callable[[Spoil], None], make_portal: MakePortal) -> None:
    """What is odd once is asked for again."""
    portal = make_portal(activities=180)
    truth = [int(record["ID"]) for record in portal.server.records()]
    odd = iter([True, True])
    spoil(
        lambda answer, call: {
            **(answered := answer(call)),
            "result": mixed(answered["result"]) if next(odd, False) else answered["result"],
        }
    )
    assert b24.find_activities(None, portal).index.tolist() == truth


def test_find_activities__interrupted(make_portal: MakePortal, tmp_path: Path) -> None:
    """Ctrl-C ends a search at once, and keeps the whole records that had come."""
    practice = make_portal(activities=4000, refused=())
    place, rng = tmp_path / "kept", random.Random(1)
    for number in (1, 2, 3):
        with Interrupting(number, rng.uniform(0.001, 0.01)) as session:
            portal = b24.Portal(practice.url, limits="self-hosted", session=session)
            with closing(portal), pytest.raises(KeyboardInterrupt):
                b24.find_activities(None, portal, cache=place)
            session.over.set()
    with closing(b24.Portal(practice.url, limits="self-hosted")) as portal:
        with closing(b24.ActivityCache(place)) as cache:
            kept = list(cache.read(portal, range(1, 4001), max_age=None).records)
        frame = b24.find_activities(None, portal, cache=False)
        before = posts(practice)
        again = b24.read_activities(kept, portal, cache=place)
        assert posts(practice) == before
        columns = again.columns.intersection(frame.columns)
        assert_frame_equal(again[columns], frame.loc[again.index, columns])


# --- what it costs and keeps ---------------------------------------------------------------------


def test_find_activities__few_requests(make_portal: MakePortal) -> None:
    """Ten rows anywhere take three requests at most; a count takes one."""
    portal = make_portal(activities=5_000, deleted=(), refused=())
    ids = [*range(40, 45), 2_000, 2_001, 3_500, 4_998, 5_000]
    for i in ids:
        portal.server.touch(i, PRIORITY="77")
    rare = [("PRIORITY", "==", 77)]
    for options in ({}, {"limit": 10}):
        before = posts(portal)
        frame = b24.find_activities(rare, portal, **options)
        assert sorted(frame.index) == ids
        assert posts(portal) - before == frame.attrs["b24"]["http_requests"] <= 3
    before = posts(portal)
    assert b24.count_activities(rare, portal) == 10
    assert b24.count_activities([*rare, ("COMPLETED", "==", False)], portal) <= 10
    assert posts(portal) - before == 2


@pytest.mark.parametrize(
    ("rows", "most"), [(20_000, 16), (100_000, 60)] if IS_THOROUGH else [(5_000, 5)]
)
@pytest.mark.thorough
def test_find_activities__many_rows(rows: int, most: int, make_portal: MakePortal) -> None:
    """So many rows of a dense filter take so many requests at most."""
    practice = make_portal(activities=rows, deleted=(), refused=())
    # Whoever waits long enough is not given smaller batches where the machine is busy.
    portal = b24.Portal(practice.url, limits="self-hosted", timeout=(10, 600))
    frame = b24.find_activities(None, portal, columns=["TYPE_ID"], cache=False)
    assert frame.index.tolist() == list(range(1, rows + 1))
    assert posts(practice) <= most


def test_find_activities__kept(make_portal: MakePortal) -> None:
    """Whole records are kept for reads by id, which need no request then; the frames are equal."""
    portal = make_portal(activities=300)
    found = b24.find_activities([("TYPE_ID", "in", ["call", "e-mail", 6])], portal)
    before = posts(portal)
    with pytest.warns(b24.errors.MissingActivitiesWarning, match="configurable"):
        read = b24.read_activities(found.index, portal)
    refused = found.index.difference(read.index)
    assert set(found.loc[refused, "PROVIDER_ID"]) == {"CONFIGURABLE_REST_APP"}
    assert posts(portal) == before + 1
    assert_frame_equal(found.loc[read.index], read)


def test_find_activities__columns_are_not_kept(portal: PracticePortal) -> None:
    """Of a few columns nothing is kept, and what is not asked for does not come."""
    frame = b24.find_activities([("ID", "<=", 6)], portal, columns=["SUBJECT"])
    assert frame.columns.tolist() == ["SUBJECT"]
    (select,) = {
        tuple(re.findall(r"select\[\w*\]=(\w+)", command.replace("%5B", "[").replace("%5D", "]")))
        for request in portal.server.requests
        for command in request.commands
        if "SUBJECT" in command
    }
    assert set(select) == {"ID", "SUBJECT"}
    before = posts(portal)
    b24.read_activities([1], portal)
    assert posts(portal) == before + 1


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("rows", [0, 1, 51, 2500])
def test_find_activities__dtypes(rows: int, backend: Backend, make_portal: MakePortal) -> None:
    """Columns and dtypes are those of `read_activities`, however many rows there are."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    portal = make_portal(activities=max(1, rows), deleted=(), refused=())
    options: dict[str, Any] = {"dtype_backend": backend, "tz": "Europe/Berlin"}
    found = b24.find_activities(
        [("ID", "<=", rows)] if rows else [("ID", ">", 9)], portal, **options
    )
    read = b24.read_activities(range(1, rows + 1), portal, cache=False, via="list", **options)
    assert len(found) == rows
    assert_frame_equal(found, read)
    none = b24.find_activities([("ID", ">", 10**6)], portal, **options)
    assert found[none.columns].dtypes.equals(none.dtypes)
    assert found.index.dtype == none.index.dtype


def test_find_activities__on_request(portal: PracticePortal) -> None:
    """What the list gives only when named comes when it is a column."""
    names = ["COMMUNICATIONS", "IS_INCOMING_CHANNEL", "SUBJECT"]
    frame = b24.find_activities([("ID", "<=", 6)], portal, columns=names)
    assert frame.columns.tolist() == names
    assert frame["COMMUNICATIONS"].map(len).gt(0).all()
    assert str(frame["IS_INCOMING_CHANNEL"].dtype) == "boolean"
    assert frame["IS_INCOMING_CHANNEL"].notna().all()


@pytest.mark.parametrize("by", ["find", "read"])
def test_find_activities__streams(by: str, make_portal: MakePortal) -> None:
    """With columns, the first frames come before the last request is sent; all are alike."""
    portal = make_portal(activities=4000, deleted=(), refused=())
    slow = b24.Portal(portal.url, limits="self-hosted", concurrency=1)
    options: dict[str, Any] = {"columns": ["SUBJECT"], "chunksize": 300, "cache": False}
    with closing(slow):
        frames = (
            b24.find_activities(None, slow, **options)
            if by == "find"
            else b24.read_activities(range(1, 4001), slow, **options)
        )
        first = next(frames)
        early = posts(portal)
        rest = list(frames)
    assert early < posts(portal)
    assert [len(frame) for frame in rest] == [300] * 12 + [100]
    assert pd.concat([first, *rest]).index.tolist() == list(range(1, 4001))
    assert all(frame.dtypes.equals(first.dtypes) for frame in rest)


def test_find_activities__chunks(portal: PracticePortal) -> None:
    """Chunks of whole records are the parts of the one frame, with an index that goes on."""
    whole = b24.find_activities(None, portal, index_col=None)
    parts = list(b24.find_activities(None, portal, index_col=None, chunksize=40))
    assert_frame_equal(pd.concat(parts), whole)
    (none,) = b24.find_activities([("ID", ">", 10**6)], portal, chunksize=40)
    assert len(none) == 0
    assert none.columns.isin(whole.columns).all()
    (last,) = b24.find_activities(None, portal, limit=1, chunksize=40)
    assert_frame_equal(last, b24.find_activities(None, portal, limit=1))


def test_find_activities__attrs(portal: PracticePortal) -> None:
    """`attrs` tells what was asked and done, small and JSON-able, without the secret."""
    filters = [("CREATED", ">=", "2022-01-01"), ("ID", "<=", 60), ("TYPE_ID", "==", "call")]
    frame = b24.find_activities(filters, portal, tz="Europe/Berlin")
    told = frame.attrs["b24"]
    assert told["requested"] == told["fetched"] == len(frame)
    assert told["http_requests"] == posts(portal)
    assert told["filters"] == [
        [
            {
                ">=CREATED": "2021-12-31T23:00:00Z",
                "<CREATED": "9999-12-30T00:00:00Z",
                "=TYPE_ID": 2,
                "<=ID": 60,
            }
        ]
    ]
    text = json.dumps(told)
    assert len(text) < 2000
    assert "practice" not in text
    assert frame.b24.report is not None


def test_find_activities__bad_values(portal: PracticePortal) -> None:
    """A value that is not understood is NA and a warning, as of `read_activities`."""
    portal.server.touch(5, RESULT_VALUE="much")
    with pytest.warns(BadValueWarning, match=r"RESULT_VALUE.*'much' \(id 5\)"):
        frame = b24.find_activities([("ID", "<=", 6)], portal)
    assert pd.isna(frame.loc[5, "RESULT_VALUE"])


def test_find_activities__cut_off(portal: PracticePortal) -> None:
    """Without the right to read, there is an error and no empty frame."""
    portal.server.scopes.discard("crm")
    for ask in (b24.find_activities, b24.count_activities):
        with pytest.raises(B24Error, match="insufficient_scope"):
            ask(None, portal)


def test_find_activities__progress(make_portal: MakePortal) -> None:
    """A bar of the caller's is told of every row once, and what it raises ends the search."""
    portal = make_portal(activities=300)

    class Bar:
        total, n = 1, 0

        def update(self, n: int) -> None:
            self.n += n

        def set_postfix_str(self, text: str) -> None:
            """Take what nothing is waited for."""

    bar = Bar()
    frame = b24.find_activities(None, portal, progress=bar)
    assert bar.n == bar.total == len(frame)

    class Full(Bar):
        def update(self, n: int) -> None:
            raise BufferError

    with pytest.raises(BufferError):
        b24.find_activities(None, portal, progress=Full())


def ids_of(frames: Iterable[pd.DataFrame]) -> list[int]:
    """Return the ids of several frames."""
    return [i for frame in frames for i in frame.index]


def test_find_activities__not_an_administrator(make_portal: MakePortal) -> None:
    """Who may not read everything finds, and counts, what he may read."""
    portal = make_portal(activities=300, admin=False)
    seen = ids_of(b24.find_activities(None, portal, chunksize=50))
    assert 0 < len(seen) < len(portal.server.records())
    assert b24.count_activities(None, portal) == len(seen)


def test_find_activities__parts_of_seconds(make_portal: MakePortal) -> None:
    """Conditions compare whole seconds, though a portal may tell parts of them."""
    portal = make_portal(activities=20, deleted=(), refused=())
    portal.server.touch(5, CREATED="2023-05-05T12:00:00.500+00:00")
    for operator, moment in (("==", "2023-05-05T12:00Z"), ("<=", "2023-05-05T12:00:00.1Z")):
        filters = [("ID", "==", 5), ("CREATED", operator, moment)]
        assert b24.find_activities(filters, portal, cache=False).index.tolist() == [5]


@pytest.mark.parametrize("ask", [b24.find_activities, b24.count_activities])
def test_secret__not_in_tracebacks(portal: PracticePortal, ask: Callable[..., object]) -> None:
    """No frame of an error's traceback keeps the address of the webhook."""
    portal.server.faults.append(Fault("NO_AUTH_FOUND"))
    with pytest.raises(PortalError) as caught:
        ask([("ID", ">", 5)], portal.url)
    lines = TracebackException.from_exception(caught.value, capture_locals=True).format()
    inside = "".join(lines).split("b24frames/credentials.py", 1)[1]
    assert portal.url not in inside

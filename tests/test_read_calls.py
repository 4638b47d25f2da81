"""The statistics of calls: complete, typed, never by offset, without tokens."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import b24frames as b24
from b24frames.credentials import without_query
from b24frames.errors import BadValueWarning, InvalidAnswerError, PermissionDeniedError
from b24frames.practice import PracticePortal
from b24frames.practice.faults import Fault
from b24frames.practice.related import calls as calls_of
from b24frames.schema import CALL
from tests.helpers.answering import Statistics, rewrite
from tests.helpers.practice import posts

MakePortal = Callable[..., PracticePortal]
BACKENDS: list[Any] = ["numpy_nullable", "pyarrow"]


@pytest.fixture(name="portal")
def _portal(make_portal: MakePortal) -> PracticePortal:
    """Make a portal of some 380 calls."""
    return make_portal(activities=2_000)


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls__beside_activities(portal: PracticePortal, backend: Any) -> None:
    """Ids of calls are not taken for ids of activities, whatever columns stand beside them."""
    df = b24.find_activities([("TYPE_ID", "==", "call")], portal, dtype_backend=backend)
    calls = b24.read_calls(None, portal, dtype_backend=backend)
    both = calls[calls["CRM_ACTIVITY_ID"] > 0].join(df, on="CRM_ACTIVITY_ID")
    before = posts(portal)
    for use in (
        lambda: both.b24.refresh(portal),
        lambda: both.b24.bindings(portal),
        lambda: both.b24.talk_time_from(calls),
    ):
        with pytest.raises(AttributeError, match="are of calls"):
            use()
    assert posts(portal) == before
    own = calls.set_index("CRM_ACTIVITY_ID", drop=False)[["CRM_ACTIVITY_ID", "CALL_DURATION"]]
    beside = df.join(own[~own.index.duplicated()]).rename_axis("ID")
    assert beside.b24.talk_time_from(calls).equals(df.b24.talk_time_from(calls))


def test_read_calls__labels(portal: PracticePortal) -> None:
    """Labels of codes that are text find what the codes find."""
    by_code, by_label = (
        b24.read_calls(None, portal, filters=[("CALL_FAILED_CODE", "in", values)])
        for values in (["200", "304"], ["Answered", "304"])
    )
    assert len(by_code)
    assert by_label.equals(by_code)


def truth(portal: PracticePortal) -> list[dict[str, Any]]:
    """Return all rows that the practice portal has."""
    store = portal.server._store
    table = calls_of(store, len(store.changes))
    return [table.row(i) for i in table.ids()]


def row(i: int, activity: object = None) -> dict[str, Any]:
    """Return a row of the statistics."""
    return {"ID": str(i), "CRM_ACTIVITY_ID": activity if activity is None else str(activity)}


def values(column: pd.Series) -> list[Any]:
    """Return the values of a column, None for NA."""
    return [None if pd.isna(value) else value for value in column.tolist()]


def moment(row: dict[str, Any]) -> datetime | None:
    """Return when a call began."""
    text = row["CALL_START_DATE"]
    return datetime.fromisoformat(text) if text else None


def commands(portal: PracticePortal) -> str:
    """Return what a practice portal was asked."""
    return str([request.commands for request in portal.server.requests])


@pytest.mark.parametrize("backend", BACKENDS)
def test_read_calls__equal_to_the_truth(portal: PracticePortal, backend: Any) -> None:
    """Every row is there once, with each value: transferred, failed, without an activity."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    found = b24.read_calls(None, portal, dtype_backend=backend, tz="Europe/Berlin")
    rows = truth(portal)
    assert found.index.tolist() == [int(r["ID"]) for r in rows]
    assert found.columns.tolist() == list(CALL)[1:]
    dtypes = [b24.schema.DTYPES[backend][field.wire] for field in list(CALL.values())[1:]]
    assert [str(dtype) for dtype in found.dtypes] == [d.format(tz="Europe/Berlin") for d in dtypes]
    for name in ("CALL_DURATION", "CRM_ACTIVITY_ID", "PORTAL_USER_ID", "CALL_TYPE"):
        expected = [int(r[name]) if r[name] is not None else None for r in rows]
        assert values(found[name]) == expected
    for name in ("CALL_ID", "PHONE_NUMBER", "CALL_FAILED_CODE"):
        assert values(found[name]) == [r[name] for r in rows]
    assert values(found["CALL_START_DATE"]) == [moment(r) for r in rows]
    assert found["CRM_ACTIVITY_ID"].dropna().duplicated().any()  # transferred
    assert found["CRM_ACTIVITY_ID"].isna().any()  # without an activity
    assert (found["CALL_FAILED_CODE"] == "304").any()
    assert found.attrs["b24"]["http_requests"] == posts(portal)
    assert "start=50" not in commands(portal)


def test_read_calls__of_activities(portal: PracticePortal) -> None:
    """Of some activities there are all rows and no other; many fit a request."""
    rows = [r for r in truth(portal) if r["CRM_ACTIVITY_ID"] not in (None, "0")]
    wanted = [i for i in range(1, 2_001) if i % 3]
    found = b24.read_calls(wanted, portal)
    expected = [int(r["ID"]) for r in rows if int(r["CRM_ACTIVITY_ID"]) % 3]
    assert found.index.tolist() == expected
    assert posts(portal) == 1
    assert b24.read_calls([], portal).empty
    assert posts(portal) == 1


def test_calls__of_a_frame(portal: PracticePortal) -> None:
    """A frame's calls have its zone and family of dtypes, and the length of planned ones, too."""
    pytest.importorskip("pyarrow")
    frame = b24.read_activities(
        range(1, 2_001),
        portal,
        via="list",
        missing="ignore",
        tz="Asia/Almaty",
        dtype_backend="pyarrow",
    )
    found = frame.b24.calls(portal)
    assert str(found["CALL_START_DATE"].dtype) == "timestamp[us, tz=Asia/Almaty][pyarrow]"
    of_frame = {i for i in frame.index if str(frame.at[i, "ORIGIN_ID"]).startswith("VI_")}
    assert set(found["CRM_ACTIVITY_ID"]) <= of_frame
    seconds = found.groupby("CRM_ACTIVITY_ID")["CALL_DURATION"].sum()
    talk = frame.b24.talk_time.loc[seconds.index].dropna().dt.total_seconds()
    assert talk.astype("int64").tolist() == seconds.loc[talk.index].tolist()
    planned = frame.b24.talk_time.loc[seconds.index].isna()
    assert planned.any()
    assert seconds[planned.to_numpy()].notna().all()
    spans = frame.b24.talk_time_from(found)
    assert spans.dtype == frame.b24.talk_time.dtype
    assert spans.index.equals(frame.index)
    assert spans.loc[seconds.index].dt.total_seconds().tolist() == seconds.tolist()
    others = frame.index.difference(seconds.index)
    assert others.size
    assert spans.loc[others].equals(frame.b24.talk_time.loc[others])


@pytest.mark.parametrize("backend", BACKENDS)
def test_talk_time_from__statistics_first(backend: Any) -> None:
    """Statistics win, the parts of a call summed; without any the activity's own times hold."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    at, ends = "2026-03-01T12:00:00+03:00", "2026-03-01T12:02:05+03:00"
    call = {
        "PROVIDER_ID": "VOXIMPLANT_CALL",
        "ORIGIN_ID": "VI_1",
        "START_TIME": at,
        "END_TIME": ends,
    }
    made, planned = call | {"CREATED": at}, call | {"CREATED": ends}
    raw = pd.DataFrame([{"ID": i, **(planned if i == 3 else made)} for i in (1, 1, 2, 3, 4, 5)])
    frame = raw.b24.typed(dtype_backend=backend)
    rows = [
        ("1", "60"),
        ("1", "5"),
        ("2", None),
        ("3", "7"),
        ("4", str(2**62)),
        ("0", "9"),
        (None, "9"),
    ]
    statistics = pd.DataFrame(rows, columns=["CRM_ACTIVITY_ID", "CALL_DURATION"])
    dtype = "int64[pyarrow]" if backend == "pyarrow" else "Int64"
    integers = {
        name: pd.array(statistics[name].map(int, na_action="ignore"), dtype) for name in statistics
    }
    found = frame.b24.talk_time_from(pd.DataFrame(integers))
    assert found.dt.total_seconds().tolist() == [65, 65, 125, 7, 125, 125]
    assert frame.iloc[:0].b24.talk_time_from(pd.DataFrame(integers)).empty
    none = frame.b24.talk_time_from(pd.DataFrame(integers).iloc[:0])
    assert none.equals(frame.b24.talk_time)
    with pytest.raises(AttributeError, match="talk_time_from needs CRM_ACTIVITY_ID, CALL_DURATION"):
        frame.b24.talk_time_from(frame)


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls__of_a_frame_without_any(portal: PracticePortal, backend: Any) -> None:
    """Activities that are no calls, and no activities at all, give no rows of the usual shape."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    frame = b24.read_activities([1, 2, 3], portal, dtype_backend=backend)
    usual = frame.b24.calls(portal)
    assert len(usual) == 1
    for some in (frame.drop(2), frame.iloc[:0]):
        found = some.b24.calls(portal)
        assert found.empty
        assert found.dtypes.equals(usual.dtypes)
        assert found.index.name == "ID"
        assert some.b24.talk_time_from(found).equals(some.b24.talk_time)
    twice = frame.loc[[2, 2]].b24.calls(portal)
    assert twice.equals(usual)
    gap = frame.reset_index()
    gap.loc[0, "ID"] = None
    assert gap.b24.calls(portal).equals(usual)


@pytest.mark.parametrize("activities", ["abc", [1.5], -1, [pd.NA], [True], {1: 2}])
def test_read_calls__refused_ids(portal: PracticePortal, activities: Any) -> None:
    """What is no id of an activity is refused before any request."""
    with pytest.raises((TypeError, ValueError), match="ids: "):
        b24.read_calls(activities, portal)
    assert posts(portal) == 0


def test_labels__of_calls(portal: PracticePortal) -> None:
    """CALL_TYPE and CALL_FAILED_CODE have labels; an unknown code stays what it is."""
    found = b24.read_calls(None, portal)
    labels = found.b24.labels()
    assert labels.columns.tolist() == ["CALL_TYPE", "CALL_FAILED_CODE"]
    for name in labels:
        assert labels[name].cat.ordered
        named = [c if c is None else b24.schema.label(str(name), c) for c in values(found[name])]
        assert values(labels[name]) == named
    assert set(labels["CALL_TYPE"]) >= {"incoming", "outgoing"}
    odd = pd.DataFrame({"CALL_FAILED_CODE": pd.array(["999", "missed", "304", None], "string")})
    shown = odd.b24.labels()["CALL_FAILED_CODE"]
    assert shown.astype("string").fillna("-").tolist() == ["999", "missed", "missed", "-"]


CONDITIONS: dict[str, tuple[list[tuple[str, str, Any]], Callable[[dict[str, Any]], bool]]] = {
    "label": ([("CALL_TYPE", "==", "incoming")], lambda r: r["CALL_TYPE"] == "2"),
    "not": ([("CALL_TYPE", "!=", 2)], lambda r: r["CALL_TYPE"] != "2"),
    "in": ([("CALL_TYPE", "in", [1, 4])], lambda r: r["CALL_TYPE"] in ("1", "4")),
    "not in": (
        [("CALL_FAILED_CODE", "not in", ["200", "304"])],
        lambda r: r["CALL_FAILED_CODE"] not in ("200", "304"),
    ),
    "texts": (
        [("CALL_FAILED_CODE", "in", ["304", "other"])],
        lambda r: r["CALL_FAILED_CODE"] in ("304", "OTHER"),
    ),
    "between": (
        [("CALL_DURATION", ">", 60), ("CALL_DURATION", "<=", 200)],
        lambda r: 60 < int(r["CALL_DURATION"]) <= 200,
    ),
    "contains": (
        [("PHONE_NUMBER", "contains", "90012")],
        lambda r: "90012" in r["PHONE_NUMBER"],
    ),
    "range of ids": (
        [("ID", ">", 1_000), ("ID", "<", 3_000)],
        lambda r: 1_000 < int(r["ID"]) < 3_000,
    ),
    "ids": ([("ID", "in", [36, 164, 5])], lambda r: r["ID"] in ("36", "164", "5")),
    "two fields": (
        [("PORTAL_USER_ID", "==", 3), ("CALL_FAILED_CODE", "!=", "200")],
        lambda r: r["PORTAL_USER_ID"] == "3" and r["CALL_FAILED_CODE"] != "200",
    ),
    "no reference": ([("PHONE_NUMBER", "==", "$result[0]")], lambda r: False),
    "0 is not none": (
        [("RECORD_DURATION", ">=", 0)],
        lambda r: r["RECORD_DURATION"] is not None,
    ),
    "nothing": ([("CALL_TYPE", "in", [])], lambda r: False),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_read_calls__filters(portal: PracticePortal, name: str) -> None:
    """Conditions mean what those of `find_activities` mean, whatever operators the portal has."""
    filters, matches = CONDITIONS[name]
    expected = [int(r["ID"]) for r in truth(portal) if matches(r)]
    assert b24.read_calls(None, portal, filters=filters).index.tolist() == expected
    assert "%40" not in commands(portal)  # no operator @, which the portal would ignore


def test_read_calls__dates_and_alternatives(portal: PracticePortal) -> None:
    """Dates are instants; of alternatives each row comes once."""
    begin, end = datetime(2022, 9, 1, tzinfo=UTC), datetime(2022, 10, 1, tzinfo=UTC)
    rows = truth(portal)
    within = {int(r["ID"]) for r in rows if begin <= (moment(r) or end) < end}
    assert within
    filters = [
        [("CALL_START_DATE", ">=", "2022-09-01"), ("CALL_START_DATE", "<", "2022-10-01")],
        [("CALL_TYPE", "==", "callback")],
    ]
    expected = [i for r in rows if (i := int(r["ID"])) in within or r["CALL_TYPE"] == "4"]
    assert b24.read_calls(None, portal, filters=filters).index.tolist() == expected
    both = b24.read_calls(range(1, 500), portal, filters=filters[0])
    of_some = {int(r["ID"]) for r in rows if 0 < int(r["CRM_ACTIVITY_ID"] or 0) < 500}
    assert both.index.tolist() == sorted(within & of_some)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([("SUBJECT", "==", "x")], "'SUBJECT' is not a field of a call.*CALL_TYPE"),
        ([("BINDINGS", "in", [("deal", 5)])], "not a field of a call"),
        ([("CALL_LOG", "contains", "token=")], "CALL_LOG cannot be filtered"),
        ([("CALL_RECORD_URL", "==", "x")], "CALL_RECORD_URL cannot be filtered"),
        ([("CALL_TYPE", "==", "telepathy")], "'incoming'"),
        ([("CALL_TYPE", "like", 5)], "not an operator"),
        ([("PHONE_NUMBER", ">", "1")], "'>' is not an operator of PHONE_NUMBER"),
        ([("CALL_DURATION", ">", "x")], "'x' .*accepted are int"),
        ([("CALL_DURATION", ">", True)], "True .*accepted are int"),
        ([("CALL_DURATION", ">", 2**70)], "accepted are int"),
        ([("CALL_TYPE", "==", 1.5)], "1.5"),
        ([("CALL_TYPE", "in", "1,2")], "a list is needed"),
        ([("CALL_START_DATE", ">=", "yesterday")], "'yesterday'.*ISO text"),
        ([("CALL_START_DATE", ">=", 5)], "datetime, Timestamp"),
        ([("CALL_START_DATE", "==", None)], "None"),
        ([("COST", ">", "a")], "accepted are numbers"),
        ([("PHONE_NUMBER", "contains", "")], "leave the condition out"),
        (("CALL_TYPE", "==", 1), "a tuple was given"),
        ("CALL_TYPE=1", "a str was given"),
        (5, "a int was given"),
        ([], "an empty list"),
    ],
)
def test_read_calls__refused_filters(portal: PracticePortal, filters: Any, message: str) -> None:
    """What is not accepted is said before any request."""
    with pytest.raises(ValueError, match=message):
        b24.read_calls(None, portal, filters=filters)
    assert posts(portal) == 0


@pytest.mark.parametrize("spread", [4, 40, 4_000])
def test_read_calls__twenty_thousand(make_portal: MakePortal, spread: int) -> None:
    """20 000 rows take ten requests, whatever gaps their ids have, never an offset; all are right.

    Some are parts of a transferred call, some failed, and some have no activity.
    """
    rng = random.Random(spread)
    ids = sorted(rng.sample(range(10**6, 10**6 + 20_000 * spread), 20_000))
    rows = {
        i: row(i, rng.choice([None, 0, n // 3 + 1, n // 3 + 1]))
        | {"CALL_FAILED_CODE": rng.choice(["200", "304", "603-S"]), "CALL_DURATION": str(n)}
        for n, i in enumerate(ids)
    }
    portal = make_portal(activities=1)
    asked = Statistics(portal, rows)
    found = b24.read_calls(None, portal)
    assert found.index.tolist() == ids
    assert found["CALL_FAILED_CODE"].tolist() == [r["CALL_FAILED_CODE"] for r in rows.values()]
    assert found["CALL_DURATION"].tolist() == list(range(20_000))
    activities = [r["CRM_ACTIVITY_ID"] for r in rows.values()]
    assert values(found["CRM_ACTIVITY_ID"]) == [None if a is None else int(a) for a in activities]
    assert asked.requests == found.attrs["b24"]["http_requests"] <= 10
    assert {command["start"] for command in asked.commands} <= {0, -1}


def test_read_calls__uneven(make_portal: MakePortal) -> None:
    """Where most rows are close together, they are found with little more."""
    ids = [*range(1, 100), *range(10**9, 10**9 + 9_000), 10**12]
    portal = make_portal(activities=1)
    asked = Statistics(portal, {i: row(i) for i in ids})
    assert b24.read_calls(None, portal).index.tolist() == ids
    assert len(asked.commands) < 3 * len(ids) / 50


@given(st.sets(st.integers(1, 5_000) | st.integers(1, 2**62)), st.data())
def test_read_calls__any_ids(ids: set[int], data: st.DataObject) -> None:
    """Whatever ids there are, all are found, and of activities exactly their rows."""
    activities = {i: data.draw(st.integers(0, 9)) for i in ids}
    portal = b24.Portal("http://127.0.0.1:9/rest/1/x/", limits="self-hosted")
    Statistics(portal, {i: row(i, activity) for i, activity in activities.items()})
    assert b24.read_calls(None, portal).index.tolist() == sorted(ids)
    of_three = b24.read_calls([1, 2, 3], portal)
    assert of_three.index.tolist() == [i for i in sorted(ids) if activities[i] in (1, 2, 3)]


def test_read_calls__many_rows_of_one_activity(make_portal: MakePortal) -> None:
    """An activity whose rows do not fit a page has all of them."""
    portal = make_portal(activities=1)
    Statistics(portal, {i: row(i, 5 + i % 2) for i in range(1, 301)})
    assert b24.read_calls(5, portal).index.tolist() == list(range(2, 301, 2))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "None in place of a page"),
        ("text", "in place of a page"),
        ([5], "5 in place of a row"),
        ([{"ID": "x"}], "in place of a row"),
        ([row(2, 1), row(1, 1)], "not in the order"),
        ([row(1, 1), row(1, 1)], "not in the order"),
        ([row(1, 8)], "condition on that field was ignored"),
        ([row(1)], "condition on that field was ignored"),
    ],
)
def test_read_calls__wrong_pages(portal: PracticePortal, answer: Any, message: str) -> None:
    """A page that is not what was asked for is asked for again, then an error."""
    rewrite(portal, lambda _command, _result: answer)
    with pytest.raises(InvalidAnswerError, match=message):
        b24.read_calls([1], portal)
    assert posts(portal) == 3


@pytest.mark.parametrize("written", [int, float, "{}.0".format])
def test_read_calls__ids_as_numbers(portal: PracticePortal, written: Any) -> None:
    """An id is the same however the portal writes it, that of the activity too."""
    wire = {**row(7, 1), "ID": written(7), "CRM_ACTIVITY_ID": written(1)}
    rewrite(portal, lambda _command, _result: [wire])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        assert b24.read_calls([1], portal).index.tolist() == [7]


def test_read_calls__no_activity_is_not_0(portal: PracticePortal) -> None:
    """Asked for 0, the portal gives calls without an activity, too: they are left out."""
    rows = [row(1), row(2, 0), row(3, 5)]
    rewrite(portal, lambda command, _: rows[:: -1 if command[1]["ORDER"] == "DESC" else 1])
    filters = [("CRM_ACTIVITY_ID", "in", [0, 5])]
    assert b24.read_calls(None, portal, filters=filters).index.tolist() == [2, 3]


def test_read_calls__one_bad_answer(portal: PracticePortal) -> None:
    """A page that is wrong once costs nothing but a request."""
    wrong = [5]

    def change(_command: Any, result: Any) -> Any:
        return wrong.pop() if wrong else result

    rewrite(portal, change)
    assert len(b24.read_calls(None, portal)) == len(truth(portal))


def test_read_calls__without_the_right(make_portal: MakePortal) -> None:
    """Without the scope or the right the error names what is missing."""
    portal = make_portal(activities=9, scopes=["crm"])
    with pytest.raises(PermissionDeniedError, match="scope 'telephony'"):
        b24.read_calls(None, portal)
    with pytest.raises(PermissionDeniedError, match="ACCESS_DENIED"):
        b24.read_calls(None, make_portal(activities=9, admin=False))


def test_read_calls__in_trouble(portal: PracticePortal) -> None:
    """Transient errors are repeated, and no row is missing."""
    portal.server.faults.append(Fault("QUERY_LIMIT_EXCEEDED", times=2))
    portal.server.faults.append(Fault("html", times=1))
    assert len(b24.read_calls(None, portal)) == len(truth(portal))


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("https://a.example/disk/7/?token=s3cret&x=1", "https://a.example/disk/7/"),
        ("https://a.example/log#s3cret\n", "https://a.example/log"),
        ("https://user:s3cret@a.example/7", "https://a.example/7"),
        ("/disk/7/?auth=s3cret", "/disk/7/"),
        ("", ""),
        ("?s3cret\ns3cret", ""),
    ],
)
def test_without_query__no_token(address: str, clean: str) -> None:
    """Whatever opens a recording is not in its address."""
    assert without_query(address) == clean


def test_read_calls__no_tokens(portal: PracticePortal) -> None:
    """No token of a recording, and no session of a log, is in the frame."""
    rows = truth(portal)
    sent = [r["CALL_RECORD_URL"] for r in rows] + [r["CALL_LOG"] for r in rows]
    assert any("token=" in str(address) for address in sent)
    assert any("session=" in str(address) for address in sent)
    shown = b24.read_calls(None, portal).to_csv()
    assert "token=" not in shown
    assert "session=" not in shown
    assert "https://portal.example/disk/downloadFile/" in shown


def test_read_calls__none_at_all(make_portal: Callable[..., PracticePortal]) -> None:
    """A portal without any call gives an empty frame."""
    frame = b24.read_calls(None, make_portal(activities=0))
    assert frame.shape == (0, len(CALL) - 1)


def test_read_calls__empty_texts(portal: PracticePortal) -> None:
    """An empty text is as none: what equals it and what does not make the whole."""
    total = len(b24.read_calls(None, portal))
    for name in ("COMMENT", "EXTERNAL_CALL_ID", "CALL_FAILED_CODE"):
        parts = [
            b24.read_calls(None, portal, filters=[(name, operator, value)])
            for operator, value in (("==", ""), ("!=", ""))
        ]
        assert sum(map(len, parts)) == total
        assert parts[1][name].ne("").all()
        some = b24.read_calls(None, portal, filters=[(name, "not in", ["", "x"])])
        assert some.index.equals(parts[1].index)

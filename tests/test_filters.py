"""Conditions: which are accepted, what they mean, and how they are written for the portal."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import b24frames as b24
from b24frames.filters import FIELDS, parse_filters, parse_where
from b24frames.schema import ACTIVITY, Wire

NEVER = "9999-12-30T00:00:00Z"


def sent(*conditions: Any, tz: Any = UTC) -> list[list[dict[str, Any]]]:
    """Return the filters that are sent, for each alternative those that must all hold."""
    return [[s.as_json() for s in part] for part in parse_filters([*conditions], tz)]


@pytest.mark.parametrize(
    ("condition", "filters"),
    [
        (("TYPE_ID", "==", 2), {"=TYPE_ID": 2}),
        (("TYPE_ID", "=", "call"), {"=TYPE_ID": 2}),
        (("TYPE_ID", "==", " E-Mail "), {"=TYPE_ID": 4}),
        (("OWNER_TYPE_ID", "in", ["deal", 3, "128"]), {"@OWNER_TYPE_ID": [2, 3, 128]}),
        (("OWNER_ID", ">", np.int64(5)), {">OWNER_ID": 5}),
        (("OWNER_ID", "<=", "7"), {"<=OWNER_ID": 7}),
        (("OWNER_ID", "==", 7.0), {"=OWNER_ID": 7}),
        (("OWNER_ID", "==", Decimal(7)), {"=OWNER_ID": 7}),
        (("STATUS", "!=", "completed"), {"!=STATUS": 2}),
        (("STATUS", "not in", ["pending", 2]), {"!=STATUS": [1, 2]}),
        (("STATUS", "not in", [2]), {"!=STATUS": 2}),
        (("OWNER_ID", "not in", [0, 5]), {"!=OWNER_ID": [0, 5]}),
        (("SUBJECT", "in", ["", "a"]), {"=SUBJECT": ["", "a"]}),
        (("COMPLETED", "==", True), {"=COMPLETED": "Y"}),
        (("COMPLETED", "!=", np.bool_(False)), {"!=COMPLETED": "N"}),
        (("COMPLETED", "==", "N"), {"=COMPLETED": "N"}),
        (("RESULT_SUM", ">=", "1500.50"), {">=RESULT_SUM": "1500.5"}),
        (("RESULT_SUM", "<", 3), {"<RESULT_SUM": "3.0"}),
        (("RESULT_SUM", "<", Decimal("1.5")), {"<RESULT_SUM": "1.5"}),
        (("RESULT_SUM", "<", 1e-5), {"<RESULT_SUM": "0.00001"}),
        (("RESULT_SUM", "<", 1e22), {"<RESULT_SUM": "10000000000000000000000"}),
        (("RESULT_SUM", "==", -0.0), {"=RESULT_SUM": "0.0"}),
        (("TYPE_ID", "in", pd.Series([2], index=[7])), {"=TYPE_ID": 2}),
        (("DEADLINE", "<=", datetime.max), {"<=DEADLINE": NEVER}),
        (("DEADLINE", "<", "9999-12-31"), {"<DEADLINE": NEVER}),
        (("CREATED", "<", "0800-01-01"), {"<CREATED": "0800-01-01T00:00:00Z"}),
        (("SUBJECT", "contains", "a+b=c & d"), {"%SUBJECT": "a+b=c & d"}),
        (("PROVIDER_ID", "in", ["CRM_TODO", "CRM_SMS"]), {"@PROVIDER_ID": ["CRM_TODO", "CRM_SMS"]}),
        (("CREATED", "<", "2026-10-01"), {"<CREATED": "2026-10-01T00:00:00Z"}),
        (("CREATED", "<", date(2026, 10, 1)), {"<CREATED": "2026-10-01T00:00:00Z"}),
        (("CREATED", "<", np.datetime64("2026-10-01")), {"<CREATED": "2026-10-01T00:00:00Z"}),
        (("CREATED", "<=", "2026-10-01T03:00+03:00"), {"<=CREATED": "2026-10-01T00:00:00Z"}),
        (("CREATED", "==", datetime(2026, 10, 1, 9)), {"=CREATED": "2026-10-01T09:00:00Z"}),
        (
            ("CREATED", ">=", pd.Timestamp("2026-10-01", tz="Asia/Almaty")),
            {">=CREATED": "2026-09-30T19:00:00Z", "<CREATED": NEVER},
        ),
        (("DEADLINE", "!=", None), {"<DEADLINE": NEVER}),
        (
            ("BINDINGS", "in", [("deal", 5), (3, "7"), ("company", None)]),
            {
                "BINDINGS": [
                    {"OWNER_TYPE_ID": 2, "OWNER_ID": 5},
                    {"OWNER_TYPE_ID": 3, "OWNER_ID": 7},
                    {"OWNER_TYPE_ID": 4},
                ]
            },
        ),
        (("ID", ">", 5), {">=ID": 6}),
        (("ID", "in", [7, 5, 5]), {"@ID": [5, 7]}),
        (("ID", "!=", 5), {"!=ID": 5}),
    ],
)
def test_parse_filters__sent(condition: Any, filters: dict[str, Any]) -> None:
    """Each kind of value is written as the portal reads it."""
    (((found),),) = sent(condition)
    bounds = {">=ID", "<=ID"} & found.keys() - filters.keys()
    assert {key: value for key, value in found.items() if key not in bounds} == filters


@pytest.mark.parametrize(
    ("operator", "value", "filters"),
    [("!=", 0, {}), ("not in", [0], {}), ("not in", [0, 5.0], {"!=RESULT_SUM": "5.0"})],
)
def test_parse_filters__zero_excluded_here(
    operator: str, value: Any, filters: dict[str, Any]
) -> None:
    """The portal is not asked to exclude 0, since empty numbers would go with it."""
    (((selection),),) = parse_filters([("RESULT_SUM", operator, value)], UTC)
    assert selection.filter == filters
    assert not selection.can_be_counted


@pytest.mark.parametrize(
    ("operator", "moment", "key", "second"),
    [
        (">", "2026-10-01T00:00:00.5Z", ">CREATED", 0),
        (">=", "2026-10-01T00:00:00.5Z", ">CREATED", 0),
        ("<", "2026-10-01T00:00:00.5Z", "<=CREATED", 0),
        ("<", pd.Timestamp("2026-10-01T00:00:00.000000001Z"), "<=CREATED", 0),
        (">=", np.datetime64("2026-10-01T00:00:00.000000001"), ">CREATED", 0),
        ("<=", "2026-10-01T00:00:00.5Z", "<=CREATED", 0),
        (">=", "2026-10-01T00:00:01Z", ">=CREATED", 1),
    ],
)
def test_parse_filters__whole_seconds(operator: str, moment: Any, key: str, second: int) -> None:
    """The portal has whole seconds, so parts of one decide which are in."""
    ((found,),) = sent(("CREATED", operator, moment))
    assert found[key] == f"2026-10-01T00:00:0{second}Z"


def test_parse_filters__zone_of_naive_dates() -> None:
    """A date without a zone is meant in that of the frame."""
    zone = timezone(timedelta(hours=5))
    assert sent(("CREATED", "<", "2026-10-01"), tz=zone) == [[{"<CREATED": "2026-09-30T19:00:00Z"}]]
    assert sent(("CREATED", "<", "2026-10-01T00:00Z"), tz=zone) == [
        [{"<CREATED": "2026-10-01T00:00:00Z"}]
    ]


@pytest.mark.parametrize(
    ("value", "tz", "moment"),
    [
        ("2026-04-24", "Africa/Cairo", "2026-04-23T22:00:00Z"),
        (date(2026, 11, 1), "America/Havana", "2026-11-01T04:00:00Z"),
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        (datetime(2026, 10, 25, 2, 30, fold=1), "Europe/Berlin", "2026-10-25T01:30:00Z"),
    ],
)
def test_parse_filters__clock_changes(value: Any, tz: str, moment: str) -> None:
    """A time that the zone skips is when it does so; of one that comes twice the first is meant."""
    assert sent(("CREATED", "<", value), tz=ZoneInfo(tz)) == [[{"<CREATED": moment}]]


EARLIEST = "0001-01-01T00:00:00Z"
FAR = pd.Timestamp(np.datetime64("20000-01-01", "s"))


@pytest.mark.parametrize("tz", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (date.max, NEVER),
        (pd.Timestamp.max.tz_localize("UTC"), "2262-04-11T23:47:16Z"),
        (FAR.tz_localize("UTC"), NEVER),
        ("0002-03-31T00:00Z", "0002-03-31T00:00:00Z"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), EARLIEST),
        (pd.Timestamp(np.datetime64("-5000-01-01", "s")).tz_localize("UTC"), EARLIEST),
    ],
)
def test_parse_filters__extreme_dates(value: Any, moment: str, tz: str) -> None:
    """Dates that a portal would not understand, and so take for none, are the nearest it knows."""
    ((found,),) = sent(("CREATED", "<=", value), tz=ZoneInfo(tz))
    assert found == {"<=CREATED": moment}


def test_parse_filters__dates_beyond_the_clock_changes() -> None:
    """A date for which pandas cannot tell what the zone's clock says is refused with its field."""
    with pytest.raises(ValueError, match="CREATED is compared with Timestamp"):
        sent(("CREATED", "<", FAR), tz=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("conditions", "filters"),
    [
        ([("OWNER_ID", ">", 5), ("OWNER_ID", ">", 7)], [{">OWNER_ID": 7}]),
        ([("OWNER_ID", "<=", 5), ("OWNER_ID", "<=", 7)], [{"<=OWNER_ID": 5}]),
        ([("OWNER_ID", "in", [1, 2, 3]), ("OWNER_ID", "in", [2, 3, 4])], [{"@OWNER_ID": [2, 3]}]),
        ([("OWNER_ID", "==", 2), ("OWNER_ID", "in", [2, 4])], [{"=OWNER_ID": 2}]),
        ([("OWNER_ID", "!=", 2), ("OWNER_ID", "not in", [3, 2])], [{"!=OWNER_ID": [2, 3]}]),
        ([("ID", ">=", 5), ("ID", "<", 9), ("ID", ">", 5)], [{">=ID": 6, "<=ID": 8}]),
        ([("ID", "in", [5, 6, 7]), ("ID", "<", 7)], [{">=ID": 1, "<=ID": 6, "@ID": [5, 6]}]),
        (
            [("SUBJECT", "contains", "a"), ("SUBJECT", "contains", "b"), ("STATUS", "==", 1)],
            [{"%SUBJECT": "a", "=STATUS": 1}, {"%SUBJECT": "b", "=STATUS": 1}],
        ),
        (
            [("BINDINGS", "in", [("deal", 5)]), ("BINDINGS", "in", [("contact", 7)])],
            [
                {"BINDINGS": [{"OWNER_TYPE_ID": 2, "OWNER_ID": 5}]},
                {"BINDINGS": [{"OWNER_TYPE_ID": 3, "OWNER_ID": 7}]},
            ],
        ),
        ([("STATUS", "not in", [])], [{}]),
    ],
)
def test_parse_filters__no_key_twice(conditions: Any, filters: Any) -> None:
    """Conditions on one field become one, or several filters of which all must hold."""
    (found,) = sent(*conditions)
    cleaned = [{k: v for k, v in part.items() if (k, v) != (">=ID", 1)} for part in found]
    assert cleaned == [{k: v for k, v in part.items() if (k, v) != (">=ID", 1)} for part in filters]


@pytest.mark.parametrize(
    "conditions",
    [
        [("OWNER_ID", "in", [])],
        [("ID", "in", [])],
        [("ID", ">", 5), ("ID", "<", 6)],
        [("ID", "in", [5]), ("ID", "in", [6])],
        [("OWNER_ID", "==", 1), ("OWNER_ID", "==", 2)],
        [("COMPLETED", "==", True), ("COMPLETED", "==", False)],
        [("DEADLINE", "==", None), ("DEADLINE", "!=", None)],
        [("DEADLINE", "==", None), ("DEADLINE", ">", "2026-01-01")],
        [("BINDINGS", "in", [])],
        [parse_where("TYPE_ID in ")],
        [parse_where("BINDINGS in ")],
    ],
)
def test_parse_filters__nothing_can_match(portal: Any, conditions: Any) -> None:
    """What nothing can match is asked of nobody."""
    assert parse_filters(conditions, UTC) == []
    frame = b24.find_activities(conditions, portal)
    assert len(frame) == b24.count_activities(conditions, portal) == 0
    assert portal.server.requests == []


def test_parse_filters__no_deadline() -> None:
    """No deadline is stored as the greatest date, or as none: either may be meant."""
    assert sent(("DEADLINE", "==", None)) == [[{">=DEADLINE": NEVER}], [{"=DEADLINE": ""}]]


REFUSED: list[tuple[Any, str]] = [
    ([], "an empty list"),
    (("TYPE_ID", "==", 1), "a tuple"),
    ({"TYPE_ID": 1}, "a dict"),
    ("TYPE_ID", "a str"),
    ([["TYPE_ID", "==", 1]], "is not a condition"),
    ([[]], "neither"),
    ([[("TYPE_ID", "==", 1)], ("TYPE_ID", "==", 1)], "neither"),
    ([("TYPE_ID", "==")], "not a condition"),
    ([("DATE_CREATE", ">=", "2026-10-01")], "'DATE_CREATE' is not a field"),
    ([("CREATE", ">=", "2026-10-01")], "did you mean 'CREATED'"),
    ([("SETTINGS", "==", "x")], "SETTINGS cannot be filtered"),
    ([("COMMUNICATIONS", "in", ["x"])], "COMMUNICATIONS cannot be filtered"),
    ([("UF_CRM_1", "==", "x")], "UF_CRM_1"),
    ([("TYPE_ID", "~", 1)], "'~' is not an operator of TYPE_ID"),
    ([("TYPE_ID", "contains", 1)], "not an operator"),
    ([("SUBJECT", ">", "x")], "'>' is not an operator of SUBJECT"),
    ([("COMPLETED", ">", True)], "not an operator"),
    ([("BINDINGS", "==", ("deal", 5))], "BINDINGS"),
    ([("BINDINGS", "in", [5])], "is not a pair"),
    ([("BINDINGS", "in", [("deal", -5)])], "-5"),
    *[([("BINDINGS", "in", [("deal", i)])], "OWNER_ID") for i in ([2, 3], [], True, pd.NA, "x")],
    ([("BINDINGS", "in", [("deal", 0)])], "no object has this id"),
    ([("BINDINGS", "in", np.array(2))], "BINDINGS"),
    ([("TYPE_ID", "in", np.array(2))], "a list is needed"),
    ([("SUBJECT", "in", pd.DataFrame({"a": ["x"]}))], "a list is needed"),
    ([("TYPE_ID", "==", np.timedelta64(1, "D"))], "timedelta64"),
    ([("TYPE_ID", "==", Decimal("sNaN"))], "sNaN"),
    ([("RESULT_SUM", "==", np.timedelta64(1, "D"))], "timedelta64"),
    ([("SUBJECT", "contains", pd.NA)], "texts"),
    ([("SUBJECT", "contains", pd.Series(["x"]))], "texts"),
    ([("TYPE_ID", "==", "visit")], "'visit'.*'meeting', 'call'"),
    ([("TYPE_ID", "==", True)], "True .a bool"),
    ([("TYPE_ID", "==", "1,2")], "'1,2'"),
    ([("TYPE_ID", "==", [1])], "a list"),
    ([("TYPE_ID", "==", None)], "None"),
    ([("TYPE_ID", "==", 1.5)], "1.5"),
    ([("TYPE_ID", "==", float("nan"))], "nan"),
    ([("TYPE_ID", "==", 10**30)], "100000"),
    ([("TYPE_ID", "in", "12")], "'12'"),
    ([("TYPE_ID", "in", 12)], "12"),
    ([("TYPE_ID", "in", [1, None])], "None"),
    ([("COMPLETED", "==", 1)], "'Y' and 'N'"),
    ([("COMPLETED", "==", "yes")], "'yes'"),
    ([("RESULT_SUM", ">", "much")], "'much'"),
    ([("RESULT_SUM", ">", "1_0")], "'1_0'"),
    ([parse_where("BINDINGS in deal:5:7")], "'5:7'"),
    ([("RESULT_SUM", ">", "٣")], "'٣'"),
    ([("CREATED", "==", pd.Timestamp(1, tz="UTC"))], "whole seconds"),
    ([("RESULT_SUM", ">", float("inf"))], "inf"),
    ([("SUBJECT", "==", 5)], "texts"),
    ([("SUBJECT", "contains", "")], "every text contains"),
    ([("SUBJECT", "contains", "\ud800")], "texts"),
    ([("CREATED", ">", "yesterday")], "'yesterday'"),
    ([("CREATED", ">", "2026-13-01")], "2026-13-01"),
    ([("CREATED", ">", 20261001)], "20261001"),
    ([("CREATED", ">", pd.NaT)], "NaT"),
    ([("CREATED", "==", None)], "None"),
    ([("DEADLINE", ">", None)], "None"),
    ([("CREATED", "==", "2026-10-01T00:00:00.5")], "whole seconds"),
]


@pytest.mark.parametrize(("filters", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_parse_filters__refused(portal: Any, filters: Any, words: str) -> None:
    """What is not accepted is named before any request, whoever asks."""
    for ask in (b24.find_activities, b24.count_activities):
        with pytest.raises(ValueError, match=words):
            ask(filters, portal)
    assert portal.server.requests == []


def test_parse_filters__secret_not_repeated() -> None:
    """A webhook in the place of a condition or value is not repeated."""
    webhook = "https://acme.bitrix24.com/rest/1/pl4nted/"
    for filters in (webhook, [webhook], [("TYPE_ID", "==", webhook)], [(webhook, "==", 1)]):
        with pytest.raises(ValueError, match="filters") as caught:
            parse_filters(filters, UTC)
        assert "pl4nted" not in str(caught.value)


@given(st.sampled_from(FIELDS), st.sampled_from(["==", "!=", ">", "in", "contains"]), st.text())
def test_parse_filters__any_text(name: str, operator: str, text: str) -> None:
    """Any text is either refused with a `ValueError`, or sent as it is, without a loss."""
    value: Any = [text] if operator == "in" else text
    try:
        alternatives = parse_filters([(name, operator, value)], UTC)
    except ValueError:
        return
    wire = ACTIVITY[name].wire
    for ((selection,),) in [alternatives] if alternatives else []:
        for key, written in selection.filter.items():
            assert key.endswith(name)
            if wire is Wire.TEXT:
                assert written in (text, [text])
            if wire is Wire.DATETIME:
                assert "+" not in str(written)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("CREATED>=2026-10-01", ("CREATED", ">=", "2026-10-01")),
        ("TYPE_ID = call", ("TYPE_ID", "=", "call")),
        ("type_id!=2", ("TYPE_ID", "!=", "2")),
        ("TYPE_ID in call, meeting", ("TYPE_ID", "in", ["call", "meeting"])),
        ("STATUS not in 1,2", ("STATUS", "not in", ["1", "2"])),
        ("SUBJECT contains in time", ("SUBJECT", "contains", "in time")),
        ("SUBJECT==a >= b", ("SUBJECT", "==", "a >= b")),
        ("DEADLINE == none", ("DEADLINE", "==", None)),
        ("RESULT_MARK = none", ("RESULT_MARK", "=", "none")),
        ("SUBJECT contains none", ("SUBJECT", "contains", "none")),
        ("BINDINGS in deal:5, company", ("BINDINGS", "in", [("deal", "5"), ("company", None)])),
    ],
)
def test_parse_where__conditions(text: str, condition: Any) -> None:
    """A condition may be written as one text."""
    assert parse_where(text) == condition


@pytest.mark.parametrize("text", ["", "CREATED", ">=5", "https://acme.bitrix24.com/rest/1/x/"])
def test_parse_where__refused(text: str) -> None:
    """What is no condition is refused, and a webhook not repeated."""
    with pytest.raises(ValueError, match="is not a condition") as caught:
        parse_where(text)
    assert "rest/1" not in str(caught.value)


@pytest.mark.parametrize(
    "filters", [np.array([1, 2]), pd.Series([1]), pd.DataFrame({"A": [1]}), ()]
)
def test_parse_filters__no_list(filters: Any) -> None:
    """What is no list is refused, though it compares in ways of its own."""
    with pytest.raises(ValueError, match=f"a {type(filters).__name__} was given; accepted"):
        parse_filters(filters, UTC)


def test_parse_filters__values_of_arrow() -> None:
    """Values of an Arrow array, and one alone, are those of any other list."""
    pa = pytest.importorskip("pyarrow")
    days = pa.array([datetime(2026, 10, 1)])
    for by_arrow, plain in (
        (("OWNER_ID", "in", pa.array([5, 7])), ("OWNER_ID", "in", [5, 7])),
        (("SUBJECT", "==", pa.scalar("x")), ("SUBJECT", "==", "x")),
        (("CREATED", "in", days), ("CREATED", "in", ["2026-10-01"])),
    ):
        assert parse_filters([by_arrow], UTC) == parse_filters([plain], UTC)
    with pytest.raises(ValueError, match="OWNER_ID is compared with None"):
        parse_filters([("OWNER_ID", "in", pa.array([5, None]))], UTC)

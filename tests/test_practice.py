"""The practice portal, asked over real HTTP by clients that know nothing of it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from b24frames import practice_portal, read_activities, read_calls, schema
from b24frames.practice import PracticePortal
from b24frames.practice.dataset import Record, make_record
from b24frames.practice.faults import SYSTEM_ERRORS
from b24frames.practice.formats import as_int, parse_query, read_date, write_date, write_map
from b24frames.practice.metering import OperatingTime, RequestRate
from b24frames.practice.server import PracticeServer
from tests.helpers.answers import sample
from tests.helpers.exotic_faults import Fault

NOT_FOUND = {"error": "", "error_description": "Not found"}
PROVIDERS = [*schema.ACTIVITY["PROVIDER_ID"].labels]
Ask = Callable[..., requests.Response]


class FakeClock:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Give a session that ignores proxies of the environment."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def server() -> Iterator[PracticeServer]:
    """Start a portal of 300 activities without 7 and 8, which refuses 9; no request rate."""
    with PracticeServer(activities=300, deleted=(7, 8), refused=(9,), limits=None) as server:
        yield server


@pytest.fixture
def ask(server: PracticeServer, session: requests.Session) -> Ask:
    """POST a call as JSON and return the HTTP answer."""

    def ask(method: str, **params: Any) -> requests.Response:
        return session.post(server.url + method, json=params, timeout=5)

    return ask


@pytest.fixture
def result(ask: Ask) -> Callable[..., Any]:
    """POST a call and return the value under ``result``."""
    return lambda method, **params: ask(method, **params).json()["result"]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Two thousand generated records, some of them refused."""
    return [make_record(0, number, refused=number % 200 == 0) for number in range(1, 2001)]


def gets(*ids: int) -> dict[str, str]:
    """Return the commands of a batch that gets activities."""
    return {f"a{number}": f"crm.activity.get?id={number}" for number in ids}


# Generated records


def test_make_record__is_a_function_of_seed_and_id() -> None:
    """The same seed and id give the same record, other seeds another."""
    assert make_record(3, 77) == make_record(3, 77)
    assert make_record(3, 77) != make_record(4, 77)


def test_make_record__fields_are_those_of_the_page_in_its_order(records: list[Record]) -> None:
    """The 39 fields come first and in order, further ones after them on few rows."""
    assert all(tuple(record)[:39] == schema.COLUMNS for record in records)
    extras = Counter(name for record in records for name in list(record)[39:])
    assert set(extras) == {"FILES", "ORIGIN_VERSION", "UF_CRM_1700000000"}
    assert sum(extras.values()) < 0.1 * len(records)


def test_make_record__every_provider_occurs(records: list[Record]) -> None:
    """Two thousand records hold every provider; only refused ones the one that is refused."""
    assert {record["PROVIDER_ID"] for record in records} == set(PROVIDERS)
    refused = [r["ID"] for r in records if r["PROVIDER_ID"] == "CONFIGURABLE_REST_APP"]
    assert list(map(int, refused)) == list(range(200, 2001, 200))


def _seconds(record: Record) -> float:
    begins, ends = read_date(record["START_TIME"]), read_date(record["END_TIME"])
    assert begins is not None
    assert ends is not None
    return (ends - begins).total_seconds()


NEVER = "9999-12-31T00:00:00+01:00"
QUIRKS: dict[str, tuple[float, float, Callable[[Record], object]]] = {
    "numbers as JSON numbers": (0.01, 0.01, lambda r: isinstance(r["ID"], int)),
    "files": (0.02, 0.02, lambda r: "FILES" in r),
    "summer time": (0.2, 0.8, lambda r: r["CREATED"].endswith("+02:00")),
    "no deadline": (0.1, 0.6, lambda r: str(r["DEADLINE"]).startswith("9999")),
    "a task without dates": (0.01, 0.2, lambda r: r["START_TIME"] == r["END_TIME"] == NEVER),
    "empty dates": (0.005, 0.005, lambda r: r["START_TIME"] == r["DEADLINE"] == ""),
    "null dates": (0.005, 0.005, lambda r: r["END_TIME"] is None),
    "null text": (0.005, 0.005, lambda r: r["DESCRIPTION"] is None),
    "no settings": (0.3, 0.8, lambda r: r["SETTINGS"] == []),
    "settings": (0.1, 0.5, lambda r: isinstance(r["SETTINGS"], dict)),
    "unreadable settings": (0.005, 0.005, lambda r: r["SETTINGS"] is False),
    "unreadable parameters": (0.005, 0.005, lambda r: r["PROVIDER_PARAMS"] is False),
    "a missed call": (0.01, 0.1, lambda r: r["RESULT_STREAM"] == "4"),
    "a call by telephony": (0.1, 0.3, lambda r: (r["ORIGIN_ID"] or "").startswith("VI_")),
    "digits with leading zeros": (0.005, 0.05, lambda r: (r["ORIGIN_ID"] or "").startswith("00")),
    "a sum": (0.005, 0.05, lambda r: (r["RESULT_SUM"] or "").endswith("00")),
    "data as JSON": (0.05, 0.3, lambda r: r["PROVIDER_DATA"] and json.loads(r["PROVIDER_DATA"])),
    "HTML": (0.1, 0.3, lambda r: "<" in (r["DESCRIPTION"] or "")),
    "hostile HTML": (0.01, 0.1, lambda r: "<script>alert(1)</script>" in (r["DESCRIPTION"] or "")),
    "BB-code": (0.1, 0.4, lambda r: r["DESCRIPTION_TYPE"] == "2"),
    "a formula": (0.005, 0.005, lambda r: r["SUBJECT"] == "=1+1"),
    "Cyrillic": (0.1, 0.9, lambda r: any("а" <= c <= "я" for c in r["SUBJECT"] or "")),
    "an unknown code": (0.005, 0.005, lambda r: r["TYPE_ID"] == "7"),
    "another system's": (0.01, 0.1, lambda r: "ORIGIN_VERSION" in r),
    "an own field": (0.005, 0.005, lambda r: "UF_CRM_1700000000" in r),
}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_make_record__quirks_have_their_share(quirk: str, records: list[Record]) -> None:
    """What careless readers have not met occurs, and no more often than it should."""
    least, most, holds = QUIRKS[quirk]
    assert least <= sum(bool(holds(record)) for record in records) / len(records) <= most


def test_make_record__telephony_times_are_those_of_the_talk(records: list[Record]) -> None:
    """A missed call takes no time, an answered one its talk."""
    calls = [r for r in records if (r["ORIGIN_ID"] or "").startswith("VI_") and r["END_TIME"]]
    for call in calls:
        missed = str(call["RESULT_STREAM"]) == "4"
        assert _seconds(call) == 0 if missed else 0 <= _seconds(call) < 7200


def test_make_record__late_ids_are_not_in_the_far_future() -> None:
    """However many activities there are, they were made in the same four years."""
    assert make_record(0, 1)["CREATED"] < make_record(0, 10**9)["CREATED"] < "2026-01-04"


# Dates and PHP


def test_write_date__offset_changes_with_summer_time() -> None:
    """The offset changes at one o'clock UTC on the last Sundays of March and October."""
    assert write_date(datetime(2024, 10, 27, 0, 59, 59)) == "2024-10-27T02:59:59+02:00"
    assert write_date(datetime(2024, 10, 27, 1, tzinfo=UTC)) == "2024-10-27T02:00:00+01:00"


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)))
def test_read_date__understands_what_was_written(moment: datetime) -> None:
    """What is written at the portal's offset names the same second."""
    assert read_date(write_date(moment)) == moment.replace(microsecond=0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-01", datetime(2023, 12, 31, 23, tzinfo=UTC)),
        ("2024-07-01 12:00:00", datetime(2024, 7, 1, 10, tzinfo=UTC)),
        ("2024-07-01T12:00:00Z", datetime(2024, 7, 1, 12, tzinfo=UTC)),
        ("yesterday", None),
    ],
)
def test_read_date__without_offset_is_portal_time(text: str, instant: datetime | None) -> None:
    """A date of a filter without an offset is the portal's; what is no date is None."""
    assert read_date(text) == instant


def test_parse_query__nests_bracketed_keys() -> None:
    """Keys in brackets nest, empty brackets count, and what clashes does not raise."""
    assert parse_query("a[b][]=1&a[b][]=2&c=%20x+y&a=3&=4") == {"a": "3", "c": " x y"}
    assert parse_query("a[b][]=1&a[b][]=2") == {"a": {"b": {"0": "1", "1": "2"}}}


@given(st.dictionaries(st.text(), st.integers()))
def test_write_map__loses_no_value(array: dict[str, int]) -> None:
    """A map is written as a list only where its names are its positions."""
    written = write_map(array)
    if isinstance(written, list):
        assert list(array) == [str(i) for i in range(len(array))]
        assert written == list(array.values())
    else:
        assert written == array


@given(st.text() | st.integers() | st.booleans() | st.none() | st.lists(st.integers()))
def test_as_int__never_raises(value: object) -> None:
    """Whatever stands where an integer should is read as one."""
    assert isinstance(as_int(value), int)


# crm.activity.get


def test_get__answers_the_record(server: PracticeServer, ask: Ask) -> None:
    """The answer holds the record and the times that the documentation shows."""
    answer = ask("crm.activity.get", id=1)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["result"] == server.record(1)
    assert list(answer.json()["result"]) == list(server.record(1) or {})
    assert set(answer.json()["time"]) == set(sample("activity").answer["time"])


@pytest.mark.parametrize(
    ("params", "description"),
    [
        ({"id": 7}, "Not found"),
        ({"id": 301}, "Not found"),
        ({"id": 9}, "Use crm.activity.configurable.get for this activity provider"),
        ({"id": "x"}, "ID is not defined or invalid."),
        ({"id": 0}, "ID is not defined or invalid."),
        ({"id": True}, "ID is not defined or invalid."),
        ({"id": [1]}, "ID is not defined or invalid."),
        ({}, "ID is not defined or invalid."),
    ],
)
def test_get__refuses(params: dict[str, Any], description: str, ask: Ask) -> None:
    """What cannot be answered is an error with an empty code."""
    answer = ask("crm.activity.get", **params)
    assert answer.status_code == 400
    assert answer.json() == {"error": "", "error_description": description}


@pytest.mark.parametrize(
    "method", ["crm.activity.get.json", "CRM.Activity.GET", "Crm.activity.get/"]
)
def test_get__method_may_be_written_otherwise(
    method: str, server: PracticeServer, result: Callable[..., Any]
) -> None:
    """Case and suffix do not matter, nor does the case of a parameter's name."""
    assert result(method, ID="5") == server.record(5)


def test_get__parameters_may_come_in_any_form(
    server: PracticeServer, session: requests.Session
) -> None:
    """A query of a GET and a form are as good as JSON."""
    url = server.url + "crm.activity.get"
    assert session.get(url, params={"id": 5}, timeout=5).json()["result"] == server.record(5)
    assert session.post(url, data={"id": 5}, timeout=5).json()["result"] == server.record(5)


def test_get__a_body_that_is_no_object_has_no_parameters(
    server: PracticeServer, session: requests.Session
) -> None:
    """Broken JSON is answered like a call without parameters."""
    headers = {"Content-Type": "application/json"}
    for body in ("{", "3", ""):
        answer = session.post(server.url + "crm.activity.get", body, headers=headers, timeout=5)
        assert answer.json()["error_description"] == "ID is not defined or invalid."


# crm.activity.list


def test_list__pages_hold_every_record_once(
    server: PracticeServer, ask: Ask, result: Callable[..., Any]
) -> None:
    """Following ``next`` gives all records that get gives, and the refused ones too."""
    found: list[Record] = []
    start: int | None = 0
    while start is not None:
        answer = ask("crm.activity.list", start=start, order={"ID": "ASC"}).json()
        assert answer["total"] == 298
        found += answer["result"]
        start = answer.get("next")
    assert [int(record["ID"]) for record in found] == [i for i in range(1, 301) if i not in (7, 8)]
    for record in found:
        whole = server.record(int(record["ID"])) or {}
        assert record == {name: value for name, value in whole.items() if name != "FILES"}


def test_list__start_minus_one_skips_the_count(ask: Ask) -> None:
    """Paging by ID needs neither ``total`` nor ``next``."""
    answer = ask("crm.activity.list", start=-1, order={"ID": "ASC"}, filter={">ID": 250}).json()
    assert set(answer) == {"result", "time"}
    assert [int(record["ID"]) for record in answer["result"]] == list(range(251, 301))


def _number(record: Record, field: str) -> int:
    return int(record[field] or 0)


CUT = "2022-02-10T12:00:00+03:00"
FILTERS: list[tuple[dict[str, Any], Callable[[Record], object]]] = [
    ({"@ID": [3, "5", 7, 9, 999]}, lambda r: _number(r, "ID") in (3, 5, 9)),
    ({"ID": 12}, lambda r: _number(r, "ID") == 12),
    ({"ID": [12, 13]}, lambda r: _number(r, "ID") in (12, 13)),
    ({"!@ID": [1, 2]}, lambda r: _number(r, "ID") > 2),
    ({"!ID": 1, "<=ID": 4}, lambda r: 1 < _number(r, "ID") <= 4),
    ({">ID": 10, "<ID": 14, "@ID": list(range(30))}, lambda r: 10 < _number(r, "ID") < 14),
    ({">=ID": 299}, lambda r: _number(r, "ID") >= 299),
    ({"OWNER_TYPE_ID": 2}, lambda r: _number(r, "OWNER_TYPE_ID") == 2),
    ({"!=OWNER_TYPE_ID": "2"}, lambda r: _number(r, "OWNER_TYPE_ID") != 2),
    ({"@PROVIDER_ID": ["CRM_EMAIL", "CRM_SMS"]}, lambda r: r["PROVIDER_ID"] in PROVIDERS[8:10]),
    ({"%SUBJECT": "call"}, lambda r: "call" in (r["SUBJECT"] or "").lower()),
    ({">LAST_UPDATED": CUT}, lambda r: r["LAST_UPDATED"] > "2022-02-10T10:00:00+01:00"),
    ({"<=CREATED": CUT}, lambda r: r["CREATED"] <= "2022-02-10T10:00:00+01:00"),
    ({"RESULT_SUM": ""}, lambda r: r["RESULT_SUM"] is None),
    ({">RESULT_SUM": "100"}, lambda r: float(r["RESULT_SUM"] or 0) > 100),
    ({"COMPLETED": "N", "DIRECTION": 1}, lambda r: r["COMPLETED"] + str(r["DIRECTION"]) == "N1"),
    ({"UNKNOWN_FIELD": 1}, lambda r: True),
]


@pytest.mark.parametrize(("filters", "holds"), FILTERS, ids=[str(f) for f, _ in FILTERS])
def test_list__filters(
    filters: dict[str, Any],
    holds: Callable[[Record], object],
    server: PracticeServer,
    ask: Ask,
) -> None:
    """Each prefix compares what values mean: numbers as numbers, dates as instants."""
    answer = ask("crm.activity.list", filter=filters, order={"ID": "ASC"}).json()
    everything = [record for i in range(1, 301) if (record := server.record(i)) is not None]
    expected = [int(record["ID"]) for record in everything if holds(record)]
    assert answer["total"] == len(expected)
    assert [int(record["ID"]) for record in answer["result"]] == expected[:50]


def test_list__orders_by_any_field(server: PracticeServer, result: Callable[..., Any]) -> None:
    """By ID from the end, and by instants of several offsets."""
    assert [r["ID"] for r in result("crm.activity.list", order={"ID": "DESC"})][:2] == [
        "300",
        "299",
    ]
    page = result("crm.activity.list", order={"LAST_UPDATED": "DESC", "ID": "ASC"})
    instants = [read_date(record["LAST_UPDATED"]) for record in page]
    assert instants == sorted(instants, key=str, reverse=True)


def test_list__select(server: PracticeServer, result: Callable[..., Any]) -> None:
    """Only what is asked for, and ID; files and communications only by their names."""
    with_files = next(i for i in range(1, 301) if "FILES" in (server.record(i) or ()))
    filters = {"ID": with_files}
    [narrow] = result("crm.activity.list", filter=filters, select=["SUBJECT"])
    assert list(narrow) == ["ID", "SUBJECT"]
    [wide] = result("crm.activity.list", filter=filters, select=["*", "COMMUNICATIONS", "FILES"])
    assert set(wide) == {*(server.record(with_files) or {}), "COMMUNICATIONS"}
    assert set(wide["COMMUNICATIONS"][0]) == {
        "ID", "TYPE", "VALUE", "ENTITY_ID", "ENTITY_TYPE_ID", "ENTITY_SETTINGS",
    }  # fmt: skip


def test_list__as_a_query_with_brackets(server: PracticeServer, session: requests.Session) -> None:
    """Filter, order and select may come with keys in brackets."""
    query = "filter[@ID][0]=3&filter[@ID][1]=4&order[ID]=DESC&select[]=ID&start=-1"
    answer = session.get(f"{server.url}crm.activity.list?{query}", timeout=5).json()
    assert answer["result"] == [{"ID": "4"}, {"ID": "3"}]


# Other methods


def test_fields__describes_every_known_field(result: Callable[..., Any]) -> None:
    """All fields of the table are described, and the portal's own one."""
    fields = result("crm.activity.fields")
    assert list(fields) == [*schema.ACTIVITY, "UF_CRM_1700000000"]
    assert {tuple(description) for description in fields.values()} == {
        ("type", "isRequired", "isReadOnly", "isImmutable", "isMultiple", "isDynamic", "title")
    }
    assert fields["RESPONSIBLE_ID"]["type"] == "user"
    assert fields["COMMUNICATIONS"]["isMultiple"]
    assert fields["UF_CRM_1700000000"]["isDynamic"]


@pytest.mark.parametrize(
    ("enumeration", "code", "name"),
    [
        ("activitytype", 2, "Call"),
        ("activitystatus", 3, "Completed automatically"),
        ("activitypriority", 3, "High"),
        ("activitynotifytype", 1, "Minutes"),
        ("activitydirection", 1, "Incoming"),
        ("contenttype", 3, "Html"),
        ("ownertype", 2, "Deal"),
    ],
)
def test_enumeration__lists_codes(
    enumeration: str, code: int, name: str, result: Callable[..., Any]
) -> None:
    """Every enumeration gives its codes with a name and a symbol."""
    entries = result(f"crm.enum.{enumeration}")
    assert {"ID": code, "NAME": name, "SYMBOL_CODE": name.upper()} in entries


def test_fields_and_enumerations__are_those_of_the_schema(result: Callable[..., Any]) -> None:
    """The answers, which are data, have the wire forms and the codes of the schema."""
    types = {
        schema.Wire.INTEGER: "integer|user|crm_enum_.+",
        schema.Wire.DOUBLE: "double",
        schema.Wire.DATETIME: "datetime",
        schema.Wire.FLAG: "char",
        schema.Wire.TEXT: "string",
        schema.Wire.OBJECT: "object",
        schema.Wire.LIST: "crm_activity_.+|diskfile",
    }
    fields = result("crm.activity.fields")
    for name, field in schema.ACTIVITY.items():
        assert re.fullmatch(types[field.wire], fields[name]["type"]), name
        assert fields[name]["isMultiple"] == (field.wire is schema.Wire.LIST)
        if fields[name]["type"].startswith("crm_enum_"):
            entries = result(fields[name]["type"].replace("_", ".", 2))
            # Smart processes have the names that the portal gives them.
            named = [entry for entry in entries if "DYNAMIC" not in entry["SYMBOL_CODE"]]
            labels = {entry["ID"]: entry["NAME"].lower() for entry in named}
            assert labels == {code: text.lower() for code, text in field.labels.items() if code}


def test_other_methods__answer(result: Callable[..., Any]) -> None:
    """The small methods that clients probe a portal with are there."""
    assert result("user.current")["ID"] == result("profile")["ID"] == "1"
    assert "crm.activity.get" in result("methods")
    assert "crm" in result("scope")
    assert read_date(result("server.time")) is not None


# batch


def test_batch__answers_by_name(server: PracticeServer, ask: Ask) -> None:
    """Records and errors stand under their names; empty maps are lists, as PHP writes them."""
    answer = ask("batch", halt=0, cmd=gets(1, 7, 2)).json()
    documented = sample("batch-mixed").answer
    assert set(answer) == set(documented)
    assert set(answer["time"]) == set(documented["time"])
    assert set(answer["result"]) == set(documented["result"])
    assert answer["result"]["result"] == {"a1": server.record(1), "a2": server.record(2)}
    assert answer["result"]["result_error"] == {"a7": NOT_FOUND}
    assert answer["result"]["result_total"] == answer["result"]["result_next"] == []
    assert set(answer["result"]["result_time"]) == {"a1", "a7", "a2"}
    times = documented["result"]["result_time"]
    assert set(answer["result"]["result_time"]["a1"]) == set(times["a1"])


def test_batch__all_maps_may_be_empty(result: Callable[..., Any]) -> None:
    """Without commands every map is a list; so is the map of results when all failed."""
    maps = ("result", "result_error", "result_total", "result_next", "result_time")
    assert result("batch", cmd={}) == {name: [] for name in maps}
    assert result("batch", cmd=gets(7))["result"] == []


def test_batch__names_that_are_positions_give_lists(
    server: PracticeServer, result: Callable[..., Any]
) -> None:
    """PHP writes an array with the keys 0, 1, … as a list, and one with gaps as a map."""
    commands = ["crm.activity.get?id=1", "crm.activity.get?id=2"]
    assert result("batch", cmd=commands)["result"] == [server.record(1), server.record(2)]
    assert result("batch", cmd={"1": commands[0]})["result"] == {"1": server.record(1)}


def test_batch__halt_stops_at_the_first_error(result: Callable[..., Any]) -> None:
    """After an error the rest is in neither map."""
    halted = result("batch", halt=1, cmd=gets(1, 7, 2))
    assert (set(halted["result"]), set(halted["result_error"])) == ({"a1"}, {"a7"})


def test_batch__strange_commands(result: Callable[..., Any]) -> None:
    """What is not text is not answered; batches and unknown methods are refused."""
    answer = result("batch", cmd={"n": 5, "o": {"x": 1}, "b": "batch?cmd[a]=x", "u": "no.such"})
    assert answer["result"] == []
    codes = {name: error["error"] for name, error in answer["result_error"].items()}
    assert codes == {"b": "ERROR_BATCH_METHOD_NOT_ALLOWED", "u": "ERROR_METHOD_NOT_FOUND"}


def test_batch__more_than_fifty_commands_are_refused(ask: Ask) -> None:
    """Fifty are run, fifty-one are not."""
    assert len(ask("batch", cmd=gets(*range(10, 60))).json()["result"]["result"]) == 50
    answer = ask("batch", cmd=gets(*range(10, 61)))
    assert (answer.status_code, answer.json()["error"]) == (400, "ERROR_BATCH_LENGTH_EXCEEDED")


def test_batch__lists_have_totals_and_references(result: Callable[..., Any]) -> None:
    """Pages give ``next`` and ``total``; a command may refer to an earlier one's result."""
    commands = {
        "first": "crm.activity.list?select[]=ID&order[ID]=ASC",
        "then": "crm.activity.list?select[]=ID&start=-1&order[ID]=ASC"
        "&filter[%3EID]=$result[first][49][ID]",
    }
    answer = result("batch", cmd=commands)
    assert answer["result_total"] == {"first": 298}
    assert answer["result_next"] == {"first": 50}
    assert answer["result"]["then"][0] == {"ID": "53"}


def test_batch__as_a_form(server: PracticeServer, session: requests.Session) -> None:
    """In a form, the commands are encoded once more."""
    form = urlencode({f"cmd[{name}]": command for name, command in gets(1, 2).items()})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = session.post(f"{server.url}batch", form, headers=headers, timeout=5).json()
    assert answer["result"]["result"]["a2"] == server.record(2)
    assert session.get(f"{server.url}batch?{form}", timeout=5).json()["result"]["result"]


# Credentials


@pytest.mark.parametrize("path", ["/rest/1/wrong/profile", "/rest/2/practice/profile"])
def test_credentials__wrong_secret_or_user(
    path: str, server: PracticeServer, session: requests.Session
) -> None:
    """Neither another secret nor another user is let in."""
    answer = session.post(server.address + path, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (401, "NO_AUTH_FOUND")


def test_credentials__access_token(server: PracticeServer, session: requests.Session) -> None:
    """A token is accepted in body and query, on the address without a webhook."""
    url = f"{server.address}/rest/crm.activity.get"
    token = server.access_token
    by_body = session.post(url, json={"id": 1, "auth": token}, timeout=5)
    by_query = session.get(url, params={"id": "1", "auth": token}, timeout=5)
    assert by_body.json()["result"] == by_query.json()["result"] == server.record(1)
    assert session.post(url, json={"id": 1, "auth": "old"}, timeout=5).status_code == 401
    assert session.post(url, json={"id": 1}, timeout=5).status_code == 401


@pytest.mark.parametrize("path", ["/rest/1/practice/", "/rest/1/practice/no.such", "/"])
def test_method__unknown(path: str, server: PracticeServer, session: requests.Session) -> None:
    """What names no method is not found."""
    answer = session.post(server.address + path, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (404, "ERROR_METHOD_NOT_FOUND")


# The data under the server


def test_server__same_seed_same_portal() -> None:
    """The share of deleted and refused ids, and which they are, follow from the seed."""
    servers = [PracticeServer(seed=seed) for seed in (5, 5, 6)]
    one, same, other = ([server.record(i) for i in range(1, 2001)] for server in servers)
    assert one == same != other
    assert 30 < one.count(None) < 90
    refused = sum(r is not None and r["PROVIDER_ID"] == "CONFIGURABLE_REST_APP" for r in one)
    assert 2 <= refused <= 25


def test_server__many_activities_cost_nothing_at_start(session: requests.Session) -> None:
    """Records are made when they are asked for, and lists by ID make only their own."""
    with PracticeServer(activities=10**6, deleted=(), limits=None) as server:
        started = time.perf_counter()
        answer = session.post(f"{server.url}crm.activity.get", json={"id": 10**6}, timeout=5)
        assert answer.json()["result"]["ID"] == "1000000"
        assert time.perf_counter() - started < 4  # less than the time-out of the request


def test_touch__advances_last_updated(server: PracticeServer, result: Callable[..., Any]) -> None:
    """A changed record is newer, in get and in lists; twice in a second too."""
    before = server.record(3) or {}
    server.touch(3, SUBJECT="changed")
    once = server.record(3) or {}
    server.touch(3)
    assert result("crm.activity.get", id=3)["SUBJECT"] == "changed"
    times = [read_date(r["LAST_UPDATED"]) for r in (before, once, server.record(3) or {})]
    assert times == sorted(set(times), key=str)
    newer = {"@ID": [3, 7], ">LAST_UPDATED": before["LAST_UPDATED"]}
    assert result("crm.activity.list", filter=newer, select=["ID"]) == [{"ID": "3"}]
    with pytest.raises(KeyError):
        server.touch(7)


def test_delete__and_restore(server: PracticeServer, ask: Ask) -> None:
    """What is deleted is gone from get and lists until it is restored."""
    server.delete(5)
    assert server.record(5) is None
    assert ask("crm.activity.get", id=5).json() == NOT_FOUND
    assert ask("crm.activity.list").json()["total"] == 297
    server.restore(5)
    server.restore(7)
    assert ask("crm.activity.get", id=5).status_code == 200
    assert ask("crm.activity.list", filter={"@ID": [5, 7, 8]}).json()["total"] == 2


def test_record__is_a_copy(server: PracticeServer) -> None:
    """What a test does to a record does not reach the server."""
    copy = server.record(1) or {}
    copy["SUBJECT"] = "mine"
    assert (server.record(1) or {})["SUBJECT"] != "mine"


def test_requests__tell_what_was_received(
    server: PracticeServer, ask: Ask, session: requests.Session
) -> None:
    """Each HTTP request is kept in order, with its commands and the status of its answer."""
    session.headers["User-Agent"] = "probe/1"
    ask("batch", cmd=gets(1, 7))
    ask("CRM.activity.get.json", id=7)
    session.get(f"{server.url}profile?x=1", timeout=5)
    batch, get, profile = server.requests
    assert (batch.method, batch.commands) == ("batch", tuple(gets(1, 7).values()))
    assert (get.method, get.params, get.status) == ("crm.activity.get", {"id": 7}, 400)
    assert (batch.status, batch.user_agent, batch.http_method) == (200, "probe/1", "POST")
    assert (profile.http_method, profile.params) == ("GET", {"x": "1"})
    assert profile.path == "/rest/1/practice/profile"


def test_requests__none_is_lost_among_threads(server: PracticeServer) -> None:
    """Forty requests at once are all answered and all kept."""

    def get(number: int) -> int:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{server.url}crm.activity.get", json={"id": number}, timeout=5)
            return int(answer.json()["result"]["ID"])

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(get, range(10, 50))) == list(range(10, 50))
    assert sorted(request.params["id"] for request in server.requests) == list(range(10, 50))


# Limits


def test_request_rate__falls_in_whole_steps() -> None:
    """The level falls by the leak at each tick, not in between."""
    clock = FakeClock()
    rate = RequestRate(3, 2, speed=1, clock=clock)
    assert [rate.admit() for _ in range(4)] == [True, True, True, False]
    clock.now += 0.99
    assert not rate.admit()
    clock.now += 0.01
    assert [rate.admit() for _ in range(3)] == [True, True, False]
    clock.now += 60
    assert [rate.admit() for _ in range(4)] == [True, True, True, False]


def test_request_rate__refused_over_http(session: requests.Session) -> None:
    """A batch counts once; the request beyond the capacity is refused until the next tick."""
    clock = FakeClock()
    with PracticeServer(limits=(2, 1), speed=10, clock=clock) as server:

        def ask() -> requests.Response:
            return session.post(f"{server.url}batch", json={"cmd": gets(1, 2, 3)}, timeout=5)

        assert [ask().status_code for _ in range(3)] == [200, 200, 503]
        assert ask().json()["error"] == "QUERY_LIMIT_EXCEEDED"
        assert (server.refusals, [r.status for r in server.requests][2:]) == (2, [503, 503])
        clock.now += 0.1
        assert [ask().status_code for _ in range(2)] == [200, 503]


def test_operating_time__ten_baskets() -> None:
    """The sum holds ten minutes; the time at which the oldest leaves it is told in real time."""
    clock = FakeClock()
    operating = OperatingTime(5, speed=2, clock=clock)
    operating.bill("m", 4)
    clock.now += 60
    operating.bill("m", 2)
    assert not operating.admits("m")
    assert operating.admits("other")
    report = operating.report("m")
    assert report["operating"] == 6
    rest = report["operating_reset_at"] - time.time()
    assert 230 < rest <= 241
    clock.now += rest
    assert operating.admits("m")
    assert operating.report("m")["operating"] == 2
    clock.now += 600
    assert operating.report("m")["operating"] == 0


def test_operating_time__refused_over_http(session: requests.Session) -> None:
    """Commands use up their method's time; the next is refused, alone and in a batch."""
    clock = FakeClock()
    with PracticeServer(
        activities=9, deleted=(), limits=None, operating_limit=5, operating_cost=2, clock=clock
    ) as server:

        def ask(method: str, **params: object) -> requests.Response:
            return session.post(server.url + method, json=params, timeout=5)

        result = ask("batch", cmd=gets(1, 2, 3, 4)).json()["result"]
        assert list(result["result"]) == ["a1", "a2", "a3"]
        assert result["result_error"]["a4"]["error"] == "OPERATION_TIME_LIMIT"
        assert result["result_time"]["a4"]["operating"] == 6
        single = ask("crm.activity.get", id=1)
        assert (single.status_code, single.json()["error"]) == (429, "OPERATION_TIME_LIMIT")
        assert ask("crm.activity.list").status_code == 200
        clock.now += 600
        assert ask("crm.activity.get", id=1).status_code == 200


def test_latency__and_time_of_commands(session: requests.Session) -> None:
    """A request takes its latency, and for each command some more, which is billed."""
    with PracticeServer(
        activities=9, deleted=(), latency=0.02, command_seconds=0.01, speed=100
    ) as server:
        started = time.perf_counter()
        answer = session.post(f"{server.url}batch", json={"cmd": gets(1, 2, 3)}, timeout=5)
        assert time.perf_counter() - started >= 0.05
        operating = answer.json()["result"]["result_time"]["a3"]["operating"]
        assert operating == pytest.approx(3)


# Faults


def test_fault__unknown_kind_is_refused() -> None:
    """A kind that is mistyped names those that are known."""
    with pytest.raises(ValueError, match="QUERY_LIMIT_EXCEEDED"):
        Fault("QUERY_LIMIT")


@pytest.mark.parametrize("code", SYSTEM_ERRORS)
def test_fault__system_error(code: str, server: PracticeServer, ask: Ask) -> None:
    """Every system error can stand in place of an answer, with its documented status."""
    server.faults.append(Fault(code, times=1, retry_after=3))
    answer = ask("crm.activity.get", id=1)
    assert answer.status_code == SYSTEM_ERRORS[code][0]
    assert answer.json() == {"error": code, "error_description": SYSTEM_ERRORS[code][1]}
    assert answer.headers["Retry-After"] == "3"
    assert ask("crm.activity.get", id=1).status_code == 200


def test_fault__only_its_method(server: PracticeServer, ask: Ask) -> None:
    """A fault of batches spares single calls; of a method, it strikes that alone, anywhere."""
    server.faults.append(Fault("INTERNAL_SERVER_ERROR", method="batch", times=1))
    assert ask("crm.activity.get", id=1).status_code == 200
    assert ask("batch", cmd=gets(1)).status_code == 500
    server.faults.append(Fault("INVALID_CREDENTIALS", method="crm.activity.get", times=2))
    assert ask("profile").status_code == 200
    assert ask("crm.activity.get", id=1).status_code == 403
    result = ask("batch", cmd=gets(1, 2)).json()["result"]
    assert list(result["result_error"]) == ["a1"]
    assert list(result["result"]) == ["a2"]


def test_fault__only_its_ids(server: PracticeServer, ask: Ask) -> None:
    """A fault of ids strikes them in batches and by themselves, as often as it may."""
    server.faults.append(Fault("OPERATION_TIME_LIMIT", ids={2, 3}, times=2))
    result = ask("batch", cmd=gets(1, 2)).json()["result"]
    assert result["result_error"]["a2"]["error"] == "OPERATION_TIME_LIMIT"
    assert ask("crm.activity.get", id=3).status_code == 429
    assert ask("crm.activity.get", id=3).status_code == 200


def test_fault__of_requests_about_ids(server: PracticeServer, ask: Ask) -> None:
    """A fault of requests strikes those with a command about one of its ids."""
    server.faults.append(Fault("html", ids=[2]))
    assert ask("batch", cmd=gets(1, 3)).status_code == 200
    assert ask("batch", cmd=gets(1, 2)).status_code == 502
    assert ask("crm.activity.get", id=2).status_code == 502


def test_fault__probability_is_seeded(session: requests.Session) -> None:
    """The same seed strikes the same requests, about as many as it should."""

    def statuses() -> list[int]:
        with PracticeServer(activities=9, deleted=(), limits=None, seed=4) as server:
            server.faults.append(Fault("QUERY_LIMIT_EXCEEDED", probability=0.4))
            url = f"{server.url}profile"
            return [session.post(url, timeout=5).status_code for _ in range(40)]

    first = statuses()
    assert first == statuses()
    assert 5 < first.count(503) < 30


def test_faults__can_be_cleared(server: PracticeServer, ask: Ask) -> None:
    """The faults of a server can be looked at and removed."""
    server.faults.append(Fault("html"))
    assert [fault.kind for fault in server.faults] == ["html"]
    server.faults.clear()
    assert len(server.faults) == 0
    assert ask("profile").status_code == 200


def test_fault__gateway_page(server: PracticeServer, ask: Ask) -> None:
    """A page of a gateway has its status, even 200; so has an empty body."""
    server.faults.append(Fault("html", times=1, status=200))
    server.faults.append(Fault("empty", times=1))
    page, empty = ask("profile"), ask("profile")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<html>")
    assert (empty.status_code, empty.content) == (200, b"")


def test_fault__batch_timeout(server: PracticeServer, ask: Ask) -> None:
    """Only batches with more commands than that time out."""
    server.faults.append(Fault("batch-timeout", more_than=2))
    assert ask("batch", cmd=gets(1, 2)).status_code == 200
    assert ask("batch", cmd=gets(1, 2, 3)).status_code == 504


def test_fault__redirect(server: PracticeServer, session: requests.Session) -> None:
    """The new address has the same path."""
    server.faults.append(Fault("redirect", location="http://127.0.0.1:9/"))
    answer = session.post(f"{server.url}profile", allow_redirects=False, timeout=5)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "http://127.0.0.1:9/rest/1/practice/profile"


def test_fault__on_the_answer(server: PracticeServer, ask: Ask) -> None:
    """Cut JSON cannot be read; a wrong type and compression do not change the text."""
    for kind in ("cut-json", "wrong-type", "gzip"):
        server.faults.append(Fault(kind, times=1))
    cut, typed, packed = (ask("crm.activity.get", id=1) for _ in range(3))
    assert cut.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        cut.json()
    assert typed.headers["Content-Type"].startswith("text/html")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert typed.json()["result"] == packed.json()["result"] == server.record(1)


def test_fault__maps_as_list(server: PracticeServer, result: Callable[..., Any]) -> None:
    """Maps become lists where all their names are numbers, and stay where one is not."""
    server.faults.append(Fault("maps-as-list"))
    commands = {"5": "crm.activity.get?id=1", "9": "crm.activity.get?id=7"}
    answer = result("batch", cmd=commands)
    assert (answer["result"], answer["result_error"]) == ([server.record(1)], [NOT_FOUND])
    assert set(result("batch", cmd=gets(1))["result"]) == {"a1"}


def test_fault__on_commands(server: PracticeServer, ask: Ask) -> None:
    """Each kind strikes its command and no other."""
    for number, kind in enumerate(("empty-error", "unanswered", "other-record", "surrogate"), 1):
        server.faults.append(Fault(kind, ids=[number]))
    maps = ask("batch", cmd=gets(1, 2, 3, 4, 5)).json()["result"]
    assert maps["result_error"] == {"a1": {"error": "", "error_description": ""}}
    assert list(maps["result"]) == list(maps["result_time"])[1:] == ["a3", "a4", "a5"]
    assert maps["result"]["a3"] == server.record(1)
    assert maps["result"]["a4"]["SUBJECT"].endswith("\ud800")
    assert maps["result"]["a5"] == server.record(5)
    assert ask("crm.activity.get", id=1).status_code == 400
    assert "result" not in ask("crm.activity.get", id=2).json()


def test_fault__bad_bytes(server: PracticeServer, ask: Ask) -> None:
    """The answer holds bytes that are not UTF-8, in SUBJECT alone."""
    server.faults.append(Fault("bad-bytes", ids=[1]))
    content = ask("crm.activity.get", id=1).content
    with pytest.raises(UnicodeDecodeError):
        content.decode()
    repaired = json.loads(content.replace(b"\xff\xfe", b""))["result"]
    assert repaired == server.record(1)


@pytest.mark.parametrize(("kind", "status"), [("reset", None), ("close", None), ("truncated", 200)])
def test_fault__connection_is_lost(
    kind: str, status: int | None, server: PracticeServer, ask: Ask
) -> None:
    """The client sees a broken connection, and the next call is answered."""
    server.faults.append(Fault(kind, times=1))
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        ask("crm.activity.get", id=1)
    assert ask("crm.activity.get", id=1).status_code == 200
    assert [request.status for request in server.requests] == [status, 200]


def test_fault__reset_is_a_reset(server: PracticeServer) -> None:
    """The connection is reset, not merely closed."""
    server.faults.append(Fault("reset"))
    address = urlsplit(server.address)
    with socket.create_connection((address.hostname, address.port), 5) as client:
        client.sendall(b"POST /rest/1/practice/profile HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_fault__drip(server: PracticeServer, ask: Ask) -> None:
    """The right answer comes in drops, over the time that was set."""
    server.faults.append(Fault("drip", times=1, seconds=0.06))
    started = time.perf_counter()
    assert ask("crm.activity.get", id=1).json()["result"] == server.record(1)
    assert time.perf_counter() - started >= 0.05


def test_fault__hang_for_a_while(server: PracticeServer, ask: Ask) -> None:
    """A hanging request is answered at last, if a time was set."""
    server.faults.append(Fault("hang", times=1, seconds=0.06))
    started = time.perf_counter()
    assert ask("profile").status_code == 200
    assert time.perf_counter() - started >= 0.05
    assert server.requests[0].status == 200


def test_fault__hang_until_the_client_leaves(
    server: PracticeServer, session: requests.Session
) -> None:
    """A client that gives up frees the thread that kept it waiting."""
    before = set(threading.enumerate())
    server.faults.append(Fault("hang"))
    with pytest.raises(requests.Timeout):
        session.post(f"{server.url}profile", timeout=0.05)
    assert left_over(before) == set()


def left_over(before: set[threading.Thread]) -> set[threading.Thread]:
    """Return the threads that were started since and do not end, however busy the machine is."""
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(30)
    return {thread for thread in started if thread.is_alive()}


# Life of the server


def test_stop__with_requests_outstanding() -> None:
    """Stopping takes no time though requests hang, and idle connections are kept alive."""
    before = set(threading.enumerate())
    with PracticeServer(latency=0.01) as server, ThreadPoolExecutor(2) as pool:
        netloc = urlsplit(server.address).netloc
        idle = http.client.HTTPConnection(netloc, timeout=5)
        idle.request("POST", "/rest/1/practice/profile")
        assert idle.getresponse().read()
        server.faults.append(Fault("hang"))
        waiting = pool.submit(http_post, netloc, "/rest/1/practice/profile")
        while len(server.requests) < 2:
            time.sleep(0.001)
        started = time.perf_counter()
        server.stop()
        assert time.perf_counter() - started < 4  # less than the time-out of the request
        assert isinstance(waiting.exception(timeout=5), OSError | http.client.HTTPException)
        idle.close()
    assert left_over(before) == set()
    with pytest.raises(OSError, match=r"."):
        socket.create_connection((server.address.split("/")[2].split(":")[0], _port(server)), 1)


def http_post(netloc: str, path: str) -> bytes:
    """POST nothing and return the body of the answer."""
    connection = http.client.HTTPConnection(netloc, timeout=5)
    try:
        connection.request("POST", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _port(server: PracticeServer) -> int:
    return urlsplit(server.address).port or 0


def test_server__can_start_again(session: requests.Session) -> None:
    """Starting and stopping twice does no harm, and what was changed stays."""
    server = PracticeServer(activities=9, deleted=())
    server.start()
    server.start()
    server.touch(1, SUBJECT="kept")
    server.stop()
    server.stop()
    with server:
        answer = session.post(f"{server.url}crm.activity.get", json={"id": 1}, timeout=5)
    assert answer.json()["result"]["SUBJECT"] == "kept"


def test_server__keeps_connections_alive(server: PracticeServer) -> None:
    """Many calls go over one connection, errors among them."""
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=5)
    sockets = set()
    for number in (1, 7, 2):
        connection.request("GET", f"/rest/1/practice/crm.activity.get?id={number}")
        connection.getresponse().read()
        sockets.add(connection.sock)
    assert len(sockets) == 1
    connection.close()


def test_server__prints_nothing(
    ask: Ask, server: PracticeServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """No log line shows an address, which holds the secret; clients that leave are no errors."""
    ask("profile")
    ask("no.such")
    address = urlsplit(server.address)
    with socket.create_connection((address.hostname, address.port), 5) as client:
        client.sendall(b"POST /rest/1/practice/profile HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
    with socket.create_connection((address.hostname, address.port), 5) as client:
        client.sendall(b"nonsense\r\n\r\n")
        client.recv(1000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("activities", value) for value in (-1, "x", 1.5, None)],
        *[("seed", value) for value in (None, "abc", 1.5)],
        *[("speed", value) for value in (0, -1, "fast", True)],
        *[("user_id", value) for value in (0, "x", None)],
        *[("latency", value) for value in (-1, "x", None)],
        *[("deleted", value) for value in (2.0, -1, [1, "a"], "12", None)],
        ("refused", -0.5),
        ("scopes", "crm"),
    ],
)
def test_practice_portal__arguments(name: str, value: Any) -> None:
    """What it cannot be made of is refused by name before it starts."""
    with (
        pytest.raises((TypeError, ValueError), match=f"^{name}="),
        practice_portal(**{name: value}),
    ):
        pass


def test_practice_portal__ids_of_numpy() -> None:
    """Ids in arrays are ids, as they are everywhere else."""
    with practice_portal(
        np.int64(9), seed=np.int64(0), deleted=np.array([7]), refused=()
    ) as portal:
        found = read_activities(range(6, 10), portal, missing="ignore")
    assert found.index.tolist() == [6, 8, 9]


def test_calls__compared_by_their_kind(make_portal: Callable[..., PracticePortal]) -> None:
    """Numbers in the statistics of calls are compared as numbers."""
    portal = make_portal(activities=600)
    calls = read_calls(None, portal)
    for name in [name for name, field in schema.CALL.items() if field.wire is schema.Wire.INTEGER]:
        bound = int(calls[name].quantile(0.5)) if name != "ID" and calls[name].count() else 30
        found = read_calls(None, portal, filters=[(name, ">=", bound)])
        assert len(found) == ((calls.index if name == "ID" else calls[name]) >= bound).sum()

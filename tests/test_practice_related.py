"""Users, owners and calls of the practice portal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from b24frames.practice.formats import read_date
from b24frames.practice.methods import Webhook
from b24frames.practice.server import PracticeServer
from tests.helpers.practice import ids_of, post

CALLS = "voximplant.statistic.get"


@pytest.fixture(scope="module")
def server() -> Iterator[PracticeServer]:
    """Start a portal of 900 activities."""
    with PracticeServer(activities=900, limits=None, webhook=Webhook(user_id=5)) as server:
        yield server


def walk(server: PracticeServer, method: str, **params: Any) -> list[dict[str, Any]]:
    """Return the rows of all pages by ID."""
    rows: list[dict[str, Any]] = []
    name = "id" if method == "crm.item.list" else "ID"
    while True:
        filters = params.get("filter", {}) | {f">{name}": rows[-1][name] if rows else 0}
        order: Any = {"id": "ASC"} if name == "id" else "ASC"
        page = post(server, method, **params | {"filter": filters, "start": -1, "order": order})
        found = page["result"]["items"] if name == "id" else page["result"]
        rows += found
        if len(found) < 50:
            return rows


# Users


def test_user_get__pages(server: PracticeServer) -> None:
    """There are about 300; bots are never told, those who were dismissed are."""
    first = post(server, "user.get", sort="ID", order="ASC")
    assert ids_of(first)[:12] == [*range(1, 13)]
    assert first["next"] == 50
    users = walk(server, "user.get", sort="ID")
    assert len(users) == first["total"] > 250
    assert 50 not in {int(user["ID"]) for user in users}
    assert {user["ACTIVE"] for user in users} == {True, False}


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({"FILTER": {"ID": [2, "4", 50, 999]}}, [2, 4]),
        ({"filter": {"@ID": [2, 4]}, "sort": "ID", "order": "DESC"}, [4, 2]),
        ({"filter": {"ID": [2, 4]}, "sort": "ID", "order": {"ID": "DESC"}}, [2, 4]),
        ({"filter": {"ID": [2, 4]}, "order": {"ID": "DESC"}}, [2, 4]),
        ({"ID": 3}, [3]),
        ({"filter": {"NAME": "иван"}}, [3]),
        ({"filter": {">ID": 2, "<ID": 5}}, [3, 4]),
    ],
)
def test_user_get__filters(params: dict[str, Any], ids: list[int], server: PracticeServer) -> None:
    """The filter may stand inside ``filter`` or beside it; an order is two texts."""
    assert ids_of(post(server, "user.get", **params)) == ids


def test_user_get__unknown_filter_gives_everyone(server: PracticeServer) -> None:
    """What is not understood is dropped without a word."""
    everyone = post(server, "user.get")["total"]
    assert post(server, "user.get", filter={"IDS": [1]})["total"] == everyone
    active = post(server, "user.get", filter={"ACTIVE": True})["total"]
    assert active + post(server, "user.get", filter={"ACTIVE": "N"})["total"] == everyone
    assert post(server, "user.get", filter={"ID": 999}).keys() == {"result", "time"}


def test_user_get__wire_forms() -> None:
    """Ids are text, ACTIVE is a boolean, departments are numbers; contacts need more rights."""
    names = ["ID", "ACTIVE", "UF_DEPARTMENT", "EMAIL"]
    with PracticeServer(activities=1, webhook=Webhook(scopes={"user"})) as server:
        [user] = post(server, "user.get", ID=13)["result"]
        assert user["TIMESTAMP_X"] == {}
        assert isinstance(user["ACTIVE"], bool)
        assert all(isinstance(number, int) for number in user["UF_DEPARTMENT"])
        [user] = post(server, "user.get", ID=1, select=names)["result"]
        assert user == {
            "ID": "1", "ACTIVE": True, "EMAIL": "user1@example.com", "UF_DEPARTMENT": [1]
        }  # fmt: skip
        server.scopes.clear()
        server.scopes.add("user_brief")
        [user] = post(server, "user.get", ID=1, select=names)["result"]
        assert set(user) == {"ID", "ACTIVE", "UF_DEPARTMENT"}


@pytest.mark.parametrize(
    ("scope", "methods"),
    [
        ("crm", ["crm.activity.get", "crm.activity.list", "crm.item.list", "crm.enum.ownertype"]),
        ("telephony", [CALLS]),
        ("user_brief", ["user.get", "user.current"]),
    ],
)
def test_scope__missing_one_is_an_error_of_its_methods(scope: str, methods: list[str]) -> None:
    """What the webhook may not do is refused, in a batch too; the rest is answered."""
    with PracticeServer(activities=9, limits=None) as server:
        assert scope in post(server, "scope")["result"]
        server.scopes.remove(scope)
        assert scope not in post(server, "scope")["result"]
        commands = {name: name for name in [*methods, "profile"]}
        batch = post(server, "batch", cmd=commands)["result"]
        assert set(batch["result"]) == {"profile"}
        for method in methods:
            assert post(server, method)["error"] == "insufficient_scope"
            assert batch["result_error"][method]["error"] == "insufficient_scope"


def test_profile__is_the_user_of_the_webhook(server: PracticeServer) -> None:
    """It tells who calls, and whether with all rights."""
    profile = post(server, "profile")["result"]
    assert (profile["ID"], profile["ADMIN"]) == ("5", True)


# Owners


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 7, 31, 150, 1038])
def test_items__of_every_type(kind: int, server: PracticeServer) -> None:
    """Fields are in camel case and ids are numbers; deleted ones are absent."""
    ids = [*range(1, 51)]
    answer = post(
        server,
        "crm.item.list",
        entityTypeId=kind,
        filter={"@id": ids},
        start=-1,
        order={"id": "ASC"},
    )
    found = ids_of(answer)
    assert 40 < len(found) < 50
    assert found == sorted(found)
    for item in answer["result"]["items"]:
        assert isinstance(item["id"], int)
        assert ("title" in item) == (kind != 3)
        assert {"createdTime", "assignedById"} <= set(item)


def test_items__leads_without_a_title_have_other_names(server: PracticeServer) -> None:
    """A lead may have a title, a person's name, a company's, or nothing at all."""
    names = ["id", "title", "name", "lastName", "companyTitle"]
    leads = walk(server, "crm.item.list", entityTypeId=1, select=names, filter={"<id": 200})
    assert all(list(lead) == names for lead in leads)
    kinds = {
        (bool(lead["title"]), bool(lead["name"] or lead["lastName"]), bool(lead["companyTitle"]))
        for lead in leads
    }
    assert {(True, False, True), (False, True, False), (False, False, True)} < kinds
    assert (False, False, False) in kinds


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"entityTypeId": 2, "filter": {"NO_SUCH": 1}}, "INVALID_ARG_VALUE"),
        ({"entityTypeId": 2, "filter": {"~id": 1}}, "INVALID_ARG_VALUE"),
        ({"entityTypeId": 2, "order": {"noSuch": "ASC"}}, "INVALID_ARG_VALUE"),
        ({"entityTypeId": 5}, "NOT_FOUND"),
        ({"entityTypeId": 152}, "NOT_FOUND"),
        ({}, "NOT_FOUND"),
    ],
)
def test_items__refuse(params: dict[str, Any], code: str, server: PracticeServer) -> None:
    """Unlike the list of activities, this one refuses what it does not understand."""
    assert post(server, "crm.item.list", **params)["error"] == code


def test_items__unreadable_ones_are_absent() -> None:
    """Someone without all rights gets fewer, and no error; so it is with links."""
    with PracticeServer(
        activities=60, deleted=(), limits=None, webhook=Webhook(admin=False)
    ) as server:
        deals = walk(server, "crm.item.list", entityTypeId=2)
        assert 2_000 < len(deals) < 4_000
        seen = ids_of(post(server, "crm.activity.list"))
        for number in seen:
            links = post(server, "crm.activity.binding.list", activityId=number)["result"]
            assert all((link["entityTypeId"] + link["entityId"]) % 3 for link in links)


def test_links__begin_with_the_owner(server: PracticeServer) -> None:
    """Links are JSON numbers; unknown activities and missing parameters are errors."""
    server.touch(4, OWNER_TYPE_ID="2", OWNER_ID="77")
    links = post(server, "crm.activity.binding.list", activityId=4)["result"]
    assert links[0] == {"entityTypeId": 2, "entityId": 77}
    assert len(links) > 1
    unknown = post(server, "crm.activity.binding.list", activityId=10**6)
    assert unknown["error"] == "NOT_FOUND"
    assert post(server, "crm.activity.binding.list")["error"] == "100"


def test_ownertype__names_the_smart_processes(server: PracticeServer) -> None:
    """Types that the portal made are told with the names that it gave them."""
    entries = post(server, "crm.enum.ownertype")["result"]
    assert {"ID": 150, "NAME": "Equipment", "SYMBOL_CODE": "DYNAMIC_150"} in entries
    assert {"ID": 1038, "NAME": "Договор", "SYMBOL_CODE": "DYNAMIC_1038"} in entries


# Calls


def test_calls__belong_to_the_activities_of_telephony(server: PracticeServer) -> None:
    """Most activities have one row, some several or none; the parts share the talk's seconds."""
    rows = walk(server, CALLS, sort="ID")
    assert [int(row["ID"]) for row in rows] == sorted({int(row["ID"]) for row in rows})
    telephony = {str(r["ID"]): r for r in server.records() if str(r["ORIGIN_ID"]).startswith("VI_")}
    assert {row["CRM_ACTIVITY_ID"] for row in rows} - {"0", None} <= set(telephony)
    counts = {}
    for number, record in telephony.items():
        own = [row for row in rows if row["CRM_ACTIVITY_ID"] == number]
        counts[len(own)] = counts.get(len(own), 0) + 1
        if own:
            assert own[0]["CALL_ID"] == record["ORIGIN_ID"][3:]
            begins, ends = read_date(record["START_TIME"]), read_date(str(record["END_TIME"]))
            if begins and ends and record["CREATED"] == record["START_TIME"]:
                talk = (ends - begins).total_seconds()
                assert sum(int(row["CALL_DURATION"]) for row in own) == talk
    assert set(counts) == {0, 1, 2, 3}
    assert counts[1] > counts[2] > counts[3]


def test_calls__of_customers() -> None:
    """A customer has one number, and calls or is called again; a stranger is not known."""
    with PracticeServer(activities=2_000, limits=None) as server:
        rows = walk(server, CALLS, sort="ID")
        shown = post(server, "crm.activity.list", select=["COMMUNICATIONS"], start=-1)["result"]
    customers: dict[tuple[str, str], set[str]] = {}
    calls: Counter[str] = Counter()
    for row in rows:
        if row["CRM_ENTITY_TYPE"]:
            customers.setdefault((row["CRM_ENTITY_TYPE"], row["CRM_ENTITY_ID"]), set()).add(
                row["PHONE_NUMBER"]
            )
            calls[row["PHONE_NUMBER"]] += 1
    assert {len(numbers) for numbers in customers.values()} == {1}
    assert sum(number > 1 for number in calls.values()) > len(calls) / 2
    assert len(calls) == len(customers)
    strangers = [row["PHONE_NUMBER"] for row in rows if not row["CRM_ENTITY_TYPE"]]
    assert strangers
    assert not calls.keys() & set(strangers)
    told = {row["ID"]: row["COMMUNICATIONS"][0]["VALUE"] for row in shown}
    own = [row for row in rows if row["CRM_ACTIVITY_ID"] in told]
    assert own
    assert all(told[row["CRM_ACTIVITY_ID"]] == row["PHONE_NUMBER"] for row in own)


def test_calls__called_back() -> None:
    """Many missed callers are called back within a day or so, some in vain, and others not."""
    with PracticeServer(activities=4_000, limits=None) as server:
        rows = walk(server, CALLS, sort="ID")
    known = [row for row in rows if row["CRM_ENTITY_TYPE"] and row["CALL_START_DATE"]]
    when = {row["ID"]: datetime.fromisoformat(row["CALL_START_DATE"]) for row in known}
    outgoing = [row for row in known if row["CALL_TYPE"] == "1"]
    missed = [row for row in known if row["CALL_TYPE"] == "2" and row["CALL_FAILED_CODE"] == "304"]
    first_tries = []
    for row in missed:
        later = [
            (when[call["ID"]] - when[row["ID"]], call["CALL_FAILED_CODE"])
            for call in outgoing
            if call["PHONE_NUMBER"] == row["PHONE_NUMBER"] and when[call["ID"]] > when[row["ID"]]
        ]
        soon = [entry for entry in later if entry[0] < timedelta(hours=27)]
        first_tries.append(min(soon, default=(None, "")))
    codes = Counter(code for _, code in first_tries)
    assert len(missed) / 4 < codes["200"] < len(missed) * 3 / 4
    assert codes[""] > len(missed) / 10
    assert sum(codes.values()) > codes["200"] + codes[""]
    within_an_hour = sum(wait is not None and wait < timedelta(hours=1) for wait, _ in first_tries)
    assert within_an_hour > len(missed) / 8


def test_calls__in_working_hours() -> None:
    """Telephony made most calls by day, few at weekends, and the parts of a call in turn."""
    with PracticeServer(activities=2_000, limits=None) as server:
        rows = walk(server, CALLS, sort="ID")
    begun = [
        datetime.fromisoformat(row["CALL_START_DATE"]) for row in rows if row["CALL_START_DATE"]
    ]
    by_day = sum(8 <= moment.hour < 20 for moment in begun)
    assert by_day > 0.9 * len(begun)
    assert 0 < sum(moment.weekday() > 4 for moment in begun) < 0.1 * len(begun)
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if int(row["CRM_ACTIVITY_ID"] or 0) and row["CALL_START_DATE"]:
            parts.setdefault(row["CRM_ACTIVITY_ID"], []).append(row)
    transferred = [part for part in parts.values() if len(part) > 1]
    assert transferred
    for first, second, *_ in transferred:
        ends = datetime.fromisoformat(first["CALL_START_DATE"])
        ends += timedelta(seconds=int(first["CALL_DURATION"]))
        assert datetime.fromisoformat(second["CALL_START_DATE"]) == ends
        assert first["CALL_FAILED_CODE"] == "200"


def test_calls__wire_forms(server: PracticeServer) -> None:
    """Numbers are text but for the file; addresses hold tokens; ids may be 0 or null."""
    rows = walk(server, CALLS, sort="ID")
    assert all(isinstance(row["CALL_DURATION"], str) for row in rows)
    assert {type(row["RECORD_FILE_ID"]) for row in rows} == {int, type(None)}
    assert {"0.0000"} < {row["COST"] for row in rows}
    assert {"0", None} < {row["CRM_ACTIVITY_ID"] for row in rows}
    assert {row["CALL_TYPE"] for row in rows} >= {"1", "2", "4"}
    assert {row["CALL_FAILED_CODE"] for row in rows} >= {"200", "304"}
    assert any("token=" in row["CALL_RECORD_URL"] for row in rows)
    assert any("session=" in (row["CALL_LOG"] or "") for row in rows)


def test_calls__without_an_order_pages_overlap(server: PracticeServer) -> None:
    """By default, and with an order that is an object, some rows come twice and others never."""
    everything = {int(row["ID"]) for row in walk(server, CALLS, sort="ID")}
    for params in ({}, {"order": {"ID": "ASC"}}):
        pages: list[int] = []
        start: int | None = 0
        while start is not None:
            answer = post(server, CALLS, start=start, **params)
            pages += ids_of(answer)
            start = answer.get("next")
        assert len(pages) == answer["total"] == len(everything)
        assert set(pages) < everything


def test_calls__filters(server: PracticeServer) -> None:
    """A list means any of, bounds are as usual, and what is not understood is dropped."""
    rows = walk(server, CALLS, sort="ID")
    wanted = [row["CRM_ACTIVITY_ID"] for row in rows if row["CRM_ACTIVITY_ID"] not in ("0", None)][
        :40
    ]
    own = [int(row["ID"]) for row in rows if row["CRM_ACTIVITY_ID"] in wanted]
    asked = {"FILTER": {"CRM_ACTIVITY_ID": wanted}, "SORT": "ID", "ORDER": "ASC"}
    assert ids_of(post(server, CALLS, **asked)) == own[:50]
    total = post(server, CALLS)["total"]
    for dropped in ({"@CRM_ACTIVITY_ID": wanted}, {"ACTIVITY_ID": 1}, {"CRM_ACTIVITY_ID": []}):
        assert post(server, CALLS, FILTER=dropped)["total"] == total
    between = post(server, CALLS, FILTER={"><CALL_DURATION": [10, 60]})["total"]
    assert between == sum(10 <= int(row["CALL_DURATION"]) <= 60 for row in rows)
    outside = post(server, CALLS, FILTER={"!><CALL_DURATION": [10, 60]})["total"]
    assert between + outside == total
    since = post(server, CALLS, FILTER={">=CALL_START_DATE": "2022-06-01T00:00:00Z"})["total"]
    assert since == sum(row["CALL_START_DATE"] >= "2022-06-01T02:00:00" for row in rows)


def test_calls__follow_the_activities() -> None:
    """A call that is deleted has no statistics any more, and a new one has."""
    with PracticeServer(activities=40, deleted=(), limits=None) as server:
        rows = walk(server, CALLS, sort="ID")
        gone = next(int(row["CRM_ACTIVITY_ID"]) for row in rows if row["CRM_ACTIVITY_ID"])
        server.delete(gone)
        number = server.create(ORIGIN_ID="VI_1.1", PROVIDER_TYPE_ID="CALL", DIRECTION="1")
        after = {row["CRM_ACTIVITY_ID"] for row in walk(server, CALLS, sort="ID")}
        assert str(gone) not in after
        assert str(number) in after

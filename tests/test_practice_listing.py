"""`crm.activity.list` of the practice portal: its filters, orders and pages, traps included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from b24frames import schema
from b24frames.practice.dataset import Record, links
from b24frames.practice.methods import Webhook
from b24frames.practice.server import PracticeServer
from tests.helpers.practice import ids_of, post

LIST = "crm.activity.list"
BY_ID = {"ID": "ASC"}


@pytest.fixture(scope="module")
def server() -> Iterator[PracticeServer]:
    """Start a portal of 200 activities, some of them with values that are hard to filter."""
    with PracticeServer(activities=200, deleted=(7, 8), limits=None) as server:
        server.touch(11, ASSOCIATED_ENTITY_ID=None, SUBJECT="", CREATED="2023-05-01T12:00:00+02:00")
        server.touch(12, ASSOCIATED_ENTITY_ID="0", SUBJECT=None, RESULT_SUM="0.0000")
        server.touch(13, ASSOCIATED_ENTITY_ID="5", SUBJECT="50% DISCOUNT_now")
        server.touch(14, DEADLINE="9999-12-31T00:00:00+03:00", SUBJECT="ÄRGER")
        server.touch(15, DEADLINE="2026-03-01T00:00:00+01:00")
        server.touch(16, DEADLINE="")
        yield server


@pytest.fixture(scope="module")
def found(server: PracticeServer) -> Callable[..., set[int]]:
    """Return the ids that a filter finds among the activities 11 to 16."""

    def found(**filters: Any) -> set[int]:
        only = {">=ID": 11, "<=ID": 16}
        return set(ids_of(post(server, LIST, filter=filters | only, order=BY_ID)))

    return found


EVERYTHING = {11, 12, 13, 14, 15, 16}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATE_CREATE", "2030-01-01"),
        (">=UF_CRM_1700000000", "x"),
        ("><CREATED", ["2030-01-01", "2031-01-01"]),
        ("~SUBJECT", "x"),
        ("@TYPE_ID", []),
        ("!@TYPE_ID", []),
        ("COMMUNICATIONS", "x"),
        ("FILES", 5),
        ("IS_INCOMING_CHANNEL", "Q"),
        ("SETTINGS", "x"),
        ("PROVIDER_PARAMS", "x"),
        ("LOGIC", "OR"),
        ("0", {"TYPE_ID": 99}),
        ("BINDINGS", {"OWNER_TYPE_ID": 99, "OWNER_ID": 1}),
        ("BINDINGS", [{"OWNER_ID": 10**6}]),
    ],
)
def test_filter__what_is_not_understood_is_dropped(
    key: str, value: object, found: Callable[..., set[int]]
) -> None:
    """Everything comes, without an error."""
    assert found(**{key: value}) == EVERYTHING


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"ASSOCIATED_ENTITY_ID": 5}, {13}),
        ({"ASSOCIATED_ENTITY_ID": "5,12"}, {13}),
        ({"=SUBJECT": ""}, {11, 12}),
        ({"SUBJECT": "ärger"}, {14}),
        ({"%SUBJECT": "0% disc"}, {13}),
        ({"%SUBJECT": "%now"}, set()),
        ({"%SUBJECT": "discount_"}, {13}),
        ({"=%SUBJECT": "50%now"}, {13}),
        ({"%=SUBJECT": "_rg%"}, {14}),
        ({"!%SUBJECT": "discount"}, {13}),
        ({"!=%SUBJECT": "%discount%"}, {13}),
        ({"!SUBJECT": "ärger"}, EVERYTHING - {14}),
        ({"!=SUBJECT": ["ärger", "50% discount_now"]}, EVERYTHING - {13, 14}),
        ({"!@SUBJECT": ["ärger", "50% discount_now"]}, {15, 16}),
        ({"!ASSOCIATED_ENTITY_ID": 5}, EVERYTHING - {13}),
        ({"CREATED": "2023-05-01T10:00:00Z"}, {11}),
        ({"CREATED": "2023-05-01 12:00:00"}, {11}),
        ({">=CREATED": "2023-05-01T10:00:00.900Z", "<CREATED": "2023-05-01T10:00:01Z"}, {11}),
        ({"CREATED": ["2023-05-01T13:00:00+03:00", "1999-01-01"]}, {11}),
        ({">CREATED": "2022-01-01T00:00:00 03:00"}, set()),
        ({"<DEADLINE": "2026-03-02", ">DEADLINE": "2026-02-27"}, {15}),
        ({"=DEADLINE": "9999-12-31T00:00:00+01:00", "ID": 14}, {14}),
        ({">DEADLINE": "2100-01-01", "ID": [14, 15, 16]}, {14}),
        ({"<DEADLINE": "2100-01-01", "ID": [14, 15, 16]}, {15}),
        ({"DEADLINE": "", "ID": [14, 15, 16]}, {16}),
        ({"DEADLINE": "soon", "ID": [14, 15, 16]}, {16}),
        ({"!DEADLINE": "2026-03-01", "ID": [14, 15, 16]}, {14, 16}),
        ({">ID": ["14", "15"]}, EVERYTHING),
        ({"ID": "14.9"}, {14}),
        ({"COMPLETED": True}, set()),
        ({"COMPLETED": ["y", "N"]}, EVERYTHING),
    ],
    ids=str,
)
def test_filter__finds(
    filters: dict[str, Any], ids: set[int], found: Callable[..., set[int]]
) -> None:
    """Values are compared as the database does it."""
    assert found(**filters) == ids


def test_filter__zero_also_equals_null(found: Callable[..., set[int]]) -> None:
    """0 under ``=`` finds empty numbers, under ``@`` it does not, and ``!`` is the opposite."""
    equal = found(ASSOCIATED_ENTITY_ID=0)
    assert {11, 12} <= equal
    assert found(**{"@ASSOCIATED_ENTITY_ID": [0]}) == equal - {11}
    assert found(**{"!=ASSOCIATED_ENTITY_ID": 0}) == EVERYTHING - equal
    assert 11 in found(**{"!ASSOCIATED_ENTITY_ID": 5})
    assert {11, 12} <= found(RESULT_SUM="0")


def test_filter__is_taken_before_other_spellings(server: PracticeServer) -> None:
    """``filter`` wins over ``FILTER``, which counts where it is alone."""
    assert ids_of(post(server, LIST, FILTER={"ID": 3}, filter={"ID": 5})) == [5]
    assert ids_of(post(server, LIST, FILTER={"ID": 3})) == [3]


@pytest.mark.parametrize("name", ["filter", "order", "select"])
def test_parameters__must_be_arrays(name: str, server: PracticeServer) -> None:
    """A text in place of an array is the one error of a filter."""
    answer = post(server, LIST, **{name: "ID"})
    assert (answer["error"], answer["error_description"]) == (
        "",
        f"Parameter '{name}' must be array.",
    )


def test_bindings__several_pairs_mean_or_and_rows_repeat(server: PracticeServer) -> None:
    """A row comes once for each link that one of the pairs names, and is counted as often."""
    pairs: list[dict[str, Any]] = [{"OWNER_TYPE_ID": 3}, {"OWNER_TYPE_ID": 4, "OWNER_ID": 22}]
    expected: Counter[int] = Counter()
    for record in server.records():
        linked = [link for link in links(record) if link[0] == 3 or link == (4, 22)]
        expected[int(record["ID"])] = len(linked)
    assert max(expected.values()) > 1
    answer = post(server, LIST, filter={"BINDINGS": pairs}, order=BY_ID)
    assert answer["total"] == expected.total()
    seen: Counter[int] = Counter(ids_of(answer))
    while "next" in answer:
        answer = post(server, LIST, filter={"BINDINGS": pairs}, order=BY_ID, start=answer["next"])
        seen.update(ids_of(answer))
    assert seen == +expected


def test_bindings__of_an_object_are_those_of_its_activities(server: PracticeServer) -> None:
    """The links that the filter goes by are those that the method for links tells."""
    for number in (1, 2, 5):
        for link in post(server, "crm.activity.binding.list", activityId=number)["result"]:
            pair = {"OWNER_TYPE_ID": link["entityTypeId"], "OWNER_ID": link["entityId"]}
            filters = {"BINDINGS": [pair], "ID": number}
            assert ids_of(post(server, LIST, filter=filters)) == [number]


# Order and pages


def test_order__by_start_time_unless_asked(server: PracticeServer) -> None:
    """The default is START_TIME, empty ones first; whatever is not ``asc`` is descending."""
    ids = range(20, 40)
    for number in ids:
        server.touch(number, START_TIME=f"2026-01-{45 - number:02}T10:00:00+01:00")
    only = {"@ID": [*ids]}
    assert ids_of(post(server, LIST, filter=only)) == [*reversed(ids)]
    assert ids_of(post(server, LIST, filter=only, order={"START_TIME": "down"})) == [*ids]
    assert set(ids_of(post(server, LIST, filter=only, order={"DATE": "ASC"}))) == {*ids}


def test_order__ties_are_not_broken(server: PracticeServer) -> None:
    """Equal rows are in another order on each page, so that pages overlap."""
    order = {"NOTIFY_TYPE": "ASC"}
    pages = [ids_of(post(server, LIST, order=order, start=start)) for start in (0, 50, 100, 150)]
    ids = [number for page in pages for number in page]
    assert len(ids) == 198 > len(set(ids))


def test_pages__beyond_the_last_comes_the_first(server: PracticeServer) -> None:
    """A start within a page gives that page; one beyond the last, page 1."""
    first, third = (post(server, LIST, order=BY_ID, start=start) for start in (0, 149))
    beyond = post(server, LIST, order=BY_ID, start=200)
    assert (third["next"], third["total"]) == (150, 198)
    assert ids_of(third)[0] == ids_of(first)[0] + 102
    assert ids_of(beyond) == ids_of(first)
    assert beyond["next"] == 50
    assert ids_of(post(server, LIST, order=BY_ID, START=50)) == ids_of(first)
    assert post(server, LIST, filter={"ID": 7})["total"] == 0


# Select


def test_select__star_has_the_39_fields(server: PracticeServer) -> None:
    """Whole rows are those of get, without what is told on request."""
    for row in post(server, LIST, order=BY_ID, select=["*"])["result"]:
        assert tuple(row)[:39] == schema.COLUMNS
        whole = server.record(int(row["ID"])) or {}
        assert row == {name: value for name, value in whole.items() if name != "FILES"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["SUBJECT"], {"ID", "SUBJECT"}),
        (["subject", "NO_SUCH"], {"ID", "SUBJECT"}),
        (["DESCRIPTION"], {"ID", "DESCRIPTION", "PROVIDER_ID", "PROVIDER_TYPE_ID"}),
        (["BINDINGS", "UF_*"], {"ID"}),
        (["COMMUNICATIONS"], {"ID", "COMMUNICATIONS"}),
        (["IS_INCOMING_CHANNEL"], {"ID", "IS_INCOMING_CHANNEL"}),
        ([], {*schema.COLUMNS}),
        (["*", "IS_INCOMING_CHANNEL"], {*schema.COLUMNS, "IS_INCOMING_CHANNEL"}),
    ],
)
def test_select__names(names: list[str], expected: set[str], server: PracticeServer) -> None:
    """ID always comes, unknown names do not, and some fields only where they are named."""
    [row] = post(server, LIST, filter={"ID": 1}, select=names)["result"]
    assert set(row) == expected


@pytest.mark.parametrize("name", ["FILES", "WEBDAV_ELEMENTS", "STORAGE_ELEMENT_IDS"])
def test_select__files_hold_credentials(name: str, server: PracticeServer) -> None:
    """The address of a file, under whichever name it is asked for, has a token in it."""
    rows = post(server, LIST, filter={"<=ID": 200}, order=BY_ID, select=[name], start=-1)["result"]
    files = [file for row in rows for file in row.get("FILES", [])]
    assert files
    assert all("&auth=" in file["url"] and isinstance(file["id"], int) for file in files)
    assert any("FILES" not in row for row in rows)


# In a batch


def test_batch__query_strings_lose_what_is_not_encoded(server: PracticeServer) -> None:
    """A bare ``+`` is a space, ``=`` cuts a key, ``#`` the command; encoded, all is well."""
    total = f"{LIST}?select[]=ID&filter[%3E%3DCREATED]="
    commands = {
        "good": total + "2024-01-01T00:00:00%2B01:00",
        "plus": total + "2024-01-01T00:00:00+01:00",
        "equals": f"{LIST}?select[]=ID&filter[>=CREATED]=2024-01-01T00:00:00Z",
        "hash": f"{LIST}?select[]=ID#&filter[ID]=3",
    }
    totals = post(server, "batch", cmd=commands)["result"]["result_total"]
    later = [r for r in server.records() if r["CREATED"] >= "2024-01-01T00:00:00+01:00"]
    assert totals == {"good": len(later), "plus": 0, "equals": 198, "hash": 198}


def test_batch__chained_pages_start_again_after_a_short_one(server: PracticeServer) -> None:
    """A reference to a row that is not there is the whole page, which is cast to 1."""
    page = f"{LIST}?select[]=ID&order[ID]=ASC&start=-1&filter[%3EID]="
    commands = {"p0": page + "155"}
    for number in range(1, 4):
        commands[f"p{number}"] = f"{page}$result[p{number - 1}][49][ID]"
    pages = post(server, "batch", cmd=commands)["result"]["result"]
    assert [ids_of({"result": pages[name]})[0] for name in pages] == [156, 2, 54, 104]


def test_batch__refers_to_totals_and_in_keys(server: PracticeServer) -> None:
    """Not only results can be referred to, and references within a text are replaced too."""
    commands = {
        "one": f"{LIST}?filter[ID]=3",
        "two": f"{LIST}?select[]=ID&filter[%40ID][]=$total[one]&filter[%40ID][]=1$total[one]",
    }
    result = post(server, "batch", cmd=commands)["result"]["result"]
    assert sorted(ids_of({"result": result["two"]})) == [1, 11]


# Rights


def test_rights__of_those_who_are_no_administrators() -> None:
    """They see what they are responsible for, and activities of owners that they may read."""
    with (
        PracticeServer(activities=50, deleted=(), limits=None, webhook=Webhook(3, False)) as server,
        PracticeServer(activities=50, deleted=(), limits=None) as all_seeing,
    ):
        seen = set(ids_of(post(server, LIST, order=BY_ID)))
        assert post(server, LIST)["total"] == len(seen) < post(all_seeing, LIST)["total"] == 50
        mine = {int(r["ID"]) for r in server.records() if str(r["RESPONSIBLE_ID"]) == "3"}
        assert mine < seen
        hidden = min({*range(1, 51)} - seen)
        assert post(server, "crm.activity.get", id=hidden)["error_description"] == "Access denied."
        links_of = post(server, "crm.activity.binding.list", activityId=hidden)
        assert links_of["error"] == "ACCESS_DENIED"
        assert post(server, "profile")["result"]["ADMIN"] is False
        assert post(server, "user.get")["total"] < post(all_seeing, "user.get")["total"]
        assert post(server, "voximplant.statistic.get")["error"] == "ACCESS_DENIED"


# A portal that is worked on


def _matches(record: Record | None) -> bool:
    return record is not None and str(record["TYPE_ID"]) == "2"


def test_work__pages_by_id_find_what_matched_all_the_time() -> None:
    """Keyset pages hold every row that matched from beginning to end; the rest may be either."""
    with PracticeServer(activities=600, limits=None) as server:
        before = {int(r["ID"]): r for r in server.records()}
        found: list[int] = []
        with server.work(seed=4):
            last = 0
            while True:
                page = ids_of(
                    post(server, LIST, filter={"TYPE_ID": 2, ">ID": last}, order=BY_ID, start=-1)
                )
                found += page
                if len(page) < 50:
                    break
                last = page[-1]
        steady = {number for number, record in before.items() if _matches(record)}
        ever = set(steady)
        for change in server.changes:
            if _matches(change.record):
                ever.add(change.id)
            else:
                steady.discard(change.id)
        assert found == sorted(set(found))
        assert steady <= set(found) <= ever
        assert len(server.changes) == len(server.requests)


def test_work__is_a_function_of_its_seed() -> None:
    """The same seed makes the same changes, of all kinds, some without a trace in LAST_UPDATED."""

    def changes() -> tuple[list[tuple[str, int]], PracticeServer]:
        with PracticeServer(activities=60, limits=None) as server:
            with server.work(seed=1, every=2):
                commands = {f"p{i}": "server.time" for i in range(50)}
                for _ in range(4):
                    post(server, "batch", cmd=commands)
            post(server, "server.time")
            return [(change.kind, change.id) for change in server.changes], server

    made, server = changes()
    assert made == changes()[0]
    assert len(made) == 100
    assert {kind for kind, _ in made} == {"created", "changed", "deleted"}
    records = {number: record for number in range(1, 200) if (record := server.record(number))}
    late = [
        record
        for kind, number in made
        if kind == "created" and (record := records.get(number))
        if record["CREATED"] == record["START_TIME"] == record["LAST_UPDATED"] != record["END_TIME"]
    ]
    assert late
    assert all(record["ORIGIN_ID"].startswith("VI_") for record in late)
    untouched = PracticeServer(activities=60)
    moved = [
        number
        for number, record in records.items()
        if (old := untouched.record(number)) and old["OWNER_ID"] != record["OWNER_ID"]
        if old["LAST_UPDATED"] == record["LAST_UPDATED"]
    ]
    assert moved


def test_work__among_threads() -> None:
    """Many clients at once are all answered, and each command meets one change."""
    with (
        PracticeServer(activities=100, limits=None) as server,
        server.work(seed=2),
        ThreadPoolExecutor(8) as pool,
    ):
        answers = pool.map(lambda start: post(server, LIST, start=start), [0, 50] * 20)
        for answer in answers:
            assert 0 < len(answer["result"]) <= 50
        assert len(server.changes) == 40
    ids = [int(record["ID"]) for record in server.records()]
    assert ids == sorted(set(ids))


def test_create__has_the_highest_id(server: PracticeServer) -> None:
    """A new activity is made now, but for what is given, and is found like any other."""
    number = server.create(SUBJECT="brand new", TYPE_ID="2")
    assert number == 201
    record = server.record(number) or {}
    assert record["CREATED"] == record["LAST_UPDATED"] > "2026"
    assert ids_of(post(server, LIST, filter={"SUBJECT": "Brand New"})) == [number]
    server.touch(number, SUBJECT="older")
    assert ids_of(post(server, LIST, filter={"SUBJECT": "Brand New"})) == []
    server.delete(number)
    assert ids_of(post(server, LIST, order={"ID": "DESC"}))[0] == 200
    kinds = [change.kind for change in server.changes if change.id == number]
    assert kinds == ["created", "changed", "deleted"]


def test_list__bounds_on_ids_make_no_other_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among a million activities, only those within the bounds are looked at."""
    with PracticeServer(activities=10**6, deleted=(), limits=None) as server:
        made: list[int] = []
        make = server._store.table.row
        monkeypatch.setattr(
            server._store.table, "row", lambda number: made.append(number) or make(number)
        )
        filters = {">ID": 500_000, "<=ID": 500_040, "TYPE_ID": 2}
        page = ids_of(post(server, LIST, filter=filters, order=BY_ID, start=-1))
        assert page
        assert set(made) == {*range(500_001, 500_041)}
        counted = post(server, LIST, select=["ID"], order=BY_ID)
        assert counted["total"] == 10**6

"""One odd answer costs no other activity: each shape that JSON has, by get and by list."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import b24frames as b24
from b24frames.errors import MissingActivitiesWarning, PortalUnavailableError
from b24frames.practice import PracticePortal
from b24frames.practice.methods import METHODS, Answer, Call
from b24frames.records import GET, LIST
from tests.helpers.answering import rewrite

MakePortal = Callable[..., PracticePortal]
IDS, ODD = range(1, 121), 60
NO_RECORDS: list[Any] = [
    False,
    True,
    None,
    "",
    "<html>",
    5,
    1.5,
    [],
    [1, 2],
    [{"ID": "60", "SUBJECT": "x"}],
    {},
    {"a": {"b": [1]}},
    {"error": "X"},
    *({"ID": i, "SUBJECT": "x"} for i in ("61", "0", "-60", "6٠", "9" * 40, True, [60], 60.5)),
]


@pytest.fixture
def portal(make_portal: MakePortal) -> PracticePortal:
    """Make a portal of 120 activities, all of which can be read."""
    return make_portal(activities=120, deleted=(), refused=())


def spoil(
    monkeypatch: pytest.MonkeyPatch, method: str, change: Callable[[Call, Any], object]
) -> None:
    """Change what practice portals answer to a method."""
    right = METHODS[method]

    def spoiled(call: Call) -> Answer:
        answer = right(call)
        return {**answer, "result": change(call, answer["result"])}

    monkeypatch.setitem(METHODS, method, spoiled)


@pytest.mark.parametrize("via", ["get", "list"])
@pytest.mark.parametrize("shape", NO_RECORDS, ids=repr)
def test_read__one_odd_record(
    shape: Any, via: Any, portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One activity is missing, with the reason; it is asked for thrice, and not remembered so."""
    with monkeypatch.context() as patch:
        spoil(patch, GET, lambda call, got: shape if int(call.params["id"]) == ODD else got)
        if via == "list":
            spoil(patch, LIST, lambda _, rows: [shape if r["ID"] == "60" else r for r in rows])
        with pytest.warns(MissingActivitiesWarning, match="60 .the portal answers with"):
            frame = b24.read_activities(IDS, portal, via=via)
    facts = frame.attrs["b24"]
    assert frame.index.tolist() == [i for i in IDS if i != ODD]
    assert facts["missing"] == [ODD]
    assert facts["http_requests"] <= 3 + (3 if via == "get" else 1)
    assert len(b24.read_activities(IDS, portal, via=via)) == 120


@pytest.mark.parametrize("page", [*NO_RECORDS[:7], [1], [[]], {"a": 1}, {"ID": "5"}], ids=repr)
@pytest.mark.parametrize("first", [True, False])
def test_read__odd_page(
    page: Any, first: bool, portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an odd page should have had is read by get, and only that."""

    def change(_: Call, rows: list[Any]) -> object:
        is_first = "1" in {row["ID"] for row in rows}
        return page if is_first == first else rows

    spoil(monkeypatch, LIST, change)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = b24.read_activities(IDS, portal, via="list")
    assert frame.index.tolist() == list(IDS)
    assert frame.attrs["b24"]["http_requests"] <= 3


@pytest.mark.parametrize("before", [True, False])
def test_read__listed_twice(
    before: bool, portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two records of one id neither is taken; nor is the activity that made way missing."""
    other = {"ID": "61", "SUBJECT": "another's"}

    def change(_: Call, rows: list[Any]) -> list[Any]:
        kept = [row for row in rows if row["ID"] != "60"]
        return [other, *kept] if before else [*kept, other]

    spoil(monkeypatch, LIST, change)
    frame = b24.read_activities(IDS, portal, via="list", missing="raise")
    record = portal.server.record(61)
    assert record is not None
    assert frame.at[61, "SUBJECT"] == record["SUBJECT"]


@pytest.mark.parametrize("written", [60, 60.0, "60.0", " 60", None])
def test_read__other_forms_of_an_id(written: Any, portal: PracticePortal) -> None:
    """An id is the same in any form that a server may write it in."""
    portal.server.touch(ODD, ID=written)
    if written == " 60":
        with pytest.warns(MissingActivitiesWarning, match="60"):
            assert len(b24.read_activities(IDS, portal)) == 119
    else:
        assert b24.read_activities(IDS, portal).index.tolist() == list(IDS)


@pytest.mark.parametrize("via", ["get", "list"])
def test_read__first_id_without_an_answer(make_portal: Any, via: Any) -> None:
    """An id that get does not answer costs itself only; the list has the first one, too."""
    portal = make_portal(activities=20, deleted=(), refused=())
    error = PortalUnavailableError("down", code="INTERNAL_SERVER_ERROR", method=GET)
    rewrite(portal, lambda command, it: error if command == (GET, {"id": 1}) else it)
    frame = b24.read_activities(range(1, 11), portal, via=via, missing="ignore")
    assert frame.index.tolist() == [*range(1 if via == "list" else 2, 11)]

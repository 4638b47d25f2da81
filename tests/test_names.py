"""Names of users and owners, links, and what becomes of those that nobody tells."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pandas as pd
import pytest

import b24frames as b24
from b24frames.errors import (
    InvalidAnswerError,
    MissingActivitiesWarning,
    NamesMissingWarning,
    PermissionDeniedError,
)
from b24frames.practice import PracticePortal
from b24frames.practice.dataset import links
from b24frames.practice.faults import Fault
from b24frames.practice.related import is_readable, items, users
from tests.helpers.answering import rewrite
from tests.helpers.caches import make_older
from tests.helpers.frames import assert_frame_equal
from tests.helpers.practice import posts

MakePortal = Callable[..., PracticePortal]

NAMES = ["RESPONSIBLE_NAME", "AUTHOR_NAME", "EDITOR_NAME", "OWNER_NAME"]
KINDS = {1: "lead", 2: "deal", 3: "contact", 4: "company", 31: "invoice", 150: "Equipment"}
BACKENDS: list[Any] = ["numpy_nullable", "pyarrow"]


def frame_of(portal: b24.Portal, rows: dict[str, list[Any]], backend: str = "") -> pd.DataFrame:
    """Return a frame of ids, as a read from the portal would give it."""
    dtype = "int64[pyarrow]" if backend == "pyarrow" else "Int64"
    frame = pd.DataFrame(rows, dtype=dtype)
    frame.attrs["b24"] = {"portal": portal.address, "user_id": portal.user_id}
    return frame


def owner_name(kind: int, i: int) -> str:
    """Return the right name of an owner of the practice portal."""
    table = items(0, kind)
    row = table.row(i) if i in set(table.ids()) else {}
    person = [row.get(part) for part in ("name", "secondName", "lastName")]
    told = [row.get("title"), " ".join(filter(None, person)), row.get("companyTitle")]
    return next(filter(None, told), f"{KINDS[kind]} {i}")


def user_name(i: int) -> str:
    """Return the right name of a user of the practice portal."""
    row = users().row(i) if i in set(users().ids()) else {}
    person = [row.get(part) for part in ("NAME", "SECOND_NAME", "LAST_NAME")]
    return " ".join(filter(None, person)) or f"user {i}"


def told(caught: Any) -> str:
    """Return the message of the one warning of names."""
    (warning,) = caught
    assert warning.category is NamesMissingWarning
    assert warning.filename == __file__
    return str(warning.message)


@pytest.mark.parametrize("backend", BACKENDS)
def test_names__every_name(make_portal: MakePortal, backend: str) -> None:
    """Of 300 users and 4 000 owners of six types, every name is right, in few requests; then none.

    Whoever is not told keeps the number.
    """
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    portal = make_portal(activities=1)
    owners = [(kind, i) for kind in KINDS for i in range(1, 668)]
    rows = [(*owners[n % len(owners)], n % 300 + 1, n % 299 + 1) for n in range(5_000)]
    names = ["OWNER_TYPE_ID", "OWNER_ID", "RESPONSIBLE_ID", "EDITOR_ID"]
    frame = frame_of(
        portal, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), backend
    )
    frame.index = pd.RangeIndex(7, 5_007, name="ROW")
    with pytest.warns(NamesMissingWarning) as caught:
        found = frame.b24.names(portal)
    assert posts(portal) <= 6
    expected = {
        "RESPONSIBLE_NAME": [user_name(row[2]) for row in rows],
        "EDITOR_NAME": [user_name(row[3]) for row in rows],
        "OWNER_NAME": [owner_name(*row[:2]) for row in rows],
    }
    assert found.to_dict("list") == expected
    assert found.index.equals(frame.index)
    arrow = backend == "pyarrow"
    assert all(isinstance(dtype, pd.ArrowDtype) is arrow for dtype in found.dtypes)
    assert set(map(str, found.dtypes)) == {"string[pyarrow]" if arrow else "string"}
    message = told(caught)
    assert "user 50" in message
    before = posts(portal)
    with pytest.warns(NamesMissingWarning):
        assert frame.b24.names(portal).equals(found)
    assert posts(portal) == before


def test_names__columns_of_the_ids_that_there_are(portal: PracticePortal) -> None:
    """A frame has names for its ids; one without any, or with text in place of ids, is refused."""
    frame = b24.read_activities([1, 2, 3], portal)
    assert frame.b24.names(portal).columns.tolist() == NAMES
    assert frame[["AUTHOR_ID"]].b24.names(portal).columns.tolist() == ["AUTHOR_NAME"]
    with pytest.raises(AttributeError, match="RESPONSIBLE_ID, AUTHOR_ID"):
        frame[["SUBJECT"]].b24.names(portal)
    with pytest.raises(AttributeError, match="Int64"):
        frame.astype({"AUTHOR_ID": str}).b24.names(portal)
    assert frame.iloc[:0].b24.names(portal).dtypes.equals(frame.b24.names(portal).dtypes)


@pytest.mark.parametrize("dtype", ["Int64", "int64", "int32", "UInt64", "int64[pyarrow]"])
def test_names__whatever_integers(portal: PracticePortal, dtype: str) -> None:
    """Integers of any kind are ids; rows may repeat, and their index be anything."""
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"AUTHOR_ID": [2, 1, 2]}, dtype=dtype)
    frame.index = pd.MultiIndex.from_tuples([("a", 1), ("a", 1), ("b", 2)], names=["x", "y"])
    found = frame.b24.names(portal)
    assert found["AUTHOR_NAME"].tolist() == [user_name(2), user_name(1), user_name(2)]
    assert found.index.equals(frame.index)
    assert posts(portal) == 1


def test_names__no_such_ids(portal: PracticePortal) -> None:
    """The greatest ids, and types of smart processes that are not there, keep their numbers."""
    top = 2**63 - 1
    kinds = [128, 131, 191, 1030, 2**31]
    rows = {"AUTHOR_ID": [top] * 5, "OWNER_TYPE_ID": kinds, "OWNER_ID": [top] * 5}
    with pytest.warns(NamesMissingWarning, match="6 names could not be read"):
        found = frame_of(portal, rows).b24.names(portal)
    assert set(found["AUTHOR_NAME"]) == {f"user {top}"}
    assert found["OWNER_NAME"].tolist() == [f"smart process {kind} {top}" for kind in kinds]


def test_names__after_labels(portal: PracticePortal) -> None:
    """Labels in the place of OWNER_TYPE_ID are refused; in other columns they do not matter."""
    frame = b24.read_activities([1, 2, 3], portal)
    labelled = frame.assign(**frame.b24.labels())
    with pytest.raises(AttributeError, match="needs OWNER_TYPE_ID as Int64; here it is category"):
        labelled.b24.names(portal)
    some = frame.assign(**frame.b24.labels(["TYPE_ID", "STATUS"])).b24.names(portal)
    assert some.equals(frame.b24.names(portal))
    people = labelled.drop(columns="OWNER_TYPE_ID").b24.names(portal)
    assert people.equals(some[people.columns])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"portal": 5}, "portal is of type int"),
        ({"portal": "nope"}, "not a URL"),
        ({"cache": 5}, "cache is of type int"),
        ({"max_age": "soon"}, "'soon' is not a time span"),
    ],
)
def test_names__refused_arguments(
    portal: PracticePortal, options: dict[str, Any], message: str
) -> None:
    """What is not accepted is said before any request."""
    frame = frame_of(portal, {"AUTHOR_ID": [1]})
    with pytest.raises((TypeError, ValueError), match=message):
        frame.b24.names(**({"portal": portal} | options))
    assert posts(portal) == 0


def test_names__joined(portal: PracticePortal) -> None:
    """A frame with its names still knows its portal, and is none the worse for it."""
    frame = b24.read_activities([1, 2, 3], portal)
    before = frame.copy()
    joined = frame.join(frame.b24.names(portal))
    assert joined[frame.columns].equals(before)
    assert joined.attrs == frame.attrs == before.attrs
    assert joined.b24.names(portal).equals(joined[NAMES])


def test_names__nobody_and_unknown(portal: PracticePortal) -> None:
    """The ids 0 and NA have no name; whatever else is not told keeps its number, in one warning."""
    rows = {
        "RESPONSIBLE_ID": [1, 50, 9_999, 0, None, 1],
        "OWNER_TYPE_ID": [2, 5, 19, 8_000, None, 0],
        "OWNER_ID": [1, 4, 4, 4, 4, 4],
    }
    with pytest.warns(NamesMissingWarning) as caught:
        found = frame_of(portal, rows).b24.names(portal)
    assert found["RESPONSIBLE_NAME"].fillna("-").tolist() == [
        user_name(1),
        "user 50",
        "user 9999",
        "-",
        "-",
        user_name(1),
    ]
    assert found["OWNER_NAME"].fillna("-").tolist() == [
        owner_name(2, 1),
        "invoice (old) 4",
        "19 (recycle bin) 4",
        "smart process 8000 4",
        "-",
        "-",
    ]
    assert found.groupby("OWNER_NAME", dropna=False).size().sum() == 6
    message = told(caught)
    assert "5 names could not be read" in message
    assert "user 50, user 9999 (deleted, a bot, or not visible to this user)" in message
    assert "no method that tells names" in message
    assert "NOT_FOUND" in message


def test_names__without_the_scope(make_portal: MakePortal) -> None:
    """A missing scope loses no row: it is named, with the page that shows where to tick it."""
    portal = make_portal(activities=60, scopes=["crm"], deleted=())
    frame = b24.read_activities(range(1, 61), portal, missing="ignore", columns=["RESPONSIBLE_ID"])
    with pytest.warns(NamesMissingWarning, match="scope 'user_brief'.*docs/how-to/webhook.md"):
        found = frame.b24.names(portal)
    assert posts(portal) == 3  # two to read, one for the names: what is refused is refused
    assert found["RESPONSIBLE_NAME"].str.fullmatch(r"user \d+").all()
    assert frame.join(found).groupby("RESPONSIBLE_NAME").size().sum() == len(frame)
    portal.server.scopes.add("user_brief")
    assert not frame.b24.names(portal)["RESPONSIBLE_NAME"].str.startswith("user ").any()


def test_names__without_the_right(make_portal: MakePortal) -> None:
    """Owners whom the user may not read keep their number, and so do users whom he does not see."""
    portal = make_portal(activities=1, admin=False)
    ids = list(range(1, 31))
    frame = frame_of(portal, {"OWNER_TYPE_ID": [2] * 30, "OWNER_ID": ids, "AUTHOR_ID": ids})
    with pytest.warns(NamesMissingWarning, match="not visible to this user"):
        found = frame.b24.names(portal)
    assert found["OWNER_NAME"].tolist() == [
        owner_name(2, i) if is_readable(2, i) else f"deal {i}" for i in ids
    ]
    assert found["AUTHOR_NAME"].str.startswith("user ").any()


@pytest.mark.parametrize(
    "fault", ["INTERNAL_SERVER_ERROR", "NO_AUTH_FOUND", "OVERLOAD_LIMIT", "ERROR_METHOD_NOT_FOUND"]
)
def test_names__portal_in_trouble(make_portal: MakePortal, fault: str) -> None:
    """Whatever the portal answers, there is a frame."""
    portal = make_portal(activities=1)
    portal.server.faults.append(Fault(fault))
    frame = frame_of(portal, {"AUTHOR_ID": [1, 2], "OWNER_TYPE_ID": [2, 3], "OWNER_ID": [1, 1]})
    with pytest.warns(NamesMissingWarning, match=fault):
        found = frame.b24.names(portal)
    assert found["AUTHOR_NAME"].tolist() == ["user 1", "user 2"]
    assert found["OWNER_NAME"].tolist() == ["deal 1", "contact 1"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        False,
        "text",
        7,
        {"items": 5},
        [None],
        ["text"],
        [{"NAME": "Nobody"}],
        [{"ID": "x"}],
        [{"ID": "99", "NAME": "Somebody else"}],
    ],
)
def test_names__odd_answers(portal: PracticePortal, answer: Any) -> None:
    """An answer with something else than the users asked for is asked for again, then refused."""
    rewrite(portal, lambda _command, _result: answer)
    frame = frame_of(portal, {"AUTHOR_ID": [1]})
    with pytest.warns(NamesMissingWarning, match="something else than was asked for"):
        assert frame.b24.names(portal)["AUTHOR_NAME"].tolist() == ["user 1"]
    assert posts(portal) == 3


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("=HYPERLINK(1)", "=HYPERLINK(1)"),
        ("\x1b[31m\u202eevil\n", "\x1b[31m\u202eevil\n"),
        ("half \ud83d", "half \\ud83d"),
        (" kept as it is ", " kept as it is "),
        (512, "512"),
        ("", "deal 1"),
        (" \t", "deal 1"),
        (None, "deal 1"),
        (True, "deal 1"),
        ({"a": 1}, "deal 1"),
        ("x" * 100_000, "x" * 100_000),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_names__hostile(portal: PracticePortal, title: Any, name: str, backend: str) -> None:
    """A name is text and nothing else, from the portal and from the cache."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    rewrite(portal, lambda _command, _result: {"items": [{"id": 1, "title": title}]})
    frame = frame_of(portal, {"OWNER_TYPE_ID": [2], "OWNER_ID": [1]}, backend)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NamesMissingWarning)
            assert frame.b24.names(portal)["OWNER_NAME"].tolist() == [name]
    assert posts(portal) == 1


def test_names__hostile_type(portal: PracticePortal) -> None:
    """The name of a smart process, which anyone may have chosen, does nothing in the warning."""

    def change(command: Any, _result: Any) -> Any:
        types = [{"ID": 150, "NAME": "\x1b[31m\nevil"}]
        return types if command[0] == "crm.enum.ownertype" else {"items": []}

    rewrite(portal, change)
    frame = frame_of(portal, {"OWNER_TYPE_ID": [150], "OWNER_ID": [1]})
    with pytest.warns(NamesMissingWarning) as caught:
        assert frame.b24.names(portal)["OWNER_NAME"].tolist() == ["\x1b[31m\nevil 1"]
    assert told(caught).isprintable()


def test_names__cached_apart(make_portal: MakePortal, tmp_path: Any) -> None:
    """Names are in the cache of activities and are none of them; a day later they are asked for."""
    portal = make_portal(activities=60, deleted=())
    with closing(b24.ActivityCache(tmp_path)) as cache:
        frame = b24.read_activities(range(1, 31), portal, cache=cache, missing="ignore")
        entries = cache.info()["entries"]
        frame = frame[["RESPONSIBLE_ID"]]
        found = frame.b24.names(portal, cache=cache)
        info = cache.info()
        assert info["entries"] == entries
        assert info["portals"] == {f"{portal.address.partition('://')[2]} 1": entries}
        assert info["names"] == frame["RESPONSIBLE_ID"].nunique()
        again = b24.read_activities([1, 2], portal, cache=cache, only_if_cached=True)
        assert again.index.tolist() == [1, 2]
        before = posts(portal)
        assert frame.b24.names(portal, cache=cache).equals(found)
        assert posts(portal) == before
        make_older(cache, 90_000)
        assert frame.b24.names(portal, cache=cache).equals(found)
        assert posts(portal) == before + 1
        frame.b24.names(portal, cache=cache, max_age=0)
        assert posts(portal) == before + 2
        assert cache.clear(ids=range(1, 31)) == entries
        assert cache.info()["names"] == info["names"]
        assert cache.clear(portal=portal) == info["names"]
        frame.b24.names(portal, cache=False)
        assert cache.info()["names"] == 0


def test_names__evicted_with_the_rest(make_portal: MakePortal, tmp_path: Any) -> None:
    """Names count for the size of the cache, and go when they are old."""
    portal = make_portal(activities=1)
    with closing(b24.ActivityCache(tmp_path)) as cache:
        frame_of(portal, {"AUTHOR_ID": [1, 2]}).b24.names(portal, cache=cache)
        assert cache.prune("1h") == 0
        make_older(cache, 90_000)
        assert cache.prune("1h") == 2


def test_names__two_portals_two_users(make_portal: MakePortal, tmp_path: Any) -> None:
    """Another portal or user never sees cached names."""
    portals = [make_portal(activities=1, user_id=i) for i in (1, 1, 5)]
    for number, portal in enumerate(portals):

        def change(_command: Any, _result: Any, name: str = f"User of {number}") -> Any:
            return [{"ID": "1", "NAME": name}]

        rewrite(portal, change)
    with closing(b24.ActivityCache(tmp_path)) as cache:
        for _ in range(2):
            for number, portal in enumerate(portals):
                frame = frame_of(portal, {"AUTHOR_ID": [1]})
                found = frame.b24.names(portal, cache=cache)
                assert found["AUTHOR_NAME"].tolist() == [f"User of {number}"]
    assert [posts(portal) for portal in portals] == [1, 1, 1]


def test_names__users_of_one_portal(make_portal: MakePortal, tmp_path: Any) -> None:
    """What one user of a portal may read is not told to another from the cache."""
    portal = make_portal(activities=1)
    other = b24.Portal(portal.url.replace("/rest/1/", "/rest/2/"), limits="self-hosted")
    frame = frame_of(portal, {"AUTHOR_ID": [1]})
    with closing(b24.ActivityCache(tmp_path)) as cache:
        frame.b24.names(portal, cache=cache)
        frame.attrs["b24"]["user_id"] = 2
        before = posts(portal)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NamesMissingWarning)
            frame.b24.names(other, cache=cache)
        assert posts(portal) > before


@pytest.mark.parametrize("method", ["names", "calls", "bindings"])
def test_reading_more__for_the_frame_of_another(
    make_portal: MakePortal, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Another portal or user than the frame's is refused before any request, and named."""
    portal, other = make_portal(activities=9), make_portal(activities=9)
    frame = b24.read_activities([1, 2], portal)
    read = getattr(frame.b24, method)
    with pytest.raises(ValueError, match=f"(?s){portal.address}.*{other.address}"):
        read(other)
    monkeypatch.setenv("B24_WEBHOOK_URL", other.url)
    with pytest.raises(ValueError, match=other.address):
        read()
    assert posts(other) == 0
    monkeypatch.setenv("B24_WEBHOOK_URL", portal.url)
    assert isinstance(read(), pd.DataFrame)
    frame.attrs.clear()
    with pytest.raises(ValueError, match="attrs"):
        read()
    assert isinstance(read(portal), pd.DataFrame)


@pytest.mark.parametrize("method", ["calls", "bindings", "refresh"])
def test_reading_more__for_ids_of_something_else(portal: PracticePortal, method: str) -> None:
    """The ids of calls and users are not those of activities, though they are called ID, too."""
    calls = b24.read_calls(None, portal)
    before = posts(portal)
    for frame in (calls, b24.read_users([], portal), calls.reset_index()[["ID", "CALL_TYPE"]]):
        frame.attrs["b24"] = calls.attrs["b24"]
        with pytest.raises(AttributeError, match="of calls or users, not of activities"):
            getattr(frame.b24, method)(portal)
    assert posts(portal) == before
    frame = b24.read_activities([1, 2], portal)
    joined = frame.assign(CALL_DURATION=pd.array([1, 2], "Int64"))
    assert getattr(joined.b24, method)(portal).equals(getattr(frame.b24, method)(portal))


def test_names__of_calls(portal: PracticePortal) -> None:
    """A frame of calls has the names of those who talked."""
    calls = b24.read_calls(None, portal)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NamesMissingWarning)
        found = calls.b24.names(portal)
    assert found["PORTAL_USER_NAME"].tolist() == [user_name(i) for i in calls["PORTAL_USER_ID"]]


# --- read_users


@pytest.mark.parametrize("backend", BACKENDS)
def test_read_users__all(portal: PracticePortal, backend: Any) -> None:
    """Without ids there are all users, by pages of ids, ascending, typed."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    found = b24.read_users(None, portal, dtype_backend=backend)
    assert found.index.tolist() == users().ids()
    assert found.columns.tolist() == list(b24.schema.USER)[1:]
    dtypes = b24.schema.DTYPES[backend]
    assert [str(dtype) for dtype in found.dtypes] == [
        dtypes[field.wire] for field in list(b24.schema.USER.values())[1:]
    ]
    assert found["FULL_NAME"].tolist() == [user_name(i) for i in users().ids()]
    assert found["ACTIVE"].tolist() == [users().row(i)["ACTIVE"] for i in users().ids()]
    assert found.attrs["b24"]["http_requests"] == posts(portal) <= 3
    assert "start=50" not in str([request.commands for request in portal.server.requests])


def test_read_users__some(portal: PracticePortal) -> None:
    """Ids are read once, in the order given; those that are not told are named, and have no row."""
    with pytest.warns(NamesMissingWarning, match=r"1 name .*user 50 \(deleted, a bot"):
        found = b24.read_users([12, "3", 50, 3], portal)
    assert found.index.tolist() == [12, 3]
    assert found.attrs["b24"]["missing"] == [50]
    wanted = [i for i in users().ids() if i < 120]
    before = posts(portal)
    assert b24.read_users(wanted, portal).index.tolist() == wanted
    assert posts(portal) == before + 1


def test_read_users__none(portal: PracticePortal) -> None:
    """No ids, no request; the columns and dtypes are the same."""
    empty = b24.read_users([], portal)
    assert posts(portal) == 0
    assert empty.dtypes.equals(b24.read_users([1], portal).dtypes)


def test_read_users__refused(make_portal: MakePortal) -> None:
    """Without the scope there is nothing to give: the error names it."""
    portal = make_portal(activities=1, scopes=["crm"])
    with pytest.raises(PermissionDeniedError, match="scope 'user_brief'"):
        b24.read_users([1], portal)
    with pytest.raises(ValueError, match="'x' at position 0 is not an id; accepted"):
        b24.read_users(["x"], portal)


def test_read_users__filter_ignored(portal: PracticePortal) -> None:
    """A portal that ignores the filter and gives everyone is an error, not a wrong frame."""
    everyone = [{"ID": str(i), "NAME": "x"} for i in range(1, 51)]
    rewrite(portal, lambda _command, _result: everyone)
    with pytest.raises(InvalidAnswerError, match="condition on that field was ignored"):
        b24.read_users([1, 60], portal)


def test_read_users__ids_as_floats(portal: PracticePortal) -> None:
    """An id is the same however the portal writes it."""
    users = {None: b24.read_users(None, portal), (3, 1): b24.read_users([3, 1], portal)}
    rewrite(portal, lambda _command, rows: [{**row, "ID": f"{row['ID']}.0"} for row in rows])
    for ids, expected in users.items():
        found = b24.read_users(ids, portal)
        found.attrs = expected.attrs
        assert_frame_equal(found, expected)


def test_read_users__asks_for_little(portal: PracticePortal) -> None:
    """Only the fields of the frame are asked for: no e-mail address, no phone."""
    b24.read_users([1], portal)
    (command,) = portal.server.requests[-1].commands
    asked = re.findall(r"select%5B\d+%5D=(\w+)", command)
    assert asked == [name for name in b24.schema.USER if name != "FULL_NAME"]


# --- owner_url, bindings, communications


@pytest.mark.parametrize("backend", BACKENDS)
def test_owner_url__by_type(portal: PracticePortal, backend: str) -> None:
    """Each type has its page; what has none is NA."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    kinds = [1, 2, 3, 4, 7, 31, 150, 1038, 5, 19, 0, None, 2, 2]
    ids = [*[9] * 12, 0, None]
    frame = frame_of(portal, {"OWNER_TYPE_ID": kinds, "OWNER_ID": ids}, backend)
    url = frame.b24.owner_url
    paths = "lead deal contact company type/7 type/31 type/150 type/1038".split()
    expected = [f"{portal.address}/crm/{path}/details/9/" for path in paths]
    assert url.dropna().tolist() == expected
    assert url.notna().tolist() == [True] * 8 + [False] * 6
    assert isinstance(url.dtype, pd.ArrowDtype) is (backend == "pyarrow")
    frame.attrs.clear()
    with pytest.raises(AttributeError, match="attrs"):
        _ = frame.b24.owner_url


@pytest.mark.parametrize("backend", BACKENDS)
def test_bindings__every_link(portal: PracticePortal, backend: Any) -> None:
    """Each link is a row, 50 activities in a request."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    frame = b24.read_activities(
        range(1, 101), portal, missing="ignore", via="list", dtype_backend=backend
    )
    before = posts(portal)
    found = frame.b24.bindings(portal)
    assert posts(portal) == before + 2
    expected = [(i, *link) for i in frame.index for link in links(portal.server.record(i) or {})]
    assert list(found.itertuples(name=None)) == expected
    assert set(map(str, found.dtypes)) == {"int64[pyarrow]" if backend == "pyarrow" else "Int64"}


def test_bindings__what_is_gone(portal: PracticePortal) -> None:
    """An activity that is gone, or refused, has no rows and is named."""
    frame = b24.read_activities([1, 2, 3], portal)
    portal.server.delete(2)
    portal.server.faults.append(Fault("ACCESS_DENIED", method="crm.activity.binding.list", times=1))
    with pytest.warns(MissingActivitiesWarning, match="the links of 2 activities"):
        found = frame.b24.bindings(portal)
    assert set(found.index) == {3}


@pytest.mark.parametrize("answer", [None, "text", [5], {"a": 5}])
def test_bindings__odd_answer(portal: PracticePortal, answer: Any) -> None:
    """What is no list of links is asked for again, then named."""
    frame = b24.read_activities([1], portal)
    rewrite(portal, lambda _command, _result: answer)
    with pytest.warns(MissingActivitiesWarning, match="in place of a list"):
        assert frame.b24.bindings(portal).empty


ANNA = {"ID": "4", "TYPE": "PHONE", "VALUE": "+7900", "ENTITY_ID": "2", "ENTITY_TYPE_ID": "3"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([ANNA | {"ENTITY_SETTINGS": {"NAME": "Anna", "LAST_NAME": "Müller"}}], ["Anna Müller"]),
        ({"0": ANNA, "5": ANNA}, [None, None]),
        ([ANNA | {"ENTITY_SETTINGS": {"COMPANY_TITLE": "Acme"}}], ["Acme"]),
        ([ANNA | {"ENTITY_SETTINGS": []}], [None]),
        ([ANNA | {"ENTITY_SETTINGS": False}], [None]),
        ("[]", []),
        ([], []),
        (False, []),
        (None, []),
        (["text", None, 5], []),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_communications__shapes(value: Any, expected: list[Any], backend: str) -> None:
    """Whatever shape the portal gives them, they are rows."""
    raw = pd.DataFrame({"ID": ["7"], "COMMUNICATIONS": [value]})
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    found = raw.b24.typed(dtype_backend=backend).b24.communications()
    assert found["NAME"].fillna("-").tolist() == [name or "-" for name in expected]
    assert found.columns.tolist() == ["TYPE", "VALUE", "ENTITY_TYPE_ID", "ENTITY_ID", "NAME"]
    assert found.index.tolist() == [7] * len(expected)
    assert found["ENTITY_ID"].tolist() == [2] * len(expected)
    integer, text = (
        ("int64[pyarrow]", "string[pyarrow]") if backend == "pyarrow" else ("Int64", "string")
    )
    assert [str(dtype) for dtype in found.dtypes] == [text, text, integer, integer, text]


def test_communications__of_a_portal(portal: PracticePortal) -> None:
    """They come with `find_activities` where they are named, and nowhere else."""
    found = b24.find_activities([("ID", "<=", 20)], portal, columns=["COMMUNICATIONS"])
    rows = found.b24.communications()
    assert rows.index.tolist() == found.index.tolist()
    assert rows["VALUE"].str.contains(r"^\+7900|@example\.com$").all()
    with pytest.raises(AttributeError, match="find_activities"):
        b24.read_activities([1], portal).b24.communications()
    with pytest.raises(ValueError, match="COMMUNICATIONS: 5 in row 0"):
        pd.DataFrame({"ID": [1], "COMMUNICATIONS": [5]}).b24.communications()

"""`read_activities`: ids in, typed DataFrame out, over real HTTP."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta, timezone
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import b24frames as b24
from b24frames.errors import (
    AuthenticationError,
    B24Error,
    CacheWarning,
    MethodsDifferWarning,
    MissingActivitiesError,
    MissingActivitiesWarning,
    PortalBlockedError,
    PortalError,
    PortalUnavailableError,
    StaleDataWarning,
    error_from_answer,
)
from b24frames.practice import PracticePortal
from b24frames.schema import COLUMNS
from tests.helpers.caches import make_older
from tests.helpers.cases import REFUSED_IDS
from tests.helpers.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault
from tests.helpers.frames import assert_frame_equal
from tests.helpers.practice import asked, posts

MakePortal = Callable[..., PracticePortal]


@pytest.fixture
def whole(make_portal: MakePortal) -> PracticePortal:
    """Make a practice portal on which no id is missing and no record has extra fields."""
    return make_portal(activities=2501, deleted=(), refused=())


def read(ids: Any, portal: Any, **options: Any) -> pd.DataFrame:
    """Read only the columns that every frame has, so that frames can be compared."""
    return b24.read_activities(ids, portal, **{"columns": COLUMNS, **options})


# --- the main job ------------------------------------------------------------------------------


def test_read_activities__first_and_again(whole: PracticePortal) -> None:
    """2 500 activities take 50 requests, and none the second time; the frames are equal."""
    first = b24.read_activities(range(1, 2501), whole)
    assert posts(whole) == 50
    assert sorted(asked(whole)) == list(range(1, 2501))
    again = b24.read_activities(range(1, 2501), whole)
    assert posts(whole) == 50
    assert_frame_equal(first, again)
    assert len(first) == 2500
    facts = {name: first.attrs["b24"][name] for name in ("requested", "fetched", "from_cache")}
    assert facts == {"requested": 2500, "fetched": 2500, "from_cache": 0}
    assert first.attrs["b24"]["http_requests"] == 50
    assert again.attrs["b24"]["http_requests"] == 0
    assert again.attrs["b24"]["from_cache"] == 2500


def test_read_activities__values(portal: PracticePortal) -> None:
    """What the frame says is what the portal's records say."""
    frame = b24.read_activities([1, 2, 3], portal)
    for i, row in frame.iterrows():
        record = portal.server.record(i)
        assert record is not None
        assert row["SUBJECT"] == record["SUBJECT"]
        assert row["OWNER_ID"] == int(record["OWNER_ID"])
        assert row["CREATED"] == pd.Timestamp(record["CREATED"])
        assert row["COMPLETED"] == (record["COMPLETED"] == "Y")


@pytest.mark.parametrize("count", [0, 1, 50, 51, 2501])
def test_read_activities__counts(whole: PracticePortal, count: int) -> None:
    """Any number of ids gives the same columns and dtypes, in as few requests as can be."""
    frame = read(range(1, count + 1), whole)
    assert posts(whole) == -(-count // 50)
    assert frame.index.tolist() == list(range(1, count + 1))
    assert list(frame.dtypes) == list(read([], whole).dtypes)
    assert list(frame.columns) == list(COLUMNS[1:])
    assert str(frame.index.dtype) == "Int64"


@pytest.mark.parametrize(
    "ids",
    [
        [30, 10, 20],
        [30, 10, 30, 20, 10],
        ["30", "10", "20"],
        [np.int64(30), np.int64(10), np.int64(20)],
        np.array([30, 10, 20]),
        pd.Series([30, 10, 20], index=[5, 5, 5], name="x"),
        pd.Series([30.0, 10.0, 20.0]),
        pd.Index([30, 10, 20]),
        pd.Index(["30", "10", "20"]),
        (i for i in (30, 10, 20)),
        range(30, 9, -10),
    ],
    ids=lambda ids: type(ids).__name__,
)
def test_read_activities__kinds_of_ids(portal: PracticePortal, ids: Any) -> None:
    """Rows come in the order of first appearance, whatever the ids come in."""
    expected = [30, 20, 10] if isinstance(ids, range) else [30, 10, 20]
    frame = read(ids, portal)
    assert frame.index.tolist() == expected
    assert list(frame.dtypes) == list(read([], portal).dtypes)


def test_read_activities__any_order_from_the_cache(portal: PracticePortal) -> None:
    """Part from the cache, part from the portal, in any order: the order asked for holds."""
    read(range(20, 60, 3), portal)
    ids = list(range(10, 100))
    random.Random(1).shuffle(ids)
    assert read(ids, portal).index.tolist() == ids
    assert sorted(asked(portal)) == list(range(10, 100))


def test_read_activities__no_ids(portal: PracticePortal) -> None:
    """No ids need no request and give an empty frame."""
    frame = b24.read_activities([], portal)
    assert frame.shape == (0, 38)
    assert posts(portal) == 0


def test_read_activities__webhook_url(
    portal: PracticePortal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A webhook URL, given or in the environment, is as good as a Portal."""
    given = b24.read_activities(1, portal.url)
    assert (tmp_path / "default-cache" / "activities.sqlite").exists()
    monkeypatch.setenv("B24_WEBHOOK_URL", portal.url)
    assert b24.read_activities(1).equals(given)
    assert posts(portal) == 1


def test_read_activities__by_list(make_portal: MakePortal) -> None:
    """By list 1 000 activities take one request, and the frame is the one by get."""
    portal = make_portal(activities=1200, deleted=[7], refused=[9])
    by_list = read(range(1, 1001), portal, via="list", missing="ignore")
    assert [r.method for r in portal.server.requests] == ["batch"]
    assert asked(portal) == [1]
    by_get = read(range(1, 1001), portal, cache=False, missing="ignore")
    assert_frame_equal(by_list, by_get)
    assert by_list.attrs["b24"]["missing"] == by_get.attrs["b24"]["missing"]
    assert [*by_list.attrs["b24"]["missing_reasons"]] == [
        "not found, or not visible to this user",
        "refused by the portal (crm.activity.get does not give it)",
    ]


def test_read_activities__list_differs(make_portal: MakePortal) -> None:
    """Where list and get do not agree, that is said, and nothing is taken from the list."""
    portal = make_portal(activities=200, deleted=(), refused=())
    portal.server.faults.append(Fault("surrogate", method="crm.activity.get", ids=[10], times=1))
    with pytest.warns(MethodsDifferWarning, match=r"activity 10 \(SUBJECT\)") as caught:
        frame = read(range(10, 110), portal, via="list")
    assert [Path(w.filename).name for w in caught] == ["test_activities.py"]
    assert sorted(asked(portal)) == [10, *range(10, 110)]
    assert_frame_equal(frame, read(range(10, 110), portal, cache=False))


@pytest.mark.parametrize("ids", [[], [5, 6]])
def test_read_activities__nothing_to_list(portal: PracticePortal, ids: list[int]) -> None:
    """Where nothing is left to ask for, the list is not asked."""
    whole = read([5, 6], portal)
    frame = read(ids, portal, via="list")
    assert_frame_equal(frame, whole.loc[ids])
    assert posts(portal) == 1


def test_read_activities__many_by_list(make_portal: MakePortal) -> None:
    """5 000 activities take two requests by list, and one more for the comparison."""
    portal = make_portal(activities=5000, deleted=(), refused=())
    frame = read(range(1, 5001), portal, via="list", columns=["SUBJECT"])
    assert posts(portal) == 3
    assert frame.index.tolist() == list(range(1, 5001))


def test_read_activities__tells_of_the_list(
    make_portal: MakePortal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who reads many ids by get is told that the list would take fewer requests."""
    portal = make_portal()
    portal.server.faults.append(Fault("OVERLOAD_LIMIT"))
    with pytest.raises(PortalBlockedError):
        read(range(1, 5001), portal, progress=True)
    assert 'via="list" would take 2 requests in place of 100' in capsys.readouterr().err


def test_read_activities__list_fills_the_cache_of_get(make_portal: MakePortal) -> None:
    """What came by list is what get would have given, extra fields too."""
    portal = make_portal(activities=500)
    by_list = b24.read_activities(range(1, 501), portal, via="list", missing="ignore")
    sent = posts(portal)
    cached = b24.read_activities(range(1, 501), portal, missing="ignore")
    assert posts(portal) == sent
    by_get = b24.read_activities(range(1, 501), portal, missing="ignore", cache=False)
    assert_frame_equal(by_list, by_get)
    assert_frame_equal(cached, by_get)
    assert "FILES" in by_get.columns


# --- missing ids -------------------------------------------------------------------------------


def test_missing__warn(make_portal: MakePortal) -> None:
    """One missing id among 150 is named in one warning, which points here, and in attrs."""
    portal = make_portal(activities=150, deleted=[123], refused=())
    with pytest.warns(MissingActivitiesWarning, match=r"1 of 150 .* 123 \(not found") as caught:
        frame = b24.read_activities(range(1, 151), portal)
    assert [Path(w.filename).name for w in caught] == ["test_activities.py"]
    assert len(frame) == 149
    assert frame.attrs["b24"]["missing"] == [123]
    assert 123 not in frame.index


def test_missing__reasons(portal: PracticePortal) -> None:
    """An activity that is there but refused is told apart from one that is not there."""
    frame = b24.read_activities([9, 7, 5], portal, missing="ignore")
    assert frame.attrs["b24"]["missing"] == [9, 7]
    reasons = {i: why for why, ids in frame.attrs["b24"]["missing_reasons"].items() for i in ids}
    assert reasons[7].startswith("not found, or not visible")
    assert "crm.activity.configurable.get" in reasons[9]


def test_missing__raise(portal: PracticePortal) -> None:
    """The error names the ids and carries the rows that were found, which are cached."""
    with pytest.raises(MissingActivitiesError, match="7") as caught:
        b24.read_activities([5, 6, 7, 8], portal, missing="raise")
    assert caught.value.ids == [7]
    assert caught.value.frame.index.tolist() == [5, 6, 8]
    b24.read_activities([5, 6, 8], portal)
    assert posts(portal) == 1


def test_missing__ignore(portal: PracticePortal) -> None:
    """Nothing is said, but for attrs."""
    frame = b24.read_activities([5, 7], portal, missing="ignore")
    assert frame.index.tolist() == [5]
    assert frame.attrs["b24"]["missing"] == [7]


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_missing__keep(portal: PracticePortal, backend: Any) -> None:
    """A missing id keeps its row, of NA, at its place; the dtypes stay."""
    if backend == "pyarrow":
        pytest.importorskip("pyarrow")
    frame = read([5, 7, 6], portal, missing="keep", dtype_backend=backend)
    assert frame.index.tolist() == [5, 7, 6]
    assert frame.loc[7].isna().all()
    assert frame.loc[[5, 6], "SUBJECT"].notna().all()
    assert list(frame.dtypes) == list(read([], portal, dtype_backend=backend).dtypes)


def test_missing__believed_briefly(portal: PracticePortal) -> None:
    """A missing id is not asked for again and again, unless the caller wants to know."""
    read([5, 7, 9], portal, missing="ignore")
    frame = read([5, 7, 9], portal, missing="ignore")
    assert posts(portal) == 1
    assert frame.attrs["b24"]["missing"] == [7, 9]
    portal.server.restore(7)
    assert read([7], portal, max_age=0).index.tolist() == [7]


# --- the cache ---------------------------------------------------------------------------------


def test_cache__per_activity(portal: PracticePortal) -> None:
    """Any later subset or superset asks only for what is not there."""
    read(range(10, 60), portal)
    read([59, 12, 11], portal)
    read(range(50, 70), portal)
    assert sorted(asked(portal)) == list(range(10, 70))


def test_cache__off(portal: PracticePortal) -> None:
    """Without a cache every read asks."""
    read([1, 2], portal, cache=False)
    read([1, 2], portal, cache=False)
    assert asked(portal) == [1, 2, 1, 2]


def test_cache__place(portal: PracticePortal, tmp_path: Path) -> None:
    """A cache may be at a path, or be given."""
    read(1, portal, cache=tmp_path / "a")
    read(1, portal, cache=str(tmp_path / "a" / "activities.sqlite"))
    cache = b24.ActivityCache(tmp_path / "a")
    read(1, portal, cache=cache)
    assert posts(portal) == 1
    assert cache.info()["entries"] == 1
    cache.close()


@pytest.mark.parametrize("name", ["a.db", "a.sqlite"])
def test_cache__folder_named_like_a_file(portal: PracticePortal, tmp_path: Path, name: str) -> None:
    """A folder is one whatever its name: the file is made in it."""
    (tmp_path / name).mkdir()
    read(1, portal, cache=tmp_path / name)
    assert (tmp_path / name / "activities.sqlite").is_file()


def test_cache__of_practice_portals(make_portal: MakePortal, tmp_path: Path) -> None:
    """Two practice portals never see each other's entries, nor does the user's cache."""
    one, other = make_portal(seed=1), make_portal(seed=2)
    assert not read([1, 2, 3], one).equals(read([1, 2, 3], other))
    assert (posts(one), posts(other)) == (1, 1)
    assert not (tmp_path / "default-cache").exists()


@pytest.mark.parametrize(
    ("max_age", "requests"), [("1h", 1), ("2 d", 1), ("1w", 1), (None, 1), (0, 2), ("1ms", 2)]
)
def test_max_age__decides(portal: PracticePortal, max_age: Any, requests: int) -> None:
    """Only entries that are young enough are taken."""
    old = read(1, portal)
    portal.server.touch(1, SUBJECT="changed")
    subprocess.run([sys.executable, "-c", ""], check=True)  # takes longer than a millisecond
    new = read(1, portal, max_age=max_age)
    assert posts(portal) == requests
    assert (new.loc[1, "SUBJECT"] == "changed") is (requests == 2)
    assert (new.loc[1, "SUBJECT"] == old.loc[1, "SUBJECT"]) is (requests == 1)


def test_cache_age__oldest_of_many(portal: PracticePortal, tmp_path: Path) -> None:
    """The age told is that of the oldest record used, wherever among many ids it is."""
    with closing(b24.ActivityCache(tmp_path)) as cache:
        now = time.time()
        for i, age in ((1, 60), (2_600, 1_800), (5_100, 600)):
            cache.write(portal, {i: b"{}"}, {}, now=now - age)
        frame = read(range(1, 5_101), portal, cache=cache, only_if_cached=True, missing="ignore")
    facts = frame.attrs["b24"]
    assert facts["from_cache"] == 3
    assert 1_800 <= facts["cache_age"] < 3_600


def test_only_if_cached__asks_nothing(portal: PracticePortal) -> None:
    """Offline, what is not cached is missing, with that reason."""
    read([1, 2], portal)
    frame = read([1, 2, 3], portal, only_if_cached=True, missing="ignore")
    assert frame.index.tolist() == [1, 2]
    assert frame.attrs["b24"]["missing_reasons"] == {"not in the cache": [3]}
    old = read([1, 2], portal, only_if_cached=True, missing="ignore", max_age=0)
    reasons = {"in the cache, but older than max_age": [1, 2]}
    assert old.attrs["b24"]["missing_reasons"] == reasons
    assert posts(portal) == 1


def test_stale_if_error__takes_older_entries(portal: PracticePortal) -> None:
    """With the portal down, entries of any age are taken, with a warning that names them."""
    read([1, 2], portal)
    portal.server.stop()
    with pytest.raises(PortalUnavailableError):
        read([1, 2], portal, max_age=0)
    with pytest.warns(StaleDataWarning, match="for 2 of the activities: 1, 2"):
        frame = read([1, 2], portal, max_age=0, stale_if_error=True)
    assert frame.index.tolist() == frame.attrs["b24"]["stale"] == [1, 2]
    with pytest.raises(PortalUnavailableError):
        read([1, 2, 3], portal, max_age=0, stale_if_error=True)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("NO_AUTH_FOUND", AuthenticationError), ("OVERLOAD_LIMIT", PortalBlockedError)],
)
def test_stale_if_error__final_error(
    portal: PracticePortal, code: str, kind: type[PortalError]
) -> None:
    """Older entries hide no error that does not pass by itself."""
    read([1, 2], portal)
    portal.server.faults.append(Fault(code))
    with pytest.raises(kind):
        read([1, 2], portal, max_age=0, stale_if_error=True)


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("html", status=status) for status in (200, 403, 404, 502)),
        Fault("redirect", location="http://127.0.0.1:9/login"),
    ],
    ids=["200", "403", "404", "502", "redirect"],
)
@pytest.mark.parametrize("via", ["get", "list"])
def test_stale_if_error__page_on_the_way(fault: Fault, via: Any, portal: PracticePortal) -> None:
    """A page that is not the portal's, such as a network's login, means that it is out of reach."""
    read([1, 2], portal)
    portal.server.faults.append(fault)
    with pytest.warns(StaleDataWarning, match=r"out of reach \(.*WEB_PAGE|HTTP 502"):
        frame = read([1, 2], portal, max_age=0, stale_if_error=True, via=via)
    assert frame.attrs["b24"]["stale"] == [1, 2]
    with pytest.raises(PortalError):
        read([1, 2, 3], portal, max_age=0, stale_if_error=True, via=via)


def test_stale_if_error__only_what_was_not_fetched(portal: PracticePortal) -> None:
    """What the portal gave before it was out of reach is not stale, and counted once."""
    ids = range(10, 70)
    read(ids, portal)
    portal.server.touch(10, SUBJECT="changed")
    portal.server.faults.append(Fault("html", ids=range(60, 70)))
    one_by_one = b24.Portal(portal.url, limits="self-hosted", concurrency=1, clock=WaitlessClock())
    with pytest.warns(StaleDataWarning, match="for 10 of the activities: 60, 61, "):
        frame = read(ids, one_by_one, cache=portal.folder, max_age=0, stale_if_error=True)
    facts = frame.attrs["b24"]
    assert (facts["fetched"], facts["from_cache"]) == (50, 10)
    assert facts["stale"] == list(range(60, 70))
    assert frame.loc[10, "SUBJECT"] == "changed"


def test_stale_if_error__known_missing(portal: PracticePortal, tmp_path: Path) -> None:
    """An id that was missing long ago does not keep the older entries of the others away."""
    cache = b24.ActivityCache(tmp_path / "c")
    read([1, 7], portal, cache=cache, missing="ignore")
    make_older(cache, seconds=7200)
    portal.server.stop()
    with pytest.warns(StaleDataWarning, match="stand in for 1 of the activities: 1$"):
        frame = read([1, 7], portal, cache=cache, missing="ignore", stale_if_error=True)
    cache.close()
    assert frame.index.tolist() == [1]
    assert frame.attrs["b24"]["missing"] == [7]
    assert frame.attrs["b24"]["cache_age"] >= 7200


@pytest.mark.parametrize("place", ["file/cache", "x" * 300, "~nobody-of-this-name/cache"])
def test_cache__unusable(portal: PracticePortal, tmp_path: Path, place: str) -> None:
    """A cache that cannot be used costs a warning, not the read."""
    (tmp_path / "file").write_text("in the way of the folder")
    path = place if place.startswith("~") else tmp_path / place
    with pytest.warns(CacheWarning, match="goes on without it") as caught:
        frame = read([1, 2], portal, cache=path)
    assert [Path(w.filename).name for w in caught] == ["test_activities.py"]
    assert frame.index.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("code", "description"),
    [("ERROR_DATABASE", "gone"), ("", "mysql server has gone away"), ("NEW_CODE", "Not found")],
)
def test_errors__are_not_missing(portal: PracticePortal, code: str, description: str) -> None:
    """An error that is not about the activity is never taken for a missing one."""
    error = error_from_answer(
        {"error": code, "error_description": description}, method="crm.activity.get"
    )
    assert type(error) is PortalError


def test_errors__name_the_activity(portal: PracticePortal) -> None:
    """An error that may be that of all others ends the read, and names its activity."""
    portal.server.faults.append(Fault("insufficient_scope", ids=[12]))
    with pytest.raises(PortalError, match="activity 12"):
        read(range(10, 60), portal)
    portal.server.faults.clear()
    read(range(10, 60), portal)
    assert asked(portal)[50:] == [12]


def test_records__without_id(portal: PracticePortal) -> None:
    """A record that does not say its id is the one that was asked for; another's is not taken."""
    portal.server.touch(12, ID=None)
    portal.server.faults.append(Fault("other-record", ids=[13], times=2))
    frame = read([12, 13], portal)
    assert frame.index.tolist() == [12, 13]
    assert frame.loc[13, "SUBJECT"] == portal.server.record(13)["SUBJECT"]  # type: ignore[index]


def test_records__impossible_id(portal: PracticePortal) -> None:
    """A record whose id is a number that JSON can write, but no integer, is another's."""
    portal.server.touch(12, ID=inf)
    with pytest.warns(MissingActivitiesWarning, match="12 .the portal answers with"):
        assert read([12, 13], portal).index.tolist() == [13]


def test_interrupted__goes_on(make_portal: MakePortal, tmp_path: Path) -> None:
    """After a kill half way, only what had not been received is asked for."""
    portal = make_portal(activities=2000, deleted=(), refused=(), latency=0.02)
    script = (
        "import sys, b24frames as b24\n"
        "portal = b24.Portal(sys.argv[1], limits='self-hosted')\n"
        "b24.read_activities(range(1, 2001), portal, cache=sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", script, portal.url, str(tmp_path / "c")])
    while posts(portal) < 30:
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    cache = b24.ActivityCache(tmp_path / "c")
    kept = cache.read(portal, range(1, 2001), max_age=None).records
    before = len(asked(portal))
    frame = read(range(1, 2001), portal, cache=cache)
    cache.close()
    assert len(frame) == 2000
    assert 0 < len(kept) < 2000
    assert set(asked(portal)[before:]) == set(range(1, 2001)) - set(kept)
    # At most the requests under way at the kill had been sent without their answer being kept.
    assert before - len(kept) <= 16 * 50


# --- chunks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 7, 100, 1000, np.int64(50)])
def test_chunksize__concat(portal: PracticePortal, chunksize: int) -> None:
    """The chunks are the whole frame, in pieces of that many rows, columns and dtypes alike."""
    ids = list(range(1, 60))
    whole = b24.read_activities(ids, portal, missing="ignore")
    chunks = list(b24.read_activities(ids, portal, missing="ignore", chunksize=chunksize))
    assert [len(c) for c in chunks[:-1]] == [chunksize] * (len(chunks) - 1)
    assert all(list(c.dtypes) == list(whole.dtypes) for c in chunks)
    assert all(list(c.columns) == list(whole.columns) for c in chunks)
    assert_frame_equal(pd.concat(chunks), whole)
    assert posts(portal) == 2


def test_chunksize__range_index(portal: PracticePortal) -> None:
    """Without a column as index the rows are numbered on, as in pandas' own readers."""
    ids = range(10, 20)
    chunks = b24.read_activities(ids, portal, index_col=None, chunksize=4)
    whole = b24.read_activities(ids, portal, index_col=None)
    assert_frame_equal(pd.concat(chunks), whole)


def test_attrs__copied_and_stored(portal: PracticePortal) -> None:
    """A frame made of another has attrs of its own; pickled ones need no class of b24frames."""
    frame = read([1, 7], portal, missing="ignore")
    part = frame.head(1)
    part.attrs["b24"]["missing"].append(0)
    part.attrs["b24"]["missing_reasons"].clear()
    assert frame.attrs["b24"]["missing"] == [7]
    assert [*frame.attrs["b24"]["missing_reasons"].values()] == [[7]]
    assert json.loads(json.dumps(frame.attrs)) == frame.attrs
    assert b"b24frames" not in pickle.dumps(frame.attrs)
    assert pickle.loads(pickle.dumps(frame)).attrs == frame.attrs


def test_chunksize__attrs_of_their_own(portal: PracticePortal) -> None:
    """What is done to the attrs of one chunk does not change those of the next."""
    one, two = b24.read_activities([5, 6, 7], portal, missing="ignore", chunksize=1)
    one.attrs["b24"]["missing"].append(0)
    assert two.attrs["b24"]["missing"] == [7]


def test_index_col__absent_from_the_data(portal: PracticePortal) -> None:
    """A field that only some records have can be the index of those that lack it."""
    frame = b24.read_activities([5, 6], portal, index_col="UF_NOTHING")
    assert frame.index.name == "UF_NOTHING"
    assert frame.index.isna().all()
    assert frame["ID"].tolist() == [5, 6]


def test_chunksize__nothing(portal: PracticePortal) -> None:
    """No rows give one empty frame, so that concat works."""
    (chunk,) = b24.read_activities([7], portal, missing="ignore", chunksize=10)
    assert chunk.shape == (0, 38)


def test_chunksize__missing(portal: PracticePortal) -> None:
    """A missing id is told of once, before the first chunk."""
    chunks = b24.read_activities([5, 7, 6], portal, chunksize=1)
    with pytest.warns(MissingActivitiesWarning, match="7"):
        first = next(chunks)
    assert first.index.tolist() == [5]
    assert [c.index.tolist() for c in chunks] == [[6]]
    with pytest.raises(MissingActivitiesError) as caught:
        next(b24.read_activities([5, 7, 6], portal, missing="raise", chunksize=1))
    assert caught.value.frame.index.tolist() == [5, 6]


# --- what is said about the read ---------------------------------------------------------------


def test_attrs__small_and_plain(portal: PracticePortal) -> None:
    """`attrs` is JSON, holds what the documentation names, and no secret."""
    frame = b24.read_activities([5, 7], portal, missing="ignore")
    facts = frame.attrs["b24"]
    assert len(json.dumps(facts)) < 1000
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) >= {"portal", "user_id", "requested", "from_cache", "fetched"}
    assert set(facts) >= {"http_requests", "missing", "stale", "read_at"}
    assert facts["portal"] == portal.address
    assert facts["user_id"] == 1
    assert pd.Timestamp(facts["read_at"]).tz_convert("UTC") <= pd.Timestamp.now("UTC")
    assert "practice" not in json.dumps(facts)


class Bar:
    """A progress bar that notes what it is told."""

    def __init__(self, most: int = 1_000) -> None:
        self.done = 0
        self._most = most

    def update(self, n: int) -> None:
        """Take note of ids; too many are refused."""
        self.done += n
        if self.done > self._most:
            raise RuntimeError("enough")

    def set_postfix_str(self, text: str) -> None:
        """Take note of a message."""


def test_progress__own_bar(portal: PracticePortal) -> None:
    """A bar of the caller's own is told of every id, missing ones too."""
    bar = Bar()
    read(range(1, 111), portal, progress=bar, missing="ignore")
    assert bar.done == 110


def test_progress__ends_the_read(portal: PracticePortal) -> None:
    """What a bar raises ends the read; what had been received is in the cache."""
    with pytest.raises(RuntimeError, match="enough"):
        read(range(20, 220), portal, progress=Bar(most=49))
    kept = read(range(20, 220), portal, only_if_cached=True, missing="ignore")
    assert len(kept) >= 50


def test_progress__bar(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar is shown when asked for, and never where nobody looks."""
    read(range(10, 110), portal, progress=True)
    assert "100/100" in capsys.readouterr().err
    read(range(110, 120), portal)
    read(range(120, 130), portal, progress=False)
    assert capsys.readouterr() == ("", "")


# --- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "named"), REFUSED_IDS, ids=[named[:40] for _, named in REFUSED_IDS]
)
def test_refused__ids(portal: PracticePortal, ids: Any, named: str) -> None:
    """A bad id is named before any request."""
    with pytest.raises((TypeError, ValueError), match=named):
        b24.read_activities(ids, portal)
    assert posts(portal) == 0


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"columns": ["SUBJET"]}, ValueError, "'SUBJET' .*did you mean 'SUBJECT'"),
        ({"columns": ["subject"]}, ValueError, "'subject' .*did you mean 'SUBJECT'"),
        ({"columns": [5]}, ValueError, "5"),
        ({"columns": "SUBJECT"}, TypeError, "'SUBJECT'"),
        ({"columns": 5}, TypeError, "5"),
        ({"columns": ["ID", "ID"]}, ValueError, "ID more than once"),
        ({"index_col": "id"}, ValueError, "'id' .*did you mean 'ID'"),
        ({"index_col": 0}, ValueError, "0"),
        ({"dtype_backend": "numpy"}, ValueError, "'numpy' .*'numpy_nullable', 'pyarrow'"),
        ({"tz": "Mars/Olympus"}, ValueError, "'Mars/Olympus'"),
        ({"tz": None}, ValueError, "None"),
        ({"tz": 3}, ValueError, "3"),
        ({"tz": timezone(timedelta(seconds=3_661))}, ValueError, "of whole minutes"),
        ({"missing": "drop"}, ValueError, "'drop' .*'raise', 'warn', 'ignore', 'keep'"),
        ({"missing": None}, ValueError, "None"),
        ({"on_bad_value": "ignore"}, ValueError, "'ignore'"),
        ({"cache": None}, TypeError, "NoneType"),
        ({"cache": 5}, TypeError, "int"),
        ({"cache": ""}, ValueError, "''"),
        ({"cache": "a\0b"}, ValueError, "cache="),
        ({"max_age": 3600}, ValueError, "3600"),
        ({"max_age": "3600"}, ValueError, "3600"),
        ({"max_age": np.int64(3600)}, ValueError, "3600"),
        ({"max_age": "soon"}, ValueError, "'soon'"),
        ({"max_age": "-1h"}, ValueError, "'-1h'"),
        ({"max_age": True}, ValueError, "True"),
        ({"only_if_cached": 1}, ValueError, "only_if_cached=1"),
        ({"only_if_cached": True, "cache": False}, ValueError, "cache=False"),
        ({"stale_if_error": "yes"}, ValueError, "'yes'"),
        ({"stale_if_error": True, "cache": False}, ValueError, "cache=False"),
        ({"via": "batch"}, ValueError, "'batch'"),
        ({"chunksize": 0}, ValueError, "0"),
        ({"chunksize": -1}, ValueError, "-1"),
        ({"chunksize": 1.5}, ValueError, "1.5"),
        ({"chunksize": True}, ValueError, "True"),
        ({"chunksize": "5"}, ValueError, "'5'"),
        ({"progress": "yes"}, ValueError, "'yes'"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused__options(
    portal: PracticePortal, options: dict[str, Any], error: type[Exception], named: str
) -> None:
    """A bad argument is named, with what is accepted, before any request."""
    with pytest.raises(error, match=named):
        b24.read_activities([1], portal, **options)
    assert posts(portal) == 0


@pytest.mark.parametrize(
    ("portal", "error", "named"),
    [
        (None, ValueError, "B24_WEBHOOK_URL"),
        (5, TypeError, "int"),
        ("", ValueError, "webhook"),
        ("https://acme.bitrix24.com/", ValueError, "acme"),
        ("http://acme.bitrix24.com/rest/1/s3cr3t/", ValueError, "https"),
    ],
)
def test_refused__portal(portal: Any, error: type[Exception], named: str) -> None:
    """What is no portal is refused, and the message repeats no secret."""
    with pytest.raises(error, match=named) as caught:
        b24.read_activities([1], portal)
    assert "s3cr3t" not in str(caught.value)


def test_final_error__keeps_what_was_read(make_portal: MakePortal) -> None:
    """An error that ends the read leaves what had been received in the cache."""
    portal = make_portal(activities=500, deleted=(), refused=(), secret="first")
    read(range(1, 101), portal)
    portal.server.stop()
    with pytest.raises(B24Error):
        read(range(1, 201), portal)
    assert len(read(range(1, 101), portal)) == 100


def test_dtype_backend__without_pyarrow(
    portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow the error says how to install it."""
    monkeypatch.setattr("b24frames.arguments.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"b24frames\[arrow\]"):
        b24.read_activities([1], portal, dtype_backend="pyarrow")
    assert posts(portal) == 0


def test_tz__instants_stay(portal: PracticePortal) -> None:
    """The zone changes how instants are shown, not the instants."""
    utc = b24.read_activities(range(10, 60), portal)
    for tz in ("Europe/Berlin", "Asia/Kolkata"):
        local = b24.read_activities(range(10, 60), portal, tz=tz)
        assert str(local["CREATED"].dtype) == f"datetime64[us, {tz}]"
        assert (local["CREATED"] == utc["CREATED"]).all()


def test_read_activities__no_warning(make_portal: MakePortal) -> None:
    """All the quirks of the generated data are understood: no value is bad."""
    portal = make_portal(activities=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        b24.read_activities(range(1, 2001), portal, missing="ignore", on_bad_value="raise")

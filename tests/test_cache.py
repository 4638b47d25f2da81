"""The cache: per activity, portal and user; made late, private, and honest about age."""

from __future__ import annotations

import pickle
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from b24frames.arguments import parse_age
from b24frames.cache import ActivityCache
from b24frames.errors import CacheError
from tests.helpers.caches import ACME, ACME_2, LOOPBACK, User, make_older

NOW = 1_800_000_000.0


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ActivityCache]:
    """Make a cache in a folder that does not exist yet."""
    cache = ActivityCache(tmp_path / "new" / "folder")
    yield cache
    cache.close()


def test_read_write__roundtrip(cache: ActivityCache) -> None:
    """Records come back as they were, reasons too, and nothing else."""
    cache.write(ACME, {1: b'{"ID":"1"}', 2: b"{}"}, {3: "not found ü"})
    hits = cache.read(ACME, [1, 2, 3, 4], max_age=60)
    assert hits.records == {1: b'{"ID":"1"}', 2: b"{}"}
    assert hits.missing == {3: "not found ü"}
    assert hits.too_old == []


def test_read__many(cache: ActivityCache) -> None:
    """Any number of ids is read, in any order, by whoever opens the file next."""
    cache.write(ACME, {i: b"%d" % i for i in range(1, 3001)}, {})
    cache.close()
    again = ActivityCache(cache.path)
    hits = again.read(ACME, range(5000, 0, -1), max_age=None)
    again.close()
    assert hits.records == {i: b"%d" % i for i in range(1, 3001)}


def test_read__own_entries_only(cache: ActivityCache) -> None:
    """Two users of a portal, and two portals, never see each other's entries."""
    cache.write(ACME, {1: b"acme 1"}, {})
    cache.write(ACME_2, {1: b"acme 2"}, {})
    assert cache.read(ACME, [1], None).records == {1: b"acme 1"}
    assert cache.read(ACME_2, [1], None).records == {1: b"acme 2"}
    assert cache.read(LOOPBACK, [1], None).records == {}


@pytest.mark.parametrize(
    ("age", "max_age", "fresh"),
    [(10, 60, True), (61, 60, False), (10**9, None, True), (-10, 60, False), (10, 5, False)]
    + [(59, 60, True), (60, 60, False), (0, 60, True), (0, 0, False), (0, None, True)],
)
def test_read__age(cache: ActivityCache, age: float, max_age: float | None, fresh: bool) -> None:
    """An entry that is as old as asked for, or of the future, is no hit and named as too old."""
    cache.write(ACME, {1: b"record"}, {}, now=NOW)
    hits = cache.read(ACME, [1], max_age, now=NOW + age)
    assert hits.records == ({1: b"record"} if fresh else {})
    assert hits.too_old == ([] if fresh else [1])


def test_read__while_another_writes(cache: ActivityCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process writes between the beginning of a read and its end is not too old."""
    store = cache._store
    read = store.read

    def write_first(keys: Any, now: float) -> Any:
        time.sleep(0.002)  # so that the entry's millisecond is a later one
        cache.write(ACME, {1: b"new"}, {})
        return read(keys, now)

    monkeypatch.setattr(store, "read", write_first)
    assert cache.read(ACME, [1], max_age=60).records == {1: b"new"}


@pytest.mark.parametrize(
    ("age", "max_age", "believed"),
    [(10, 3600, True), (601, 3600, False), (601, None, False), (10, None, True), (10, 5, False)]
    + [(599, 3600, True), (600, 3600, False), (0, 0, False)],
)
def test_read__missing_is_believed_briefly(
    cache: ActivityCache, age: float, max_age: float | None, believed: bool
) -> None:
    """That an id has no record is believed for ten minutes, or less where the caller says so."""
    cache.write(ACME, {}, {1: "not found"}, now=NOW)
    hits = cache.read(ACME, [1], max_age, now=NOW + age)
    assert hits.missing == ({1: "not found"} if believed else {})


def test_write__replaces(cache: ActivityCache) -> None:
    """What was read last is what is kept: a record that has gone is gone."""
    cache.write(ACME, {1: b"old", 2: b"old"}, {})
    cache.write(ACME, {1: b"new"}, {2: "not found"})
    hits = cache.read(ACME, [1, 2], max_age=None)
    assert hits.records == {1: b"new"}
    assert hits.missing == {2: "not found"}


def test_write__all_or_nothing(cache: ActivityCache) -> None:
    """A write that fails half way keeps nothing, says so, and does not block the next."""
    cache.write(ACME, {1: b"fine"}, {})
    longest = sqlite3.SQLITE_LIMIT_LENGTH
    cache._store._file.write(lambda connection: connection.setlimit(longest, 1000))  # type: ignore[attr-defined]
    with pytest.raises(CacheError, match="too big"):
        cache.write(ACME, {1: b"changed", 2: bytes(2000)}, {})
    assert cache.read(ACME, [1, 2], None).records == {1: b"fine"}
    cache.write(ACME, {1: b"changed"}, {})
    assert cache.read(ACME, [1], None).records == {1: b"changed"}


def test_cache__made_by_the_first_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a cache makes neither folder nor file."""
    monkeypatch.setenv("B24FRAMES_CACHE", str(tmp_path / "cache"))
    cache = ActivityCache()
    assert cache.path == tmp_path / "cache" / "activities.sqlite"
    assert cache.read(ACME, [1], None).records == {}
    assert cache.info()["entries"] == cache.clear() == cache.clear([1]) == cache.prune("1d") == 0
    assert not (tmp_path / "cache").exists()
    assert repr(cache) == f"ActivityCache({str(cache.path)!r})"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file modes")
def test_cache__private(cache: ActivityCache) -> None:
    """Folder and files are for the user alone, the side files of SQLite too."""
    cache.write(ACME, {1: b"record"}, {})
    assert stat.S_IMODE(cache.path.parent.stat().st_mode) == 0o700
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in cache.path.parent.iterdir()}
    assert len(modes) >= 2
    assert set(modes.values()) == {0o600}


def test_info__counts(cache: ActivityCache) -> None:
    """The overview counts entries by portal and user, and tells size and age."""
    cache.write(ACME, {1: b"x" * 1000, 2: b"y"}, {3: "not found"})
    cache.write(LOOPBACK, {1: b"z"}, {})
    info = cache.info()
    assert info["entries"] == 4
    assert info["portals"] == {"acme.bitrix24.com 1": 3, "127.0.0.1:8080 1": 1}
    assert info["size"] >= 1000
    assert info["path"] == str(cache.path)
    oldest, newest = pd.Timestamp(info["oldest"]), pd.Timestamp(info["newest"])
    assert oldest <= newest <= pd.Timestamp.now("UTC")


def test_clear__some(cache: ActivityCache) -> None:
    """Entries are forgotten by id, by portal and user, by both, or all."""
    for user in (ACME, ACME_2):
        cache.write(user, dict.fromkeys(range(1, 11), b"r"), {11: "not found"})
    assert cache.clear(ids=[1, 11, 999]) == 4
    assert cache.clear(ids=[2], portal=ACME) == 1
    assert set(cache.read(ACME, range(12), None).records) == set(range(3, 11))
    assert cache.clear(portal=ACME) == 8
    assert set(cache.read(ACME_2, range(12), None).records) == set(range(2, 11))
    with pytest.raises(ValueError, match="'abc'"):
        cache.clear(ids=["abc"])
    with pytest.raises(TypeError, match="str"):
        cache.clear(portal="https://acme.bitrix24.com")  # type: ignore[arg-type]
    assert cache.clear(ids="3") == cache.clear(ids=4.0) == 1
    assert cache.clear() == 7
    assert cache.info()["entries"] == 0


def test_prune__by_age(cache: ActivityCache) -> None:
    """Only entries older than asked for are forgotten."""
    cache.write(ACME, {1: b"r"}, {})
    assert cache.prune(older_than="1min") == 0
    make_older(cache, seconds=120)
    cache.write(ACME, {2: b"r"}, {})
    assert cache.prune(older_than="1min") == 1
    assert set(cache.read(ACME, [1, 2], None).records) == {2}
    for bad in (None, "soon", 5, "-1d"):
        with pytest.raises(ValueError, match="older_than"):
            cache.prune(older_than=bad)


def test_cache__threads(cache: ActivityCache) -> None:
    """Several threads write into one cache and lose nothing."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: cache.write(ACME, {i: b"%d" % i}, {}), range(1, 201)))
    assert cache.read(ACME, range(1, 201), None).records == {i: b"%d" % i for i in range(1, 201)}


def test_cache__deleted_while_open(cache: ActivityCache) -> None:
    """When someone deletes the file, the cache is empty, and the next write makes a new one."""
    cache.write(ACME, {1: b"r"}, {})
    for file in cache.path.parent.iterdir():
        file.unlink()
    assert cache.read(ACME, [1], None).records == {}
    cache.write(ACME, {2: b"r"}, {})
    assert set(cache.read(ACME, [1, 2], None).records) == {2}


def test_cache__hostile_names(cache: ActivityCache, tmp_path: Path) -> None:
    """No address reaches another's entries, whatever characters are in it."""
    names = ["a'b", 'a"b', "a;DROP TABLE activities", "a/../b", "a~1~crm.activity.get~5", "a%27b"]
    names += ["a:1", "a_1", "a\\b", "ü", "a*", "a?", ""]
    users = [User(f"https://{name}", 1) for name in names]
    for number, user in enumerate(users):
        cache.write(user, {1: b"%d" % number}, {})
    for number, user in enumerate(users):
        assert cache.read(user, [1], None).records == {1: b"%d" % number}
    assert cache.info()["portals"] == {f"{name} 1": 1 for name in names if name}


def test_cache__pickled(cache: ActivityCache) -> None:
    """A pickled cache is its path and its bound, also while the file is open."""
    cache.write(ACME, {1: b"r"}, {})
    with closing(pickle.loads(pickle.dumps(cache))) as again:
        assert again.path == cache.path
        assert again.read(ACME, [1], None).records == {1: b"r"}
    assert b"r 1" not in pickle.dumps(cache)


def test_cache__html(tmp_path: Path) -> None:
    """The notebook shows a table; what is in it cannot be markup."""
    with closing(ActivityCache(tmp_path / "<b>.sqlite")) as cache:
        cache.write(User("https://<script>", 1), dict.fromkeys(range(1500), b"r"), {})
        html = cache._repr_html_()
    assert "1,500</td>" in html
    assert "&lt;b&gt;.sqlite" in html
    assert "entries of &lt;script&gt; 1" in html
    assert "<b>" not in html
    assert "<script>" not in html


def test_cache__html_of_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    """A repr does not raise."""
    (tmp_path / "file").write_text("")
    html = ActivityCache(tmp_path / "file" / "cache")._repr_html_()
    assert html.startswith("<p>the cache ")
    assert "cannot be used" in html


# --- the bound on the size -----------------------------------------------------------------------

BOUND = 400_000


@pytest.fixture
def bounded(tmp_path: Path) -> Iterator[ActivityCache]:
    """Make a cache that holds about 350 entries of 1 kB."""
    with closing(ActivityCache(tmp_path, max_size=BOUND)) as cache:
        yield cache


def fill(cache: ActivityCache, ids: range, now: float) -> None:
    """Write entries of 1 kB in batches of 50."""
    for start in range(ids.start, ids.stop, 50):
        batch = range(start, min(start + 50, ids.stop))
        cache.write(ACME, {i: b"%d" % i * 250 for i in batch}, {}, now=now)


def test_max_size__evicts_what_was_read_longest_ago(bounded: ActivityCache) -> None:
    """What was written or read of late stays; what was not goes first."""
    hour, now = 3600.0, 1_800_000_000.0
    fill(bounded, range(100, 400), now)
    assert len(bounded.read(ACME, range(100, 120), None, now=now + 2 * hour).records) == 20
    fill(bounded, range(400, 650), now + 3 * hour)
    kept = set(bounded.read(ACME, range(100, 650), None, now=now + 3 * hour).records)
    assert kept >= {*range(100, 120), *range(400, 650)}
    assert not kept >= set(range(120, 400))


def test_max_size__holds(bounded: ActivityCache) -> None:
    """However much is written, the file stays near the bound, and the last batch is in it."""
    for start in range(1000, 5000, 400):
        fill(bounded, range(start, start + 400), 1_800_000_000.0 + start)
        assert bounded.path.stat().st_size < 1.3 * BOUND
    assert len(bounded.read(ACME, range(4950, 5000), None).records) == 0
    latest = bounded.read(ACME, range(4950, 5000), None, now=1_800_010_000.0).records
    assert len(latest) == 50
    bounded.close()
    assert bounded.info()["size"] < 1.3 * BOUND


def test_max_size__not_every_write_evicts(bounded: ActivityCache) -> None:
    """Whoever makes room makes some for the next writes, too: about a tenth."""
    counts = []
    for i in range(1, 801, 10):
        fill(bounded, range(i, i + 10), NOW)
        counts.append(bounded.info()["entries"])
    evictions = sum(after < before + 10 for before, after in pairwise(counts))
    assert 5 <= evictions <= 20


def test_max_size__smaller_than_one_batch(tmp_path: Path) -> None:
    """A bound that nothing fits into keeps nothing, and does no harm."""
    with closing(ActivityCache(tmp_path, max_size=1)) as cache:
        cache.write(ACME, {1: b"r"}, {})
        assert cache.read(ACME, [1], None).records == {}


def test_max_size__none(tmp_path: Path) -> None:
    """Without a bound all is kept."""
    with closing(ActivityCache(tmp_path, max_size=None)) as cache:
        fill(cache, range(1, 1001), 1_800_000_000.0)
        assert cache.info()["entries"] == 1000


@pytest.mark.parametrize("max_size", [0, -1, 1.5, "1GB", True])
def test_max_size__refused(max_size: Any, cache: ActivityCache) -> None:
    """Only a number of bytes is a bound."""
    with pytest.raises(ValueError, match="max_size="):
        ActivityCache(max_size=max_size)
    with pytest.raises(ValueError, match="max_size="):
        cache.prune(max_size=max_size)


def test_read__notes_once_an_hour(bounded: ActivityCache) -> None:
    """Reading writes nothing, but for the first time in an hour."""
    now = 1_800_000_000.0
    bounded.write(ACME, {1: b"r"}, {}, now=now)
    with closing(sqlite3.connect(bounded.path)) as other:

        def version() -> int:
            return int(other.execute("PRAGMA data_version").fetchone()[0])

        before = version()
        bounded.read(ACME, [1], None, now=now + 1)
        assert version() == before
        bounded.read(ACME, [1], None, now=now + 3600)
        noted = version()
        assert noted != before
        bounded.read(ACME, [1], None, now=now + 3601)
        assert version() == noted


def test_read__query_by_key(cache: ActivityCache) -> None:
    """Entries are found by the index, so the time does not depend on how many there are."""
    cache.write(ACME, {1: b"r"}, {})
    query = "EXPLAIN QUERY PLAN SELECT key, value, read_hour FROM activities WHERE key IN (?, ?)"
    with closing(sqlite3.connect(cache.path)) as other:
        ((*_, plan),) = other.execute(query, ("a", "b")).fetchall()
    assert plan.startswith("SEARCH activities USING INDEX")


def test_prune__by_size(cache: ActivityCache) -> None:
    """The file shrinks to what was asked for, and tells how many entries went."""
    fill(cache, range(1, 1001), time.time())
    assert cache.info()["size"] > BOUND
    forgotten = cache.prune(max_size=BOUND)
    info = cache.info()
    assert info["size"] <= BOUND
    assert info["entries"] == 1000 - forgotten > 200
    assert cache.prune(max_size=BOUND) == 0


def test_prune__checks_first(cache: ActivityCache) -> None:
    """A bad argument costs no entry, whatever the other one says."""
    cache.write(ACME, {1: b"old"}, {}, now=1_000)
    with pytest.raises(ValueError, match="max_size"):
        cache.prune("30d", max_size=-1)
    assert cache.info()["entries"] == 1


def test_clear__leaves_no_bytes(cache: ActivityCache) -> None:
    """What was cleared is in no file any more."""
    cache.write(ACME, dict.fromkeys(range(100), b"personal data" * 100), {})
    assert cache.clear() == 100
    assert all(b"personal" not in file.read_bytes() for file in cache.path.parent.iterdir())


@pytest.mark.parametrize(
    ("age", "seconds"),
    [("1h", 3600), ("90 s", 90), (0, 0), (0.0, 0), (None, None), (pd.Timedelta("2min"), 120)]
    + [(pd.Timedelta(0), 0), (pd.Timedelta("1h").to_pytimedelta(), 3600)]
    + [("1d12h", 129_600), (np.timedelta64(1, "h"), 3600)],
)
def test_parse_age__accepted(age: Any, seconds: float | None) -> None:
    """Whatever pandas takes for a time span is a time span."""
    assert parse_age(age, "max_age") == seconds


@pytest.mark.parametrize(
    "age", [3600, 1.5, -1, "-1h", "soon", "", pd.NaT, "NaT", [], True, False, pd.NA]
)
def test_parse_age__refused(age: Any) -> None:
    """A number without a unit is refused, and so is what is not a time span."""
    with pytest.raises(ValueError, match="max_age="):
        parse_age(age, "max_age")


def test_cache__empty_path() -> None:
    """An empty path is not the current folder."""
    with pytest.raises(ValueError, match="path='' is not a path"):
        ActivityCache("")

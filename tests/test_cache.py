"""The cache: per activity, portal and user; made late, private, and honest about age."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from b24frames.ages import parse_age
from b24frames.cache import ActivityCache
from b24frames.errors import CacheError
from tests.conftest import make_older


class User(NamedTuple):
    """A portal and a user of it."""

    address: str
    user_id: int


ACME = User("https://acme.bitrix24.com", 1)
ACME_2 = User("https://acme.bitrix24.com", 2)
LOOPBACK = User("http://127.0.0.1:8080", 1)


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
    [(10, 60, True), (61, 60, False), (10**9, None, True), (-10, 60, False), (10, 5, False)],
)
def test_read__age(cache: ActivityCache, age: float, max_age: float | None, fresh: bool) -> None:
    """An entry older than asked for, or of the future, is no hit and is named as too old."""
    cache.write(ACME, {1: b"record"}, {})
    now = _written_at(cache) + age
    hits = cache.read(ACME, [1], max_age, now=now)
    assert hits.records == ({1: b"record"} if fresh else {})
    assert hits.too_old == ([] if fresh else [1])


@pytest.mark.parametrize(
    ("age", "max_age", "believed"),
    [(10, 3600, True), (601, 3600, False), (601, None, False), (10, None, True), (10, 5, False)],
)
def test_read__missing_is_believed_briefly(
    cache: ActivityCache, age: float, max_age: float | None, believed: bool
) -> None:
    """That an id has no record is believed for ten minutes, or less where the caller says so."""
    cache.write(ACME, {}, {1: "not found"})
    hits = cache.read(ACME, [1], max_age, now=_written_at(cache) + age)
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
    with pytest.raises(CacheError, match="cannot be used"):
        cache.write(ACME, {1: b"fine", 2: Unwritable(b"bad")}, {})
    assert cache.read(ACME, [1, 2], None).records == {}
    cache.write(ACME, {1: b"fine"}, {})
    assert cache.read(ACME, [1], None).records == {1: b"fine"}


class Unwritable(bytes):
    """Bytes that become something SQLite cannot store."""

    def __radd__(self, other: object) -> Any:
        return object()


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


def test_cache__no_database(tmp_path: Path) -> None:
    """A file that is no database is left as it is, with an error that names it."""
    file = tmp_path / "notes.sqlite"
    file.write_bytes(b"not a database, but long enough to be looked at" * 50)
    content = file.read_bytes()
    with pytest.raises(CacheError, match=r"notes\.sqlite"):
        ActivityCache(file).read(ACME, [1], None)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("age", "seconds"),
    [("1h", 3600), ("90 s", 90), (0, 0), (0.0, 0), (None, None), (pd.Timedelta("2min"), 120)]
    + [(pd.Timedelta(0), 0), (pd.Timedelta("1h").to_pytimedelta(), 3600)],
)
def test_parse_age__accepted(age: Any, seconds: float | None) -> None:
    """Whatever pandas takes for a time span is a time span."""
    assert parse_age(age, "max_age") == seconds


@pytest.mark.parametrize("age", [3600, 1.5, -1, "-1h", "soon", "", pd.NaT, "NaT", [], True, False])
def test_parse_age__refused(age: Any) -> None:
    """A number without a unit is refused, and so is what is no time span."""
    with pytest.raises(ValueError, match="max_age="):
        parse_age(age, "max_age")


def _written_at(cache: ActivityCache) -> float:
    """Return when the entries were written, as Unix time."""
    return pd.Timestamp(cache.info()["newest"]).timestamp()

"""Whatever happens to the cache's file, the frame is right, and a damaged file is kept."""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings
from requests_cache.backends.sqlite import SQLiteDict

import b24frames as b24
from b24frames.cache import entries, sqlite
from b24frames.errors import CacheError, CacheWarning
from b24frames.practice import PracticePortal
from tests.helpers.caches import ACME
from tests.helpers.frames import assert_frame_equal
from tests.helpers.practice import posts

MakePortal = Callable[..., PracticePortal]
IDS = range(1, 61)
KEY = b"crm.activity.get~"


@pytest.fixture
def portal(make_portal: MakePortal) -> PracticePortal:
    """Make a practice portal with a few activities."""
    return make_portal(activities=60, deleted=[7], refused=[9])


@pytest.fixture
def file(portal: PracticePortal, tmp_path: Path) -> Path:
    """Make a cache that has all of them."""
    file = tmp_path / "cache.sqlite"
    read(portal, file)
    return file


def read(portal: PracticePortal, cache: Any) -> pd.DataFrame:
    """Read all activities, however old their entries are."""
    return b24.read_activities(IDS, portal, cache=cache, max_age=None, missing="ignore")


def asides(file: Path) -> list[Path]:
    """Return the databases that were set aside."""
    names = sorted(file.parent.glob(f"{file.name}{sqlite.ASIDE}*"))
    return [name for name in names if not name.name.endswith(("-wal", "-shm"))]


# --- damages -----------------------------------------------------------------------------------


def in_bytes(change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    """Damage the bytes of a file."""

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        changed = change(content)
        file.write_bytes(changed if isinstance(changed, bytes) else content)

    return damage


def in_sql(*statements: str) -> Callable[[Path], None]:
    """Damage a file by statements that SQLite accepts."""

    def damage(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return damage


def flip(content: bytearray, place: int) -> None:
    """Change one byte."""
    content[place] ^= 1


def in_value(offset: int) -> Callable[[Path], None]:
    """Flip a byte of a value, counted from its beginning."""
    return in_bytes(lambda c: flip(c, c.index(KEY + b"17R ") + len(KEY) + 2 + offset))


def in_index(change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    """Damage the page of the index of keys."""

    def damage(file: Path) -> None:
        query = "SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_autoindex%'"
        with closing(sqlite3.connect(file)) as connection:
            ((page,),) = connection.execute(query).fetchall()
        content = bytearray(file.read_bytes())
        index = content[(page - 1) * 4096 : page * 4096]
        assert KEY + b"17" in index
        change(index)
        content[(page - 1) * 4096 : page * 4096] = index
        file.write_bytes(content)

    return damage


def replace(old: bytes, new: bytes) -> Callable[[bytearray], bytes]:
    """Replace the first occurrence of some bytes."""

    def change(content: bytearray) -> bytes:
        assert old in content
        content[:] = content.replace(old, new, 1)
        return bytes(content)

    return change


def table_of_requests_cache(file: Path) -> None:
    """Replace a file by one of requests-cache itself."""
    file.unlink()
    table = SQLiteDict(file, table_name="activities", serializer=None)
    table["key"] = b"value"
    table.close()


PICKLE = pickle.dumps({"ID": "17"}).hex()
DAMAGES: dict[str, Callable[[Path], None]] = {
    "text": in_bytes(lambda c: b"not a database, but long enough to be looked at" * 50),
    "zeros": in_bytes(lambda c: bytes(len(c))),
    "noise": in_bytes(lambda c: random.Random(0).randbytes(len(c))),
    "magic": in_bytes(lambda c: flip(c, 3)),
    "page size": in_bytes(lambda c: flip(c, 16)),
    "schema": in_bytes(replace(b"CREATE TABLE activities", b"CREATE TABLE activitie\xff")),
    "cut to 50 bytes": in_bytes(lambda c: bytes(c[:50])),
    "cut to one page": in_bytes(lambda c: bytes(c[:4096])),
    "cut to a half": in_bytes(lambda c: bytes(c[: len(c) // 2])),
    "cut within a page": in_bytes(lambda c: bytes(c[:-5000])),
    "two pages exchanged": in_bytes(
        lambda c: bytes(c[: -2 * 4096] + c[-4096:] + c[-2 * 4096 : -4096])
    ),
    "kind": in_value(0),
    "time": in_value(5),
    "text of a record": in_value(60),
    "key in the index": in_index(replace(KEY + b"17", KEY + b"18")),
    "index with zeros": in_index(lambda c: c.__setitem__(slice(0, 4096), bytes(4096))),
    "index with noise": in_index(
        lambda c: c.__setitem__(slice(0, 4096), random.Random(0).randbytes(4096))
    ),
    "newer layout": in_sql("PRAGMA user_version = 99"),
    "older layout": in_sql("PRAGMA user_version = 0", "PRAGMA application_id = 0"),
    "layout of requests-cache": table_of_requests_cache,
    "no table": in_sql("DROP TABLE activities"),
    "no column": in_sql("ALTER TABLE activities DROP COLUMN value"),
    "values of NULL": in_sql("UPDATE activities SET value = NULL"),
    "values exchanged": in_sql(
        "UPDATE activities SET value = (SELECT value FROM activities WHERE key LIKE '%~17')"
        " WHERE key LIKE '%~18'"
    ),
    "values cut": in_sql("UPDATE activities SET value = substr(value, 1, 200)"),
    "a pickle": in_sql(f"UPDATE activities SET value = x'{PICKLE}' WHERE key LIKE '%~17'"),
    "a number": in_sql("UPDATE activities SET value = 17 WHERE key LIKE '%~17'"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_read_activities__damaged_cache(
    portal: PracticePortal, file: Path, damage: Callable[[Path], None]
) -> None:
    """The frame is right, one warning says so, the file is kept aside, and a fresh one is used."""
    expected = read(portal, False)
    damage(file)
    damaged = file.read_bytes()
    with pytest.warns(CacheWarning, match="was damaged") as caught:
        frame = read(portal, file)
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]
    assert_frame_equal(frame, expected)
    (aside,) = asides(file)
    assert str(aside) in str(caught[0].message)
    assert aside.read_bytes() == damaged

    before = posts(portal)
    assert_frame_equal(read(portal, file), expected)
    assert posts(portal) == before
    assert asides(file) == [aside]


@pytest.mark.thorough
def test_read_activities__any_byte_flipped(
    portal: PracticePortal, file: Path, tmp_path: Path
) -> None:
    """A flipped byte anywhere never ends in a wrong row or in an error."""
    expected = read(portal, False)
    content = file.read_bytes()
    dice = random.Random(1)
    noticed, flips = 0, 3 * settings().max_examples
    for number in range(flips):
        damaged = bytearray(content)
        damaged[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        place = tmp_path / f"{number}.sqlite"
        place.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert_frame_equal(read(portal, place), expected)
        assert [w.category for w in caught] in ([], [CacheWarning])
        assert len(asides(place)) == len(caught)
        noticed += len(caught)
    assert noticed > flips / 3


def test_read__intact_entries_are_taken_over(portal: PracticePortal, file: Path) -> None:
    """One damaged entry costs one record, not all: what is intact need not be asked for again."""
    in_value(60)(file)
    before = len(portal.server.requests)
    with pytest.warns(CacheWarning, match="59 intact entries of it were taken over"):
        frame = read(portal, file)
    assert len(frame) == 58
    (request,) = portal.server.requests[before:]
    assert list(request.commands) == ["crm.activity.get?id=17"]


def test_read__write_ahead_log_damaged(portal: PracticePortal, tmp_path: Path) -> None:
    """What SQLite does not take from a damaged log is read again."""
    expected = read(portal, False)
    with closing(b24.ActivityCache(tmp_path / "open.sqlite")) as cache:
        read(portal, cache)
        copy = tmp_path / "copy.sqlite"
        copy.write_bytes(cache.path.read_bytes())
        log = bytearray((tmp_path / "open.sqlite-wal").read_bytes())
    log[len(log) // 2] ^= 1
    (tmp_path / "copy.sqlite-wal").write_bytes(log)
    assert_frame_equal(read(portal, copy), expected)
    assert asides(copy) == []


def test_read__set_aside_with_its_log(portal: PracticePortal, file: Path) -> None:
    """The write-ahead log of a damaged file goes with it: what is intact there is taken over."""
    with closing(b24.ActivityCache(file)) as other, closing(b24.ActivityCache(file)) as cache:
        other.write(portal, {61: b"{}"}, {})
        assert file.with_name(f"{file.name}-wal").stat().st_size > 0
        in_value(60)(file)
        with pytest.warns(CacheWarning, match="60 intact entries"):
            read(portal, cache)
        (aside,) = asides(file)
        assert aside.with_name(f"{aside.name}-wal").exists()
        assert cache.read(portal, [61], None).records == {61: b"{}"}
    assert b24.ActivityCache(file).info()["entries"] == 61


def test_read__found_by_another_while_open(portal: PracticePortal, file: Path) -> None:
    """Who has the file open when another sets it aside goes on with the fresh one."""
    with closing(b24.ActivityCache(file)) as first, closing(b24.ActivityCache(file)) as second:
        assert read(portal, first).equals(read(portal, second))
        in_sql("UPDATE activities SET value = NULL")(file)
        with pytest.warns(CacheWarning, match="was damaged"):
            read(portal, first)
        before = posts(portal)
        read(portal, second)
        second.write(portal, {61: b"{}"}, {})
        assert posts(portal) == before
        assert first.read(portal, [61], None).records == {61: b"{}"}
    assert len(asides(file)) == 1


def test_read__other_programs_database(portal: PracticePortal, tmp_path: Path) -> None:
    """A healthy database of another program is neither used nor moved."""
    file = tmp_path / "other.db"
    in_sql("CREATE TABLE holidays (day TEXT)")(file)
    content = file.read_bytes()
    with pytest.warns(CacheWarning, match="database of another program; this read goes on"):
        assert len(read(portal, file)) == 58
    assert asides(file) == []
    assert file.read_bytes() == content


def test_info__damaged(file: Path) -> None:
    """Management of a damaged file warns, names what was set aside, and goes on."""
    file.write_bytes(b"no database" * 1000)
    with closing(b24.ActivityCache(file)) as cache:
        with pytest.warns(CacheWarning, match="was damaged") as caught:
            info = cache.info()
        assert Path(caught[0].filename) == Path(__file__)
        assert info["entries"] == 0
        assert info["set_aside"] == [str(asides(file)[0])]
        assert cache.clear() == 0


# --- places that cannot be written ---------------------------------------------------------------


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a folder that file modes apply to: as root, become a user without rights for a while."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no file modes of that kind")
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
            try:
                if not os.access(folder, os.W_OK, effective_ids=True):
                    pytest.skip(f"only root may enter {tempfile.gettempdir()}: set another TMPDIR")
                yield Path(folder)
            finally:
                os.seteuid(0)
        else:
            yield Path(folder)
            Path(folder).chmod(0o700)


def test_read__folder_read_only(portal: PracticePortal, place: Path) -> None:
    """Where nothing can be made, the read goes on without a cache."""
    place.chmod(0o500)
    with pytest.warns(CacheWarning, match=r"cannot be used: .*; this read goes on without it") as w:
        assert len(read(portal, place / "cache")) == 58
    assert len(w) == 1
    assert list(place.iterdir()) == []


def test_read__file_read_only(portal: PracticePortal, place: Path) -> None:
    """A file that cannot be written is read; what is not in it is not kept, and that is said."""
    file = place / "cache.sqlite"
    b24.read_activities(range(1, 31), portal, cache=file, missing="ignore")
    file.chmod(0o400)
    content, before = file.read_bytes(), posts(portal)
    assert len(b24.read_activities(range(10, 31), portal, cache=file)) == 21
    assert posts(portal) == before
    with pytest.warns(CacheWarning, match="readonly database; this read goes on") as caught:
        assert len(read(portal, file)) == 58
    assert len(caught) == 1
    assert file.read_bytes() == content


def test_read__damaged_in_a_read_only_folder(portal: PracticePortal, place: Path) -> None:
    """A damaged file that cannot be renamed stays, and the read goes on without a cache."""
    file = place / "cache.sqlite"
    file.write_bytes(b"no database" * 1000)
    place.chmod(0o500)
    with pytest.warns(CacheWarning, match="is damaged .* and cannot be set aside"):
        assert len(read(portal, file)) == 58
    assert file.read_bytes() == b"no database" * 1000


def test_read__no_home(portal: PracticePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home folder there is no default place: a warning, and a read without a cache."""

    def no_home(*_: object, **__: object) -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("B24FRAMES_CACHE")
    monkeypatch.setattr("b24frames.paths.user_cache_path", no_home)
    with pytest.raises(CacheError, match="home directory"):
        b24.ActivityCache()
    portal.folder = None
    with pytest.warns(CacheWarning, match=r"home directory.*; this read goes on without it"):
        assert len(read(portal, True)) == 58


def test_read__path_is_a_folder(portal: PracticePortal, tmp_path: Path) -> None:
    """A folder where the file should be ends in a warning."""
    (tmp_path / "activities.sqlite" / "activities.sqlite").mkdir(parents=True)
    with pytest.warns(CacheWarning, match="unable to open database file"):
        assert len(read(portal, tmp_path / "activities.sqlite")) == 58


FILL = """
import resource, sys, warnings
import b24frames as b24
from b24frames.cache import ActivityCache
class User: address, user_id = "https://acme.bitrix24.com", 1
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
cache, kept = ActivityCache(sys.argv[1]), 0
try:
    for i in range(0, 5000, 50):
        cache.write(User, {j: b"%d" % j * 100 for j in range(i, i + 50)}, {})
        kept = i + 50
except b24.errors.CacheError as error:
    print(kept)
    print(error)
assert len(cache.read(User, range(kept), None).records) == kept
"""


def test_write__no_room(tmp_path: Path) -> None:
    """When the system takes no more bytes, an error says so; what was kept before is there."""
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    file = tmp_path / "cache.sqlite"
    command = [sys.executable, "-c", FILL, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, error = done.stdout.splitlines()
    assert int(kept) > 0
    assert "cannot be used" in error
    with closing(b24.ActivityCache(file)) as cache:
        records = cache.read(ACME, range(5000), None).records
    assert records == {i: b"%d" % i * 100 for i in range(int(kept))}


def test_read__disk_full(portal: PracticePortal, tmp_path: Path) -> None:
    """A read whose answers do not fit is right, with a warning; a later one has room again."""
    with closing(b24.ActivityCache(tmp_path)) as cache:
        cache.write(portal, {}, {})
        full = "PRAGMA max_page_count = 10"
        cache._store._file.write(lambda connection: connection.execute(full).fetchall())  # type: ignore[attr-defined]
        with pytest.warns(CacheWarning, match="database or disk is full; this read goes on") as w:
            assert len(read(portal, cache)) == 58
        assert len(w) == 1
        cache.close()
        read(portal, cache)
        before = posts(portal)
        assert len(read(portal, cache)) == 58
        assert posts(portal) == before


def test_read__locked(portal: PracticePortal, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is not waited for without limit: reading needs none, writing gives up."""
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT", 0.0)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = posts(portal)
        assert len(read(portal, file)) == 58
        assert posts(portal) == before
        with pytest.warns(CacheWarning, match="database is locked; this read goes on") as caught:
            b24.read_activities(IDS, portal, cache=file, max_age=0, missing="ignore")
        assert len(caught) == 1


def test_read__locked_before_it_is_laid_out(
    portal: PracticePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a new file does not wait without limit either."""
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT", 0.0)
    with closing(sqlite3.connect(tmp_path / "new.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.warns(CacheWarning, match="database is locked; this read goes on"):
            assert len(read(portal, tmp_path / "new.sqlite")) == 58


# --- the layout --------------------------------------------------------------------------------

SAMPLE = Path(__file__).parent / "data" / f"cache-layout-{entries.LAYOUT}.sqlite"
SAMPLE_RECORDS = {i: b'{"ID":"%d","SUBJECT":"\xd0\xb4\xd0\xb0"}' % i for i in range(1, 5)}


def make_sample() -> None:
    """Make the sample file anew, after a change of the layout's version."""
    SAMPLE.unlink(missing_ok=True)
    with closing(b24.ActivityCache(SAMPLE)) as cache:
        cache.write(ACME, SAMPLE_RECORDS, {5: "not found"}, now=1_763_900_000.0)


def test_sample__is_opened(tmp_path: Path) -> None:
    """A file that was written by the release that made this layout is read as it was written."""
    file = tmp_path / SAMPLE.name
    file.write_bytes(SAMPLE.read_bytes())
    with closing(b24.ActivityCache(file)) as cache:
        hits = cache.read(ACME, range(1, 7), max_age=None, missing_age=None)
        info = cache.info()
    assert hits.records == SAMPLE_RECORDS
    assert hits.missing == {5: "not found"}
    assert (info["entries"], info["set_aside"]) == (5, [])
    assert info["oldest"] == info["newest"] == "2025-11-23T12:13:20+00:00"


def test_sample__every_older_one(tmp_path: Path) -> None:
    """A file of any older layout ends in a warning and a fresh file, or is read."""
    names = sorted(file.name for file in SAMPLE.parent.glob("cache-layout-*.sqlite"))
    assert names == [f"cache-layout-{version}.sqlite" for version in range(1, entries.LAYOUT + 1)]

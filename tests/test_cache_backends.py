"""Every backend keeps the same: SQLite, files, and a real Redis server."""

from __future__ import annotations

import pickle
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests_cache

import b24frames as b24
from b24frames.cache import ActivityCache
from b24frames.errors import CacheError, CacheWarning
from b24frames.practice import PracticePortal
from b24frames.practice.faults import Fault
from tests.helpers.caches import ACME, ACME_2, LOOPBACK
from tests.helpers.frames import assert_frame_equal
from tests.helpers.optional import skip_or_fail
from tests.helpers.practice import posts

MakePortal = Callable[..., PracticePortal]
MakeCache = Callable[[], ActivityCache]
IDS = range(1, 121)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Run a Redis server on a free port of this machine; give the port and its folder."""
    program = shutil.which("redis-server")
    if program is None:
        skip_or_fail("redis", "redis-server is not installed")
    folder = tmp_path_factory.mktemp("redis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert any("Ready to accept connections" in line for line in server.stdout)
        yield port, folder
        server.terminate()
        server.stdout.read()


@pytest.fixture(params=["sqlite", "filesystem", "redis"])
def make_cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeCache]:
    """Make caches that share one place, each as a program of its own would."""
    made: list[ActivityCache] = []
    closers: list[Any] = []

    def make() -> ActivityCache:
        if request.param == "sqlite":
            made.append(ActivityCache(tmp_path / "store"))
        elif request.param == "filesystem":
            backend = requests_cache.FileCache(tmp_path / "store")
            closers.append(backend)
            made.append(ActivityCache(backend=backend))
        else:
            port, _ = request.getfixturevalue("redis_server")
            backend = requests_cache.RedisCache(namespace=tmp_path.name, port=port)
            closers.append(backend)
            made.append(ActivityCache(backend=backend))
        return made[-1]

    yield make
    for closer in [*made, *closers]:
        closer.close()


def test_backend__reads_what_was_written(make_cache: MakeCache) -> None:
    """Records and reasons come back as they were, to whoever opens the place next."""
    make_cache().write(ACME, {1: b'{"ID":"1"}', 2: b"\x00\xff\r\n"}, {3: "not found ü"})
    hits = make_cache().read(ACME, [4, 3, 2, 1], max_age=60)
    assert hits.records == {1: b'{"ID":"1"}', 2: b"\x00\xff\r\n"}
    assert hits.missing == {3: "not found ü"}


def test_backend__age(make_cache: MakeCache) -> None:
    """Age is told at each read; an entry of the future is no hit."""
    cache, now = make_cache(), 1_763_900_000.0
    cache.write(ACME, {1: b"r"}, {2: "not found"}, now=now)
    assert cache.read(ACME, [1, 2], 60, now=now + 59).records == {1: b"r"}
    assert cache.read(ACME, [1, 2], 60, now=now + 61).too_old == [1]
    assert cache.read(ACME, [1, 2], None, now=now - 1).too_old == [1]
    assert cache.read(ACME, [1, 2], None, now=now + 601).missing == {}


def test_backend__management(make_cache: MakeCache) -> None:
    """Entries are counted, cleared by id and by user, and pruned by age."""
    cache, now = make_cache(), 1_763_900_000.0
    cache.write(ACME, {1: b"x" * 1000, 2: b"y"}, {3: "not found"}, now=now)
    cache.write(ACME_2, {1: b"z"}, {})
    cache.write(LOOPBACK, {1: b"z", 5: b"z"}, {})
    info = make_cache().info()
    assert info["portals"] == {
        "127.0.0.1:8080 1": 2,
        "acme.bitrix24.com 1": 3,
        "acme.bitrix24.com 2": 1,
    }
    assert info["entries"] == 6
    assert info["size"] > 1000
    assert info["oldest"] == "2025-11-23T12:13:20+00:00" < info["newest"]
    assert cache.clear(ids=[5, 6]) == 1
    assert cache.clear(portal=ACME_2) == 1
    assert cache.prune(older_than="1h") == 3
    assert cache.info()["portals"] == {"127.0.0.1:8080 1": 1}
    assert cache.clear() == 1
    assert make_cache().info()["entries"] == 0


def test_backend__frames(portal: PracticePortal, make_cache: MakeCache) -> None:
    """A second read asks nothing and gives the same frame; so do subsets, in any order."""
    expected = b24.read_activities(IDS, portal, cache=False, missing="ignore")
    first = b24.read_activities(IDS, portal, cache=make_cache(), missing="ignore")
    before = posts(portal)
    again = b24.read_activities(IDS, portal, cache=make_cache(), missing="ignore")
    some = b24.read_activities([100, 5, 50], portal, cache=make_cache(), only_if_cached=True)
    assert posts(portal) == before
    assert_frame_equal(first, expected)
    assert_frame_equal(again, expected)
    assert_frame_equal(some, expected.loc[[100, 5, 50], some.columns])


def test_backend__other_user_and_rotated_secret(
    make_portal: MakePortal, make_cache: MakeCache
) -> None:
    """Another user of the portal gets nothing of it; the same user with a new secret gets all."""
    practice = make_portal(activities=120, deleted=(), refused=(), secret="0ld5ecret")
    b24.read_activities(IDS, practice, cache=make_cache())
    other = b24.Portal(f"{practice.address}/rest/2/0ther5ecret/")
    rotated = b24.Portal(f"{practice.address}/rest/{practice.user_id}/n3w5ecret/")
    offline: Any = {"only_if_cached": True, "missing": "ignore"}
    assert len(b24.read_activities(IDS, other, cache=make_cache(), **offline)) == 0
    assert len(b24.read_activities(IDS, rotated, cache=make_cache(), **offline)) == 120


def test_backend__renamed_portal(make_portal: MakePortal, make_cache: MakeCache) -> None:
    """A portal that answers from a new address keeps its entries."""
    practice = make_portal(activities=120, deleted=(), refused=())
    new = practice.address.replace("127.0.0.1", "localhost")
    practice.server.faults.append(Fault("redirect", location=new, times=1))
    b24.read_activities(range(1, 61), practice, cache=make_cache())
    b24.read_activities(range(61, 121), practice, cache=make_cache())
    again = b24.Portal(practice.url)
    frame = b24.read_activities(IDS, again, cache=make_cache(), only_if_cached=True)
    assert len(frame) == 120


def test_backend__no_secret_in_any_byte(
    make_portal: MakePortal, make_cache: MakeCache, tmp_path: Path, request: Any
) -> None:
    """The webhook's secret is in no file, neither while the place is open nor after."""
    secret = "pl4nted5ecret"
    practice = make_portal(activities=120, deleted=[7], refused=[9], secret=secret)
    cache = make_cache()
    b24.read_activities(IDS, practice, cache=cache, missing="ignore")
    folder = tmp_path
    if "redis" in request.node.callspec.id:
        port, folder = request.getfixturevalue("redis_server")
        redis = pytest.importorskip("redis")
        with closing(redis.Redis(port=port)) as client:
            client.save()
    for _ in ("open", "closed"):
        files = [file for file in folder.rglob("*") if file.is_file()]
        content = b"".join(file.read_bytes() for file in files)
        assert b"crm.activity.get~5" in content + "".join(map(str, files)).encode()
        assert secret.encode() not in content
        assert all(secret not in str(file) for file in files)
        cache.close()
    assert secret not in repr(cache) + str(cache.info()) + cache._repr_html_()


# --- what is special ---------------------------------------------------------------------------


def test_filesystem__damaged_entry(portal: PracticePortal, tmp_path: Path) -> None:
    """A damaged file is a miss, is said in one warning, and is replaced."""
    cache = ActivityCache(backend=requests_cache.FileCache(tmp_path / "store"))
    expected = b24.read_activities(IDS, portal, cache=cache, missing="ignore")
    (file,) = (tmp_path / "store").glob("*~17.*")
    (empty,) = (tmp_path / "store").glob("*~18.*")
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)
    empty.write_bytes(b"")
    with pytest.warns(CacheWarning, match="2 damaged entries .* are read anew") as caught:
        frame = b24.read_activities(IDS, portal, cache=cache, missing="ignore")
    assert len(caught) == 1
    assert_frame_equal(frame, expected)
    before = posts(portal)
    b24.read_activities(IDS, portal, cache=cache, missing="ignore")
    assert posts(portal) == before
    cache.close()


def test_filesystem__cannot_be_written(
    portal: PracticePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the system is told, and the read goes on."""
    cache = ActivityCache(backend=requests_cache.FileCache(tmp_path / "store"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(cache._store._storage), "serialize", full)  # type: ignore[attr-defined]
    with pytest.warns(CacheWarning, match="No space left on device; this read goes on") as caught:
        assert len(b24.read_activities(IDS, portal, cache=cache, missing="ignore")) == 118
    assert len(caught) == 1


def test_redis__out_of_reach(portal: PracticePortal) -> None:
    """Without the server the read goes on, with a warning."""
    redis = pytest.importorskip("redis")
    once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with socket.socket() as taken:  # bound, but not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        backend = requests_cache.RedisCache(port=taken.getsockname()[1], retry=once)
        cache = ActivityCache(backend=backend)
        with pytest.warns(CacheWarning, match="RedisCache 'http_cache' cannot be used") as caught:
            assert len(b24.read_activities(IDS, portal, cache=cache, missing="ignore")) == 118
        with pytest.raises(CacheError, match="cannot be used"):
            cache.info()
    assert len(caught) == 1


def test_filesystem__bounded(portal: PracticePortal, tmp_path: Path) -> None:
    """The bound of a backend holds, and what it has evicted is read anew."""
    backend = requests_cache.FileCache(tmp_path / "store", max_cache_bytes=8_000)
    cache = ActivityCache(backend=backend)
    for _ in range(2):
        frame = b24.read_activities(range(10, 30), portal, cache=cache)
        assert len(frame) == 20
        assert 0 < cache.info()["entries"] < 20
        assert cache.info()["size"] <= 8_000
    cache.close()
    backend.close()


def test_backend__leaves_other_entries_alone(tmp_path: Path) -> None:
    """What others keep in the same backend is neither counted nor cleared."""
    backend = requests_cache.FileCache(tmp_path / "store")
    cache = ActivityCache(backend=backend)
    backend.responses["of-another-program"] = b"kept"
    cache.write(ACME, {1: b"r"}, {})
    assert cache.info()["entries"] == 1
    assert cache.clear() == 1
    assert backend.responses["of-another-program"] == b"kept"


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"backend": "redis"}, TypeError, "str"),
        ({"backend": {}}, TypeError, "dict"),
        ({"backend": requests_cache.BaseCache(), "path": "x"}, ValueError, "no path"),
        ({"backend": requests_cache.BaseCache(), "max_size": 5}, ValueError, "no max_size"),
    ],
    ids=["str", "dict", "path", "max_size"],
)
def test_backend__refused(options: dict[str, Any], error: type[Exception], named: str) -> None:
    """What is no backend, and what a backend has itself, is refused."""
    with pytest.raises(error, match=named):
        ActivityCache(**options)


def test_backend__sqlite_is_refused(tmp_path: Path) -> None:
    """An SQLite file is opened in our own way, which loses no write."""
    backend = requests_cache.SQLiteCache(tmp_path / "x.sqlite")
    with closing(backend), pytest.raises(ValueError, match="give its path"):
        ActivityCache(backend=backend)


def test_backend__has_limits_of_its_own() -> None:
    """No bound by size, and no pickle, of what may hold a connection; a repr without details."""
    cache = ActivityCache(backend=requests_cache.BaseCache("name"))
    with pytest.raises(ValueError, match="limits of its own"):
        cache.prune(max_size=5)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(cache)
    assert repr(cache) == "ActivityCache(backend=BaseCache 'name')"
    assert cache.path is None

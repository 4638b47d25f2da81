"""`ActivityStore`: the table equals what the portal has, whatever happens to either."""

from __future__ import annotations

import multiprocessing
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import b24frames as b24
import b24frames.store
from b24frames.errors import PortalError, StoreBusyError, StoreError
from b24frames.practice import PracticePortal
from b24frames.practice.faults import Fault
from b24frames.schema import Backend
from tests.helpers.frames import assert_frame_equal
from tests.helpers.hunt import PLAIN, spellings
from tests.helpers.practice import posts

pytest.importorskip("deltalake", reason="deltalake is the extra store")

MakePortal = Callable[..., PracticePortal]
IS_THOROUGH = settings().max_examples > 10
OWNER = ["OWNER_ID", "OWNER_TYPE_ID"]
CALLS = [("TYPE_ID", "==", "call")]
OPEN = [("COMPLETED", "==", False)]


def assert_is_truth(store: b24.ActivityStore, portal: PracticePortal, filters: Any = None) -> None:
    """Fail where a table differs from what the portal has."""
    truth = b24.find_activities(filters, portal, cache=False)
    held = store.read()
    assert set(truth) <= set(held)
    assert_frame_equal(held[truth.columns], truth)


@pytest.fixture
def store(portal: PracticePortal, tmp_path: Path) -> b24.ActivityStore:
    """Make a store of all activities of the portal."""
    return b24.ActivityStore(tmp_path / "store", portal)


class Acting:
    """A progress bar that does something when it is told of progress."""

    def __init__(self, act: Callable[[], object], at: int = 1) -> None:
        self.act, self.at, self.calls = act, at, 0

    def update(self, n: int) -> None:
        """Act, if it is time."""
        self.calls += n > 0
        if n and self.calls == self.at:
            self.act()

    def set_postfix_str(self, text: str) -> None:
        """Do nothing."""


# --- sync ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("tz", ["UTC", "Asia/Almaty"])
def test_read__as_find(
    store: b24.ActivityStore, portal: PracticePortal, backend: Backend, tz: str
) -> None:
    """What is read from the table is what `find_activities` reads from the portal."""
    store.sync()
    before = posts(portal)
    frame = store.read(dtype_backend=backend, tz=tz)
    assert posts(portal) == before
    found = b24.find_activities(None, portal, dtype_backend=backend, tz=tz, cache=False)
    assert_frame_equal(frame, found)
    assert frame.b24.report.__repr__().startswith(f"portal      {portal.address}, user 1")


def test_sync__report(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """The report counts what was added, changed and gone, and what was not."""
    first = store.sync()
    assert (first.added, first.changed, first.gone, first.unchanged) == (299, 0, 0, 0)
    portal.server.create(SUBJECT="new")
    portal.server.touch(5, SUBJECT="changed")
    portal.server.touch(6)
    portal.server.delete(8)
    second = store.sync()
    assert (second.added, second.changed, second.gone, second.unchanged) == (1, 2, 0, 297)
    third = store.sync(full=True)
    assert (third.added, third.changed, third.gone, third.unchanged) == (0, 0, 1, 299)
    assert "gone           1 (deleted, no longer visible" in repr(third)
    assert "<th" in third._repr_html_()
    assert_is_truth(store, portal)


def test_sync__nothing_new(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """Where nothing has changed, nothing is written, and at most four requests are sent."""
    store.sync()
    version, before = store.info()["version"], posts(portal)
    report = store.sync()
    assert report.http_requests == posts(portal) - before <= 4
    assert (report.added, report.changed, report.gone, report.unchanged) == (0, 0, 0, 299)
    assert store.info()["version"] == version


def test_sync__many_changes(make_portal: MakePortal, tmp_path: Path) -> None:
    """A thousand changes all over the table take at most eight requests."""
    portal = make_portal(activities=3_000)
    store = b24.ActivityStore(tmp_path, portal)
    assert store.sync().http_requests <= 4
    there = [i for i in range(1, 3_000) if portal.server.record(i)]
    for i in random.Random(0).sample(there, 1_000):
        portal.server.touch(i, SUBJECT="changed")
    report = store.sync()
    assert report.changed == 1_000
    assert report.http_requests <= 8
    assert_is_truth(store, portal)


def test_sync__by_links(make_portal: MakePortal, tmp_path: Path) -> None:
    """Rows that match by several links stay, however many are changed at once."""
    portal = make_portal(activities=200)
    links = [("BINDINGS", "in", [(kind, None) for kind in (1, 2, 3, 4, 7, 31)])]
    store = b24.ActivityStore(tmp_path, portal, links)
    rows = store.sync().added
    for i in store.read().index:
        portal.server.touch(i, SUBJECT="changed")
    report = store.sync()
    assert (report.added, report.changed, report.gone) == (0, rows, 0)
    assert_is_truth(store, portal, links)


def test_sync__no_longer_matching(portal: PracticePortal, tmp_path: Path) -> None:
    """A row that no longer matches is gone, and one that begins to match is there."""
    store = b24.ActivityStore(tmp_path, portal, OPEN)
    store.sync()
    one, other = store.read().index[:2].tolist()
    done = next(i for i in range(1, 300) if (portal.server.record(i) or {}).get("COMPLETED") == "Y")
    portal.server.touch(one, COMPLETED="Y")
    portal.server.touch(other, SUBJECT="still open")
    portal.server.touch(done, COMPLETED="N")
    report = store.sync()
    assert (report.added, report.changed, report.gone) == (1, 1, 1)
    assert_is_truth(store, portal, OPEN)


def test_sync__late_call(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """A call that telephony enters under the time when it began, long ago, is found."""
    store.sync()
    began = "2020-01-01T10:00:00+03:00"
    number = portal.server.create(CREATED=began, LAST_UPDATED=began, START_TIME=began)
    assert store.sync().added == 1
    assert number in store.read().index


def test_sync__late_call_between_alternatives(
    make_portal: MakePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call entered after calls were read, but below an id that was read later, is found."""
    monkeypatch.setattr("b24frames.store._MARGIN", 0)
    portal = make_portal(activities=30)
    began = "2020-01-01T10:00:00+03:00"

    def enter(colleagues: Any, number: int) -> None:
        portal.server.create(TYPE_ID="2", PRIORITY="1", CREATED=began, LAST_UPDATED=began)
        portal.server.create(TYPE_ID="6", PRIORITY="3")

    monkeypatch.setattr("b24frames.practice.dataset.Colleagues._change", enter)
    filters = [CALLS, [("PRIORITY", "==", 3)]]
    store = b24.ActivityStore(tmp_path, portal, filters)
    with portal.server.work():
        store.sync()
    store.sync()
    found = b24.find_activities(filters, portal, cache=False)
    assert store.read().index.tolist() == found.index.tolist()
    assert_is_truth(store, portal, filters)


def test_sync__owners(
    store: b24.ActivityStore, portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New owners, which leave no trace in LAST_UPDATED, are found by a full sync."""
    monkeypatch.setattr("b24frames.store._MARGIN", 0)
    store.sync()
    record = portal.server.record(5) or {}
    portal.server.touch(5, OWNER_ID="98765", LAST_UPDATED=record["LAST_UPDATED"])
    assert store.sync().changed == 0
    assert store.sync(full=True).changed == 1
    assert store.read().loc[5, "OWNER_ID"] == 98765


@pytest.mark.parametrize("seed", range(20 if IS_THOROUGH else 3))
@pytest.mark.thorough
def test_sync__worked_on(
    make_portal: MakePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """However a portal is worked on, the table equals all that has settled."""
    filters = [None, OPEN, [CALLS, [("PRIORITY", "==", 3)]]][seed % 3]
    # Without the reserves, so that a mistake in the times or ids would be seen.
    monkeypatch.setattr("b24frames.store._OVERLAP", 0)
    monkeypatch.setattr("b24frames.store._MARGIN", 0)
    monkeypatch.setattr("b24frames.store._ROWS_A_COMMIT", 70)
    portal = make_portal(activities=300, seed=seed)
    store = b24.ActivityStore(tmp_path, portal, filters)
    for number in range(20 if IS_THOROUGH else 4):
        with portal.server.work(seed=seed * 100 + number, every=1 + number % 3):
            store.sync(full=number % 4 == 3)
        store.sync()
        truth = b24.find_activities(filters, portal, cache=False)
        held = store.read()
        deleted = {change.id for change in portal.server.changes if change.kind == "deleted"}
        assert set(truth.index) <= set(held.index)
        assert set(held.index) - set(truth.index) <= deleted
        extras = [name for name in held if name not in truth]
        settled = held.loc[truth.index].drop(columns=OWNER + extras)
        assert_frame_equal(settled, truth.drop(columns=OWNER))
    store.sync(full=True)
    assert_frame_equal(store.read()[truth.columns], truth)


def test_sync__new_columns(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """Fields that the portal has from now on become columns, whichever way rows are written."""
    store.sync()
    portal.server.create(UF_CRM_NEW="a")
    store.sync()
    portal.server.touch(5, UF_CRM_OTHER="b")
    store.sync()
    frame = store.read()
    assert frame["UF_CRM_NEW"].dropna().tolist() == ["a"]
    assert frame["UF_CRM_OTHER"].dropna().to_dict() == {5: "b"}
    assert_is_truth(store, portal)


def test_sync__resumes(
    make_portal: MakePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first load that was interrupted goes on where it was, and finds what was changed since."""
    monkeypatch.setattr("b24frames.store._ROWS_A_COMMIT", 250)
    portal = make_portal(activities=3_000, deleted=())
    one_at_a_time = b24.Portal(portal.url, limits="self-hosted", concurrency=1)
    store = b24.ActivityStore(tmp_path, one_at_a_time)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.sync(progress=Acting(stop, at=4))
    there = store.info()["rows"]
    assert 250 <= there < 3_000
    assert store.info()["highest_id"] == store.read().index[-1]
    portal.server.touch(3, SUBJECT="changed meanwhile")
    assert store.sync().added == 3_000 - there
    assert_is_truth(store, portal)


def test_sync__files_passed_over(
    make_portal: MakePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files say of the fields that grow with the ids from when to when they are."""
    monkeypatch.setattr("b24frames.store._ROWS_A_COMMIT", 250)
    store = b24.ActivityStore(tmp_path, make_portal(activities=1_500, deleted=()))
    store.sync()
    dataset, field = store.table.to_pyarrow_dataset(), pytest.importorskip("pyarrow.compute").field
    files = len(list(dataset.get_fragments()))
    assert files >= 5
    for name, value in (("ID", 100), ("CREATED", store.read()["CREATED"].loc[100])):
        parts = dataset.get_fragments(field(name) <= value)
        assert len(list(parts)) < files, name


def test_sync__first_one_fails(portal: PracticePortal, tmp_path: Path) -> None:
    """A table without rows, of a first sync that failed, is free for other filters."""
    portal.server.faults.append(Fault("NO_AUTH_FOUND", times=1))
    with pytest.raises(PortalError):
        b24.ActivityStore(tmp_path, portal, OPEN).sync()
    store = b24.ActivityStore(tmp_path, portal, CALLS)
    assert store.sync().added > 0
    assert_is_truth(store, portal, CALLS)
    with pytest.raises(ValueError, match="holds filters"):
        b24.ActivityStore(tmp_path, portal, OPEN).sync()


@pytest.mark.parametrize("kind", [list, tuple, set, iter, np.array, pd.Series])
def test_sync__filters_stay(portal: PracticePortal, tmp_path: Path, kind: Any) -> None:
    """Filters are what was given, though an iterator ends, and a list is changed later."""
    ids = kind([1, 2, 3])
    store = b24.ActivityStore(tmp_path, portal, [("ID", "in", ids)])
    if kind is list:
        ids.append(9)
    assert store.sync().added == 3
    assert store.read().index.tolist() == [1, 2, 3]


def test_sync__nothing_matches(portal: PracticePortal, tmp_path: Path) -> None:
    """A table of what nothing matches has the columns and dtypes of every other."""
    filters = [("SUBJECT", "==", "there is none")]
    store = b24.ActivityStore(tmp_path, portal, filters)
    assert store.sync().added == 0
    assert_is_truth(store, portal, filters)
    number = portal.server.create(SUBJECT="there is none")
    assert store.sync().added == 1
    assert store.read().index.tolist() == [number]


def test_sync__portal_without_a_clock(
    store: b24.ActivityStore,
    portal: PracticePortal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the portal does not tell the time, changes are found all the same."""
    monkeypatch.setattr("b24frames.store.unix_seconds", lambda text: 0)
    store.sync()
    portal.server.touch(5, SUBJECT="changed")
    assert store.sync().changed == 1
    # Nor does the table count as new, which other filters might take.
    rows = len(store.read())
    with pytest.raises(ValueError, match="holds filters"):
        b24.ActivityStore(tmp_path / "store", portal, CALLS).sync()
    assert len(store.read()) == rows


def test_sync__portal_fails(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """A portal that refuses is an error, and the table stays as it was."""
    store.sync()
    before = store.read()
    portal.server.create()
    portal.server.scopes.clear()
    with pytest.raises(PortalError):
        store.sync()
    assert_frame_equal(store.read(), before)


# --- what may go wrong with the table ------------------------------------------------------------


def test_sync__two_at_once(
    store: b24.ActivityStore, portal: PracticePortal, tmp_path: Path
) -> None:
    """Of two syncs at once one gives way, and nothing is lost or there twice."""
    other = b24.ActivityStore(tmp_path / "store", portal)
    with pytest.raises(StoreBusyError, match="another program has written"):
        store.sync(progress=Acting(lambda: other.sync()))
    assert_is_truth(store, portal)
    portal.server.touch(5, SUBJECT="changed")
    with pytest.raises(StoreBusyError):
        store.sync(progress=Acting(lambda: other.sync()))
    assert_is_truth(store, portal)
    assert store.sync().changed == 0


def test_sync__after_compaction(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """Compaction, vacuum and checkpoints leave the next sync what it needs."""
    store.sync()
    portal.server.create()
    store.sync()
    assert store.info()["files"] == 2
    store.table.optimize.compact()
    store.table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    store.table.create_checkpoint()
    assert store.info()["files"] == 1
    portal.server.touch(5, SUBJECT="changed")
    report = store.sync()
    assert (report.added, report.changed) == (0, 1)
    assert_is_truth(store, portal)


def test_sync__compaction_meanwhile(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """Where another program rewrites the rows of a sync, the sync gives way."""
    store.sync()
    portal.server.create()
    store.sync()
    portal.server.touch(5, SUBJECT="changed")
    with pytest.raises(StoreBusyError):
        store.sync(progress=Acting(lambda: store.table.optimize.compact()))
    store.sync()
    assert_is_truth(store, portal)


def test_sync__other_portal_user_or_filters(
    store: b24.ActivityStore, make_portal: MakePortal, portal: PracticePortal, tmp_path: Path
) -> None:
    """A table of other rows is refused, both are named, and nothing is asked or written."""
    store.sync()
    version = store.info()["version"]
    others = make_portal(), make_portal(user_id=2)
    for other in others:
        with pytest.raises(ValueError, match="holds portal") as caught:
            b24.ActivityStore(tmp_path / "store", other).sync()
        assert portal.address in str(caught.value)
        assert other.address in str(caught.value)
        assert posts(other) == 0
    with pytest.raises(ValueError, match=r'holds filters \[\[\{\}\]\], not .*"=TYPE_ID": 2'):
        b24.ActivityStore(tmp_path / "store", portal, CALLS).sync()
    assert store.info()["version"] == version


def test_sync__other_user(store: b24.ActivityStore, portal: PracticePortal, tmp_path: Path) -> None:
    """A table of another user's rows is refused: he may see others."""
    store.sync()
    other = b24.Portal(portal.url.replace("/rest/1/", "/rest/2/"))
    with pytest.raises(ValueError, match="holds user_id 1, not user_id 2"):
        b24.ActivityStore(tmp_path / "store", other).sync()


def test_sync__filters_in_another_order(portal: PracticePortal, tmp_path: Path) -> None:
    """Filters that mean the same are the same."""
    one = [("TYPE_ID", "in", ["call", 6]), ("ID", "<", 100)]
    b24.ActivityStore(tmp_path, portal, one).sync()
    other = [("ID", "<=", 99), ("TYPE_ID", "in", [6, 2])]
    assert b24.ActivityStore(tmp_path, portal, other).sync().added == 0


def test_table__damaged_log(
    store: b24.ActivityStore, portal: PracticePortal, tmp_path: Path
) -> None:
    """A damaged log is an error of ours that names the place, and nothing is written."""
    store.sync()
    newest = max((tmp_path / "store" / "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:-40])
    for use in (store.sync, store.read, store.info):
        with pytest.raises(StoreError, match="store"):
            use()


def test_table__damaged_rows(
    store: b24.ActivityStore, portal: PracticePortal, tmp_path: Path
) -> None:
    """A file of rows that is not there, or is damaged, is an error of ours."""
    store.sync()
    (file,) = (tmp_path / "store").rglob("*.parquet")
    for damage in (lambda: file.write_bytes(file.read_bytes()[:-100]), file.unlink):
        damage()
        with pytest.raises(StoreError, match="store"):
            store.read()


def test_table__not_there(store: b24.ActivityStore) -> None:
    """Without a table there is nothing to read, and nothing is made."""
    with pytest.raises(StoreError, match="there is no table"):
        store.read()


def test_table__of_others(portal: PracticePortal, tmp_path: Path) -> None:
    """A table that another program made is neither read nor written."""
    import deltalake
    import pyarrow as pa

    deltalake.write_deltalake(tmp_path, pa.table({"ID": [1]}))
    store = b24.ActivityStore(tmp_path, portal)
    for use in (store.sync, store.read):
        with pytest.raises(StoreError, match="none that ActivityStore has made"):
            use()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_sync__disk_full(store: b24.ActivityStore, portal: PracticePortal, tmp_path: Path) -> None:
    """A disk that is full is an error of ours, and the table stays as it was."""
    store.sync()
    for i in range(10, 100):
        portal.server.touch(i, SUBJECT="changed")
    script = """
import resource, sys
import b24frames as b24
store = b24.ActivityStore(sys.argv[1], sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
try:
    store.sync()
except b24.errors.StoreError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "store"), portal.url]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0
    assert run.stdout.startswith(str(tmp_path / "store"))
    assert store.sync().changed == 90
    assert_is_truth(store, portal)


def sync_in_small_commits(place: Path, url: str, begins: Event) -> None:
    """Bring a table up to date, in a process of its own."""
    b24frames.store._ROWS_A_COMMIT = 100
    store = b24.ActivityStore(place, b24.Portal(url, limits="self-hosted"))
    begins.set()
    store.sync(progress=False)


@pytest.mark.thorough
def test_sync__killed(make_portal: MakePortal, tmp_path: Path) -> None:
    """Killed at any moment, a sync leaves a whole state, and the next one ends right."""
    portal = make_portal(activities=1_500)
    rng = random.Random(0)
    # By forks, where there are any: not each process has to import all anew.
    can_fork = "forkserver" in multiprocessing.get_all_start_methods()
    processes = multiprocessing.get_context("forkserver" if can_fork else "spawn")
    processes.set_forkserver_preload([__name__])
    killed = 0
    for number in range(50 if IS_THOROUGH else 4):
        place = tmp_path / str(number // 5)
        begins = processes.Event()
        sync = processes.Process(target=sync_in_small_commits, args=(place, portal.url, begins))
        sync.start()
        assert begins.wait(60)
        sync.join(rng.random() * 0.3)
        sync.kill()
        sync.join()
        assert sync.exitcode != 1
        killed += sync.exitcode != 0
        store = b24.ActivityStore(place, portal)
        if (place / "_delta_log").exists() and any((place / "_delta_log").glob("*.json")):
            held = store.read()
            truth = b24.find_activities([("ID", "<=", store.info()["highest_id"])], portal)
            assert held.index.tolist() == truth.index.tolist()
        for _ in range(5):
            portal.server.touch(rng.choice(store_ids(portal)), SUBJECT=f"changed {number}")
        portal.server.create(SUBJECT="new")
        if number % 5 == 3:
            store.sync()
            assert_is_truth(store, portal)
    assert killed


def store_ids(portal: PracticePortal) -> list[int]:
    """Return the ids that a portal has."""
    return [int(record["ID"]) for record in portal.server.records()]


# --- secrets and arguments -----------------------------------------------------------------------


def test_store__secrets(make_portal: MakePortal, tmp_path: Path) -> None:
    """No file of a table, and nothing that a store says, holds the webhook's secret."""
    portal = make_portal(activities=100, secret=PLAIN)
    store = b24.ActivityStore(tmp_path, portal.url, CALLS)
    reports = [store.sync(), store.sync(full=True)]
    with pytest.raises(ValueError, match="holds filters") as caught:
        b24.ActivityStore(tmp_path, portal.url).sync()
    said = [repr(store), repr(reports), str(caught.value), repr(store.info()), store.read().attrs]
    table = store.table
    said += [table.history(), table.metadata(), table.to_pyarrow_table().to_pylist()]
    texts = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 2
    for text in [*texts, *map(str, said)]:
        assert not any(secret in text for secret in spellings(PLAIN))


def test_store__logins(tmp_path: Path) -> None:
    """What deltalake needs to reach a place is neither shown nor pickled."""
    options = {"AWS_SECRET_ACCESS_KEY": PLAIN, "AWS_ENDPOINT_URL": f"http://me:{PLAIN}@127.0.0.1:9"}
    options |= {"AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "me", "max_retries": "0"}
    store = b24.ActivityStore("s3://lake/calls", storage_options=options)
    with pytest.raises(StoreError) as caught:
        store.read()
    assert PLAIN not in f"{caught.value} {store!r}"
    with pytest.raises(TypeError, match="may be secrets"):
        pickle.dumps(store)
    assert repr(pickle.loads(pickle.dumps(b24.ActivityStore(tmp_path)))).count(tmp_path.name) == 1
    with pytest.raises(ValueError, match="storage_options") as refused:
        b24.ActivityStore(f"s3://me:{PLAIN}@lake/calls")
    assert PLAIN not in str(refused.value)
    with pytest.raises(ValueError, match="storage_options"):
        b24.ActivityStore(f"az://lake/calls?sig={PLAIN}")
    assert "@" in repr(b24.ActivityStore("abfss://lake@account.dfs.core.windows.net/calls"))


@pytest.mark.parametrize("place", ["", 5, None, "https://acme.bitrix24.com/rest/1/s3cret/"])
def test_store__refuses_place(place: Any) -> None:
    """What is no place is refused, and an address of a portal is not repeated."""
    with pytest.raises((TypeError, ValueError), match="place") as caught:
        b24.ActivityStore(place)
    assert "s3cret" not in str(caught.value)


def test_store__folder_named_rest() -> None:
    """A bucket may have a folder named as in the addresses of portals."""
    assert "s3://lake/rest/calls" in repr(b24.ActivityStore("s3://lake/rest/calls"))


def test_store__odd_name(portal: PracticePortal, tmp_path: Path) -> None:
    """A folder that deltalake cannot take is an error of the store, whatever it raises."""
    with pytest.raises(b24.errors.StoreError, match="calls"):
        b24.ActivityStore(tmp_path / "calls [2026]", portal).sync()


def test_store__refuses_arguments(
    store: b24.ActivityStore, portal: PracticePortal, tmp_path: Path
) -> None:
    """Arguments that are not accepted are refused before any request, and no table is made."""
    with pytest.raises(ValueError, match="fields of conditions"):
        b24.ActivityStore(tmp_path, portal, [("NOTHING", "==", 1)])
    with pytest.raises(ValueError, match="full"):
        store.sync(full="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="progress"):
        store.sync(progress="yes")  # type: ignore[arg-type]
    assert posts(portal) == 0
    assert not (tmp_path / "store").exists()
    store.sync()
    with pytest.raises(ValueError, match="NOTHING"):
        store.read(["NOTHING"])
    with pytest.raises(ValueError, match="BINDINGS"):
        store.read(filters=[("BINDINGS", "in", [("deal", 5)])])
    with pytest.raises(ValueError, match="dtype_backend"):
        store.read(dtype_backend="numpy")  # type: ignore[arg-type]


@pytest.mark.parametrize("options", ["key", {"key": 1}, [("key", "x")]])
def test_store__storage_options_refused(options: Any, tmp_path: Path) -> None:
    """What is no dict of texts is refused, and not shown: it may hold a secret."""
    with pytest.raises(TypeError, match="^storage_options is not a dict of str to str$"):
        b24.ActivityStore(tmp_path, storage_options=options)


def test_store__without_deltalake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without deltalake the error says how to install it."""
    monkeypatch.setattr("b24frames.store.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"b24frames\[store\]"):
        b24.ActivityStore(tmp_path)


# --- read ----------------------------------------------------------------------------------------

FILTERS: list[Any] = [
    [("ID", "in", [3, 5, 100, 7])],
    [("ID", ">", 290)],
    [("ID", "<=", 3), ("ID", "!=", 2)],
    [("TYPE_ID", "==", "call"), ("DIRECTION", "!=", "incoming")],
    [("PRIORITY", "not in", [2, 3])],
    [("CREATED", ">=", "2022-02-01"), ("CREATED", "<", "2022-02-20T12:00")],
    [("LAST_UPDATED", ">", "2022-03-01")],
    [("DEADLINE", "==", None)],
    [("DEADLINE", "!=", None)],
    [("DEADLINE", "<", "2022-03-01")],
    [("COMPLETED", "==", True)],
    [("COMPLETED", "!=", "Y")],
    [("RESULT_SUM", ">", 10.5)],
    [("RESULT_SUM", "<=", 0)],
    [("ASSOCIATED_ENTITY_ID", "==", 0)],
    [("PROVIDER_ID", "==", "crm_email")],
    [("PROVIDER_ID", "not in", ["CRM_EMAIL", "crm_todo"])],
    [("SUBJECT", "contains", "CALL")],
    [("ORIGIN_ID", "!=", "x")],
    [("ORIGIN_ID", "==", "")],
    [("ORIGIN_ID", "!=", "")],
    [("SUBJECT", "in", ["", "x"])],
    [("SUBJECT", "==", "οδος")],
    [("SUBJECT", "==", "οδοσ")],
    [("RESULT_SUM", "==", -0.0)],
    [("RESULT_SUM", ">=", 1e-5)],
    [("SUBJECT", "not in", ["", "x"])],
    [[("TYPE_ID", "==", "call")], [("TYPE_ID", "==", "meeting"), ("PRIORITY", ">", 1)]],
    [("ID", "in", [])],
]


def test_read__filters(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """Conditions select from the table the rows that they select from the portal."""
    portal.server.touch(11, ASSOCIATED_ENTITY_ID=None, SUBJECT="", RESULT_SUM=None)
    portal.server.touch(12, ASSOCIATED_ENTITY_ID="0", SUBJECT=None, RESULT_SUM="0.0000")
    portal.server.touch(13, SUBJECT="ΟΔΟΣ", RESULT_SUM="0.5")
    store.sync()
    for filters in FILTERS:
        found = b24.find_activities(filters, portal, cache=False)["SUBJECT"]
        frame = store.read(["SUBJECT"], filters)
        assert frame.index.tolist() == found.index.tolist(), filters
        assert frame.columns.tolist() == ["SUBJECT"]


@given(st.lists(st.lists(st.integers(1, 10**6), max_size=9), max_size=9))
def test_sort_by_id__any_chunks(chunks: list[list[int]]) -> None:
    """Rows of files that hold ids in any order come in the order of their ids."""
    check_sorting(chunks)


def test_sort_by_id__no_runs() -> None:
    """So do many rows of which no two are in order."""
    check_sorting([random.Random(0).sample(range(10_000), 5_000)])


def check_sorting(chunks: list[list[int]]) -> None:
    """Sort rows in chunks, and fail if one is lost, out of order, or changed."""
    pa = pytest.importorskip("pyarrow")
    from b24frames.frame.arrow import sort_by_id

    parts = [pa.record_batch({"ID": ids, "X": [str(i) for i in ids]}) for ids in chunks if ids]
    schema = pa.schema({"ID": pa.int64(), "X": pa.string()})
    ordered = sort_by_id(pa.Table.from_batches(parts, schema))
    expected = sorted(i for ids in chunks for i in ids)
    assert ordered["ID"].to_pylist() == expected
    assert ordered["X"].to_pylist() == [str(i) for i in expected]


def test_read__zone_of_conditions(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """Dates without a zone are meant in the zone of the frame."""
    store.sync()
    filters = [("CREATED", ">=", "2022-02-10")]
    for tz in ("UTC", "Asia/Kamchatka"):
        found = b24.find_activities(filters, portal, tz=tz, cache=False)
        assert store.read(["CREATED"], filters, tz=tz).index.equals(found.index)


def test_read__columns_that_are_not_there(store: b24.ActivityStore) -> None:
    """A column that no row has is NA, with the dtype of its kind."""
    store.sync()
    frame = store.read(["UF_CRM_NONE", "WEBDAV_ELEMENTS", "COMMUNICATIONS", "SUBJECT"])
    assert frame.iloc[:, :3].isna().all(axis=None)
    assert set(frame.dtypes.iloc[:3]) == {pd.Series(dtype=object).dtype}
    assert frame.columns.tolist() == ["UF_CRM_NONE", "WEBDAV_ELEMENTS", "COMMUNICATIONS", "SUBJECT"]


def test_info__facts(store: b24.ActivityStore, portal: PracticePortal) -> None:
    """What a table holds is told without reading its rows."""
    store.sync()
    facts = store.info()
    assert (facts["rows"], facts["files"], facts["highest_id"]) == (299, 1, 300)
    assert (facts["portal"], facts["user_id"], facts["filters"]) == (portal.address, 1, [[{}]])
    assert pd.Timestamp(facts["synced_at"]) <= pd.Timestamp.now("UTC")
    assert facts["size"] > 1_000


def test_sync__no_place_for_a_table(portal: PracticePortal, tmp_path: Path) -> None:
    """An address of an unknown kind is named, and not said to lack what the first sync makes."""
    store = b24.ActivityStore("odd://bucket/calls", portal)
    with pytest.raises(StoreError, match="odd://bucket/calls: no table can be made there"):
        store.sync()


def test_place__home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder may be written as everywhere else."""
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("USERPROFILE", "/home/ann")
    assert repr(b24.ActivityStore("~/calls")) == "ActivityStore('/home/ann/calls')"

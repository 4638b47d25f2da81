"""Pacing: one request rate for all threads and processes of the machine."""

from __future__ import annotations

import math
import multiprocessing
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from b24frames.portal.limits import LeakyBucket
from b24frames.portal.pacing import RequestRate, SystemClock

BUCKET = LeakyBucket(50, 2)


def at_100() -> float:
    """Tell the time of a clock that stands still."""
    return 100.0


def acquire(folder: Path, times: int) -> list[float]:
    """Take places as another program would; return the delays."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: folder)
    return [rate.acquire(at_100)[0] for _ in range(times)]


def test_request_rate__shared_by_objects(tmp_path: Path) -> None:
    """What one object takes, another does not get; a restart forgets nothing."""
    first, second = acquire(tmp_path, 40), acquire(tmp_path, 40)
    assert first == [0.0] * 40
    assert [delay > 0 for delay in second] == [False] * 10 + [True] * 30


def test_request_rate__own_for_each_portal(tmp_path: Path) -> None:
    """Another portal has a bucket of its own."""
    acquire(tmp_path, 60)
    other = RequestRate(BUCKET, "https://other.bitrix24.com", lambda: tmp_path)
    assert other.acquire(at_100) == (0.0, 1.0)


def test_request_rate__threads(tmp_path: Path) -> None:
    """Threads that share an object each get a place of their own."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: tmp_path)
    with ThreadPoolExecutor(8) as pool:
        levels = sorted(level for _, level in pool.map(lambda _: rate.acquire(at_100), range(200)))
    # Those that came too late have taken no place.
    assert levels == [float(level) for level in range(1, 50)] + [50.0] * 151


def test_request_rate__processes(tmp_path: Path) -> None:
    """Processes that share the machine each get places of their own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        delays = [d for part in pool.starmap(acquire, [(tmp_path, 100)] * 2) for d in part]
    # The bucket is full for all others, none of which has taken a place.
    assert sorted(delays) == pytest.approx([0.0] * 50 + [(51 - BUCKET.usable) / 2] * 150)


def test_request_rate__time_read_in_turn(tmp_path: Path) -> None:
    """However threads overtake each other, no second leaks twice."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: tmp_path)
    clock = SystemClock()
    start = clock.now()
    with ThreadPoolExecutor(16) as pool:
        taken = [not wait for wait, _ in pool.map(lambda _: rate.acquire(clock.now), range(400))]
    assert sum(taken) <= 50 + 2 * (clock.now() - start) + 1e-6


def test_request_rate__no_place(tmp_path: Path) -> None:
    """Where no file can be made, the process keeps the rate by itself."""
    (tmp_path / "file").write_text("in the way")
    delays = acquire(tmp_path / "file", 60)
    assert [delay > 0 for delay in delays] == [False] * 50 + [True] * 10


def test_request_rate__damaged_file(tmp_path: Path) -> None:
    """A file that is no database is left alone, and costs no request."""
    (tmp_path / "request-rate.sqlite").write_bytes(b"no database" * 100)
    assert acquire(tmp_path, 1) == [0.0]


def test_request_rate__refused(tmp_path: Path) -> None:
    """After a refusal nothing is sent before something has leaked."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: tmp_path)
    rate.refuse(at_100)
    assert rate.acquire(at_100)[0] == 1.0


def test_request_rate__waiting_takes_no_place(tmp_path: Path) -> None:
    """Whoever is told to wait and never comes back costs the others nothing."""
    acquire(tmp_path, 50)
    now = 100.0
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: tmp_path)
    for _ in range(100):
        wait, _ = rate.acquire(lambda: now)
    now += wait
    assert rate.acquire(lambda: now)[0] == 0.0
    assert rate.acquire(lambda: now)[0] == pytest.approx(0.5)


def test_system_clock__speed() -> None:
    """A practice clock runs as many times as fast as it says."""
    clock, real = SystemClock(1000.0), SystemClock()
    start, real_start = clock.now(), real.now()
    with pytest.raises(queue.Empty):
        clock.take(queue.SimpleQueue(), 5.0)
    assert clock.now() - start >= 5
    assert real.now() - real_start < clock.now() - start
    assert 900_000 < clock.until(clock.unix_after(1_000_000.0)) < 1_001_000
    assert clock.until(0) == 0


def test_system_clock__takes_at_once() -> None:
    """What is there is not waited for, and the caller is heard again and again."""
    inbox: queue.SimpleQueue[int] = queue.SimpleQueue()
    inbox.put(1)
    clock = SystemClock()
    assert clock.take(inbox, math.inf) == 1
    with pytest.raises(queue.Empty):
        clock.take(inbox, math.inf)

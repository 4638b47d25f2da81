"""Pacing: one request rate for all threads and processes of the machine."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from b24frames.portal.limits import LeakyBucket
from b24frames.portal.pacing import RequestRate, SystemClock

BUCKET = LeakyBucket(50, 2)


def at_100() -> float:
    """Tell the time of a clock that stands still."""
    return 100.0


def reserve(folder: Path, times: int) -> list[float]:
    """Take places as another program would; return the delays."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: folder)
    return [rate.reserve(at_100)[0] for _ in range(times)]


def test_request_rate__shared_by_objects(tmp_path: Path) -> None:
    """What one object takes, another does not get; a restart forgets nothing."""
    first, second = reserve(tmp_path, 40), reserve(tmp_path, 40)
    assert first == [0.0] * 40
    assert [delay > 0 for delay in second] == [False] * 10 + [True] * 30


def test_request_rate__own_for_each_portal(tmp_path: Path) -> None:
    """Another portal has a bucket of its own."""
    reserve(tmp_path, 60)
    other = RequestRate(BUCKET, "https://other.bitrix24.com", lambda: tmp_path)
    assert other.reserve(at_100) == (0.0, 1.0)


def test_request_rate__threads(tmp_path: Path) -> None:
    """Threads that share an object each get a place of their own."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: tmp_path)
    with ThreadPoolExecutor(8) as pool:
        levels = sorted(level for _, level in pool.map(lambda _: rate.reserve(at_100), range(200)))
    assert levels == [float(level) for level in range(1, 201)]


def test_request_rate__processes(tmp_path: Path) -> None:
    """Processes that share the machine each get places of their own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        delays = [d for part in pool.starmap(reserve, [(tmp_path, 100)] * 2) for d in part]
    expected = [0.0] * 50 + [(level - BUCKET.usable) / 2 for level in range(51, 201)]
    assert sorted(delays) == pytest.approx(expected)


def test_request_rate__time_read_in_turn(tmp_path: Path) -> None:
    """However threads overtake each other, no second leaks twice."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: tmp_path)
    clock = SystemClock()
    start = clock.now()
    with ThreadPoolExecutor(16) as pool:
        levels = [level for _, level in pool.map(lambda _: rate.reserve(clock.now), range(400))]
    leaked = 400 - max(levels)
    assert leaked <= 2 * (clock.now() - start) + 1e-6


def test_request_rate__no_place(tmp_path: Path) -> None:
    """Where no file can be made, the process keeps the rate by itself."""
    (tmp_path / "file").write_text("in the way")
    delays = reserve(tmp_path / "file", 60)
    assert [delay > 0 for delay in delays] == [False] * 50 + [True] * 10


def test_request_rate__damaged_file(tmp_path: Path) -> None:
    """A file that is no database is left alone, and costs no request."""
    (tmp_path / "request-rate.sqlite").write_bytes(b"no database" * 100)
    assert reserve(tmp_path, 1) == [0.0]


def test_request_rate__refused(tmp_path: Path) -> None:
    """After a refusal nothing is sent before something has leaked."""
    rate = RequestRate(BUCKET, "https://acme.bitrix24.com", lambda: tmp_path)
    rate.refuse(at_100)
    assert rate.reserve(at_100)[0] == 1.0


def test_system_clock__speed() -> None:
    """A practice clock runs as many times as fast as it says."""
    clock, real = SystemClock(1000.0), SystemClock()
    start, real_start = clock.now(), real.now()
    clock.sleep(5, threading.Event())
    assert clock.now() - start >= 5
    assert real.now() - real_start < clock.now() - start
    assert 900_000 < clock.until(clock.unix_after(1_000_000.0)) < 1_001_000
    assert clock.until(0) == 0


def test_system_clock__woken() -> None:
    """Nobody waits for what has been stopped."""
    clock, stop = SystemClock(), threading.Event()
    start = clock.now()
    stop.set()
    clock.sleep(3_600, stop)
    assert clock.now() - start < 3_600

"""A portal over real sockets: signals, forks, and sessions that the caller made."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_cache
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

import b24frames as b24
from b24frames.errors import AuthenticationError, PortalUnavailableError
from b24frames.portal.pacing import SystemClock
from b24frames.practice import PracticePortal
from tests.helpers.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault
from tests.helpers.practice import posts

MakePortal = Callable[..., PracticePortal]
UNPACED = (10_000, 10_000)


# --- what the caller's own signal handler raises -----------------------------------------------


@contextmanager
def raising(error: Exception, seconds: float) -> Iterator[None]:
    """Have a signal handler of the caller's raise an error after a while."""

    def handler(*_: object) -> None:
        raise error

    usual = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timers that raise")
@pytest.mark.parametrize("kind", [TimeoutError, OSError, ValueError])
def test_call__error_of_a_signal_handler(portal: PracticePortal, kind: type[Exception]) -> None:
    """What a handler raises while the portal hangs is no error of the portal: it gets out."""
    portal.server.faults.append(Fault("hang"))
    own = kind("the caller's own deadline")
    with raising(own, 0.1), pytest.raises(kind) as caught:
        portal.call("crm.activity.get", {"id": 5})
    assert caught.value is own
    assert posts(portal) <= 1  # on a busy machine the timer may be first


@pytest.mark.parametrize("kind", [TimeoutError, OSError])
def test_cache__error_of_a_signal_handler(
    portal: PracticePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """Nor is it an error of the cache, or of the request rate that processes share."""
    own = kind("the caller's own deadline")

    def interrupted(*_: object, **__: object) -> None:
        raise own

    backend, client = requests_cache.BaseCache(), b24.Portal(portal.url)
    for cache in (tmp_path, b24.ActivityCache(backend=backend), False):
        with monkeypatch.context() as patch:
            patch.setattr("sqlite3.connect", interrupted)
            patch.setattr(backend.responses, "get", interrupted)
            with pytest.raises(kind) as caught:
                b24.read_activities([5], client, cache=cache)
        assert caught.value is own
    assert posts(portal) == 0
    # The rate is shared on.
    client.call("profile")
    assert list(tmp_path.rglob("request-rate.sqlite"))


# --- forks -------------------------------------------------------------------------------------

FORK = """
import json, os, signal
import b24frames as b24

def commands(ids):
    return {f"a{i}": ("crm.activity.get", {"id": i}) for i in ids}

signal.alarm(30)
options = {"deleted": (), "refused": (), "limits": "enterprise", "latency": 0.02}
with b24.practice_portal(300, **options) as portal:
    portal.call_batch(commands(range(1, 301)))
    lock = portal._scheduler.rate._lock
    lock.acquire()  # as by another thread, which there is none of in the child
    child = os.fork()
    signal.alarm(20)
    if child:
        lock.release()
    ids = range(1, 201) if child else range(101, 301)
    records = {f"a{i}": portal.server.record(i) for i in ids}
    right = sum(portal.call_batch(commands(ids)) == records for _ in range(8))
    if not child:
        os._exit(right)
    _, status = os.waitpid(child, 0)
    print(json.dumps([right, os.waitstatus_to_exitcode(status)]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
def test_portal__on_both_sides_of_a_fork() -> None:
    """Parent and child read at once, each by connections of its own, and neither is mixed up."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [8, 8]


# --- sessions that the caller made -------------------------------------------------------------


def repeating(status: int) -> requests.Session:
    """Make a session that repeats by itself what is answered with a status."""
    retry = Retry(1, status_forcelist=[status], allowed_methods=None, backoff_factor=0)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session


def test_session__repeats_by_itself(portal: PracticePortal) -> None:
    """A session that has given up repeating is repeated as the portal itself would be."""
    portal.server.faults.append(Fault("html", status=502, times=4))
    with repeating(502) as session:
        client = b24.Portal(portal.url, session=session, clock=WaitlessClock())
        assert client.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
        assert posts(portal) == 5
        portal.server.faults.append(Fault("html", status=502))
        with pytest.raises(PortalUnavailableError, match="keeps refusing") as caught:
            client.call("profile")
    assert caught.value.retryable


@pytest.mark.parametrize("kind", ["truncated", "drip", "gzip"])
def test_session__streams(portal: PracticePortal, kind: str) -> None:
    """Where a session streams, answers are read to their end all the same."""
    portal.server.faults.append(Fault(kind, times=1))
    with requests.Session() as session:
        session.stream = True
        client = b24.Portal(portal.url, session=session, clock=WaitlessClock())
        assert client.call("crm.activity.get", {"id": 5}) == portal.server.record(5)


@pytest.mark.parametrize("kind", ["QUERY_LIMIT_EXCEEDED", "html", "truncated", "drip"])
def test_session__raises_for_the_status(portal: PracticePortal, kind: str) -> None:
    """A hook that raises for the status of an answer does not keep the answer away."""
    portal.server.faults.append(Fault(kind, times=1))
    with requests.Session() as session:
        session.hooks["response"].append(lambda response, **_: response.raise_for_status())
        client = b24.Portal(portal.url, session=session, clock=WaitlessClock())
        assert client.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
        portal.server.faults.append(Fault("NO_AUTH_FOUND"))
        with pytest.raises(AuthenticationError, match="NO_AUTH_FOUND"):
            client.call("profile")


class Counting(requests.Session):
    """A session that notes how many requests are under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = self.most = 0
        self.lock = threading.Lock()

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request."""
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            return super().request(*args, **options)
        finally:
            with self.lock:
                self.under_way -= 1


def test_session__usual_connections(
    make_portal: MakePortal, caplog: pytest.LogCaptureFixture
) -> None:
    """No more requests are under way than a session of the caller's keeps connections."""
    practice = make_portal(activities=5000, deleted=(), refused=(), latency=0.005)
    with caplog.at_level(logging.DEBUG, logger="urllib3"), Counting() as session:
        client = b24.Portal(practice.url, limits=UNPACED, session=session)
        assert len(b24.read_activities(range(1, 5001), client, cache=False)) == 5000
    assert 1 < session.most <= 10
    lines = [r.getMessage() for r in caplog.records if r.name == "urllib3.connectionpool"]
    assert sum("Starting new HTTP connection" in line for line in lines) <= 10
    assert not [line for line in lines if "pool is full" in line]


# --- a paced read that is interrupted ----------------------------------------------------------


class Interrupting:
    """A progress bar that is interrupted once so many rows have come."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def update(self, n: int) -> None:
        """Take note of further rows."""
        self.rows -= n
        if self.rows < 0:
            raise KeyboardInterrupt

    def set_postfix_str(self, text: str) -> None:
        """Show why nothing happens."""


def test_interrupt__leaves_the_rate(make_portal: MakePortal) -> None:
    """After a paced read that was interrupted, the next request need not wait for those unsent."""
    practice = make_portal(activities=5000, deleted=(), refused=())
    clock = SystemClock(speed=20.0)
    with closing(b24.Portal(practice.url, limits=(10, 2), clock=clock)) as client:
        client.folder = practice.folder
        with pytest.raises(KeyboardInterrupt):
            b24.read_activities(range(1, 5001), client, cache=False, progress=Interrupting(600))
        rate = client._scheduler.rate
        assert rate is not None
        wait, _ = rate.acquire(clock.now)
    assert posts(practice) < 100
    assert wait <= 0.5

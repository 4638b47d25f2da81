"""Runs of a portal over HTTP: several requests at once, smaller batches, waits, and ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

import b24frames as b24
from b24frames.errors import OperatingTimeError, PortalBlockedError, PortalUnavailableError
from b24frames.portal.commands import CommandQueue
from b24frames.practice import PracticePortal
from b24frames.practice.faults import Fault
from b24frames.practice.server import PracticeServer
from tests.helpers.clocks import WaitlessClock
from tests.helpers.practice import asked, posts
from tests.helpers.servers import serving
from tests.helpers.sessions import Overtaken

MakePortal = Callable[..., PracticePortal]


def get(ids: range) -> dict[str, tuple[str, dict[str, int]]]:
    """Return the commands for some activities."""
    return {f"a{i}": ("crm.activity.get", {"id": i}) for i in ids}


class Together(requests.Session):
    """A session whose requests wait until so many are under way at once."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.barrier = threading.Barrier(parties, timeout=60)

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request."""
        self.barrier.wait()
        return super().request(*args, **options)


class Slow(requests.Session):
    """A session whose answers take so long, and that notes how many requests are under way."""

    def __init__(self, clock: WaitlessClock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds
        self.under_way = self.most = 0

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.clock.pass_by(self.seconds)
        try:
            return super().request(*args, **options)
        finally:
            self.under_way -= 1


class Interrupted(requests.Session):
    """A session without a network for so many requests, after some others."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__()
        self.gone = range(first, first + count)
        self.sent = 0

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send a request; without a network, to a port where nobody listens."""
        if self.sent in self.gone:
            url = f"http://127.0.0.1:9{urlsplit(url).path}"
        self.sent += 1
        return super().request(method, url, *args, **options)


@pytest.mark.parametrize(
    ("limits", "at_once"),
    [("cloud", 50), ("enterprise", 50), ("self-hosted", 16), ((7.5, 1), 7)],
)
def test_concurrency__by_default(make_portal: MakePortal, limits: Any, at_once: int) -> None:
    """As many requests as the plan grants are under way at once, within reason."""
    practice = make_portal()
    commands: dict[str, Any] = {f"a{i}": ("profile", {}) for i in range(50 * at_once)}
    with Together(at_once) as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=at_once))
        portal = b24.Portal(practice.url, limits=limits, session=session)
        answers = portal.call_batch(commands)
    assert list(answers) == list(commands)
    assert posts(practice) == at_once


def test_concurrency__one(make_portal: MakePortal) -> None:
    """With a concurrency of one the requests come one after another, in order."""
    practice = make_portal(activities=200, deleted=(), refused=())
    portal = b24.Portal(practice.url, concurrency=1, limits="self-hosted")
    portal.call_batch(get(range(1, 201)))
    assert asked(practice) == list(range(1, 201))


def test_batch__halved(make_portal: MakePortal) -> None:
    """A batch that takes too long is sent in halves, and the smaller size remembered."""
    portal = make_portal(activities=300, deleted=(), refused=())
    portal.server.faults.append(Fault("batch-timeout", more_than=20))
    answers = portal.call_batch(get(range(1, 51)))
    sizes = [len(r.commands) for r in portal.server.requests]
    assert sizes[:3] == [50, 25, 13]
    assert sum(sizes[2:]) == 50
    assert all(answers[f"a{i}"] == portal.server.record(i) for i in range(1, 51))
    portal.call_batch(get(range(51, 301)))
    assert max(len(r.commands) for r in portal.server.requests[len(sizes) :]) == 13


def test_batch__as_large_as_before(make_portal: MakePortal) -> None:
    """Once a bad moment of the portal has passed, the batches become as large as they were."""
    practice = make_portal(activities=2000, deleted=(), refused=())
    practice.server.faults.append(Fault("batch-timeout", times=2))
    portal = b24.Portal(practice.url, concurrency=1, limits="self-hosted")
    answers = portal.call_batch(get(range(1, 2001)))
    assert len(answers) == 2000
    sizes = [len(r.commands) for r in practice.server.requests]
    assert sizes[:3] == [50, 25, 13]
    assert max(sizes[4:20]) < 50
    assert max(sizes[20:]) == 50


def test_batch__poisoned(make_portal: MakePortal) -> None:
    """A record that breaks every batch it is in costs none of the others."""
    practice = make_portal(activities=300, deleted=(), refused=())
    practice.server.faults.append(Fault("html", status=500, method="batch", ids=[123]))
    with Overtaken(123, others=250) as session:
        portal = b24.Portal(
            practice.url, limits="self-hosted", session=session, clock=WaitlessClock()
        )
        with pytest.warns(b24.errors.MissingActivitiesWarning, match="123 .refused by the portal"):
            frame = b24.read_activities(range(1, 301), portal, progress=session)
        assert frame.index.tolist() == [i for i in range(1, 301) if i != 123]
        practice.server.faults.clear()
        sent = len(asked(practice))
        assert len(b24.read_activities(range(1, 301), portal)) == 300
    assert asked(practice)[sent:] == [123]


def test_batch__not_allowed(make_portal: MakePortal) -> None:
    """Where a method is not allowed in a batch it is called by itself."""
    portal = make_portal(activities=60, deleted=[7], refused=())
    portal.server.faults.append(Fault("ERROR_BATCH_METHOD_NOT_ALLOWED", method="batch"))
    frame = b24.read_activities(range(1, 11), portal, missing="ignore")
    assert frame.index.tolist() == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert [r.method for r in portal.server.requests] == ["batch", *["crm.activity.get"] * 10]


@pytest.mark.parametrize("code", ["OVERLOAD_LIMIT", "NO_AUTH_FOUND", "insufficient_scope"])
def test_final__stops_at_once(make_portal: MakePortal, code: str) -> None:
    """Where every call would be refused alike no further one is sent; what was read is kept."""
    portal = make_portal(activities=5000, deleted=(), refused=(), latency=0.01)
    b24.read_activities(range(1, 101), portal)
    portal.server.faults.append(Fault(code))
    with pytest.raises(b24.errors.PortalError) as caught:
        b24.read_activities(range(1, 5001), portal)
    assert caught.value.code == code
    assert posts(portal) <= 2 + 16 + 16
    portal.server.faults.clear()
    assert len(b24.read_activities(range(1, 101), portal, only_if_cached=True)) == 100


def test_portal_down__stops_soon(make_portal: MakePortal) -> None:
    """With the portal down the read ends after a bounded number of requests."""
    portal = make_portal(activities=5000)
    portal.server.faults.append(Fault("html"))
    with pytest.raises(PortalUnavailableError):
        b24.read_activities(range(1, 5001), portal)
    assert posts(portal) <= 16 * 7


def test_blocked__in_a_batch(make_portal: MakePortal) -> None:
    """A block that hits one command of a batch ends the read, too."""
    portal = make_portal(activities=100, deleted=(), refused=())
    portal.server.faults.append(Fault("OVERLOAD_LIMIT", ids=[50]))
    with pytest.raises(PortalBlockedError):
        b24.read_activities(range(1, 101), portal)


def test_operating_time__slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that needs more operating time than granted waits, says so, and is never refused."""
    clock = WaitlessClock()
    limit: dict[str, Any] = {"operating_limit": 100.0}
    practice_clock = SimpleNamespace(time=lambda: clock.unix_after(0.0))
    monkeypatch.setattr("b24frames.practice.metering.time", practice_clock)
    with PracticeServer(
        activities=250,
        deleted=(),
        refused=(),
        limits=None,
        operating_cost=0.5,
        clock=clock.now,
        **limit,
    ) as server:
        portal = b24.Portal(server.url, clock=clock, limits="self-hosted", concurrency=1, **limit)
        told: list[str] = []
        answers: dict[str, Any] = {}
        run = portal.run(CommandQueue(get(range(1, 251)).items()))
        for part in run:
            answers |= part
            told.append(run.waiting)
        assert all(answers[f"a{i}"] == server.record(i) for i in range(1, 251))
        assert len(server.requests) == 5
    assert any("operating time" in words and "waiting" in words for words in told)
    assert 540 < clock.now() < 660


def test_operating_time__one_at_a_time(make_portal: MakePortal) -> None:
    """Where little of it is left no two calls are under way at once."""
    practice = make_portal(activities=50, deleted=(), refused=(), operating_cost=1.3, latency=0.01)
    clock = WaitlessClock()
    with Slow(clock, 0.0) as session, ThreadPoolExecutor(6) as pool:
        portal = b24.Portal(
            practice.url, clock=clock, session=session, limits="self-hosted", operating_limit=100.0
        )
        portal.call_batch(get(range(1, 51)))  # 65 s
        answers = list(pool.map(lambda i: portal.call(*get([i])[f"a{i}"]), range(1, 13)))
    assert [int(answer["ID"]) for answer in answers] == [*range(1, 13)]
    assert session.most == 1


def test_operating_time__clock_wrong() -> None:
    """A reset hours away is that of a wrong clock: no time that is billed is ten minutes old."""
    clock = WaitlessClock()
    time = {"operating": 470.0, "operating_reset_at": clock.unix_after(36_000.0)}

    def reply(_: str, body: bytes) -> tuple[int, list[str], str]:
        names = json.loads(body)["cmd"]
        result = {"result": {name: {} for name in names}, "result_time": dict.fromkeys(names, time)}
        return 200, [], json.dumps({"result": result})

    with serving(reply) as address:
        portal = b24.Portal(f"{address}/rest/1/x/", clock=clock, limits="self-hosted")
        portal.call_batch(get([1]))
        begun = clock.now()
        assert portal.call_batch(get([2])) == {"a2": {}}
        portal.close()
    assert 600 <= clock.now() - begun < 601


def test_operating_time__refused_commands_only(make_portal: MakePortal) -> None:
    """Commands that met the wall are sent again after the reset; the others are not."""
    portal = make_portal(activities=100, deleted=(), refused=())
    portal.server.faults.append(Fault("OPERATION_TIME_LIMIT", ids=[20, 21], times=2))
    portal.call_batch(get(range(10, 40)))
    assert asked(portal)[:30] == list(range(10, 40))
    assert asked(portal)[30:] == [20, 21]


def test_network__comes_back(make_portal: MakePortal) -> None:
    """A portal that has answered is waited for; nothing is sent twice for that, nor in parts."""
    practice = make_portal(activities=500, deleted=(), refused=())
    clock = WaitlessClock()
    with Interrupted(first=2, count=20) as session:
        portal = b24.Portal(practice.url, clock=clock, session=session, concurrency=1)
        answers = portal.call_batch(get(range(1, 501)))
    assert [int(answer["ID"]) for answer in answers.values()] == [*range(1, 501)]
    assert posts(practice) == 10
    assert session.sent == 30
    assert clock.now() > 60


def test_network__stays_away(make_portal: MakePortal) -> None:
    """It is not waited for longer than `max_wait`, nor at all before it has answered."""
    practice = make_portal(activities=200, deleted=(), refused=())
    waited = []
    for first in (0, 1):
        clock = WaitlessClock()
        with Interrupted(first, count=10_000) as session:
            portal = b24.Portal(practice.url, clock=clock, session=session, concurrency=1)
            with pytest.raises(PortalUnavailableError, match="no connection") as caught:
                portal.call_batch(get(range(1, 201)))
        assert caught.value.retryable
        assert not caught.value.reached
        waited.append(clock.now())
    assert waited[0] < 60 < 800 < waited[1] < 1000


def test_max_wait__not_in_ever_smaller_batches(make_portal: MakePortal) -> None:
    """A batch that takes too long is not sent in parts once there was no success for long."""
    practice = make_portal()
    practice.server.faults.append(Fault("batch-timeout"))
    clock = WaitlessClock()
    with Slow(clock, 60.0) as session:
        portal = b24.Portal(
            practice.url, clock=clock, session=session, limits="self-hosted", max_wait=100.0
        )
        with pytest.raises(PortalUnavailableError):
            portal.call_batch(get(range(1, 51)))
    assert [len(r.commands) for r in practice.server.requests] == [50, 25]
    assert clock.now() < 121


def test_max_wait__ends(make_portal: MakePortal) -> None:
    """A limit that never gives way is an error after the time set."""
    practice = make_portal()
    practice.server.faults.append(Fault("OPERATION_TIME_LIMIT"))
    portal = b24.Portal(practice.url, max_wait=100, clock=WaitlessClock(), limits="self-hosted")
    with pytest.raises(OperatingTimeError):
        portal.call("profile")
    assert posts(practice) == 2

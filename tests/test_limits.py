"""Limits: the leaky bucket never passes what the portal grants, and backoff grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.limits import LeakyBucket, SystemClock, bucket_for, parse_limits, retry_delay


class PortalCounter:
    """The portal's own counter: lowered by `leak` once a second, at a phase of its own."""

    def __init__(self, capacity: float, leak: float, phase: float) -> None:
        self.capacity, self.leak, self.phase = capacity, leak, phase
        self.level, self.ticks = 0.0, 0

    def accepts(self, now: float) -> bool:
        """Count a request; tell whether it is within the limit."""
        ticks = int(now + self.phase)
        self.level = max(0.0, self.level - (ticks - self.ticks) * self.leak)
        self.ticks = ticks
        self.level += 1
        return self.level <= self.capacity


@given(
    limits=st.sampled_from([(50.0, 2.0), (250.0, 5.0), (10.0, 3.0)]),
    phase=st.floats(0, 0.999),
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=400),
)
def test_leaky_bucket__never_refused(
    limits: tuple[float, float], phase: float, pauses: list[float]
) -> None:
    """Whatever the pauses between requests, the portal's ticking counter refuses none."""
    bucket, counter = LeakyBucket(*limits), PortalCounter(*limits, phase)
    now = 0.0
    for pause in pauses:
        now += pause
        now += bucket.reserve(now)
        assert counter.accepts(now)


@pytest.mark.parametrize(("limits", "requests"), [((50.0, 2.0), 200), ((250.0, 5.0), 1000)])
def test_leaky_bucket__as_fast_as_granted(limits: tuple[float, float], requests: int) -> None:
    """A long read takes as long as the leak demands, but for the few places left unused."""
    capacity, leak = limits
    bucket, now = LeakyBucket(capacity, leak), 0.0
    for _ in range(requests):
        now += bucket.reserve(now)
    floor = (requests - capacity) / leak
    assert floor <= now <= floor + (leak - 1 + 2) / leak + 1e-6


def test_leaky_bucket__waits_in_line() -> None:
    """Requests that reserve at the same moment get different moments to be sent."""
    bucket = LeakyBucket(5, 2)
    assert [bucket.reserve(0.0) for _ in range(5)] == [0, 0, 0.5, 1.0, 1.5]


def test_leaky_bucket__full_after_refusal() -> None:
    """After a refusal nothing is sent before something has leaked."""
    bucket = LeakyBucket(50, 2)
    bucket.fill(100.0)
    assert bucket.reserve(100.0) == pytest.approx(0.5)


def test_leaky_bucket__clock_back() -> None:
    """A clock that goes back grants nothing."""
    bucket = LeakyBucket(5, 2)
    delays = [bucket.reserve(now) for now in (100.0, 100.0, 0.0, 0.0)]
    assert delays == [0, 0, 0.5, 1.0]


def test_bucket_for__shared() -> None:
    """All objects for one address share a bucket; another address has its own."""
    first = bucket_for("https://one.example", "cloud")
    assert first is bucket_for("https://one.example", (50, 2))
    assert first is not bucket_for("https://two.example", "cloud")
    assert bucket_for("https://one.example", "self-hosted") is None


@pytest.mark.parametrize(
    "limits", ["fast", "", None, 5, (0, 1), (1, 0), (1, 2, 3), ("a", 1), (50,)]
)
def test_parse_limits__refused(limits: Any) -> None:
    """Limits that are neither a preset nor a pair are refused with what is accepted."""
    with pytest.raises(ValueError, match="'cloud', 'enterprise', 'self-hosted'"):
        parse_limits(limits)


@given(st.integers(0, 60), st.one_of(st.none(), st.floats(0, 600)))
def test_retry_delay__bounds(attempt: int, retry_after: float | None) -> None:
    """A delay is positive, never beyond the cap, and never shorter than the portal asked for."""
    delay = retry_delay(attempt, retry_after)
    assert delay >= 0.25
    assert delay >= (retry_after or 0)
    assert delay <= max(30.0, retry_after or 0)


def test_system_clock__speed() -> None:
    """A practice clock runs as many times as fast as it says."""
    clock, real = SystemClock(1000.0), SystemClock()
    start, real_start = clock.now(), real.now()
    clock.sleep(5)
    assert clock.now() - start >= 5
    assert real.now() - real_start < 5

"""Limits: the leaky bucket never passes what the portal grants, and backoff grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.limits import BucketState, LeakyBucket, OperatingTime, parse_limits, retry_delay


class PortalCounter:
    """The portal's own counter: lowered by `leak` once a second, at a phase of its own."""

    def __init__(self, bucket: LeakyBucket, phase: float) -> None:
        self.bucket, self.phase = bucket, phase
        self.level, self.ticks = 0.0, 0

    def accepts(self, now: float) -> bool:
        """Count a request; tell whether it is within the limit."""
        ticks = int(now + self.phase)
        self.level = max(0.0, self.level - (ticks - self.ticks) * self.bucket.leak)
        self.ticks = ticks
        self.level += 1
        return self.level <= self.bucket.capacity


PRESETS = [LeakyBucket(50, 2), LeakyBucket(250, 5), LeakyBucket(10, 3)]


@given(
    bucket=st.sampled_from(PRESETS),
    phase=st.floats(0, 0.999),
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=400),
)
def test_leaky_bucket__never_refused(
    bucket: LeakyBucket, phase: float, pauses: list[float]
) -> None:
    """Whatever the pauses between requests, the portal's ticking counter refuses none."""
    counter, state, now = PortalCounter(bucket, phase), BucketState(), 0.0
    for pause in pauses:
        now += pause
        state, delay = bucket.reserve(state, now)
        now += delay
        assert counter.accepts(now)


@pytest.mark.parametrize(("bucket", "requests"), [(PRESETS[0], 200), (PRESETS[1], 1000)])
def test_leaky_bucket__as_fast_as_granted(bucket: LeakyBucket, requests: int) -> None:
    """A long read takes as long as the leak demands, but for the few places left unused."""
    state, now = BucketState(), 0.0
    for _ in range(requests):
        state, delay = bucket.reserve(state, now)
        now += delay
    floor = (requests - bucket.capacity) / bucket.leak
    assert floor <= now <= floor + (bucket.leak - 1 + 2) / bucket.leak + 1e-6


def delays(bucket: LeakyBucket, state: BucketState, moments: list[float]) -> list[float]:
    """Reserve at each moment; return the delays."""
    found = []
    for now in moments:
        state, delay = bucket.reserve(state, now)
        found.append(delay)
    return found


def test_leaky_bucket__waits_in_line() -> None:
    """Requests that reserve at the same moment get different moments to be sent."""
    assert delays(LeakyBucket(5, 2), BucketState(), [0.0] * 5) == [0, 0, 0.5, 1.0, 1.5]


def test_leaky_bucket__clock_back() -> None:
    """A clock that goes back grants nothing, and holds nothing up."""
    assert delays(LeakyBucket(5, 2), BucketState(), [9.0, 9.0, 0.0, 0.0]) == [0, 0, 0.5, 1.0]


def test_leaky_bucket__slower_after_refusal() -> None:
    """After a refusal the bucket is full, the share smaller; it recovers in a minute."""
    bucket = LeakyBucket(50, 2)
    state = bucket.refuse(BucketState(updated=100.0), 100.0)
    assert delays(bucket, state, [100.0]) == [1.0]
    assert delays(bucket, state, [200.0] * 47)[-1] == 0.0
    for _ in range(20):
        state = bucket.refuse(state, 100.0)
    assert delays(bucket, state, [100.0]) == [2.0]


@pytest.mark.parametrize(
    "limits", ["fast", "", None, 5, (0, 1), (1, 0), (1, 2, 3), ("a", 1), (50,)]
)
def test_parse_limits__refused(limits: Any) -> None:
    """Limits that are neither a preset nor a pair are refused with what is accepted."""
    with pytest.raises(ValueError, match="'cloud', 'enterprise', 'self-hosted'"):
        parse_limits(limits)


def test_parse_limits__accepted() -> None:
    """Presets are those of the documentation; a pair is taken as it is."""
    assert parse_limits("cloud") == LeakyBucket(50, 2)
    assert parse_limits("enterprise") == LeakyBucket(250, 5)
    assert parse_limits("self-hosted") is None
    assert parse_limits((10, 0.5)) == LeakyBucket(10, 0.5)


def test_operating_time__slows_before_the_wall() -> None:
    """Near the limit a method waits for its reset; other methods do not."""
    operating = OperatingTime(480)
    operating.note("crm.activity.get", {"operating": 430.0, "operating_reset_at": 1000})
    assert operating.blocked_until(["crm.activity.get"]) == 0
    operating.note("CRM.activity.get", {"operating": 433.0, "operating_reset_at": 1000})
    assert operating.blocked_until(["crm.activity.get", "batch"]) == 1000
    assert operating.blocked_until(["crm.activity.list"]) == 0
    operating.note("batch", {"operating": 470.0, "operating_reset_at": 1200})
    assert operating.blocked_until(["crm.activity.get", "batch"]) == 1200
    operating.note("crm.activity.get", {"operating": 100.0, "operating_reset_at": 1300})
    assert operating.blocked_until(["crm.activity.get"]) == 0


def test_operating_time__refused() -> None:
    """A refused method waits for its reset where that is known, else for a while."""
    operating = OperatingTime(None)
    operating.block("m", now=100, later=160)
    assert operating.blocked_until(["m"]) == 160
    operating.block("m", now=150, later=210)
    assert operating.blocked_until(["m"]) == 160


@pytest.mark.parametrize("time", [None, [], {}, {"operating": "x"}, {"operating": 999}, 5])
def test_operating_time__odd_answers(time: Any) -> None:
    """What says nothing about operating time changes nothing."""
    operating = OperatingTime(480)
    operating.note("m", time)
    assert operating.blocked_until(["m"]) == operating.blocked_until([]) == 0


@given(st.integers(0, 60), st.one_of(st.none(), st.floats(0, 600)))
def test_retry_delay__bounds(attempt: int, retry_after: float | None) -> None:
    """A delay is positive, never beyond the cap, and never shorter than the portal asked for."""
    delay = retry_delay(attempt, retry_after)
    assert delay >= 0.25
    assert delay >= (retry_after or 0)
    assert delay <= max(30.0, retry_after or 0)

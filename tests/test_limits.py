"""Limits: the leaky bucket never passes what the portal grants, and backoff grows."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from b24frames.errors import WEB_PAGE, InvalidAnswerError, PortalError, PortalUnavailableError
from b24frames.portal.limits import (
    BatchSize,
    BucketState,
    LeakyBucket,
    OperatingTime,
    Patience,
    delay_of_halves,
    parse_limits,
    retry_delay,
)


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


PRESETS = [LeakyBucket(50, 2), LeakyBucket(250, 5), LeakyBucket(10, 3), LeakyBucket(5, 0.5)]


@given(
    bucket=st.sampled_from(PRESETS),
    phase=st.floats(0, 0.999),
    rounds=st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 1.0, 2.9, 3.1, 30.0, 90.0]), st.integers(1, 80)),
        min_size=1,
        max_size=30,
    ),
    lateness=st.lists(st.floats(0, 0.4), min_size=1, max_size=20),
)
def test_leaky_bucket__never_refused(
    bucket: LeakyBucket, phase: float, rounds: list[tuple[float, int]], lateness: list[float]
) -> None:
    """Whatever the pauses, and however requests overtake each other, the portal refuses none."""
    state, now, arrivals = BucketState(), 0.0, []
    for pause, requests in rounds:
        now += pause
        for _ in range(requests):
            while (taken := bucket.acquire(state, now))[1]:
                now += taken[1]
            state = taken[0]
            arrivals.append(now + lateness[len(arrivals) % len(lateness)])
    counter = PortalCounter(bucket, phase)
    assert all(counter.accepts(moment) for moment in sorted(arrivals))


@pytest.mark.parametrize("bucket", PRESETS)
def test_leaky_bucket__all_of_an_empty_one(bucket: LeakyBucket) -> None:
    """A bucket that was empty grants its whole capacity at once, and again when it is empty."""
    burst = int(bucket.capacity)
    found = delays(bucket, BucketState(), [1000.0] * (burst + 1) + [5000.0] * (burst + 1))
    assert [delay > 0 for delay in found] == 2 * [*[False] * burst, True]


@pytest.mark.parametrize(("bucket", "requests"), [(PRESETS[0], 200), (PRESETS[1], 1000)])
def test_leaky_bucket__as_fast_as_granted(bucket: LeakyBucket, requests: int) -> None:
    """A long read takes as long as the leak demands, but for the few places left unused."""
    state, now = BucketState(), 0.0
    for _ in range(requests):
        while (taken := bucket.acquire(state, now))[1]:
            now += taken[1]
        state = taken[0]
    floor = (requests - bucket.capacity) / bucket.leak
    assert floor <= now <= floor + (bucket.capacity - bucket.usable) / bucket.leak + 1e-6
    assert bucket.capacity - bucket.usable <= 1.5 * bucket.leak


def delays(bucket: LeakyBucket, state: BucketState, moments: list[float]) -> list[float]:
    """Ask for a place at each moment; return the delays."""
    found = []
    for now in moments:
        state, delay = bucket.acquire(state, now)
        found.append(delay)
    return found


@pytest.mark.parametrize(
    ("bucket", "delay"),
    [*zip(PRESETS, [1.5, 1.5, 1.5, 3.0], strict=True), (LeakyBucket(3, 5), 0.6)],
)
def test_leaky_bucket__leaves_a_margin(bucket: LeakyBucket, delay: float) -> None:
    """After the burst as much is left unused as the portal's steps and late requests may need."""
    burst = int(bucket.capacity)
    expected = [0.0] * burst + [delay]
    assert delays(bucket, BucketState(), [1000.0] * (burst + 1)) == pytest.approx(expected)


def test_leaky_bucket__surely_empty() -> None:
    """The whole capacity is granted again three seconds after all of it has leaked, not before."""
    bucket = LeakyBucket(5, 2)
    assert delays(bucket, BucketState(), [0.0] * 5 + [5.375] * 5)[5:] == [0, 0, 0, 0.5, 0.5]
    assert delays(bucket, BucketState(), [0.0] * 5 + [5.5] * 5)[5:] == [0] * 5


def test_leaky_bucket__waiting_takes_no_place() -> None:
    """Only who sends takes a place: those that wait, wait for the same one."""
    bucket = LeakyBucket(5, 2)
    assert delays(bucket, BucketState(), [0.0] * 7) == [0] * 5 + [1.5, 1.5]
    assert delays(bucket, BucketState(), [0.0] * 7 + [1.5] * 2) == [0] * 5 + [1.5, 1.5, 0, 0.5]


def test_leaky_bucket__clock_back() -> None:
    """A clock that goes back grants nothing, and holds nothing up."""
    moments = [9.0] * 5 + [0.0, 0.0]
    assert delays(LeakyBucket(5, 2), BucketState(), moments) == [0] * 5 + [1.5, 1.5]


def test_leaky_bucket__slower_after_refusal() -> None:
    """After a refusal the bucket is full, the share smaller; it recovers in a minute."""
    bucket = LeakyBucket(50, 2)
    state = bucket.refuse(BucketState(updated=100.0), 100.0)
    assert delays(bucket, state, [100.0]) == [1.0]
    assert delays(bucket, state, [200.0] * 47)[-1] == 0.0
    for _ in range(20):
        state = bucket.refuse(state, 100.0)
    assert delays(bucket, state, [100.0]) == [2.0]


@pytest.mark.parametrize(("later", "free", "delay"), [(0, 0, 1.0), (15, 15, 1 / 1.5)])
def test_leaky_bucket__recovers_slowly(later: float, free: int, delay: float) -> None:
    """As long as the share is small less leaks, and what is waited for takes longer."""
    bucket = LeakyBucket(50, 2)
    state = bucket.refuse(BucketState(updated=100.0), 100.0)
    found = delays(bucket, state, [100.0 + later] * (free + 1))
    assert found == pytest.approx([0.0] * free + [delay])


def test_leaky_bucket__no_burst_soon_after_a_refusal() -> None:
    """While the share is small others may have filled the portal's counter: it may not be empty."""
    bucket = LeakyBucket(10, 3)
    state = bucket.refuse(BucketState(updated=100.0), 100.0)
    assert [delay > 0 for delay in delays(bucket, state, [120.0] * 8)] == [False] * 6 + [True] * 2
    assert delays(bucket, state, [140.0] * 10) == [0.0] * 10


def test_leaky_bucket__refused_when_full() -> None:
    """A refusal makes nobody who waits come sooner."""
    bucket, state = LeakyBucket(50, 2), BucketState()
    for _ in range(50):
        state, _wait = bucket.acquire(state, 0.0)
    assert delays(bucket, bucket.refuse(state, 0.0), [0.0]) == [3.0]


@pytest.mark.parametrize(
    "limits",
    ["fast", "", None, 5, (0, 1), (1, 0), (1, 2, 3), ("a", 1), (50,), (inf, 2), (50, inf)]
    + [(0.5, 1), (5, "1")]
    + [(10**400, 2), (nan, 2)],
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
    assert parse_limits((1, 0.5)) == LeakyBucket(1, 0.5)


def test_operating_time__slows_before_the_wall() -> None:
    """Near the limit a method waits for its reset; other methods do not."""
    operating = OperatingTime(480)
    operating.note("crm.activity.get", {"operating": 431.0, "operating_reset_at": 1000}, 900.0)
    assert operating.blocked_until(["crm.activity.get"]) == 0
    operating.note("CRM.activity.get", {"operating": 432.0, "operating_reset_at": 1000}, 900.0)
    assert operating.blocked_until(["crm.activity.get", "batch"]) == 1001
    assert operating.blocked_until(["crm.activity.list"]) == 0
    operating.note("batch", {"operating": 470.0, "operating_reset_at": 1200}, 900.0)
    assert operating.blocked_until(["crm.activity.get", "batch"]) == 1201
    operating.note("crm.activity.get", {"operating": 100.0, "operating_reset_at": 1300}, 900.0)
    assert operating.blocked_until(["crm.activity.get"]) == 0


def test_operating_time__reset_known_later() -> None:
    """A method refused without a word of the reset is free as soon as an answer tells it."""
    operating = OperatingTime(480)
    operating.block("m", now=100.0, later=160.0)
    assert operating.blocked_until(["m"]) == 160
    operating.note("m", {"operating": 479.0, "operating_reset_at": 120}, 101.0)
    assert operating.blocked_until(["m"]) == 121


def test_operating_time__clock_wrong() -> None:
    """No time that is billed is older than ten minutes, whatever the portal's clock says."""
    operating = OperatingTime(480)
    operating.note("m", {"operating": 470.0, "operating_reset_at": 36_000}, 100.0)
    assert operating.blocked_until(["m"]) == 700


def test_operating_time__short() -> None:
    """From six tenths of the limit on a method is short; others are not, and none without limit."""
    operating, unlimited = OperatingTime(480), OperatingTime(None)
    for used, is_nearly_used_up in ((287.0, False), (288.0, True), (100.0, False)):
        time = {"operating": used, "operating_reset_at": 1000}
        operating.note("CRM.activity.get", time, 900.0)
        assert operating.is_nearly_used_up(["batch", "crm.activity.get"]) is is_nearly_used_up
        assert not operating.is_nearly_used_up(["batch", "crm.activity.list"])
    unlimited.note("m", {"operating": 1e9, "operating_reset_at": 1000}, 900.0)
    assert not unlimited.is_nearly_used_up(["m"])
    assert unlimited.blocked_until(["m"]) == 0


def test_operating_time__refused() -> None:
    """A refused method waits for its reset where that is known, else for a while."""
    operating = OperatingTime(None)
    operating.block("m", now=100, later=160)
    assert operating.blocked_until(["m"]) == 160
    operating.block("m", now=150, later=210)
    assert operating.blocked_until(["m"]) == 160
    operating.block("m", now=160, later=220)
    assert operating.blocked_until(["m"]) == 220


@pytest.mark.parametrize(
    "time",
    [None, [], {}, {"operating": "x"}, {"operating": 999}, 5]
    + [{"operating": "x", "operating_reset_at": 9}]
    + [{"operating": 999, "operating_reset_at": at} for at in (inf, nan, 10**400, -(10**400))],
)
def test_operating_time__odd_answers(time: Any) -> None:
    """What says nothing about operating time changes nothing."""
    operating = OperatingTime(480)
    operating.note("m", time, 900.0)
    assert operating.blocked_until(["m"]) == operating.blocked_until([]) == 0


@given(st.integers(0, 10_000), st.one_of(st.none(), st.floats(0, 600)))
@example(attempt=5_000, retry_after=None)
def test_retry_delay__bounds(attempt: int, retry_after: float | None) -> None:
    """A delay is positive, never beyond the cap, and never shorter than the portal asked for."""
    delay = retry_delay(attempt, retry_after)
    assert delay >= 0.25
    assert delay >= (retry_after or 0)
    assert delay <= max(30.0, retry_after or 0)


@pytest.mark.parametrize(
    ("attempt", "longest"), [(0, 0.5), (1, 1), (2, 2), (5, 16), (6, 30), (60, 30)]
)
def test_retry_delay__jitter(attempt: int, longest: float) -> None:
    """Delays double up to the cap, and differ: those who failed together do not come together."""
    drawn = [retry_delay(attempt, None) for _ in range(50)]
    assert all(longest / 2 <= delay <= longest for delay in drawn)
    assert len(set(drawn)) > 1


def failures(batches: BatchSize, most: int, requests: int) -> int:
    """Send so many batches to a portal that can do so many commands; return how many fail."""
    failed = 0
    for _ in range(requests):
        if batches.size > most:
            failed += 1
            batches.shrink(batches.size)
        else:
            batches.grow(batches.size)
    return failed


def test_batch_size__recovers() -> None:
    """After a bad moment the size is soon what it was."""
    batches = BatchSize(50)
    for _ in range(3):
        batches.shrink(batches.size)
    assert batches.size == 7
    assert failures(batches, 50, 500) == 0
    assert batches.size == 50


def test_batch_size__one_moment_counts_once() -> None:
    """Batches that fail together, since they were under way together, lower the size once."""
    batches = BatchSize(50)
    for _ in range(20):
        batches.shrink(50)
    assert batches.size == 25
    failures(batches, 50, 20)
    assert batches.size == 50


@pytest.mark.parametrize("most", [5, 6, 12, 20, 24, 40])
def test_batch_size__seldom_too_large(most: int) -> None:
    """A portal that can never do more is tried again seldom."""
    batches = BatchSize(50)
    failures(batches, most, 1000)
    assert failures(batches, most, 2000) <= 20
    assert batches.size <= most or failures(batches, most, 1) == 1


def test_batch_size__never_too_small() -> None:
    """However small the batch that took too long, five commands are tried."""
    batches = BatchSize(50)
    batches.shrink(2)
    assert batches.size == 5


def answered_until_larger(batches: BatchSize) -> int:
    """Let batches be answered until they may be larger; return how many that took."""
    size = batches.size
    for count in range(1, 1000):
        batches.grow(size)
        if batches.size > size:
            return count
    return 0


def test_batch_size__patience() -> None:
    """A portal for which it is too much again is left in peace twice as long, up to a bound."""
    batches, waited = BatchSize(50), []
    for _ in range(5):
        batches.shrink(50)
        waited.append(answered_until_larger(batches))
    assert waited == [16, 32, 64, 128, 128]


def test_batch_size__patience_lost_again() -> None:
    """Each whole batch that is answered shortens the next wait, down to the first one."""
    batches = BatchSize(50)
    for answered, waited in ((0, 16), (4, 24), (500, 16)):
        for _ in range(answered):
            batches.grow(50)
        batches.shrink(50)
        assert answered_until_larger(batches) == waited


def test_batch_size__small_ones_tell_nothing() -> None:
    """That the last few commands of a read are answered says nothing about larger batches."""
    batches = BatchSize(50)
    for _ in range(500):
        batches.grow(49)
    batches.shrink(50)
    for _ in range(500):
        batches.grow(24)
    assert batches.size == 25
    batches.grow(25)
    batches.shrink(25)
    assert batches.size == 13
    assert [answered_until_larger(batches) for _ in range(2)] == [32, 32]
    assert batches.size == 50


@pytest.mark.parametrize(
    ("error", "split_at_once", "split_later"),
    [
        (PortalUnavailableError("a gateway's time-out", http_status=504), True, True),
        (PortalUnavailableError("our own time-out", code="TIMEOUT"), True, True),
        (PortalUnavailableError("a broken batch", http_status=502), False, True),
        (InvalidAnswerError("a page", code=WEB_PAGE), False, True),
        (PortalError("a refusal", code="ERROR_CORE", http_status=400), False, False),
    ],
)
def test_patience__which_batches_are_split(
    error: PortalError, split_at_once: bool, split_later: bool
) -> None:
    """A batch that took too long is split at once, one that keeps failing at the third attempt."""
    patience = Patience(60.0, now=0.0)
    assert patience.is_too_much(error, attempt=0, now=1.0) is split_at_once
    assert patience.is_too_much(error, attempt=2, now=1.0) is split_later
    assert not patience.is_too_much(error, attempt=2, now=61.0)


def test_delay_of_halves() -> None:
    """Only the halves of a batch that keeps failing wait: neither time-outs nor web pages."""
    assert delay_of_halves(PortalUnavailableError("", http_status=504)) == 0
    assert delay_of_halves(PortalUnavailableError("", code="TIMEOUT")) == 0
    assert delay_of_halves(InvalidAnswerError("", code=WEB_PAGE)) == 0
    assert delay_of_halves(PortalUnavailableError("", http_status=502, retry_after=9.0)) == 9

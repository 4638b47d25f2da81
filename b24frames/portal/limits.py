"""The arithmetic of request rate, operating time, batch size and retries; free of side effects.

Time and state are passed in, so that everything here can be tested without waiting.

References
----------
.. [1] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal

from b24frames.errors import (
    WEB_PAGE,
    InvalidAnswerError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)
from b24frames.messages import short_repr

Limits = Literal["cloud", "enterprise", "self-hosted"] | tuple[float, float]

_INSTANT = 1e-6  # [s]
# How much longer some requests may take to arrive than others [s].
_LATENESS = 0.5
# The portal's counter falls in steps: it is surely zero only this long after ours [s].
_SECONDS_TO_BE_SURE = 3.0
# A refusal shows that other programs use the rate, too: our share grows back slowly.
_SMALLEST_SHARE = 0.25
_SECONDS_TO_RECOVER = 60.0

# Short of the limit, since calls in flight still add to the sum.
_OPERATING_SHARE = 0.9
# From here on one request at a time: several at once might use up more than is left.
_NEARLY_ALL = 0.6
OPERATING_BASKET, OPERATING_WINDOW = 60.0, 600.0  # [s]
_NO_TIME = 1e11  # [s] a Unix time that no clock will show

# Smaller batches would cost too much of the request rate.
_SMALLEST_BATCH = 5
_FEWEST_BEFORE_GROWTH, _MOST_BEFORE_GROWTH = 8, 128  # [batches]

MAX_ATTEMPTS = 6
_ATTEMPTS_AT_A_PAGE = 3  # where nothing has been answered yet
_BEFORE_HALVES = 2  # attempts at a whole batch
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_MOST_DOUBLINGS = 6  # from the first to beyond the longest


@dataclass(frozen=True)
class BucketState:
    """The state of a leaky bucket.

    Attributes
    ----------
    level : float
        Requests in the bucket.
    updated : float
        When the level was computed [s].
    share : float
        Our part of the leak; less than 1 for a while after a refusal.
    sent : float
        Requests since the portal's counter was surely zero.
    """

    level: float = 0.0
    updated: float = 0.0
    share: float = 1.0
    sent: float = 0.0


@dataclass(frozen=True)
class LeakyBucket:
    """The request rate that a portal grants: a burst, then a sustained rate.

    Parameters
    ----------
    capacity : float
        The burst [requests].
    leak : float
        The sustained rate [1/s].

    Notes
    -----
    The portal lowers its counter by `leak` once a second, not continuously, so a client that
    keeps the whole capacity filled is refused now and then: ``leak - 1`` of it, and a margin for
    late requests, are left unused. Only an empty bucket uses all of it: the portal grants that many
    requests whenever its counter falls.

    Examples
    --------
    >>> bucket, state = LeakyBucket(2, 1), BucketState()
    >>> state, first = bucket.acquire(state, now=0.0)
    >>> state, second = bucket.acquire(state, now=0.0)
    >>> state, third = bucket.acquire(state, now=0.0)
    >>> first, second, third
    (0.0, 0.0, 2.0)
    """

    capacity: float
    leak: float

    @property
    def usable(self) -> float:
        """The part of the capacity that may be kept filled [requests]."""
        margin = max(1.0, self.leak * _LATENESS)
        return max(1.0, self.capacity - (self.leak - 1) - margin)

    def acquire(self, state: BucketState, now: float) -> tuple[BucketState, float]:
        """Take a slot if one is free; return the new state and how long to wait for one [s]."""
        state = self._drain(state, now)
        level = state.level + 1
        wait = (level - self.usable) / (self.leak * state.share)
        if wait > _INSTANT and state.sent + 1 > self.capacity:
            return state, wait
        return replace(state, level=level, sent=state.sent + 1), 0.0

    def refuse(self, state: BucketState, now: float) -> BucketState:
        """Assume a full bucket, and halve our share: others use this portal, too."""
        state = self._drain(state, now)
        share = max(_SMALLEST_SHARE, state.share / 2)
        return BucketState(max(state.level, self.usable), now, share, self.capacity)

    def _drain(self, state: BucketState, now: float) -> BucketState:
        """Lower the level by what has leaked."""
        # A clock that was set back must not fill the bucket.
        elapsed = max(0.0, now - state.updated)
        leak = self.leak * state.share
        level = state.level - elapsed * leak
        share = min(1.0, state.share + elapsed / _SECONDS_TO_RECOVER)
        is_empty = share == 1.0 and level <= -leak * _SECONDS_TO_BE_SURE
        return BucketState(max(0.0, level), now, share, 0.0 if is_empty else state.sent)


# Capacity [requests] and leak [1/s] of each plan, as documented [1]_.
_PLANS = {"cloud": LeakyBucket(50, 2), "enterprise": LeakyBucket(250, 5), "self-hosted": None}


def parse_limits(limits: Limits) -> LeakyBucket | None:
    """Return the leaky bucket of a plan; None for no limit.

    Raises
    ------
    ValueError
        Neither the name of a plan nor a pair of positive numbers.
    """
    if isinstance(limits, str) and limits in _PLANS:
        return _PLANS[limits]
    if isinstance(limits, (tuple, list)) and all(isinstance(n, Real) for n in limits):
        with suppress(ValueError, OverflowError):  # not two, or more than a float can be
            capacity, leak = map(float, limits)
            if 1 <= capacity < math.inf and 0 < leak < math.inf:
                return LeakyBucket(capacity, leak)
    raise ValueError(
        f"limits={short_repr(limits)} is not accepted; accepted are "
        f"{', '.join(map(repr, _PLANS))} or a pair (capacity, leak_per_second) of positive numbers"
    )


class OperatingTime:
    """The operating time that each method has used, as reported by the portal [1]_.

    Parameters
    ----------
    limit : float or None
        What a method may use in ten minutes [s]; None for no limit.

    Notes
    -----
    By the documentation the commands of a batch are billed; an SDK has seen the batch itself
    billed. Both are kept by method, and the later reset counts.

    Examples
    --------
    >>> operating = OperatingTime(480)
    >>> time = {"operating": 460.0, "operating_reset_at": 1700000060}
    >>> operating.note("crm.activity.get", time, now=1700000000.0)
    >>> operating.blocked_until(["crm.activity.get", "batch"])
    1700000061.0
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = math.inf if limit is None else limit
        self._used: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def note(self, method: str, time: object, now: float) -> None:
        """Record the ``time`` of an answer; ignore anything else."""
        if isinstance(time, Mapping):
            used, reset_at = time.get("operating"), time.get("operating_reset_at")
            if (
                isinstance(used, (int, float))
                and isinstance(reset_at, (int, float))
                and abs(reset_at) < _NO_TIME
            ):
                wall = self._limit * _OPERATING_SHARE
                self._used[method.lower()] = used
                # The reset is reported in whole seconds, rounded down; one beyond the window can
                # only come from a wrong clock.
                until = min(reset_at + 1.0, now + OPERATING_WINDOW)
                self._until[method.lower()] = until if used >= wall else 0.0

    def is_nearly_used_up(self, methods: Iterable[str]) -> bool:
        """Return whether a method has used so much that concurrent calls may pass the limit."""
        short = self._limit * _NEARLY_ALL
        return any(self._used.get(method.lower(), 0.0) >= short for method in methods)

    def block(self, method: str, now: float, later: float) -> None:
        """Block a refused method until its reset, if known, else until `later`."""
        if self._until.get(method.lower(), 0.0) <= now:
            self._until[method.lower()] = later

    def blocked_until(self, methods: Iterable[str]) -> float:
        """Return when all methods may be called again, as Unix time [s]; 0: now."""
        return max((float(self._until.get(method.lower(), 0.0)) for method in methods), default=0.0)


class BatchSize:
    """The size of batches: smaller after one took too long, and growing again.

    Parameters
    ----------
    most : int
        The largest size.

    Attributes
    ----------
    size : int
        The size of the next batch [commands].

    Notes
    -----
    The size doubles after a number of answered batches. That number doubles each time a batch takes
    too long, so that failing attempts become rare, while a portal that was only briefly slow is
    soon back at full size.

    Examples
    --------
    >>> batches = BatchSize(50)
    >>> batches.shrink(50)
    >>> batches.size
    25
    """

    def __init__(self, most: int) -> None:
        self.size = most
        self._most = most
        self._answered = 0
        self._batches_before_growth = _FEWEST_BEFORE_GROWTH

    def shrink(self, commands: int) -> None:
        """Record that a batch of so many commands took too long."""
        smaller = max(_SMALLEST_BATCH, (commands + 1) // 2)
        # Of the batches in flight at once, only the first to fail counts.
        if smaller < self.size:
            self.size, self._answered = smaller, 0
            self._batches_before_growth = min(_MOST_BEFORE_GROWTH, 2 * self._batches_before_growth)

    def grow(self, commands: int) -> None:
        """Record that a batch of so many commands was answered."""
        if self.size < self._most and commands >= self.size:
            self._answered += 1
            if self._answered >= self._batches_before_growth:
                self.size, self._answered = min(self._most, 2 * self.size), 0
        elif self.size == self._most == commands:
            self._batches_before_growth = max(
                _FEWEST_BEFORE_GROWTH, self._batches_before_growth - 1
            )


def retry_delay(attempt: int, retry_after: float | None) -> float:
    """Return how long to wait before an attempt is repeated [s].

    Exponential backoff with jitter, capped; never shorter than the portal asked for.
    """
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(attempt, _MOST_DOUBLINGS))
    return max(random.uniform(longest / 2, longest), retry_after or 0.0)


class Patience:
    """Decide which failed requests to repeat, and when.

    Parameters
    ----------
    max_wait : float
        How long to retry without any success [s].
    now : float
        When the first request is about to be sent [s].

    Attributes
    ----------
    last_success : float
        When a request last succeeded; initially `now` [s].
    """

    def __init__(self, max_wait: float, now: float) -> None:
        self._max_wait = max_wait
        self._began = self.last_success = now
        self._has_doubted = False

    @property
    def has_succeeded(self) -> bool:
        """Whether any request has succeeded."""
        return self.last_success > self._began

    def is_over(self, now: float) -> bool:
        """Return whether the last success is longer ago than `max_wait`."""
        return now - self.last_success > self._max_wait

    def delay(self, error: PortalError, attempt: int, now: float) -> float | None:
        """Return the delay before a request is repeated [s]; None to give up."""
        if not error.retryable:
            return None
        # No limit on attempts: a network that was up comes back, and so does the request rate.
        passes = isinstance(error, RateLimitError) or (not error.reached and self.has_succeeded)
        is_page = error.code == WEB_PAGE and not self.has_succeeded
        most = _ATTEMPTS_AT_A_PAGE if is_page else MAX_ATTEMPTS
        delay = retry_delay(attempt, error.retry_after)
        is_last = attempt + 1 >= most and not passes
        return None if is_last or self.is_over(now + delay) else delay

    def is_too_much(self, error: PortalError, attempt: int, now: float) -> bool:
        """Return whether a batch should be split: it takes too long, or keeps failing."""
        if not is_odd(error) or self.is_over(now):
            return False
        return took_too_long(error) or attempt >= _BEFORE_HALVES

    def doubts(self, error: PortalError, now: float) -> bool:
        """Return whether to try another request before giving up; True only once."""
        if self._has_doubted or not is_odd(error) or self.is_over(now):
            return False
        self._has_doubted = True
        return True


def is_odd(error: PortalError) -> bool:
    """Return whether an error may be due to the request itself, or to a broken portal."""
    is_broken = isinstance(error, (PortalUnavailableError, InvalidAnswerError))
    return is_broken and error.retryable and error.reached


def took_too_long(error: PortalError) -> bool:
    """Return whether a request timed out in the client or a gateway."""
    return error.http_status == 504 or error.code == "TIMEOUT"


def delay_of_halves(error: PortalError) -> float:
    """Return the delay before the halves of a batch are sent [s]."""
    at_once = took_too_long(error) or error.code == WEB_PAGE
    return 0.0 if at_once else retry_delay(1, error.retry_after)

"""How often a portal may be asked, and when a refused call is worth repeating: pure arithmetic.

Time and state are passed in, so that everything here can be tested without waiting.

References
----------
.. [1] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Limits = Literal["cloud", "enterprise", "self-hosted"] | tuple[float, float]

_PRESETS: dict[str, tuple[float, float] | None] = {
    "cloud": (50, 2),
    "enterprise": (250, 5),
    "self-hosted": None,
}
# Requests that are under way at once reach the portal in bunches.
_MARGIN = 2
# After a refusal others are known to ask the portal too: their share is given back slowly.
_SMALLEST_SHARE = 0.25
_SECONDS_TO_RECOVER = 60.0

# Before the wall: calls under way at once still add to the sum.
_OPERATING_SHARE = 0.9
OPERATING_BASKET = 60.0  # [s]

MAX_ATTEMPTS = 6
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


@dataclass(frozen=True)
class BucketState:
    """How full a leaky bucket is.

    Attributes
    ----------
    level : float
        Requests in it.
    updated : float
        When that was so [s].
    share : float
        The part of the leak that is ours; less than 1 for a while after a refusal.
    """

    level: float = 0.0
    updated: float = 0.0
    share: float = 1.0


@dataclass(frozen=True)
class LeakyBucket:
    """The request rate that a portal grants: a burst, then so many requests a second.

    Parameters
    ----------
    capacity : float
        How many requests may be sent at once [requests].
    leak : float
        How many more are granted each second [1/s].

    Notes
    -----
    The portal lowers its counter by `leak` once a second, not continuously, so a client that
    fills the whole capacity is refused now and then. Of the capacity, ``leak - 1`` and a small
    margin are therefore left unused.

    Examples
    --------
    >>> bucket, state = LeakyBucket(5, 2), BucketState()
    >>> state, first = bucket.reserve(state, now=0.0)
    >>> state, second = bucket.reserve(state, now=0.0)
    >>> state, third = bucket.reserve(state, now=0.0)
    >>> first, second, third
    (0.0, 0.0, 0.5)
    """

    capacity: float
    leak: float

    @property
    def usable(self) -> float:
        """How much of the capacity may be filled [requests]."""
        return max(1.0, self.capacity - (self.leak - 1) - _MARGIN)

    def reserve(self, state: BucketState, now: float) -> tuple[BucketState, float]:
        """Take a place in the queue; return the new state and how long to wait [s]."""
        state = self._drain(state, now)
        level = state.level + 1
        delay = max(0.0, (level - self.usable) / (self.leak * state.share))
        return BucketState(level, state.updated, state.share), delay

    def refuse(self, state: BucketState, now: float) -> BucketState:
        """Take the bucket as full, and our share as smaller: others ask this portal too."""
        state = self._drain(state, now)
        share = max(_SMALLEST_SHARE, state.share / 2)
        return BucketState(max(state.level, self.usable), state.updated, share)

    def _drain(self, state: BucketState, now: float) -> BucketState:
        """Lower the level by what has leaked; a clock that went back has leaked nothing."""
        elapsed = max(0.0, now - state.updated)
        level = max(0.0, state.level - elapsed * self.leak * state.share)
        return BucketState(level, now, min(1.0, state.share + elapsed / _SECONDS_TO_RECOVER))


def parse_limits(limits: Limits) -> LeakyBucket | None:
    """Return the leaky bucket of a plan; None: no limit.

    Raises
    ------
    ValueError
        Neither a preset's name nor a pair of positive numbers.
    """
    rate: tuple[float, float] | None = (0.0, 0.0)
    if isinstance(limits, str):
        rate = _PRESETS.get(limits, rate)
    elif isinstance(limits, (tuple, list)) and len(limits) == 2:
        rate = _numbers(*limits)
    if rate is None:
        return None
    if not (rate[0] >= 1 and rate[1] > 0):
        raise ValueError(
            f"limits={limits!r} is not accepted; accepted are {', '.join(map(repr, _PRESETS))} "
            "or a pair (capacity, leak_per_second) of positive numbers"
        )
    return LeakyBucket(*rate)


def _numbers(capacity: object, leak: object) -> tuple[float, float]:
    """Return two numbers, or zeros where they are none."""
    if isinstance(capacity, (int, float)) and isinstance(leak, (int, float)):
        return float(capacity), float(leak)
    return 0.0, 0.0


class OperatingTime:
    """The operating time that the portal's methods have used, as its answers tell [1]_.

    Parameters
    ----------
    limit : float or None
        What a method may use in ten minutes [s]; None: no limit.

    Notes
    -----
    The documentation bills the commands of a batch; an SDK has seen the batch itself billed. Both
    are kept apart by their method, and the later moment counts.

    Examples
    --------
    >>> operating = OperatingTime(480)
    >>> operating.note("crm.activity.get", {"operating": 460.0, "operating_reset_at": 1700000000})
    >>> operating.blocked_until(["crm.activity.get", "batch"])
    1700000000.0
    """

    def __init__(self, limit: float | None) -> None:
        self._wall = math.inf if limit is None else limit * _OPERATING_SHARE
        self._until: dict[str, float] = {}

    def note(self, method: str, time: object) -> None:
        """Take note of the ``time`` of an answer; of anything else nothing."""
        if isinstance(time, Mapping):
            used, reset_at = time.get("operating"), time.get("operating_reset_at")
            if isinstance(used, (int, float)) and isinstance(reset_at, (int, float)):
                self._until[method.lower()] = reset_at if used >= self._wall else 0.0

    def block(self, method: str, now: float, later: float) -> None:
        """Take note that a method was refused: until the reset, if known, else until `later`."""
        if self._until.get(method.lower(), 0.0) <= now:
            self._until[method.lower()] = later

    def blocked_until(self, methods: Iterable[str]) -> float:
        """Return when all methods may be called again, as Unix time [s]; 0: now."""
        return max((float(self._until.get(method.lower(), 0.0)) for method in methods), default=0.0)


def retry_delay(attempt: int, retry_after: float | None) -> float:
    """Return how long to wait before an attempt is repeated [s].

    Exponential backoff with jitter, capped; never shorter than the portal asked for.
    """
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2**attempt)
    return max(random.uniform(longest / 2, longest), retry_after or 0.0)  # noqa: S311 - jitter

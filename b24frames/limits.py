"""How often a portal may be asked, and when a refused call is worth repeating: pure arithmetic.

Time is passed in, so that everything here can be tested without waiting.

References
----------
.. [1] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Literal, Protocol

Limits = Literal["cloud", "enterprise", "self-hosted"] | tuple[float, float]

_PRESETS: dict[str, tuple[float, float] | None] = {
    "cloud": (50, 2),
    "enterprise": (250, 5),
    "self-hosted": None,
}
# Requests that are under way at once reach the portal in bunches.
_MARGIN = 2
MAX_ATTEMPTS = 6
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> float:
        """Return seconds since any fixed moment [s]."""

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds [s]."""


@dataclass(frozen=True)
class SystemClock:
    """The machine's own clock.

    Attributes
    ----------
    speed : float
        How many of its seconds pass in one real second; other than 1 only for practice.
    """

    speed: float = 1.0

    def now(self) -> float:
        """Return seconds since any fixed moment [s]."""
        return time.monotonic() * self.speed

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds [s]."""
        time.sleep(seconds / self.speed)


class LeakyBucket:
    """The request rate that a portal grants: a burst, then so many requests a second.

    Parameters
    ----------
    capacity : float
        How many requests may be sent at once [requests].
    leak_per_second : float
        How many more are granted each second [1/s].

    Notes
    -----
    The portal lowers its counter by ``leak_per_second`` once a second, not continuously, so a
    client that fills the whole capacity is refused now and then. Of the capacity,
    ``leak_per_second - 1`` and a small margin are therefore left unused.

    Examples
    --------
    >>> bucket = LeakyBucket(5, 2)
    >>> [bucket.reserve(now=0.0) for _ in range(4)]
    [0.0, 0.0, 0.5, 1.0]
    """

    def __init__(self, capacity: float, leak_per_second: float) -> None:
        self._capacity = max(1.0, capacity - (leak_per_second - 1) - _MARGIN)
        self._leak = leak_per_second
        self._level = 0.0
        self._updated = 0.0
        self._lock = threading.Lock()

    def reserve(self, now: float) -> float:
        """Take a place in the queue; return how long to wait before sending [s]."""
        with self._lock:
            self._drain(now)
            self._level += 1
            return max(0.0, (self._level - self._capacity) / self._leak)

    def fill(self, now: float) -> None:
        """Take the bucket as full: the portal refused, so others on this address use it too."""
        with self._lock:
            self._drain(now)
            self._level = max(self._level, self._capacity)

    def _drain(self, now: float) -> None:
        """Lower the level by what has leaked since the last time."""
        elapsed = max(0.0, now - self._updated)
        self._level = max(0.0, self._level - elapsed * self._leak)
        self._updated = max(now, self._updated)


_shared: dict[tuple[str, float, float], LeakyBucket] = {}
_shared_lock = threading.Lock()


def bucket_for(address: str, limits: Limits) -> LeakyBucket | None:
    """Return the bucket that all calls to a portal share, or None where there is no limit."""
    rate = parse_limits(limits)
    if rate is None:
        return None
    with _shared_lock:
        return _shared.setdefault((address, *rate), LeakyBucket(*rate))


def parse_limits(limits: Limits) -> tuple[float, float] | None:
    """Return the pair (capacity [requests], leak [1/s]) of a plan; None: no limit.

    Raises
    ------
    ValueError
        Neither a preset's name nor a pair of positive numbers.
    """
    if isinstance(limits, str) and limits in _PRESETS:
        return _PRESETS[limits]
    try:
        capacity, leak = (float(part) for part in limits)
    except (TypeError, ValueError):
        capacity = leak = 0.0
    if not (capacity >= 1 and leak > 0):
        raise ValueError(
            f"limits={limits!r} is not accepted; accepted are {', '.join(map(repr, _PRESETS))} "
            "or a pair (capacity, leak_per_second) of positive numbers"
        )
    return capacity, leak


def retry_delay(attempt: int, retry_after: float | None) -> float:
    """Return how long to wait before an attempt is repeated [s].

    Exponential backoff with full jitter, capped; never shorter than the portal asked for.
    """
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2**attempt)
    return max(random.uniform(longest / 2, longest), retry_after or 0.0)  # noqa: S311 - jitter

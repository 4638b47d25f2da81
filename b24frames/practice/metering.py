"""Request rate and operating time, as the portal measures them."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable

Now = Callable[[], float]
# Ten baskets are the ten minutes of the documented limit.
_BASKET = 60  # [portal s]
_BASKETS = 10


class RequestRate:
    """A leaky bucket that is lowered in whole steps, once a second.

    Parameters
    ----------
    capacity, leak : float
        The highest level [requests], and by how much it falls in a portal second [requests].
    speed : float
        Portal seconds in a real second.
    clock : callable
        Returns real seconds since any fixed moment [s].
    """

    def __init__(self, capacity: float, leak: float, *, speed: float, clock: Now) -> None:
        self._capacity = capacity
        self._leak = leak
        self._speed = speed
        self._clock = clock
        self._level = 0.0
        self._start = clock()
        self._ticks = 0
        self._lock = threading.Lock()

    def admit(self) -> bool:
        """Count one more request; return False if the level would exceed the capacity."""
        with self._lock:
            # The documented level falls once a second, and not gradually.
            ticks = math.floor((self._clock() - self._start) * self._speed)
            self._level = max(0.0, self._level - self._leak * (ticks - self._ticks))
            self._ticks = ticks
            admitted = self._level + 1 <= self._capacity
            self._level += admitted
            return admitted


class OperatingTime:
    """The seconds that the calls of each method took, summed over ten one-minute baskets.

    Parameters
    ----------
    limit : float or None
        The sum above which a method is refused [portal seconds]; None for no limit.
    speed : float
        Portal seconds in a real second.
    clock : callable
        Returns real seconds since any fixed moment [s].
    """

    def __init__(self, limit: float | None, *, speed: float, clock: Now) -> None:
        self._limit = limit
        self._speed = speed
        self._clock = clock
        self._baskets: dict[str, dict[int, float]] = defaultdict(dict)
        self._lock = threading.Lock()

    def admits(self, method: str) -> bool:
        """Return whether the method may be called."""
        with self._lock:
            return self._limit is None or sum(self._current(method).values()) <= self._limit

    def bill(self, method: str, seconds: float) -> None:
        """Add the duration of a call [portal seconds]."""
        with self._lock:
            baskets = self._current(method)
            minute = self._minute()
            baskets[minute] = baskets.get(minute, 0.0) + seconds

    def report(self, method: str) -> dict[str, float]:
        """Return the sum, and the Unix time at which its oldest basket leaves it."""
        with self._lock:
            baskets = self._current(method)
            oldest = min(baskets, default=self._minute())
            rest = (oldest + _BASKETS) * _BASKET - self._clock() * self._speed
            # Rounded up, so that a client that waits until then is not too early.
            reset_at = math.ceil(time.time() + rest / self._speed)
            return {"operating": sum(baskets.values()), "operating_reset_at": reset_at}

    def _minute(self) -> int:
        return math.floor(self._clock() * self._speed / _BASKET)

    def _current(self, method: str) -> dict[int, float]:
        """Return the baskets of the last ten minutes; forget the older ones."""
        baskets = self._baskets[method]
        for minute in [m for m in baskets if m <= self._minute() - _BASKETS]:
            del baskets[minute]
        return baskets

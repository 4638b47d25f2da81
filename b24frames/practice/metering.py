"""Request rate and operating time, as the portal measures them."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

Now = Callable[[], float]
# Ten baskets are the ten minutes of the documented limit.
_BASKET = 60  # [portal s]
_BASKETS = 10


@dataclass
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

    Attributes
    ----------
    refusals : int
        The number of requests that were not admitted.
    """

    capacity: float
    leak: float
    _: KW_ONLY
    speed: float
    clock: Now
    refusals: int = 0

    def __post_init__(self) -> None:
        self._level = 0.0
        self._start = self.clock()
        self._ticks = 0
        self._lock = threading.Lock()

    def admit(self) -> bool:
        """Count one more request; return False if the level would exceed the capacity."""
        with self._lock:
            # The documented level falls once a second, and not gradually.
            ticks = math.floor((self.clock() - self._start) * self.speed)
            self._level = max(0.0, self._level - self.leak * (ticks - self._ticks))
            self._ticks = ticks
            admitted = self._level + 1 <= self.capacity
            self._level += admitted
            self.refusals += not admitted
            return admitted


@dataclass
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

    limit: float | None
    _: KW_ONLY
    speed: float
    clock: Now

    def __post_init__(self) -> None:
        self._baskets: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self._lock = threading.Lock()

    def admits(self, method: str) -> bool:
        """Return whether the method may be called."""
        return self.limit is None or self.report(method)["operating"] <= self.limit

    def bill(self, method: str, seconds: float) -> None:
        """Add the duration of a call [portal seconds]."""
        with self._lock:
            minute, baskets = self._current(method)
            baskets[minute] = baskets.get(minute, 0.0) + seconds

    def report(self, method: str) -> dict[str, float]:
        """Return the sum, and the Unix time at which its oldest basket leaves it."""
        with self._lock:
            minute, baskets = self._current(method)
            rest = (min(baskets, default=minute) + _BASKETS) * _BASKET - self.clock() * self.speed
            # Rounded up, so that a client that waits until then is not too early.
            reset_at = math.ceil(time.time() + rest / self.speed)
            return {"operating": sum(baskets.values()), "operating_reset_at": reset_at}

    def _current(self, method: str) -> tuple[int, dict[int, float]]:
        """Return this minute, and the baskets of the last ten; forget the older ones."""
        minute = math.floor(self.clock() * self.speed / _BASKET)
        kept = {m: s for m, s in self._baskets[method].items() if m > minute - _BASKETS}
        self._baskets[method] = kept
        return minute, kept

"""A clock for tests in which time must pass, and nothing may depend on how fast a machine is."""

from __future__ import annotations

import math
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any


class WaitlessClock:
    """A clock on which time passes by waiting alone, and waiting takes no time.

    Where several threads wait at once, one after the other does. To look at it takes a moment, so
    that what comes later is later.
    """

    def __init__(self) -> None:
        self._start = time.time()
        self._waited = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return how long has been waited so far [s]."""
        self.pass_by(1e-6)
        return self._waited

    def until(self, unix_time: float) -> float:
        """Return how long it is until a moment given as Unix time [s]."""
        return max(0.0, unix_time - self.unix_after(0.0))

    def unix_after(self, seconds: float) -> float:
        """Return the Unix time when so many seconds will have passed [s]."""
        return self._start + self._waited + seconds

    def take(self, inbox: SimpleQueue[Any], seconds: float) -> Any:
        """Return the next item of a queue; raise `queue.Empty` where there is none.

        Time passes by waiting for a moment that is known; what else may come is really waited for.
        """
        if math.isinf(seconds):
            return inbox.get(timeout=0.1)
        try:
            return inbox.get_nowait()
        except Empty:
            self.pass_by(seconds)
            raise

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass [s]."""
        with self._lock:
            self._waited += seconds

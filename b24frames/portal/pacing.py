"""The request rate of a portal, shared by all threads and processes of this machine.

The portal counts by source address, so two notebooks that read the same portal use one bucket.
Its level is a row in a small SQLite file: the standard library locks it alike on Linux, macOS and
Windows, and it outlives any of the processes.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

from b24frames.errors import CacheError
from b24frames.paths import cache_file
from b24frames.portal.limits import BucketState, LeakyBucket

_FILE_NAME = "request-rate.sqlite"
_BUSY_TIMEOUT = 5.0  # [s]
_LONGEST_TAKE = 0.1  # [s]
T = TypeVar("T")
_log = logging.getLogger("b24frames")


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> float:
        """Return seconds since a moment that all processes of the machine share [s]."""

    def until(self, unix_time: float) -> float:
        """Return how long it is until a moment given as Unix time [s]."""

    def unix_after(self, seconds: float) -> float:
        """Return the Unix time when so many seconds will have passed [s]."""

    def take(self, inbox: SimpleQueue[T], seconds: float) -> T:
        """Return the next item of a queue; raise `queue.Empty` after so many seconds at most [s].

        The caller asks again, so that Ctrl-C and the like are met between two waits.
        """


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
        """Return seconds since the machine was started [s]."""
        return time.monotonic() * self.speed

    def unix_after(self, seconds: float) -> float:
        """Return the Unix time when so many seconds will have passed [s]."""
        return time.time() + seconds / self.speed

    def until(self, unix_time: float) -> float:
        """Return how long it is until a moment given as Unix time [s]."""
        return max(0.0, unix_time - time.time()) * self.speed

    def take(self, inbox: SimpleQueue[T], seconds: float) -> T:
        """Return the next item of a queue; raise `queue.Empty` after so many seconds at most [s].

        Windows lets Ctrl-C in only between two waits.
        """
        return inbox.get(timeout=min(seconds / self.speed, _LONGEST_TAKE))


class RequestRate:
    """The level of one portal's bucket, in a file that all processes share.

    Parameters
    ----------
    bucket : LeakyBucket
        What the portal grants.
    address : str
        Which portal.
    folder : callable
        Returns where the file is; None: beside the default cache.
    """

    def __init__(
        self, bucket: LeakyBucket, address: str, folder: Callable[[], Path | None]
    ) -> None:
        self._bucket = bucket
        self._address = address
        self._folder = folder
        self._lock = threading.Lock()
        self._own_state: BucketState | None = None

    def after_fork(self) -> RequestRate:
        """Return one for a forked process, with a lock of its own."""
        return RequestRate(self._bucket, self._address, self._folder)

    def acquire(self, now: Callable[[], float]) -> tuple[float, float]:
        """Take a place for the next request; return how long to wait for one [s], and the level.

        Where it is to be waited for none is taken, so that an interruption leaves none behind. The
        time is read while the state is locked: in another order than the changes themselves, the
        same seconds would leak twice.
        """
        found = (0.0, 0.0)

        def take(state: BucketState) -> BucketState:
            nonlocal found
            state, wait = self._bucket.acquire(state, now())
            found = (wait, state.level)
            return state

        self._change(take)
        return found

    def refuse(self, now: Callable[[], float]) -> None:
        """Take the bucket as full, since the portal has refused."""
        self._change(lambda state: self._bucket.refuse(state, now()))

    def _change(self, change: Callable[[BucketState], BucketState]) -> None:
        """Change the shared state; where there is no file, the state of this process alone."""
        with self._lock:
            if self._own_state is None:
                try:
                    self._change_shared(change)
                except (OSError, sqlite3.Error, CacheError) as error:
                    _log.info("the request rate is not shared between processes: %s", error)
                    self._own_state = BucketState()
            if self._own_state is not None:
                self._own_state = change(self._own_state)

    def _change_shared(self, change: Callable[[BucketState], BucketState]) -> None:
        """Read, change and write the row of this portal, alone among all processes."""
        folder = self._folder() or cache_file().parent
        path = folder / _FILE_NAME
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        with closing(connection), connection:
            connection.execute("PRAGMA synchronous = OFF")  # worth nothing after a power loss
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS buckets"
                " (address TEXT PRIMARY KEY, level REAL, updated REAL, share REAL, sent REAL)"
            )
            row = connection.execute(
                "SELECT level, updated, share, sent FROM buckets WHERE address = ?",
                (self._address,),
            ).fetchone()
            state = change(BucketState(*row) if row else BucketState())
            connection.execute(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?, ?, ?)",
                (self._address, *astuple(state)),
            )

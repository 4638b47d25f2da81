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
from dataclasses import astuple, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

from b24frames.errors import CacheError, is_of_caller
from b24frames.paths import cache_file
from b24frames.portal.limits import BucketState, LeakyBucket

_FILE_NAME = "request-rate.sqlite"
_BUSY_TIMEOUT = 5.0  # [s]
# Windows delivers Ctrl-C only between two waits [s].
_LONGEST_TAKE = 0.1
T = TypeVar("T")
Change = Callable[[BucketState], tuple[BucketState, float]]
"""Returns a new state, and how long to wait [s]."""
_log = logging.getLogger("b24frames")


class Clock(Protocol):
    """A clock that can also wait."""

    def now(self) -> float:
        """Return the time since an epoch that all processes of the machine share [s]."""

    def until(self, unix_time: float) -> float:
        """Return the time left until a Unix time [s]."""

    def unix_after(self, seconds: float) -> float:
        """Return the Unix time in so many seconds [s]."""

    def take(self, inbox: SimpleQueue[T], seconds: float) -> T:
        """Return the next item of a queue; raise `queue.Empty` after at most so many seconds.

        The caller repeats the wait, so that Ctrl-C takes effect in between.
        """


@dataclass(frozen=True)
class SystemClock:
    """The machine's own clock.

    Attributes
    ----------
    speed : float
        Its seconds per real second; other than 1 only for practice portals.
    """

    speed: float = 1.0

    def now(self) -> float:
        """Return the time since the machine was started [s]."""
        return time.monotonic() * self.speed

    def unix_after(self, seconds: float) -> float:
        """Return the Unix time in so many seconds [s]."""
        return time.time() + seconds / self.speed

    def until(self, unix_time: float) -> float:
        """Return the time left until a Unix time [s]."""
        return max(0.0, unix_time - time.time()) * self.speed

    def take(self, inbox: SimpleQueue[T], seconds: float) -> T:
        """Return the next item of a queue; raise `queue.Empty` after at most so many seconds."""
        return inbox.get(timeout=min(seconds / self.speed, _LONGEST_TAKE))


@dataclass
class RequestRate:
    """The level of one portal's bucket, in a file that all processes share.

    Attributes
    ----------
    bucket : LeakyBucket
        The rate that the portal grants.
    address : str
        The portal.
    folder : callable
        Returns the folder of the file; None for that of the default cache.
    """

    bucket: LeakyBucket
    address: str
    folder: Callable[[], Path | None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _own_state: BucketState | None = None

    def after_fork(self) -> RequestRate:
        """Return a copy for a forked process, with a lock of its own."""
        return RequestRate(self.bucket, self.address, self.folder)

    def acquire(self, now: Callable[[], float]) -> tuple[float, float]:
        """Take a slot for the next request; return how long to wait for one [s], and the level.

        If the caller has to wait, none is taken, so that an interruption leaves none behind.
        """
        # The time is read under the lock: out of order, the same seconds would leak twice.
        state, wait = self._change(lambda state: self.bucket.acquire(state, now()))
        return wait, state.level

    def refuse(self, now: Callable[[], float]) -> None:
        """Assume a full bucket, since the portal has refused a request."""
        self._change(lambda state: (self.bucket.refuse(state, now()), 0.0))

    def _change(self, change: Change) -> tuple[BucketState, float]:
        """Change the shared state; without a usable file, that of this process alone."""
        with self._lock:
            if self._own_state is None:
                try:
                    return self._change_shared(change)
                except (OSError, TypeError, sqlite3.Error, CacheError) as error:
                    if is_of_caller(error):
                        raise
                    _log.info("the request rate is not shared between processes: %s", error)
            self._own_state, wait = change(self._own_state or BucketState())
            return self._own_state, wait

    def _change_shared(self, change: Change) -> tuple[BucketState, float]:
        """Read, change and write the row of this portal in one transaction."""
        folder = self.folder() or cache_file().parent
        path = folder / _FILE_NAME
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # For the user alone; sqlite3.connect would make it readable for all.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        with closing(connection), connection:
            # No fsync for each request: the level is worthless after a power loss.
            connection.execute("PRAGMA synchronous = OFF")
            # A lock for writing at once: two readers would both take the last slot.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS buckets"
                " (address TEXT PRIMARY KEY, level REAL, updated REAL, share REAL, sent REAL)"
            )
            row = connection.execute(
                "SELECT level, updated, share, sent FROM buckets WHERE address = ?",
                (self.address,),
            ).fetchone()
            state, wait = change(BucketState(*row) if row else BucketState())
            connection.execute(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?, ?, ?)",
                (self.address, *astuple(state)),
            )
        return state, wait

"""Worker threads that send requests and queue the answers for the scheduler."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from b24frames.portal.commands import Task
from b24frames.portal.pacing import Clock


class Hands:
    """A pool of threads, one per request in flight.

    Parameters
    ----------
    post : callable
        Sends a task and returns the outcome.

    Attributes
    ----------
    busy : int
        How many tasks have been sent and are not done yet.
    """

    def __init__(self, post: Callable[[Task], Any]) -> None:
        self.busy = 0
        self._post = post
        self._threads: list[threading.Thread] = []
        self._outbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        # An outcome stays here until `done`: an interruption while it is read must not lose it.
        self._desk: deque[tuple[Task, Any]] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def send(self, task: Task) -> None:
        """Hand a task to a free thread, or start another."""
        if len(self._threads) <= self.busy:
            # A daemon: otherwise an interrupted program waits for answers that may never come.
            thread = threading.Thread(target=self._work, name="b24frames", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.busy += 1
        self._outbox.put(task)

    def look(self, clock: Clock, seconds: float) -> tuple[Task, Any]:
        """Return the next task and its outcome; raise `queue.Empty` on timeout."""
        if not self._desk:
            clock.take(self._bell, seconds)
        if not self._desk:
            raise queue.Empty
        return self._desk[0]

    def done(self) -> None:
        """Remove the outcome that `look` returned."""
        self._desk.popleft()
        self.busy -= 1

    def rest(self, end: float) -> Iterator[tuple[Task, Any]]:
        """Yield the outcomes that arrive until `end` (`time.monotonic`), after `dismiss`."""
        for number in range(self.busy):
            while len(self._desk) <= number:
                try:
                    self._bell.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    return
            yield self._desk[number]

    def dismiss(self) -> None:
        """Let each thread end after its current task."""
        for _ in self._threads:
            self._outbox.put(None)

    def join(self, end: float) -> None:
        """Wait for the threads until `end` (`time.monotonic`)."""
        for thread in self._threads:
            if thread.is_alive():  # an interruption may have come before it was started
                thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (task := self._outbox.get()) is not None:
            outcome: Any
            try:
                outcome = self._post(task)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                # Frames of the traceback hold the URL, and so the secret.
                outcome = error.with_traceback(None)
                outcome.__context__ = outcome.__cause__ = None
            self._desk.append((task, outcome))
            self._bell.put(None)

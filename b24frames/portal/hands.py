"""Threads that send requests: they take one, POST it, and lay the answer on the desk."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from b24frames.portal.pacing import Clock

Task = TypeVar("Task")


class Hands(Generic[Task]):
    """As many threads as there are requests under way at once; they know nothing else.

    Parameters
    ----------
    post : callable
        Sends a task and returns the outcome.

    Attributes
    ----------
    busy : int
        How many tasks have been handed over whose outcome was not dropped yet.
    """

    def __init__(self, post: Callable[[Task], Any]) -> None:
        self.busy = 0
        self._post = post
        self._threads: list[threading.Thread] = []
        self._outbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        # An interruption may lose what is being taken from a queue, so outcomes lie beside it.
        self._outcomes: deque[tuple[Task, Any]] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def send(self, task: Task) -> None:
        """Hand a task to a thread that is free, or to a further one."""
        if len(self._threads) <= self.busy:
            # A daemon: an interrupted program would else wait for answers that may never come.
            thread = threading.Thread(target=self._work, name="b24frames", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.busy += 1
        self._outbox.put(task)

    def take(self, clock: Clock, seconds: float) -> tuple[Task, Any]:
        """Return a task and its outcome; raise `queue.Empty` where there is none for so long.

        It is kept until `drop`, so that an interruption cannot lose it.
        """
        clock.take(self._bell, seconds)
        return self._outcomes[0]

    def drop(self) -> tuple[Task, Any]:
        """Remove the outcome that was taken; return it."""
        self.busy -= 1
        return self._outcomes.popleft()

    def take_last(self, end: float) -> tuple[Task, Any] | None:
        """Return and drop what is there, or comes until a moment of `time.monotonic`."""
        while not self._outcomes:
            try:
                self._bell.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return None
        return self.drop()

    def dismiss(self) -> None:
        """Let each thread end after what it is about."""
        for _ in self._threads:
            self._outbox.put(None)

    def join(self, end: float) -> None:
        """Wait for the threads until a moment of `time.monotonic`."""
        for thread in self._threads:
            if thread.is_alive():  # an interruption may have come before it was started
                thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (task := self._outbox.get()) is not None:
            outcome: Any
            try:
                outcome = self._post(task)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                # Its frames hold the address called, with the secret.
                outcome = error.with_traceback(None)
                outcome.__context__ = outcome.__cause__ = None
            self._outcomes.append((task, outcome))
            self._bell.put(None)

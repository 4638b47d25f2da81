"""Sessions that let requests overtake each other, and interrupt the caller."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any, Self

import requests

LONGEST = 5.0  # [s] on any machine; what hangs does so for longer


class Overtaken(requests.Session):
    """A session that holds back what is about one activity until so many others have been read.

    It is told of these as the bar of the read.
    """

    def __init__(self, number: int, others: int) -> None:
        super().__init__()
        self.held_back = f'id={number}"'
        self.others = others
        self.enough = threading.Event()

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request."""
        if self.held_back in options["data"]:
            self.enough.wait(60)
        return super().request(*args, **options)

    def update(self, n: int) -> None:
        """Take note of ids that have been read."""
        self.others -= n
        if self.others <= 0:
            self.enough.set()

    def set_postfix_str(self, text: str) -> None:
        """Take note of a message."""


class Interrupting(requests.Session):
    """A session that sends Ctrl-C to the main thread, a while after one of its requests.

    Parameters
    ----------
    number : int
        Which request, counted from 1.
    delay : float
        How long after it is begun [s]; 0: before anything else.
    """

    def __init__(self, number: int, delay: float) -> None:
        super().__init__()
        self.number, self.delay = number, delay
        self.count = 0
        self.sent_at = 0.0
        self.lock = threading.Lock()
        self.noticed = threading.Event()
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self.usual = signal.signal(signal.SIGINT, self.take_note)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self.usual)
        super().__exit__(*error)

    def take_note(self, *_: object) -> None:
        """Raise what Ctrl-C raises, and let the requests go on that wait for that."""
        self.noticed.set()
        raise KeyboardInterrupt

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request; after Ctrl-C late, so that a slow main thread is not too late for it."""
        if self.sent_at:
            self.noticed.wait(LONGEST)
            self.over.wait(0.05)
        with self.lock:
            self.count += 1
            is_due = self.count == self.number
        if is_due and self.delay:
            threading.Timer(self.delay, self.interrupt).start()
        elif is_due:
            self.interrupt()
        return super().request(*args, **options)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.sent_at = time.monotonic()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

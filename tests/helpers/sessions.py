"""Sessions that let requests overtake each other."""

from __future__ import annotations

import threading
from typing import Any

import requests


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

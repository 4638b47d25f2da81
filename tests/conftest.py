"""What every test stands on.

``portal``        a practice portal of 300 activities (seed 0), of which id 7 is deleted and id 9
                  refused; no request rate, so nothing waits. Its server counts the requests
                  (``portal.server.requests``) and makes faults on demand: those that users may
                  practise with, and those of `tests.helpers.exotic_faults`.
``make_portal``   makes further ones: ``make_portal(activities=2500, deleted=())``.

What no fixture gives is in `tests/helpers`: the clock on which nothing waits (`clocks`), what a
practice portal was asked (`practice`), a server that answers as a test wants (`servers`) and sample
answers for it (`answers`, one in a file of `tests/data/answers`), caches of some age (`caches`),
frames compared exactly (`frames`), the secret hunt (`hunt`), tables of cases (`cases`), and
`skip_or_fail` for what is not installed (`optional`).

All tests share these rules, kept by the automatic fixtures below: no socket but to this machine,
no environment variable of the user's, no cache of the user's, and no waiting: a test that needs
time to pass gives a clock.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from b24frames.credentials import is_loopback
from b24frames.practice import PracticePortal, practice_portal
from tests.helpers.clocks import WaitlessClock

_connect = socket.socket.connect

# How fast a machine is says nothing about the code. What is rare is found by
# `--hypothesis-profile=thorough`.
_any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", _any_speed, max_examples=10)
settings.register_profile("thorough", _any_speed, max_examples=100)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that opens a connection to any other machine."""

    def connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not is_loopback(str(address[0])):
            raise AssertionError(f"a test must not connect to {address}")
        _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give each test a cache of its own, and no portal."""
    monkeypatch.setenv("B24FRAMES_CACHE", str(tmp_path / "default-cache"))
    monkeypatch.delenv("B24_WEBHOOK_URL", raising=False)


@pytest.fixture
def make_portal() -> Iterator[Callable[..., PracticePortal]]:
    """Make practice portals that last as long as the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> PracticePortal:
            settings: dict[str, Any] = {"limits": "self-hosted", "speed": 1000.0, **options}
            made = stack.enter_context(practice_portal(**settings))
            if not {"limits", "operating_limit"} & options.keys():
                # Nothing is to be waited for but the next attempt; no pace depends on the machine.
                made._scheduler.clock = WaitlessClock()
            return made

        yield make


@pytest.fixture
def portal(make_portal: Callable[..., PracticePortal]) -> PracticePortal:
    """Make the practice portal that most tests need."""
    return make_portal(activities=300, deleted=[7], refused=[9])

"""Ctrl-C at any moment of a read: it returns at once and keeps what had been received."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings

import b24frames as b24
from b24frames.practice import PracticePortal, practice_portal
from tests.helpers.frames import assert_frame_equal
from tests.helpers.sessions import LONGEST, Interrupting

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no signals to a thread of one's choice"
)

ACTIVITIES = 500
IDS = range(1, ACTIVITIES + 1)
BATCHES = ACTIVITIES // 50
CONCURRENCY = 2
MANY = 8  # requests at once, where none of them is answered
LATENCY = 0.01  # [s]

Read = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def practice() -> Iterator[PracticePortal]:
    """Make the practice portal of all these tests."""
    with practice_portal(
        activities=ACTIVITIES, limits="self-hosted", speed=1.0, latency=LATENCY
    ) as practice:
        yield practice


@pytest.fixture(scope="module")
def undisturbed(practice: PracticePortal) -> pd.DataFrame:
    """Make the frame of a read that nobody interrupts."""
    return b24.read_activities(IDS, practice, cache=False, missing="ignore")


def ours() -> list[threading.Thread]:
    """List the threads of a read that have been started and have not ended."""
    threads = (thread for thread in threading.enumerate() if thread.name == "b24frames")
    return [thread for thread in threads if thread.is_alive()]


def check_interrupted(
    practice: PracticePortal,
    undisturbed: pd.DataFrame,
    place: Path,
    session: Interrupting,
    **options: Any,
) -> int:
    """Interrupt a read, check what it leaves, and finish it; return how many ids had been kept."""
    url, before = practice.url, len(practice.server.requests)
    options = {"limits": "self-hosted", "concurrency": CONCURRENCY, **options}
    with session, closing(b24.Portal(url, session=session, **options)) as portal:
        with pytest.raises(KeyboardInterrupt):
            b24.read_activities(IDS, portal, cache=place, missing="ignore")
        took = time.monotonic() - session.sent_at
        session.over.set()
        assert took < LONGEST
        deadline = time.monotonic() + LONGEST
        for thread in ours():
            thread.join(max(0.0, deadline - time.monotonic()))
        assert ours() == []
        received = practice.server.requests[before:]
        sent = session.count
        assert len(received) == sent < BATCHES

        # All that the portal has answered is kept.
        with closing(b24.ActivityCache(place)) as cache:
            hits = cache.read(portal, IDS, max_age=None)
        kept = {*hits.records, *hits.missing}
        assert kept == {i for r in received if r.status == 200 for i in r.ids}

        # The next call asks only for the rest, and gets all of it.
        frame = b24.read_activities(IDS, portal, cache=place, missing="ignore")
    again = practice.server.requests[before + sent :]
    assert sorted(i for r in again for i in r.ids) == sorted(set(IDS) - kept)
    assert_frame_equal(frame, undisturbed)
    reasons = undisturbed.attrs["b24"]["missing_reasons"]
    assert frame.attrs["b24"]["missing_reasons"] == reasons
    return len(kept)


@pytest.mark.thorough
def test_interrupt__any_moment(
    practice: PracticePortal, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    """At whatever moment: nothing hangs, nothing is lost, nothing is asked for twice."""
    rng = random.Random(0)
    kept = []
    for turn in range(settings().max_examples):
        # After the last of these requests, at least a round of answers is still to come.
        number = rng.randrange(1, BATCHES - 2 * CONCURRENCY)
        session = Interrupting(number, rng.uniform(0.0005, LATENCY))
        kept.append(check_interrupted(practice, undisturbed, tmp_path / str(turn), session))
    assert min(kept) <= 200 < 250 <= max(kept)


def test_interrupt__as_threads_start(
    practice: PracticePortal, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    """Ctrl-C while the threads of a read are being started ends the read as at any other time."""
    for turn in range(5):
        session = Interrupting(1, 0.0)
        place = tmp_path / str(turn)
        check_interrupted(practice, undisturbed, place, session, concurrency=8)


def test_interrupt__while_it_hangs(make_portal: Callable[..., PracticePortal]) -> None:
    """A portal that does not answer does not hold Ctrl-C up."""
    from b24frames.practice.faults import Fault

    hanging = make_portal(activities=500, deleted=(), refused=())
    hanging.server.faults.append(Fault("hang"))
    with Interrupting(5, 0.05) as session:
        portal = b24.Portal(hanging.url, limits="self-hosted", session=session, concurrency=MANY)
        with pytest.raises(KeyboardInterrupt):
            b24.read_activities(range(1, 501), portal, cache=False)
        assert time.monotonic() - session.sent_at < LONGEST
    # The threads cannot be stopped while they wait for an answer: they are told when it comes.
    hanging.server.stop()
    for thread in ours():
        thread.join(5)
    assert ours() == []
    assert session.count <= MANY


def test_interrupt__while_it_waits(make_portal: Callable[..., PracticePortal]) -> None:
    """Neither does a portal that has to be waited for."""
    from b24frames.practice.faults import Fault

    busy = make_portal(activities=500, deleted=(), refused=())
    busy.server.faults.append(Fault("QUERY_LIMIT_EXCEEDED", retry_after=60))
    with Interrupting(5, 0.05) as session:
        portal = b24.Portal(busy.url, limits="self-hosted", session=session, concurrency=MANY)
        with pytest.raises(KeyboardInterrupt):
            b24.read_activities(range(1, 501), portal, cache=False)
        assert time.monotonic() - session.sent_at < LONGEST
        for thread in ours():
            thread.join(LONGEST)
        assert ours() == []
        assert session.count <= MANY

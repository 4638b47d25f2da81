"""The desk: what is sent when, what is repeated, halved and given up; without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.errors import (
    InvalidAnswerError,
    OperatingTimeError,
    PortalBlockedError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)
from b24frames.portal.commands import Answer, Command, CommandQueue
from b24frames.portal.limits import BucketState, LeakyBucket, OperatingTime
from b24frames.portal.scheduler import Run, Scheduler
from tests.helpers.clocks import WaitlessClock

GET = "crm.activity.get"


class Bucket:
    """A request rate in memory."""

    def __init__(self, bucket: LeakyBucket) -> None:
        self.bucket, self.state = bucket, BucketState()

    def acquire(self, now: Callable[[], float]) -> tuple[float, float]:
        """Take a place where one is free."""
        self.state, wait = self.bucket.acquire(self.state, now())
        return wait, self.state.level

    def refuse(self, now: Callable[[], float]) -> None:
        """Take the bucket as full."""
        self.state = self.bucket.refuse(self.state, now())


class Portal:
    """A portal that answers as it is told, and notes what it was sent.

    Parameters
    ----------
    answer : callable
        Given the commands, and how often it was asked before; returns what the request brings.
    """

    def __init__(self, answer: Callable[[list[str], int], Any], **options: Any) -> None:
        self.clock = WaitlessClock()
        self.sent: list[list[str]] = []
        self._answer = answer
        settings: dict[str, Any] = {
            "rate": None,
            "operating": OperatingTime(480.0),
            "clock": self.clock,
            "max_wait": 900.0,
            "concurrency": 4,
            **options,
        }
        self.scheduler = Scheduler("https://acme.bitrix24.com", self.post, **settings)

    def post(
        self, commands: Mapping[str, Command], in_batch: bool, expired: int | None
    ) -> tuple[Any, int]:
        """Answer a request."""
        names = list(commands)
        self.sent.append(names)
        answer = self._answer(names, len(self.sent) - 1)
        return (answer if isinstance(answer, PortalError) else Answer(answer)), 0

    def run(self, commands: int, **options: Any) -> Run:
        """Return a run of so many commands."""
        queue = CommandQueue((f"a{i}", (GET, {"id": i})) for i in range(commands))
        return Run(self.scheduler, queue, **{"in_batches": True, "most": None, **options})


def fine(names: list[str], _: int = 0) -> dict[str, Any]:
    """Answer each command by its name."""
    return {name: name for name in names}


def collect(run: Run, answers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return all answers of a run; put them into a dict as they come."""
    answers = {} if answers is None else answers
    for settled in run:
        answers |= settled
    return answers


def unavailable(**facts: Any) -> PortalUnavailableError:
    """Return the error of a gateway's page."""
    return PortalUnavailableError("out of order", method="batch", **facts)


@given(st.integers(0, 300), st.integers(1, 8))
def test_run__every_answer_once(commands: int, concurrency: int) -> None:
    """Whatever the number of commands and threads, each is sent once and answered."""
    portal = Portal(fine, concurrency=concurrency)
    assert collect(portal.run(commands)) == {f"a{i}": f"a{i}" for i in range(commands)}
    assert sum(map(len, portal.sent)) == commands
    assert len(portal.sent) == -(-commands // 50)


def test_run__whoever_reads_may_ask_more() -> None:
    """Commands that are appended while answers are read are asked for, too."""
    portal = Portal(fine)
    queue = CommandQueue([("a0", (GET, {"id": 0}))])
    run = Run(portal.scheduler, queue, in_batches=True, most=None)
    read: list[str] = []
    for settled in run:
        for name in settled:
            read.append(name)
            if len(read) < 120:
                queue.append(f"a{len(read)}", (GET, {"id": len(read)}))
    assert read == [f"a{i}" for i in range(120)]
    assert run.requests == len(portal.sent) == 120


def test_run__by_themselves() -> None:
    """Calls that go by themselves are sent one in a request."""
    portal = Portal(fine)
    assert collect(portal.run(3, in_batches=False)) == {"a0": "a0", "a1": "a1", "a2": "a2"}
    assert sorted(portal.sent) == [["a0"], ["a1"], ["a2"]]


@pytest.mark.parametrize("most", [1, 3, 10, 20, 49])
@pytest.mark.parametrize(
    "error",
    [
        unavailable(http_status=500),
        unavailable(http_status=502),
        unavailable(http_status=504),
        unavailable(code="TIMEOUT"),
        unavailable(),
        InvalidAnswerError("cut off", method="batch"),
    ],
    ids=["500", "502", "504", "timeout", "closed", "cut"],
)
def test_run__large_batches_break(most: int, error: PortalError) -> None:
    """A portal that breaks every large batch, however it does, is sent smaller ones."""
    portal = Portal(lambda names, _: error if len(names) > most else fine(names))
    assert collect(portal.run(400)) == {f"a{i}": f"a{i}" for i in range(400)}
    too_large = sum(len(names) > most for names in portal.sent)
    # Below five they are no longer made smaller for all, since one command may be at fault.
    assert most < 5 or too_large <= 4 + 12 + len(portal.sent) / 8


def test_run__down() -> None:
    """A portal that is down is not asked over and over by all threads."""
    portal = Portal(lambda *_: unavailable(http_status=502), concurrency=50)
    with pytest.raises(PortalUnavailableError):
        collect(portal.run(5000))
    assert len(portal.sent) <= 50 + 20
    assert 10 < portal.clock.now() < 120


@pytest.mark.parametrize(
    "bad", [{0}, {1}, {49}, {0, 1}, {50}, {77}, {399}, {0, 399}, {50, 51}, {49, 50, 51}]
)
@pytest.mark.parametrize("commands", [2, 3, 50, 51, 52, 400])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_run__one_command_breaks_its_request(
    bad: set[int], commands: int, concurrency: int
) -> None:
    """What breaks whatever it is in costs itself alone, wherever it is."""
    breaking = {f"a{i}" for i in bad if i < commands}

    def answer(names: list[str], _: int) -> Any:
        return unavailable(http_status=500) if breaking & {*names} else fine(names)

    run = Portal(answer, concurrency=concurrency).run(commands)
    if len(breaking) == commands:  # then the portal is down
        with pytest.raises(PortalUnavailableError):
            collect(run)
        return
    answers = collect(run)
    for name in breaking:
        assert isinstance(answers.pop(name), PortalUnavailableError)
    assert len(answers) == commands - len(breaking)


@pytest.mark.parametrize("commands", [51, 52, 60])
def test_run__outage_of_the_rest(commands: int) -> None:
    """A portal that is out of reach is no fault of the commands that are left."""
    error = PortalUnavailableError("no connection")
    error.reached = False
    portal = Portal(lambda names, turn: error if turn else fine(names), concurrency=1)
    answers: dict[str, Any] = {}
    with pytest.raises(PortalUnavailableError):
        collect(portal.run(commands), answers)
    assert answers == {f"a{i}": f"a{i}" for i in range(50)}


def test_run__odd_answer() -> None:
    """A command that is answered oddly for ever is asked again twice; the others once."""
    odd = InvalidAnswerError("an error without a description", method=GET)
    portal = Portal(lambda names, _: fine(names) | ({"a7": odd} if "a7" in names else {}))
    answers = collect(portal.run(50))
    assert answers.pop("a7") is odd
    assert len(answers) == 49
    assert [len(names) for names in portal.sent] == [50, 1, 1]
    assert portal.clock.now() < 5


def test_run__odd_answers_that_pass() -> None:
    """Where asking again has helped, a command that stays odd is asked more often."""
    odd = InvalidAnswerError("unanswered", method=GET)

    def answer(names: list[str], turn: int) -> dict[str, Any]:
        late = {"a7": 8, "a8": 1}
        return {name: odd if turn < late.get(name, 0) else name for name in names}

    portal = Portal(answer)
    assert collect(portal.run(50)) == {f"a{i}": f"a{i}" for i in range(50)}


def test_reject__asked_again() -> None:
    """What the caller cannot use is asked again, twice, and not for ever."""
    portal = Portal(fine)
    run = portal.run(10)
    kept: list[str] = []
    given_up: list[str] = []
    for settled in run:
        for name in settled:
            if name != "a3":
                kept.append(name)
            elif not run.reject(name, (GET, {"id": 3})):
                given_up.append(name)
    assert kept == [f"a{i}" for i in range(10) if i != 3]
    assert given_up == ["a3"]
    assert portal.sent[1:] == [["a3"], ["a3"]]


def test_operating_time__nothing_more_is_sent_into_it() -> None:
    """Once an answer says that operating time is used up, what waits is not sent before it is."""
    clock = WaitlessClock()
    told = {"operating": 470.0, "operating_reset_at": clock.unix_after(300.0)}

    def post(commands: Mapping[str, Command], *_: Any) -> tuple[Answer, int]:
        moments.append(clock.now())
        return Answer(fine(list(commands)), [(GET, told)] if len(moments) == 1 else []), 0

    moments: list[float] = []
    scheduler = Scheduler("", post, None, OperatingTime(480.0), clock, 900.0, 1)
    queue = CommandQueue((f"a{i}", (GET, {"id": i})) for i in range(150))
    run = Run(scheduler, queue, in_batches=True, most=None)
    waited = {run.waiting for _ in run}
    assert moments[0] < 1
    assert 300 <= moments[1] <= moments[2] < 302
    assert any("operating time" in text for text in waited)


def test_operating_time__wakes_at_the_reset() -> None:
    """A request refused before the reset was known goes when it is, not after a fixed minute."""
    clock = WaitlessClock()
    refused = OperatingTimeError("blocked", code="OPERATION_TIME_LIMIT", method=GET)

    def post(commands: Mapping[str, Command], *_: Any) -> tuple[Any, int]:
        moments.append(clock.now())
        if len(moments) == 1:
            told = {"operating": 479.0, "operating_reset_at": clock.unix_after(20.0)}
            results = {name: refused if name == "a1" else name for name in commands}
            return Answer(results, [(GET, told)]), 0
        return Answer(fine(list(commands))), 0

    moments: list[float] = []
    scheduler = Scheduler("", post, None, OperatingTime(480.0), clock, 900.0, 4)
    queue = CommandQueue([("a0", (GET, {"id": 0})), ("a1", (GET, {"id": 1}))])
    run = Run(scheduler, queue, in_batches=True, most=None)
    assert collect(run) == {"a0": "a0", "a1": "a1"}
    assert 20 <= moments[1] <= 22


def test_rate__no_place_without_a_request() -> None:
    """A run that its caller leaves has taken no place for what it has not sent."""
    rate = Bucket(LeakyBucket(10, 2))
    portal = Portal(fine, rate=rate, concurrency=50)
    run = portal.run(5000)
    for settled in run:
        if settled:
            break
    run.drain()
    assert rate.state.sent == len(portal.sent) <= 10


def test_rate__refused() -> None:
    """A request that the rate refused is sent again, by whatever time it takes, not halved."""
    error = RateLimitError("too many", code="QUERY_LIMIT_EXCEEDED", method="batch")
    portal = Portal(lambda names, turn: error if turn < 20 else fine(names), concurrency=1)
    assert len(collect(portal.run(100))) == 100
    assert {len(names) for names in portal.sent} == {50}


def test_failure__what_is_under_way_is_read() -> None:
    """An error that ends everything is raised after what was under way has been answered."""
    blocked = PortalBlockedError("blocked", code="OVERLOAD_LIMIT", method="batch")
    portal = Portal(lambda names, turn: blocked if turn == 1 else fine(names), concurrency=4)
    answers: dict[str, Any] = {}
    with pytest.raises(PortalBlockedError):
        collect(portal.run(5000), answers)
    assert len(portal.sent) <= 8
    assert len(answers) == 50 * (len(portal.sent) - 1)


def test_drain__nothing_is_lost() -> None:
    """What was answered when the caller left, and what it was reading, is still handed over."""
    portal = Portal(fine, concurrency=4)
    run, read = portal.run(1000), 0
    for settled in run:
        read += bool(settled)
        if read == 3:
            break
    rest = run.drain()
    assert settled.items() <= rest.items()
    assert len(rest) == 50 * (len(portal.sent) - 2)


class InterruptedClock(WaitlessClock):
    """A clock with which Ctrl-C comes just after something was taken from a queue."""

    def take(self, inbox: Any, seconds: float) -> Any:
        """Take the next item, and lose it."""
        super().take(inbox, seconds)
        raise KeyboardInterrupt


def test_drain__interrupted_while_taking() -> None:
    """An answer that had come when Ctrl-C did is handed over, wherever that was."""
    portal = Portal(fine, clock=InterruptedClock(), concurrency=1)
    run = portal.run(50)
    with pytest.raises(KeyboardInterrupt):
        collect(run)
    assert run.drain() == {f"a{i}": f"a{i}" for i in range(50)}


def test_post__mistake_is_raised() -> None:
    """What a session raises that is no answer is raised in the caller's thread."""

    def answer(names: list[str], turn: int) -> Any:
        if turn == 2:
            raise ZeroDivisionError("a mistake of the session")
        return fine(names)

    run = Portal(answer, concurrency=1).run(500)
    with pytest.raises(ZeroDivisionError):
        collect(run)


def test_not_in_batch__one_by_one() -> None:
    """A method that is not allowed in a batch is called by itself."""
    error = PortalError("no", code="ERROR_BATCH_METHOD_NOT_ALLOWED", method="batch")
    portal = Portal(lambda names, _: error if len(names) > 1 else fine(names))
    assert len(collect(portal.run(20))) == 20
    assert [len(names) for names in portal.sent] == [20] + [1] * 20

"""The scheduler of a portal: one loop in the caller's thread decides, worker threads only send.

Commands go in once, and each comes out with its answer once. Pacing, retries, smaller batches and
giving up are decided here and nowhere else. A worker thread takes a request, POSTs it and queues
the answer; it shares nothing with the others. A request that has to wait is an entry in a heap
and no sleeping thread, so there is a single wait for Ctrl-C to interrupt.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from b24frames.errors import OperatingTimeError, PortalError, RateLimitError
from b24frames.portal.commands import (
    MAX_COMMANDS,
    Answer,
    Command,
    CommandQueue,
    Task,
    cut,
    has_expired,
)
from b24frames.portal.hands import Hands
from b24frames.portal.limits import (
    MAX_ATTEMPTS,
    OPERATING_BASKET,
    BatchSize,
    OperatingTime,
    Patience,
    delay_of_halves,
    is_odd,
    retry_delay,
)
from b24frames.portal.pacing import Clock, RequestRate

NOT_IN_BATCH = "ERROR_BATCH_METHOD_NOT_ALLOWED"
_USED_UP = "the operating time that the portal grants is used up"
_WORTH_TELLING = 5.0  # [s]
# How long Ctrl-C waits for answers in flight [s].
_LONGEST_DRAIN = 0.5
# How long to wait at a time for another thread of the caller [s].
_POLL, _INSTANT = 0.1, 0.001
# How often to repeat a command with an invalid answer; more often once that has helped.
_ODD_REPEATS, _ODD_REPEATS_THAT_HELP = 2, 2 * MAX_ATTEMPTS
_LONGEST_ODD_DELAY = 2  # doublings
_log = logging.getLogger("b24frames")

Post = Callable[[Mapping[str, Command], bool, int | None], tuple[Answer | PortalError, int]]
"""Sends commands, in a batch or (False) a single one, after renewing the access token if it expired
after so many renewals; returns the answer, and the number of renewals before it was sent."""


@dataclass
class Scheduler:
    """The state that all runs of one portal share.

    Attributes
    ----------
    address : str
        The portal's address, for the log.
    post : callable
        A `Post`; called in worker threads.
    rate : RequestRate or None
        The request rate; None for no limit.
    operating : OperatingTime
        The operating time of each method.
    clock : Clock
        Tells the time and waits.
    max_wait : float
        How long to retry without any success [s].
    concurrency : int
        The largest number of concurrent requests.
    batches : BatchSize
        The size of batches.
    alone : threading.Lock
        Held by the one request near the operating-time limit.
    """

    address: str
    post: Post
    rate: RequestRate | None
    operating: OperatingTime
    clock: Clock
    max_wait: float
    concurrency: int
    batches: BatchSize = field(default_factory=lambda: BatchSize(MAX_COMMANDS))
    alone: threading.Lock = field(default_factory=threading.Lock)

    def after_fork(self) -> Scheduler:
        """Return a copy for a forked process."""
        # A lock that another thread held at the fork is never released in the child.
        return replace(self, rate=self.rate and self.rate.after_fork(), alone=threading.Lock())


class Run:
    """Commands in flight; iterate over it for their answers.

    Yields, for each request that settled commands, a dict of name to result or `PortalError`, and
    empty dicts now and then while there is no answer. Raises the error that ends everything, after
    all requests in flight have been answered.

    Attributes
    ----------
    requests : int
        How many HTTP requests were sent.
    waiting : str
        Why and how long nothing is sent, if it is long.
    totals : dict of str to object
        The ``total`` that the portal reported for commands.
    portal_time : str
        When the portal began its first answer, by its own clock; empty if it did not say.
    """

    def __init__(
        self, scheduler: Scheduler, commands: CommandQueue, *, in_batches: bool, most: int | None
    ) -> None:
        self.requests = 0
        self.waiting = ""
        self.totals: dict[str, object] = {}
        self.portal_time = ""
        self._shared = scheduler
        self._clock = scheduler.clock
        self._concurrency = min(most or scheduler.concurrency, scheduler.concurrency)
        self._commands = commands
        self._in_batches = in_batches
        self._order = itertools.count()
        self._later: list[Task] = []  # a heap by the time when each is due
        self._next_task: Task | None = None  # all others wait behind it
        # One request at a time, until one succeeds.
        self._is_probing = False
        self._failure: BaseException | None = None
        self._now = self._clock.now()  # when the present step began
        self._patience = Patience(scheduler.max_wait, self._now)
        self._odd: Counter[str] = Counter()  # how often each command got an invalid answer
        self._again: dict[str, Command] = {}  # commands of the current answer to repeat
        self._repeats_help = False
        self._renewed: set[str] = set()
        self._alone: Task | None = None
        self._hands = Hands(lambda task: scheduler.post(task.commands, task.in_batch, task.expired))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            while True:
                wait = self._send_what_is_due()
                if not self._hands.busy and self._failure is not None:
                    raise self._failure
                if not self._hands.busy and wait == math.inf:
                    return
                try:
                    task, outcome = self._hands.look(self._clock, wait)
                except queue.Empty:
                    yield {}
                    continue
                settled = self._settle(task, outcome)
                yield settled
                # Only after the yield: an answer whose reading is interrupted is left for `drain`.
                self._hands.done()
                self._ask_again(task, settled)
        finally:
            self._release()
            self._hands.dismiss()

    def reject(self, name: str, command: Command) -> bool:
        """Repeat a command whose answer is invalid; return False if it was repeated too often.

        To be called while the answer is being read.
        """
        self._odd[name] += 1
        if self._odd[name] > (_ODD_REPEATS_THAT_HELP if self._repeats_help else _ODD_REPEATS):
            return False
        self._again[name] = command
        return True

    def drain(self) -> dict[str, Any]:
        """Return the answers that were not read to the end, after an interruption.

        Waits a moment for the answers in flight.
        """
        end = time.monotonic() + _LONGEST_DRAIN
        self._hands.dismiss()
        settled: dict[str, Any] = {}
        for task, outcome in self._hands.rest(end):
            settled |= self._settle(task, outcome)
        self._hands.join(end)
        return settled

    def _send_what_is_due(self) -> float:
        """Send all that may be sent now; return how long to wait before the next [s]."""
        self.waiting = ""
        most = 1 if self._is_probing else self._concurrency
        while self._failure is None and self._hands.busy < most:
            self._now = self._clock.now()
            task = self._next_task = self._choose()
            if task is None:
                break
            wait, reason = self._wait_for(task)
            if wait > 0:
                if wait >= _WORTH_TELLING:
                    self.waiting = f"waiting {wait:.0f} s: {reason}"
                return wait
            self._next_task = None
            self._send(task)
        return math.inf

    def _choose(self) -> Task | None:
        """Return the next task: one to repeat that is due, else commands not sent yet."""
        if (task := self._next_task) is not None:
            if self._is_probing or task.due <= self._now:
                return task
            heapq.heappush(self._later, task)
        if self._later and self._later[0].due <= self._now:
            return heapq.heappop(self._later)
        size = self._shared.batches.size if self._in_batches else 1
        if group := self._commands.take(size):
            return Task(self._now, next(self._order), group, self._in_batches)
        return heapq.heappop(self._later) if self._later else None

    def _wait_for(self, task: Task) -> tuple[float, str]:
        """Return how long a task has to wait [s], and why; 0: it has a slot in the bucket."""
        # Computed anew each time: other answers may report an earlier reset.
        shared, methods = self._shared, task.methods
        if task.due > self._now:
            return task.due - self._now, task.reason
        if blocked := self._blocked_for(methods):
            return blocked, _USED_UP
        if self._alone is None and shared.operating.is_nearly_used_up(methods):
            # Concurrent requests could pass the limit together, so one is sent at a time.
            if self._hands.busy:
                return math.inf, _USED_UP
            if not shared.alone.acquire(timeout=_POLL):
                return _INSTANT, _USED_UP
            self._alone = task
        elif self._alone is not None and self._alone is not task:
            return math.inf, _USED_UP
        if shared.rate is None:
            return 0.0, ""
        wait, task.level = shared.rate.acquire(self._clock.now)
        return wait, "the request rate that the portal grants is used up"

    def _blocked_for(self, methods: Iterable[str]) -> float:
        return self._clock.until(self._shared.operating.blocked_until(methods))

    def _send(self, task: Task) -> None:
        """Send a task, with no more commands than the present size of batches."""
        size = self._shared.batches.size
        if task.in_batch and len(task.commands) > size:
            task.commands, rest = cut(task.commands, size)
            heapq.heappush(self._later, replace(task, order=next(self._order), commands=rest))
        self.requests += 1
        task.sent = self._now
        task.first_sent = min(task.first_sent, task.sent)
        self._hands.send(task)

    def _put(self, task: Task, delay: float = 0.0, reason: str = "", **changes: Any) -> Task:
        """Schedule a changed copy of a task, and return it."""
        if delay:
            _log.info("waiting %.1f s: %s", delay, reason)
        due, order = self._clock.now() + delay, next(self._order)
        again = replace(task, due=due, order=order, reason=reason, **changes)
        heapq.heappush(self._later, again)
        return again

    def _settle(self, task: Task, outcome: Any) -> dict[str, Any]:
        """Return the commands that an answer settled; schedule those to repeat."""
        self._now = self._clock.now()
        self._release(task)
        # A bug, or an exception of the caller's own session.
        if not isinstance(outcome, tuple):
            self._failure = self._failure or outcome
            return {}
        answer, renewals = outcome
        _log.debug(
            "%s %s: %d commands, %s, %.3f s, bucket level %.1f",
            self._shared.address,
            "batch" if task.in_batch else task.methods.pop(),
            len(task.commands),
            answer if isinstance(answer, PortalError) else "HTTP 200",
            self._now - task.sent,
            task.level,
        )
        if isinstance(answer, PortalError):
            return self._refused(task, answer, renewals)
        for method, reported in answer.times:
            self._shared.operating.note(method, reported, self._clock.unix_after(0))
            if not self.portal_time and isinstance(reported, Mapping):
                self.portal_time = str(reported.get("date_start", ""))
        self.totals.update(answer.totals)
        if task.in_batch:
            self._shared.batches.grow(len(task.commands))
        return self._answered(task, answer, renewals)

    def _refused(self, task: Task, error: PortalError, renewals: int) -> dict[str, Any]:
        """Handle a request that failed as a whole."""
        self._note(error)
        commands, reason = task.commands, str(error)
        if error.code == NOT_IN_BATCH and task.in_batch:
            return self._answered(task, Answer(dict.fromkeys(commands, error)), renewals)
        if not (error.retryable or error.ends_all or task.in_batch):
            return self._succeeded(dict.fromkeys(commands, error))
        nothing_succeeds = self._patience.last_success < task.first_sent
        others_are_tried = all(len(o.commands) == 1 <= o.attempt for o in self._later)
        is_last = self._patience.has_succeeded and others_are_tried
        if len(commands) > 1 and self._patience.is_too_much(error, task.attempt, self._now):
            self._shared.batches.shrink(len(commands))
            first, rest = cut(commands, (len(commands) + 1) // 2)
            delay = delay_of_halves(error)
            self._put(task, delay, reason, commands=rest)
            again = self._put(task, delay, reason, commands=first)
        elif (pause := self._delay(error, task.attempt)) is not None:
            again = self._put(task, pause, reason, attempt=task.attempt + 1)
        elif len(commands) == 1 and is_odd(error) and (is_last or not nothing_succeeds):
            # The portal answers other requests, or did: this command alone breaks its own.
            return dict.fromkeys(commands, error)
        elif self._later and self._patience.doubts(error, self._now):
            # The portal is down, or a command breaks this request: the largest will show which.
            again = max(self._later, key=lambda other: len(other.commands))
            self._put(task)
        else:
            self._failure = self._failure or error
            return {}
        if nothing_succeeds and not isinstance(error, OperatingTimeError):
            # All others wait behind this one: a portal that is down must not get 50 requests, and
            # one that fails on large batches soon shows which size it can handle.
            self._step_back()
            self._later.remove(again)
            heapq.heapify(self._later)
            self._next_task, self._is_probing = again, True
        return {}

    def _answered(self, task: Task, answer: Answer, renewals: int) -> dict[str, Any]:
        """Handle the answers to the commands of a request."""
        settled: dict[str, Any] = {}
        limited: dict[str, Command] = {}
        expired: dict[str, Command] = {}
        for name, command in task.commands.items():
            result = answer.results[name]
            if not isinstance(result, PortalError):
                settled[name] = result
                continue
            self._note(result)
            if has_expired(result) and name not in self._renewed:
                self._renewed.add(name)
                expired[name] = command
            elif result.code == NOT_IN_BATCH and task.in_batch:
                self._put(task, commands={name: command}, in_batch=False)
            elif isinstance(result, (RateLimitError, OperatingTimeError)):
                limited[name], limit = command, result
            elif not (result.retryable and self.reject(name, command)):
                settled[name] = result
        if expired:
            self._put(task, commands=expired, expired=renewals)
        if limited and (pause := self._delay(limit, task.attempt)) is not None:
            self._put(task, pause, str(limit), commands=limited, attempt=task.attempt + 1)
        else:
            settled |= {name: answer.results[name] for name in limited}
        return self._succeeded(settled)

    def _succeeded(self, settled: dict[str, Any]) -> dict[str, Any]:
        """Record a success, if any commands were answered."""
        if settled:
            self._patience.last_success = self._now
            self._is_probing = False
            self._step_back()
        return settled

    def _step_back(self) -> None:
        """Put the next task back among the others."""
        if self._next_task is not None:
            heapq.heappush(self._later, self._next_task)
            self._next_task = None

    def _ask_again(self, task: Task, settled: dict[str, Any]) -> None:
        """Schedule commands with invalid answers, once the answer has been read."""
        self._repeats_help |= any(
            name in self._odd and name not in self._again and not isinstance(result, PortalError)
            for name, result in settled.items()
        )
        if self._again:
            most = max(self._odd[name] for name in self._again)
            pause = retry_delay(min(most, _LONGEST_ODD_DELAY), None)
            self._put(task, pause, "an answer was of no use", commands=self._again, attempt=0)
            self._again = {}

    def _note(self, error: PortalError) -> None:
        """Let a refusal by one of the limits delay what comes next."""
        if isinstance(error, RateLimitError) and self._shared.rate is not None:
            self._shared.rate.refuse(self._clock.now)
        if isinstance(error, OperatingTimeError):
            now, later = self._clock.unix_after(0), self._clock.unix_after(OPERATING_BASKET)
            self._shared.operating.block(error.method, now, later)

    def _delay(self, error: PortalError, attempt: int) -> float | None:
        """Return the delay before a request is repeated [s]; None to give up."""
        if isinstance(error, OperatingTimeError):
            # No delay: `_wait_for` holds the task back until the reset.
            blocked = self._blocked_for([error.method])
            return None if self._patience.is_over(self._now + blocked) else 0.0
        return self._patience.delay(error, attempt, self._now)

    def _release(self, task: Task | None = None) -> None:
        """Let other runs near the operating-time limit send again."""
        if self._alone is not None and (task is None or task is self._alone):
            self._alone = None
            self._shared.alone.release()

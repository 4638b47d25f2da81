"""The calls of one portal: paced, repeated where that helps, and only what failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from b24frames.errors import (
    InvalidAnswerError,
    OperatingTimeError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)
from b24frames.portal.limits import (
    MAX_ATTEMPTS,
    OPERATING_BASKET,
    OPERATING_WINDOW,
    BatchSize,
    OperatingTime,
    retry_delay,
)
from b24frames.portal.pacing import Clock, RequestRate
from b24frames.portal.transport import Transport, has_expired
from b24frames.portal.wire import encode_params, named_answers
from b24frames.portal.workers import Stopped

MAX_COMMANDS = 50
_USED_UP = "the operating time that the portal grants is used up"
_NOT_IN_BATCH = "ERROR_BATCH_METHOD_NOT_ALLOWED"
_WORTH_TELLING = 5.0  # [s]
_log = logging.getLogger("b24frames")
P = ParamSpec("P")
T = TypeVar("T")

Command = tuple[str, Mapping[str, Any]]
"""A REST method and its parameters: one call, alone or in a batch."""


@dataclass
class Watch:
    """What a caller is told while its calls are under way, from any of the threads.

    Attributes
    ----------
    on_request : callable
        At each HTTP request that is sent.
    on_message : callable
        Why and how long nothing is sent, in words, when it is long.
    on_wait : callable
        Now and then while no answer is there, in the caller's thread; what it raises ends the
        calls.
    """

    on_request: Callable[[], object] = lambda: None
    on_message: Callable[[str], object] = lambda _: None
    on_wait: Callable[[], object] = lambda: None


@dataclass
class Run:
    """The state of the calls that belong together: one batch call, or one call."""

    watch: Watch
    began: float
    last_success: float
    stop: threading.Event = field(default_factory=threading.Event)
    renewed_for: set[str] = field(default_factory=set)


class Calls:
    """Calls to one portal, from any number of threads.

    Parameters
    ----------
    transport : Transport
        Sends a request.
    rate : RequestRate or None
        How often; None: no limit.
    operating : OperatingTime
        How much operating time is left.
    clock : Clock
        What tells the time and waits.
    max_wait : float
        How long to go on without any success [s].

    Attributes
    ----------
    batches : BatchSize
        How many commands a batch may have; less than 50 for a while once one has taken too long.
    """

    def __init__(
        self,
        transport: Transport,
        rate: RequestRate | None,
        operating: OperatingTime,
        clock: Clock,
        max_wait: float,
    ) -> None:
        self.batches = BatchSize(MAX_COMMANDS)
        self._transport = transport
        self._rate = rate
        self._operating = operating
        self._clock = clock
        self._max_wait = max_wait
        self._one_at_a_time = threading.Lock()

    def begin(self, watch: Watch) -> Run:
        """Begin calls that belong together."""
        now = self._clock.now()
        return Run(watch, now, now)

    def settle(self, group: dict[str, Command], run: Run) -> Iterator[dict[str, Any]]:
        """Send a batch until each of its commands is answered or refused for good.

        A part that keeps failing is cut in halves, so that what breaks it costs nothing else.
        """
        started, failure = self._clock.now(), None
        parts = [(group, 0)]
        while parts and not run.stop.is_set():
            part, attempt = parts.pop()
            answers = self._batch(part, run)
            if not isinstance(answers, PortalError):
                self.batches.grow(len(part))
                yield from self._take(part, attempt, answers, parts, run)
            elif answers.code == _NOT_IN_BATCH:
                yield from self._call_one_by_one(part, run)
            elif self._is_too_much(part, answers, attempt, started, run):
                self.batches.shrink(len(part))
                parts += [(half, 0) for half in _halves(part)]
            elif self._may_repeat(answers, attempt, MAX_ATTEMPTS, run):
                parts.append((part, attempt + 1))
            else:
                failure = answers
                if answers.ends_all or not answers.retryable or run.last_success <= started:
                    run.stop.set()  # no other batch would fare better
        if failure is not None:
            raise failure

    def _take(
        self,
        part: dict[str, Command],
        attempt: int,
        answers: dict[str, Any],
        parts: list[tuple[dict[str, Command], int]],
        run: Run,
    ) -> Iterator[dict[str, Any]]:
        """Yield what a batch has settled, and put back what is worth repeating."""
        again = {name: c for name, c in part.items() if _is_transient(answers[name])}
        single = {name: c for name, c in part.items() if _is_not_in_batch(answers[name])}
        settled = {n: a for n, a in answers.items() if n not in again and n not in single}
        if settled:
            run.last_success = self._clock.now()
            yield settled
        yield from self._call_one_by_one(single, run)
        if again:
            error = answers[next(iter(again))]
            if self._may_repeat(error, attempt, 2 * MAX_ATTEMPTS, run):
                parts.append((again, attempt + 1))
            else:
                yield {name: answers[name] for name in again}

    def _call_one_by_one(self, commands: dict[str, Command], run: Run) -> Iterator[dict[str, Any]]:
        """Call each command by itself; what refuses one of them is its answer."""
        for name, (method, params) in commands.items():
            try:
                answer = self.call(method, params, run)
            except PortalError as error:
                if error.retryable or error.ends_all:
                    raise
                answer = error
            yield {name: answer}

    def call(self, method: str, params: Mapping[str, Any], run: Run) -> Any:
        """Call one method until it is answered, or refused for good."""
        attempt = 0
        while True:
            answer = self._exchange(method, params, [method], run)
            if not isinstance(answer, PortalError):
                run.last_success = self._clock.now()
                return answer["result"]
            if not self._may_repeat(answer, attempt, MAX_ATTEMPTS, run):
                raise answer
            attempt += 1

    def _batch(self, commands: dict[str, Command], run: Run) -> dict[str, Any] | PortalError:
        """Send up to 50 commands in one request; return the answer or error of each."""
        cmd = {n: f"{method}?{encode_params(params)}" for n, (method, params) in commands.items()}
        methods, renewals = ["batch", *_methods(commands)], self._transport.renewals
        answer = self._exchange("batch", {"halt": 0, "cmd": cmd}, methods, run)
        if isinstance(answer, PortalError):
            return answer
        result = answer["result"]
        if not isinstance(result, dict):
            return InvalidAnswerError("the answer to a batch has no result", method="batch")
        answers = named_answers(result.get("result"), commands)
        for name, time in named_answers(result.get("result_time"), commands).items():
            self._operating.note(commands[name][0], time)
        for name, error in named_answers(result.get("result_error"), commands).items():
            answers[name] = self._transport.error(error, method=commands[name][0])
            self._take_note(answers[name])
            if has_expired(answers[name]) and name not in run.renewed_for:
                answers[name] = self._renew_for(name, commands[name][0], renewals, run)
        return {n: answers[n] if n in answers else _unanswered(m) for n, (m, _) in commands.items()}

    def _renew_for(self, name: str, method: str, renewals: int, run: Run) -> PortalError:
        """Renew the token that a command has found expired, once; it is to be sent again."""
        refused = _without_traces(self._transport.renew, renewals, method)
        if refused is not None:
            return refused
        run.renewed_for.add(name)
        return _unanswered(method)

    def _exchange(
        self, method: str, params: Mapping[str, Any], methods: Collection[str], run: Run
    ) -> dict[str, Any] | PortalError:
        """Send one request when its turn has come; return the answer, or the error it is."""
        with self._one_at_a_time if self._operating.is_short(methods) else nullcontext():
            self._wait_for_operating_time(methods, run)
            return self._send(method, params, run)

    def _send(
        self, method: str, params: Mapping[str, Any], run: Run
    ) -> dict[str, Any] | PortalError:
        """Send one request at the pace that the portal grants; note what its answer tells."""
        level = 0.0
        if self._rate is not None:
            delay, level = self._rate.reserve(self._clock.now)
            self._clock.sleep(delay, run.stop)
        if run.stop.is_set():
            raise Stopped
        run.watch.on_request()
        sent = self._clock.now()
        answer = _without_traces(self._transport.post, method, params)
        seconds = self._clock.now() - sent
        failed = isinstance(answer, PortalError)
        _log.debug(
            "%s %s: %d commands, %s, %.3f s, bucket level %.1f",
            self._transport.address,
            method,
            len(params.get("cmd", ())),
            answer if failed else "HTTP 200",
            seconds,
            level,
        )
        if isinstance(answer, PortalError):
            self._take_note(answer)
        else:
            self._operating.note(method, answer.get("time"))
        return answer

    def _take_note(self, error: PortalError) -> None:
        """Let a refusal by one of the limits hold back what comes next."""
        if isinstance(error, RateLimitError) and self._rate is not None:
            self._rate.refuse(self._clock.now)
        if isinstance(error, OperatingTimeError):
            now, later = self._clock.unix_after(0), self._clock.unix_after(OPERATING_BASKET)
            self._operating.block(error.method, now, later)

    def _wait_for_operating_time(self, methods: Collection[str], run: Run) -> None:
        """Send nothing before the portal grants operating time again."""
        delay = self._operating_delay(methods)
        if delay > 0:
            self._pause(delay, _USED_UP, run)

    def _operating_delay(self, methods: Collection[str]) -> float:
        """Return how long no operating time is granted; one of the clocks may be wrong."""
        delay = self._clock.until(self._operating.blocked_until(methods))
        return min(delay, OPERATING_WINDOW)

    def _is_too_much(
        self, part: dict[str, Command], error: PortalError, attempt: int, started: float, run: Run
    ) -> bool:
        """Tell whether a batch fails for what is in it: it takes too long, or it alone fails."""
        hopeless = self._clock.now() - run.last_success > self._max_wait
        if len(part) == 1 or hopeless or not isinstance(error, PortalUnavailableError):
            return False
        took_too_long = error.http_status == 504 or error.code == "TIMEOUT"
        alone = error.reached and run.last_success > started and attempt + 1 >= MAX_ATTEMPTS
        return took_too_long or alone

    def _may_repeat(self, error: PortalError, attempt: int, most: int, run: Run) -> bool:
        """Wait until a refused call is worth repeating; tell whether it ever is."""
        if not error.retryable:
            return False
        lost = not error.reached and run.last_success > run.began  # networks come back
        delay, reason = retry_delay(attempt, error.retry_after), str(error)
        if isinstance(error, OperatingTimeError):
            delay = self._operating_delay([error.method])
            reason = _USED_UP
        elif attempt + 1 >= most and not (isinstance(error, RateLimitError) or lost):
            return False
        if self._clock.now() + delay - run.last_success > self._max_wait:
            return False
        self._pause(delay, reason, run)
        return True

    def _pause(self, seconds: float, reason: str, run: Run) -> None:
        """Wait, and say why where it is long."""
        words = f"waiting {seconds:.0f} s: {reason}"
        if seconds >= _WORTH_TELLING:
            run.watch.on_message(words)
        _log.info("%s", words)
        self._clock.sleep(seconds, run.stop)


def _without_traces(send: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Send something; an interruption leaves no trace of the address called.

    The frames below hold the secret, and some debuggers show what frames hold.
    """
    try:
        return send(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - reason: raised again below, Ctrl-C too
        interruption = error.with_traceback(None)
    interruption.__context__ = interruption.__cause__ = None
    raise interruption


def _methods(commands: Mapping[str, Command]) -> set[str]:
    """Return the methods of some commands."""
    return {method for method, _ in commands.values()}


def _unanswered(method: str) -> PortalError:
    """Return the error of a command of which a batch's answer says nothing."""
    return InvalidAnswerError("the batch was answered without this command", method=method)


def _is_transient(answer: object) -> bool:
    """Tell whether an answer is an error that may pass."""
    return isinstance(answer, PortalError) and answer.retryable


def _is_not_in_batch(answer: object) -> bool:
    """Tell whether an answer refuses the method in a batch only."""
    return isinstance(answer, PortalError) and answer.code == _NOT_IN_BATCH


def _halves(commands: dict[str, Command]) -> list[dict[str, Command]]:
    """Cut commands into two halves."""
    items, middle = list(commands.items()), (len(commands) + 1) // 2
    return [dict(items[middle:]), dict(items[:middle])]

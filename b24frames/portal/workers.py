"""Several tasks at once, in threads that an interruption does not wait for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
Done = queue.SimpleQueue[tuple[list[Result], BaseException | None] | None]
"""What the threads hand over: results, an error; None: a thread has ended."""

_LONGEST_JOIN = 0.5  # [s]
_POLL = 0.1  # [s]; Windows cannot interrupt a wait without an end


class Stopped(Exception):
    """A task ends without a result, since no more are wanted."""


def run_in_threads(
    work: Callable[[Task], Iterable[Result]],
    tasks: Iterable[Task],
    threads: int,
    stop: threading.Event,
    on_wait: Callable[[], object] = lambda: None,
) -> Iterator[Result]:
    """Yield the results of all tasks, in the order in which they are there.

    The threads are daemons: those of the standard library's pool would keep an interrupted
    program waiting for answers that may never come.

    Parameters
    ----------
    work : callable
        Gives the results of a task, in one of the threads.
    tasks : iterable
        Taken one by one, as threads become free.
    threads : int
        How many tasks are under way at once, at most.
    stop : threading.Event
        Once set, no further task is begun. Set here when the caller stops reading.
    on_wait : callable
        Called in the caller's thread now and then while there is no result; what it raises ends
        all.

    Raises
    ------
    BaseException
        The first error of a task, after the others have been done.

    Examples
    --------
    >>> sorted(run_in_threads(range, [1, 3], threads=2, stop=threading.Event()))
    [0, 0, 1, 2]
    """
    done: Done[Result] = queue.SimpleQueue()
    source = iter(tasks)
    lock = threading.Lock()

    def take() -> list[Task]:
        try:
            with lock:
                return list(islice(source, 0 if stop.is_set() else 1))
        except Exception as error:  # noqa: BLE001 - raised again when the others have been done
            done.put(([], error))
            return []

    def run(tasks: list[Task]) -> None:
        while tasks:
            _do(work, tasks.pop(), done)
            tasks = take()
        done.put(None)

    crew: list[threading.Thread] = []
    try:
        # No more threads than tasks; the first are at work while the others are being started.
        while len(crew) < threads and (first := take()):
            crew.append(threading.Thread(target=run, args=(first,), name="b24frames", daemon=True))
            crew[-1].start()
        yield from _results(done, len(crew), on_wait)
    finally:
        stop.set()
        deadline = time.monotonic() + _LONGEST_JOIN
        for thread in crew:
            if thread.is_alive():  # an interruption may have come before it was started
                thread.join(max(0.0, deadline - time.monotonic()))


def _do(work: Callable[[Task], Iterable[Result]], task: Task, done: Done[Result]) -> None:
    """Do one task; hand over its results, and its error."""
    try:
        for result in work(task):
            done.put(([result], None))
    except Stopped:
        pass
    except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
        done.put(([], error))


def _results(done: Done[Result], threads: int, on_wait: Callable[[], object]) -> Iterator[Result]:
    """Yield results until all threads have ended, then raise the first error."""
    errors: list[BaseException] = []
    while threads:
        try:
            outcome = done.get(timeout=_POLL)
        except queue.Empty:
            on_wait()
            continue
        if outcome is None:
            threads -= 1
            continue
        results, error = outcome
        yield from results
        if error is not None:
            errors.append(error)
    if errors:
        raise errors[0]

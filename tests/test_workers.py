"""Workers: several tasks at once, errors told, nobody waited for in vain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from b24frames.portal.workers import run_in_threads


def ours() -> list[threading.Thread]:
    """List the threads that are still at work."""
    return [thread for thread in threading.enumerate() if thread.name == "b24frames"]


def test_run_in_threads__all_results() -> None:
    """Every result of every task arrives, whatever the number of threads."""
    for threads in (1, 3, 20):
        results = run_in_threads(range, [3, 0, 2], threads, threading.Event())
        assert sorted(results) == [0, 0, 1, 1, 2]
    assert ours() == []


def test_run_in_threads__at_once() -> None:
    """Tasks are under way at once: each waits for all the others."""
    barrier = threading.Barrier(4, timeout=10)
    done = run_in_threads(lambda _: [barrier.wait()], range(4), 4, threading.Event())
    assert sorted(done) == [0, 1, 2, 3]


def test_run_in_threads__no_more_threads_than_tasks() -> None:
    """A thread is started for a task only, however many there may be."""
    barrier, names = threading.Barrier(3, timeout=10), set()

    def work(_: int) -> list[int]:
        names.add(threading.get_ident())
        barrier.wait()
        return [len(ours())]

    assert max(run_in_threads(work, range(3), 50, threading.Event())) <= 3
    assert len(names) == 3


def test_run_in_threads__error_last() -> None:
    """An error of one task is raised after the others have been done, results before it kept."""

    def work(task: int) -> Iterator[int]:
        yield task
        if task == 1:
            raise ValueError("one")

    results, found = run_in_threads(work, range(10), 2, threading.Event()), []
    with pytest.raises(ValueError, match="one"):
        found.extend(iter(lambda: next(results), None))
    assert sorted(found) == list(range(10))


def test_run_in_threads__error_of_the_tasks() -> None:
    """An error of the iterator of tasks is told, too."""

    def tasks() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(run_in_threads(range, tasks(), 2, threading.Event()))


def test_run_in_threads__stop() -> None:
    """Once stopped, no further task is begun."""
    stop, begun = threading.Event(), []

    def work(task: int) -> list[int]:
        begun.append(task)
        stop.set()
        return [task]

    assert list(run_in_threads(work, range(100), 1, stop)) == begun == [0]


def test_run_in_threads__left() -> None:
    """A caller who leaves does not wait for tasks that hang."""
    hanging, stop = threading.Event(), threading.Event()

    def work(task: int) -> Iterator[int]:
        yield task
        hanging.wait(20)

    results = run_in_threads(work, range(100), 2, stop)
    next(results)
    start = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert stop.is_set()
    assert time.monotonic() - start < 5
    hanging.set()
    for thread in ours():
        thread.join(5)
    assert ours() == []


def test_run_in_threads__on_wait() -> None:
    """While there is no result the caller is heard; what it raises ends the tasks."""
    ended = threading.Event()

    def work(_: int) -> list[int]:
        ended.wait()
        return [1]

    def refuse() -> None:
        ended.set()
        raise RuntimeError("enough")

    stop = threading.Event()
    with pytest.raises(RuntimeError, match="enough"):
        list(run_in_threads(work, range(5), 1, stop, refuse))
    assert stop.is_set()

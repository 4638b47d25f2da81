"""How fast, and how completely, clients read activities: ``python -m benchmarks.fetch``.

Each client runs in a fresh process of its own and asks a practice portal of its own, which this
process serves. The seconds begin when the client is imported and end when it hands over its rows.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import ssl
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import requests
import trustme
from b24pysdk import BitrixWebhook, Client
from fast_bitrix24 import BitrixAsync

from b24frames import Portal, read_activities
from b24frames.portal.pacing import SystemClock
from b24frames.practice.faults import Fault
from b24frames.practice.methods import Webhook
from b24frames.practice.server import PracticeServer
from benchmarks.measure import write, write_head

CAPACITY, LEAK = 50, 2  # requests, and requests a second
SPEED = 10.0  # portal seconds in a real one
LATENCY, COMMAND_SECONDS = 0.12, 0.004  # [s]
BATCH = 50
PROCESSES = 4
FAULTS = ("INTERNAL_SERVER_ERROR", "html", "OPERATION_TIME_LIMIT")  # HTTP 500, 502, 429
SECRET = "secret-of-the-webhook"  # noqa: S105 - it guards nothing but generated data
WRONG_METHOD = "crm.activity.nope"
CLOSED = f"http://127.0.0.1:9/rest/1/{SECRET}/"
AUTHORITY = trustme.CA()
_spawn = get_context("spawn")

ClientName = Literal[
    "b24frames", "b24frames list", "b24frames dicts", "fast_bitrix24", "b24pysdk", "requests"
]


@dataclass(frozen=True)
class Task:
    """What one client is to read.

    Attributes
    ----------
    client : str
        Which one.
    ids : range
        The activities.
    missing : bool
        Whether the one in the middle is deleted.
    speed : float
        Portal seconds in a real one.
    concurrency : int, optional
        Requests at once; None: the client's own default.
    fault : str, optional
        What the portal answers once, to the first request.
    """

    client: ClientName
    ids: range
    missing: bool = True
    speed: float = SPEED
    concurrency: int | None = None
    fault: str | None = None

    @property
    def deleted(self) -> list[int]:
        """The ids without a record."""
        return [self.ids[len(self.ids) // 2]] if self.missing else []


@dataclass(frozen=True)
class Outcome:
    """What a client did, as its process saw it.

    Attributes
    ----------
    rows : int
        How many records it handed over.
    started, ended : float
        When, by the monotonic clock of the machine [s].
    said : str
        What it told about ids without a record, or the error it ended with.
    failed : bool
        Whether it ended with an error.
    """

    rows: int
    started: float
    ended: float
    said: str
    failed: bool


@dataclass(frozen=True)
class Result:
    """What a client did, as the portal saw it too."""

    task: Task
    outcome: Outcome
    requests: int
    refusals: int

    @property
    def seconds(self) -> float:
        """How long it took [s]."""
        return self.outcome.ended - self.outcome.started

    @property
    def floor(self) -> float:
        """The shortest time in which the portal answers as many requests [s]."""
        commands = 1 if self.task.client == "requests" else BATCH
        return floor_seconds(self.requests - self.refusals, self.task.speed, commands)


class Barrier(Protocol):
    """Where processes wait for each other."""

    def wait(self) -> int:
        """Wait until all are there."""


def floor_seconds(answered: int, speed: float, commands: int = BATCH) -> float:
    """Return the shortest time in which a portal answers so many requests [s]."""
    waiting = max(0.0, (answered - CAPACITY) / (LEAK * speed))
    return waiting + LATENCY + commands * COMMAND_SECONDS


# The clients. Each adds what it has read to `rows`, and returns what it says of the missing id.


def _open_portal(url: str, task: Task) -> Portal:
    """Return a portal whose clock runs as fast as the server's."""
    # Operating time is off, as on the server: at `speed` each command would be billed tenfold.
    portal = partial(Portal, url, operating_limit=None, clock=SystemClock(task.speed))
    return portal() if task.concurrency is None else portal(concurrency=task.concurrency)


def _read_b24frames(url: str, task: Task, rows: list[object]) -> str:
    """Read by `b24frames.read_activities`."""
    via: Literal["get", "list"] = "list" if task.client == "b24frames list" else "get"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = read_activities(task.ids, _open_portal(url, task), cache=False, via=via)
    rows += list(frame.index)
    return "; ".join(f"{w.category.__name__}: {w.message}" for w in caught)


def _read_b24frames_dicts(url: str, task: Task, rows: list[object]) -> str:
    """Read by `Portal.call_batch`: dicts as other clients give them, in place of a frame."""
    commands = {f"a{i}": ("crm.activity.get", {"id": i}) for i in task.ids}
    answers = _open_portal(url, task).call_batch(commands).values()
    rows += [answer for answer in answers if isinstance(answer, dict)]
    return "; ".join(str(answer) for answer in answers if not isinstance(answer, dict))


def _read_fast_bitrix24(url: str, task: Task, rows: list[object]) -> str:
    """Read by `get_by_ID`, at its own pace: its rate is set to that of the portal."""
    bitrix = BitrixAsync(url, verbose=False, requests_per_second=float(LEAK * task.speed))

    async def read() -> Any:
        with nullcontext() if task.concurrency is None else bitrix.slow(task.concurrency):
            return await bitrix.get_by_ID("crm.activity.get", task.ids)

    rows += asyncio.run(read())
    return ""


def _webhook(url: str) -> BitrixWebhook:
    """Return the credential of b24pysdk."""
    return BitrixWebhook(domain=urlsplit(url).netloc, webhook_token=f"1/{SECRET}")


def _read_b24pysdk(url: str, task: Task, rows: list[object]) -> str:
    """Read by `call_batches`, which the SDK's manual names for more than one batch."""
    client = Client(_webhook(url))
    calls = {f"a{i}": client.crm.activity.get(bitrix_id=i) for i in task.ids}
    result = client.call_batches(calls).result
    rows += result.result
    return f"result_error: {list(result.result_error)}" if result.result_error else ""


def _read_requests(url: str, task: Task, rows: list[object]) -> str:
    """Read one by one, as a few lines in a notebook do."""
    for i in task.ids:
        answer = requests.post(f"{url}crm.activity.get", json={"id": i}, timeout=60)
        rows.append(answer.json()["result"])
    return ""


_READERS: dict[ClientName, Callable[[str, Task, list[object]], str]] = {
    "b24frames": _read_b24frames,
    "b24frames list": _read_b24frames,
    "b24frames dicts": _read_b24frames_dicts,
    "fast_bitrix24": _read_fast_bitrix24,
    "b24pysdk": _read_b24pysdk,
    "requests": _read_requests,
}


def _call_fast_bitrix24(url: str) -> object:
    """Call one method by fast_bitrix24."""
    return asyncio.run(BitrixAsync(url, verbose=False).call(WRONG_METHOD, {"id": 1}, raw=True))


_SINGLE_CALLS: dict[ClientName, Callable[[str], object]] = {
    "b24frames": lambda url: Portal(url, clock=SystemClock(SPEED)).call(WRONG_METHOD),
    "fast_bitrix24": _call_fast_bitrix24,
    "b24pysdk": lambda url: _webhook(url).call_method(WRONG_METHOD, {"id": 1}),
    "requests": lambda url: requests.post(url + WRONG_METHOD, timeout=60).json()["result"],
}


# In the client's process


def _measure(url: str, task: Task, barrier: Barrier | None = None) -> Outcome:
    """Let a client read."""
    logging.disable()  # asyncio prints every task that fast_bitrix24 leaves behind
    rows: list[object] = []
    if barrier is not None:
        barrier.wait()
    started, failed = time.monotonic(), False
    try:
        said = _READERS[task.client](url, task, rows)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        said, failed = f"{type(error).__name__}: {error}", True
    return Outcome(len(rows), started, time.monotonic(), said, failed)


def _shows_secret(client: ClientName, url: str) -> bool:
    """Provoke an error; tell whether what Python prints for it holds the secret."""
    logging.disable()
    try:
        answer = _SINGLE_CALLS[client](url)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is printed
        return SECRET in "".join(traceback.format_exception(error))
    raise RuntimeError(f"{client} has answered {answer!r}")


# In this process


def secure_context() -> ssl.SSLContext:
    """Return what a portal needs to speak https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return context


@contextmanager
def _serve(task: Task, activities: int) -> Iterator[PracticeServer]:
    """Serve a portal to a client; b24pysdk speaks https only."""
    context = None
    if task.client == "b24pysdk":
        context = secure_context()
    with PracticeServer(
        activities=activities,
        deleted=task.deleted,
        refused=(),
        limits=(CAPACITY, LEAK),
        speed=task.speed,
        latency=LATENCY,
        command_seconds=COMMAND_SECONDS,
        webhook=Webhook(secret=SECRET),
        ssl_context=context,
    ) as server:
        if task.fault is not None:
            server.faults.append(Fault(task.fault, times=1))
        server.records()  # made before any of it counts
        yield server


def run(task: Task) -> Result:
    """Let a client read, in a process of its own."""
    with _serve(task, len(task.ids)) as server, ProcessPoolExecutor(1, _spawn) as pool:
        outcome = pool.submit(_measure, server.url, task).result()
        return Result(task, outcome, len(server.requests), server.refusals)


def run_processes(ids: int) -> Result:
    """Let four processes read from one portal at once; each takes its share of the ids."""
    whole, share = Task("b24frames", range(1, ids + 1), missing=False), ids // PROCESSES
    parts = [whole.ids[start : start + share] for start in range(0, ids, share)]
    tasks = [Task("b24frames", part, missing=False) for part in parts]
    with (
        _serve(whole, ids) as server,
        _spawn.Manager() as manager,
        ProcessPoolExecutor(len(tasks), _spawn) as pool,
    ):
        measure = partial(_measure, server.url, barrier=manager.Barrier(len(tasks)))
        outcomes = list(pool.map(measure, tasks))
        outcome = Outcome(
            sum(o.rows for o in outcomes),
            min(o.started for o in outcomes),
            max(o.ended for o in outcomes),
            "",
            any(o.failed for o in outcomes),
        )
        return Result(whole, outcome, len(server.requests), server.refusals)


def probe_secret(client: ClientName) -> tuple[ClientName, bool, bool]:
    """Tell whether the secret shows when a method is wrong, and when nobody answers."""
    task = Task(client, range(1, 2), missing=False)
    with _serve(task, 1) as server, ProcessPoolExecutor(1, _spawn) as pool:
        wrong_method = pool.submit(_shows_secret, client, server.url).result()
        out_of_reach = pool.submit(_shows_secret, client, CLOSED).result()
    return client, wrong_method, out_of_reach


# What is printed: tables in Markdown


def _write_results(results: Iterable[Result]) -> None:
    """Print one row for each client."""
    write_head(*_COLUMNS)
    for result in results:
        task, outcome = result.task, result.outcome
        counts = (
            len(task.ids),
            len(task.deleted),
            outcome.rows,
            len(task.ids) - len(task.deleted) - outcome.rows,
            result.requests,
            result.refusals,
        )
        floor, ratio = f"{result.floor:.2f}", f"{result.seconds / result.floor:.2f}"
        times = (f"{result.seconds:.2f}", *(("–", "–") if outcome.failed else (floor, ratio)))
        cells = (_name(task), *counts, *times, " ".join(outcome.said.split())[:120])
        write(f"| {' | '.join(map(str, cells))} |")


_IN_A_BURST: tuple[ClientName, ...] = ("b24frames", "b24frames dicts", "fast_bitrix24")
_COLUMNS = (
    *("client", "ids", "missing", "rows", "lost", "requests", "refused"),
    *("s", "floor s", "s / floor", "what it said"),
)


def _name(task: Task) -> str:
    """Return client and setting in words."""
    return task.client if task.concurrency is None else f"{task.client}, {task.concurrency} at once"


def _write_target(name: str, result: Result, limit: float) -> None:
    """Print whether a target is met."""
    met = result.seconds <= limit and result.refusals == 0 and not result.outcome.failed
    write(
        f"- {name}: {result.seconds:.2f} s, {result.seconds / result.floor:.3f} times the floor of"
        f" {result.floor:.2f} s, limit {limit:.2f} s; {result.refusals} refusals;"
        f" {'met' if met else 'MISSED'}"
    )


def _write_settings() -> None:
    """Print what was measured, and how the portal was set."""
    names = ("b24frames", "fast-bitrix24", "b24pysdk", "requests", "pandas")
    versions = (f"{name} {version(name)}" for name in names)
    write(f"Python {platform.python_version()}, {', '.join(versions)}")
    write(
        f"burst {CAPACITY}, then {LEAK} requests a portal second; {LATENCY} s a request and"
        f" {COMMAND_SECONDS} s a command"
    )


def _measure_scaled(ids: range) -> None:
    """Measure where the portal's clock runs fast, one client after the other."""
    results = [
        run(Task("b24frames", ids)),
        run(Task("b24frames list", ids)),
        run(Task("fast_bitrix24", ids, missing=False, concurrency=8)),
        *(run(Task(client, ids[: CAPACITY * BATCH], missing=False)) for client in _IN_A_BURST),
    ]
    together = run_processes(len(ids))
    write(f"\nThe portal's clock {SPEED:g} times as fast, one client after the other\n")
    _write_results(results)
    write("\nTargets\n")
    one = results[0]
    _write_target("one process", one, one.floor * 1.05 + 1 / SPEED)
    _write_target(f"{PROCESSES} processes at once", together, together.floor * 1.10)


def _measure_concurrency(ids: range) -> None:
    """Measure what several requests at once gain within the burst."""
    write(f"\n{len(ids)} ids in the burst\n")
    write_head("at once", "s", "refused")
    for concurrency in (4, 16, 50):
        result = run(Task("b24frames", ids, missing=False, concurrency=concurrency))
        write(f"| {concurrency} | {result.seconds:.2f} | {result.refusals} |")


def _measure_faults(ids: range) -> None:
    """Measure what becomes of a read whose very first answer is a fault that passes."""
    write(f"\n{len(ids)} ids; the first answer is a fault that does not come again\n")
    write_head("client", "fault", "rows", "requests", "what it said")
    tasks = [
        Task(client, ids, missing=False, fault=fault)
        for client in _SINGLE_CALLS
        for fault in FAULTS
    ]
    with ThreadPoolExecutor(len(FAULTS)) as threads:
        results = threads.map(run, tasks)
    for result in results:
        task, outcome = result.task, result.outcome
        said = " ".join(outcome.said.split())[:120]
        write(f"| {task.client} | {task.fault} | {outcome.rows} | {result.requests} | {said} |")


def _measure_real_time(ids: range) -> None:
    """Measure by the real clock, all clients at once: they wait nearly all the time."""
    tasks = [
        Task("b24frames", ids, speed=1),
        Task("fast_bitrix24", ids, missing=False, speed=1),
        Task("fast_bitrix24", ids, missing=False, speed=1, concurrency=8),
        Task("fast_bitrix24", ids, speed=1, concurrency=8),
        Task("b24pysdk", ids, speed=1),
        Task("requests", ids[:50], speed=1),
        Task("requests", ids[:200], missing=False, speed=1),
    ]
    with ThreadPoolExecutor(len(tasks) + len(_SINGLE_CALLS)) as threads:
        results = threads.map(run, tasks)
        probes = threads.map(probe_secret, _SINGLE_CALLS)
    write("\nThe portal's clock that of the machine, all clients at the same time\n")
    _write_results(results)
    write("\nDoes the error, as Python prints it, show the secret of the webhook?\n")
    write_head("client", "wrong method", "portal out of reach")
    for client, *shown in probes:
        write(f"| {client} | {' | '.join('yes' if s else 'no' for s in shown)} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetch", description=__doc__)
    parser.add_argument("--ids", type=int, default=10_000, help="how many activities to read")
    ids = range(1, parser.parse_args(arguments).ids + 1)
    started = time.monotonic()
    with TemporaryDirectory(prefix="b24frames-") as folder:
        bundle = Path(folder, "authority.pem")
        AUTHORITY.cert_pem.write_to_path(bundle)
        # The processes started from here inherit these.
        os.environ["B24FRAMES_CACHE"] = folder
        os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
        os.environ["NO_PROXY"] = "127.0.0.1"
        _write_settings()
        _measure_scaled(ids)
        _measure_concurrency(ids[: CAPACITY * BATCH])
        _measure_faults(ids[: 2 * BATCH])
        _measure_real_time(ids)
    write(f"\n{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()

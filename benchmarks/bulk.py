"""How near bulk reads are to the bare work: ``python -m benchmarks.bulk [--chunked 1000000]``.

By get, the portal's rate is the limit; its clock runs fast here. By list, the same requests are
sent for nothing but `json.loads`, to a portal that takes its time; then the answers are replayed
from memory, so that nothing but the client is measured. With ``--chunked`` very many ids are read
by chunks, for the memory that takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any, Literal

import requests

from b24frames import Portal, find_activities, read_activities
from b24frames.practice.server import PracticeServer
from benchmarks.fetch import COMMAND_SECONDS, LATENCY, LEAK, Task, run
from benchmarks.measure import figure, measure, write

TIMES = 5
SPEEDS = (10.0, 25.0)  # portal seconds in a real one
CHUNK = 10_000
Read = Callable[[Portal, str], Any]
_spawn = get_context("spawn")


class _Recording(requests.Session):
    """A session that notes what it sends, and what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=50))
        self.sent: list[dict[str, Any]] = []
        self.bodies: dict[Any, bytes] = {}

    def request(self, method: Any, url: Any, **options: Any) -> requests.Response:
        response = super().request(method, url, **options)
        self.sent.append({"url": url, **{name: options.get(name) for name in ("data", "headers")}})
        self.bodies[options.get("data")] = response.content
        return response


class _Replay(requests.adapters.BaseAdapter):
    """An adapter that answers from memory what was asked before."""

    def __init__(self, bodies: dict[Any, bytes]) -> None:
        super().__init__()
        self._bodies = bodies

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, str(request.url)
        response.headers["Content-Type"] = "application/json"
        response._content = self._bodies[request.body]
        return response

    def close(self) -> None:
        """Hold nothing."""


def _read_by_list(rows: int, portal: Portal, place: str) -> Any:
    return read_activities(range(1, rows + 1), portal, via="list", cache=place)


def _find_all(portal: Portal, place: str) -> Any:
    return find_activities(None, portal, cache=place)


def _time(work: Callable[[], object]) -> float:
    """Return how long some work takes [s]."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _time_read(read: Read, rows: int, url: str, session: requests.Session) -> float:
    """Return how long a read takes, into a cache of its own [s]."""
    with TemporaryDirectory(prefix="b24frames-") as place:
        portal = Portal(url, limits="self-hosted", session=session)
        started = time.perf_counter()
        frame = read(portal, place)
        seconds = time.perf_counter() - started
        portal.close()
    if len(frame) != rows:
        raise RuntimeError(f"{len(frame)} rows in place of {rows}")
    return seconds


def _over_requests(url: str, read: Read, rows: int, is_stepwise: bool) -> list[float]:
    """Read, and send the same requests for nothing but `json.loads`, in turn."""
    plain = _Recording()

    def post(request: dict[str, Any]) -> None:
        json.loads(requests.Session.post(plain, **request).content)

    def send(sent: list[dict[str, Any]]) -> None:
        first = 1 if is_stepwise else 0  # a search plans by its first answer
        for request in sent[:first]:
            post(request)
        with ThreadPoolExecutor(len(sent)) as threads:
            list(threads.map(post, sent[first:]))

    ratios = []
    for _ in range(TIMES):
        session = _Recording()
        seconds = _time_read(read, rows, url, session)
        ratios.append(seconds / _time(partial(send, session.sent)))
    return ratios


def _over_decoding(url: str, read: Read, rows: int) -> list[float]:
    """Read what is replayed from memory, and decode the same answers, in turn."""
    recording = _Recording()
    _time_read(read, rows, url, recording)
    replay = requests.Session()
    replay.mount("http://", _Replay(recording.bodies))

    def decode() -> None:
        for body in recording.bodies.values():
            json.loads(body)

    return [_time_read(read, rows, url, replay) / _time(decode) for _ in range(TIMES)]


def _in_process(rows: int, work: Callable[..., Any], *args: Any, latency: float) -> Any:
    """Let a process of its own read from a portal that has so many activities."""
    server = PracticeServer(
        activities=rows,
        deleted=(),
        refused=(),
        limits=None,
        latency=latency,
        command_seconds=COMMAND_SECONDS if latency else 0.0,
    )
    with server, ProcessPoolExecutor(1, _spawn) as pool:
        server.records()  # made before any of it counts
        return pool.submit(work, server.url, *args).result()


def _over_floor(rows: int, speed: float) -> list[float]:
    """Read by get as fast as the portal's rate allows; raise if it has refused a request."""
    results = [run(Task("b24frames", range(1, rows + 1), speed=speed)) for _ in range(3)]
    if any(result.refusals or result.outcome.failed for result in results):
        raise RuntimeError("the portal has refused requests")
    return [result.seconds / result.floor for result in results]


def _open(url: str) -> Portal:
    return Portal(url, limits="self-hosted")


def _read_chunks(rows: int, via: Literal["get", "list"], portal: Portal) -> None:
    """Take all chunks."""
    with TemporaryDirectory(prefix="b24frames-") as place:
        frames = read_activities(
            range(1, rows + 1), portal, via=via, cache=place, chunksize=CHUNK, progress=False
        )
        if sum(map(len, frames)) != rows:
            raise RuntimeError("rows are lost")


def _measure_chunks(rows: int) -> None:
    """Print how much memory very many rows take."""
    with PracticeServer(activities=rows, deleted=(), refused=(), limits=None) as server:
        for via in ("list", "get"):
            read = partial(_read_chunks, rows, via)
            peak = measure(_open, read, server.url, times=1).peak
            write(f"{rows:,} ids by {via}, in chunks of {CHUNK:,}: peak {peak:.0f} MB (limit 200)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("--got", type=int, default=10_000, metavar="N", help="by get")
    parser.add_argument("--rows", type=int, default=20_000, help="of a portal that takes its time")
    parser.add_argument("--replayed", type=int, default=100_000, metavar="N", help="from memory")
    parser.add_argument("--chunked", type=int, metavar="N", help="so many rows by chunks, too")
    options = parser.parse_args(arguments)
    for speed in SPEEDS:
        name = f"{options.got:,} ids by get, {LEAK * speed:.0f} requests a second, over the floor"
        figure(name, _over_floor(options.got, speed), 1.05)
    rows, few, many = options.rows, 2_500, options.replayed
    for number in (rows, few):
        read = partial(_read_by_list, number)
        ratios = _in_process(number, _over_requests, read, number, False, latency=LATENCY)
        figure(f"{number:,} ids by list, over the bare requests", ratios, 1.8)
    ratios = _in_process(rows, _over_requests, _find_all, rows, True, latency=LATENCY)
    figure(f"{rows:,} found by conditions, over the bare requests", ratios, 2.0)
    ratios = _in_process(many, _over_decoding, partial(_read_by_list, many), many, latency=0.0)
    figure(f"{many:,} ids by list, over json.loads of the same answers", ratios, 3.0)
    if options.chunked:
        _measure_chunks(options.chunked)


if __name__ == "__main__":
    main()

"""How completely, and how fast, clients find activities: ``python -m benchmarks.find``.

Each client lists the open activities of a practice portal of its own, in a process of its own; once
while nobody else works there, and once while colleagues make, change and delete activities: one
change after each command that the portal answers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, nullcontext
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import requests
from b24pysdk import BitrixWebhook, Client
from fast_bitrix24 import BitrixAsync

from b24frames import Portal, find_activities
from b24frames.practice.methods import Webhook
from b24frames.practice.server import PracticeServer
from benchmarks.fetch import AUTHORITY, COMMAND_SECONDS, LATENCY, SECRET, secure_context
from benchmarks.measure import measure, write, write_head

LIST = "crm.activity.list"
OPEN = {"COMPLETED": "N"}
CHUNK = 10_000
MILLION_COLUMNS = ["TYPE_ID", "CREATED", "RESPONSIBLE_ID"]
_spawn = get_context("spawn")


# The clients: each returns the ids that it was given, in that order.


def _find_b24frames(url: str) -> list[Any]:
    with closing(Portal(url, limits="self-hosted")) as portal:
        return find_activities([("COMPLETED", "==", False)], portal).index.tolist()


def _find_fast_bitrix24(url: str) -> list[Any]:
    bitrix = BitrixAsync(url, verbose=False, requests_per_second=100.0)
    return [row["ID"] for row in asyncio.run(bitrix.get_all(LIST, {"filter": OPEN}))]


def _request(url: str) -> Any:
    webhook = BitrixWebhook(domain=urlsplit(url).netloc, webhook_token=f"1/{SECRET}")
    return Client(webhook).crm.activity.list(filter=OPEN)


def _find_b24pysdk(url: str) -> list[Any]:
    return [row["ID"] for row in _request(url).as_list().result]


def _find_b24pysdk_fast(url: str) -> list[Any]:
    return [row["ID"] for row in _request(url).as_list_fast().result]


def _find_by_offset(url: str) -> list[Any]:
    """Find as most programs do that were seen: page after page, by ``start``."""
    found, start = [], 0
    while start is not None:
        page = requests.post(url + LIST, json={"filter": OPEN, "start": start}, timeout=60).json()
        found += [row["ID"] for row in page["result"]]
        start = page.get("next")
    return found


_FINDERS: dict[str, Callable[[str], list[Any]]] = {
    "**b24frames**": _find_b24frames,
    "fast_bitrix24, `get_all`": _find_fast_bitrix24,
    "b24pysdk, `as_list`": _find_b24pysdk,
    "b24pysdk, `as_list_fast`": _find_b24pysdk_fast,
    "a loop by `start`": _find_by_offset,
}


def _find(client: str, url: str) -> tuple[list[int], float, str]:
    """Let a client find, in its process; return the ids, the seconds, and how it failed."""
    logging.disable()
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    try:
        ids, said = [int(i) for i in _FINDERS[client](url)], ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        ids, said = [], type(error).__name__
    return ids, time.perf_counter() - started, said


def compare(client: str, activities: int, *, is_worked_on: bool, seed: int) -> tuple[Any, ...]:
    """Return what matched all the while, rows lost, twice, requests, seconds, and the failure."""
    server = PracticeServer(
        activities=activities,
        seed=seed,
        limits=None,
        latency=LATENCY,
        command_seconds=COMMAND_SECONDS,
        webhook=Webhook(secret=SECRET),
        ssl_context=secure_context() if "pysdk" in client else None,
    )
    with server, ProcessPoolExecutor(1, _spawn) as pool:
        pool.submit(time.sleep, 0).result()  # the process has started
        throughout = {int(r["ID"]) for r in server.records() if r["COMPLETED"] == "N"}
        with server.work(seed) if is_worked_on else nullcontext():
            ids, seconds, said = pool.submit(_find, client, server.url).result()
        for change in server.changes:
            if change.record is None or change.record["COMPLETED"] != "N":
                throughout.discard(change.id)
    lost, twice = len(throughout - set(ids)), len(ids) - len(set(ids))
    return len(throughout), lost, twice, len(server.requests), seconds, said


def _compare_all(activities: int, seeds: range) -> None:
    """Print what becomes of the rows, summed over several portals."""
    for is_worked_on in (False, True):
        place = "that is being worked on" if is_worked_on else "where nobody else works"
        write(f"\n{len(seeds)} portals of {activities} activities, {place}\n")
        write_head("client", "open", "lost", "twice", "requests", "s", "failed")
        for client in _FINDERS:
            results = [
                compare(client, activities, is_worked_on=is_worked_on, seed=seed) for seed in seeds
            ]
            *counts, seconds, said = zip(*results, strict=True)
            sums = " | ".join(str(sum(count)) for count in counts)
            failed = ", ".join(f"{n} {name}" for name, n in Counter(said).items() if name)
            write(f"| {client} | {sums} | {sum(seconds):.1f} | {failed} |")


def _open(url: str) -> Portal:
    return Portal(url, limits="self-hosted")


def _read_chunks(portal: Portal) -> None:
    """Take all chunks, and print when the first one came."""
    started = time.perf_counter()
    frames: Iterator[Any] = find_activities(
        None, portal, columns=MILLION_COLUMNS, chunksize=CHUNK, progress=False
    )
    rows = len(next(frames))
    first = time.perf_counter() - started
    rows += sum(map(len, frames))
    whole = time.perf_counter() - started
    write(
        f"{rows} rows in {whole:.0f} s, the first chunk after {first:.2f} s: {first / whole:.2%} of"
        " the time, limit 2 %"
    )


def _measure_chunks(rows: int) -> None:
    """Print how much memory very many rows take, chunk by chunk."""
    with PracticeServer(activities=rows, deleted=(), refused=(), limits=None) as server:
        write(f"\n{rows} rows by chunksize={CHUNK}, columns={MILLION_COLUMNS}\n")
        peak = measure(_open, _read_chunks, server.url, times=1).peak
        write(f"peak {peak:.0f} MB over the import, limit 300 MB; {len(server.requests)} requests")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.find", description=__doc__)
    parser.add_argument("--activities", type=int, default=5_000, help="of each portal")
    parser.add_argument("--portals", type=int, default=5, help="how many of each kind")
    parser.add_argument("--chunked", type=int, metavar="N", help="so many rows by chunks, too")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with TemporaryDirectory(prefix="b24frames-") as folder:
        bundle = Path(folder, "authority.pem")
        AUTHORITY.cert_pem.write_to_path(bundle)
        # The processes started from here inherit these.
        os.environ["B24FRAMES_CACHE"] = folder
        os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
        os.environ["NO_PROXY"] = "127.0.0.1"
        _compare_all(options.activities, range(options.portals))
        if options.chunked:
            _measure_chunks(options.chunked)
    write(f"\n{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()

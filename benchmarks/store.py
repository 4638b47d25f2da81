"""What a store takes: ``python -m benchmarks.store [--rows 1000000]``.

Syncs run in processes of their own, against a practice portal without a request rate: a portal of
the cloud grants 50 requests at once and 2 a second. Memory is all that the process ever had.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd

import b24frames as b24
from b24frames.store import SyncReport
from benchmarks.measure import _peak, figure, write, write_head

CHANGES, TIMES = 1_000, 5
COLUMNS = ["TYPE_ID", "CREATED", "RESPONSIBLE_ID"]


def _sync(url: str, place: str, full: bool) -> tuple[SyncReport, float]:
    """Sync a store; return the report, and the memory of this process [MB]."""
    portal = b24.Portal(url, limits="self-hosted", operating_limit=None)
    report = b24.ActivityStore(place, portal).sync(full=full, progress=False)
    return report, _peak()


def _write_sync(title: str, url: str, place: str, full: bool = False) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        report, peak = pool.submit(_sync, url, place, full).result()
    changed = f"{report.added:,} / {report.changed:,} / {report.gone:,}"
    cells = (changed, f"{report.http_requests:,}", f"{report.seconds:.1f}", f"{peak:,.0f}")
    write(f"| {title} | {' | '.join(cells)} |")


def _seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes [s]."""
    start = perf_counter()
    work()
    return perf_counter() - start


def _measure_reads(place: Path, rows: int) -> None:
    """Compare reading from a tidy store with reading one parquet file of the same rows."""
    b24.ActivityStore(place).table.optimize.compact()
    store, file = b24.ActivityStore(place), str(place.with_suffix(".parquet"))
    store.read(dtype_backend="pyarrow").reset_index().to_parquet(file)
    month = [("CREATED", ">=", "2025-06-01"), ("CREATED", "<", "2025-07-01")]

    def parquet() -> object:
        return pd.read_parquet(file, dtype_backend="pyarrow")

    def whole() -> object:
        return store.read(dtype_backend="pyarrow")

    def one_month() -> object:
        return store.read(COLUMNS, month)

    _measure(f"store.read(pyarrow) over pd.read_parquet, {rows:,} rows", whole, parquet, 1.5)
    _measure(f"store.read() over pd.read_parquet, {rows:,} rows", store.read, parquet, None)
    _measure(f"one month of three columns over the whole, {rows:,} rows", one_month, whole, 0.1)


def _measure(
    name: str, work: Callable[[], object], base: Callable[[], object], limit: float | None
) -> None:
    """Do two things in turn, and print how long the first takes over the second."""
    work()
    figure(name, [_seconds(work) / _seconds(base) for _ in range(TIMES)], limit)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure syncs and reads, and print them as tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args(arguments).rows
    with (
        TemporaryDirectory() as folder,
        b24.practice_portal(activities=rows, deleted=(), limits="self-hosted") as portal,
    ):
        place = str(Path(folder, "store"))
        write(f"\n{rows:,} activities\n")
        write_head("sync", "added / changed / gone", "requests", "seconds", "MB")
        _write_sync("first load", portal.url, place)
        write()
        _measure_reads(Path(place), rows)
        write()
        write_head("sync", "added / changed / gone", "requests", "seconds", "MB")
        _write_sync("nothing new", portal.url, place)
        for number in random.Random(0).sample(range(1, rows), CHANGES):  # noqa: S311
            portal.server.touch(number, SUBJECT="changed")
        _write_sync(f"{CHANGES:,} changed, all over", portal.url, place)
        for number in range(rows - CHANGES, rows):
            portal.server.touch(number, SUBJECT="changed again")
        _write_sync(f"the last {CHANGES:,} changed", portal.url, place)
        portal.server.delete(1)
        _write_sync("full", portal.url, place, full=True)


if __name__ == "__main__":
    main()

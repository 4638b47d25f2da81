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
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd

import b24frames as b24
from b24frames.store import SyncReport
from benchmarks.measure import _peak, write, write_head

CHANGES = 1_000
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


def _seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the median time of some work [s]."""
    taken = []
    for _ in range(times):
        start = perf_counter()
        work()
        taken.append(perf_counter() - start)
    return median(taken)


def _write_reads(place: Path) -> None:
    """Compare reading from a tidy store with reading one parquet file of the same rows."""
    b24.ActivityStore(place).table.optimize.compact()
    store, file = b24.ActivityStore(place), str(place.with_suffix(".parquet"))
    store.read(dtype_backend="pyarrow").reset_index().to_parquet(file)
    month = [("CREATED", ">=", "2025-06-01"), ("CREATED", "<", "2025-07-01")]
    base = _seconds(lambda: pd.read_parquet(file, dtype_backend="pyarrow"))
    write_head("read", "seconds", "over `pd.read_parquet`")
    write(f"| `pd.read_parquet(file, dtype_backend='pyarrow')` | {base:.2f} | 1.0 |")
    works: dict[str, Callable[[], object]] = {
        "store.read(dtype_backend='pyarrow')": lambda: store.read(dtype_backend="pyarrow"),
        "store.read()": store.read,
        "store.read(three columns)": lambda: store.read(COLUMNS),
        "store.read(three columns, one month)": lambda: store.read(COLUMNS, month),
    }
    for name, work in works.items():
        taken = _seconds(work)
        write(f"| `{name}` | {taken:.2f} | {taken / base:.2f} |")


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
        _write_reads(Path(place))
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

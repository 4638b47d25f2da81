"""How four processes share one cache file: ``python -m benchmarks.shared_cache``.

Each asks for some ids, 50 at a time, half of them common to all, and writes them; the same work is
done by one process alone. The seconds are those of the slowest, without its start.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

from b24frames import ActivityCache, Portal
from b24frames.practice.dataset import make_record
from b24frames.serialization import encode_record
from benchmarks.measure import figure

PROCESSES, BATCH, ROUNDS = 4, 50, 3
LIMIT = 1.5
_URL = "https://practice.bitrix24.com/rest/1/secret-of-the-webhook/"
_spawn = get_context("spawn")


def work(path: Path, ids: Sequence[int], together: Barrier) -> float:
    """Ask for the ids and write them, batch by batch; return the seconds."""
    portal, cache = Portal(_URL), ActivityCache(path)
    lines = {i: encode_record(make_record(0, i, refused=False)) for i in ids}
    together.wait()
    started = time.perf_counter()
    for first in range(0, len(ids), BATCH):
        some = ids[first : first + BATCH]
        cache.read(portal, some, None)
        cache.write(portal, {i: lines[i] for i in some}, {})
    seconds = time.perf_counter() - started
    if cache.read(portal, ids, None).records != lines:
        raise AssertionError("a row is lost or wrong")
    cache.close()
    return seconds


def run(shares: Sequence[Sequence[int]]) -> float:
    """Do each share in a process of its own, on one file; return the seconds of the slowest."""
    with TemporaryDirectory() as folder, _spawn.Manager() as manager:
        together = manager.Barrier(len(shares))
        with _spawn.Pool(len(shares)) as pool:
            tasks = [(Path(folder) / "cache.sqlite", share, together) for share in shares]
            return max(pool.starmap(work, tasks))


def main(args: Sequence[str] | None = None) -> None:
    """Measure in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=2_500, help="ids of a process")
    each = parser.parse_args(args).each
    half = each // 2
    shares = [
        [*range(1, half + 1), *range(each * number, each * number + half)]
        for number in range(1, PROCESSES + 1)
    ]
    alone = [[i for share in shares for i in share]]
    ratios = [run(shares) / run(alone) for _ in range(ROUNDS)]
    figure("four processes on one cache file over one that does it all", ratios, LIMIT)


if __name__ == "__main__":
    main()

"""What the benchmarks share: made-up records, and measurements in a process of their own."""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from b24frames.frame import decode
from b24frames.practice.dataset import make_record

FIGURES: dict[str, tuple[float, float, float]] = {}
"""The least, the median and the greatest of each ratio that this run has measured."""

_spawn = get_context("spawn")
_SYLLABLES = "ва ко ли ма но пе ро са ту ша al be co de er in ka on re ta".split()


@dataclass(frozen=True)
class Measurement:
    """What something took.

    Attributes
    ----------
    times : sequence of float
        How long each repetition took [s].
    peak : float
        How much memory it took beyond what was there before [MB]; NaN where that is not known.
    """

    times: Sequence[float]
    peak: float

    @property
    def seconds(self) -> float:
        """The median of the repetitions [s]."""
        return median(self.times)

    def over(self, other: Measurement) -> list[float]:
        """Return the ratios of the repetitions to those of something else."""
        return [one / another for one, another in zip(self.times, other.times, strict=True)]


def make_records(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Make records as a portal sends them; no two descriptions are alike."""
    chance = random.Random(seed)  # noqa: S311 - no cryptography
    for number in range(1, count + 1):
        words = ("".join(chance.choices(_SYLLABLES, k=4)) for _ in range(chance.randint(0, 50)))
        yield make_record(seed, number, refused=False) | {"DESCRIPTION": " ".join(words)}


def write_records(path: Path, count: int) -> None:
    """Write records as JSON, one a line, as they came from the portal."""
    with path.open("w", encoding="utf-8") as file:
        for record in make_records(count):
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")


def read_lines(path: Path) -> list[bytes]:
    """Read the lines of a file."""
    return path.read_bytes().splitlines()


def without_arrow() -> None:
    """Let this process do as if pyarrow were not installed."""
    decode.find_spec = _find_nothing  # type: ignore[assignment]  # a stand-in


def _find_nothing(name: str) -> None:
    """Find no module of any name."""


def measure(
    prepare: Callable[..., Any], work: Callable[[Any], object], *args: Any, times: int = 3
) -> Measurement:
    """Do some work several times in a fresh process; what prepares it does not count."""
    with ProcessPoolExecutor(1, mp_context=_spawn) as pool:
        return pool.submit(_measure, prepare, work, args, times).result()


def _measure(
    prepare: Callable[..., Any], work: Callable[[Any], object], args: Sequence[Any], times: int
) -> Measurement:
    """Measure in this process; its first time tells the memory."""
    material = prepare(*args)
    gc.collect()
    before = _peak()
    seconds, peak = [], float("nan")
    for _ in range(times):
        started = time.perf_counter()
        result = work(material)
        seconds.append(time.perf_counter() - started)
        peak = _peak() - before if peak != peak else peak
        del result
    return Measurement(seconds, peak)


def _peak() -> float:
    """Return the most memory that this process ever had [MB]; NaN on Windows."""
    status = Path("/proc/self/status")
    if status.exists():  # of this program alone; getrusage counts what its parent had, too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        return float("nan")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_head(*columns: str) -> None:
    """Print the head of a table."""
    write(f"| {' | '.join(columns)} |")
    write(f"|{' --- |' * len(columns)}")


def figure(name: str, ratios: Sequence[float], limit: float | None = None) -> None:
    """Print a ratio that was measured several times, and keep it for the comparison of runs."""
    least, middle, greatest = min(ratios), median(ratios), max(ratios)
    FIGURES[name] = least, middle, greatest
    met = "" if limit is None else f"; limit {limit:g}: {'met' if middle <= limit else 'MISSED'}"
    write(f"{name}: {middle:.2f} ({least:.2f} to {greatest:.2f}){met}")

"""What the methods of ``df.b24`` cost: ``python -m benchmarks.accessor``.

Each is compared with ``df["OWNER_ID"] + 1`` on the same frame, measured in turn with it; the limit
is 100 times as long. Methods whose work grows with what they are given have none.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from timeit import timeit
from typing import Literal

import pandas as pd

from b24frames.errors import BadValueWarning
from b24frames.frame import Layout, build_frame_of_lines
from b24frames.practice.dataset import make_record
from b24frames.serialization import encode_record
from benchmarks.measure import figure

LIMIT = 100
ROUNDS = 15
_DISTINCT = 5_000  # practice records; further rows repeat them under ids of their own

_METHODS: dict[str, Callable[[pd.DataFrame], object]] = {
    "labels(['TYPE_ID'])": lambda df: df.b24.labels(["TYPE_ID"]),
    "labels(['PROVIDER_ID'])": lambda df: df.b24.labels(["PROVIDER_ID"]),
    "duration": lambda df: df.b24.duration,
    "talk_time": lambda df: df.b24.talk_time,
    "is_overdue()": lambda df: df.b24.is_overdue(),
    "is_missed_call": lambda df: df.b24.is_missed_call,
    "provider_name": lambda df: df.b24.provider_name,
}
_UNLIMITED: dict[str, Callable[[pd.DataFrame], object]] = {
    "labels(), 10 columns": lambda df: df.b24.labels(),
    "expand('SETTINGS')": lambda df: df.b24.expand("SETTINGS"),
    "typed()": lambda df: df.b24.typed(),
}


def _make_frame(rows: int, backend: Literal["numpy_nullable", "pyarrow"]) -> pd.DataFrame:
    """Return a frame of practice records."""
    some = [make_record(0, i) for i in range(1, min(rows, _DISTINCT) + 1)]
    lines = (encode_record({**some[i % len(some)], "ID": str(i + 1)}) for i in range(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadValueWarning)
        return build_frame_of_lines(lines, Layout(dtype_backend=backend))


def _measure(
    frame: pd.DataFrame, method: Callable[[pd.DataFrame], object], rounds: int
) -> list[float]:
    """Return how long a method takes over the addition that is done before it."""
    method(frame)
    ratios = []
    for _ in range(rounds):
        addition = timeit(lambda: frame["OWNER_ID"] + 1, number=10) / 10
        ratios.append(timeit(partial(method, frame), number=1) / addition)
    return ratios


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each method and print its ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accessor", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="how many activities")
    rows = parser.parse_args(arguments).rows
    for backend in ("numpy_nullable", "pyarrow"):
        frame = _make_frame(rows, backend)
        for name, method in {**_METHODS, **_UNLIMITED}.items():
            ratios = _measure(frame, method, 2 if name in _UNLIMITED else ROUNDS)
            limit = None if name in _UNLIMITED else LIMIT
            figure(f"df.b24.{name}, {backend}, over an addition", ratios, limit)


if __name__ == "__main__":
    main()

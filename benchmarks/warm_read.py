"""How fast a cache becomes a frame: ``python -m benchmarks.warm_read``.

The same rows are read from the cache of b24frames, from a parquet file of the same frame, and from
a cache that keeps one HTTP answer of each activity, as requests-cache does by itself.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import requests
from requests_cache import CachedResponse, CachedSession, SQLiteCache
from urllib3 import HTTPResponse

from b24frames import ActivityCache, Portal, read_activities
from b24frames.schema import Backend
from b24frames.serialization import encode_record
from benchmarks.measure import (
    Measurement,
    figure,
    make_records,
    measure,
    without_arrow,
    write,
    write_head,
)
from benchmarks.typing import convert

ROWS = (10_000, 100_000)
MOST_ANSWERS = 10_000  # ten times as many take a minute
FEW = 10
TIMES_FEW = 100
_URL = "https://practice.bitrix24.com/rest/1/secret-of-the-webhook/"
_METHOD_URL = f"{_URL}crm.activity.get"
_AT_ONCE = 2_500


def fill(folder: Path, rows: int) -> float:
    """Write activities into the cache of b24frames, and their frame; return the cache's seconds."""
    portal, own = Portal(_URL), ActivityCache(folder / "own")
    lines = iter([(int(record["ID"]), encode_record(record)) for record in make_records(rows)])
    started = time.perf_counter()
    while some := dict(islice(lines, _AT_ONCE)):
        own.write(portal, some, {})
    seconds = time.perf_counter() - started
    own.close()
    frame = read_own((folder / "own", rows))
    frame.to_parquet(folder / "frame.parquet")
    frame.b24.storable().to_parquet(folder / "storable.parquet")
    read_own_by_arrow((folder / "own", rows)).to_parquet(folder / "arrow.parquet")
    return seconds


def fill_answers(path: Path, rows: int) -> float:
    """Write an answer for each of the same activities, all at once; return the seconds."""
    theirs = SQLiteCache(str(path))
    answers = [_answer(int(record["ID"]), record) for record in make_records(rows)]
    keys = [theirs.create_key(answer.request) for answer in answers]
    started = time.perf_counter()
    with theirs.responses.bulk_commit():
        for key, answer in zip(keys, answers, strict=True):
            theirs.save_response(answer, key)
    seconds = time.perf_counter() - started
    theirs.close()
    return seconds


def _answer(number: int, record: dict[str, Any]) -> CachedResponse:
    """Make the answer of the portal to a single call."""
    answer = requests.Response()
    answer.status_code = 200
    answer.headers["Content-Type"] = "application/json"
    answer.request = requests.Request("GET", _METHOD_URL, params={"id": number}).prepare()
    answer.url = str(answer.request.url)
    answer._content = json.dumps({"result": record}).encode()
    answer.raw = HTTPResponse(body=answer.content, status=200, request_url=answer.url)
    return CachedResponse.from_response(answer)


def place(folder: Path, rows: int) -> tuple[Path, int]:
    """Return what a way of reading needs."""
    warnings.simplefilter("ignore")
    return folder, rows


def place_without_arrow(folder: Path, rows: int) -> tuple[Path, int]:
    """Return what a way of reading needs, without pyarrow."""
    without_arrow()
    return place(folder, rows)


def read_own(material: tuple[Path, int]) -> pd.DataFrame:
    """Read all activities from the cache of b24frames."""
    return _read_own(material, "numpy_nullable")


def read_own_by_arrow(material: tuple[Path, int]) -> pd.DataFrame:
    """Read all activities from the cache of b24frames, with the dtypes of the pyarrow backend."""
    return _read_own(material, "pyarrow")


def _read_own(material: tuple[Path, int], backend: Backend) -> pd.DataFrame:
    folder, rows = material
    frame = read_activities(
        range(1, rows + 1),
        Portal(_URL),
        cache=folder,
        only_if_cached=True,
        progress=False,
        dtype_backend=backend,
    )
    assert frame.index.tolist() == list(range(1, rows + 1))  # noqa: S101 - of the benchmark
    assert frame["CREATED"].notna().all()  # noqa: S101
    return frame


def read_few(material: tuple[Path, int]) -> None:
    """Look up few activities many times, in the open cache of b24frames."""
    folder, rows = material
    cache = ActivityCache(folder)
    portal = Portal(_URL)
    for first in range(1, TIMES_FEW + 1):
        assert len(cache.read(portal, range(first, rows, rows // FEW), None).records) == FEW  # noqa: S101 - of the benchmark
    cache.close()


def read_answers(material: tuple[Path, int]) -> pd.DataFrame:
    """Read all answers through requests-cache, and type them as in a notebook."""
    path, rows = material
    with CachedSession(backend=SQLiteCache(str(path))) as session:
        answers = (
            session.get(_METHOD_URL, params={"id": number}, only_if_cached=True)
            for number in range(1, rows + 1)
        )
        return convert(pd.DataFrame([answer.json()["result"] for answer in answers]))


def read_parquet(path: Path) -> pd.DataFrame:
    """Read the frame from its parquet file."""
    return pd.read_parquet(path)


def read_parquet_by_arrow(path: Path) -> pd.DataFrame:
    """Read the frame of the pyarrow backend from its parquet file, in one thread."""
    return pd.read_parquet(path, dtype_backend="pyarrow", use_threads=False)


def read_and_type_parquet(path: Path) -> pd.DataFrame:
    """Read the frame from a file that any program can take, and type it."""
    return pd.read_parquet(path).b24.typed()


def print_row(name: str, rows: int, measured: Measurement, parquet: Measurement) -> None:
    """Print a row of the table."""
    ratio = measured.seconds / parquet.seconds
    write(f"| {name} | {rows:,} | {measured.seconds:.3f} | {ratio:.1f} | {measured.peak:.0f} |")


def main(args: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    write_head("way", "rows", "s", "times pd.read_parquet", "peak MB")
    for rows in parser.parse_args(args).rows:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            written = fill(folder, rows)
            parquet = measure(Path, read_parquet, folder / "frame.parquet", times=5)
            print_row("pd.read_parquet", rows, parquet, parquet)
            own = measure(place, read_own, folder / "own", rows, times=5)
            print_row("b24frames, with pyarrow", rows, own, parquet)
            arrow = measure(place, read_own_by_arrow, folder / "own", rows, times=5)
            print_row('b24frames, dtype_backend="pyarrow"', rows, arrow, parquet)
            base = measure(Path, read_parquet_by_arrow, folder / "arrow.parquet", times=5)
            typed = measure(Path, read_and_type_parquet, folder / "storable.parquet", times=5)
            pure = measure(place_without_arrow, read_own, folder / "own", rows, times=3)
            print_row("b24frames, without pyarrow", rows, pure, parquet)
            compared = ""
            if rows <= MOST_ANSWERS:
                saved = fill_answers(folder / "theirs.sqlite", rows)
                theirs = measure(place, read_answers, folder / "theirs.sqlite", rows, times=1)
                print_row("requests-cache, an answer each", rows, theirs, parquet)
                compared = (
                    f"{theirs.seconds / own.seconds:.1f} times as fast as one answer each, "
                    f"{own.peak / theirs.peak:.2f} of its memory; written "
                    f"{saved / written:.1f} times as fast; "
                )
            few = measure(place, read_few, folder / "own", rows, times=3)
            write(
                f"\n{rows:,} rows: {compared}{FEW} of them looked up in "
                f"{few.seconds / TIMES_FEW * 1000:.1f} ms\n"
            )
            name = f"warm read of {rows:,} rows"
            figure(f"{name}, pyarrow, over pd.read_parquet in one thread", arrow.over(base), 4)
            figure(f"{name}, over pd.read_parquet and typed()", own.over(typed), 0.6)


if __name__ == "__main__":
    main()

"""How long the import and a first read take in a fresh process: ``python -m benchmarks.imports``.

The import is compared with that of pandas, both net of bare Python and measured in turn. The first
read is of 50 activities that the cache has.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from b24frames import ActivityCache, Portal
from b24frames.practice.dataset import make_record
from b24frames.serialization import encode_record
from benchmarks.measure import figure

TIMES = 10
_URL = "https://practice.bitrix24.com/rest/1/secret-of-the-webhook/"
_FIRST_READ = f"""
import b24frames, sys, time
started = time.perf_counter()
frame = b24frames.read_activities(range(1, 51), {_URL!r}, cache=sys.argv[1], only_if_cached=True)
assert len(frame) == 50
print(time.perf_counter() - started)
"""


def _run(code: str, *args: str) -> str:
    """Return what a fresh Python prints."""
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - code from here


def _seconds(code: str) -> float:
    """Return how long a fresh Python takes for some code [s]."""
    started = time.perf_counter()
    _run(code)
    return time.perf_counter() - started


def _import_ratio() -> float:
    """Return how long the import takes over that of pandas."""
    codes = ("pass", "import pandas", "import b24frames")
    bare, pandas, ours = (_seconds(code) for code in codes)
    return (ours - bare) / (pandas - bare)


def main(args: Sequence[str] | None = None) -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__).parse_args(args)
    _import_ratio()  # reads files that the others find in memory
    figure("import b24frames over import pandas", [_import_ratio() for _ in range(TIMES)], 1.05)
    with TemporaryDirectory() as folder:
        cache = ActivityCache(folder)
        lines = {i: encode_record(make_record(0, i, refused=False)) for i in range(1, 51)}
        cache.write(Portal(_URL), lines, {})
        cache.close()
        seconds = [float(_run(_FIRST_READ, folder)) for _ in range(TIMES)]
    figure("first read of 50 cached ids after the import [s]", seconds, 0.15)


if __name__ == "__main__":
    main()

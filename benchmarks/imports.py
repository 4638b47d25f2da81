"""How long an import takes, beside that of pandas: ``python -m benchmarks.imports``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

TIMES = 10
LIMIT = 1.15


def seconds(code: str) -> float:
    """Return how long a fresh Python takes for some code [s]."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - code from below
    return time.perf_counter() - started


def main(args: Sequence[str] | None = None) -> None:
    """Measure in turn, and print the medians net of bare Python."""
    argparse.ArgumentParser(description=__doc__).parse_args(args)
    codes = ("pass", "import pandas", "import b24frames")
    taken: dict[str, list[float]] = {code: [] for code in codes}
    for _ in range(TIMES + 1):
        for code in codes:
            taken[code].append(seconds(code))
    # The first of each has read files that the others find in memory.
    bare, pandas, ours = (median(taken[code][1:]) for code in codes)
    ratio = (ours - bare) / (pandas - bare)
    print(f"import pandas     {pandas - bare:.3f} s")  # noqa: T201 - what a benchmark is for
    print(f"import b24frames  {ours - bare:.3f} s")  # noqa: T201
    print(f"ratio             {ratio:.2f} (limit {LIMIT})")  # noqa: T201


if __name__ == "__main__":
    main()

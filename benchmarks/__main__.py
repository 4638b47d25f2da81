"""Run the benchmarks, and compare their ratios with the last ones: ``python -m benchmarks``.

A ratio that has grown fails nothing: whoever reads the table decides. With ``--save`` the ratios of
this run become the last ones. So that all of it takes minutes, there are fewer rows here than where
a benchmark is run by itself. Other clients are measured by `benchmarks.fetch` and
`benchmarks.find`, which take longer.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from pathlib import Path

from benchmarks.measure import FIGURES, write, write_head

_LAST = Path(__file__).with_name("figures.json")
_MODULES = {
    "benchmarks.bulk": "--got 4000 --rows 5000 --replayed 20000",
    "benchmarks.typing": "--rows 20000",
    "benchmarks.warm_read": "--rows 20000",
    "benchmarks.shared_cache": "--each 1000",
    "benchmarks.store": "--rows 20000",
    "benchmarks.accessor": "",
    "benchmarks.imports": "",
    "benchmarks.panel": "",
}


def _compare() -> None:
    """Print the ratios of this run beside the last ones."""
    last = json.loads(_LAST.read_text(encoding="utf-8")) if _LAST.exists() else {}
    write_head("ratio", "last median", "least", "median", "greatest", "change")
    for name, ratios in FIGURES.items():
        least, middle, greatest = (f"{ratio:.2f}" for ratio in ratios)
        before = last.get(name)
        was, change = "", ""
        if before is not None:
            was, change = f"{before[1]:.2f}", f"{ratios[1] / before[1] - 1:+.0%}"
            # What lies within the last run's spread is no change.
            change += "" if before[0] <= ratios[1] <= before[2] else " (!)"
        write(f"| {name} | {was} | {least} | {middle} | {greatest} | {change} |")


def main() -> None:
    """Run, compare, and save where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--save", action="store_true", help="make these ratios the last ones")
    is_to_save = parser.parse_args().save
    started = time.monotonic()
    for name, arguments in _MODULES.items():
        write(f"\n{name} {arguments}\n")
        import_module(name).main(arguments.split())
    write()
    _compare()
    if is_to_save:
        rounded = {name: [round(ratio, 3) for ratio in kept] for name, kept in FIGURES.items()}
        _LAST.write_text(json.dumps(rounded, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write(f"\n{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()

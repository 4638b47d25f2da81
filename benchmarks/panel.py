"""How long the look-up panel takes from Enter to the rendered row, in a real browser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from b24frames.practice import practice_portal
from benchmarks.measure import figure
from tests.browser.jupyter import Lab, find_chromium, open_browser, serve_lab, webhook_code

_TARGET = 150  # [ms]
_REST = 600  # [ms] in which the names of the row before are read
_PANEL = "panel = b24.LookupPanel(portal, cache='cache')\npanel"
_READ_ALL = "b24.read_activities(range(1, {}), portal, cache='cache');"
# From the key to the frame that is drawn after the row is in the page.
_WATCH = """number => {
    const panel = document.querySelector(".b24-panel")
    const field = panel.querySelector("input")
    window.measured = new Promise(resolve => {
        let start
        field.addEventListener("keydown", () => { start = performance.now() }, {once: true})
        const observer = new MutationObserver(() => {
            const cell = panel.querySelector(".b24-table td")
            if (start === undefined || cell?.textContent !== String(number)) return
            observer.disconnect()
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)))
        })
        observer.observe(panel, {childList: true, subtree: true, characterData: true})
    })
}"""


def _measure(page: Any, number: int) -> float:
    """Look up one activity; return how long it took [ms]."""
    field = page.get_by_label("Activities")
    field.fill(str(number))
    page.evaluate(_WATCH, number)
    page.wait_for_timeout(_REST)
    field.press("Enter")
    return float(page.evaluate("window.measured"))


def _measure_all(folder: Path, chromium: str, repetitions: int) -> list[float]:
    """Look up cached activities, one after the other, in one notebook."""
    with (
        practice_portal(repetitions + 2, deleted=(), refused=(), limits="self-hosted") as portal,
        serve_lab(folder, folder / "jupyter") as address,
        open_browser(chromium) as browser,
    ):
        page = browser.new_page(viewport={"width": 1180, "height": 1100})
        cells = [webhook_code(folder, portal.url), _READ_ALL.format(repetitions + 3), _PANEL]
        Lab(page, folder, address).open(cells)
        page.get_by_label("Activities").wait_for(timeout=90_000)
        times = [_measure(page, number) for number in range(1, repetitions + 3)]
        return times[2:]  # the first ones load what later ones have


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=40)
    repetitions = parser.parse_args(arguments).repetitions
    chromium, lacking = find_chromium()
    if lacking:
        sys.stdout.write(f"the panel is not measured: {lacking}\n")
        return
    with TemporaryDirectory(prefix="b24frames-") as folder:
        times = _measure_all(Path(folder), chromium, repetitions)
    figure("Enter to the rendered row of a cached activity [ms]", times, _TARGET)


if __name__ == "__main__":
    main()

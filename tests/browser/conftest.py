"""What the browser's tests stand on.

``lab``     opens notebooks in JupyterLab: ``lab.open(cells)`` runs them all and gives the page.
``notebook``  the same in Notebook 7.
``voila``   the same as an application, without the code: ``voila.open(cells)``.
``folder``  where the notebooks are.
``shoot``   takes a picture of the panel, into the folder that B24FRAMES_SCREENSHOTS names (a
            temporary one by default).

Without a browser, or without the extra ``browser``, the tests are skipped; where the environment
variable B24FRAMES_REQUIRE names ``browser``, that is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.jupyter import (
    PATIENCE,
    Lab,
    Notebook,
    Voila,
    find_chromium,
    open_browser,
    serve_lab,
    serve_voila,
)
from tests.helpers.optional import skip_or_fail

Shoot = Callable[[Any, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Of this package alone: playwright keeps an event loop running, which others do not expect.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Start the browser, or skip."""
    chromium, lacking = find_chromium()
    if lacking:
        skip_or_fail("browser", lacking)
    with open_browser(chromium) as browser:
        yield browser


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Open a window; what it asks of other machines is noted, and refused."""
    context = browser.new_context(viewport={"width": 1180, "height": 1100})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.foreign_requests = []

    def refuse(route: Any) -> None:
        page.foreign_requests.append(route.request.url)
        route.abort()

    page.route(lambda url: url.startswith("http") and "//127.0.0.1" not in url, refuse)
    yield page
    context.close()


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of the notebooks."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="package")
def lab_address(
    browser: Any, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Start JupyterLab."""
    with serve_lab(folder, tmp_path_factory.mktemp("jupyter")) as address:
        yield address


@pytest.fixture(scope="package")
def notebook_address(
    browser: Any, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Start Notebook 7."""
    with serve_lab(folder, tmp_path_factory.mktemp("notebook"), "notebook") as address:
        yield address


@pytest.fixture(scope="package")
def voila_address(
    browser: Any, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Start voila."""
    with serve_voila(folder, tmp_path_factory.mktemp("voila")) as address:
        yield address


@pytest.fixture
def lab(page: Any, folder: Path, lab_address: str) -> Lab:
    """Open notebooks in JupyterLab."""
    return Lab(page, folder, lab_address)


@pytest.fixture
def notebook(page: Any, folder: Path, notebook_address: str) -> Notebook:
    """Open notebooks in Notebook 7."""
    return Notebook(page, folder, notebook_address)


@pytest.fixture
def voila(page: Any, folder: Path, voila_address: str) -> Voila:
    """Open notebooks as applications."""
    return Voila(page, folder, voila_address)


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the pictures."""
    named = os.environ.get("B24FRAMES_SCREENSHOTS")
    return Path(named) if named else tmp_path_factory.mktemp("screenshots")


@pytest.fixture
def shoot(screenshots: Path) -> Shoot:
    """Take a picture of the panel."""

    def take(page: Any, name: str) -> None:
        screenshots.mkdir(parents=True, exist_ok=True)
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        height = page.locator(".b24-panel").first.bounding_box()["height"]
        page.set_viewport_size({"width": page.viewport_size["width"], "height": int(height) + 300})
        page.locator(".b24-panel").first.screenshot(path=str(screenshots / f"{name}.png"))

    return take

"""The documentation: every example runs, and its tables are those of the code."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import b24frames
from b24frames.practice import PracticePortal
from b24frames.schema import ACTIVITY, DTYPES

ROOT = Path(__file__).parents[1]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def _docstrings() -> Iterator[Any]:
    """Find every docstring with an example in it."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in pkgutil.walk_packages(b24frames.__path__, "b24frames."):
        if not module.name.endswith("__main__"):
            for test in finder.find(importlib.import_module(module.name)):
                if test.examples:
                    yield pytest.param(test, id=test.name)
    yield from (
        pytest.param(test, id=test.name)
        for test in finder.find(b24frames)
        if test.examples and test.name == "b24frames"
    )


def _pages() -> list[Path]:
    """Find every page with an example in it."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if ">>>" in page.read_text(encoding="utf-8")]


@pytest.fixture
def names(make_portal: Callable[..., PracticePortal], tmp_path: Path) -> dict[str, Any]:
    """Give the names that examples use without defining them."""
    portal = make_portal(activities=200, deleted=[7], refused=[9])
    public = {name: getattr(b24frames, name) for name in b24frames.__all__}
    return {**public, "b24": b24frames, "pd": pd, "portal": portal, "folder": tmp_path}


@pytest.mark.parametrize("test", list(_docstrings()))
def test_docstrings__run(test: doctest.DocTest, names: dict[str, Any]) -> None:
    """Each example of a docstring prints what it says."""
    test.globs = {**test.globs, **names}
    assert doctest.DocTestRunner(optionflags=OPTIONS).run(test).failed == 0


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.name)
def test_pages__run(page: Path, names: dict[str, Any]) -> None:
    """Each example of a page prints what it says."""
    text = page.read_text(encoding="utf-8").replace("```", "\n")
    test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
    assert doctest.DocTestRunner(optionflags=OPTIONS).run(test).failed == 0


def test_columns_page__is_the_schema() -> None:
    """The table of columns in the documentation is the schema's."""
    rows = [
        line.strip("|").split("|")
        for line in (ROOT / "docs" / "columns.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    documented = [[cell.strip().strip("`") for cell in row] for row in rows]
    expected = [
        [
            field.name,
            DTYPES["numpy_nullable"][field.wire].format(tz="tz"),
            DTYPES["pyarrow"][field.wire].format(tz="tz"),
            field.meaning,
        ]
        for field in ACTIVITY.values()
    ]
    assert documented == expected


def test_dependencies_page__names_each() -> None:
    """Every dependency has its reason in the documentation."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in wanted:
        name = requirement.partition(">")[0].partition("[")[0]
        assert f"`{name}`" in page

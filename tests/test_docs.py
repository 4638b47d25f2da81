"""The documentation: every example runs, and its tables are those of the code."""

from __future__ import annotations

import argparse
import builtins
import doctest
import importlib
import inspect
import pkgutil
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import b24frames
from b24frames.__main__ import _parser
from b24frames.cache import ActivityCache
from b24frames.practice import PracticePortal
from b24frames.schema import ACTIVITY, CALL, DTYPES, USER

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.[mr][ds]*")))
    if "_build" not in page.parts
]
# Packages that examples may use, and how to tell that they do.
OPTIONAL = {
    "pyarrow": "pyarrow|parquet|ActivityStore",
    "matplotlib": "plot",
    "deltalake": "ActivityStore",
    "sqlalchemy": "sqlalchemy",
}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def _docstrings() -> Iterator[Any]:
    """Find every docstring with an example in it."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for info in pkgutil.walk_packages(b24frames.__path__, "b24frames."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            continue
        for test in finder.find(module):
            if test.examples:
                yield pytest.param(test, id=test.name)
    yield from (
        pytest.param(test, id=test.name)
        for test in finder.find(b24frames)
        if test.examples and test.name == "b24frames"
    )


def _pages() -> list[Path]:
    """Find every page with an example in it."""
    return [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")]


def _name(page: Path) -> str:
    """Name a page by its path in the project."""
    return page.relative_to(ROOT).as_posix()


def _run(test: doctest.DocTest) -> int:
    """Run examples, if the optional packages that they use are installed; count what fails."""
    source = "".join(example.source for example in test.examples)
    for package, signs in OPTIONAL.items():
        if re.search(signs, source):
            pytest.importorskip(package)
    try:
        return doctest.DocTestRunner(optionflags=OPTIONS).run(test).failed
    finally:
        vars(builtins).pop("_", None)  # the last value shown; IPython would leave it there


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
    assert _run(test) == 0


@pytest.mark.parametrize("page", _pages(), ids=_name)
def test_pages__run(page: Path, names: dict[str, Any]) -> None:
    """Each example of a page prints what it says."""
    text = page.read_text(encoding="utf-8").replace("```", "\n")
    test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
    assert _run(test) == 0


@pytest.mark.parametrize("page", _pages(), ids=_name)
def test_pages__say_where_names_come_from(page: Path) -> None:
    """A page whose examples use a portal or a folder makes it, or leads to how it is made."""
    text = page.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^ *(?:>>>|\.\.\.) (.*)$", text, re.MULTILINE))
    used = {name for name in ("portal", "folder") if re.search(rf"\b(?<!\.){name}\b", code)}
    made = set(re.findall(r"^(?:>>> )?(portal|folder) =|as (portal):", text, re.MULTILINE))
    told = re.findall(r"`(portal|folder)`.*\n?.*\]\((?:\.\./)?(?:how-to/)?index\.md\)", text)
    assert used <= {name for names in made for name in names} or told or page.suffix == ".rst"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pages__links(page: Path) -> None:
    """Each link to a file or to a heading of this project leads there."""
    for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            linked = page.parent / path if path else page
            if linked.parent == ROOT / "docs" / "notebooks":  # which docs/conf.py makes of these
                stem = re.sub(r"-\d+(?=\.png)", "", linked.name).removesuffix(linked.suffix)
                linked = ROOT / "notebooks" / f"{stem}.ipynb"
            assert linked.exists(), target
            assert not anchor or anchor in _anchors(linked), target


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_command_line_page__names_each_option() -> None:
    """The page of the command line has every option, and no other."""
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    options = set(re.findall(r"`(--[a-z-]+)", page))
    assert options == _options(_parser()) | {"--version", "--help"}


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options of a parser and its commands."""
    found = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= _options(command)
    return {option for option in found if option.startswith("--")}


@pytest.mark.parametrize(
    ("name", "kind"), [("lookup-panel", b24frames.LookupPanel), ("schema", b24frames.schema.Field)]
)
def test_reference__signature(name: str, kind: type) -> None:
    """Where Sphinx does not see the signature as users do, the page has the one of the code."""
    page = (ROOT / "docs" / "reference" / f"{name}.rst").read_text(encoding="utf-8")
    _, *parameters = inspect.signature(kind.__init__).parameters.values()
    plain = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
    shown = str(plain).replace("<factory>", "{}").replace("'", '"')
    assert f"autoclass:: {kind.__name__}{shown}\n" in page


def test_contributing__command() -> None:
    """The command for contributors installs extras that exist, and runs the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    command = re.search(r'^python -m pip install --editable "\.\[(.+)\]" && (.+)$', page, re.M)
    assert command is not None
    assert set(command[1].split(",")) <= set(project["optional-dependencies"])
    assert command[2] == "python -m pytest -n auto --maxprocesses 4 --dist worksteal"


def test_columns_page__is_the_schema() -> None:
    """The tables of columns in the documentation are the schema's."""
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
        for table in (ACTIVITY, CALL, USER)
        for field in table.values()
    ]
    assert documented == expected


def test_dependencies_page__names_each() -> None:
    """Every dependency has its reason in the documentation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in wanted:
        name = requirement.partition(">")[0].partition("[")[0]
        assert f"`{name}`" in page


def test_index_page__names_each_extra() -> None:
    """The front page of the site says what each extra is for, and names no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(project["optional-dependencies"])


def test_errors_page__explains_each() -> None:
    """Each public error and warning has a row that says what it means, and what to do."""
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.{10,}) \| (.{10,}) \|$", page, re.MULTILINE)
    roots = set(re.findall(r"^`(\w+)` is the root of all", page, re.MULTILINE))
    assert roots == {"B24Error", "B24Warning"}
    assert {name for name, *_ in rows} | roots == set(dir(b24frames.errors))


# What pages call the instances that have these attributes.
INSTANCES = {
    "cache": ActivityCache,
    "panel": b24frames.LookupPanel,
    "portal": PracticePortal,
}


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=_name)
def test_pages__name_what_exists(page: Path) -> None:
    """Each file and module that a page names is there; the changelog may name what was."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`([\w./-]+\.py|(?:[\w.-]+/)+)`", text):
        places = (ROOT / path, ROOT / "b24frames" / path)
        assert any(place.exists() for place in places), path
    for dotted in re.findall(r"\bb24frames(?:\.[A-Za-z_]\w*)+", text):
        assert _exists(dotted), dotted
    packages = "|".join(p.name for p in (ROOT / "b24frames").iterdir() if p.is_dir())
    for package, name in re.findall(rf"`({packages})\.([a-z_]+)", text):
        known = hasattr(INSTANCES.get(package), name) or name in {"server", "url"}
        assert known or _exists(f"b24frames.{package}.{name}"), f"{package}.{name}"


def _exists(dotted: str) -> bool:
    """Return whether a module, or something in one, has this name."""
    try:
        pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError):
        return False
    return True

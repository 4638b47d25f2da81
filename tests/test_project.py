"""The project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def _requirements(lines: list[str]) -> dict[str, str]:
    """Split requirements into names and versions."""
    pairs = (re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[.+?\])?(.*)", line.strip()) for line in lines)
    return {m[1].lower(): m[2] for m in pairs if m}


def test_environment__agrees_with_pyproject() -> None:
    """`environment.yml` names the same packages and versions as `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    extras = project["optional-dependencies"]
    of_extras = (line for lines in extras.values() for line in lines)
    declared = _requirements(
        [*project["dependencies"], *(r for r in of_extras if not r.startswith("b24frames["))]
    )
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    listed = _requirements(conda + pip)
    assert listed.pop("python") == project["requires-python"]
    assert listed.pop("pip") == ""
    assert listed == declared


def test_changelog__names_the_version() -> None:
    """The changelog has a section for the version, or for what comes next."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    source = (ROOT / "b24frames" / "_version.py").read_text(encoding="utf-8")
    version = re.search('__version__ = "(.+)"', source)
    assert version is not None
    assert f"## {version[1]}" in text


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", ".ci/run"]
    + [".github/workflows/ci.yml", ".github/workflows/release.yml"],
)
def test_commands__run_the_tests_alike(name: str) -> None:
    """Wherever all tests are run they use the cores there are, four at most."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.count(" -n auto --maxprocesses 4 --dist worksteal") == text.count("-n auto") == 1


def test_workflow__mirrors_ci() -> None:
    """The workflow runs `.ci/run`, and the tests on each system, oldest and newest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    file = ROOT / ".github" / "workflows" / "ci.yml"
    jobs: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
    assert any(step.get("run") == ".ci/run" for step in jobs["run"]["steps"])
    matrix = jobs["test"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu", "macos", "windows"]
    (oldest,) = (entry for entry in matrix["include"] if entry["age"] == "oldest")
    assert f">={oldest['python']}" == project["requires-python"]
    lowest = f"--resolution {oldest['resolution']} "
    assert oldest["resolution"] == "lowest-direct"
    assert f'{lowest}".[test]"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_dependencies__have_lower_bounds() -> None:
    """What is tested as the oldest is what is allowed: each requirement has a lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tested = _requirements([*project["dependencies"], *extras["test"]])
    assert [name for name, version in tested.items() if not version.startswith(">=")] == []
    users = (extras[name] for name in ("arrow", "redis", "store", "plot"))
    assert _requirements([r for some in users for r in some]).items() <= tested.items()

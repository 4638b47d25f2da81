"""The project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def _requirements(lines: list[str]) -> dict[str, str]:
    """Split requirements into names and versions."""
    pairs = (re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", line.strip()) for line in lines)
    return {m[1].lower(): m[2] for m in pairs if m}


def test_environment__agrees_with_pyproject() -> None:
    """`environment.yml` names the same packages and versions as `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    extras = project["optional-dependencies"]
    groups = ("arrow", "lab", "test", "dev")
    declared = _requirements(
        [*project["dependencies"], *(r for g in groups for r in extras[g] if "[" not in r)]
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

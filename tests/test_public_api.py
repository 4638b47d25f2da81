"""The public face: few names, sorted, lazily loaded, documented."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import b24frames as b24

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def test_all__is_what_it_is() -> None:
    """The public names are few, sorted, and all there."""
    assert b24.__all__ == sorted(b24.__all__)
    assert b24.__all__ == [
        "ActivityCache",
        "ActivityStore",
        "LookupPanel",
        "Portal",
        "count_activities",
        "errors",
        "find_activities",
        "practice_portal",
        "read_activities",
        "read_calls",
        "read_users",
        "schema",
    ]
    assert dir(b24) == sorted([*b24.__all__, "__version__"])
    with pytest.raises(AttributeError, match="nothing"):
        _ = b24.nothing


@pytest.mark.parametrize("module", [b24.errors, b24.schema])
def test_dir__is_the_reference(module: ModuleType) -> None:
    """Completion offers what the module's page describes, and nothing else."""
    page = (REFERENCE / f"{module.__name__.partition('.')[2]}.rst").read_text(encoding="utf-8")
    described = re.findall(r"auto(?:class|data|exception|function):: (\w+)", page)
    assert dir(module) == sorted(described)


@pytest.mark.parametrize("name", b24.__all__)
def test_public__documented(name: str) -> None:
    """Each public object has a docstring."""
    assert len(inspect.getdoc(getattr(b24, name)) or "") > 40


def test_read_activities__signature() -> None:
    """The names, order and defaults of the arguments are a promise."""
    parameters = inspect.signature(b24.read_activities).parameters.values()
    assert [(p.name, p.default) for p in parameters][1:] == [
        ("portal", None),
        ("columns", None),
        ("index_col", "ID"),
        ("dtype_backend", "numpy_nullable"),
        ("tz", "UTC"),
        ("missing", "warn"),
        ("on_bad_value", "warn"),
        ("cache", True),
        ("max_age", "1h"),
        ("only_if_cached", False),
        ("stale_if_error", False),
        ("via", "get"),
        ("chunksize", None),
        ("progress", None),
    ]
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == ["ids", "portal"]


def test_accessor__registered() -> None:
    """`.b24` is there on DataFrame, Series and Index; reading again does not need an import."""
    assert {"report", "read_activities", "refresh"} <= set(dir(pd.DataFrame().b24))
    assert "read_activities" in dir(pd.Series(dtype="Int64").b24)
    assert "read_activities" in dir(pd.Index([], dtype="Int64").b24)


def test_version__in_one_place() -> None:
    """The version is the installed distribution's."""
    metadata = pytest.importorskip("importlib.metadata")
    assert metadata.version("b24frames") == b24.__version__
    assert importlib.import_module("b24frames._version").__version__ == b24.__version__

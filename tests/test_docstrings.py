"""Docstrings: every public object is described by numpydoc's rules, every parameter in it."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import b24frames
from b24frames import accessor
from b24frames.accessor import accessor as accessor_module

numpydoc = pytest.importorskip("numpydoc.validate", reason="numpydoc is part of the extra dev")

ROOT = Path(__file__).parents[1]
PAGES = "\n".join(
    page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.rst")
)
DESCRIBED = {
    name.rpartition(".")[2]
    for name in re.findall(r"auto(?:class|exception|function):: ([\w.]+)", PAGES)
}
RULES: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "tool"
]["numpydoc_validation"]
INTERNAL = re.compile("|".join(rule for rule in RULES["exclude"] if "FrameAccessor" not in rule))


def _public() -> Iterator[Any]:
    """Yield the classes and functions that users may name."""
    for value in (getattr(b24frames, name) for name in b24frames.__all__):
        if isinstance(value, ModuleType):
            yield from (member for name, member in vars(value).items() if name in DESCRIBED)
        else:
            yield value
    yield from (accessor.FrameAccessor, accessor.IdsAccessor, accessor_module.Report)


def _with_methods() -> Iterator[Any]:
    """Yield parameters of a test: a full name, and whether the constructor is a base's."""
    for value in _public():
        name = f"{value.__module__}.{value.__qualname__}"
        is_class = inspect.isclass(value)
        yield pytest.param(name, is_class and "__init__" not in vars(value), id=name)
        for member_name, member in vars(value).items() if is_class else ():
            member_full = f"{name}.{member_name}"
            if not INTERNAL.search(member_full) and (
                inspect.isroutine(member) or isinstance(member, property)
            ):
                yield pytest.param(member_full, False, id=member_full)


# numpydoc looks at all attributes of a widget, the deprecated ones too.
@pytest.mark.filterwarnings("ignore:Widget:DeprecationWarning")
@pytest.mark.parametrize(("name", "inherits"), list(_with_methods()))
def test_docstring__valid(name: str, inherits: bool) -> None:
    """Numpydoc finds nothing to say about a public object."""
    ignored = {*RULES["checks"], *({"PR01"} if inherits else ())}
    found = dict(numpydoc.validate(name)["errors"])
    assert {code: text for code, text in found.items() if code not in ignored} == {}


def test_numpydoc_lint__all_modules() -> None:
    """`numpydoc lint` leaves out none of the modules that have public objects."""
    left_out = re.compile("|".join(RULES["exclude_files"]))
    modules = {value.__module__ for value in _public()}
    assert len(modules) > 5
    assert [
        path
        for module in modules
        if left_out.match(
            path := Path(inspect.getfile(sys.modules[module])).relative_to(ROOT).as_posix()
        )
    ] == []


def test_reference__complete() -> None:
    """The reference describes every public name, every error and every warning."""
    errors = {
        name
        for name, value in vars(b24frames.errors).items()
        if inspect.isclass(value) and issubclass(value, b24frames.errors.B24Error | Warning)
    }
    public = {n for n in b24frames.__all__ if not isinstance(getattr(b24frames, n), ModuleType)}
    assert len(errors) > 10
    assert errors | public <= DESCRIBED

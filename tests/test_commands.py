"""PHP's ways of writing parameters and maps."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b24frames.portal.commands import encode_params, named_answers


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({}, ""),
        ({"id": 5}, "id=5"),
        ({"filter": {"@ID": [1, 2]}}, "filter%5B%40ID%5D%5B0%5D=1&filter%5B%40ID%5D%5B1%5D=2"),
        ({"a": None, "b": True, "c": False}, "a=&b=1&c=0"),
        ({"s": "ü & ="}, "s=%C3%BC+%26+%3D"),
    ],
)
def test_encode_params__php(params: dict[str, Any], query: str) -> None:
    """Parameters are written as PHP reads them."""
    assert encode_params(params) == query


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L", "Nd"]), min_size=1), st.text() | st.integers()
    )
)
def test_encode_params__any_text(params: dict[str, Any]) -> None:
    """Any text comes out of the query as it went in."""
    decoded = dict(parse_qsl(encode_params(params), keep_blank_values=True))
    assert decoded == {name: str(value) for name, value in params.items()}


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ([], {}),
        ({}, {}),
        (None, {}),
        ("x", {}),
        ({"a": 1, "z": 2}, {"a": 1}),
        ([5, 6, 7], {"0": 5, "1": 6}),
    ],
)
def test_named_answers__php(answers: Any, named: dict[str, Any]) -> None:
    """An empty map arrives as a list, and so does one whose names are 0, 1, 2 and so on."""
    assert named_answers(answers, ["a", "0", "1"]) == named


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda p: st.lists(p) | st.dictionaries(st.text(), p)
    )
)
def test_named_answers__any_json(answers: Any) -> None:
    """Any JSON gives a map whose names are among those asked for."""
    assert set(named_answers(answers, ["a", "0"])) <= {"a", "0"}

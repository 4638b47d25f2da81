"""How the portal, which is written in PHP, reads parameters and writes maps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

_KEY = re.compile(r"([^\[]+)((?:\[[^\]]*\])*)")
_BRACKETS = re.compile(r"\[([^\]]*)\]")


def parse_query(text: str) -> dict[str, Any]:
    """Read a query string with keys in brackets into nested dicts.

    Examples
    --------
    >>> parse_query("id=1&filter[%3EID]=5&select[]=ID&select[]=SUBJECT")
    {'id': '1', 'filter': {'>ID': '5'}, 'select': {'0': 'ID', '1': 'SUBJECT'}}
    """
    params: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        match = _KEY.match(key)
        if match is None:
            continue
        *path, last = [match[1], *_BRACKETS.findall(match[2])]
        target = params
        for name in path:
            inner = target.setdefault(name or str(len(target)), {})
            target = inner if isinstance(inner, dict) else {}
        target[last or str(len(target))] = value
    return params


def as_map(value: object) -> dict[str, Any]:
    """Return an array by its keys; a list has the keys 0, 1, …; anything else has none."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return {str(i): item for i, item in enumerate(value)} if isinstance(value, list) else {}


def as_list(value: object) -> list[Any]:
    """Return the values of an array; a scalar is an array of one."""
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def as_int(value: object) -> int:
    """Return the integer that a text begins with, or 0.

    Examples
    --------
    >>> as_int("12 Monkeys"), as_int(None), as_int(True)
    (12, 0, 1)
    """
    match = re.match(r"\s*[+-]?[0-9]+", str(int(value) if isinstance(value, bool) else value))
    return int(match[0]) if match else 0


def write_map(array: Mapping[str, Any]) -> dict[str, Any] | list[Any]:
    """Return an array as PHP writes it to JSON: a list where the keys are 0, 1, … or absent.

    Examples
    --------
    >>> write_map({}), write_map({"0": "a", "1": "b"}), write_map({"1": "b"})
    ([], ['a', 'b'], {'1': 'b'})
    """
    if list(array) == [str(i) for i in range(len(array))]:
        return list(array.values())
    return dict(array)

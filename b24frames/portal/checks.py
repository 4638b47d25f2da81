"""What a caller may give to a portal: every argument is checked before any request is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from b24frames.messages import short_repr

_METHOD = re.compile(r"[A-Za-z0-9_.]+")
_ACCEPTED = "accepted are str, int, finite float, bool, None, and lists and dicts of these"


def parse_command(command: object) -> tuple[str, dict[str, Any]]:
    """Return a method and its parameters as JSON values, or raise.

    Examples
    --------
    >>> parse_command(("crm.activity.list", {"filter": {"ID": (1, 2)}}))
    ('crm.activity.list', {'filter': {'ID': [1, 2]}})
    """
    if not isinstance(command, (tuple, list)) or len(command) != 2:
        raise TypeError(f"{short_repr(command)} is not a pair (method, parameters)")
    method, params = command
    if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
        raise ValueError(f"{short_repr(method)} is not a method, such as 'crm.activity.get'")
    if not isinstance(params, Mapping):
        raise TypeError(f"the parameters of {method} are a {type(params).__name__}, not a mapping")
    try:
        return method, _as_json(params)
    except TypeError as error:
        raise TypeError(f"the parameters of {method} have {error}; {_ACCEPTED}") from None


def _as_json(value: Any) -> Any:
    """Return a value as JSON has it; integers of numpy, which an index holds, as Python's."""
    if isinstance(value, Mapping):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(part) for part in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    raise TypeError(f"{short_repr(value)} (a {type(value).__name__})")


def check_positive(name: str, value: Any, *, whole: bool = False) -> Any:
    """Return a positive number, or raise."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        number = "whole number" if whole else "number"
        raise ValueError(f"{name}={short_repr(value)} is not a positive {number}")
    return value


def check_timeout(timeout: tuple[float, float]) -> tuple[float, float]:
    """Return (connect, read) seconds, or raise."""
    connect = read = 0.0
    if isinstance(timeout, (tuple, list)) and len(timeout) == 2:
        connect, read = (part if isinstance(part, (int, float)) else 0.0 for part in timeout)
    if not (0 < connect < math.inf and 0 < read < math.inf):
        given = short_repr(timeout)
        raise ValueError(f"timeout={given} is not a pair (connect, read) of positive seconds")
    return connect, read

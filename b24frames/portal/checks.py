"""What a caller may give to a portal: every argument is checked before any request is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from b24frames.errors import short_repr

_METHOD = re.compile(r"[A-Za-z0-9_.]+")


def check_command(command: object) -> None:
    """Refuse what is no method and parameters."""
    if not isinstance(command, (tuple, list)) or len(command) != 2:
        raise TypeError(f"{short_repr(command)} is not a pair (method, parameters)")
    method, params = command
    if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
        raise ValueError(f"{short_repr(method)} is no method, such as 'crm.activity.get'")
    if not isinstance(params, Mapping):
        raise TypeError(f"the parameters of {method} are a {type(params).__name__}, no mapping")


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

"""Validation of arguments of public functions, before any request is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import tzinfo
from difflib import get_close_matches
from importlib.util import find_spec
from numbers import Number
from typing import Any, Protocol, get_args

import numpy as np
import pandas as pd

from b24frames.messages import short_repr
from b24frames.schema import ACTIVITY, CUSTOM_FIELD_PREFIX, Backend, is_column


class ProgressBar(Protocol):
    """A progress bar, such as those of tqdm; an exception that it raises ends the read."""

    def update(self, n: int, /) -> object:
        """Record n more settled ids; called with 0 now and then during waits."""

    def set_postfix_str(self, text: str, /) -> object:
        """Show a note, such as the reason for a wait."""


def check_choice(name: str, value: Any, choices: Any) -> Any:
    """Return a value that is a member of a `Literal`, or raise."""
    accepted = get_args(choices)
    # By identity, since 1 == True.
    is_text = isinstance(value, str) and value in accepted
    if not is_text and not any(value is choice for choice in accepted):
        listed = ", ".join(map(repr, accepted))
        raise ValueError(f"{name}={short_repr(value)} is not accepted; accepted are {listed}")
    return value


def fixed(argument: Any) -> Any:
    """Return an argument whose lists of values neither change from now on nor end.

    Examples
    --------
    >>> fixed([("ID", "in", iter([5, 6]))])
    [('ID', 'in', [5, 6])]
    """
    if isinstance(argument, Iterator):
        return list(argument)
    if isinstance(argument, (list, tuple)):
        return (list if isinstance(argument, list) else tuple)(map(fixed, argument))
    return deepcopy(argument)


def check_columns(columns: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the names of columns, all different and all known, or raise."""
    if columns is None:
        return None
    # A str is iterable, too: as single letters.
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        given = short_repr(columns)
        raise TypeError(f"columns={given} is not a list of field names, such as ['SUBJECT']")
    names = tuple(columns)
    for name in names:
        if not is_column(name):
            raise ValueError(f"columns: {unknown_field(name)}")
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise ValueError(f"columns names {', '.join(repeated)} more than once")
    return names


def check_index_col(index_col: str | None) -> str | None:
    """Return the name of the index, a known field or None, or raise."""
    if index_col is not None and not is_column(index_col):
        raise ValueError(f"index_col: {unknown_field(index_col)}")
    return index_col


def check_backend(dtype_backend: Backend) -> Backend:
    """Return a family of dtypes whose package is installed, or raise."""
    check_choice("dtype_backend", dtype_backend, Backend)
    if dtype_backend == "pyarrow" and find_spec("pyarrow") is None:
        raise ImportError(
            "dtype_backend='pyarrow' needs pyarrow: python -m pip install 'b24frames[arrow]'"
        )
    return dtype_backend


def check_tz(tz: str | tzinfo) -> tzinfo:
    """Return the time zone of a name, or raise."""
    # By pandas, which accepts more than zoneinfo, and raises errors of many types.
    if isinstance(tz, str):
        tz = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", tz)  # pandas drops minutes without a colon
    if isinstance(tz, (str, tzinfo)):
        with suppress(TypeError, ValueError, KeyError, OSError, AttributeError):
            zone = pd.DatetimeTZDtype("us", tz).tz
            offset = zone.utcoffset(None)  # None where it depends on the time
            if offset is None or offset.total_seconds() % 60 == 0:  # Arrow takes whole minutes
                return zone
    accepted = "accepted are IANA names, such as 'Europe/Berlin', and tzinfo of whole minutes"
    raise ValueError(f"tz={short_repr(tz)} is not a time zone; {accepted}")


def check_progress(progress: bool | ProgressBar | None) -> bool | ProgressBar | None:
    """Return a valid `progress` argument, or raise."""
    if progress is None or isinstance(progress, bool):
        return progress
    if not all(callable(getattr(progress, name, None)) for name in ("update", "set_postfix_str")):
        raise ValueError(
            f"progress={short_repr(progress)} is not accepted; accepted are True, False, None and "
            "bars with the methods update and set_postfix_str, such as those of tqdm"
        )
    return progress


def check_rows(name: str, rows: int | None) -> int | None:
    """Return a positive number of rows or None, or raise."""
    if rows is None:
        return None
    if isinstance(rows, bool) or not hasattr(rows, "__index__") or rows < 1:
        raise ValueError(f"{name}={short_repr(rows)} is not a number of rows of at least 1")
    return int(rows)


def unknown_field(name: object) -> str:
    """Return a message about an unknown field, with the closest known one."""
    close = get_close_matches(str(name).upper(), list(ACTIVITY), n=1)
    accepted = f"did you mean {close[0]!r}? Accepted" if close else "accepted"
    names = f"the names in b24frames.schema.ACTIVITY and {CUSTOM_FIELD_PREFIX}…"
    return f"{short_repr(name)} is not a field of an activity; {accepted} are {names}"


def parse_age(age: Any, name: str) -> float | None:
    """Return a time span [s], or None for any age.

    Parameters
    ----------
    age : object
        Anything `pandas.Timedelta` takes, or 0, or None. Other bare numbers are refused, since
        pandas reads them as nanoseconds.
    name : str
        The argument's name, for the message.

    Examples
    --------
    >>> parse_age("1h", "max_age"), parse_age(0, "max_age"), parse_age(None, "max_age")
    (3600.0, 0.0, None)
    """
    if age is None:
        return None
    seconds = -1.0
    # NumPy registers timedelta64 as a number.
    is_number = isinstance(age, Number) and not isinstance(age, np.timedelta64)
    if is_number or (isinstance(age, str) and age.strip().isdigit()):
        seconds = 0.0 if not isinstance(age, bool) and age in (0, "0") else -1.0
    else:
        with suppress(ValueError, TypeError):
            span = age
            if isinstance(age, str):  # pandas 3 expects days and weeks as capitals
                span = re.sub(r"(?<=[0-9 ])[dw](?![A-Za-z])", lambda unit: unit[0].upper(), age)
            seconds = pd.Timedelta(span).total_seconds()
    if not seconds >= 0:
        raise ValueError(
            f"{name}={short_repr(age)} is not a time span; accepted are '1h', '30d', "
            "a timedelta, 0 or None (bare numbers have no unit)"
        )
    return seconds

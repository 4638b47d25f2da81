"""How old a cache entry may be: time spans as pandas writes them."""

from __future__ import annotations

import re
from contextlib import suppress
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from b24frames.errors import short_repr


def parse_age(age: Any, name: str) -> float | None:
    """Return a time span in seconds, or None for any age.

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
    # NumPy registers its time spans as numbers.
    is_number = isinstance(age, Number) and not isinstance(age, np.timedelta64)
    if is_number or (isinstance(age, str) and age.strip().isdigit()):
        seconds = 0.0 if not isinstance(age, bool) and age in (0, "0") else -1.0
    else:
        with suppress(ValueError, TypeError):
            # pandas 3 wants days written with a capital.
            span = re.sub(r"(?<=[0-9 ])d(?![A-Za-z])", "D", age) if isinstance(age, str) else age
            seconds = pd.Timedelta(span).total_seconds()
    if not seconds >= 0:
        raise ValueError(
            f"{name}={short_repr(age)} is not a time span; accepted are '1h', '30d', "
            "a timedelta, 0 or None (bare numbers have no unit)"
        )
    return seconds

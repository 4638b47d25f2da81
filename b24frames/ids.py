"""Parsing of activity ids, and cutting them into chunks."""

from __future__ import annotations

import re
from collections import UserString
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from itertools import islice
from math import floor
from numbers import Integral, Real
from operator import index
from typing import Any, TypeVar

from b24frames.messages import short_repr

T = TypeVar("T")

GREATEST_ID = 2**63 - 1
"""The greatest value of the dtype Int64, in which frames have ids."""

# int() takes time quadratic in the length of a text; no id is that long.
_MOST_DIGITS = 30
_ACCEPTED = "accepted are positive whole numbers, as int, str of digits or whole float"
_GAPS = ("None", "nan", "NaN", "<NA>", "NaT", "--")
_NO_ID = "; where it stands for no id, put NA in its place"
_KEEP = "; leave gaps out by dropna(), or keep them by the Series' .b24.read_activities()"
_NUMBERS: Any = (Real, Decimal)
_TEXTS = (bytes, bytearray, memoryview, UserString)  # and arrays of letters: not one id a letter
_RANGE = re.compile(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?", re.ASCII)
# A mistyped range such as 1-99999999999 must not fill the memory.
_MOST_IN_TEXT = 10_000_000


def parse_ids(ids: object) -> list[int]:
    """Return the distinct ids, in the order of first appearance.

    Parameters
    ----------
    ids : int, str of digits, or iterable of them
        A single id, or any iterable of ids: list, range, generator, ndarray, Series, Index.

    Returns
    -------
    list of int

    Raises
    ------
    TypeError, ValueError
        An invalid id; the message names it and its position.

    Examples
    --------
    >>> parse_ids(["12", 7, 7.0, "12"])
    [12, 7]
    >>> parse_ids([1, "abc"])
    Traceback (most recent call last):
        ...
    ValueError: ids: 'abc' at position 1 is not an id; accepted are positive ...
    """
    if isinstance(ids, (str, *_NUMBERS)):
        return [_parse_id(ids, "")]
    is_text = isinstance(ids, _TEXTS) or getattr(ids, "typecode", "") in ("u", "w")
    if is_text or isinstance(ids, Mapping) or not isinstance(ids, Iterable):
        kind = type(ids).__name__
        raise TypeError(f"ids: a {kind} was given; {_ACCEPTED}, or an iterable of them")
    dimensions = getattr(ids, "ndim", 1)
    if dimensions != 1:
        raise TypeError(
            f"ids: a {type(ids).__name__} of {dimensions} dimensions was given; "
            "pass one column or row of ids"
        )
    parsed = (
        value
        if type(value) is int and 0 < value <= GREATEST_ID
        else _parse_id(value, f" at position {i}")
        for i, value in enumerate(ids)
    )
    return list(dict.fromkeys(parsed))


def parse_id_text(text: str) -> list[int]:
    """Return the distinct ids that a text such as ``1-200, 999`` names.

    Raises
    ------
    ValueError
        A part is neither an id nor a range of ids, or there are more than ten million.

    Examples
    --------
    >>> parse_id_text("7, 1-3")
    [7, 1, 2, 3]
    """
    ranges = [_parse_range(part) for part in re.split(r"[,;]", text)]
    if sum(len(part) for part in ranges) > _MOST_IN_TEXT:
        raise ValueError(f"ids: {text!r} names more than {_MOST_IN_TEXT:,} ids")
    return list(dict.fromkeys(i for part in ranges for i in part))


def _parse_range(part: str) -> range:
    match = _RANGE.fullmatch(part)
    if match is None:
        given = short_repr(part.strip())
        raise ValueError(f"ids: {given} is neither an id (999) nor a range (1-200)")
    first = _parse_id(match[1], "")
    last = _parse_id(match[2], "") if match[2] else first
    if last < first:
        raise ValueError(f"ids: the range {part.strip()!r} ends before it begins")
    return range(first, last + 1)


def _parse_id(value: Any, where: str) -> int:
    """Read one id, or raise with its value and position."""
    if hasattr(value, "as_py"):  # of Arrow, whose null is no None
        value = value.as_py()
    number: Any = None
    if isinstance(value, (bool, Enum)) or str(getattr(value, "dtype", "")) == "bool":
        pass  # no id is meant, though all may be integers: np.bool_ has been one before NumPy 2
    elif isinstance(value, str):
        digits = value.strip() if value.isascii() else ""
        number = int(digits) if digits.isdigit() and len(digits) < _MOST_DIGITS else 0
    elif hasattr(value, "__index__"):
        # NumPy's arrays have it too, a masked one gives what is masked; its time spans have not.
        with suppress(TypeError):
            number = None if getattr(value, "mask", False) else index(value)
    elif isinstance(value, _NUMBERS) and not isinstance(value, Integral):
        number = 0
        with suppress(ValueError, ArithmeticError, TypeError):  # NaN, infinity
            exact: Any = value
            # A float32 beyond 2**24, or a float64 beyond 2**53, has lost digits: it is another id.
            # NumPy 1 adds an int to it as a float64.
            more = floor(exact + type(exact)(1))
            if 0 < float(exact) < 1e19 and exact == floor(exact) == more - 1:
                number = floor(exact)
    if number is not None and 0 < number <= GREATEST_ID:
        return int(number)
    kind = f" (a {type(value).__name__})" if number is None else ""
    hint = _KEEP if not isinstance(value, str) and str(value) in _GAPS else ""
    hint = _NO_ID if number == 0 and str(value) in ("0", "0.0") else hint
    error = TypeError if number is None else ValueError
    raise error(f"ids: {short_repr(value)}{where}{kind} is not an id; {_ACCEPTED}{hint}")


def parse_column(values: Iterable[object]) -> list[int | None]:
    """Return the id at each position, duplicates kept; None stays None.

    Examples
    --------
    >>> parse_column(["12", None, 12])
    [12, None, 12]
    """
    return [
        None if value is None else _parse_id(value, f" at position {i}")
        for i, value in enumerate(values)
    ]


class IdList(list[int]):
    """A list of ids in `df.attrs` that is cheap to copy.

    Examples
    --------
    >>> from copy import deepcopy
    >>> deepcopy(IdList([1, 2]))
    [1, 2]
    """

    # pandas copies attrs deeply at each step; ints need no copy each.
    def __deepcopy__(self, memo: dict[int, object]) -> IdList:
        return IdList(self)

    # Pickled as a plain list, which can be loaded without b24frames.
    def __reduce__(self) -> tuple[type[list[int]], tuple[list[int]]]:
        return list, (list(self),)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` consecutive items.

    Examples
    --------
    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk

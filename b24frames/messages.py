"""Formatting of values for messages, and warnings at the caller's line."""

from __future__ import annotations

import html
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from b24frames.credentials import looks_like_address
from b24frames.errors import B24Warning

_LONGEST_SHOWN = 42
_PACKAGE_DIR = f"{Path(__file__).parent}{os.sep}"


def count(number: int, noun: str) -> str:
    """Return a number and its noun.

    Examples
    --------
    >>> count(1, "activity"), count(1200, "activity"), count(2, "row")
    ('1 activity', '1,200 activities', '2 rows')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun != "day" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def name_some(items: Sequence[object], most: int = 5) -> str:
    """Return the first items as text, and how many more there are.

    Examples
    --------
    >>> name_some([3, 1, 4, 1, 5, 9, 2])
    '3, 1, 4, 1, 5 and 2 more'
    """
    text = ", ".join(str(item) for item in items[:most])
    return f"{text} and {len(items) - most} more" if len(items) > most else text


def short_repr(value: object) -> str:
    """Return the repr of a value, cut if it is long.

    Examples
    --------
    >>> short_repr("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    text = repr(value).replace("\n", " ")
    # A webhook given as another argument must not appear in the message.
    if looks_like_address(text):
        return "an address"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def name_in(record: Mapping[str, Any]) -> str:
    """Return the name in a record of a user or of a CRM object; none: ``""``.

    Characters that UTF-8 cannot write become visible.

    Examples
    --------
    >>> name_in({"title": "", "name": "Ada", "lastName": "King"})
    'Ada King'
    """
    texts = {
        key.replace("_", "").lower(): str(value)
        for key, value in record.items()
        if type(value) in (str, int) and str(value).strip()
    }
    person = [texts[part] for part in ("name", "secondname", "lastname") if part in texts]
    others = (texts[part] for part in ("companytitle", "accountnumber") if part in texts)
    name = texts.get("title") or " ".join(person) or next(others, "")
    return name.encode("utf-8", "backslashreplace").decode()


def facts_text(facts: Sequence[tuple[str, str]]) -> str:
    """Return captions and texts as lines of two columns.

    Examples
    --------
    >>> print(facts_text([("portal", "acme.bitrix24.com"), ("user", "1")]))
    portal  acme.bitrix24.com
    user    1
    """
    width = max((len(caption) for caption, _ in facts), default=0)
    return "\n".join(f"{caption:<{width}}  {text}" for caption, text in facts)


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """Return captions and texts as an HTML table of two columns, all of it escaped.

    Examples
    --------
    >>> facts_html([("user", "1")])
    '<table><tr><th style="text-align: left">user</th>...</table>'
    """
    rows = (
        f'<tr><th style="text-align: left">{html.escape(caption)}</th>'
        f'<td style="text-align: left">{html.escape(text)}</td></tr>'
        for caption, text in facts
    )
    return f"<table>{''.join(rows)}</table>"


def visible(text: str) -> str:
    r"""Return text with what UTF-8 cannot encode, such as lone surrogates, as escapes.

    Examples
    --------
    >>> visible("half: \ud83d")
    'half: \\ud83d'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(text: object) -> str:
    """Return text on one line, with control characters as escapes."""
    # Otherwise text of the portal could move the cursor of a terminal, or forge a line of a log.
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


# A context variable, since `warnings.catch_warnings` would affect all threads.
_listener: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)


@contextmanager
def redirect_warnings(listener: Callable[[str], object]) -> Iterator[None]:
    """Pass the warnings of this thread to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def warn_at_caller(message: str, category: type[B24Warning]) -> None:
    """Warn at the line that called into b24frames, however deep the stack is."""
    if listener := _listener.get():
        listener(message)
        return
    # Python 3.12 has skip_file_prefixes for this; 3.11 has not.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE_DIR):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)

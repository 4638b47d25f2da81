"""Texts for people: what the CRM holds as plain text, and numbers, ages and ids in words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from b24frames.messages import count

_HTML, _BB_CODE = 3, 2  # of DESCRIPTION_TYPE
_LONGEST = 10_000
_LONGEST_IDS = 60

_LINE_TAGS = set(
    "address blockquote div dl dt dd h1 h2 h3 h4 h5 h6 hr ol p pre table tr ul".split()
)

# Strangers send e-mails, and no text may take longer than it is long: what looks like a tag ends
# where another begins, and white space is looked at from its beginning alone.
_HTML_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<unseen>script|style|template|title)\b.*?(?:</(?P=unseen)\b[^<>]*>|\Z)"
    r"|<(?P<name>/?[a-z][a-z0-9]*)\b(?P<attributes>(?:\"[^\"<]*\"|'[^'<]*'|[^<>])*+)>"
    r"|<[!?][^<>]*>",
    re.I | re.S,
)
_ADDRESS = re.compile(r"\bhref ?= ?[\"']?(https?://[^\"' ]+)", re.I)
_LONG_REFERENCE = re.compile("&(?=#[0-9]{8})")  # no character, but perhaps too long a number

_BB_BREAK = re.compile(r"\[(?:br|/?p|/?quote|/?list(?:=\w+)?|/?table|/?tr|/?code)\]", re.I)
_BB_ITEM = re.compile(r"(?<!\s)\s*\[\*\]", re.I)
_BB_LINK = re.compile(r"\[url=([^][]*)\]((?:(?!\[url=).)*?)\[/url\]", re.I | re.S)
_BB_TAG = re.compile(
    r"\[/?(?:b|i|u|s|del|url|img|user|size|color|font|left|center|right|justify|td|th|disk|video"
    r"|spoiler)(?:[= ][^][]*)?\]",
    re.I,
)
_BB_SPACE = re.compile(r"(?<!\s)\s*\n\s*\n\s*")
_UNITS = (("year", 31_556_952), ("month", 2_629_746), ("day", 86_400), ("hour", 3_600))


def visible(text: str) -> str:
    r"""Return a text with halves of characters made visible: no message takes them.

    Examples
    --------
    >>> visible("half: \ud83d")
    'half: \\ud83d'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def escape(text: str) -> str:
    """Return a text as HTML that shows it.

    Examples
    --------
    >>> escape("<b>")
    '&lt;b&gt;'
    """
    return html.escape(visible(text))


def description_text(text: str, kind: int | None) -> str:
    r"""Return a description as plain text; its markup is of the kind that DESCRIPTION_TYPE names.

    Examples
    --------
    >>> description_text("<p>Dear <b>Anna</b>,</p><script>alert(1)</script>", 3)
    'Dear Anna,'
    >>> description_text("[b]Agenda[/b][list][*]prices[*]delivery[/list]", 2)
    'Agenda\n• prices\n• delivery'
    """
    if kind == _HTML:
        text = _html_text(text)
    elif kind == _BB_CODE:
        text = _bb_text(text)
    text = text.strip()
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… ({len(text) - _LONGEST:,} more characters in the frame)"


def _html_text(text: str) -> str:
    """Return HTML as text: what a reader of a page sees; links keep their address."""
    addresses: list[str] = []

    def written(tag: re.Match[str]) -> str:
        name = (tag["name"] or "").lower()
        if name == "br" or name.removeprefix("/") in _LINE_TAGS:
            return "\n"
        if name == "a":
            address = _ADDRESS.search(tag["attributes"])
            addresses.append(f" ({address[1]})" if address else "")
        if name == "/a" and addresses:
            return addresses.pop()
        return {"li": "\n• ", "/td": "  ", "/th": "  "}.get(name, "")

    text = _HTML_TAG.sub(written, re.sub(r"\s+", " ", text))
    text = html.unescape(_LONG_REFERENCE.sub("&amp;", text))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(map(str.strip, text.split("\n"))))


def _bb_text(text: str) -> str:
    """Return BB-code as text; brackets that are none of its tags stay."""
    text = _BB_LINK.sub(lambda m: f"{m[2]} ({m[1]})", text)
    text = _BB_BREAK.sub("\n", _BB_ITEM.sub("\n• ", text))
    return _BB_SPACE.sub("\n\n", _BB_TAG.sub("", text)).replace("\n\n•", "\n•")


def relative_age(seconds: float) -> str:
    """Return how long ago something was, or how far ahead it is.

    Examples
    --------
    >>> relative_age(7300), relative_age(-90_000), relative_age(59)
    ('2 hours ago', 'in 1 day', 'just now')
    """
    size = abs(seconds)
    if size < 60:
        return "just now"
    unit, length = next(((u, n) for u, n in _UNITS if size >= n), ("minute", 60))
    amount = count(int(size // length), unit)
    return f"{amount} ago" if seconds > 0 else f"in {amount}"


def _runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of the runs of consecutive ids."""
    for _, run in groupby(enumerate(ids), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        yield numbers[0], numbers[-1]


def ids_text(ids: Sequence[int]) -> str:
    """Return ids as they may be typed into the field.

    Examples
    --------
    >>> ids_text([1, 2, 3, 9])
    '1-3, 9'
    """
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in _runs(ids))


def short_ids_text(ids: Sequence[int]) -> str:
    """Return the same for a line in a list."""
    text = ids_text(ids)
    return text if len(text) <= _LONGEST_IDS else f"{text[:_LONGEST_IDS]}… ({len(ids):,} ids)"


def ids_code(ids: Sequence[int]) -> str:
    """Return ids as a Python expression.

    Examples
    --------
    >>> ids_code(range(1, 21)), ids_code([5, 1, 2, 3])
    ('range(1, 21)', '[5, *range(1, 4)]')
    """
    runs = list(_runs(ids))
    if len(runs) == 1 and runs[0][0] < runs[0][1]:
        return f"range({runs[0][0]}, {runs[0][1] + 1})"
    return f"[{', '.join(str(a) if a == b else f'*range({a}, {b + 1})' for a, b in runs)}]"

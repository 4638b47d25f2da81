"""Texts for people: descriptions as plain text, ages, ids, sources, and code to copy."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from markupsafe import Markup

from b24frames.credentials import redact_addresses
from b24frames.messages import count, name_some, visible

_LONGEST = 10_000
_LONGEST_IDS = 60

_LINE_TAGS = "address blockquote div dl dt dd h1 h2 h3 h4 h5 h6 hr ol p pre table tr ul".split()

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
# No character has so long a number, and `html.unescape` fails on the longest.
_LONG_REFERENCE = re.compile("&(?=#[0-9]{8})")

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


class Html(Markup):
    r"""HTML: values put into it by `format` and `join` are escaped and made `visible`.

    Examples
    --------
    >>> Html("<p>{}</p>").format("<b> \ud83d")
    Html('<p>&lt;b&gt; \\ud83d</p>')
    """

    @classmethod
    def escape(cls, value: Any, /) -> Html:
        """Return a value as HTML that shows it."""
        return cls(visible(super().escape(value)))


def description_text(text: str, kind: int | None) -> str:
    r"""Return a description as plain text; its markup is of the kind that DESCRIPTION_TYPE names.

    Examples
    --------
    >>> description_text("<p>Dear <b>Anna</b>,</p><script>alert(1)</script>", 3)
    'Dear Anna,'
    >>> description_text("[b]Agenda[/b][list][*]prices[*]delivery[/list]", 2)
    'Agenda\n• prices\n• delivery'
    """
    # DESCRIPTION_TYPE 2 is BB code and 3 is HTML; any other is plain text.
    text = {2: _bb_text, 3: _html_text}.get(kind or 1, str)(text).strip()
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
    parts = [str(a) if a == b else f"*range({a}, {b + 1})" for a, b in _runs(ids)]
    one_range = len(parts) == 1 and len(ids) > 1
    return parts[0].removeprefix("*") if one_range else f"[{', '.join(parts)}]"


def filters_code(filters: Any) -> str:
    """Return filters as a Python expression; dates become ISO text.

    Examples
    --------
    >>> from datetime import date
    >>> filters_code([("CREATED", ">=", date(2026, 10, 1)), ("ID", "in", [5, 6])])
    "[('CREATED', '>=', '2026-10-01'), ('ID', 'in', [5, 6])]"
    """

    def plain(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(plain, value))
        return value.isoformat() if isinstance(value, date) else value

    return redact_addresses(repr(plain(filters)))


def code_text(function: str, arguments: str, facts: Mapping[str, Any], tz: str) -> str:
    """Return the code that reads the same activities; the secret stays out of it."""
    zone = "" if tz == "UTC" else f", tz={tz!r}"
    return (
        "import b24frames as b24\n\n"
        f"# {facts['portal']}, user {facts['user_id']}: its webhook is in B24_WEBHOOK_URL\n"
        f"df = b24.{function}({arguments}{zone})"
    )


def source_text(facts: Mapping[str, Any]) -> str:
    """Return where the data came from, and how old they are."""
    parts = []
    if facts["from_cache"]:
        age = relative_age(facts["cache_age"])
        parts.append(f"{facts['from_cache']:,} from the cache (the oldest read {age})")
    if facts["fetched"]:
        parts.append(f"{facts['fetched']:,} from the portal")
    if facts["stale"]:
        parts.append(f"{count(len(facts['stale']), 'activity')} out of date")
    return f"{facts['portal']}, user {facts['user_id']} · {'; '.join(parts) or 'nothing read'}"


def summary_lines(facts: Mapping[str, Any], rows: int) -> list[str]:
    """Return how many activities there are and which are missing, then why."""
    missing = f" No record: {name_some(facts['missing'])}." if facts["missing"] else ""
    reasons = [f"{why}: {name_some(ids, 20)}" for why, ids in facts["missing_reasons"].items()]
    return [f"{count(rows, 'activity')}.{missing}", *reasons]

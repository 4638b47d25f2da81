"""Texts for people, in their language: counts, ages, errors, descriptions, ids, code to copy."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib.resources import files
from itertools import groupby
from typing import Any, get_args

from markupsafe import Markup

from b24frames.credentials import redact_addresses
from b24frames.errors import PortalError
from b24frames.messages import visible
from b24frames.schema import Language, label

_TABLE: Mapping[str, Sequence[str]] = json.loads(
    files("b24frames.panel").joinpath("texts.json").read_text("utf-8")
)

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


class Texts:
    r"""What the panel says, in one language.

    Call it with the key of a text in ``texts.json``, and with what the text has places for.

    Parameters
    ----------
    language : {"en", "ru"}
        The language.

    Examples
    --------
    >>> Texts("ru")("found", activities=Texts("ru").count(21, "activity"))
    'Найдено 21\xa0дело.'
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self._column = get_args(Language).index(language)

    def __call__(self, key: str, /, **values: object) -> str:
        """Return a text."""
        return _TABLE[key][self._column].format(**values)

    def number(self, number: int) -> str:
        """Return a number with its thousands apart."""
        return f"{number:,}" if self.language == "en" else f"{number:,}".replace(",", "\xa0")

    def count(self, number: int, noun: str) -> str:
        """Return a number and its noun.

        Examples
        --------
        >>> Texts("en").count(1200, "activity"), Texts("en").count(1, "row")
        ('1,200 activities', '1 row')
        """
        form = int(number != 1)
        if self.language == "ru":
            few = 2 if 10 < number % 100 < 20 or not 0 < number % 10 < 5 else 1
            form = 0 if few == 1 and number % 10 == 1 else few
        gap = " " if self.language == "en" else "\xa0"
        return f"{self.number(number)}{gap}{self(noun).split('|')[form]}"

    def some(self, items: Sequence[object], most: int = 5) -> str:
        """Return the first items, and how many more there are."""
        text, more = ", ".join(map(str, items[:most])), len(items) - most
        return self("some", items=text, more=self.number(more)) if more > 0 else text

    def translate(self, text: str) -> str:
        """Return a reason or a message of the library, with the phrases in it that are known.

        Examples
        --------
        >>> Texts("ru").translate("no connection to acme.bitrix24.com")
        'нет соединения с acme.bitrix24.com'
        """
        for phrase in (_TABLE[key] for key in _TABLE if key.startswith("phrase.")):
            text = text.replace(phrase[0], phrase[self._column])
        return text

    def label(self, field: str, code: int | str) -> str:
        """Return the label of a code."""
        return label(field, code, self.language)

    def age(self, seconds: float) -> str:
        """Return how long ago something was, or how far ahead it is.

        Examples
        --------
        >>> Texts("en").age(7300), Texts("en").age(-90_000), Texts("en").age(59)
        ('2 hours ago', 'in 1 day', 'just now')
        """
        size = abs(seconds)
        if size < 60:
            return self("now")
        unit, length = next(((u, n) for u, n in _UNITS if size >= n), ("minute", 60))
        return self("ago" if seconds > 0 else "ahead", amount=self.count(int(size // length), unit))

    def explain(self, error: Exception) -> str:
        """Return what happened and what to do next.

        Examples
        --------
        >>> Texts("en").explain(PortalError("no access", method="batch"))
        'No access.'
        """
        text = self.translate(str(error) or type(error).__name__).rstrip(". ")
        text = text.removeprefix("ids: ").removeprefix("filters: ")
        if isinstance(error, PortalError):
            text = text.removeprefix(f"{error.method}: ")
        kinds = (f"error.{kind.__name__}" for kind in type(error).__mro__)
        explained = self(next(kind for kind in kinds if kind in _TABLE), text=text)
        return f"{explained[:1].upper()}{explained[1:]}"


def description_text(text: str, kind: int | None, texts: Texts) -> str:
    r"""Return a description as plain text; its markup is of the kind that DESCRIPTION_TYPE names.

    Examples
    --------
    >>> description_text("<p>Dear <b>Anna</b>,</p><script>alert(1)</script>", 3, Texts("en"))
    'Dear Anna,'
    >>> description_text("[b]Agenda[/b][list][*]prices[*]delivery[/list]", 2, Texts("en"))
    'Agenda\n• prices\n• delivery'
    """
    # DESCRIPTION_TYPE 2 is BB code and 3 is HTML; any other is plain text.
    text = {2: _bb_text, 3: _html_text}.get(kind or 1, str)(text).strip()
    if len(text) <= _LONGEST:
        return text
    more = texts.count(len(text) - _LONGEST, "character")
    return text[:_LONGEST] + texts("cut", more=more)


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


def short_ids_text(ids: Sequence[int], texts: Texts) -> str:
    """Return the same for a line in a list."""
    text, size = ids_text(ids), texts.count(len(ids), "id")
    return text if len(text) <= _LONGEST_IDS else f"{text[:_LONGEST_IDS]}… ({size})"


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
        if hasattr(value, "tolist"):  # of NumPy and pandas
            value = value.tolist()
        if isinstance(value, (set, frozenset)):
            value = list(value)
        if isinstance(value, (list, tuple)):
            return type(value)(map(plain, value))
        return value.isoformat() if isinstance(value, date) else value

    return redact_addresses(repr(plain(filters)))


def source_text(facts: Mapping[str, Any], texts: Texts) -> str:
    """Return where the data came from, and how old they are."""
    parts = []
    if facts["from_cache"]:
        number, age = texts.number(facts["from_cache"]), texts.age(facts["cache_age"])
        parts.append(texts("from_cache", number=number, age=age))
    if facts["fetched"]:
        parts.append(texts("from_portal", number=texts.number(facts["fetched"])))
    if facts["stale"]:
        parts.append(texts("stale", activities=texts.count(len(facts["stale"]), "activity")))
    text = "; ".join(parts) or texts("nothing_read")
    return texts("source", portal=facts["portal"], user=facts["user_id"], parts=text)


def summary_lines(facts: Mapping[str, Any], rows: int, texts: Texts) -> list[str]:
    """Return how many activities there are and which are missing, then why."""
    key, ids = "summary_missing" if facts["missing"] else "summary", texts.some(facts["missing"])
    reasons = facts["missing_reasons"].items()
    lines = [f"{texts.translate(why)}: {texts.some(missing, 20)}" for why, missing in reasons]
    return [texts(key, activities=texts.count(rows, "activity"), ids=ids), *lines]

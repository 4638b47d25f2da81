"""Activities as HTML, a table and the card of one; all texts are escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from pandas.api.types import is_scalar

from b24frames.accessor.analysis import is_missed_call, is_overdue, talk_time
from b24frames.messages import count
from b24frames.panel.texts import Html, description_text, relative_age
from b24frames.schema import PROVIDERS, is_smart_process, label

_STATIC_ROWS = 50
# Objects with pages of their own; those of quotes, invoices and smart processes are of one kind.
_OWNER_PAGES = {1: "lead", 2: "deal", 3: "contact", 4: "company"}
_FOLDED = ("SETTINGS", "PROVIDER_PARAMS", "PROVIDER_DATA")
_LINK = Html(
    '<a href="{}" target="_blank" rel="noopener noreferrer" '
    'title="Open in the portal, in a new tab">{} ↗</a>'
)
# In elements of these classes MathJax leaves dollar signs alone.
_NO_MATHS = "tex2jax_ignore mathjax_ignore"

_SORT_KEYS: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = {
    "as asked for": lambda frame: pd.Series(range(len(frame))),
    "ID": lambda frame: frame.index.to_series(),
    "Subject": lambda frame: frame["SUBJECT"].str.casefold(),
    "Type": lambda frame: pd.Series(
        map(_type_name, frame["TYPE_ID"], frame["PROVIDER_ID"]), dtype="string"
    ),
    "Start": lambda frame: frame["START_TIME"],
    "Deadline": lambda frame: frame["DEADLINE"],
    "Last updated": lambda frame: frame["LAST_UPDATED"],
    "Responsible": lambda frame: frame["RESPONSIBLE_ID"],
}
SORTS = tuple(_SORT_KEYS)
"""What rows may be sorted by."""


def sort_rows(frame: pd.DataFrame, by: str, *, descending: bool) -> list[int]:
    """Return the positions of the rows in their order; NA comes last."""
    key = _SORT_KEYS[by](frame).reset_index(drop=True)
    return key.sort_values(ascending=not descending, kind="stable").index.tolist()


def table_rows(frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return the texts of the table's cells by the name of their column, a dict for each row."""
    return [
        {
            "ID": str(row["ID"]),
            "Subject": " ".join((row["SUBJECT"] or "").split()),
            "Type": _type_name(row["TYPE_ID"], row["PROVIDER_ID"]),
            "Direction": _label("DIRECTION", row),
            "Start": f"{row['START_TIME']:%Y-%m-%d %H:%M}" if row["START_TIME"] else "",
            "Status": _status(row),
            "Responsible": "" if row["RESPONSIBLE_ID"] is None else f"user {row['RESPONSIBLE_ID']}",
        }
        for row in _records(frame)
    ]


def table_html(rows: Sequence[Mapping[str, str]], chosen: int | None = None) -> Html:
    """Return rows as a table; that of the chosen activity is marked."""
    head = (Html('<th scope="col" class="b24-{0}">{0}</th>').format(name) for name in rows[0])
    body = (_row_html(row, marked=row["ID"] == str(chosen)) for row in rows)
    return Html(
        '<table class="b24-table {}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(_NO_MATHS, Html().join(head), Html().join(body))


def static_html(frame: pd.DataFrame | None, message: str) -> Html:
    """Return the last result for a page where no kernel and no JavaScript runs."""
    parts = [Html("<p>{}</p>").format(message or "Nothing has been looked up yet.")]
    if frame is not None and len(frame):
        parts.append(table_html(table_rows(frame.head(_STATIC_ROWS))))
        if len(frame) > _STATIC_ROWS:
            rows = count(len(frame), "row")
            parts.append(Html("<p>The first {} of {}.</p>").format(_STATIC_ROWS, rows))
    return Html('<div class="b24-fallback {}">{}</div>').format(_NO_MATHS, Html().join(parts))


def message_html(lines: Sequence[str], *, problem: bool = False) -> Html:
    """Return a message that screen readers read out; all lines but the first are softer."""
    first, *others = lines
    role, look = ("alert", "b24-message b24-problem") if problem else ("status", "b24-message")
    soft = Html().join(Html('<p class="b24-soft">{}</p>').format(line) for line in others)
    return Html('<div role="{}" class="{} {}"><p>{}</p>{}</div>').format(
        role, look, _NO_MATHS, first, soft
    )


def note_html(text: str) -> Html:
    """Return a short text beside the buttons."""
    return Html('<span class="b24-soft {}">{}</span>').format(_NO_MATHS, text)


def card_html(frame: pd.DataFrame, number: int, address: str, now: pd.Timestamp) -> Html:
    """Return the card of an activity of a frame, read from the portal at an address."""
    (row,) = _records(frame.loc[[number]], now)
    fact = Html("<div><dt>{}</dt><dd>{}</dd></div>")
    text = description_text(row["DESCRIPTION"] or "", row["DESCRIPTION_TYPE"])
    description = Html('<div class="b24-description" dir="auto">{}</div>').format(text)
    folded = Html('<details><summary>{}</summary><pre dir="auto">{}</pre></details>')
    return Html(
        '<article class="b24-card {maths}" aria-label="Activity {number}">'
        '<h3 dir="auto">{subject}</h3>'
        '<p class="b24-chips">{chips}<span class="b24-number">Activity {number}</span></p>'
        "<dl>{facts}</dl>{description}{folded}</article>"
    ).format(
        maths=_NO_MATHS,
        number=number,
        subject=row["SUBJECT"] or "(no subject)",
        chips=Html().join(_chips(row)),
        facts=Html().join(fact.format(*pair) for pair in _facts(row, address, now) if pair[1]),
        description=description if text else "",
        folded=Html().join(folded.format(n, _json(row[n])) for n in _FOLDED if row[n]),
    )


def owner_url(address: str, owner_type: int, owner: int) -> str:
    """Return the page of a CRM object in its portal; empty where none is known.

    Examples
    --------
    >>> owner_url("https://acme.bitrix24.com", 2, 15)
    'https://acme.bitrix24.com/crm/deal/details/15/'
    """
    site, page = urlsplit(address), _OWNER_PAGES.get(owner_type, "")
    if owner_type in (7, 31) or is_smart_process(owner_type):
        page = f"type/{owner_type}"
    if site.scheme not in ("http", "https") or not site.netloc or not page or owner <= 0:
        return ""
    return f"{site.scheme}://{site.netloc}/crm/{page}/details/{owner}/"


def _records(frame: pd.DataFrame, now: pd.Timestamp | None = None) -> list[dict[str, Any]]:
    """Return rows as dicts, with what is computed of them; NA is None."""
    computed = frame.assign(
        overdue=is_overdue(frame, now), missed_call=is_missed_call(frame), talk=talk_time(frame)
    )
    # Nested values are not scalars: `isna` would look into them.
    return [
        {str(k): None if is_scalar(v) and pd.isna(v) else v for k, v in row.items()}
        for row in computed.reset_index().to_dict("records")
    ]


def _label(field: str, row: Mapping[str, Any]) -> str:
    return label(field, row[field]) if row[field] else ""


def _type_name(type_id: Any, provider: Any) -> str:
    """Return what an activity is: for most their provider says it."""
    name = "" if pd.isna(type_id) else label("TYPE_ID", type_id)
    if pd.isna(provider) or not provider:
        return name
    return PROVIDERS.get(provider) or f"{name} ({provider})".strip()


def _status(row: Mapping[str, Any]) -> str:
    if row["COMPLETED"] is None:
        return ""
    return "done" if row["COMPLETED"] else "overdue" if row["overdue"] else "open"


def _row_html(row: Mapping[str, str], *, marked: bool) -> Html:
    cells = Html().join(
        Html('<td class="b24-{}{}" dir="auto">{}</td>').format(
            name, f" b24-is-{text}" if name == "Status" else "", text
        )
        for name, text in row.items()
    )
    mark = Html(' class="b24-chosen" aria-current="true"') if marked else ""
    return Html("<tr{}>{}</tr>").format(mark, cells)


def _chips(row: Mapping[str, Any]) -> Iterator[Html]:
    """Yield what an activity is, and what is wrong with it."""
    chip = Html('<span class="b24-chip{}">{}</span>')
    type_name = _type_name(row["TYPE_ID"], row["PROVIDER_ID"])
    for mark in (type_name, _label("DIRECTION", row), _label("STATUS", row)):
        if mark:
            yield chip.format("", mark)
    for name in ("overdue", "missed_call"):
        if row[name]:
            yield chip.format(" b24-is-overdue", name.replace("_", " "))


def _facts(row: Mapping[str, Any], address: str, now: pd.Timestamp) -> Iterator[tuple[str, str]]:
    """Yield the captions of facts, and the facts; empty ones are not shown."""
    if row["OWNER_ID"] and row["OWNER_TYPE_ID"] is not None:
        name = f"{label('OWNER_TYPE_ID', row['OWNER_TYPE_ID'])} {row['OWNER_ID']}"
        url = owner_url(address, row["OWNER_TYPE_ID"], row["OWNER_ID"])
        yield "Owner", _LINK.format(url, name) if url else name
    for field, caption in (("RESPONSIBLE_ID", "Responsible"), ("AUTHOR_ID", "Author")):
        yield caption, row[field] and f"user {row[field]}"
    for field in ("START_TIME", "END_TIME", "DEADLINE", "CREATED", "LAST_UPDATED"):
        if moment := row[field]:
            caption = field.removesuffix("_TIME").replace("_", " ").capitalize()
            age = relative_age((now - moment).total_seconds())
            yield caption, Html("{:%Y-%m-%d %H:%M %Z} <small>{}</small>").format(moment, age)
    yield "Talk time", "" if row["talk"] is None else str(row["talk"].to_pytimedelta())
    yield "Priority", _label("PRIORITY", row)
    yield "Place", row["LOCATION"] and Html('<span dir="auto">{}</span>').format(row["LOCATION"])
    if row["PROVIDER_ID"]:
        provider = f"{row['PROVIDER_ID']} / {row['PROVIDER_TYPE_ID'] or '–'}"
        yield "Provider", Html("<code>{}</code>").format(provider)


def _json(value: object) -> str:
    """Return a nested value, or JSON in a text, as readable JSON."""
    try:
        value = json.loads(value) if isinstance(value, str) else value
        return json.dumps(value, indent=2, ensure_ascii=False)
    # A text that is not JSON, or a value nested too deeply.
    except (ValueError, RecursionError):
        return value if isinstance(value, str) else "…"

"""Activities as HTML, a table and the card of one; all texts are escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from b24frames.accessor.analysis import is_missed_call, is_overdue, owner_url, talk_time
from b24frames.panel.texts import Html, Texts, description_text
from b24frames.schema import ACTIVITY

_STATIC_ROWS = 50
_FOLDED = ("SETTINGS", "PROVIDER_PARAMS", "PROVIDER_DATA")
_LINK = Html('<a href="{}" target="_blank" rel="noopener noreferrer" title="{}">{} ↗</a>')
# In elements of these classes MathJax leaves dollar signs alone.
_NO_MATHS = "tex2jax_ignore mathjax_ignore"
_NOTHING = Html()
_ENGLISH = Texts("en")

_SORT_KEYS: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = {
    "asked": lambda frame: pd.Series(range(len(frame))),
    "ID": lambda frame: frame.index.to_series(),
    "Subject": lambda frame: frame["SUBJECT"].str.casefold(),
    "Type": lambda frame: frame["TYPE_NAME"],
    "Direction": lambda frame: frame["DIRECTION"].replace(0, pd.NA),
    "Start": lambda frame: frame["START_TIME"],
    "Status": lambda frame: (
        2 * frame["COMPLETED"].astype("Int8") - is_overdue(frame).astype("Int8")
    ),
    "Responsible": lambda frame: _name_key(frame, "RESPONSIBLE"),
    "Owner": lambda frame: _name_key(frame, "OWNER"),
    "Deadline": lambda frame: frame["DEADLINE"],
    "Updated": lambda frame: frame["LAST_UPDATED"],
}
SORTS = tuple(_SORT_KEYS)
"""What rows may be sorted by."""
HEADS = SORTS[SORTS.index("ID") : SORTS.index("Owner") + 1]
"""Which of these are columns of the table."""


def sort_rows(frame: pd.DataFrame, by: str, texts: Texts, *, descending: bool) -> list[int]:
    """Return the positions of the rows in their order; NA comes last."""
    pairs = zip(frame["TYPE_ID"], frame["PROVIDER_ID"], strict=True)
    types = [_type_name(*pair, texts) for pair in pairs]
    frame = frame.assign(TYPE_NAME=pd.Series(types, frame.index, dtype="string"))
    key = _SORT_KEYS[by](frame).reset_index(drop=True)
    return key.sort_values(ascending=not descending, kind="stable").index.tolist()


def table_rows(frame: pd.DataFrame, texts: Texts) -> list[dict[str, str]]:
    """Return the texts of the table's cells by the name of their column, a dict for each row."""
    return [
        {
            "ID": str(row["ID"]),
            "Subject": " ".join((row["SUBJECT"] or "").split()),
            "Type": _type_name(row["TYPE_ID"], row["PROVIDER_ID"], texts),
            "Direction": _label("DIRECTION", row, texts),
            "Start": f"{row['START_TIME']:%Y-%m-%d %H:%M}" if row["START_TIME"] else "",
            "Status": _status(row),
            "Responsible": _name("RESPONSIBLE", row, texts),
            "Owner": _name("OWNER", row, texts),
        }
        for row in _records(frame)
    ]


def table_html(
    rows: Sequence[Mapping[str, str]],
    texts: Texts,
    chosen: int | None = None,
    sort: tuple[str, str] = ("", ""),
) -> Html:
    """Return rows as a table, with marks at the chosen activity and the column sorted by."""
    by, direction = sort
    th = Html('<th scope="col" class="b24-{}" aria-sort="{}">{}</th>')
    head = (
        th.format(name, direction if name == by else "none", texts(f"column.{name}"))
        for name in HEADS
    )
    body = (_row_html(row, texts, marked=row["ID"] == str(chosen)) for row in rows)
    return Html(
        '<table class="b24-table {}" lang="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(_NO_MATHS, texts.language, Html().join(head), Html().join(body))


def static_html(frame: pd.DataFrame | None, message: str, texts: Texts) -> Html:
    """Return the last result for a page where no kernel and no JavaScript runs."""
    paragraph = Html("<p>{}</p>")
    parts = [paragraph.format(message or texts("nothing"))]
    if frame is not None and len(frame):
        parts.append(table_html(table_rows(frame.head(_STATIC_ROWS), texts), texts))
        if len(frame) > _STATIC_ROWS:
            rows = texts.count(len(frame), "of_row")
            parts.append(paragraph.format(texts("first_rows", shown=_STATIC_ROWS, rows=rows)))
    return Html('<div class="b24-fallback {}" lang="{}">{}</div>').format(
        _NO_MATHS, texts.language, Html().join(parts)
    )


def message_html(lines: Sequence[str], language: str, *, problem: bool = False) -> Html:
    """Return a message that screen readers read out; all lines but the first are softer."""
    first, *others = lines
    role, look = ("alert", "b24-message b24-problem") if problem else ("status", "b24-message")
    return Html('<div role="{}" class="{} {}" lang="{}"><p>{}</p>{}</div>').format(
        role, look, _NO_MATHS, language, first, _soft_html(others)
    )


def later_html(lines: Sequence[str], language: str) -> Html:
    """Return what comes after the message of the look-up, and is read out too."""
    return Html('<div aria-live="polite" class="{}" lang="{}">{}</div>').format(
        _NO_MATHS, language, _soft_html(lines)
    )


def note_html(text: str, language: str) -> Html:
    """Return a short text beside the buttons."""
    return Html('<span class="b24-soft {}" lang="{}">{}</span>').format(_NO_MATHS, language, text)


def card_html(
    frame: pd.DataFrame,
    number: int,
    address: str,
    now: pd.Timestamp,
    texts: Texts,
    details: Html = _NOTHING,
) -> Html:
    """Return the card of an activity of a frame, read from the portal at an address."""
    one = frame.loc[[number]]
    (row,) = _records(one.assign(owner_url=owner_url(one, address)), now)
    fact = Html("<div><dt>{}</dt><dd>{}</dd></div>")
    text = description_text(row["DESCRIPTION"] or "", row["DESCRIPTION_TYPE"], texts)
    description = Html('<div class="b24-description" dir="auto">{}</div>').format(text)
    folded = Html('<details><summary>{}</summary><pre dir="auto">{}</pre></details>')
    return Html(
        '<article class="b24-card {maths}" aria-label="{name}" lang="{language}">'
        '<h3 dir="auto">{subject}</h3>'
        '<p class="b24-chips">{chips}<span class="b24-number">{name}</span></p>'
        "<dl>{facts}</dl>{details}{description}{folded}</article>"
    ).format(
        maths=_NO_MATHS,
        language=texts.language,
        name=texts("card", number=number),
        subject=row["SUBJECT"] or texts("no_subject"),
        chips=Html().join(_chips(row, texts)),
        facts=Html().join(
            fact.format(texts(f"column.{name}"), value)
            for name, value in _facts(row, now, texts)
            if value
        ),
        details=details,
        description=description if text else "",
        folded=Html().join(folded.format(n, _json(row[n])) for n in _FOLDED if row[n]),
    )


def details_html(tables: Mapping[str, pd.DataFrame], notes: Sequence[str], texts: Texts) -> Html:
    """Return what was read about an activity after its card was shown, in lists."""
    section = Html("<section><h4>{}</h4><ul>{}</ul></section>")
    item = Html('<li dir="auto">{} <span class="b24-soft">{}</span></li>')
    parts = []
    for name, table in tables.items():
        lines = (_DETAILS[name](row, texts) for row in _plain(table))
        items = [item.format(text, " · ".join(filter(None, beside))) for text, *beside in lines]
        if items:
            parts.append(section.format(texts(name), Html().join(items)))
    return Html().join([*parts, _soft_html(notes)])


def _soft_html(lines: Sequence[str]) -> Html:
    return Html().join(Html('<p class="b24-soft">{}</p>').format(line) for line in lines)


def _records(frame: pd.DataFrame, now: pd.Timestamp | None = None) -> list[dict[str, Any]]:
    """Return rows as dicts, with what is computed of them; NA is None."""
    return _plain(
        frame.assign(
            overdue=is_overdue(frame, now), missed_call=is_missed_call(frame), talk=talk_time(frame)
        )
    )


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    table = frame.reset_index()
    cells = table.to_numpy(object, copy=True)
    cells[pd.isna(cells)] = None
    return [dict(zip(table.columns, row, strict=True)) for row in cells.tolist()]


def _name_key(frame: pd.DataFrame, who: str) -> pd.Series:
    names = frame.get(f"{who}_NAME")
    return frame[f"{who}_ID"] if names is None else names.str.casefold()


def _name(who: str, row: Mapping[str, Any], texts: Texts) -> str:
    """Return the name of a user or owner; as long as there is none, its type and number."""
    unnamed = _owner_text if who == "OWNER" else partial(_user_text, who)
    name = row.get(f"{who}_NAME")
    # What has no name is numbered in English.
    return unnamed(row, texts) if name in (None, unnamed(row, _ENGLISH)) else name


def _user_text(who: str, row: Mapping[str, Any], texts: Texts) -> str:
    number = row[f"{who}_ID"]
    return texts("user", number=number) if number else ""


def _owner_text(row: Mapping[str, Any], texts: Texts) -> str:
    kind = _label("OWNER_TYPE_ID", row, texts)
    return f"{kind} {row['OWNER_ID']}" if kind and row["OWNER_ID"] else ""


def _link(row: Mapping[str, Any], texts: Texts) -> str:
    """Return the name of an owner, with a link to its page if there is one."""
    url, name = row["owner_url"] or "", _name("OWNER", row, texts)
    is_safe = url.startswith(("http://", "https://"))
    return _LINK.format(url, texts("link_hint"), name) if is_safe else name


def _call_texts(row: Mapping[str, Any], texts: Texts) -> Iterator[str]:
    """Yield how long a call was, then what else its statistics say."""
    seconds, start = row["CALL_DURATION"], row["CALL_START_DATE"]
    # By hand: an odd statistic may have more seconds than a timedelta takes.
    known = seconds is not None
    yield f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}" if known else ""
    yield _label("CALL_FAILED_CODE", row, texts)
    yield _label("CALL_TYPE", row, texts)
    yield row["PHONE_NUMBER"]
    yield _name("PORTAL_USER", row, texts)
    yield f"{start:%Y-%m-%d %H:%M %Z}" if start else ""


# The text of a line of a detail, then what stands beside it.
_DETAILS: Mapping[str, Callable[[Mapping[str, Any], Texts], Iterable[str]]] = {
    "communications": lambda row, texts: (row["VALUE"] or "", _medium(row, texts), row["NAME"]),
    "links": lambda row, texts: (_link(row, texts), _owner_text(row, texts)),
    "calls": _call_texts,
}


def _medium(row: Mapping[str, Any], texts: Texts) -> str:
    name = (row["TYPE"] or "").lower()
    return texts(name) if name in ("phone", "email") else name


def _label(field: str, row: Mapping[str, Any], texts: Texts) -> str:
    return texts.label(field, row[field]) if row[field] else ""


def _type_name(type_id: Any, provider: Any, texts: Texts) -> str:
    """Return what an activity is: for most their provider says it."""
    name = "" if pd.isna(type_id) else texts.label("TYPE_ID", type_id)
    if pd.isna(provider) or not provider:
        return name
    if provider in ACTIVITY["PROVIDER_ID"].labels:
        return texts.label("PROVIDER_ID", provider)
    return f"{name} ({provider})".strip()


def _status(row: Mapping[str, Any]) -> str:
    if row["COMPLETED"] is None:
        return ""
    return "done" if row["COMPLETED"] else "overdue" if row["overdue"] else "open"


def _row_html(row: Mapping[str, str], texts: Texts, *, marked: bool) -> Html:
    cells = Html().join(
        Html('<td class="b24-{}{}" dir="auto">{}</td>').format(
            name,
            f" b24-is-{text}" if name == "Status" else "",
            texts(text) if text and name == "Status" else text,
        )
        for name, text in row.items()
    )
    mark = Html(' class="b24-chosen" aria-current="true"') if marked else ""
    return Html("<tr{}>{}</tr>").format(mark, cells)


def _chips(row: Mapping[str, Any], texts: Texts) -> Iterator[Html]:
    """Yield what an activity is, and what is wrong with it."""
    chip = Html('<span class="b24-chip{}">{}</span>')
    type_name = _type_name(row["TYPE_ID"], row["PROVIDER_ID"], texts)
    for mark in (type_name, _label("DIRECTION", row, texts), _label("STATUS", row, texts)):
        if mark:
            yield chip.format("", mark)
    for name in ("overdue", "missed_call"):
        if row[name]:
            yield chip.format(" b24-is-overdue", texts(name))


def _facts(row: Mapping[str, Any], now: pd.Timestamp, texts: Texts) -> Iterator[tuple[str, str]]:
    """Yield facts by their names; empty ones are not shown."""
    if owner := _owner_text(row, texts):
        beside = owner if _name("OWNER", row, texts) != owner else ""
        yield "Owner", Html("{} <small>{}</small>").format(_link(row, texts), beside)
    for who in ("RESPONSIBLE", "AUTHOR"):
        yield who.capitalize(), _name(who, row, texts)
    for field in ("START_TIME", "END_TIME", "DEADLINE", "CREATED", "LAST_UPDATED"):
        if moment := row[field]:
            name = field.removesuffix("_TIME").removeprefix("LAST_").capitalize()
            age = texts.age((now - moment).total_seconds())
            yield name, Html("{:%Y-%m-%d %H:%M %Z} <small>{}</small>").format(moment, age)
    yield "Talk", "" if row["talk"] is None else str(row["talk"].to_pytimedelta())
    yield "Priority", _label("PRIORITY", row, texts)
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

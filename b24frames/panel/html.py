"""Activities as HTML, a table and the card of one; all texts are escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import pandas as pd

from b24frames.accessor.analysis import is_missed_call, is_overdue, owner_url, talk_time
from b24frames.panel.texts import Html, Texts, description_text
from b24frames.schema import ACTIVITY

_STATIC_ROWS = 50
_FOLDED = ("SETTINGS", "PROVIDER_PARAMS", "PROVIDER_DATA")
# The classes tex2jax_ignore and mathjax_ignore make MathJax leave dollar signs alone.
_TEMPLATES: Mapping[str, Html] = {
    name: Html(re.sub(r"\n *", "", html))
    for name, html in re.findall(
        r"<!-- (\w+) -->\n(.*?\n)(?=\n|\Z)",
        files("b24frames.panel").joinpath("panel.html").read_text("utf-8"),
        re.S,
    )
}
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
    heads = [
        fill("head", name=n, order=direction if n == by else "none", text=texts(f"column.{n}"))
        for n in HEADS
    ]
    body = [_row_html(row, texts, marked=row["ID"] == str(chosen)) for row in rows]
    return fill("table", language=texts.language, heads=heads, rows=body)


def static_html(frame: pd.DataFrame | None, message: str, texts: Texts) -> Html:
    """Return the last result for a page where no kernel and no JavaScript runs."""
    parts = [fill("paragraph", text=message or texts("nothing"))]
    if frame is not None and len(frame):
        parts.append(table_html(table_rows(frame.head(_STATIC_ROWS), texts), texts))
        if len(frame) > _STATIC_ROWS:
            rows = texts.count(len(frame), "of_row")
            shown = texts("first_rows", shown=_STATIC_ROWS, rows=rows)
            parts.append(fill("paragraph", text=shown))
    return fill("static", language=texts.language, parts=parts)


def message_html(lines: Sequence[str], language: str, *, problem: bool = False) -> Html:
    """Return a message that screen readers read out; all lines but the first are softer."""
    first, *others = lines
    role, look = ("alert", "b24-message b24-problem") if problem else ("status", "b24-message")
    soft = _soft_html(others)
    return fill("message", role=role, look=look, language=language, first=first, others=soft)


def later_html(lines: Sequence[str], language: str) -> Html:
    """Return what comes after the message of the look-up, and is read out too."""
    return fill("later", language=language, lines=_soft_html(lines))


def card_html(
    frame: pd.DataFrame,
    number: int,
    address: str,
    now: pd.Timestamp,
    texts: Texts,
    details: str = "",
) -> Html:
    """Return the card of an activity of a frame, read from the portal at an address."""
    one = frame.loc[[number]]
    (row,) = _records(one.assign(owner_url=owner_url(one, address)), now)
    text = description_text(row["DESCRIPTION"] or "", row["DESCRIPTION_TYPE"], texts)
    facts = [(texts(f"column.{name}"), value) for name, value in _facts(row, now, texts) if value]
    return fill(
        "card",
        language=texts.language,
        name=texts("card", number=number),
        subject=row["SUBJECT"] or texts("no_subject"),
        chips=list(_chips(row, texts)),
        facts=[fill("fact", name=name, value=value) for name, value in facts],
        details=details,
        description=fill("description", text=text) if text else "",
        folded=[fill("folded", name=n, text=_json(row[n])) for n in _FOLDED if row[n]],
    )


def details_html(tables: Mapping[str, pd.DataFrame], notes: Sequence[str], texts: Texts) -> Html:
    """Return what was read about an activity after its card was shown, in lists."""
    parts = []
    for name, table in tables.items():
        lines = (_DETAILS[name](row, texts) for row in _plain(table))
        items = [
            fill("item", text=text, beside=" · ".join(filter(None, beside)))
            for text, *beside in lines
        ]
        if items:
            parts.append(fill("section", name=texts(name), items=items))
    return Html().join(parts + _soft_html(notes))


def fill(template: str, **values: object) -> Html:
    """Return a template of ``panel.html`` with texts, which are escaped, and lists of HTML."""
    parts = {k: Html().join(v) if isinstance(v, list) else v for k, v in values.items()}
    return _TEMPLATES[template].format(**parts)


def _soft_html(lines: Sequence[str]) -> list[Html]:
    return [fill("soft", text=line) for line in lines]


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
    name = row.get(f"{who}_NAME")
    # What has no name is numbered in English.
    return _number(who, row, texts) if name in (None, _number(who, row, _ENGLISH)) else name


def _number(who: str, row: Mapping[str, Any], texts: Texts) -> str:
    """Return the type and number of a user or owner; of none an empty text."""
    number = row[f"{who}_ID"]
    if who == "OWNER":
        kind = _label("OWNER_TYPE_ID", row, texts)
        return f"{kind} {number}" if kind and number else ""
    return texts("user", number=number) if number else ""


def _link(row: Mapping[str, Any], texts: Texts) -> str:
    """Return the name of an owner, with a link to its page if there is one."""
    url, name = row["owner_url"] or "", _name("OWNER", row, texts)
    is_safe = url.startswith(("http://", "https://"))
    return fill("link", url=url, hint=texts("link_hint"), name=name) if is_safe else name


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
    "links": lambda row, texts: (_link(row, texts), _number("OWNER", row, texts)),
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
    status = row["Status"]
    shown = {**row, "Status": texts(status) if status else ""}
    looks = {"Status": f" b24-is-{status}"}
    cells = [fill("cell", name=n, look=looks.get(n, ""), text=text) for n, text in shown.items()]
    return fill("row", mark=_TEMPLATES["chosen"] if marked else "", cells=cells)


def _chips(row: Mapping[str, Any], texts: Texts) -> Iterator[Html]:
    """Yield what an activity is, and what is wrong with it."""
    type_name = _type_name(row["TYPE_ID"], row["PROVIDER_ID"], texts)
    for mark in (type_name, _label("DIRECTION", row, texts), _label("STATUS", row, texts)):
        if mark:
            yield fill("chip", look="", text=mark)
    for name in ("overdue", "missed_call"):
        if row[name]:
            yield fill("chip", look=" b24-is-overdue", text=texts(name))


def _facts(row: Mapping[str, Any], now: pd.Timestamp, texts: Texts) -> Iterator[tuple[str, str]]:
    """Yield facts by their names; empty ones are not shown."""
    if owner := _number("OWNER", row, texts):
        beside = owner if _name("OWNER", row, texts) != owner else ""
        yield "Owner", fill("with_small", text=_link(row, texts), small=beside)
    for who in ("RESPONSIBLE", "AUTHOR"):
        yield who.capitalize(), _name(who, row, texts)
    for field in ("START_TIME", "END_TIME", "DEADLINE", "CREATED", "LAST_UPDATED"):
        if moment := row[field]:
            name = field.removesuffix("_TIME").removeprefix("LAST_").capitalize()
            age = texts.age((now - moment).total_seconds())
            yield name, fill("with_small", text=f"{moment:%Y-%m-%d %H:%M %Z}", small=age)
    yield "Talk", "" if row["talk"] is None else str(row["talk"].to_pytimedelta())
    yield "Priority", _label("PRIORITY", row, texts)
    yield "Place", row["LOCATION"] and fill("place", text=row["LOCATION"])
    if row["PROVIDER_ID"]:
        provider = f"{row['PROVIDER_ID']} / {row['PROVIDER_TYPE_ID'] or '–'}"
        yield "Provider", fill("code", text=provider)


def _json(value: object) -> str:
    """Return a nested value, or JSON in a text, as readable JSON."""
    try:
        value = json.loads(value) if isinstance(value, str) else value
        return json.dumps(value, indent=2, ensure_ascii=False)
    # A text that is not JSON, or a value nested too deeply.
    except (ValueError, RecursionError):
        return value if isinstance(value, str) else "…"

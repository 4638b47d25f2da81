"""The card of one activity, as HTML: every text of the CRM is escaped, and shown as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from b24frames.accessor.analysis import is_missed_call, is_overdue, talk_time
from b24frames.panel.table import NO_MATHS, kind_name
from b24frames.panel.texts import description_text, escape, relative_age
from b24frames.schema import is_smart_process, label

_TIMES = {
    "START_TIME": "Start",
    "END_TIME": "End",
    "DEADLINE": "Deadline",
    "CREATED": "Created",
    "LAST_UPDATED": "Last updated",
}
_FOLDED = ("SETTINGS", "PROVIDER_PARAMS", "PROVIDER_DATA")
_OWNER_PAGES = {1: "lead", 2: "deal", 3: "contact", 4: "company"}


def card_html(frame: pd.DataFrame, number: int, address: str, now: pd.Timestamp) -> str:
    """Return the card of an activity of a frame, read from the portal at an address."""
    row = frame.loc[[number]]
    values = {str(name): row[name].iloc[0] for name in row}
    values = {name: None if _is_na(value) else value for name, value in values.items()}
    return (
        f'<article class="b24-card {NO_MATHS}" aria-label="Activity {number}">'
        f"{_head_html(number, values, row, now)}"
        f"<dl>{''.join(_fact_html(name, fact) for name, fact in _facts(values, row, address, now))}"
        f"</dl>{_description_html(values)}{_folded_html(values)}</article>"
    )


def owner_url(address: str, owner_type: int, owner: int) -> str:
    """Return the page of a CRM object in its portal; empty where it has none that is known.

    Examples
    --------
    >>> owner_url("https://acme.bitrix24.com", 2, 15)
    'https://acme.bitrix24.com/crm/deal/details/15/'
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc or owner <= 0:
        return ""
    site = f"{parts.scheme}://{parts.netloc}"
    if owner_type in _OWNER_PAGES:
        return f"{site}/crm/{_OWNER_PAGES[owner_type]}/details/{owner}/"
    if owner_type in (7, 31) or is_smart_process(owner_type):
        return f"{site}/crm/type/{owner_type}/details/{owner}/"
    return ""


def _is_na(value: Any) -> bool:
    """Tell whether a cell holds nothing."""
    return not isinstance(value, (dict, list)) and bool(pd.isna(value))


def _head_html(number: int, values: Mapping[str, Any], row: pd.DataFrame, now: pd.Timestamp) -> str:
    """Return the subject, and what the activity is."""
    subject = values["SUBJECT"] or "(no subject)"
    marks = [kind_name(values["TYPE_ID"], values["PROVIDER_ID"])]
    if values["DIRECTION"]:
        marks.append(label("DIRECTION", int(values["DIRECTION"])))
    if values["STATUS"]:
        marks.append(label("STATUS", int(values["STATUS"])))
    warnings = []
    if is_overdue(row, now).fillna(False).iloc[0]:
        warnings.append("overdue")
    if is_missed_call(row).fillna(False).iloc[0]:
        warnings.append("missed call")
    chips = "".join(f'<span class="b24-chip">{escape(mark)}</span>' for mark in marks if mark)
    chips += "".join(f'<span class="b24-chip b24-is-overdue">{mark}</span>' for mark in warnings)
    return (
        f'<h3 dir="auto">{escape(subject)}</h3>'
        f'<p class="b24-chips">{chips}<span class="b24-number">Activity {number}</span></p>'
    )


def _facts(
    values: Mapping[str, Any], row: pd.DataFrame, address: str, now: pd.Timestamp
) -> Iterator[tuple[str, str]]:
    """Yield the names of facts, and the facts as HTML."""
    if values["OWNER_ID"] and values["OWNER_TYPE_ID"] is not None:
        yield "Owner", _owner_html(int(values["OWNER_TYPE_ID"]), int(values["OWNER_ID"]), address)
    for name, caption in (("RESPONSIBLE_ID", "Responsible"), ("AUTHOR_ID", "Author")):
        if values[name]:
            yield caption, f"user {values[name]}"
    for name, caption in _TIMES.items():
        if values[name] is not None:
            age = relative_age((now - values[name]).total_seconds())
            text = f"{values[name]:%Y-%m-%d %H:%M} {values[name]:%Z}"
            yield caption, f"{escape(text)} <small>{age}</small>"
    talk = talk_time(row).iloc[0]
    if not pd.isna(talk):
        yield "Talk time", str(pd.Timedelta(talk).to_pytimedelta())
    if values["PRIORITY"]:
        yield "Priority", escape(label("PRIORITY", int(values["PRIORITY"])))
    if values["LOCATION"]:
        yield "Place", f'<span dir="auto">{escape(values["LOCATION"])}</span>'
    if values["PROVIDER_ID"]:
        provider = f"{values['PROVIDER_ID']} / {values['PROVIDER_TYPE_ID'] or '–'}"
        yield "Provider", f"<code>{escape(provider)}</code>"


def _fact_html(name: str, fact: str) -> str:
    """Return a fact under its name."""
    return f"<div><dt>{name}</dt><dd>{fact}</dd></div>"


def _owner_html(owner_type: int, owner: int, address: str) -> str:
    """Return the CRM object that an activity belongs to, with a link to its page."""
    name = escape(f"{label('OWNER_TYPE_ID', owner_type)} {owner}")
    url = owner_url(address, owner_type, owner)
    if not url:
        return name
    return (
        f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer" '
        f'title="Open in the portal, in a new tab">{name} ↗</a>'
    )


def _description_html(values: Mapping[str, Any]) -> str:
    """Return the description as text."""
    if not values["DESCRIPTION"]:
        return ""
    text = description_text(values["DESCRIPTION"], values["DESCRIPTION_TYPE"])
    return f'<div class="b24-description" dir="auto">{escape(text)}</div>' if text else ""


def _folded_html(values: Mapping[str, Any]) -> str:
    """Return nested fields, folded."""
    return "".join(
        f"<details><summary>{name}</summary><pre dir='auto'>{escape(_json(values[name]))}</pre>"
        "</details>"
        for name in _FOLDED
        if values[name]
    )


def _json(value: object) -> str:
    """Return a nested value, or JSON in a text, as readable JSON."""
    try:
        value = json.loads(value) if isinstance(value, str) else value
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):  # a text that is no JSON, or nested too deeply
        return value if isinstance(value, str) else "…"

"""The table of what was found, as HTML: for the panel, and for pages where no kernel runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from b24frames.accessor.analysis import is_overdue
from b24frames.messages import count
from b24frames.panel.texts import escape
from b24frames.schema import PROVIDERS, label

PAGE = 20
_STATIC_ROWS = 50

NO_MATHS = "tex2jax_ignore mathjax_ignore"
"""Classes of HTML in which MathJax leaves dollar signs alone."""


def kind_name(type_id: Any, provider: Any) -> str:
    """Return what an activity is: most say it by their provider."""
    if not pd.isna(provider) and provider in PROVIDERS:
        return PROVIDERS[provider]
    name = "" if pd.isna(type_id) else label("TYPE_ID", int(type_id))
    return name if pd.isna(provider) or not provider else f"{name} ({provider})".strip()


def time_text(moment: Any) -> str:
    """Return date and time to the minute."""
    return "" if pd.isna(moment) else f"{moment:%Y-%m-%d %H:%M}"


def _user(number: Any) -> str:
    """Name a user by id: the permission `crm` tells no names."""
    return "" if pd.isna(number) else f"user {number}"


def _direction(code: Any) -> str:
    """Return the label of a direction that says something."""
    return "" if pd.isna(code) or code == 0 else label("DIRECTION", int(code))


def _status(row: Any) -> str:
    """Return whether an activity is done, open or overdue."""
    if pd.isna(row.COMPLETED):
        return ""
    return "done" if row.COMPLETED else "overdue" if row.OVERDUE is True else "open"


_CELLS: Mapping[str, Callable[[Any], str]] = {
    "ID": lambda row: str(row.Index),
    "Subject": lambda row: "" if pd.isna(row.SUBJECT) else " ".join(row.SUBJECT.split()),
    "Type": lambda row: kind_name(row.TYPE_ID, row.PROVIDER_ID),
    "Direction": lambda row: _direction(row.DIRECTION),
    "Start": lambda row: time_text(row.START_TIME),
    "Status": _status,
    "Responsible": lambda row: _user(row.RESPONSIBLE_ID),
}


def cells(frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return the texts of the table's cells, one dict for each row."""
    overdue = is_overdue(frame).astype(object)
    rows = frame.assign(OVERDUE=overdue).itertuples()
    return [{name: text(row) for name, text in _CELLS.items()} for row in rows]


_SORT_KEYS: Mapping[str, Callable[[pd.DataFrame], Any]] = {
    "ID": lambda frame: frame.index.to_series(),
    "Subject": lambda frame: frame["SUBJECT"].str.casefold(),
    "Type": lambda frame: pd.Series(
        list(map(kind_name, frame["TYPE_ID"], frame["PROVIDER_ID"])), dtype="string"
    ),
    "Start": lambda frame: frame["START_TIME"],
    "Deadline": lambda frame: frame["DEADLINE"],
    "Last updated": lambda frame: frame["LAST_UPDATED"],
    "Responsible": lambda frame: frame["RESPONSIBLE_ID"],
}
SORTS = ("as asked for", *_SORT_KEYS)
"""What rows may be sorted by."""


def sort_rows(frame: pd.DataFrame, by: str, *, descending: bool) -> list[int]:
    """Return the positions of the rows in their order; NA comes last."""
    if by not in _SORT_KEYS:
        positions = list(range(len(frame)))
        return positions[::-1] if descending else positions
    key = _SORT_KEYS[by](frame).reset_index(drop=True)
    order = key.sort_values(ascending=not descending, kind="stable", na_position="last")
    return [int(position) for position in order.index]


def page_html(rows: Sequence[Mapping[str, str]], chosen: int | None) -> str:
    """Return a page of the table; the row of the chosen activity is marked."""
    head = "".join(f'<th scope="col" class="b24-{name}">{name}</th>' for name in _CELLS)
    body = "".join(_row_html(row, marked=row["ID"] == str(chosen)) for row in rows)
    return (
        f'<table class="b24-table {NO_MATHS}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _row_html(row: Mapping[str, str], *, marked: bool) -> str:
    """Return one row; each text is escaped."""
    status = row["Status"]
    tds = "".join(
        f'<td class="b24-{name} {f"b24-is-{status}" * (name == "Status")}" dir="auto">'
        f"{escape(text)}</td>"
        for name, text in row.items()
    )
    return f'<tr class="b24-chosen" aria-current="true">{tds}</tr>' if marked else f"<tr>{tds}</tr>"


def static_html(frame: pd.DataFrame | None, message: str) -> str:
    """Return the last result for a page where no kernel and no JavaScript runs."""
    said = f"<p>{escape(message or 'Nothing has been looked up yet.')}</p>"
    table = ""
    if frame is not None and len(frame):
        head = "".join(f"<th>{name}</th>" for name in _CELLS)
        body = "".join(
            "<tr>" + "".join(f'<td dir="auto">{escape(t)}</td>' for t in row.values()) + "</tr>"
            for row in cells(frame.head(_STATIC_ROWS))
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        if len(frame) > _STATIC_ROWS:
            table += f"<p>The first {_STATIC_ROWS} of {count(len(frame), 'row')}.</p>"
    return f'<div class="b24-fallback {NO_MATHS}">{said}{table}</div>'

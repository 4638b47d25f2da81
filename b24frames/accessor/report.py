"""What a read did, and could not do, for people to read: text, and a table in notebooks."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from b24frames.errors import name_some, one_line

_MOST_IDS = 20


class Report:
    """What a read did, and could not do: text, and a table in notebooks.

    Parameters
    ----------
    facts : mapping
        ``df.attrs["b24"]``.

    Examples
    --------
    >>> Report({"requested": 2, "from_cache": 0, "fetched": 1, "http_requests": 1,
    ...         "missing": [7], "missing_reasons": {"not found": [7]}})
    requested   2
    from cache  0
    fetched     1 in 1 HTTP request
    missing     1
                not found: 7
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts

    def _rows(self) -> list[tuple[str, str]]:
        """Return captions and texts, one row each; attrs that another tool wrote may lack some."""
        facts = self._facts
        rows = [(caption, show(facts)) for name, caption, show in _ROWS if name in facts]
        for reason, ids in facts.get("missing_reasons", {}).items():
            rows.append(("", f"{one_line(reason)}: {name_some(ids, _MOST_IDS)}"))
        return rows

    def __repr__(self) -> str:
        rows = self._rows()
        width = max((len(caption) for caption, _ in rows), default=0)
        return "\n".join(f"{caption:<{width}}  {text}" for caption, text in rows)

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th style="text-align: left">{html.escape(caption)}</th>'
            f'<td style="text-align: left">{html.escape(text)}</td></tr>'
            for caption, text in self._rows()
        )
        return f"<table>{cells}</table>"


def _portal(facts: Mapping[str, Any]) -> str:
    """Return the address of the portal, and the user who asked."""
    user = f", user {facts['user_id']}" if facts.get("user_id") is not None else ""
    return one_line(f"{facts['portal']}{user}")


def _fetched(facts: Mapping[str, Any]) -> str:
    """Return how many were fetched, and by how many requests."""
    requests = facts.get("http_requests", 0)
    return f"{facts['fetched']:,} in {requests:,} HTTP {'request' if requests == 1 else 'requests'}"


def _stale(facts: Mapping[str, Any]) -> str:
    """Return how many rows are older than asked for, and which."""
    ids = facts["stale"]
    return f"{len(ids):,}: {name_some(ids, _MOST_IDS)}" if ids else "0"


_ROWS = (
    ("portal", "portal", _portal),
    ("read_at", "read at", lambda facts: one_line(facts["read_at"])),
    ("requested", "requested", lambda facts: f"{facts['requested']:,}"),
    ("from_cache", "from cache", lambda facts: f"{facts['from_cache']:,}"),
    ("fetched", "fetched", _fetched),
    ("stale", "stale", _stale),
    ("missing", "missing", lambda facts: f"{len(facts['missing']):,}"),
)

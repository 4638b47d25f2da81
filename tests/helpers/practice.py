"""Calls of a practice server by a client that knows nothing of it, and what it was asked."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import requests

from b24frames.practice import PracticePortal
from b24frames.practice.server import PracticeServer


def posts(portal: PracticePortal) -> int:
    """Count the HTTP requests that a practice portal received."""
    return len(portal.server.requests)


def asked(portal: PracticePortal) -> list[int]:
    """Return the ids that a practice portal was asked for by ``crm.activity.get``, in order."""
    commands = (c for request in portal.server.requests for c in request.commands)
    return [int(m[1]) for c in commands if (m := re.fullmatch(r"crm\.activity\.get\?id=(\d+)", c))]


def post(server: PracticeServer, method: str, **params: Any) -> Any:
    """POST a call as JSON and return the answer."""
    with requests.Session() as session:
        session.trust_env = False
        return session.post(server.url + method, json=params, timeout=30).json()


def ids_of(answer: Any) -> list[int]:
    """Return the ids of the rows that an answer holds, in its order."""
    rows = answer["result"]
    rows = rows["items"] if isinstance(rows, dict) else rows
    return [int(row.get("ID", row.get("id"))) for row in rows]


def plant(server: PracticeServer, fields: Collection[str], text: str) -> None:
    """Have a server give a text in all fields of these names, whatever it is asked for."""
    answer = server.answer

    def planted(value: Any) -> Any:
        if isinstance(value, list):
            return [planted(item) for item in value]
        if isinstance(value, dict):
            return {k: text if k in fields else planted(item) for k, item in value.items()}
        return value

    server.answer = lambda *asked: planted(answer(*asked))

"""Plain calls of a practice server, by a client that knows nothing of it."""

from __future__ import annotations

from typing import Any

import requests

from b24frames.practice.server import PracticeServer


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

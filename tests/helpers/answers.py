"""Answers of portals, each in a file of `tests/data/answers` with a sentence of what it shows.

`activity` and `access-denied` are the examples of crm.activity.get's page. The others are written
in the form that the documentation and other clients tell of: no data of anybody's portal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

_FOLDER = Path(__file__).parents[1] / "data" / "answers"


class Sample(NamedTuple):
    """An answer to a request."""

    shows: str
    status: int
    answer: Any

    def reply(self, _path: str, _body: bytes) -> tuple[int, list[str], str]:
        """Answer any request so, as `tests.helpers.servers.serving` asks for it."""
        return self.status, [], json.dumps(self.answer)


def sample(name: str) -> Sample:
    """Return the answer of this name."""
    return Sample(**json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8")))

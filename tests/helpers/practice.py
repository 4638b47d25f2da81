"""What a practice portal was asked."""

from __future__ import annotations

import re

from b24frames.practice import PracticePortal


def posts(portal: PracticePortal) -> int:
    """Count the HTTP requests that a practice portal received."""
    return len(portal.server.requests)


def asked(portal: PracticePortal) -> list[int]:
    """Return the ids that a practice portal was asked for by ``crm.activity.get``, in order."""
    commands = (c for request in portal.server.requests for c in request.commands)
    return [int(m[1]) for c in commands if (m := re.fullmatch(r"crm\.activity\.get\?id=(\d+)", c))]

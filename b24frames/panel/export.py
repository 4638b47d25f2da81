"""What a result can be taken away as: files, and the code that reads it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from b24frames.accessor.interchange import spreadsheet_safe, storable
from b24frames.activities import ReadOptions
from b24frames.messages import count
from b24frames.panel.texts import ids_code, relative_age


def save_csv(frame: pd.DataFrame) -> str:
    """Save a frame as CSV in the working folder; return the name of the file."""
    return _save(".csv", spreadsheet_safe(frame).to_csv().encode())


def save_parquet(frame: pd.DataFrame) -> str:
    """Save a frame as parquet in the working folder; return the name of the file."""
    return _save(".parquet", storable(frame).to_parquet())


def _save(suffix: str, content: bytes) -> str:
    """Write a file of a name that says when and that is not there yet."""
    stem = f"activities-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    path, number = Path(f"{stem}{suffix}"), 1
    while True:
        # Exclusively, so that no link is followed which somebody put into a shared folder.
        with suppress(FileExistsError), path.open("xb") as file:
            file.write(content)
            return path.name
        number += 1
        path = Path(f"{stem}-{number}{suffix}")


def code(ids: Sequence[int], facts: Mapping[str, Any], options: ReadOptions) -> str:
    """Return the code that reads the same activities; the secret stays out of it."""
    zone = str(options["tz"])
    arguments = ids_code(ids) if zone == "UTC" else f"{ids_code(ids)}, tz={zone!r}"
    return (
        "import b24frames as b24\n\n"
        f"# {facts['portal']}, user {facts['user_id']}: its webhook is in B24_WEBHOOK_URL\n"
        f"df = b24.read_activities({arguments})"
    )


def source_text(facts: Mapping[str, Any]) -> str:
    """Say where the data came from, and how old they are."""
    parts = []
    if facts["from_cache"]:
        age = relative_age(facts["cache_age"])
        parts.append(f"{facts['from_cache']:,} from the cache (the oldest read {age})")
    if facts["fetched"]:
        parts.append(f"{facts['fetched']:,} from the portal")
    if facts["stale"]:
        parts.append(f"{count(len(facts['stale']), 'activity')} out of date")
    return f"{facts['portal']}, user {facts['user_id']} · {'; '.join(parts) or 'nothing read'}"

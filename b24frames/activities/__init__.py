"""From ids to a frame: arguments checked, the cache first, the portal for the rest."""

from b24frames.activities.options import (
    WEBHOOK_VARIABLE,
    as_portal,
    check_backend,
    check_columns,
    check_tz,
)
from b24frames.activities.reading import CachePlace, Missing, ReadOptions, read_activities
from b24frames.activities.records import Via

__all__ = [
    "WEBHOOK_VARIABLE",
    "CachePlace",
    "Missing",
    "ReadOptions",
    "Via",
    "as_portal",
    "check_backend",
    "check_columns",
    "check_tz",
    "read_activities",
]

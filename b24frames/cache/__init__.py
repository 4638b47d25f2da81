"""The on-disk cache: one entry per portal, user, method and id; never a credential."""

from b24frames.cache.activity_cache import MAX_SIZE, MISSING_AGE, ActivityCache
from b24frames.cache.entries import ACTIVITY_METHOD, Lookup, PortalUser

__all__ = [
    "ACTIVITY_METHOD",
    "MAX_SIZE",
    "MISSING_AGE",
    "ActivityCache",
    "Lookup",
    "PortalUser",
]

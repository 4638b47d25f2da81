"""The on-disk cache: one entry per portal, user, method and activity id; never a credential."""

from b24frames.cache.activity_cache import MAX_SIZE, MISSING_AGE, ActivityCache
from b24frames.cache.entries import Lookup, PortalUser

__all__ = ["MAX_SIZE", "MISSING_AGE", "ActivityCache", "Lookup", "PortalUser"]

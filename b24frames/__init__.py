"""Activities of a Bitrix24 CRM as pandas DataFrames.

::

    read_activities   activities by id, as a typed DataFrame
    find_activities   activities by what they are; count_activities: how many
    read_calls        the statistics of calls; read_users: who the users are
    df.b24, s.b24     labels, names, durations, files and back; reading by a column of ids
    Portal            a portal; without one, the webhook in B24_WEBHOOK_URL is read
    ActivityCache     what is kept on this machine
    LookupPanel       look activities up by hand, in a notebook
    practice_portal   a portal on this machine, to try everything on
    errors, schema    every error and warning; every field

>>> import b24frames as b24
>>> with b24.practice_portal() as portal:
...     df = b24.read_activities([1, 2, 3], portal)
>>> df.loc[1, "SUBJECT"]
'...'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from b24frames import accessor, errors, schema
from b24frames._version import __version__ as __version__

if TYPE_CHECKING:
    from b24frames.activities import count_activities, find_activities, read_activities
    from b24frames.cache import ActivityCache
    from b24frames.calls import read_calls
    from b24frames.names import read_users
    from b24frames.panel import LookupPanel
    from b24frames.portal import Portal
    from b24frames.practice import practice_portal
    from b24frames.store import ActivityStore

__all__ = [
    "ActivityCache",
    "ActivityStore",
    "LookupPanel",
    "Portal",
    "count_activities",
    "errors",
    "find_activities",
    "practice_portal",
    "read_activities",
    "read_calls",
    "read_users",
    "schema",
]

# Loaded when first used: an import of b24frames costs little more than one of pandas.
_LAZY = {
    "ActivityCache": "cache",
    "ActivityStore": "store",
    "LookupPanel": "panel",
    "Portal": "portal",
    "count_activities": "activities",
    "find_activities": "activities",
    "load_ipython_extension": "magics",  # what %load_ext looks for
    "practice_portal": "practice",
    "read_activities": "activities",
    "read_calls": "calls",
    "read_users": "names",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


accessor.register()

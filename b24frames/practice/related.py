"""The objects that activities refer to: users, owners, and the statistics of calls.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/universal/object-fields.html
.. [2] https://apidocs.bitrix24.com/api-reference/telephony/voximplant/statistic/voximplant-statistic-get.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache, lru_cache
from random import Random
from typing import Any

from b24frames.practice.dataset import USERS, Record, Store, Table, is_made, phone
from b24frames.practice.formats import PREFIXES, fill, load, read_date, write_date
from b24frames.schema import CALL, Wire

_TEMPLATES = load("related")
ITEM_TYPES = frozenset(map(int, _TEMPLATES["item"]))
"""The types of CRM objects that ``crm.item.list`` knows."""
BRIEF: frozenset[str] = frozenset(_TEMPLATES["brief"])
"""The fields of a user that need no more than the scope ``user_brief``."""
_USERS = 300
# The templates of activities draw the ids of owners from the same range.
_ITEMS = 4_999
# Each activity has four ids of calls: up to three of its own, and one of an unknown caller.
_ROWS = 4
_STRAY = 3
_UNANSWERED = 4  # of RESULT_STREAM

_WIRES = {name: field.wire for name, field in CALL.items()}
"""The wire forms of the fields that may be filtered, but for text."""
_WIRES |= {name: Wire[kind] for name, kind in _TEMPLATES["wires"].items()}


@cache
def users() -> Table:
    """Return the users, without bots and dismissed ones; the first twelve are fixed."""
    rows = {
        number: fill(Random(f"user:{number}"), _TEMPLATES["user"], {"id": number})
        for number in range(1, _USERS + 1)
    }
    # The colleagues whom activities name as responsible must be found.
    for user in USERS:
        rows[int(user["ID"])] |= user | {"SECOND_NAME": "", "UF_DEPARTMENT": [1]}
    ids = [number for number in rows if number % 50 and number % 61]
    return _table(ids, rows.__getitem__, prefixes=PREFIXES["user"], order={"ID": "ASC"})


@lru_cache(maxsize=64)
def items(seed: int, kind: int) -> Table:
    """Return the CRM objects of a type [1]_, with fields as the universal methods name them."""
    # Some objects that activities still belong to have been deleted.
    ids = [number for number in range(1, _ITEMS + 1) if (number + seed) % 37]

    @lru_cache(maxsize=_ITEMS)
    def row(number: int) -> Record:
        rng = Random(f"{seed}:item:{kind}:{number}")
        own = fill(rng, _TEMPLATES["item"][str(kind)], {"id": number})
        drawn = {"ID": number, **own, "ASSIGNED_BY_ID": rng.randrange(1, _USERS)}
        drawn["CREATED_TIME"] = f"{2020 + number % 5}-03-01T10:00:00+01:00"
        camel_case = {name: re.sub("_(.)", lambda m: m[1].upper(), name.lower()) for name in drawn}
        return {camel_case[name]: value for name, value in drawn.items()}

    return _table(ids, row, prefixes=PREFIXES["item"], order={"id": "ASC"}, strict=True)


def _table(ids: list[int], row: Callable[[int], Record], **options: Any) -> Table:
    fields = {name: _WIRES.get(name, Wire.TEXT) for name in (row(ids[0]) if ids else ["ID"])}
    return Table(lambda: ids, row, fields, **options)


def is_readable(kind: int, number: int) -> bool:
    """Return whether a user who is no administrator may read a CRM object."""
    return (kind + number) % 3 != 0


@lru_cache(maxsize=4)
def calls(store: Store, changes: int) -> Table:  # noqa: ARG001 - a part of the cache's key
    """Return the statistics of the calls that telephony made [2]_, derived from the activities.

    Most activities have one row, transferred calls several, and some none. There are also rows of
    unknown callers without an activity. A customer has one number, and many are called back.

    Parameters
    ----------
    store : Store
        The activities.
    changes : int
        The number of changes so far: a part of the key of the cache.
    """

    def parts(activity: int) -> int:
        answered = store.table.value(activity, "RESULT_STREAM") != _UNANSWERED
        return activity % 10 != 7 and 1 + answered * ((activity % 8 == 3) + (activity % 24 == 3))

    @cache
    def row(number: int) -> Record:
        activity, part = divmod(number, _ROWS)
        return _draw_call(store.table.row(activity), number, part, parts(activity))

    ids = [
        activity * _ROWS + part
        for activity in store.ids()
        if str(store.table.value(activity, "ORIGIN_ID")).startswith("vi_")
        for part in [*range(parts(activity)), *([_STRAY] if activity % 11 == 5 else [])]
    ]
    return _table(ids, row, prefixes=PREFIXES["call"])


def _draw_call(activity: Record, number: int, part: int, parts: int) -> Record:
    """Return one row of an activity's statistics; the parts of a call share its seconds."""
    rng = Random(f"{activity['ID']}:call:{part}")
    begins, ends = (read_date(str(activity[name])) for name in ("START_TIME", "END_TIME"))
    seconds = int((ends - begins).total_seconds()) if begins and ends else 0
    if seconds and not is_made(activity):  # planned, and the talk was as long as talks are
        seconds = int(Random(activity["ORIGIN_ID"]).lognormvariate(4.5, 1))
    place, parts = (part, parts) if part != _STRAY else (0, 1)
    since = seconds * place // parts
    words = activity | {
        "id": number,
        "activity": activity["ID"],
        "user": activity["RESPONSIBLE_ID"] if part == 0 else rng.randrange(1, 13),
        "call": activity["ORIGIN_ID"][3:] + (f".{part}" if part else ""),
        "token": f"{rng.getrandbits(128):032x}",
        "seconds": seconds * (place + 1) // parts - since,
        "begins": write_date(begins + timedelta(seconds=since)) if begins else "",
        "customer": phone(activity) if part != _STRAY else f"+7901{rng.randrange(10**7):07}",
    }
    record = fill(rng, _TEMPLATES["call"], words)
    return record | fill(rng, _TEMPLATES["stray"], {}) if part == _STRAY else record

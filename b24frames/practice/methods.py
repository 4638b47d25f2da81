"""The REST methods of the practice portal.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-fields.html
.. [3] https://apidocs.bitrix24.com/api-reference/crm/auxiliary/enum/index.html
.. [4] https://apidocs.bitrix24.com/api-reference/user/user-get.html
.. [5] https://apidocs.bitrix24.com/api-reference/crm/universal/crm-item-list.html
.. [6] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/binding/crm-activity-binding-list.html
.. [7] https://apidocs.bitrix24.com/api-reference/telephony/voximplant/statistic/voximplant-statistic-get.html
.. [8] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from b24frames.practice.dataset import REFUSED_PROVIDER, Record, Store, communications, links
from b24frames.practice.faults import Refused, Target, activity_id
from b24frames.practice.formats import (
    as_int,
    as_list,
    as_map,
    load,
    parse_query,
    write_date,
    write_map,
)
from b24frames.practice.related import BRIEF, ITEM_TYPES, calls, is_readable, items, users

# A documented limit of batches [1]_.
_MAX_COMMANDS = 50
_PARTS = ("result", "error", "total", "next", "time")

# A command may refer to the results of earlier ones: $result[name][ID].
_REFERENCE = re.compile(rf"\$({'|'.join(_PARTS)})((?:\[[^\]]*\])+)")

# Fields that bring others along, and those that a list makes if they are named.
_ALONG = {
    "DESCRIPTION": ("PROVIDER_ID", "PROVIDER_TYPE_ID"),
    "WEBDAV_ELEMENTS": ("FILES",),
    "STORAGE_ELEMENT_IDS": ("FILES",),
}
_MADE: dict[str, Callable[[Record], object]] = {
    "COMMUNICATIONS": communications,
    "IS_INCOMING_CHANNEL": lambda record: "NY"[str(record["DIRECTION"]) == "1"],
}

Answer = dict[str, Any]
"""The answer to a call: ``result``; for a page also ``next`` and ``total``."""


@dataclass
class Webhook:
    """The user of a webhook, its secret and its scopes.

    Attributes
    ----------
    user_id : int
        The user.
    admin : bool
        Whether the user is an administrator, who sees everything.
    secret : str
        The secret, which guards nothing but generated data.
    scopes : set of str
        The scopes; by default enough for activities, calls and names.
    """

    user_id: int = 1
    admin: bool = True
    secret: str = "practice"  # noqa: S105 - it guards nothing but generated data
    scopes: set[str] = field(default_factory=lambda: {"crm", "telephony", "user_brief"})


@dataclass
class Call(Target):
    """One call of one method, alone or as a command of a batch.

    Attributes
    ----------
    store : Store
        The portal's activities.
    webhook : Webhook
        The webhook that it is made with.
    """

    store: Store
    webhook: Webhook

    def may_read(self, kind: int, number: int) -> bool:
        """Return whether the user may read a CRM object."""
        return self.webhook.admin or is_readable(kind, number)

    def may_see(self, number: int) -> bool:
        """Return whether the user may see an activity: as responsible, or by its owner."""
        if self.webhook.admin:
            return True
        record = self.store.table.row(number)
        responsible = as_int(record.get("RESPONSIBLE_ID")) == self.webhook.user_id
        return responsible or is_readable(*links(record)[0])

    @property
    def select(self) -> set[str]:
        """The names of the selected fields; by default ``*``."""
        return set(map(str, as_list(self.params.get("select") or "*")))


def _get(call: Call) -> Answer:
    """Answer ``crm.activity.get``."""
    number = activity_id(call.params)
    if number is None:
        raise Refused("", "ID is not defined or invalid.")
    record = call.store.record(number)
    if record is None:
        raise Refused("", "Not found")
    if not call.may_see(number):
        raise Refused("", "Access denied.")
    if record["PROVIDER_ID"] == REFUSED_PROVIDER:
        raise Refused("", "Use crm.activity.configurable.get for this activity provider")
    return {"result": record}


def _list(call: Call) -> Answer:
    """Answer ``crm.activity.list`` [8]_, which silently drops invalid conditions."""
    table, params = call.store.table, call.params
    for name in ("filter", "order", "select"):
        if not isinstance(params.get(name) or [], (list, dict)):
            raise Refused("", f"Parameter '{name}' must be array.")
    pairs = as_map(as_map(params.get("filter")).get("BINDINGS")).values()
    wanted = [
        (as_int(pair["OWNER_TYPE_ID"]), pair.get("OWNER_ID"))
        for pair in pairs
        if isinstance(pair, dict) and "OWNER_TYPE_ID" in pair
    ]

    def times(number: int) -> int:
        if not call.may_see(number):
            return 0
        # A row occurs once for each of its links that matches.
        return not wanted or sum(
            any(kind == link[0] and (i is None or as_int(i) == link[1]) for kind, i in wanted)
            for link in links(table.row(number))
        )

    asked = as_map(params.get("order")) or {"START_TIME": "ASC"}
    order = {name: "ASC" if str(way).upper() == "ASC" else "DESC" for name, way in asked.items()}
    found, paging = table.find(params, order, times)
    selected = {"ID", *map(str.upper, call.select)}
    names = selected.union(*(_ALONG.get(name, ()) for name in selected))
    made = [(name, make) for name, make in _MADE.items() if name in names]
    whole = (record | {name: make(record) for name, make in made} for record in found)
    return {"result": [_pick(record, names, {"FILES"}) for record in whole], **paging}


def _links(call: Call) -> Answer:
    """Answer ``crm.activity.binding.list`` [6]_."""
    if "activityid" not in call.params:
        raise Refused("100", "Could not find value for parameter {activityId}")
    record = call.store.record(as_int(call.params["activityid"]))
    if record is None:
        raise Refused("NOT_FOUND", "Activity not found")
    if not call.may_see(as_int(record["ID"])):
        raise Refused("ACCESS_DENIED", "Access denied")
    readable = [link for link in links(record) if call.may_read(*link)]
    return {"result": [{"entityTypeId": kind, "entityId": number} for kind, number in readable]}


def _users(call: Call) -> Answer:
    """Answer ``user.get`` [4]_, which takes filters both inside and outside ``filter``."""
    table = users()
    filters = dict(call.params) | as_map(call.params.get("filter"))
    for key in [key for key in filters if key.upper() == "ACTIVE"]:
        filters[key] = str(filters[key]).upper() in ("Y", "1", "TRUE")

    def is_told(number: int) -> bool:
        return call.webhook.admin or bool(table.row(number)["UF_DEPARTMENT"])

    found, paging = table.find(call.params | {"filter": filters}, _sort(call), is_told)
    found = [_pick(user, call.select | {"ID"}) for user in found]
    if not call.webhook.scopes & {"user", "user_basic"}:
        found = [_pick(user, BRIEF) for user in found]
    # An empty result has no total on a portal, either.
    return {"result": found, **paging} if found else {"result": []}


def _profile(call: Call) -> Answer:
    """Answer ``profile`` and ``user.current``."""
    user = _pick(users().row((call.webhook.user_id - 1) % 12 + 1), BRIEF)
    return {"result": user | {"ID": str(call.webhook.user_id), "ADMIN": call.webhook.admin}}


def _items(call: Call) -> Answer:
    """Answer ``crm.item.list`` [5]_, which refuses invalid filters."""
    kind = as_int(call.params.get("entitytypeid"))
    if kind not in ITEM_TYPES:
        raise Refused("NOT_FOUND", "Smart process not found")
    order = as_map(call.params.get("order"))
    may_read = partial(call.may_read, kind)
    found, paging = items(call.store.seed, kind).find(call.params, order, may_read)
    return {"result": {"items": [_pick(row, call.select | {"id"}) for row in found]}, **paging}


def _statistics(call: Call) -> Answer:
    """Answer ``voximplant.statistic.get`` [7]_, for administrators only."""
    if not call.webhook.admin:
        raise Refused("ACCESS_DENIED", "Access denied!")
    table = calls(call.store, len(call.store.changes))
    # Without an order, rows are in a different one on each page.
    found, paging = table.find(call.params, _sort(call))
    return {"result": found, **paging}


def _sort(call: Call) -> dict[str, Any]:
    """Return the order given by ``sort`` and ``order``, which are two texts."""
    return {str(call.params.get("sort")): call.params.get("order")}


def _pick(row: Record, names: Set[str], hidden: Set[str] = frozenset()) -> Record:
    """Return the fields of these names, of which ``*`` stands for all but the hidden ones."""
    kept = names | (row.keys() - hidden) if "*" in names else names
    return {name: value for name, value in row.items() if name in kept}


METHODS: dict[str, Callable[[Call], Answer]] = {
    "crm.activity.get": _get,
    "crm.activity.list": _list,
    "crm.activity.binding.list": _links,
    "crm.item.list": _items,
    "user.get": _users,
    "user.current": _profile,
    "profile": _profile,
    "scope": lambda call: {"result": sorted(call.webhook.scopes)},
    "voximplant.statistic.get": _statistics,
    "methods": lambda _: {"result": ["batch", *METHODS]},
    "server.time": lambda _: {"result": write_date(datetime.now(UTC))},
    # Constant answers: crm.activity.fields and crm.enum.*.
    **{name: partial(lambda it, _: {"result": it}, it) for name, it in load("answers").items()},
}
"""Every method but ``batch``, by its name in lower case."""

SCOPES = {
    "crm.": {"crm"},
    "user.": {"user", "user_basic", "user_brief"},
    "voximplant.": {"telephony"},
}
"""The scopes of which methods with a prefix need one."""


def run_batch(params: Mapping[str, Any], run: Callable[[str, dict[str, Any]], Answer]) -> Answer:
    """Run the commands of a batch one after another [1]_.

    Parameters
    ----------
    params : mapping of str to object
        Those of ``batch``.
    run : callable
        Returns the answer to a command, given its method and parameters; one with an ``error`` if
        it is refused, and an empty one if it is not answered.
    """
    commands = as_map(params.get("cmd"))
    if len(commands) > _MAX_COMMANDS:
        raise Refused("ERROR_BATCH_LENGTH_EXCEEDED")
    answers: dict[str, Answer] = {}
    for name, command in commands.items():
        # As on a portal, commands that are not text are not answered.
        if not isinstance(command, str):
            continue
        path, _, query = command.partition("#")[0].partition("?")
        answers[name] = run(path.strip().lower(), _substitute(parse_query(query), answers))
        if "error" in answers[name] and as_int(params.get("halt")):
            break
    maps = {part: write_map(_collect(part, answers)) for part in _PARTS}
    return {"result": maps.pop("result"), **{f"result_{part}": maps[part] for part in maps}}


def _collect(part: str, answers: Mapping[str, Answer]) -> Answer:
    """Return one part of the answers that have it, such as the errors."""
    return {name: answer[part] for name, answer in answers.items() if part in answer}


def _substitute(value: Any, answers: Mapping[str, Answer]) -> Any:
    """Replace ``$result[name][…]`` and the like by the results of earlier commands."""
    if isinstance(value, dict):
        return {str(_substitute(k, answers)): _substitute(v, answers) for k, v in value.items()}

    def look_up(match: re.Match[str]) -> Any:
        found: Any = _collect(match[1], answers)
        for key in re.findall(r"\[([^\]]*)\]", match[2]):
            # As on a portal, a key that is missing leaves the array that was reached.
            if key not in as_map(found):
                break
            found = as_map(found)[key]
        return "" if found is None else found

    whole = _REFERENCE.fullmatch(value)
    return look_up(whole) if whole else _REFERENCE.sub(lambda m: str(look_up(m)), value)

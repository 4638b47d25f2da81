"""The REST methods of the practice portal, and the dispatcher that runs them.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-fields.html
.. [3] https://apidocs.bitrix24.com/api-reference/crm/auxiliary/enum/index.html
.. [4] https://apidocs.bitrix24.com/api-reference/user/user-get.html
.. [5] https://apidocs.bitrix24.com/api-reference/crm/universal/crm-item-list.html
.. [6] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/binding/crm-activity-binding-list.html
.. [7] https://apidocs.bitrix24.com/api-reference/telephony/voximplant/statistic/voximplant-statistic-get.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from b24frames.practice.dataset import REFUSED_PROVIDER, Record, Store, Table, links
from b24frames.practice.faults import Faults, Refused, Target, activity_id
from b24frames.practice.formats import (
    as_int,
    as_list,
    as_map,
    load,
    lower_keys,
    parse_query,
    write_date,
    write_map,
)
from b24frames.practice.listing import (
    CALL_PREFIXES,
    CRM_PREFIXES,
    find,
    list_activities,
    parse_filter,
)
from b24frames.practice.metering import OperatingTime
from b24frames.practice.related import BRIEF, ITEM_TYPES, calls, is_readable, items, users

# A documented limit of batches [1]_.
_MAX_COMMANDS = 50
_MAPS = ("result", "result_error", "result_total", "result_next", "result_time")

# A command may refer to the results of earlier ones: $result[name][ID].
_REFERENCE = re.compile(r"\$(result|error|total|next|time)((?:\[[^\]]*\])+)")

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
    conditions = parse_filter(table, filters, CRM_PREFIXES)
    order = _parse_sort(table, call.params) or [("ID", False)]

    def is_told(number: int) -> bool:
        return call.webhook.admin or bool(table.row(number)["UF_DEPARTMENT"])

    numbers, paging = find(table, conditions, order, call.params, is_told)
    found = _pick(table, numbers, call.params)
    if not call.webhook.scopes & {"user", "user_basic"}:
        found = [{name: user[name] for name in user if name in BRIEF} for user in found]
    # An empty result has no total on a portal, either.
    return {"result": found, **paging} if found else {"result": []}


def _profile(call: Call) -> Answer:
    """Answer ``profile`` and ``user.current``."""
    user = users().row((call.webhook.user_id - 1) % 12 + 1)
    brief = {name: user[name] for name in user if name in BRIEF}
    return {"result": brief | {"ID": str(call.webhook.user_id), "ADMIN": call.webhook.admin}}


def _items(call: Call) -> Answer:
    """Answer ``crm.item.list`` [5]_, which refuses invalid filters."""
    kind = as_int(call.params.get("entitytypeid"))
    if kind not in ITEM_TYPES:
        raise Refused("NOT_FOUND", "Smart process not found")
    table = items(call.store.seed, kind)
    order = []
    for name, way in as_map(call.params.get("order")).items():
        if name.upper() not in table.names:
            raise Refused("INVALID_ARG_VALUE", f"Invalid order: field '{name}' is not allowed")
        order.append((table.names[name.upper()], str(way).upper() == "DESC"))
    filters = as_map(call.params.get("filter"))
    conditions = parse_filter(table, filters, CRM_PREFIXES | CALL_PREFIXES, strict=True)
    may_read = partial(call.may_read, kind)
    numbers, paging = find(table, conditions, order or [("id", False)], call.params, may_read)
    return {"result": {"items": _pick(table, numbers, call.params)}, **paging}


def _statistics(call: Call) -> Answer:
    """Answer ``voximplant.statistic.get`` [7]_, for administrators only."""
    if not call.webhook.admin:
        raise Refused("ACCESS_DENIED", "Access denied!")
    table = calls(call.store, len(call.store.changes))
    conditions = parse_filter(table, as_map(call.params.get("filter")), CALL_PREFIXES)
    # Without an order, rows are in a different one on each page.
    numbers, paging = find(table, conditions, _parse_sort(table, call.params), call.params)
    return {"result": [table.row(number) for number in numbers], **paging}


def _parse_sort(table: Table, params: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return the order given by ``sort`` and ``order``; empty if it is invalid."""
    name = str(params.get("sort")).upper()
    return [(name, str(params.get("order")).upper() == "DESC")] if name in table.fields else []


def _pick(table: Table, numbers: Iterable[int], params: Mapping[str, Any]) -> list[Record]:
    """Return rows with their id and the fields of ``select``; by default all."""
    names = {next(iter(table.fields)), *map(str, as_list(params.get("select") or "*"))}
    rows = map(table.row, numbers)
    return [{k: row[k] for k in row if k in names or "*" in names} for row in rows]


METHODS: dict[str, Callable[[Call], Answer]] = {
    "crm.activity.get": _get,
    "crm.activity.list": lambda call: list_activities(call.store, call.params, call.may_see),
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

_SCOPES = {
    "crm.": {"crm"},
    "user.": {"user", "user_basic", "user_brief"},
    "voximplant.": {"telephony"},
}
"""The scopes of which methods with a prefix need one."""


@dataclass
class Dispatcher:
    """Run calls and batches, subject to the operating time and to faults.

    Parameters
    ----------
    store : Store
        The portal's activities.
    faults : Faults
        The faults to simulate.
    operating : OperatingTime
        The operating time of each method.
    webhook : Webhook
        The webhook that calls are made with.
    take_time : callable
        Waits as long as a command takes, and returns the operating time to bill [portal s].
    """

    store: Store
    faults: Faults
    operating: OperatingTime
    webhook: Webhook
    take_time: Callable[[], float]

    def answer(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole answer to a request.

        Raises
        ------
        Refused
            The portal refuses the call.
        """
        started = time.time()
        if method == "batch":
            return {"result": self._batch(lower_keys(params)), "time": _write_time(started)}
        answer = self._call(method, params)
        return answer | {"time": _write_time(started) | self.operating.report(method)}

    def _batch(self, params: Mapping[str, Any]) -> Answer:
        """Run the commands of a batch one after another."""
        commands = as_map(params.get("cmd"))
        if len(commands) > _MAX_COMMANDS:
            raise Refused("ERROR_BATCH_LENGTH_EXCEEDED")
        maps: dict[str, Answer] = {name: {} for name in _MAPS}
        for name, command in commands.items():
            # As on a portal, commands that are not text are not answered.
            if not isinstance(command, str):
                continue
            started = time.time()
            path, _, query = command.partition("#")[0].partition("?")
            method = path.strip().lower()
            try:
                answer = self._call(method, _substitute(parse_query(query), maps))
            except Refused as refused:
                answer = {"error": refused.answer}
            # An unanswered command is in none of the maps.
            if answer:
                answer["time"] = _write_time(started) | self.operating.report(method)
            for key, value in answer.items():
                maps["result" if key == "result" else f"result_{key}"][name] = value
            if "error" in answer and as_int(params.get("halt")):
                break
        return {name: write_map(entries) for name, entries in maps.items()}

    def _call(self, method: str, params: Mapping[str, Any]) -> Answer:
        # `answer` handles batches, so this one is inside another.
        if method == "batch":
            raise Refused("ERROR_BATCH_METHOD_NOT_ALLOWED")
        if method not in METHODS:
            raise Refused("ERROR_METHOD_NOT_FOUND")
        for prefix, scopes in _SCOPES.items():
            if method.startswith(prefix) and not scopes & self.webhook.scopes:
                raise Refused("insufficient_scope")
        if not self.operating.admits(method):
            raise Refused("OPERATION_TIME_LIMIT")
        call = Call(method, lower_keys(params), self.store, self.webhook)

        def answer() -> Answer:
            self.operating.bill(method, self.take_time())
            # A command sees one state of the data, like a database query.
            with self.store.lock:
                return METHODS[method](call)

        return self.faults.apply("command", call, answer)


def _substitute(value: Any, maps: Mapping[str, Answer]) -> Any:
    """Replace ``$result[name][…]`` and the like by the results of earlier commands."""
    if isinstance(value, dict):
        return {str(_substitute(k, maps)): _substitute(item, maps) for k, item in value.items()}

    def look_up(match: re.Match[str]) -> Any:
        found: Any = maps["result" if match[1] == "result" else f"result_{match[1]}"]
        for key in re.findall(r"\[([^\]]*)\]", match[2]):
            # As on a portal, a key that is missing leaves the array that was reached.
            if key not in as_map(found):
                break
            found = as_map(found)[key]
        return "" if found is None else found

    whole = _REFERENCE.fullmatch(value)
    return look_up(whole) if whole else _REFERENCE.sub(lambda m: str(look_up(m)), value)


def _write_time(started: float) -> dict[str, Any]:
    finished = time.time()
    return {
        "start": started,
        "finish": finished,
        "duration": finished - started,
        "processing": finished - started,
        "date_start": write_date(datetime.fromtimestamp(started, UTC)),
        "date_finish": write_date(datetime.fromtimestamp(finished, UTC)),
    }

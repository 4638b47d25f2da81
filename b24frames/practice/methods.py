"""The REST methods of the practice portal by their names, and the dispatcher that runs them.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-fields.html
.. [3] https://apidocs.bitrix24.com/api-reference/crm/auxiliary/enum/index.html
.. [4] https://apidocs.bitrix24.com/api-reference/user/user-get.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from b24frames.practice.faults import Faults, Refused
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
from b24frames.practice.listing import PAGE, list_activities
from b24frames.practice.metering import OperatingTime
from b24frames.practice.store import REFUSED_PROVIDER, USERS, Store

_MAX_COMMANDS = 50
_MAPS = ("result", "result_error", "result_total", "result_next", "result_time")

Answer = dict[str, Any]
"""What a call answers: ``result``; of a page, ``next`` and ``total`` too."""


@dataclass(frozen=True)
class Call:
    """One call of one method, by itself or as a command of a batch.

    Attributes
    ----------
    method : str
        Its name in lower case.
    params : mapping of str to object
        The parameters, by their names in lower case.
    store : Store
        The portal's activities.
    user_id : int
        The user who calls.
    commands : tuple of str
        Always empty: only batches have commands.
    """

    method: str
    params: Mapping[str, Any]
    store: Store
    user_id: int
    commands: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """The activity that the call is about, if it is about one."""
        number = activity_id(self.params)
        return () if number is None else (number,)


def activity_id(params: Mapping[str, Any]) -> int | None:
    """Return the activity that a call is about, or None."""
    value = params.get("id")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def _get(call: Call) -> Answer:
    """Answer ``crm.activity.get``."""
    number = activity_id(call.params)
    if number is None:
        raise Refused("", "ID is not defined or invalid.")
    record = call.store.record(number)
    if record is None:
        raise Refused("", "Not found")
    if record["PROVIDER_ID"] == REFUSED_PROVIDER:
        raise Refused("", "Use crm.activity.configurable.get for this activity provider")
    return {"result": record}


def _users(call: Call) -> Answer:
    """Answer ``user.get``; it takes filters inside ``filter`` and beside it."""
    beside = dict(call.params) | as_map(call.params.get("filter"))
    filters = {key.upper(): value for key, value in beside.items()}
    ids = filters.get("ID", filters.get("@ID", [user["ID"] for user in USERS]))
    wanted = {as_int(item) for item in as_list(ids)}
    found = [user for user in USERS if int(user["ID"]) in wanted]
    return {"result": found[:PAGE], "total": len(found)}


def _current_user(call: Call) -> Answer:
    """Answer ``user.current`` and ``profile``."""
    user = USERS[(call.user_id - 1) % len(USERS)]
    return {"result": user | {"ID": str(call.user_id), "ADMIN": True}}


METHODS: dict[str, Callable[[Call], Answer]] = {
    "crm.activity.get": _get,
    "crm.activity.list": lambda call: list_activities(call.store, call.params),
    "user.get": _users,
    "user.current": _current_user,
    "profile": _current_user,
    "methods": lambda _: {"result": ["batch", *METHODS]},
    "server.time": lambda _: {"result": write_date(datetime.now(UTC))},
    # What never changes: crm.activity.fields, crm.enum.* and scope.
    **{name: partial(lambda it, _: {"result": it}, it) for name, it in load("answers").items()},
}
"""Every method but ``batch``, by its name in lower case."""


class Dispatcher:
    """Runs calls and batches, within the operating time and under faults.

    Parameters
    ----------
    store : Store
        The portal's activities.
    faults : Faults
        What happens to commands.
    operating : OperatingTime
        The operating time of each method.
    user_id : int
        The user who calls.
    take_time : callable
        Waits as long as a command takes, and returns the operating time to bill [portal s].
    """

    def __init__(
        self,
        store: Store,
        faults: Faults,
        operating: OperatingTime,
        *,
        user_id: int,
        take_time: Callable[[], float],
    ) -> None:
        self._store = store
        self._faults = faults
        self._operating = operating
        self._user_id = user_id
        self._take_time = take_time

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
        return answer | {"time": _write_time(started) | self._operating.report(method)}

    def _batch(self, params: Mapping[str, Any]) -> Answer:
        """Run the commands of a batch one after another."""
        commands = as_map(params.get("cmd"))
        if len(commands) > _MAX_COMMANDS:
            raise Refused("ERROR_BATCH_LENGTH_EXCEEDED")
        maps: dict[str, Answer] = {name: {} for name in _MAPS}
        for name, command in commands.items():
            # As on a portal, what is no text is not answered at all.
            if not isinstance(command, str):
                continue
            started = time.time()
            path, _, query = command.partition("?")
            method = path.strip().lower()
            try:
                answer = self._call(method, _substitute(parse_query(query), maps["result"]))
            except Refused as refused:
                answer = {"error": refused.answer}
            # A command that the server did not get to is in none of the maps.
            if answer:
                answer["time"] = _write_time(started) | self._operating.report(method)
            for key, value in answer.items():
                maps["result" if key == "result" else f"result_{key}"][name] = value
            if "error" in answer and as_int(params.get("halt")):
                break
        return {name: write_map(entries) for name, entries in maps.items()}

    def _call(self, method: str, params: Mapping[str, Any]) -> Answer:
        """Run one call."""
        # A request of a batch does not come here, so this one is inside another.
        if method == "batch":
            raise Refused("ERROR_BATCH_METHOD_NOT_ALLOWED")
        if method not in METHODS:
            raise Refused("ERROR_METHOD_NOT_FOUND")
        if not self._operating.admits(method):
            raise Refused("OPERATION_TIME_LIMIT")
        call = Call(method, lower_keys(params), self._store, self._user_id)

        def answer() -> Answer:
            self._operating.bill(method, self._take_time())
            return METHODS[method](call)

        return self._faults.apply("command", call, answer)


def _substitute(value: Any, results: Mapping[str, Any]) -> Any:
    """Replace ``$result[name][…]`` by what an earlier command of the batch answered."""
    if isinstance(value, dict):
        return {key: _substitute(item, results) for key, item in value.items()}

    def look_up(match: re.Match[str]) -> str:
        found: Any = results
        for key in re.findall(r"\[([^\]]*)\]", match[1]):
            found = as_map(found).get(key)
        return "" if found is None else str(found)

    return re.sub(r"\$result((?:\[[^\]]*\])+)", look_up, value)


def _write_time(started: float) -> dict[str, Any]:
    """Return the times of a call that ends now."""
    finished = time.time()
    return {
        "start": started,
        "finish": finished,
        "duration": finished - started,
        "processing": finished - started,
        "date_start": write_date(datetime.fromtimestamp(started, UTC)),
        "date_finish": write_date(datetime.fromtimestamp(finished, UTC)),
    }

"""From a method and its parameters to the answer: limits, faults, batches.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from b24frames.practice.effects import change_outcome
from b24frames.practice.faults import Faults, Place, Refused
from b24frames.practice.forms import as_int, as_map, lower_keys, parse_query, write_date, write_map
from b24frames.practice.limits import OperatingTime
from b24frames.practice.methods import METHODS, Call, Outcome
from b24frames.practice.store import Store

_MAX_COMMANDS = 50
_REFERENCE = re.compile(r"\$result((?:\[[^\]]*\])+)")


@dataclass(frozen=True)
class _Settled:
    """What became of a call: an outcome, an error, or neither."""

    outcome: Outcome | None
    error: Refused | None
    time: dict[str, Any]


class Dispatcher:
    """Answers calls of any method.

    Parameters
    ----------
    store : Store
        The portal's activities.
    faults : Faults
        What goes wrong with commands.
    operating : OperatingTime
        What the methods have used, and may use.
    user_id : int
        The user who calls.
    take_time : callable
        Waits as long as a command takes, and returns what that is billed [portal seconds].
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
            return {"result": self._batch(params), "time": _write_time(started)}
        settled = self._settle(method, params)
        if settled.error is not None:
            raise settled.error
        if settled.outcome is None:
            return {"time": settled.time}
        return {
            "result": settled.outcome.result,
            **settled.outcome.paging,
            "time": settled.time,
        }

    def _batch(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Run the commands of a batch one after another."""
        params = lower_keys(params)
        commands = as_map(params.get("cmd"))
        if len(commands) > _MAX_COMMANDS:
            raise Refused("ERROR_BATCH_LENGTH_EXCEEDED")
        maps: dict[str, dict[str, Any]] = {name: {} for name in _MAPS}
        for name, command in commands.items():
            if not isinstance(command, str):
                continue
            method, _, query = command.partition("?")
            settled = self._settle(method, _substitute(parse_query(query), maps["result"]))
            _note(maps, name, settled)
            if settled.error is not None and as_int(params.get("halt")):
                break
        return {name: write_map(entries) for name, entries in maps.items()}

    def _settle(self, method: str, params: Mapping[str, Any]) -> _Settled:
        """Run one call, and time it."""
        started = time.time()
        call = Call(method.strip().lower(), lower_keys(params), self._store, self._user_id)
        outcome, error = None, None
        try:
            outcome = self._run(call)
        except Refused as refused:
            error = refused
        return _Settled(outcome, error, _write_time(started) | self._operating.report(call.method))

    def _run(self, call: Call) -> Outcome | None:
        """Run one call, with what goes wrong."""
        if call.method == "batch":
            raise Refused("ERROR_BATCH_METHOD_NOT_ALLOWED")
        if call.method not in METHODS:
            raise Refused("ERROR_METHOD_NOT_FOUND")
        if not self._operating.admits(call.method):
            raise Refused("OPERATION_TIME_LIMIT")
        fault = self._faults.take(Place.COMMAND, call)
        error = None if fault is None else fault.refusal()
        if error is not None:
            raise error
        self._operating.bill(call.method, self._take_time())
        outcome = METHODS[call.method](call)
        if fault is None:
            return outcome
        return change_outcome(fault, outcome, self._store.neighbour(*call.ids))


_MAPS = ("result", "result_error", "result_total", "result_next", "result_time")


def _note(maps: Mapping[str, dict[str, Any]], name: str, settled: _Settled) -> None:
    """Put what became of a command into the maps of a batch's answer."""
    if settled.error is not None:
        maps["result_error"][name] = settled.error.answer()
    elif settled.outcome is not None:
        maps["result"][name] = settled.outcome.result
        for key, number in settled.outcome.paging.items():
            maps[f"result_{key}"][name] = number
    else:
        return
    maps["result_time"][name] = settled.time


def _substitute(value: Any, results: Mapping[str, Any]) -> Any:
    """Replace ``$result[name][…]`` by what an earlier command of the batch answered."""
    if isinstance(value, dict):
        return {key: _substitute(item, results) for key, item in value.items()}

    def look_up(match: re.Match[str]) -> str:
        found: Any = results
        for key in re.findall(r"\[([^\]]*)\]", match[1]):
            found = as_map(found).get(key)
        return "" if found is None else str(found)

    return _REFERENCE.sub(look_up, value)


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

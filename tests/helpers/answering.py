"""Portals that answer commands as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import b24frames as b24
from b24frames.errors import PortalError
from b24frames.portal.commands import Answer, Command


def rewrite(portal: b24.Portal, change: Callable[[Command, Any], Any]) -> None:
    """Have what a portal answers to each command changed."""
    post = portal._scheduler.post

    def changed(
        commands: Mapping[str, Command], in_batch: bool, expired: int | None
    ) -> tuple[Answer | PortalError, int]:
        answer, renewals = post(commands, in_batch, expired)
        assert isinstance(answer, Answer), answer
        results = {name: change(commands[name], it) for name, it in answer.results.items()}
        return answer._replace(results=results), renewals

    portal._scheduler.post = changed


class Statistics:
    """Answers ``voximplant.statistic.get`` of a portal, and counts how often it is asked.

    Parameters
    ----------
    portal : Portal
        Nothing is sent to it any more.
    rows : mapping of int to dict
        The rows by their ids.
    """

    def __init__(self, portal: b24.Portal, rows: Mapping[int, Mapping[str, Any]]) -> None:
        self.commands: list[dict[str, Any]] = []
        self.requests = 0
        self._rows = rows
        self._ids = sorted(rows)
        portal._scheduler.post = self._post

    def _post(
        self, commands: Mapping[str, Command], _in_batch: bool, _expired: int | None
    ) -> tuple[Answer, int]:
        self.requests += 1
        results, totals = {}, {}
        for name, (method, params) in commands.items():
            assert method == "voximplant.statistic.get"
            assert set(params) == {"FILTER", "SORT", "ORDER", "start"}
            self.commands.append(dict(params))
            found = self._find(params["FILTER"])
            assert params["SORT"] == "ID"
            ids = found[::-1] if params["ORDER"] == "DESC" else found
            results[name] = [dict(self._rows[i]) for i in ids[:50]]
            totals[name] = len(found) if params["start"] == 0 else 0
        return Answer(results, totals=totals), 0

    def _find(self, filters: Mapping[str, Any]) -> list[int]:
        after, last = filters.get(">ID", 0), filters.get("<=ID", 2**63)
        activities = filters.get("CRM_ACTIVITY_ID")
        return [
            i
            for i in self._ids
            if after < i <= last
            and (activities is None or int(self._rows[i]["CRM_ACTIVITY_ID"] or 0) in activities)
        ]

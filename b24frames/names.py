"""Names in place of ids: the users who act, the owners of activities, and what else is linked.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/user/user-get.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/universal/crm-item-list.html
.. [3] https://apidocs.bitrix24.com/api-reference/crm/auxiliary/enum/crm-enum-owner-type.html
.. [4] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/binding/crm-activity-binding-list.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pandas as pd

from b24frames import arguments
from b24frames.credentials import scrub_traceback
from b24frames.errors import MissingActivitiesWarning, NamesMissingWarning, PortalError
from b24frames.frame import Layout
from b24frames.ids import chunks, parse_ids
from b24frames.keyset import Keyset, Range
from b24frames.messages import count, name_in, name_some, one_line, short_repr, warn_at_caller
from b24frames.output import CachePlace, attrs_of, build_table, check_cache, open_cache
from b24frames.portal import Portal, as_portal
from b24frames.portal.commands import Command, CommandQueue
from b24frames.records import PAGE, Entries, ReadReport, id_of, rows_of
from b24frames.schema import ACTIVITY, USER, USER_TYPE, Backend, is_smart_process, label

Key = tuple[int, int]
"""The type of an owner, or `USER_TYPE`, and an id."""

_TYPE = -1  # in the place of an owner's type: the types themselves
_SELECT: Mapping[int, tuple[str, ...]] = dict.fromkeys((2, 4, 7), ("title",)) | {
    1: ("title", "name", "lastName", "companyTitle"),
    3: ("name", "secondName", "lastName"),
    31: ("title", "accountNumber"),
}
"""The fields that make the name of an owner, by its type; of smart processes ``title``."""

_LINKS = "crm.activity.binding.list"
_LINK = {name: ACTIVITY[name] for name in ("ID", "OWNER_TYPE_ID", "OWNER_ID")}
_OF_ONE_ACTIVITY = ("NOT_FOUND", "ACCESS_DENIED", "100")
_NOT_TOLD = "deleted, or not visible to this user"
_USER_NOT_TOLD = "deleted, a bot, or not visible to this user"
_NO_METHOD = "the portal has no method that tells names of this type"


def read_names(
    keys: Iterable[Key], portal: Portal, cache: CachePlace = True, max_age: Any = "1d"
) -> dict[Key, str]:
    """Return the name of each user and owner; where there is none, its type and id.

    Parameters
    ----------
    keys : iterable of (int, int)
        Types, or `USER_TYPE`, and ids.
    portal : Portal
        Asked for what is not in the cache: 2 500 names in a request.
    cache : bool, path-like or ActivityCache
        Where names are kept.
    max_age : str, timedelta or the like, optional
        The age to which they are believed.

    Warns
    -----
    NamesMissingWarning
        Some have no name; the message says which, and why.
    """
    age, place = arguments.parse_age(max_age, "max_age"), check_cache(cache)
    with ExitStack() as stack:
        names = _Names(portal, Entries(open_cache(place, portal, stack), portal), age)
        names.read(set(keys))
    return names.with_fallbacks()


@scrub_traceback
def read_users(
    ids: object = None,
    portal: Portal | str | None = None,
    *,
    dtype_backend: Backend = "numpy_nullable",
) -> pd.DataFrame:
    """Read users of a portal into a typed DataFrame.

    Parameters
    ----------
    ids : int, str of digits, or iterable of them, optional
        The users; by default all that the user of the webhook may see.
    portal : Portal or str, optional
        As of `read_activities`.
    dtype_backend : {"numpy_nullable", "pyarrow"}, default "numpy_nullable"
        As of `read_activities`.

    Returns
    -------
    pandas.DataFrame, shape (m, 7)
        One row for each user: those asked for in the order of first appearance, or all ascending.
        Columns are those of `schema.USER`; its index is ID. A user who has been dismissed is there,
        with ACTIVE false.

    Raises
    ------
    TypeError, ValueError
        An argument that is not accepted; before any request.
    PortalError
        The portal refused, or was out of reach. The scope ``user_brief`` is enough.

    Warns
    -----
    NamesMissingWarning
        Some ids are not told: users who were deleted, bots, and whom this user may not see.

    Notes
    -----
    The portal is asked each time [1]_, and nothing is kept.

    References
    ----------
    .. [1] https://apidocs.bitrix24.com/api-reference/user/user-get.html

    Examples
    --------
    >>> read_users([2, 1], portal)["FULL_NAME"]
    ID
    2    ...
    1    ...
    Name: FULL_NAME, dtype: string
    """
    wanted = None if ids is None else parse_ids(ids)
    layout = Layout(tuple(USER), dtype_backend=arguments.check_backend(dtype_backend))
    portal = as_portal(portal)
    users = Keyset(portal, _list_users)
    missing: list[int] = []
    if wanted is None:
        users.read_all(Range({}))
    else:
        # One less than a page: so none is full, and no other has to be asked for.
        users.read(Range({"ID": some}) for some in chunks(wanted, PAGE - 1))
        missing = [i for i in wanted if i not in users.rows]
        _warn({_USER_NOT_TOLD: [f"user {i}" for i in missing]})
    found = [i for i in wanted or sorted(users.rows) if i in users.rows]
    rows = [{**users.rows[i], "FULL_NAME": name_in(users.rows[i]) or f"user {i}"} for i in found]
    report = ReadReport(len(rows) + len(missing), fetched=len(rows), http_requests=users.requests)
    report.missing = dict.fromkeys(missing, _USER_NOT_TOLD)
    return build_table(rows, USER, layout, attrs_of(portal, report))


class _Names:
    """Names from the cache and from the portal, and why there are none."""

    def __init__(self, portal: Portal, entries: Entries, max_age: float | None) -> None:
        self._portal = portal
        self._entries = entries
        self._max_age = max_age
        self._names: dict[Key, str] = {}
        self._reasons: dict[Key, str] = {}

    def read(self, keys: set[Key]) -> None:
        """Find the names, first in the cache."""
        self._reasons = dict.fromkeys(sorted(keys), _NO_METHOD)
        smart = {(_TYPE, kind) for kind, _ in keys if is_smart_process(kind)}
        pages = {str(n): page for n, page in enumerate(self._pages(sorted(keys | smart)))}
        commands = {name: _command(*page) for name, page in pages.items()}
        run = self._portal.run(CommandQueue(commands.items()))
        try:
            for answers in run:
                for name, answer in answers.items():
                    told = _parse(*pages[name], answer)
                    if told is None and run.reject(name, commands[name]):
                        continue
                    self._keep(*pages.pop(name), told)
        except PortalError as error:
            for page in pages.values():
                self._keep(*page, error)
        self._entries.warn()

    def _pages(self, keys: Sequence[Key]) -> Iterator[tuple[int, list[int]]]:
        """Take names from the cache; yield what is to be asked for: a type, and ids of it."""
        for kind in sorted({kind for kind, _ in keys}):
            if kind not in (_TYPE, USER_TYPE, *_SELECT) and not is_smart_process(kind):
                continue
            ids = [i for of, i in keys if of == kind]
            hits = self._entries.read(ids, self._max_age, method=_cached_as(kind))
            self._names |= {(kind, i): name.decode() for i, name in hits.records.items()}
            self._reasons |= {(kind, i): reason for i, reason in hits.missing.items()}
            rest = (i for i in ids if i not in hits.records and i not in hits.missing)
            for page in chunks(rest, PAGE):
                yield kind, page

    def _keep(self, kind: int, ids: list[int], told: dict[int, str] | PortalError | None) -> None:
        """Take the names of a page, and the reasons for those that are not in it."""
        if not isinstance(told, dict):
            reason = str(told or "the portal gives something else than was asked for")
            self._reasons |= {(kind, i): reason for i in ids}
            return
        names = {i: told[i] for i in ids if told.get(i)}
        not_told = _USER_NOT_TOLD if kind == USER_TYPE else _NOT_TOLD
        missing = {i: "without a name" if i in told else not_told for i in ids if i not in names}
        self._names |= {(kind, i): name for i, name in names.items()}
        self._reasons |= {(kind, i): reason for i, reason in missing.items()}
        texts = {i: name.encode() for i, name in names.items()}
        self._entries.write(texts, missing, method=_cached_as(kind))

    def with_fallbacks(self) -> dict[Key, str]:
        """Return the names; where there is none, the type and the id, with a warning."""
        missing: dict[str, list[str]] = {}
        for (kind, i), reason in self._reasons.items():
            if (kind, i) not in self._names and kind != _TYPE:
                own = self._names.get((_TYPE, kind)) or label("OWNER_TYPE_ID", kind)
                self._names[kind, i] = f"{'user' if kind == USER_TYPE else own} {i}"
                missing.setdefault(reason, []).append(self._names[kind, i])
        _warn(missing)
        return self._names


def read_links(ids: Iterable[object], portal: Portal, backend: Backend) -> pd.DataFrame:
    """Return the CRM objects that activities are linked to, one row each, by activity."""
    wanted = {str(i): i for i in parse_ids(ids)}
    commands = {name: (_LINKS, {"activityId": i}) for name, i in wanted.items()}
    found: dict[int, list[Any]] = {}
    missing: list[str] = []
    run = portal.run(CommandQueue(commands.items()))
    for answers in run:
        for name, answer in answers.items():
            rows = rows_of(answer)
            if isinstance(answer, PortalError):
                if answer.code.upper() not in _OF_ONE_ACTIVITY:
                    raise answer
                missing.append(f"{name} ({one_line(answer.description)})")
            elif rows is not None and all(isinstance(row, dict) for row in rows):
                found[wanted[name]] = rows
            elif not run.reject(name, commands[name]):
                missing.append(f"{name} ({short_repr(answer)} in place of a list)")
    if missing:
        links = "the links of " + count(len(missing), "activity")
        message = f"{links} could not be read: {name_some(missing)}"
        warn_at_caller(message, MissingActivitiesWarning)
    rows = [
        {"ID": i, "OWNER_TYPE_ID": row.get("entityTypeId"), "OWNER_ID": row.get("entityId")}
        for i in wanted.values()
        for row in found.get(i, ())
    ]
    report = ReadReport(len(wanted), fetched=len(found), http_requests=run.requests)
    layout = Layout(tuple(_LINK), dtype_backend=backend)
    return build_table(rows, _LINK, layout, attrs_of(portal, report))


def _warn(missing: Mapping[str, Sequence[str]]) -> None:
    """Warn of users and owners without a name, by reason."""
    if any(missing.values()):
        named = [f"{name_some(names)} ({reason})" for reason, names in missing.items()]
        number = count(sum(map(len, missing.values())), "name")
        message = one_line(f"{number} could not be read: {'; '.join(named)}")
        warn_at_caller(message, NamesMissingWarning)


def _cached_as(kind: int) -> str:
    """Return the method under which names of a type are in the cache."""
    method = _command(kind, ())[0]
    return f"{method}.{kind}" if kind > USER_TYPE else method


def _command(kind: int, ids: Sequence[int]) -> Command:
    """Return the command that lists users or owners, of at most a page."""
    if kind == _TYPE:
        return "crm.enum.ownertype", {}
    if kind == USER_TYPE:
        return _list_users({"ID": ids})
    page = {"filter": {"@id": ids}, "order": {"id": "ASC"}, "start": -1}
    select = ["id", *_SELECT.get(kind, ("title",))]
    return "crm.item.list", {"entityTypeId": kind, "select": select, **page}


def _list_users(filters: Mapping[str, Any], order: str = "ASC", start: int = -1) -> Command:
    select = [name for name in USER if name != "FULL_NAME"]
    params = {"FILTER": filters, "select": select, "sort": "ID", "order": order, "start": start}
    return "user.get", params


def _parse(kind: int, ids: list[int], answer: Any) -> dict[int, str] | PortalError | None:
    """Return the names in a page by their ids; None: it is not what was asked for."""
    if isinstance(answer, PortalError):
        return answer
    rows = rows_of(answer.get("items") if kind > USER_TYPE and isinstance(answer, dict) else answer)
    if rows is None or not all(isinstance(row, dict) for row in rows):
        return None
    told = {id_of({"ID": row.get("id", row.get("ID"))}) or 0: name_in(row) for row in rows}
    # A portal that ignores the filter gives the first users that there are.
    return told if kind == _TYPE or told.keys() <= set(ids) else None

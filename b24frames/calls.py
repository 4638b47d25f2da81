"""`read_calls`: the statistics of telephony, complete, typed, one row a call.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/telephony/voximplant/statistic/voximplant-statistic-get.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, TypedDict

import pandas as pd

from b24frames import arguments
from b24frames.credentials import remove_tokens, scrub_traceback, without_query
from b24frames.filters import Alternative, Condition, Filters, Selection, parse_filters
from b24frames.frame import Layout
from b24frames.ids import chunks, parse_ids
from b24frames.keyset import Keyset, Range, Row
from b24frames.output import attrs_of, build_table
from b24frames.portal import Portal, as_portal
from b24frames.portal.commands import Command
from b24frames.records import PAGE, ReadReport
from b24frames.schema import CALL, Backend, Wire
from b24frames.walk import belongs, holds

_ACTIVITIES_A_PAGE = 40  # few have more than one row, so that a page holds them
_ADDRESSES = ("CALL_RECORD_URL", "CALL_LOG")
# To the portal, addresses have the tokens that no frame shows.
_FIELDS = {name: field for name, field in CALL.items() if name not in _ADDRESSES}


class CallOptions(TypedDict, total=False):
    """The keywords of `read_calls`."""

    filters: Filters | None
    dtype_backend: Backend
    tz: str | tzinfo


@scrub_traceback
def read_calls(
    activities: object = None,
    portal: Portal | str | None = None,
    *,
    filters: Filters | None = None,
    dtype_backend: Backend = "numpy_nullable",
    tz: str | tzinfo = "UTC",
) -> pd.DataFrame:
    """Read the statistics of calls of a portal's telephony into a typed DataFrame.

    Parameters
    ----------
    activities : int, str of digits, or iterable of them, optional
        The activities whose calls are read; by default all calls, also those without an activity.
    portal : Portal or str, optional
        As of `read_activities`.
    filters : list of tuple, or list of list of tuple, optional
        Conditions on the fields in `schema.CALL`, in the form of `find_activities`.
    dtype_backend : {"numpy_nullable", "pyarrow"}, default "numpy_nullable"
        As of `read_activities`.
    tz : str or tzinfo, default "UTC"
        The zone of CALL_START_DATE, and of dates in `filters` without one.

    Returns
    -------
    pandas.DataFrame, shape (m, 28)
        One row for each call, ascending by ID, which is the index. An activity has several where
        the call was transferred, and none where telephony did not make it. CALL_DURATION is the
        length of the talk [s], also of calls that were planned.

    Raises
    ------
    TypeError, ValueError
        An argument that is not accepted; before any request.
    PermissionDeniedError
        The webhook lacks the scope ``telephony``, or its user may not see the statistics.
    InvalidAnswerError
        Pages are not those that were asked for.
    PortalError
        The portal refused, or was out of reach.

    Warns
    -----
    BadValueWarning
        Values that cannot be understood became NA.

    Notes
    -----
    What there was when the call began is in the frame, once: pages are read by ID and never by
    offset [1]_. A user who may see only his own or his department's calls gets only these, without
    a word. Addresses of recordings and logs come without the tokens that open them.

    References
    ----------
    .. [1] https://apidocs.bitrix24.com/api-reference/telephony/voximplant/statistic/voximplant-statistic-get.html

    Examples
    --------
    >>> calls = read_calls(None, portal, filters=[("CALL_TYPE", "==", "incoming")])
    >>> calls.groupby("CALL_FAILED_CODE")["CALL_DURATION"].sum().to_dict()["304"]
    0
    """
    tz = arguments.check_tz(tz)
    alternatives = parse_filters(filters, tz, _FIELDS)
    wanted = None if activities is None else parse_ids(activities)
    layout = Layout(tuple(CALL), dtype_backend=arguments.check_backend(dtype_backend), tz=tz)
    portal = as_portal(portal)
    rows: dict[int, Row] = {}
    report = ReadReport()
    for alternative in alternatives:
        found = Keyset(portal, _list_calls, in_batches=alternative[0].fits_batch)
        _read(found, alternative[0], wanted)
        report.http_requests += found.requests
        rows |= {i: row for i, row in found.rows.items() if _matches(alternative, i, row)}
    report.requested = report.fetched = len(rows)
    sent = [json.dumps(_without_tokens(rows[i])) for i in sorted(rows)]
    clean = [json.loads(remove_tokens(text.encode())) for text in sent]
    return build_table(clean, CALL, layout, attrs_of(portal, report))


def _list_calls(filters: Mapping[str, Any], order: str, start: int) -> Command:
    params = {"FILTER": filters, "SORT": "ID", "ORDER": order, "start": start}
    return "voximplant.statistic.get", params


def _read(calls: Keyset, selection: Selection, activities: Sequence[int] | None) -> None:
    """Read at least what a selection matches: the portal has fewer operators than we."""
    filters = {
        condition.key.replace("@", ""): condition.wire
        for condition in selection.conditions
        if "!" not in condition.prefix
    }
    if activities is not None:
        some = chunks(activities, _ACTIVITIES_A_PAGE)
        calls.read(Range({**filters, "CRM_ACTIVITY_ID": part}) for part in some)
    elif selection.ids is not None:
        # One less than a page: so none is full, and no other has to be asked for.
        calls.read(Range({**filters, "ID": part}) for part in chunks(selection.ids, PAGE - 1))
    else:
        calls.read_all(Range(filters, selection.first - 1, selection.last))


def _matches(alternative: Alternative, i: int, row: Row) -> bool:
    """Return whether a row matches by our rules."""
    return all(
        selection.first <= i <= selection.last
        and (selection.ids is None or i in selection.ids)
        and all(_holds(condition, row) for condition in selection.conditions)
        and belongs(selection.conditions, row)
        for selection in alternative
    )


def _holds(condition: Condition, row: Row) -> bool:
    if CALL[condition.field].wire is not Wire.TEXT:
        return holds(condition, row, exact=True)
    text = str(row.get(condition.field) or "").casefold()
    values = [value.casefold() for value in condition.values]
    if condition.prefix == "%":
        return values[0] in text
    return (text in values) is ("!" not in condition.prefix)


def _without_tokens(row: Row) -> Row:
    addresses = {name: row[name] for name in _ADDRESSES if isinstance(row.get(name), str)}
    return {**row, **{name: without_query(address) for name, address in addresses.items()}}

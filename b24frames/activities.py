"""`read_activities`, `find_activities`: ids or filters in, typed DataFrame out."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import tzinfo
from itertools import repeat
from tempfile import TemporaryFile
from typing import Any, Literal, TypedDict, Unpack, overload

import pandas as pd

from b24frames import arguments
from b24frames.arguments import ProgressBar
from b24frames.by_filter import Search, count_matches
from b24frames.by_id import Freshness, Via, fetch_records
from b24frames.credentials import scrub_traceback
from b24frames.errors import MissingActivitiesError, MissingActivitiesWarning
from b24frames.filters import Alternative, Filters, parse_filters
from b24frames.frame import Layout
from b24frames.ids import parse_column, parse_ids
from b24frames.messages import name_some, warn_at_caller
from b24frames.output import (
    CachePlace,
    attrs_of,
    build_frame,
    check_cache,
    iter_frames,
    open_cache,
    progress_bar,
)
from b24frames.portal import Portal, as_portal
from b24frames.records import ReadReport, Records, SpooledRecords
from b24frames.schema import Backend, OnBadValue

Missing = Literal["raise", "warn", "ignore", "keep"]


class _Options(TypedDict, total=False):
    """The keywords that reading and finding share."""

    columns: Iterable[str] | None
    index_col: str | None
    dtype_backend: Backend
    tz: str | tzinfo
    on_bad_value: OnBadValue
    cache: CachePlace
    progress: bool | ProgressBar | None


class ReadOptions(_Options, total=False):
    """The keywords of `read_activities`, but for ``chunksize``."""

    missing: Missing
    max_age: Any
    only_if_cached: bool
    stale_if_error: bool
    via: Via


class FindOptions(_Options, total=False):
    """The keywords of `find_activities`, but for ``chunksize``."""

    limit: int | None


@dataclass(frozen=True)
class _Request:
    """A call of `read_activities` whose arguments have been checked."""

    ids: list[int]
    portal: Portal
    layout: Layout
    freshness: Freshness
    missing: Missing
    cache: CachePlace
    via: Via
    chunksize: int | None
    progress: bool | ProgressBar | None


# Only chunksize decides about the type of the result: the other keywords are typed once, above.
@overload
def read_activities(
    ids: object,
    portal: Portal | str | None = ...,
    *,
    chunksize: None = ...,
    **options: Unpack[ReadOptions],
) -> pd.DataFrame: ...
@overload
def read_activities(
    ids: object,
    portal: Portal | str | None = ...,
    *,
    chunksize: int,
    **options: Unpack[ReadOptions],
) -> Iterator[pd.DataFrame]: ...
@scrub_traceback
def read_activities(
    ids: object,
    portal: Portal | str | None = None,
    *,
    columns: Iterable[str] | None = None,
    index_col: str | None = "ID",
    dtype_backend: Backend = "numpy_nullable",
    tz: str | tzinfo = "UTC",
    missing: Missing = "warn",
    on_bad_value: OnBadValue = "warn",
    cache: CachePlace = True,
    max_age: Any = "1h",
    only_if_cached: bool = False,
    stale_if_error: bool = False,
    via: Via = "get",
    chunksize: int | None = None,
    progress: bool | ProgressBar | None = None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Read activities of a Bitrix24 portal into a typed DataFrame.

    Parameters
    ----------
    ids : int, str of digits, or iterable of them
        The activities: a single id, or any iterable of ids (range, generator, ndarray, Series,
        Index). Duplicates are read once.
    portal : Portal or str, optional
        The portal, or the URL of an incoming webhook; by default the URL in the environment
        variable ``B24_WEBHOOK_URL``.
    columns : iterable of str, optional
        The fields to keep, in that order; by default all. The field that becomes the index is not
        among the columns.
    index_col : str or None, default "ID"
        The field that becomes the index; None for a RangeIndex, and ID as a column.
    dtype_backend : {"numpy_nullable", "pyarrow"}, default "numpy_nullable"
        The family of dtypes; ``"pyarrow"`` needs the extra ``arrow``.
    tz : str or tzinfo, default "UTC"
        The zone of every datetime column; instants never change.
    missing : {"warn", "raise", "ignore", "keep"}, default "warn"
        What to do about ids without a record; ``"keep"`` gives each a row of NA.
    on_bad_value : {"warn", "raise"}, default "warn"
        What to do about a value that cannot be understood: NA and a warning, or an error.
    cache : bool, path-like or ActivityCache, default True
        The default cache (True), none (False), or the cache at a path.
    max_age : str, timedelta, 0 or None, default "1h"
        The greatest age of cache entries, as anything `pandas.Timedelta` takes; 0 to read all from
        the portal; None for any age. Entries of missing ids are used for ten minutes at most.
    only_if_cached : bool, default False
        Send no request; ids that are not in the cache are missing.
    stale_if_error : bool, default False
        If the portal is out of reach, use older entries, with a warning; an id without any entry
        is then an error.
    via : {"get", "list"}, default "get"
        The REST method: ``crm.activity.get`` [1]_, 50 ids a request, or ``crm.activity.list``
        [2]_, 2 500 ids a request. One of the ids is read by both, and the results are compared.
    chunksize : int, optional
        Return an iterator of frames of so many rows instead of one frame, all with the same
        columns and dtypes. With `columns`, a frame comes as soon as its rows are there; without,
        everything is fetched first, into a temporary file, for the columns are not known before.
    progress : bool or ProgressBar, optional
        Whether to show a progress bar; by default in notebooks and terminals after a second. Or a
        bar of your own, with the methods ``update(n)`` and ``set_postfix_str(text)`` of tqdm; an
        exception that they raise ends the read.

    Returns
    -------
    pandas.DataFrame, shape (m, k)
        One row for each distinct id with a record, in the order of first appearance. The same
        columns and dtypes whatever the data: the 39 fields of the method's page [1]_, then
        fields that only some portals send. Or an iterator of such frames.

    Raises
    ------
    TypeError, ValueError
        An invalid argument; before any request.
    ImportError
        ``dtype_backend="pyarrow"`` without pyarrow.
    MissingActivitiesError
        Some ids have no record, and ``missing="raise"``.
    BadValueError
        A value cannot be understood, and ``on_bad_value="raise"``.
    PortalError
        The portal refused, or was out of reach; the records received are in the cache.

    Warns
    -----
    MissingActivitiesWarning, BadValueWarning, StaleDataWarning, CacheWarning, MethodsDifferWarning
        What the names say; the messages name the ids.

    Notes
    -----
    Every answer is cached at once, so an interrupted read, repeated, goes on where it stopped.
    ``df.attrs["b24"]`` and ``df.b24.report`` tell what was read, from where, and what is missing
    and why.

    References
    ----------
    .. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
    .. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html

    Examples
    --------
    >>> df = read_activities([3, 1, 2], portal, columns=["TYPE_ID", "COMPLETED"])
    >>> df.dtypes
    TYPE_ID        Int64
    COMPLETED    boolean
    dtype: object
    >>> df.index
    Index([3, 1, 2], dtype='Int64', name='ID')
    """
    portal = as_portal(portal)
    if cache is False and (only_if_cached or stale_if_error):
        raise ValueError("cache=False leaves only_if_cached and stale_if_error nothing to read")
    # Not in `_read`: a generator would check its arguments only when it is iterated over.
    request = _Request(
        ids=parse_ids(ids),
        portal=portal,
        layout=_check_layout(columns, index_col, dtype_backend, tz, on_bad_value),
        freshness=Freshness(
            arguments.parse_age(max_age, "max_age"),
            arguments.check_choice("only_if_cached", only_if_cached, Literal[True, False]),
            arguments.check_choice("stale_if_error", stale_if_error, Literal[True, False]),
        ),
        missing=arguments.check_choice("missing", missing, Missing),
        cache=check_cache(cache),
        via=arguments.check_choice("via", via, Via),
        chunksize=arguments.check_rows("chunksize", chunksize),
        progress=arguments.check_progress(progress),
    )
    frames = _read(request)
    return next(frames) if chunksize is None else frames


def _check_layout(
    columns: Any, index_col: Any, dtype_backend: Any, tz: Any, on_bad_value: Any
) -> Layout:
    """Return the layout of frames of activities, or raise."""
    return Layout(
        columns=arguments.check_columns(columns),
        index_col=arguments.check_index_col(index_col),
        dtype_backend=arguments.check_backend(dtype_backend),
        tz=arguments.check_tz(tz),
        on_bad_value=arguments.check_choice("on_bad_value", on_bad_value, OnBadValue),
    )


def _read(request: _Request) -> Iterator[pd.DataFrame]:
    """Fetch the records and yield their frames: one, or one per chunk."""
    records: Records = {}
    report = ReadReport(requested=len(request.ids))
    with ExitStack() as stack:
        # Only frames of chunks have to fit in memory.
        if request.chunksize is not None:
            records = SpooledRecords(stack.enter_context(TemporaryFile()))
        # Closed here: after an interruption the run still has answers to cache.
        steps = stack.enter_context(closing(_ready(request, records, report, stack)))
        ready: Iterator[list[int]] = steps
        # Frames can go out early if their columns are known and no missing id makes them an error.
        is_all_known = request.layout.columns is not None and request.missing != "raise"
        streams = request.chunksize is not None and is_all_known
        if not streams:
            ready = iter([[i for ids in steps for i in ids]])
            _report_missing(request, records, report)
        # Computed anew for each frame, since the report grows.
        attrs = (attrs_of(request.portal, report) for _ in repeat(None))
        yield from iter_frames(records, ready, request.chunksize, request.layout, attrs)
        if streams:
            _report_missing(request, records, report)


def _ready(
    request: _Request, records: Records, report: ReadReport, stack: ExitStack
) -> Generator[list[int]]:
    """Fetch the records; yield the ids of rows, in the order given, as they arrive."""
    cache = open_cache(request.cache, request.portal, stack)
    done, ids, keep = 0, request.ids, request.missing == "keep"
    with progress_bar(len(ids), request.progress) as bar:
        fetched = fetch_records(
            ids, request.portal, cache, records, request.freshness, request.via, bar, report
        )
        for _ in stack.enter_context(closing(fetched)):
            # Answers come in any order: a row waits for those before it.
            start = done
            while done < len(ids) and (ids[done] in records or ids[done] in report.missing):
                done += 1
            yield [i for i in ids[start:done] if keep or i in records]


def _report_missing(request: _Request, records: Records, report: ReadReport) -> None:
    """Report the ids without a record as `missing` says."""
    if not report.missing or request.missing in ("ignore", "keep"):
        return
    named = [f"{i} ({reason})" for i, reason in report.missing.items()]
    message = f"{len(named)} of {report.requested} activities have no record: {name_some(named)}"
    if request.missing == "warn":
        warn_at_caller(message, MissingActivitiesWarning)
        return
    # The error carries the rows that were found, for callers who want to go on with them.
    found = [i for i in request.ids if i in records]
    frame = build_frame(records, found, request.layout, attrs_of(request.portal, report))
    raise MissingActivitiesError(message, list(report.missing), frame)


@overload
def find_activities(
    filters: Filters | None = ...,
    portal: Portal | str | None = ...,
    *,
    chunksize: None = ...,
    **options: Unpack[FindOptions],
) -> pd.DataFrame: ...
@overload
def find_activities(
    filters: Filters | None = ...,
    portal: Portal | str | None = ...,
    *,
    chunksize: int,
    **options: Unpack[FindOptions],
) -> Iterator[pd.DataFrame]: ...
@scrub_traceback
def find_activities(
    filters: Filters | None = None,
    portal: Portal | str | None = None,
    *,
    columns: Iterable[str] | None = None,
    index_col: str | None = "ID",
    dtype_backend: Backend = "numpy_nullable",
    tz: str | tzinfo = "UTC",
    on_bad_value: OnBadValue = "warn",
    cache: CachePlace = True,
    limit: int | None = None,
    chunksize: int | None = None,
    progress: bool | ProgressBar | None = None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Find the activities that match conditions, as a typed DataFrame.

    Parameters
    ----------
    filters : list of tuple, or list of list of tuple, optional
        Conditions (field, operator, value) that must all hold, as in `pandas.read_parquet`; a list
        of such lists: one of them must hold; by default all activities that the user may see.
        Operators: ``==``, ``!=``, ``>``, ``>=``, ``<``, ``<=``, ``in``, ``not in``, and for text
        ``contains``. Enumerations take codes or labels (``"call"``). Dates without a zone are
        in `tz`. ``("BINDINGS", "in", [("deal", 5), ("company", None)])``: linked to any of these.
        ``("DEADLINE", "==", None)``: no deadline.
    portal : Portal or str, optional
        As in `read_activities`.
    columns : iterable of str, optional
        The fields to request and to keep, in that order; by default whole records.
        ``COMMUNICATIONS``, ``FILES`` and ``IS_INCOMING_CHANNEL`` may be among them.
    index_col, dtype_backend, tz, on_bad_value : optional
        As in `read_activities`.
    cache : bool, path-like or ActivityCache, default True
        The cache that stores whole records for later reads by id; unused with `columns`.
    limit : int, optional
        The largest number of rows: those of the highest ids, in descending order.
    chunksize : int, optional
        Return an iterator of frames of so many rows, all with the same columns and dtypes. With
        `columns`, each is yielded as soon as its rows have arrived.
    progress : bool or ProgressBar, optional
        As in `read_activities`.

    Returns
    -------
    pandas.DataFrame, shape (m, k)
        One row for each activity, ascending by ID; columns and dtypes as in `read_activities`. Or
        an iterator of such frames.

    Raises
    ------
    TypeError, ValueError
        An invalid argument; before any request.
    InvalidAnswerError
        The portal ignored a condition, or returned other pages than those requested.
    PortalError
        The portal refused, or was out of reach; the whole records received are in the cache.
    BadValueError
        A value cannot be understood, and ``on_bad_value="raise"``.

    Warns
    -----
    BadValueWarning, CacheWarning
        What the names say; the messages name the ids.

    Notes
    -----
    An activity that matches throughout the call is in the frame, once, whatever is created, changed
    or deleted meanwhile; one that begins or ceases to match meanwhile may be. The result has what
    the user of the webhook may read. ``!=`` and ``not in`` include rows in which the field is
    empty, and text is compared without regard to case, both as in the portal [1]_.

    References
    ----------
    .. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html

    Examples
    --------
    >>> filters = [("TYPE_ID", "==", "call"), ("CREATED", ">=", "2022-06-01")]
    >>> df = find_activities(filters, portal, columns=["SUBJECT", "CREATED"])
    >>> df.columns.tolist()
    ['SUBJECT', 'CREATED']
    """
    layout = _check_layout(columns, index_col, dtype_backend, tz, on_bad_value)
    alternatives = parse_filters(filters, layout.tz)
    arguments.check_rows("limit", limit)
    arguments.check_rows("chunksize", chunksize)
    cache, progress = check_cache(cache), arguments.check_progress(progress)
    portal = as_portal(portal)  # no frame of a traceback keeps the address
    frames = _find(portal, alternatives, layout, cache, limit, chunksize, progress)
    return next(frames) if chunksize is None else frames


def _find(
    portal: Portal,
    alternatives: list[Alternative],
    layout: Layout,
    cache: CachePlace,
    limit: int | None,
    chunksize: int | None,
    progress: bool | ProgressBar | None,
) -> Iterator[pd.DataFrame]:
    """Search, and yield the frames: one, or one per chunk."""
    records: Records = {}
    with ExitStack() as stack:
        if chunksize is not None:
            records = SpooledRecords(stack.enter_context(TemporaryFile()))
        names = layout.columns
        if names is not None and layout.index_col is not None:
            names = (layout.index_col, *names)
        # The cache has whole records only.
        opened = open_cache(cache if names is None else False, portal, stack)
        bar = stack.enter_context(progress_bar(1, progress))
        search = Search(portal, alternatives, names, opened, records, bar, limit)
        ready = stack.enter_context(closing(iter(search)))
        # So that a saved frame still says which conditions it answers.
        sent = {"filters": [[s.as_json() for s in selections] for selections in alternatives]}
        attrs = (attrs_of(portal, search.report) | sent for _ in repeat(None))
        yield from iter_frames(records, ready, chunksize, layout, attrs)


@scrub_traceback
def count_activities(
    filters: Filters | None = None,
    portal: Portal | str | None = None,
    *,
    tz: str | tzinfo = "UTC",
) -> int:
    """Count the activities that match conditions, in one request if possible.

    Parameters
    ----------
    filters : list of tuple, or list of list of tuple, optional
        As in `find_activities`.
    portal : Portal or str, optional
        As in `read_activities`.
    tz : str or tzinfo, default "UTC"
        The zone of dates without one in `filters`.

    Returns
    -------
    int
        The number that the user of the webhook may see. Alternatives, known ids, links and
        comparisons with 0 are counted by walking through the ids.

    Raises
    ------
    ValueError
        An invalid argument; before any request.
    PortalError
        As in `find_activities`.

    Examples
    --------
    >>> count_activities([("ID", "<=", 6)], portal)
    6
    """
    alternatives = parse_filters(filters, arguments.check_tz(tz))
    portal = as_portal(portal)  # as above
    return count_matches(portal, alternatives)


def read_aligned(ids: pd.Series, portal: Portal, options: ReadOptions) -> pd.DataFrame:
    """Read the distinct ids once, and return a frame aligned with `ids`."""
    for name in ("index_col", "chunksize"):
        if name in options:
            raise TypeError(f"{name} is not accepted here: the frame has the index of the ids")
    names = arguments.check_columns(options.get("columns"))
    needed = None if names is None else dict.fromkeys((*names, "ID"))
    options = {**options, "columns": needed, "index_col": None}
    # Gaps become rows of NA, and duplicates share one record.
    wanted = parse_column(None if na else value for value, na in zip(ids, ids.isna(), strict=True))
    distinct = [i for i in dict.fromkeys(wanted) if i is not None]
    frame = read_activities(distinct, portal, **options)
    rows = {i: row for row, i in enumerate(frame["ID"])}
    # No row has the label -1: reindex puts NA there.
    aligned: pd.DataFrame = frame.reindex([rows.get(i, -1) for i in wanted])
    # In columns of objects reindex puts NaN, but missing values are None there.
    for name in aligned.select_dtypes("object").columns:
        aligned[name] = aligned[name].where(aligned[name].notna(), None)
    aligned.index = ids.index
    return aligned if names is None else aligned[list(names)]

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
from b24frames.credentials import hiding_arguments
from b24frames.errors import (
    MissingActivitiesError,
    MissingActivitiesWarning,
)
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
from b24frames.records import Entries, ReadReport, Records, SpooledRecords
from b24frames.schema import Backend, OnBadValue

Missing = Literal["raise", "warn", "ignore", "keep"]


class ReadOptions(TypedDict, total=False):
    """The keywords of `read_activities`, but for ``chunksize``."""

    columns: Iterable[str] | None
    index_col: str | None
    dtype_backend: Backend
    tz: str | tzinfo
    missing: Missing
    on_bad_value: OnBadValue
    cache: CachePlace
    max_age: Any
    only_if_cached: bool
    stale_if_error: bool
    via: Via
    progress: bool | ProgressBar | None


class FindOptions(TypedDict, total=False):
    """The keywords of `find_activities`, but for ``chunksize``."""

    columns: Iterable[str] | None
    index_col: str | None
    dtype_backend: Backend
    tz: str | tzinfo
    on_bad_value: OnBadValue
    cache: CachePlace
    limit: int | None
    progress: bool | ProgressBar | None


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
@hiding_arguments
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
        The fields to keep, in that order; by default all. The one that becomes the index is no
        column.
    index_col : str or None, default "ID"
        The field that becomes the index; None: a RangeIndex, and ID stays a column.
    dtype_backend : {"numpy_nullable", "pyarrow"}, default "numpy_nullable"
        The family of dtypes; ``"pyarrow"`` needs the extra ``arrow``.
    tz : str or tzinfo, default "UTC"
        The zone of every datetime column; instants never change.
    missing : {"warn", "raise", "ignore", "keep"}, default "warn"
        What to do about ids without a record; ``"keep"`` gives each a row of NA.
    on_bad_value : {"warn", "raise"}, default "warn"
        What to do about a value that cannot be understood: NA and a warning, or an error.
    cache : bool, path-like or ActivityCache, default True
        Where entries are kept: the default cache, nowhere (False), or at a path.
    max_age : str, timedelta, 0 or None, default "1h"
        The oldest cache entry to accept, as anything `pandas.Timedelta` takes; 0: always ask the
        portal; None: any age. That an id has no record is believed for ten minutes at most.
    only_if_cached : bool, default False
        Never ask the portal; ids that are not in the cache are missing.
    stale_if_error : bool, default False
        When the portal is out of reach, take older entries, with a warning; an id without any
        entry is then an error.
    via : {"get", "list"}, default "get"
        The REST method: ``crm.activity.get`` [1]_, 50 ids a request, or ``crm.activity.list``
        [2]_, 2 500 ids a request. One of the ids is asked for by both, and compared.
    chunksize : int, optional
        Return an iterator of frames of so many rows in place of one frame, all with the same
        columns and dtypes. Everything is fetched first, into a temporary file.
    progress : bool or ProgressBar, optional
        Show a progress bar; by default in notebooks and terminals when it takes a while. Or a bar
        of your own: an object with the methods ``update(n)`` and ``set_postfix_str(text)`` of
        tqdm's; what they raise ends the read.

    Returns
    -------
    pandas.DataFrame, shape (m, k)
        One row for each distinct id with a record, in the order of first appearance. The same
        columns and dtypes whatever the data: the 39 fields of the method's page [1]_, then
        fields that only some portals send. Or an iterator of such frames.

    Raises
    ------
    TypeError, ValueError
        An argument that is not accepted; before any request.
    ImportError
        ``dtype_backend="pyarrow"`` without pyarrow.
    MissingActivitiesError
        Some ids have no record, and ``missing="raise"``.
    BadValueError
        A value cannot be understood, and ``on_bad_value="raise"``.
    PortalError
        The portal refused, or was out of reach; what had been received is in the cache.

    Warns
    -----
    MissingActivitiesWarning, BadValueWarning, StaleDataWarning, CacheWarning, MethodsDifferWarning
        What the names say; the messages name the ids.

    Notes
    -----
    Every answer is cached as soon as it is there, so an interrupted read goes on where it stopped
    when it is asked for again. ``df.attrs["b24"]`` and ``df.b24.report`` tell what was read, from
    where, and what is missing and why.

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
    request = _Request(
        ids=parse_ids(ids),
        portal=portal,
        layout=Layout(
            columns=arguments.check_columns(columns),
            index_col=arguments.check_index_col(index_col),
            dtype_backend=arguments.check_backend(dtype_backend),
            tz=arguments.check_tz(tz),
            on_bad_value=arguments.check_choice("on_bad_value", on_bad_value, OnBadValue),
        ),
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


def _read(request: _Request) -> Iterator[pd.DataFrame]:
    """Fetch the records and yield their frames: one, or one for each chunk of rows."""
    records: Records = {}
    report = ReadReport(requested=len(request.ids))
    with ExitStack() as stack:
        if request.chunksize is not None:
            records = SpooledRecords(stack.enter_context(TemporaryFile()))
        # Closed here, since an interruption would else leave open what has answers to keep.
        steps = stack.enter_context(closing(_ready(request, records, report, stack)))
        ready: Iterator[list[int]] = steps
        streams = request.layout.columns is not None and request.missing != "raise"
        if request.chunksize is None or not streams:
            ready = iter([[i for ids in steps for i in ids]])
            _report_missing(request, records, report)
        attrs = (attrs_of(request.portal, report) for _ in repeat(None))
        if request.chunksize is None:
            yield build_frame(records, next(ready), request.layout, next(attrs))
            return
        yield from iter_frames(records, ready, request.chunksize, request.layout, attrs)
        if streams:
            _report_missing(request, records, report)


def _ready(
    request: _Request, records: Records, report: ReadReport, stack: ExitStack
) -> Generator[list[int]]:
    """Fetch the records; yield ids that have a row, in the order asked for, once they are there."""
    cache = open_cache(request.cache, request.portal, stack)
    done, ids, keep = 0, request.ids, request.missing == "keep"
    with progress_bar(len(ids), request.progress) as bar:
        fetched = fetch_records(
            ids, request.portal, cache, records, request.freshness, request.via, bar, report
        )
        for _ in stack.enter_context(closing(fetched)):
            start = done
            while done < len(ids) and (ids[done] in records or ids[done] in report.missing):
                done += 1
            yield [i for i in ids[start:done] if keep or i in records]


def _report_missing(request: _Request, records: Records, report: ReadReport) -> None:
    """Name the ids without a record, as the caller chose."""
    if not report.missing or request.missing in ("ignore", "keep"):
        return
    named = [f"{i} ({reason})" for i, reason in report.missing.items()]
    message = f"{len(named)} of {report.requested} activities have no record: {name_some(named)}"
    if request.missing == "warn":
        warn_at_caller(message, MissingActivitiesWarning)
        return
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
@hiding_arguments
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
        of such lists: one of them must hold; by default every activity that the user may see.
        Operators: ``==``, ``!=``, ``>``, ``>=``, ``<``, ``<=``, ``in``, ``not in``, and for text
        ``contains``. Enumerations take codes or labels (``"call"``). Dates without a zone are meant
        in `tz`. ``("BINDINGS", "in", [("deal", 5), ("company", None)])``: linked to any of these.
        ``("DEADLINE", "==", None)``: no deadline.
    portal : Portal or str, optional
        As of `read_activities`.
    columns : iterable of str, optional
        The fields to ask for and to keep, in that order; by default whole records.
        ``COMMUNICATIONS``, ``FILES`` and ``IS_INCOMING_CHANNEL`` may be among them.
    index_col, dtype_backend, tz, on_bad_value : optional
        As of `read_activities`.
    cache : bool, path-like or ActivityCache, default True
        Where whole records are kept for later reads by id; with `columns`, nothing is.
    limit : int, optional
        At most so many, those of the highest ids, and in descending order.
    chunksize : int, optional
        Return an iterator of frames of so many rows, all with the same columns and dtypes. With
        `columns`, each comes as soon as its rows are there.
    progress : bool or ProgressBar, optional
        As of `read_activities`.

    Returns
    -------
    pandas.DataFrame, shape (m, k)
        One row for each activity, ascending by ID; columns and dtypes as of `read_activities`. Or
        an iterator of such frames.

    Raises
    ------
    TypeError, ValueError
        An argument that is not accepted; before any request.
    InvalidAnswerError
        The portal ignored a condition, or its pages are not those asked for.
    PortalError
        The portal refused, or was out of reach; whole records that had come are in the cache.
    BadValueError
        A value cannot be understood, and ``on_bad_value="raise"``.

    Warns
    -----
    BadValueWarning, CacheWarning
        What the names say; the messages name the ids.

    Notes
    -----
    What matched from the beginning to the end of the call is in the frame, once, whatever is
    created, changed or deleted meanwhile; what began or ceased to match meanwhile may be. The user
    of the webhook sees what he may read. ``!=`` and ``not in`` include rows in which the field is
    empty, and text is compared without regard to case, both as the portal does it [1]_.

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
    tz = arguments.check_tz(tz)
    alternatives = parse_filters(filters, tz)
    layout = Layout(
        columns=arguments.check_columns(columns),
        index_col=arguments.check_index_col(index_col),
        dtype_backend=arguments.check_backend(dtype_backend),
        tz=tz,
        on_bad_value=arguments.check_choice("on_bad_value", on_bad_value, OnBadValue),
    )
    arguments.check_rows("limit", limit)
    arguments.check_rows("chunksize", chunksize)
    cache, progress = check_cache(cache), arguments.check_progress(progress)
    frames = _find(as_portal(portal), alternatives, layout, cache, limit, chunksize, progress)
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
    """Search, and yield the frames: one, or one for each chunk of rows."""
    records: Records = {}
    with ExitStack() as stack:
        if chunksize is not None:
            records = SpooledRecords(stack.enter_context(TemporaryFile()))
        names = layout.columns
        if names is not None and layout.index_col is not None:
            names = (layout.index_col, *names)
        place = open_cache(cache if names is None else False, portal, stack)
        entries = Entries(place, portal)
        bar = stack.enter_context(progress_bar(1, progress))
        search = Search(portal, alternatives, names, entries, records, bar, limit)
        ready = stack.enter_context(closing(iter(search)))
        sent = {"filters": [[s.as_json() for s in selections] for selections in alternatives]}
        attrs = (attrs_of(portal, search.report) | sent for _ in repeat(None))
        if chunksize is None:
            ids = [i for some in ready for i in some]
            entries.warn()
            yield build_frame(records, ids, layout, next(attrs))
        else:
            yield from iter_frames(records, ready, chunksize, layout, attrs)
            entries.warn()


@hiding_arguments
def count_activities(
    filters: Filters | None = None,
    portal: Portal | str | None = None,
    *,
    tz: str | tzinfo = "UTC",
) -> int:
    """Count the activities that match conditions: in one request, where the portal can.

    Parameters
    ----------
    filters : list of tuple, or list of list of tuple, optional
        As of `find_activities`.
    portal : Portal or str, optional
        As of `read_activities`.
    tz : str or tzinfo, default "UTC"
        The zone of dates without one.

    Returns
    -------
    int
        How many the user of the webhook may see. Alternatives, known ids, links and comparisons
        with 0 are counted by walking through the ids.

    Raises
    ------
    ValueError
        An argument that is not accepted; before any request.
    PortalError
        As of `find_activities`.

    Examples
    --------
    >>> count_activities([("ID", "<=", 6)], portal)
    6
    """
    alternatives = parse_filters(filters, arguments.check_tz(tz))
    return count_matches(as_portal(portal), alternatives)


def read_aligned(ids: pd.Series, portal: Portal, options: ReadOptions) -> pd.DataFrame:
    """Read the distinct ids once, and give each position its row."""
    for name in ("index_col", "chunksize"):
        if name in options:
            raise TypeError(f"{name} is not accepted here: the frame has the index of the ids")
    names = arguments.check_columns(options.get("columns"))
    needed = None if names is None else dict.fromkeys((*names, "ID"))
    options = {**options, "columns": needed, "index_col": None}
    wanted = parse_column(None if na else value for value, na in zip(ids, ids.isna(), strict=True))
    distinct = [i for i in dict.fromkeys(wanted) if i is not None]
    frame = read_activities(distinct, portal, **options)
    rows = {i: row for row, i in enumerate(frame["ID"])}
    aligned: pd.DataFrame = frame.reindex([rows.get(i, -1) for i in wanted])
    for name in aligned.select_dtypes("object").columns:  # pandas has put NaN there
        aligned[name] = aligned[name].where(aligned[name].notna(), None)
    aligned.index = ids.index
    return aligned if names is None else aligned[list(names)]

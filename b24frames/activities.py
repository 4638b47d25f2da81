"""`read_activities`: ids in, typed DataFrame out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from datetime import tzinfo
from tempfile import TemporaryFile
from typing import Any, Literal, TypedDict, Unpack, overload

import pandas as pd

from b24frames import arguments
from b24frames.arguments import ProgressBar
from b24frames.cache import ActivityCache
from b24frames.credentials import hiding_arguments
from b24frames.errors import (
    CacheError,
    CacheWarning,
    MissingActivitiesError,
    MissingActivitiesWarning,
)
from b24frames.frame import Layout, build_frame_of_lines, sort_extras
from b24frames.ids import IdList, parse_column, parse_ids
from b24frames.messages import name_some, short_repr, warn_at_caller
from b24frames.portal import Portal, as_portal
from b24frames.records import (
    Freshness,
    ReadReport,
    Records,
    SpooledRecords,
    Via,
    fetch_records,
)
from b24frames.schema import Backend, OnBadValue
from b24frames.serialization import encode_record, extra_names

Missing = Literal["raise", "warn", "ignore", "keep"]
CachePlace = ActivityCache | str | os.PathLike[str] | bool


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
        cache=_check_cache(cache, needed=only_if_cached or stale_if_error),
        via=arguments.check_choice("via", via, Via),
        chunksize=arguments.check_chunksize(chunksize),
        progress=arguments.check_progress(progress),
    )
    frames = _read(request)
    return next(frames) if chunksize is None else frames


def _read(request: _Request) -> Iterator[pd.DataFrame]:
    """Fetch the records and yield their frames: one, or one for each chunk of rows."""
    records: Records = {}
    with ExitStack() as stack:
        if request.chunksize is not None:
            records = SpooledRecords(stack.enter_context(TemporaryFile()))
        report = _fetch(request, records)
        attrs = _attrs(request.portal, report)
        _report_missing(request, records, report, attrs)
        keep = request.missing == "keep"
        ids = [i for i in request.ids if keep or i in records]
        if request.chunksize is None:
            yield _frame(request, records, ids, attrs)
            return
        # All chunks have the columns of the whole, so the extra ones are looked for first.
        lines = records.values() if request.layout.columns is None else ()
        extras = sort_extras(extra_names(lines))
        for start in range(0, len(ids) or 1, request.chunksize):
            chunk = ids[start : start + request.chunksize]
            frame = _frame(request, records, chunk, attrs, extras)
            if request.layout.index_col is None:
                frame.index += start
            yield frame


def _fetch(request: _Request, records: Records) -> ReadReport:
    """Fetch the records of a request, with a progress bar, and close what was opened for it."""
    portal = request.portal
    with ExitStack() as stack:
        cache = _open_cache(request, stack)
        bar = stack.enter_context(_progress_bar(len(request.ids), request.progress))
        return fetch_records(
            request.ids,
            portal,
            cache,
            records,
            request.freshness,
            request.via,
            bar,
        )


def _check_cache(cache: CachePlace, *, needed: bool) -> CachePlace:
    """Return where entries are kept; not nowhere, where the caller wants to read them."""
    if not isinstance(cache, (ActivityCache, str, os.PathLike, bool)):
        kind = type(cache).__name__
        raise TypeError(
            f"cache is of type {kind}; accepted are True, False, a path or an ActivityCache"
        )
    if cache == "" or (isinstance(cache, str) and "\0" in cache):
        given = short_repr(cache)
        raise ValueError(f"cache={given} is not a path; accepted are True, False or a path")
    if cache is False and needed:
        raise ValueError("cache=False leaves only_if_cached and stale_if_error nothing to read")
    return cache


def _open_cache(request: _Request, stack: ExitStack) -> ActivityCache | None:
    """Return the cache of a request; one that is opened here is closed at the end."""
    cache = request.cache
    if isinstance(cache, ActivityCache) or cache is False:
        return cache or None
    try:
        opened = ActivityCache(request.portal.folder if cache is True else cache)
    except CacheError as error:
        warn_at_caller(f"{error}; this read goes on without it", CacheWarning)
        return None
    return stack.enter_context(closing(opened))


def _frame(
    request: _Request,
    records: Records,
    ids: Sequence[int],
    attrs: dict[str, Any],
    extras: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the frame of some of the records."""
    frame = build_frame_of_lines((_line(records, i) for i in ids), request.layout, extras)
    frame.attrs["b24"] = deepcopy(attrs)
    return frame


def _line(records: Records, i: int) -> bytes:
    """Take one record as it is kept; of a missing one only the id is known."""
    return records.pop(i, None) or encode_record({"ID": i})


def _attrs(portal: Portal, report: ReadReport) -> dict[str, Any]:
    """Return what `df.attrs["b24"]` tells of a read: small, JSON-able, without secrets."""
    reasons: dict[str, IdList] = {}
    for i, reason in report.missing.items():
        reasons.setdefault(reason, IdList()).append(i)
    return {
        "portal": portal.address,
        "user_id": portal.user_id,
        "requested": report.requested,
        "from_cache": report.from_cache,
        "cache_age": round(report.cache_age, 3),
        "fetched": report.fetched,
        "http_requests": report.http_requests,
        "missing": IdList(report.missing),
        "missing_reasons": reasons,
        "stale": IdList(report.stale),
        "read_at": report.read_at,
    }


def _report_missing(
    request: _Request, records: Records, report: ReadReport, attrs: dict[str, Any]
) -> None:
    """Name the ids without a record, as the caller chose."""
    if not report.missing or request.missing in ("ignore", "keep"):
        return
    named = [f"{i} ({reason})" for i, reason in report.missing.items()]
    message = f"{len(named)} of {report.requested} activities have no record: {name_some(named)}"
    if request.missing == "warn":
        warn_at_caller(message, MissingActivitiesWarning)
        return
    found = [i for i in request.ids if i in records]
    frame = _frame(request, records, found, attrs)
    raise MissingActivitiesError(message, list(report.missing), frame)


def _progress_bar(total: int, progress: bool | ProgressBar | None) -> Any:
    """Make a progress bar, shown by default in notebooks and terminals when it takes a while."""
    if not isinstance(progress, bool | None):
        return nullcontext(progress)
    # Here, because in a notebook it imports ipywidgets.
    from tqdm.asyncio import tqdm_asyncio
    from tqdm.auto import tqdm

    # tqdm hides itself where stderr is no terminal (None); it does not know notebooks.
    in_notebook = tqdm is not tqdm_asyncio
    hidden = not progress if progress is not None else (False if in_notebook else None)
    return tqdm(
        total=total,
        desc="activities",
        unit="",
        disable=hidden if total else True,
        delay=0 if progress else 1,
        leave=bool(progress),
    )


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

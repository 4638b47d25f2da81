"""The output of a read: frames and their attrs, a progress bar, an open cache."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from copy import deepcopy
from itertools import chain, count, islice
from typing import Any
from warnings import catch_warnings

import pandas as pd

from b24frames.arguments import ProgressBar
from b24frames.cache import ActivityCache
from b24frames.errors import CacheError, CacheWarning
from b24frames.frame import Layout, build_frame_of_columns, build_frame_of_lines, sort_extras
from b24frames.ids import IdList
from b24frames.messages import short_repr, warn_at_caller
from b24frames.portal import Portal
from b24frames.records import ReadReport, Records
from b24frames.schema import Field
from b24frames.serialization import encode_record, extra_names

CachePlace = ActivityCache | str | os.PathLike[str] | bool


def check_cache(cache: CachePlace) -> CachePlace:
    """Return a valid `cache` argument, or raise."""
    if not isinstance(cache, (ActivityCache, str, os.PathLike, bool)):
        kind = type(cache).__name__
        raise TypeError(
            f"cache is of type {kind}; accepted are True, False, a path or an ActivityCache"
        )
    # "" would be the current folder; NUL raises only when the file is opened.
    if cache == "" or (isinstance(cache, str) and "\0" in cache):
        given = short_repr(cache)
        raise ValueError(f"cache={given} is not a path; accepted are True, False or a path")
    return cache


def open_cache(cache: CachePlace, portal: Portal, stack: ExitStack) -> ActivityCache | None:
    """Return a cache; one that is opened here is closed by `stack`."""
    if isinstance(cache, ActivityCache) or cache is False:
        return cache or None
    try:
        opened = ActivityCache(portal.folder if cache is True else cache)
    except CacheError as error:
        warn_at_caller(f"{error}; this read goes on without it", CacheWarning)
        return None
    return stack.enter_context(closing(opened))


def build_frame(
    records: Records,
    ids: Iterable[int],
    layout: Layout,
    attrs: dict[str, Any],
    extras: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the frame of some records, which are removed; a missing one has only its id."""
    # Removed, so that the text of a row is freed once the row exists.
    lines = (records.pop(i) if i in records else encode_record({"ID": i}) for i in ids)
    frame = build_frame_of_lines(lines, layout, extras)
    frame.attrs["b24"] = deepcopy(attrs)
    return frame


def build_table(
    rows: Sequence[Mapping[str, Any]],
    fields: Mapping[str, Field],
    layout: Layout,
    attrs: dict[str, Any],
) -> pd.DataFrame:
    """Return the typed frame of rows of another table of fields than that of activities."""
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in fields}
    wires = {name: field.wire for name, field in fields.items()}
    frame = build_frame_of_columns(columns, len(rows), layout, wires)
    frame.attrs["b24"] = attrs
    return frame


def iter_frames(
    records: Records,
    ready: Iterator[Sequence[int]],
    chunksize: int | None,
    layout: Layout,
    attrs: Iterator[dict[str, Any]],
) -> Iterator[pd.DataFrame]:
    """Yield frames of `chunksize` rows, all with the same columns; None: one of all rows."""
    if chunksize is None:
        yield build_frame(records, [i for ids in ready for i in ids], layout, next(attrs))
        return
    extras: Sequence[str] = ()
    ids: Iterator[int] = chain.from_iterable(ready)
    # Without `columns`, the extra ones depend on all records, which are awaited.
    if layout.columns is None:
        every = list(ids)
        extras = sort_extras(extra_names(records[i] for i in every if i in records))
        ids = iter(every)
    waiting: list[int] = []
    for start in count(0, chunksize):
        # One more than a frame takes: the attrs of the last frame are those of the end.
        waiting += islice(ids, chunksize + 1 - len(waiting))
        some, waiting = waiting[:chunksize], waiting[chunksize:]
        frame = build_frame(records, some, layout, next(attrs), extras)
        if layout.index_col is None:
            frame.index += start
        yield frame
        if not waiting:
            return


def attrs_of(portal: Portal, report: ReadReport) -> dict[str, Any]:
    """Return the content of `df.attrs["b24"]`: small, JSON-serializable, without secrets."""
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


def progress_bar(total: int, progress: bool | ProgressBar | None) -> Any:
    """Return a progress bar, by default shown in notebooks and terminals after a second."""
    if not isinstance(progress, bool | None):
        return nullcontext(progress)
    # Imported here, since in a notebook it imports ipywidgets. tqdm.auto is the same with asyncio,
    # which takes a tenth of the first read.
    from tqdm import TqdmExperimentalWarning, std

    with catch_warnings(action="ignore", category=TqdmExperimentalWarning):
        from tqdm.autonotebook import tqdm

    # None makes tqdm hide the bar if stderr is no terminal, which is so in notebooks, too.
    in_notebook = tqdm is not std.tqdm
    hidden = not progress if progress is not None else (False if in_notebook else None)
    return tqdm(
        total=total,
        desc="activities",
        unit="",
        disable=hidden if total else True,
        delay=0 if progress else 1,
        leave=bool(progress),
    )

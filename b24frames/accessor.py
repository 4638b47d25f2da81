"""The pandas accessor `.b24`: thin methods over plain functions."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from b24frames.credentials import hiding_arguments
from b24frames.errors import name_some
from b24frames.ids import parse_column

if TYPE_CHECKING:
    from b24frames.activities import ReadOptions
    from b24frames.portal import Portal

_MOST_IDS = 20


class Report:
    """What a read did, and could not do: text, and a table in notebooks.

    Parameters
    ----------
    facts : mapping
        ``df.attrs["b24"]``.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts

    def _rows(self) -> list[tuple[str, str]]:
        """Return captions and texts, one row each."""
        facts = self._facts
        rows = [
            ("portal", f"{facts['portal']}, user {facts['user_id']}"),
            ("read at", str(facts["read_at"])),
            ("requested", f"{facts['requested']:,}"),
            ("from cache", f"{facts['from_cache']:,}"),
            ("fetched", f"{facts['fetched']:,} in {facts['http_requests']:,} HTTP requests"),
            ("stale", f"{len(facts['stale']):,}"),
            ("missing", f"{len(facts['missing']):,}"),
        ]
        rows += [
            ("", f"{reason}: {name_some(ids, _MOST_IDS)}")
            for reason, ids in facts["missing_reasons"].items()
        ]
        return rows

    def __repr__(self) -> str:
        rows = self._rows()
        width = max(len(caption) for caption, _ in rows)
        return "\n".join(f"{caption:<{width}}  {text}" for caption, text in rows)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{html.escape(caption)}</th><td>{html.escape(text)}</td></tr>"
            for caption, text in self._rows()
        )
        return f"<table>{cells}</table>"


class FrameAccessor:
    """``df.b24``: what b24frames adds to a DataFrame.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any frame; a method that needs more says so with an `AttributeError`.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    @property
    def report(self) -> Report:
        """What the read of this frame did, and why ids are missing.

        Examples
        --------
        >>> read_activities([1, 2], portal).b24.report
        portal      http://127.0.0.1:..., user 1
        read at     ...
        requested   2
        ...
        """
        facts = self._frame.attrs.get("b24")
        if facts is None:
            raise AttributeError(
                "this frame has no report: it is no result of read_activities, "
                "or an operation has dropped df.attrs['b24']"
            )
        return Report(facts)

    @hiding_arguments
    def read_activities(
        self, column: str, portal: Portal | str | None = None, **options: Unpack[ReadOptions]
    ) -> pd.DataFrame:
        """Read the activities that a column names; a frame with the index of this one.

        Examples
        --------
        >>> deals = pd.DataFrame({"ACTIVITY_ID": [1, 2]}, index=["a", "b"])
        >>> deals.b24.read_activities("ACTIVITY_ID", portal)["ID"]
        a    1
        b    2
        Name: ID, dtype: Int64
        """
        from b24frames.options import as_portal

        if column not in self._frame.columns:
            raise AttributeError(f"this frame has no column {column!r} of activity ids")
        portal = as_portal(portal)
        return _read_aligned(self._frame[column], portal, options)

    @hiding_arguments
    def refresh(
        self, portal: Portal | str | None = None, **options: Unpack[ReadOptions]
    ) -> pd.DataFrame:
        """Read the same ids again, from the portal and not from the cache.

        Examples
        --------
        >>> df = read_activities([1, 2], portal)
        >>> df.b24.refresh(portal).attrs["b24"]["from_cache"]
        0
        """
        from b24frames.activities import read_activities
        from b24frames.options import as_portal

        if "ID" in self._frame.columns:
            ids = self._frame["ID"]
        elif self._frame.index.name == "ID":
            ids = self._frame.index.to_series()
        else:
            raise AttributeError("this frame has no column or index ID of activity ids")
        options.setdefault("max_age", 0)
        portal = as_portal(portal)
        return read_activities(ids.dropna(), portal, **options)


class IdsAccessor:
    """``s.b24`` and ``index.b24``: what b24frames adds to a Series or Index of activity ids.

    Parameters
    ----------
    ids : pandas.Series or pandas.Index
        Activity ids; NA is allowed.
    """

    def __init__(self, ids: pd.Series | pd.Index) -> None:
        self._ids = ids

    @hiding_arguments
    def read_activities(
        self, portal: Portal | str | None = None, **options: Unpack[ReadOptions]
    ) -> pd.DataFrame:
        """Read the activities that these ids name, one row for each id.

        Parameters
        ----------
        portal : Portal or str, optional
            As of `b24frames.read_activities`.
        **options
            The keywords of `b24frames.read_activities`.

        Returns
        -------
        pandas.DataFrame
            Aligned with the Series: the same index (an Index is aligned with itself), duplicates
            kept, NA where the id is NA or has no record. Distinct ids are read once.

        Examples
        --------
        >>> pd.Series([2, None, 2], index=["a", "b", "c"]).b24.read_activities(portal)["ID"]
        a       2
        b    <NA>
        c       2
        Name: ID, dtype: Int64
        """
        from b24frames.options import as_portal

        ids = self._ids
        series = ids.to_series() if isinstance(ids, pd.Index) else ids
        portal = as_portal(portal)
        return _read_aligned(series, portal, options)


def _read_aligned(ids: pd.Series, portal: Portal, options: ReadOptions) -> pd.DataFrame:
    """Read the distinct ids once, and give each position its row."""
    from b24frames.activities import read_activities

    for name in ("index_col", "chunksize"):
        if name in options:
            raise TypeError(f"{name} is not accepted here: the frame has the index of the ids")
    wanted = parse_column(None if na else value for value, na in zip(ids, ids.isna(), strict=True))
    distinct = [i for i in dict.fromkeys(wanted) if i is not None]
    frame = read_activities(distinct, portal, **options)
    rows = {i: row for row, i in enumerate(frame.index)}
    if options.get("columns") is None:
        frame = frame.reset_index()
    aligned = frame.set_axis(range(len(frame))).reindex([rows.get(i, -1) for i in wanted])
    return aligned.set_axis(ids.index)


def register() -> None:
    """Register ``.b24`` on DataFrame, Series and Index."""
    if getattr(pd.DataFrame, "b24", None) is not FrameAccessor:  # a reload would warn
        pd.api.extensions.register_dataframe_accessor("b24")(FrameAccessor)
        pd.api.extensions.register_series_accessor("b24")(IdsAccessor)
        pd.api.extensions.register_index_accessor("b24")(IdsAccessor)

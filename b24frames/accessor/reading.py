"""What the accessor `.b24` reads: of a frame, and of a Series or Index of activity ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import pandas as pd

from b24frames.accessor.report import Report
from b24frames.credentials import hiding_arguments
from b24frames.errors import short_repr

if TYPE_CHECKING:
    from b24frames.activities import ReadOptions
    from b24frames.portal import Portal


class FrameReading:
    """The part of ``df.b24`` that reads activities, and tells of the read.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any frame.
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
                "this frame has no report: it is not a result of read_activities, "
                "or an operation has dropped df.attrs['b24']"
            )
        return Report(facts)

    @hiding_arguments
    def read_activities(
        self, column: str, portal: Portal | str | None = None, **options: Unpack[ReadOptions]
    ) -> pd.DataFrame:
        """Read the activities that a column names; a frame with the index of this one.

        Parameters
        ----------
        column : str
            A column of activity ids; NA is allowed.
        portal : Portal or str, optional
            As of `b24frames.read_activities`.
        **options
            The keywords of `b24frames.read_activities`.

        Returns
        -------
        pandas.DataFrame
            Aligned with this frame: duplicates kept, NA where the id is NA or has no record.

        Examples
        --------
        >>> deals = pd.DataFrame({"ACTIVITY_ID": [1, 2]}, index=["a", "b"])
        >>> deals.b24.read_activities("ACTIVITY_ID", portal)["ID"]
        a    1
        b    2
        Name: ID, dtype: Int64
        """
        from b24frames.accessor.aligned import read_aligned
        from b24frames.activities import as_portal

        portal = as_portal(portal)
        if list(self._frame.columns).count(column) != 1:
            found = "several columns" if column in self._frame.columns else "no column"
            raise AttributeError(f"this frame has {found} {short_repr(column)} of activity ids")
        return read_aligned(self._frame[column], portal, options)

    @hiding_arguments
    def refresh(
        self, portal: Portal | str | None = None, **options: Unpack[ReadOptions]
    ) -> pd.DataFrame:
        """Read the same ids again, from the portal and not from the cache.

        Parameters
        ----------
        portal : Portal or str, optional
            As of `b24frames.read_activities`.
        **options
            The keywords of `b24frames.read_activities`.

        Returns
        -------
        pandas.DataFrame
            What `b24frames.read_activities` gives now.

        Examples
        --------
        >>> df = read_activities([1, 2], portal)
        >>> df.b24.refresh(portal).attrs["b24"]["from_cache"]
        0
        """
        from b24frames.activities import as_portal, read_activities

        portal = as_portal(portal)
        if "ID" in self._frame.columns:
            ids = self._frame["ID"]
        elif self._frame.index.name == "ID":
            ids = self._frame.index.to_series()
        else:
            raise AttributeError("this frame has no column or index ID of activity ids")
        options.setdefault("max_age", 0)
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
        from b24frames.accessor.aligned import read_aligned
        from b24frames.activities import as_portal

        ids = self._ids
        series = ids.to_series() if isinstance(ids, pd.Index) else ids
        portal = as_portal(portal)
        return read_aligned(series, portal, options)

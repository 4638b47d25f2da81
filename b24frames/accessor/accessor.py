"""The pandas accessor `.b24`: thin methods over plain functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from b24frames.accessor import analysis, interchange, plots
from b24frames.arguments import check_backend, check_choice, check_tz
from b24frames.credentials import scrub_traceback
from b24frames.messages import count, facts_html, facts_text, name_some, one_line, short_repr
from b24frames.schema import Backend, Language, OnBadValue

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from b24frames.activities import ReadOptions
    from b24frames.calls import CallOptions
    from b24frames.output import CachePlace
    from b24frames.portal import Portal

_MOST_IDS = 20


class Report:
    """What a read did, and could not do: text, and a table in notebooks.

    Parameters
    ----------
    facts : mapping
        ``df.attrs["b24"]``.

    Examples
    --------
    >>> Report({"requested": 2, "from_cache": 0, "fetched": 1, "http_requests": 1,
    ...         "missing": [7], "missing_reasons": {"not found": [7]}})
    requested   2
    from cache  0
    fetched     1 in 1 HTTP request
    missing     1
                not found: 7
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts

    def _rows(self) -> list[tuple[str, str]]:
        """Return captions and texts, one row each; attrs that another tool wrote may lack some."""
        facts, number = self._facts, "{:,}".format
        user = f", user {facts['user_id']}" if facts.get("user_id") is not None else ""
        requests = count(facts.get("http_requests", 0), "HTTP request")
        texts: dict[str, Callable[[Any], str]] = {
            "portal": lambda address: f"{address}{user}",
            "read_at": str,
            "requested": number,
            "from_cache": number,
            "fetched": lambda fetched: f"{fetched:,} in {requests}",
            "stale": lambda ids: f"{len(ids):,}: {name_some(ids, _MOST_IDS)}" if ids else "0",
            "missing": lambda ids: number(len(ids)),
        }
        shown = [(name, text(facts[name])) for name, text in texts.items() if name in facts]
        reasons = facts.get("missing_reasons", {}).items()
        shown += [("", f"{reason}: {name_some(ids, _MOST_IDS)}") for reason, ids in reasons]
        return [(name.replace("_", " "), one_line(text)) for name, text in shown]

    def __repr__(self) -> str:
        return facts_text(self._rows())

    def _repr_html_(self) -> str:
        return facts_html(self._rows())


class IdsAccessor:
    """``s.b24`` and ``index.b24``: what b24frames adds to a Series or Index of activity ids.

    Parameters
    ----------
    ids : pandas.Series or pandas.Index
        Activity ids; NA is allowed.
    """

    def __init__(self, ids: pd.Series | pd.Index) -> None:
        self._ids = ids

    @scrub_traceback
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
        from b24frames.activities import read_aligned

        ids = self._ids.to_series() if isinstance(self._ids, pd.Index) else self._ids
        # Here and below: no traceback must hold the address that was given, and so its secret.
        portal = _portal_of_ids(ids, portal)
        return read_aligned(ids, portal, options)


class FrameAccessor:
    """``df.b24``: what b24frames adds to a DataFrame.

    A method that needs columns which the frame lacks raises an `AttributeError` that names them.

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
        if not isinstance(facts, Mapping):
            raise AttributeError(
                "this frame has no report: it is not a result of read_activities, "
                "or an operation has dropped df.attrs['b24']"
            )
        return Report(facts)

    @scrub_traceback
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
        portal = _portal_of_ids(self._frame, portal)
        if list(self._frame.columns).count(column) != 1:
            found = "several columns" if column in self._frame.columns else "no column"
            raise AttributeError(f"this frame has {found} {short_repr(column)} of activity ids")
        return IdsAccessor(self._frame[column]).read_activities(portal, **options)

    @scrub_traceback
    def refresh(
        self, portal: Portal | str | None = None, **options: Unpack[ReadOptions]
    ) -> pd.DataFrame:
        """Read the same ids again, from the portal and not from the cache.

        Parameters
        ----------
        portal : Portal or str, optional
            The one that the frame was read from; by default that of ``B24_WEBHOOK_URL``.
        **options
            The keywords of `b24frames.read_activities`; by default the frame's dtypes and zone.

        Returns
        -------
        pandas.DataFrame
            What `b24frames.read_activities` gives now.

        Raises
        ------
        ValueError
            Another portal or user than the frame's, or ``df.attrs["b24"]`` has been dropped and
            no portal is given; before any request.

        Examples
        --------
        >>> df = read_activities([1, 2], portal)
        >>> df.b24.refresh(portal).attrs["b24"]["from_cache"]
        0
        """
        from b24frames.activities import read_activities
        from b24frames.records import portal_of

        portal = portal_of(self._frame, portal)
        options.setdefault("max_age", 0)
        options.setdefault("dtype_backend", analysis.backend_of(self._frame))
        options.setdefault("tz", analysis.zone_of(self._frame))
        return read_activities(analysis.ids_of(self._frame).dropna(), portal, **options)

    @scrub_traceback
    def names(
        self, portal: Portal | str | None = None, *, cache: CachePlace = True, max_age: Any = "1d"
    ) -> pd.DataFrame:
        """Return names in place of the ids of users and owners.

        Parameters
        ----------
        portal : Portal or str, optional
            The one that the frame was read from; by default that of ``B24_WEBHOOK_URL``.
        cache : bool, path-like or ActivityCache, default True
            Where names are kept, apart from activities.
        max_age : str, timedelta or the like, default "1d"
            The oldest name to accept; 0: always ask.

        Returns
        -------
        pandas.DataFrame
            RESPONSIBLE_NAME, AUTHOR_NAME, EDITOR_NAME and OWNER_NAME, those whose ids the frame
            has; of a frame of calls PORTAL_USER_NAME. Users and owners that the portal does not
            tell keep their number: ``user 57``, ``deal 15``. NA where the id is 0 or NA.

        Raises
        ------
        AttributeError
            The frame has no such ids.
        ValueError
            Another portal or user than the frame's; as of `refresh`.

        Warns
        -----
        NamesMissingWarning
            Names that could not be read, and why: a scope that the webhook lacks is named.

        Notes
        -----
        Each name is asked for once, 2 500 in a request: of users by ``user.get``, for which the
        scope ``user_brief`` is enough; of owners by ``crm.item.list``, type by type.

        Examples
        --------
        >>> df = read_activities([1, 2], portal)
        >>> df.b24.names(portal)["RESPONSIBLE_NAME"].tolist()
        ['Наталья Ковальчук', 'Иван Петров']
        """
        from b24frames.names import read_names
        from b24frames.records import portal_of

        portal = portal_of(self._frame, portal)
        columns = analysis.name_keys(self._frame)
        keys = {key for column in columns.values() for key in column if key[1] > 0}
        names = read_names(keys, portal, cache, max_age)
        texts = {name: [names.get(key) for key in column] for name, column in columns.items()}
        return analysis.name_columns(self._frame, texts)

    @property
    def owner_url(self) -> pd.Series:
        """The address of the owner's page in the portal; NA where there is none.

        Examples
        --------
        >>> read_activities([1], portal).b24.owner_url.iloc[0]
        'http://127.0.0.1:.../crm/.../details/.../'
        """
        facts = self._frame.attrs.get("b24")
        if not isinstance(facts, Mapping) or "portal" not in facts:
            raise AttributeError(
                "this frame does not say which portal it was read from: "
                "an operation has dropped df.attrs['b24']"
            )
        return analysis.owner_url(self._frame, str(facts["portal"]))

    @scrub_traceback
    def calls(
        self, portal: Portal | str | None = None, **options: Unpack[CallOptions]
    ) -> pd.DataFrame:
        """Read the statistics of the calls of these activities.

        Parameters
        ----------
        portal : Portal or str, optional
            The one that the frame was read from; by default that of ``B24_WEBHOOK_URL``.
        **options
            The keywords of `b24frames.read_calls`; family of dtypes and zone are by default those
            of this frame.

        Returns
        -------
        pandas.DataFrame
            As of `b24frames.read_calls`: several rows of an activity whose call was transferred,
            and none of one that telephony did not make. CRM_ACTIVITY_ID names the activity.

        Raises
        ------
        ValueError
            Another portal or user than the frame's; as of `refresh`.

        Examples
        --------
        >>> df = read_activities(range(1, 101), portal, missing="ignore")
        >>> calls = df.b24.calls(portal)
        >>> seconds = calls.groupby("CRM_ACTIVITY_ID")["CALL_DURATION"].sum()
        >>> df["TALK_SECONDS"] = seconds.reindex(df.index)
        """
        from b24frames.calls import read_calls
        from b24frames.records import portal_of

        portal = portal_of(self._frame, portal)
        options.setdefault("dtype_backend", analysis.backend_of(self._frame))
        options.setdefault("tz", analysis.zone_of(self._frame))
        return read_calls(analysis.ids_of(self._frame).dropna(), portal, **options)

    def communications(self) -> pd.DataFrame:
        """Return the phones and e-mail addresses of COMMUNICATIONS as rows.

        Returns
        -------
        pandas.DataFrame
            TYPE, VALUE, ENTITY_TYPE_ID, ENTITY_ID and NAME, one row for each; the index ID repeats
            the activity. NAME is from when the activity was written.

        Raises
        ------
        AttributeError
            The frame lacks COMMUNICATIONS, which `b24frames.find_activities` asks for where
            `columns` names them.
        ValueError
            A value is neither a list nor an object.

        Examples
        --------
        >>> df = find_activities([("ID", "<", 3)], portal, columns=["COMMUNICATIONS"])
        >>> df.b24.communications()["TYPE"].tolist()
        ['PHONE', 'PHONE']
        """
        return analysis.communications(self._frame)

    @scrub_traceback
    def bindings(self, portal: Portal | str | None = None) -> pd.DataFrame:
        """Read the CRM objects that these activities are linked to; 50 activities in a request.

        Parameters
        ----------
        portal : Portal or str, optional
            The one that the frame was read from; by default that of ``B24_WEBHOOK_URL``.

        Returns
        -------
        pandas.DataFrame
            OWNER_TYPE_ID and OWNER_ID, one row for each link that the user may see; the index ID
            repeats the activity.

        Raises
        ------
        ValueError
            Another portal or user than the frame's; as of `refresh`.

        Warns
        -----
        MissingActivitiesWarning
            Activities that are not there any more, or not visible to this user.

        Examples
        --------
        >>> read_activities([1], portal).b24.bindings(portal).columns.tolist()
        ['OWNER_TYPE_ID', 'OWNER_ID']
        """
        from b24frames.names import read_links
        from b24frames.records import portal_of

        portal = portal_of(self._frame, portal)
        backend = analysis.backend_of(self._frame)
        return read_links(analysis.ids_of(self._frame).dropna(), portal, backend)

    def typed(
        self,
        *,
        dtype_backend: Backend = "numpy_nullable",
        tz: str | tzinfo = "UTC",
        on_bad_value: OnBadValue = "warn",
        from_spreadsheet: bool = False,
    ) -> pd.DataFrame:
        """Give the fields of this frame the dtypes that `read_activities` gives them.

        Parameters
        ----------
        dtype_backend : {"numpy_nullable", "pyarrow"}, default "numpy_nullable"
            The family of dtypes; ``"pyarrow"`` needs the extra ``arrow``.
        tz : str or tzinfo, default "UTC"
            The zone of every datetime column; instants never change.
        on_bad_value : {"warn", "raise"}, default "warn"
            Whether a bad value becomes NA with a warning, or raises.
        from_spreadsheet : bool, default False
            Take back the apostrophes that `spreadsheet_safe` puts in front of formulas, and warn
            of text that a cell may have cut.

        Returns
        -------
        pandas.DataFrame
            The same rows, columns and index; a column or index ``ID`` is typed where it is.
            Fields are those of activities, calls and users in ``b24frames.schema``, a portal's own
            (``UF_…``), names such as RESPONSIBLE_NAME, and text under a name in capitals, since
            releases bring new ones. Other columns stay as they are.

        Raises
        ------
        AttributeError
            The frame has no field.
        BadValueError
            A value is bad, and ``on_bad_value="raise"``.

        Warns
        -----
        BadValueWarning
            Bad values became NA.

        Examples
        --------
        >>> raw = pd.DataFrame([{"ID": "7", "COMPLETED": "Y", "DEADLINE": ""}])
        >>> raw.b24.typed(tz="Asia/Almaty").dtypes
        ID                           Int64
        COMPLETED                  boolean
        DEADLINE     datetime64[us, Asia/Almaty]
        dtype: object
        """
        from b24frames.frame import Layout

        layout = Layout(
            dtype_backend=check_backend(dtype_backend),
            tz=check_tz(tz),
            on_bad_value=check_choice("on_bad_value", on_bad_value, OnBadValue),
        )
        return interchange.typed(self._frame, layout, from_spreadsheet=from_spreadsheet)

    def labels(
        self, columns: Iterable[str] | None = None, *, language: Language = "en"
    ) -> pd.DataFrame:
        """Return the enumerations as ordered categoricals with readable names.

        Parameters
        ----------
        columns : iterable of str, optional
            Which ones; by default all that hold numbers. PROVIDER_ID is one too.
        language : {"en", "ru"}, default "en"
            The language of the names.

        Returns
        -------
        pandas.DataFrame
            These columns only. Categories are the known labels and the codes in the data that have
            none, as text, in the order of the codes. NA stays NA.

        Examples
        --------
        >>> df = read_activities([1, 2, 3], portal)
        >>> df.b24.labels()["TYPE_ID"].tolist()
        ['meeting', 'call', 'user action']
        >>> df.b24.labels(language="ru")["TYPE_ID"].tolist()
        ['встреча', 'звонок', 'пользовательское действие']
        """
        language = check_choice("language", language, Language)
        return analysis.labels(self._frame, columns, language)

    @property
    def duration(self) -> pd.Series:
        """END_TIME - START_TIME, NA where one of them is.

        Examples
        --------
        >>> read_activities([2], portal).b24.duration.iloc[0]
        Timedelta('0 days ...')
        """
        return analysis.duration(self._frame)

    @property
    def talk_time(self) -> pd.Series:
        """How long the calls that telephony made lasted; NA for all other activities.

        These have the PROVIDER_ID VOXIMPLANT_CALL, an ORIGIN_ID that begins with ``VI_``, and
        CREATED equal to START_TIME: a planned call that telephony attached itself to keeps its
        planned times.

        Examples
        --------
        >>> read_activities([1], portal).b24.talk_time.iloc[0]
        NaT
        """
        return analysis.talk_time(self._frame)

    def talk_time_from(self, calls: pd.DataFrame) -> pd.Series:
        """Return how long calls lasted by the statistics of telephony, which know planned ones too.

        Parameters
        ----------
        calls : pandas.DataFrame
            What `calls` or `b24frames.read_calls` gives.

        Returns
        -------
        pandas.Series
            The sum of CALL_DURATION over the rows of each activity; where there are none, as
            `talk_time`.

        Raises
        ------
        AttributeError
            One of the frames lacks a column, or has not been typed.

        Examples
        --------
        >>> df = read_activities([2], portal)
        >>> df.b24.talk_time_from(df.b24.calls(portal)).iloc[0]
        Timedelta('0 days ...')
        """
        return analysis.talk_time_from(self._frame, calls)

    def is_overdue(self, at: str | datetime | None = None) -> pd.Series:
        """Return which activities are past their deadline and not completed.

        Parameters
        ----------
        at : str or datetime, optional
            The moment, with a time zone; by default now.

        Returns
        -------
        pandas.Series
            What has no deadline is not overdue. NA where it is not known whether the activity
            is completed, unless its deadline is still to come.

        Examples
        --------
        >>> df = read_activities([1, 2], portal)
        >>> df.b24.is_overdue("2000-01-01T00:00:00+00:00").tolist()
        [False, False]
        """
        return analysis.is_overdue(self._frame, at)

    @property
    def is_missed_call(self) -> pd.Series:
        """Which activities are missed calls.

        These are incoming, DIRECTION 1, with RESULT_STREAM 4 or SETTINGS.MISSED_CALL true.

        Examples
        --------
        >>> read_activities([1], portal).b24.is_missed_call.tolist()
        [False]
        """
        return analysis.is_missed_call(self._frame)

    @property
    def provider_name(self) -> pd.Series:
        """Readable names in place of PROVIDER_ID; an unknown one keeps its id.

        Examples
        --------
        >>> pd.DataFrame({"PROVIDER_ID": ["CRM_SMS", "NEW"]}).b24.provider_name.tolist()
        ['SMS', 'NEW']
        """
        return analysis.provider_name(self._frame)

    def expand(self, column: str) -> pd.DataFrame:
        """Return the parts of a nested column as columns, such as SETTINGS.DURATION.

        Parameters
        ----------
        column : str
            A column of objects or lists, or of JSON text of such. The keys of a list are its
            positions, from 0.

        Returns
        -------
        pandas.DataFrame
            These columns only, in the order in which keys first appear. Parts that are all whole
            numbers, numbers, truth values or texts get the dtype of such fields; others stay
            ``object``. Nested parts can be expanded in turn.

        Raises
        ------
        ValueError
            A value is neither an object, a list nor JSON text of such.

        Examples
        --------
        >>> pd.DataFrame({"SETTINGS": [{"SIM": "1"}, {}]}).b24.expand("SETTINGS")
          SETTINGS.SIM
        0            1
        1         <NA>
        """
        return analysis.expand(self._frame, column)

    def plot(
        self,
        kind: plots.Kind = "timeline",
        *,
        ax: Axes | None = None,
        at: str | datetime | None = None,
    ) -> Axes:
        """Draw a picture of the activities; needs the extra ``plot``.

        Parameters
        ----------
        kind : {"timeline", "week", "workload", "talk_time"}, default "timeline"
            ``"timeline"``: how many were created, by type according to PROVIDER_ID. ``"week"``: at
            which hours of the week they start. ``"workload"``: how many are open, and how many of
            them overdue, by responsible user. ``"talk_time"``: how long the calls of telephony
            lasted.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.
        at : str or datetime, optional
            Of ``"workload"``: overdue at that moment, with a time zone; by default now.

        Returns
        -------
        matplotlib.axes.Axes
            Times are those of the zone of the frame's columns, which is named. A frame without
            rows gives an empty picture.

        Raises
        ------
        AttributeError
            The frame lacks a column, or has not been typed.
        ImportError
            matplotlib is not installed.
        ValueError
            `kind` or `at` is not accepted.

        Examples
        --------
        >>> df = read_activities([1, 2, 3], portal, tz="Europe/Berlin")
        >>> df.b24.plot("week").get_xlabel()
        'hour of START_TIME (Europe/Berlin)'
        """
        return plots.plot(self._frame, kind, ax=ax, at=at)

    def storable(self) -> pd.DataFrame:
        """Return this frame as any file and any other program can take it; `typed` undoes it.

        Nested values become JSON text. Characters that UTF-8 cannot write, in columns that are not
        the portal's, become visible escapes, with a warning.

        Returns
        -------
        pandas.DataFrame
            The same rows, columns and index.

        Examples
        --------
        >>> type(read_activities([2], portal).b24.storable()["SETTINGS"].iloc[0])
        <class 'str'>
        """
        return interchange.storable(self._frame)

    def spreadsheet_safe(self) -> pd.DataFrame:
        """Return this frame as a spreadsheet can take it, without executing what is in it.

        As `storable`, and text that begins like a formula (``= + - @``, tab, line break) gets an
        apostrophe in front, which ``typed(from_spreadsheet=True)`` takes back; control characters
        become visible, with a warning; dates become ISO text. Numbers stay as they are. Text of
        more than 32,767 characters, which Excel cuts, stays too, and is named in a warning.

        A CSV file that is to be opened in Excel needs a byte order mark:
        ``to_csv(file, encoding="utf-8-sig")``.

        Returns
        -------
        pandas.DataFrame
            The same rows, columns and index.

        Examples
        --------
        >>> pd.DataFrame({"SUBJECT": ["=1+1"]}).b24.spreadsheet_safe()["SUBJECT"].tolist()
        ["'=1+1"]
        """
        return interchange.spreadsheet_safe(self._frame)


def _portal_of_ids(ids: pd.Series | pd.DataFrame, portal: Portal | str | None) -> Portal:
    """Return the portal whose ids these are: one that is named, or the default if it is theirs."""
    from b24frames.portal import as_portal
    from b24frames.records import portal_of

    return portal_of(ids, None) if portal is None and "b24" in ids.attrs else as_portal(portal)


def register() -> None:
    """Register ``.b24`` on DataFrame, Series and Index; once more after a reload of this module."""
    accessors = (
        (pd.DataFrame, FrameAccessor, pd.api.extensions.register_dataframe_accessor),
        (pd.Series, IdsAccessor, pd.api.extensions.register_series_accessor),
        (pd.Index, IdsAccessor, pd.api.extensions.register_index_accessor),
    )
    for owner, accessor, register_accessor in accessors:
        if getattr(getattr(owner, "b24", None), "__module__", None) == __name__:
            delattr(owner, "b24")  # pandas would warn of what a reload replaces
        register_accessor("b24")(accessor)

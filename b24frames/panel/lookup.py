"""One look-up, by ids or by filters, and what is read for its result once it is shown.

A look-up reports its progress, can be cancelled, and ends with a message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from b24frames import errors
from b24frames.accessor import FrameAccessor
from b24frames.activities import ReadOptions, count_activities, find_activities, read_activities
from b24frames.ids import parse_id_text, parse_ids
from b24frames.messages import count, redirect_warnings
from b24frames.output import CachePlace
from b24frames.panel.texts import filters_code, ids_code, summary_lines
from b24frames.portal import Portal, as_portal
from b24frames.records import portal_of

MOST_FOUND = 200
"""How many activities a search shows."""

MakePortal = Callable[[], Portal]
Reads = dict[str, Callable[[Portal], pd.DataFrame]]
Found = tuple[dict[str, pd.DataFrame], list[str]]
"""Tables by their names, and what the user should know."""
_ERRORS = (errors.B24Error, ValueError, TypeError, ImportError, OSError)
_NEXT_STEPS: dict[type[errors.B24Error], str] = {
    errors.PortalUnavailableError: "Check the connection to the portal, then look up again.",
    errors.InvalidAnswerError: "Check the portal's address, then look up again.",
    errors.RateLimitError: "Other programs ask the portal too: wait a minute, then look up again.",
    errors.OperatingTimeError: "Wait up to ten minutes, then look up again.",
    errors.CacheError: "Give the panel another place for the cache, or cache=False.",
}


class _Cancelled(Exception):
    """The user cancelled the look-up."""


@dataclass
class LookUp:
    """A look-up: the progress bar of the read, which ends it once cancelled.

    Attributes
    ----------
    wanted : object
        Ids, as a caller or the text in the field names them; of a search its filters.
    on_progress : callable
        Called, in the thread that reads, with how many ids are settled, and why the read waits.
    is_search : bool
        Whether activities are searched by filters.
    ids : list of int
        What is looked up, or was found.
    total : int
        How many ids there are; of a search, what the portal says meanwhile.
    lines : sequence of str
        How it ended: a message, then what else the user should know.
    frame : pandas.DataFrame or None
        What was read.
    problem : bool
        Whether it ended otherwise than by its result or by `cancel`.
    """

    wanted: Any
    on_progress: Callable[[int, str], object]
    is_search: bool = False
    ids: list[int] = field(default_factory=list)
    total: int = 0
    lines: Sequence[str] = ("The look-up ended early; look up again to go on.",)
    frame: pd.DataFrame | None = None
    problem: bool = True
    _done: int = 0
    # Set in the kernel's thread, read in the one that reads: a bool needs no lock.
    _cancelled: bool = False

    @property
    def code(self) -> tuple[str, str]:
        """The function that reads the same, and its arguments, but for the zone."""
        if self.is_search:
            return "find_activities", f"{filters_code(self.wanted)}, limit={MOST_FOUND}"
        return "read_activities", ids_code(self.ids)

    def cancel(self) -> None:
        """End the read, soon."""
        self._cancelled = True

    def update(self, n: int, /) -> None:
        """Take note that n more ids are settled."""
        if self._cancelled:
            raise _Cancelled
        if n:
            self._done += n
            self.on_progress(self._done, "")

    def set_postfix_str(self, text: str, /) -> None:
        """Take note of what the portal is waited for."""
        self.on_progress(self._done, text)

    def read(self, make_portal: MakePortal, options: ReadOptions) -> None:
        """Read the activities; an error becomes a message."""
        notes: list[str] = []
        fetch = self._find if self.is_search else self._read
        try:
            with redirect_warnings(notes.append):
                frame, lines = fetch(make_portal, options)
        except _Cancelled:
            kept = "" if options["cache"] is False else " and kept"
            received = f"{self._done:,} of {count(self.total, 'activity')}"
            text = f"Cancelled: {received} had been received{kept}. Look up again to go on."
            if self.is_search:
                text = f"Cancelled: {count(self._done, 'activity')} had been received{kept}."
            self.lines, self.problem = [text], False
        except _ERRORS as error:
            self.lines = [explain(error)]
        else:
            self.lines, self.frame, self.problem = [*lines, *notes], frame, False

    def _read(
        self, make_portal: MakePortal, options: ReadOptions
    ) -> tuple[pd.DataFrame, list[str]]:
        self.wanted = self.ids = _parse(self.wanted)
        self.total = len(self.ids)
        # Missing ids are part of the message, and neither an error nor a warning.
        options = {**options, "missing": "ignore", "progress": self}
        frame = read_activities(self.ids, make_portal(), **options)
        return frame, summary_lines(frame.attrs["b24"], len(frame))

    def _find(
        self, make_portal: MakePortal, options: ReadOptions
    ) -> tuple[pd.DataFrame, list[str]]:
        portal, tz = make_portal(), options["tz"]
        shared: Any = {"cache": options["cache"], "limit": MOST_FOUND, "progress": self}
        frame = find_activities(self.wanted, portal, tz=tz, **shared)
        self.ids = frame.index.tolist()
        matched = len(frame)
        if matched == MOST_FOUND:
            self.update(0)
            matched = count_activities(self.wanted, portal, tz=tz)
        if matched <= len(frame):
            return frame, [f"{count(len(frame), 'activity')} found."]
        return frame, [f"The {MOST_FOUND} newest of {count(matched, 'activity')}."]


def name_reads(frame: pd.DataFrame, cache: CachePlace) -> Reads:
    """Return what reads a frame with the names of its users and owners."""
    return {"named": lambda portal: _with_names(frame, portal, cache)}


def detail_reads(frame: pd.DataFrame, cache: CachePlace) -> Reads:
    """Return what reads that which the record of the one activity in a frame lacks."""

    def communications(portal: Portal) -> pd.DataFrame:
        filters, columns = [("ID", "==", int(frame.index[0]))], ["COMMUNICATIONS"]
        found = find_activities(filters, portal_of(frame, portal), columns=columns)
        return FrameAccessor(found).communications()

    def links(portal: Portal) -> pd.DataFrame:
        table = frame.b24.bindings(portal)
        return _with_names(table, portal, cache).assign(owner_url=table.b24.owner_url)

    reads: Reads = {"communications": communications, "links": links}
    if frame["ORIGIN_ID"].str.startswith("VI_").fillna(False).all():
        reads["calls"] = lambda portal: _with_names(frame.b24.calls(portal), portal, cache)
    return reads


def _with_names(table: pd.DataFrame, portal: Portal, cache: CachePlace) -> pd.DataFrame:
    return table.assign(**table.b24.names(portal, cache=cache))


def read_tables(reads: Reads, make_portal: MakePortal) -> Found:
    """Return the tables that could be read, and errors and warnings as sentences."""
    tables: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    for name, read in reads.items():
        try:
            with redirect_warnings(notes.append):
                tables[name] = read(make_portal())
        except _ERRORS as error:
            notes.append(explain(error))
    return tables, list(dict.fromkeys(notes))


def portal_maker(portal: Portal | str | None) -> MakePortal:
    """Return what makes the portal when it is needed; a URL is kept where no repr shows it."""
    return lambda: as_portal(portal)


def explain(error: Exception) -> str:
    """Return what happened and what to do next.

    Examples
    --------
    >>> explain(errors.PortalUnavailableError("no connection to acme.bitrix24.com", method="batch"))
    'No connection to acme.bitrix24.com. Check the connection to the portal, then look up again.'
    """
    text = (str(error) or type(error).__name__).rstrip(". ")
    text = text.removeprefix("ids: ").removeprefix("filters: ")
    if isinstance(error, errors.PortalError):
        text = text.removeprefix(f"{error.method}: ")
    step = next((step for kind, step in _NEXT_STEPS.items() if isinstance(error, kind)), "")
    return f"{text[:1].upper()}{text[1:]}. {step}".rstrip()


def _parse(ids: object) -> list[int]:
    """Return the ids that a caller, or the text in the field, names."""
    if not isinstance(ids, str):
        return parse_ids(ids)
    if not ids.strip():
        raise ValueError("no ids; type some, such as 999 or 1-20, 35")
    return parse_id_text(ids)

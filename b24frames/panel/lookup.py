"""One look-up, by ids or by filters, and what is read for its result once it is shown.

A look-up reports its progress, can be cancelled, and ends with a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from b24frames import errors
from b24frames.accessor import FrameAccessor
from b24frames.activities import ReadOptions, count_activities, find_activities, read_activities
from b24frames.ids import parse_id_text, parse_ids
from b24frames.messages import redirect_warnings
from b24frames.output import CachePlace
from b24frames.panel.texts import Texts, filters_code, ids_code, summary_lines
from b24frames.portal import Portal, as_portal
from b24frames.records import portal_of

MOST_FOUND = 200
"""How many activities a search shows."""

MakePortal = Callable[[], Portal]
Reads = dict[str, Callable[[Portal], pd.DataFrame]]
Found = tuple[dict[str, pd.DataFrame], list[str]]
"""Tables by their names, and what the user should know."""
_ERRORS = (errors.B24Error, ValueError, TypeError, ImportError, OSError)


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
        Called, in the thread that reads, when more ids are settled, or the read waits.
    texts : Texts
        The words for how it ends.
    is_search : bool
        Whether activities are searched by filters.
    ids : list of int
        What is looked up, or was found.
    total : int
        How many ids there are; of a search, what the portal says meanwhile.
    done : int
        How many ids are settled.
    waiting : str
        Why the read waits.
    lines : sequence of str
        How it ended: a message, then what else the user should know.
    frame : pandas.DataFrame or None
        What was read.
    problem : bool
        Whether it ended otherwise than by its result or because it was cancelled.
    cancelled : bool
        Whether the read is to end, soon.
    """

    wanted: Any
    on_progress: Callable[[], object]
    texts: Texts
    is_search: bool = False
    ids: list[int] = field(default_factory=list)
    total: int = 0
    done: int = 0
    waiting: str = ""
    lines: Sequence[str] = ()
    frame: pd.DataFrame | None = None
    problem: bool = True
    # Set in the kernel's thread, read in the one that reads: a bool needs no lock.
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.lines = [self.texts("ended_early")]

    def code(self, facts: Mapping[str, Any], tz: str) -> str:
        """Return the code that reads the same activities; the secret stays out of it."""
        call = f"read_activities({ids_code(self.ids)}"
        if self.is_search:
            call = f"find_activities({filters_code(self.wanted)}, limit={MOST_FOUND}"
        zone = "" if tz == "UTC" else f", tz={tz!r}"
        comment = self.texts("code_comment", portal=facts["portal"], user=facts["user_id"])
        return f"import b24frames as b24\n\n{comment}\ndf = b24.{call}{zone})"

    def update(self, n: int, /) -> None:
        """Take note that n more ids are settled."""
        if self.cancelled:
            raise _Cancelled
        if n:
            self.done, self.waiting = self.done + n, ""
            self.on_progress()

    def progress(self) -> dict[str, str]:
        """Return how many ids are settled, and of how many."""
        total = self.texts.count(self.total, "of_activity")
        return {"done": self.texts.number(self.done), "total": total}

    def set_postfix_str(self, text: str, /) -> None:
        """Take note of what the portal is waited for."""
        self.waiting = text
        self.on_progress()

    def read(self, make_portal: MakePortal, options: ReadOptions) -> None:
        """Read the activities; an error becomes a message."""
        notes: list[str] = []
        fetch = self._find if self.is_search else self._read
        try:
            with redirect_warnings(notes.append):
                if not self.is_search:
                    self.wanted = self.ids = self._parse()
                frame, lines = fetch(make_portal(), options)
        except _Cancelled:
            kept = "" if options["cache"] is False else "_kept"
            key = f"cancelled_search{kept}" if self.is_search else f"cancelled{kept}"
            done = {"activities": self.texts.count(self.done, "activity"), **self.progress()}
            self.lines, self.problem = [self.texts(key, **done)], False
        except _ERRORS as error:
            self.lines = [self.texts.explain(error)]
        else:
            self.lines, self.frame, self.problem = [*lines, *notes], frame, False

    def _read(self, portal: Portal, options: ReadOptions) -> tuple[pd.DataFrame, list[str]]:
        self.total = len(self.ids)
        # Missing ids are part of the message, and neither an error nor a warning.
        options = {**options, "missing": "ignore", "progress": self}
        frame = read_activities(self.ids, portal, **options)
        return frame, summary_lines(frame.attrs["b24"], len(frame), self.texts)

    def _find(self, portal: Portal, options: ReadOptions) -> tuple[pd.DataFrame, list[str]]:
        tz = options["tz"]
        shared: Any = {"cache": options["cache"], "limit": MOST_FOUND, "progress": self}
        frame = find_activities(self.wanted, portal, tz=tz, **shared)
        self.ids = frame.index.tolist()
        matched = len(frame)
        if matched == MOST_FOUND:
            self.update(0)
            matched = count_activities(self.wanted, portal, tz=tz)
        if matched <= len(frame):
            found = self.texts.count(len(frame), "activity")
            return frame, [self.texts("found", activities=found)]
        every = self.texts.count(matched, "of_activity")
        return frame, [self.texts("newest", most=MOST_FOUND, activities=every)]

    def _parse(self) -> list[int]:
        """Return the ids that a caller, or the text in the field, names."""
        if not isinstance(self.wanted, str):
            return parse_ids(self.wanted)
        if not self.wanted.strip():
            raise ValueError(self.texts("no_ids"))
        return parse_id_text(self.wanted)


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
        # The card has the owner already.
        is_owner = table.eq(frame[table.columns].iloc[0]).fillna(False).all(axis="columns")
        table = table[~is_owner.astype(bool)]
        return _with_names(table, portal, cache).assign(owner_url=table.b24.owner_url)

    reads: Reads = {"communications": communications, "links": links}
    if frame["ORIGIN_ID"].str.startswith("VI_").fillna(False).all():
        reads["calls"] = lambda portal: _with_names(frame.b24.calls(portal), portal, cache)
    return reads


def _with_names(table: pd.DataFrame, portal: Portal, cache: CachePlace) -> pd.DataFrame:
    return table.assign(**table.b24.names(portal, cache=cache))


def read_tables(
    reads: Reads, make_portal: MakePortal, texts: Texts, is_wanted: Callable[[], bool]
) -> Found:
    """Read the tables that can be read, as long as they are wanted; errors become sentences."""
    tables: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    for name, read in reads.items():
        if not is_wanted():
            break
        try:
            with redirect_warnings(notes.append):
                tables[name] = read(make_portal())
        except _ERRORS as error:
            notes.append(texts.explain(error))
    return tables, list(dict.fromkeys(notes))


def portal_maker(portal: Portal | str | None) -> MakePortal:
    """Return what makes the portal when it is needed; a URL is kept where no repr shows it."""
    return lambda: as_portal(portal)

"""One look-up: it reads, tells how far it is, can be cancelled, and ends in words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from b24frames.activities import ReadOptions, read_activities
from b24frames.errors import (
    B24Error,
    CacheError,
    InvalidAnswerError,
    OperatingTimeError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)
from b24frames.messages import count, redirect_warnings
from b24frames.portal import Portal, as_portal

_NEXT_STEPS: tuple[tuple[type[B24Error], str], ...] = (
    (PortalUnavailableError, "Check the connection to the portal, then look up again."),
    (InvalidAnswerError, "Check the portal's address, then look up again."),
    (RateLimitError, "Other programs ask the portal too: wait a minute, then look up again."),
    (OperatingTimeError, "Wait up to ten minutes, then look up again."),
    (CacheError, "Give the panel another place for the cache, or cache=False."),
)


class _Cancelled(Exception):
    """The user does not want the result any more."""


@dataclass(frozen=True)
class Outcome:
    """How a look-up ended.

    Attributes
    ----------
    frame : pandas.DataFrame or None
        What was read; None: nothing.
    problem : str
        Why not, and what to do next; empty where all is well.
    notes : tuple of str
        What else the user should know.
    cancelled : bool
        Whether the user did not want it any more.
    """

    frame: pd.DataFrame | None = None
    problem: str = "The look-up ended early; look up again to go on."
    notes: tuple[str, ...] = ()
    cancelled: bool = False


@dataclass
class LookUp:
    """A look-up: a progress bar to `read_activities`, which ends the read once cancelled.

    Attributes
    ----------
    ids : sequence of int
        What is looked up.
    make_portal : callable
        Returns the portal.
    options : dict
        Keywords of `read_activities`.
    on_progress : callable
        Told, in the thread that reads, how many ids are settled, and what the portal is waited
        for.
    """

    ids: Sequence[int]
    make_portal: Callable[[], Portal]
    options: ReadOptions
    on_progress: Callable[[int, str], object]
    done: int = 0
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the read, soon."""
        self._cancelled.set()

    def update(self, n: int, /) -> None:
        """Take note that n more ids are settled."""
        if self._cancelled.is_set():
            raise _Cancelled
        if n:
            self.done += n
            self.on_progress(self.done, "")

    def set_postfix_str(self, text: str, /) -> None:
        """Take note of what the portal is waited for."""
        self.on_progress(self.done, text)

    def read(self) -> Outcome:
        """Read the activities; what goes wrong is told in words."""
        notes: list[str] = []
        try:
            with redirect_warnings(notes.append):
                portal = self.make_portal()
                options: ReadOptions = {**self.options, "missing": "ignore", "progress": self}
                frame = read_activities(self.ids, portal, **options)
        except _Cancelled:
            return Outcome(problem=self._cancelled_text(), cancelled=True)
        except (B24Error, ValueError, TypeError, ImportError, OSError) as error:
            return Outcome(problem=explain(error))
        return Outcome(frame, "", tuple(notes))

    def _cancelled_text(self) -> str:
        """Say how far it was."""
        kept = "" if self.options["cache"] is False else " and kept"
        received = f"{self.done:,} of {count(len(self.ids), 'activity')}"
        return f"Cancelled: {received} had been received{kept}. Look up again to go on."


def portal_maker(portal: Portal | str | None) -> Callable[[], Portal]:
    """Return what makes the portal when it is needed; a URL is kept where no repr shows it."""
    return lambda: as_portal(portal)


def explain(error: Exception) -> str:
    """Return what happened and what to do next.

    Examples
    --------
    >>> explain(PortalUnavailableError("no connection to acme.bitrix24.com", method="batch"))
    'No connection to acme.bitrix24.com. Check the connection to the portal, then look up again.'
    """
    text = (str(error) or type(error).__name__).removeprefix("ids: ").rstrip(". ")
    if isinstance(error, PortalError):
        text = text.removeprefix(f"{error.method}: ")
    step = next((step for kind, step in _NEXT_STEPS if isinstance(error, kind)), "")
    return f"{text[:1].upper()}{text[1:]}. {step}".rstrip()

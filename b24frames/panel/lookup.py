"""One look-up: it reads, reports its progress, can be cancelled, and ends with a message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from b24frames import errors
from b24frames.activities import ReadOptions, read_activities
from b24frames.messages import count, redirect_warnings
from b24frames.panel.texts import summary_lines
from b24frames.portal import Portal, as_portal

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
    """A look-up: the progress bar of `read_activities`, which ends the read once cancelled.

    Attributes
    ----------
    ids : list of int
        What is looked up.
    on_progress : callable
        Called, in the thread that reads, with how many ids are settled, and why the read waits.
    lines : sequence of str
        How it ended: a message, then what else the user should know.
    frame : pandas.DataFrame or None
        What was read.
    problem : bool
        Whether it ended otherwise than by its result or by `cancel`.
    """

    ids: list[int]
    on_progress: Callable[[int, str], object]
    lines: Sequence[str] = ("The look-up ended early; look up again to go on.",)
    frame: pd.DataFrame | None = None
    problem: bool = True
    _done: int = 0
    # Set in the kernel's thread, read in the one that reads: a bool needs no lock.
    _cancelled: bool = False

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

    def read(self, make_portal: Callable[[], Portal], options: ReadOptions) -> None:
        """Read the activities; an error becomes a message."""
        notes: list[str] = []
        try:
            with redirect_warnings(notes.append):
                # Missing ids are part of the message, and neither an error nor a warning.
                options = {**options, "missing": "ignore", "progress": self}
                frame = read_activities(self.ids, make_portal(), **options)
        except _Cancelled:
            kept = "" if options["cache"] is False else " and kept"
            received = f"{self._done:,} of {count(len(self.ids), 'activity')}"
            text = f"Cancelled: {received} had been received{kept}. Look up again to go on."
            self.lines, self.problem = [text], False
        except (errors.B24Error, ValueError, TypeError, ImportError, OSError) as error:
            self.lines = [explain(error)]
        else:
            self.lines = [*summary_lines(frame.attrs["b24"], len(frame)), *notes]
            self.frame, self.problem = frame, False


def portal_maker(portal: Portal | str | None) -> Callable[[], Portal]:
    """Return what makes the portal when it is needed; a URL is kept where no repr shows it."""
    return lambda: as_portal(portal)


def explain(error: Exception) -> str:
    """Return what happened and what to do next.

    Examples
    --------
    >>> explain(errors.PortalUnavailableError("no connection to acme.bitrix24.com", method="batch"))
    'No connection to acme.bitrix24.com. Check the connection to the portal, then look up again.'
    """
    text = (str(error) or type(error).__name__).removeprefix("ids: ").rstrip(". ")
    if isinstance(error, errors.PortalError):
        text = text.removeprefix(f"{error.method}: ")
    step = next((step for kind, step in _NEXT_STEPS.items() if isinstance(error, kind)), "")
    return f"{text[:1].upper()}{text[1:]}. {step}".rstrip()

"""`LookupPanel`: what the user does, and what then happens."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import tzinfo
from typing import Any

import ipywidgets as widgets
import pandas as pd
import traitlets

from b24frames.activities import ReadOptions
from b24frames.arguments import check_tz
from b24frames.credentials import hiding_arguments, looks_like_address
from b24frames.ids import parse_id_text, parse_ids
from b24frames.messages import count
from b24frames.output import CachePlace
from b24frames.panel import table, texts
from b24frames.panel.reading import LookUp, Outcome, explain, portal_maker
from b24frames.panel.results import Results, summary
from b24frames.panel.view import View
from b24frames.portal import Portal

_HISTORY = 100
_ADDRESS = (
    "An address is not an id, and was taken out of the field: it would be saved with the notebook. "
    "A webhook belongs into the environment variable B24_WEBHOOK_URL."
)
_VIEW = "application/vnd.jupyter.widget-view+json"
Post = Callable[..., object]
"""Calls a function with arguments: at once, or in the thread that the widgets belong to."""


class LookupPanel(widgets.VBox):
    """A field for ids, the activities as a table, and one of them in detail.

    Parameters
    ----------
    portal : Portal or str, optional
        As of `b24frames.read_activities`.
    ids : int, str, or iterable, optional
        Looked up at once.
    cache : bool, path-like or ActivityCache, default True
        As of `b24frames.read_activities`.
    tz : str or tzinfo, default "UTC"
        The zone in which times are shown, and that of the frame's columns.
    max_age : str, timedelta, 0 or None, default "1h"
        As of `b24frames.read_activities`.

    Attributes
    ----------
    ids : list of int
        The ids looked up last; observable, like all of these.
    frame : pandas.DataFrame or None
        Their rows, as of `b24frames.read_activities`; None where the last look-up failed.
    busy : bool
        Whether a look-up is under way.
    message : str
        How the last look-up ended, in words.

    Notes
    -----
    The button, Enter and Refresh read in a thread where an event loop runs, as it does in a
    notebook: other cells go on, and Cancel works. The traits change in the kernel's own thread,
    between cells. `lookup` does the same, and returns when it is done. No secret is in the state
    of the widgets, so none gets into a saved notebook; the rows shown last do.

    Examples
    --------
    >>> panel = LookupPanel(portal)
    >>> panel.lookup("1-3")
    >>> panel.message
    '3 activities.'
    >>> panel.frame.index.tolist()
    [1, 2, 3]
    """

    ids = traitlets.List(traitlets.Int())
    frame = traitlets.Instance(pd.DataFrame, allow_none=True)
    busy = traitlets.Bool(False)
    message = traitlets.Unicode("")

    @hiding_arguments
    def __init__(
        self,
        portal: Portal | str | None = None,
        ids: object = None,
        cache: CachePlace = True,
        *,
        tz: str | tzinfo = "UTC",
        max_age: Any = "1h",
    ) -> None:
        self._make_portal = portal_maker(portal)
        del portal  # a debugger would show it when a look-up is interrupted
        self._options: ReadOptions = {"cache": cache, "tz": check_tz(tz), "max_age": max_age}
        self._history: deque[list[int]] = deque(maxlen=_HISTORY)
        self._look_up: LookUp | None = None
        self._display: Any = None
        self._view = View()
        self._results = Results(self._view, self._options)
        super().__init__(self._view.children())
        self.add_class("b24-panel")
        self._connect()
        if ids is not None:
            self.lookup(ids)

    def _connect(self) -> None:
        """Say what each widget does."""
        view = self._view
        view.look_up.on_click(lambda _: self._start(view.field.value))
        view.field.on_msg(self._on_field)
        view.field.observe(self._on_text, "value")
        view.cancel.on_click(lambda _: self._cancel())
        view.refresh.on_click(lambda _: self._start(list(self.ids), max_age=0))
        view.recent.observe(self._on_recent, "value")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"

    @property
    def history(self) -> list[list[int]]:
        """The ids of the last look-ups, the newest last; at most 100.

        Returns
        -------
        list of list of int
            A copy.
        """
        return [list(ids) for ids in self._history]

    def lookup(self, ids: object) -> None:
        """Look activities up and show them, as the button does; return when it is done.

        Parameters
        ----------
        ids : int, str or iterable
            As of `b24frames.read_activities`, or a text such as ``"1-20, 35"``.
        """
        look_up = self._begin(ids, _at_once)
        if look_up is not None:
            self._run(look_up, _at_once)

    def _start(self, ids: object, **options: Any) -> None:
        """Look activities up in a thread, or at once where no event loop would hear of its end."""
        if self.busy:
            return
        post = _post_to_this_thread()
        look_up = self._begin(ids, post, **options)
        if look_up is None:
            return
        if post is _at_once:
            self._run(look_up, post)
        else:
            threading.Thread(
                target=self._run, args=(look_up, post), name="b24frames panel", daemon=True
            ).start()

    def _begin(self, ids: object, post: Post, **options: Any) -> LookUp | None:
        """Show that a look-up begins; refuse what are no ids."""
        self._cancel()
        try:
            wanted = _wanted(ids)
        except (ValueError, TypeError) as error:
            self._look_up = None
            self._end([], Outcome(problem=explain(error)))
            return None
        total = len(wanted)

        def on_progress(done: int, waiting: str) -> None:
            post(self._show_progress, look_up, done, waiting)

        merged: Any = {**self._options, **options}
        look_up = LookUp(wanted, self._make_portal, merged, on_progress)
        self._look_up = look_up
        self._view.bar.max, self._view.bar.value = max(1, total), 0
        self._view.show_message([f"Looking up {count(total, 'activity')}…"])
        self._view.show_busy(busy=True)
        self.busy = True
        return look_up

    def _run(self, look_up: LookUp, post: Post) -> None:
        """Read, whatever happens tell how it ended."""
        outcome = Outcome()
        try:
            outcome = look_up.read()
        finally:
            post(self._finish, look_up, outcome)

    def _show_progress(self, look_up: LookUp, done: int, waiting: str) -> None:
        """Show how far a look-up is, unless another has begun."""
        if look_up is self._look_up and self.busy:
            self._view.bar.value = done
            words = f"{done:,} of {count(len(look_up.ids), 'activity')}"
            self._view.show_message([words, waiting] if waiting else [words])

    def _finish(self, look_up: LookUp, outcome: Outcome) -> None:
        """Show how a look-up ended, unless another has begun."""
        if look_up is self._look_up:
            self._look_up = None
            self._end(list(look_up.ids), outcome)

    def _end(self, ids: list[int], outcome: Outcome) -> None:
        """Set the traits and show the result."""
        frame, view = outcome.frame, self._view
        view.show_busy(busy=False)
        self.ids, self.frame = ids, frame
        if frame is None:
            self._results.clear()
            view.show_message([outcome.problem], problem=not outcome.cancelled)
            self.message = outcome.problem
        else:
            said, reasons = summary(frame.attrs["b24"], len(frame))
            self._results.show(ids, frame)
            view.show_message([said, *reasons, *outcome.notes])
            self._remember(ids)
            self.message = said
        self.busy = False
        if self._display is not None:
            self._display.update(self._static(), raw=True)

    def _cancel(self) -> None:
        """End the look-up that is under way."""
        if self._look_up is not None:
            self._look_up.cancel()
            self._view.show_message(["Cancelling…"])

    def _remember(self, ids: list[int]) -> None:
        """Put ids into the history, and into the list of it."""
        self._history.append(ids)
        recent = {texts.short_ids_text(i): i for i in reversed(self._history)}
        self._view.show_recent(list(recent.items()))

    def _on_field(self, _: object, content: dict[str, Any], __: object) -> None:
        """Look up when Enter is pressed in the field; leaving it does nothing."""
        if content.get("event") == "submit":
            self._start(self._view.field.value)

    def _on_text(self, change: dict[str, Any]) -> None:
        """Empty the field of an address at once: a saved notebook would have its secret."""
        if looks_like_address(change["new"]):
            self._view.field.value = ""
            self._view.show_message([_ADDRESS], problem=True)

    def _on_recent(self, change: dict[str, Any]) -> None:
        """Look up again what was chosen from the history."""
        if change["new"] is not None and not self.busy:
            self._view.field.value = texts.ids_text(change["new"])
            self._start(change["new"])

    # Where no kernel runs

    def _static(self) -> dict[str, str]:
        """Return the last result for pages where no kernel and no JavaScript runs."""
        return {
            "text/plain": repr(self),
            "text/html": table.static_html(self.frame, self.message),
        }

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the widget, and what to show in its place."""
        return {**super()._repr_mimebundle_(**kwargs), **self._static()}

    def _ipython_display_(self) -> None:
        """Display the widget, and below it the last result, seen only where the widget is not."""
        from IPython.display import display

        show: Any = display  # it has no types
        bundle = self._repr_mimebundle_()
        show({_VIEW: bundle[_VIEW], "text/plain": repr(self)}, raw=True)
        self._display = show(self._static(), raw=True, display_id=True)


def _wanted(ids: object) -> list[int]:
    """Return the ids that a caller, or the text in the field, names."""
    if not isinstance(ids, str):
        return parse_ids(ids)
    if not ids.strip():
        raise ValueError("no ids; type some, such as 999 or 1-20, 35")
    return parse_id_text(ids)


def _post_to_this_thread() -> Post:
    """Return what calls a function in this thread, from any other, where an event loop runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _at_once

    def post(function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody looks any more
            loop.call_soon_threadsafe(function, *arguments)

    return post


def _at_once(function: Callable[..., object], *arguments: object) -> None:
    """Call a function in this thread."""
    function(*arguments)

"""`LookupPanel`: ids are typed or a form is filled, a look-up reads, and its result is shown."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import tzinfo
from importlib.resources import files
from time import monotonic
from typing import Any

import ipywidgets as widgets
import pandas as pd
import traitlets

from b24frames.activities import ReadOptions
from b24frames.arguments import check_choice, check_tz
from b24frames.credentials import looks_like_address, scrub_traceback
from b24frames.filters import Filters
from b24frames.output import CachePlace
from b24frames.panel.html import later_html, message_html, static_html
from b24frames.panel.lookup import Found, LookUp, Reads, portal_maker, read_tables
from b24frames.panel.results import Results, bar, show
from b24frames.panel.search import SearchForm
from b24frames.panel.texts import Texts, ids_text, short_ids_text
from b24frames.portal import Portal
from b24frames.records import portal_of
from b24frames.schema import Language

_HISTORY = 100
_UNNOTICED = 0.5  # [s] names and details that are there sooner need no word and no button
_LATE = 1.0  # [s] in which the value of a field may come after Enter or a click
_VIEW = "application/vnd.jupyter.widget-view+json"
_STYLE = files("b24frames.panel").joinpath("panel.css").read_text(encoding="utf-8")


class LookupPanel(widgets.VBox):
    """A field for ids and a search, the activities as a table, and one of them in detail.

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
    language : {"en", "ru"}, default "en"
        The language of the panel. What the portal says stays as it is, and so do warnings and rare
        messages.

    Attributes
    ----------
    ids : list of int
        The ids looked up or found last; observable, like all of these.
    frame : pandas.DataFrame or None
        Their rows, as of `b24frames.read_activities` or `b24frames.find_activities`; None where the
        last look-up failed.
    busy : bool
        Whether a look-up or a search is under way.
    message : str
        How it ended: a sentence.

    Notes
    -----
    The buttons, Enter and Refresh read in a thread where an event loop runs, as it does in a
    notebook: other cells go on, and Cancel works. The traits change in the kernel's own thread,
    between cells. `lookup` and `find` do the same, and return when the rows are there. Names of
    users and owners, and what a card shows besides the record, are read after that, in a thread of
    their own; they are shown, and do not get into `frame`. No secret is in the state of the
    widgets, so none gets into a saved notebook; the rows shown last do.

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

    @scrub_traceback
    def __init__(
        self,
        portal: Portal | str | None = None,
        ids: object = None,
        cache: CachePlace = True,
        *,
        tz: str | tzinfo = "UTC",
        max_age: Any = "1h",
        language: Language = "en",
    ) -> None:
        self._make_portal = portal_maker(portal)
        # A debugger would show the URL when a look-up is interrupted.
        del portal
        self._options: ReadOptions = {"cache": cache, "tz": check_tz(tz), "max_age": max_age}
        self._history: deque[list[int]] = deque(maxlen=_HISTORY)
        self._look_up: LookUp | None = None
        self._shown: LookUp | None = None
        self._loadings: list[Callable[[Found], object]] = []
        self._late_until: dict[Any, float] = {}
        self._display: Any = None
        texts = self._texts = Texts(check_choice("language", language, Language))
        self._field = widgets.Text(description=texts("field"), placeholder=texts("field_hint"))
        self._button = widgets.Button(description=texts("look_up"), button_style="primary")
        self._cancel = widgets.Button(description=texts("cancel"), tooltip=texts("cancel_hint"))
        nothing = [(texts("recent_hint"), ())]
        self._recent = widgets.Dropdown(description=texts("recent"), options=nothing)
        self._bar = widgets.IntProgress(max=1)
        self._message, self._later = widgets.HTML(), widgets.HTML().add_class("b24-later")
        self._search = SearchForm(texts)
        self._results = Results(str(self._options["tz"]), cache, self._load, texts)
        self._field.add_class("b24-ids")
        self._recent.add_class("b24-recent")
        show(False, self._cancel, self._recent, self._bar)
        ask = bar("ask", self._field, self._button, self._cancel, self._recent)
        style = widgets.HTML(f"<style>{_STYLE}</style>")
        form, results = self._search.bar, self._results.children
        super().__init__([ask, form, self._bar, self._message, self._later, *results, style])
        self.add_class("b24-panel").add_class(f"b24-{language}")
        self._connect()
        if ids is not None:
            self.lookup(ids)

    def _connect(self) -> None:
        """Connect the widgets with what they do."""

        def on_recent(change: dict[str, Any]) -> None:
            if change["new"] and not self.busy:
                self._field.value = ids_text(change["new"])
                self._start(change["new"])

        def cancel() -> None:
            if self._look_up is None:
                for show_found in self._drop_loadings():
                    show_found(({}, [self._texts("loading_cancelled")]))
            self._cancel_look_up()

        def refresh() -> None:
            if (shown := self._shown) is not None:
                self._start(shown.wanted, shown.frame, is_search=shown.is_search, max_age=0)

        search = self._search
        self._connect_form(lambda: self._field.value, self._button, [self._field])
        self._connect_form(search.filters, search.button, search.fields, is_search=True)
        self._cancel.on_click(lambda _: cancel())
        self._recent.observe(on_recent, "value")
        self._results.refresh.on_click(lambda _: refresh())

    def _connect_form(
        self, wanted: Callable[[], Any], button: Any, fields: Sequence[Any], **options: Any
    ) -> None:
        """Let a button, Enter, and what a browser sends after these, start a look-up."""

        def begin(_: object) -> None:
            # Of quick changes the browser sends the last when the kernel is idle.
            self._late_until = dict.fromkeys(fields, monotonic() + _LATE)
            self._start(wanted(), **options)

        def on_enter(_: object, content: dict[str, Any], __: object) -> None:
            # A change of the value would do for Enter, but also comes when the field is left.
            if content.get("event") == "submit":
                begin(_)

        def on_value(change: dict[str, Any]) -> None:
            field = change["owner"]
            is_late = monotonic() < self._late_until.pop(field, 0)
            # Not only on Enter: a notebook saved in between would have the secret.
            if looks_like_address(change["new"]):
                field.value = ""
                self._say([self._texts("address")], problem=True)
            elif is_late and _running_loop() is not None:
                self._start(wanted(), again=True, **options)

        for field in fields:
            field.on_msg(on_enter)
            field.observe(on_value, "value")
        button.on_click(begin)

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
        self._read(ids, None)

    def find(self, filters: Filters | None = None) -> None:
        """Find activities and show them, newest first, as the button does; return when it is done.

        Parameters
        ----------
        filters : list of tuple, or list of list of tuple, optional
            As of `b24frames.find_activities`; by default every activity that the user may see. Of
            more than 200 activities the newest are shown, and the message says how many there are.

        Examples
        --------
        >>> panel = LookupPanel(portal)
        >>> panel.find([("TYPE_ID", "==", "call"), ("CREATED", "<", "2022-01-10")])
        >>> panel.frame.index.is_monotonic_decreasing
        True
        """
        self._read(filters, None, is_search=True)

    def _start(self, wanted: Any, shown: Any = None, again: bool = False, **options: Any) -> None:
        """Begin a look-up in a thread, or at once where no event loop runs to report to."""
        if again or not self.busy:
            self._read(wanted, _running_loop(), shown, **options)

    def _read(
        self,
        wanted: Any,
        loop: asyncio.AbstractEventLoop | None,
        shown: pd.DataFrame | None = None,
        *,
        is_search: bool = False,
        **options: Any,
    ) -> None:
        """Read activities, or those shown again, in a thread that reports to a loop, or at once."""

        def make_portal() -> Portal:
            portal = self._make_portal()
            return portal if shown is None else portal_of(shown, portal)

        def on_progress() -> None:
            _post(loop, lambda: self._show_progress(look_up))

        self._cancel_look_up()
        self._drop_loadings()
        merged: Any = {**self._options, **options}
        look_up = self._look_up = LookUp(wanted, on_progress, self._texts, is_search)
        self._bar.value = 0
        self._say([self._texts("searching" if is_search else "looking_up")])
        self.busy = True
        _run(loop, lambda: look_up.read(make_portal, merged), lambda _: self._finish(look_up))

    def _load(self, reads: Reads, show_found: Callable[[Found], object]) -> None:
        """Read what is shown after the rows, in a thread, or at once where no event loop runs."""
        loop = _running_loop()

        def is_wanted() -> bool:
            return show_found in self._loadings

        def finish(found: Found | None) -> None:
            if is_wanted():
                self._loadings.remove(show_found)
                if found is not None:
                    show_found(found)
                self._update_static()
                self._show_busy()

        def notice() -> None:
            if is_wanted():
                self._later.value = later_html([self._texts("loading")], self._texts.language)
                show(True, self._cancel)

        self._loadings.append(show_found)
        _run(loop, lambda: read_tables(reads, self._make_portal, self._texts, is_wanted), finish)
        if loop is not None:
            loop.call_later(_UNNOTICED, notice)

    def _cancel_look_up(self) -> None:
        """End the look-up that is under way."""
        if self._look_up is not None:
            self._look_up.cancelled = True
            self._say([self._texts("cancelling")])

    def _drop_loadings(self) -> list[Callable[[Found], object]]:
        """Wait no longer for names and details; return what would have shown them."""
        dropped, self._loadings = self._loadings, []
        self._show_busy()
        return dropped

    def _show_progress(self, look_up: LookUp) -> None:
        """Show how far a look-up is, unless another has begun."""
        if look_up is self._look_up:
            self._bar.max = max(1, look_up.total)
            self._bar.value = look_up.done
            lines = [self._texts("progress", **look_up.progress()), look_up.waiting]
            self._say([line for line in lines if line])

    def _finish(self, look_up: LookUp) -> None:
        """Set the traits and show how a look-up ended, unless another has begun."""
        if look_up is not self._look_up:
            return
        self._look_up = None
        self._results.show(look_up.frame, look_up.code)
        self._say(look_up.lines, problem=look_up.problem)
        if look_up.frame is not None:
            self._shown = look_up
        if look_up.frame is not None and not look_up.is_search:
            self._history.append(look_up.ids)
            recent: dict[str, list[int]] = {}
            for ids in reversed(self._history):  # of two that look alike, the newer
                recent.setdefault(short_ids_text(ids, self._texts), ids)
            self._recent.options = [self._recent.options[0], *recent.items()]
            show(len(recent) > 1, self._recent)
        # Observers see all traits as they are at the end; one may raise, or begin a look-up.
        with self.hold_trait_notifications():
            self.message, self.busy = look_up.lines[0], False
            self.ids, self.frame = look_up.ids, look_up.frame
        self._update_static()
        self._results.load_names()

    def _say(self, lines: Sequence[str], *, problem: bool = False) -> None:
        """Show a message."""
        self._message.value = message_html(lines, self._texts.language, problem=problem)

    @traitlets.observe("busy")
    def _show_busy(self, _: object = None) -> None:
        """Show whether a look-up is under way, or names are awaited."""
        starts = (self._button, self._search.button, self._recent, self._results.refresh)
        for widget in starts:
            widget.disabled = self.busy
        show(self.busy, self._bar)
        if self.busy or not self._loadings:
            show(self.busy, self._cancel)
            self._later.value = ""

    def _static(self) -> dict[str, str]:
        """Return the last result for pages where no kernel and no JavaScript runs."""
        html = static_html(self._results.named, self.message, self._texts)
        return {"text/plain": repr(self), "text/html": html}

    def _update_static(self) -> None:
        if self._display is not None:
            self._display.update(self._static(), raw=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the widget, and what to show in its place."""
        return {**super()._repr_mimebundle_(**kwargs), **self._static()}

    def _ipython_display_(self) -> None:
        """Display the widget, and below it the last result, seen only where the widget is not."""
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        display({_VIEW: bundle[_VIEW], "text/plain": repr(self)}, raw=True)
        self._display = display(self._static(), raw=True, display_id=True)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _post(loop: asyncio.AbstractEventLoop | None, function: Callable[[], object]) -> None:
    """Call a function in the thread of a loop, or at once."""
    if loop is None:
        function()
        return
    # A closed loop has no page left to update.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)


def _run(
    loop: asyncio.AbstractEventLoop | None,
    work: Callable[[], Any],
    finish: Callable[[Any], object],
) -> None:
    """Work in a thread and finish, whatever happened, in that of a loop; or do both at once."""

    def run() -> None:
        result = None
        try:
            result = work()
        finally:
            _post(loop, lambda: finish(result))

    if loop is None:
        run()
    else:
        threading.Thread(target=run, name="b24frames panel", daemon=True).start()

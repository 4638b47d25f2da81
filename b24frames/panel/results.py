"""The result of a look-up: a table in pages, the card of an activity, files, and code."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd

from b24frames.accessor.interchange import spreadsheet_safe, storable
from b24frames.messages import redirect_warnings, visible
from b24frames.output import CachePlace
from b24frames.panel.html import (
    HEADS,
    SORTS,
    card_html,
    details_html,
    fill,
    later_html,
    sort_rows,
    table_html,
    table_rows,
)
from b24frames.panel.lookup import Found, Reads, detail_reads, name_reads
from b24frames.panel.texts import Html, Texts, source_text

_PAGE = 20
_FORMATS = {
    ".csv": lambda frame: spreadsheet_safe(frame).to_csv().encode("utf-8-sig"),
    ".parquet": lambda frame: storable(frame).to_parquet(),
}
Load = Callable[[Reads, Callable[[Found], object]], None]
"""Reads tables in another thread, then shows them."""
GetCode = Callable[[Mapping[str, Any], str], str]
"""Returns the code that reads a frame with such attrs, in a zone."""


class Results:
    """A frame, and the widgets that show it.

    Parameters
    ----------
    tz : str
        The zone of its times.
    cache : bool, path-like or ActivityCache
        Where names are kept.
    load : callable
        Reads what is shown after the rows: names, and the details of a card.
    texts : Texts
        The words for everything.

    Attributes
    ----------
    children : list of ipywidgets.Widget
        The widgets, from top to bottom.
    refresh : ipywidgets.Button
        For the panel, which can read again.
    named : pandas.DataFrame
        The frame, with the names of users and owners as soon as they are there.
    """

    def __init__(self, tz: str, cache: CachePlace, load: Load, texts: Texts) -> None:
        self._tz, self._cache, self._load, self._texts = tz, cache, load, texts
        self._frame = self.named = pd.DataFrame()
        self._code: GetCode | None = None
        # The positions of the frame's rows in the order of the table.
        self._order: list[int] = []
        self._page = 0
        self._chosen: int | None = None
        # Of the activities whose cards have been shown, as soon as they are there.
        self._details: dict[int, Html] = {}
        self._asked: set[int] = set()
        self._make_widgets()

    def _make_widgets(self) -> None:
        texts, button = self._texts, widgets.Button
        columns = {name: texts(f"column.{name}") for name in SORTS}
        sorts = [(column, name) for name, column in columns.items()]
        self._sort = widgets.Dropdown(description=texts("sort"), options=sorts)
        self._descending = widgets.ToggleButton(description=texts("descending"))
        self._pages = widgets.HTML().add_class("b24-said")
        self._previous = button(description=texts("previous"))
        self._next = button(description=texts("next"))
        self._table = widgets.HTML()
        # They lie over the rows of the table, for HTML alone cannot call the kernel.
        self._buttons = [button() for _ in range(_PAGE)]
        self._rows = widgets.VBox().add_class("b24-rows")
        heads = [
            button(description=texts("order_by", column=columns[n])).add_class(f"b24-{n}")
            for n in HEADS
        ]
        self._notes = widgets.HTML().add_class("b24-notes")
        self._card = widgets.HTML()
        self._source = widgets.HTML().add_class("b24-said")
        self.refresh = button(description=texts("refresh"), tooltip=texts("refresh_hint"))
        self._show_code = widgets.ToggleButton(description=texts("copy"))
        csv = button(description=texts("save_csv"))
        parquet = button(description=texts("save_parquet"))
        self._saved = widgets.HTML()
        self._code_area = widgets.Textarea(description=texts("code"), rows=4).add_class("b24-code")

        self.children = [
            bar("tools", self._sort, self._descending, self._pages, self._previous, self._next),
            widgets.Box(
                [self._table, widgets.Box(heads).add_class("b24-heads"), self._rows]
            ).add_class("b24-grid"),
            self._notes,
            self._card,
            bar("actions", self._source, self.refresh, self._show_code, csv, parquet),
            self._saved,
            self._code_area,
        ]
        show(False, *self.children)

        for widget in (self._sort, self._descending):
            widget.observe(lambda _: self._show_sorted(), "value")
        for name, head in zip(HEADS, heads, strict=True):
            head.on_click(lambda _, name=name: self._sort_by(name))
        self._previous.on_click(lambda _: self._show_page(self._page - 1))
        self._next.on_click(lambda _: self._show_page(self._page + 1))
        for place, button in enumerate(self._buttons):
            button.on_click(lambda _, place=place: self._show_page(self._page, place))
        self._show_code.observe(lambda _: self._update_code(), "value")
        csv.on_click(lambda _: self._save(".csv"))
        parquet.on_click(lambda _: self._save(".parquet"))

    def show(self, frame: pd.DataFrame | None, code: GetCode) -> None:
        """Show a frame, the first page of its rows, and where it came from; None: nothing."""
        tools, grid, notes, card, actions, saved, _ = self.children
        self._frame = self.named = pd.DataFrame() if frame is None else frame
        self._code, self._details, self._asked = None, {}, set()
        if frame is None:
            show(False, *self.children)
            return
        self._code = code
        self._chosen = int(frame.index[0]) if len(frame) == 1 else None
        self._source.value = self._note(source_text(frame.attrs["b24"], self._texts))
        self._notes.value = self._saved.value = self._card.value = ""
        self._update_code()
        self._show_sorted()
        show(True, actions, saved)
        show(len(frame) > 0, tools, grid, notes, card)

    def load_names(self) -> None:
        """Read the names of users and owners, and the details of a single row."""
        frame = self._frame

        def show_names(found: Found) -> None:
            tables, notes = found
            if frame is self._frame:
                self.named = tables.get("named", frame)
                self._notes.value = later_html(notes, self._texts.language)
                self._show_sorted(self._page)

        if len(frame):
            self._load(name_reads(frame, self._cache), show_names)
            self._load_details()

    def _load_details(self) -> None:
        """Read what the card of the chosen activity shows besides its record, once."""
        frame, number, details, asked = self._frame, self._chosen, self._details, self._asked
        if number is None or number in asked:
            return
        asked.add(number)

        def show_details(found: Found) -> None:
            tables, notes = found
            details[number] = details_html(tables, notes, self._texts)
            if not tables:  # asked again when the card is shown again
                asked.discard(number)
            if details is self._details and number == self._chosen:
                self._show_card()

        self._load(detail_reads(frame.loc[[number]], self._cache), show_details)

    def _sort_by(self, name: str) -> None:
        """Sort by a column; in the other direction where rows are sorted by it already."""
        if self._sort.value == name:
            self._descending.value = not self._descending.value
        else:
            self._descending.value, self._sort.value = False, name

    def _show_sorted(self, page: int = 0) -> None:
        """Show a page of the rows, sorted as chosen."""
        if len(self.named):
            descending = self._descending.value
            by = self._sort.value
            self._order = sort_rows(self.named, by, self._texts, descending=descending)
            self._show_page(page)

    def _show_page(self, page: int, place: int | None = None) -> None:
        """Show a page of the table, and the card of a row of it, or of the one chosen before."""
        first, total = page * _PAGE, len(self._order)
        frame = self.named.iloc[self._order[first : first + _PAGE]]
        if place is not None:
            self._chosen = int(frame.index[place])
        rows = table_rows(frame, self._texts)
        last = first + len(rows)
        self._page = page
        places = {"first": first + 1, "last": last, "total": total}
        numbers = {name: self._texts.number(place) for name, place in places.items()}
        self._pages.value = self._note(self._texts("pages", **numbers, tz=self._tz))
        self._previous.disabled, self._next.disabled = page == 0, last >= total
        sort = self._sort.value, "descending" if self._descending.value else "ascending"
        self._table.value = table_html(rows, self._texts, self._chosen, sort)
        for button, row in zip(self._buttons, rows, strict=False):
            text = self._texts("show", id=row["ID"], subject=row["Subject"])
            button.description = visible(text)
        self._rows.children = self._buttons[: len(rows)]
        self._show_card()
        if place is not None:
            self._load_details()

    def _show_card(self) -> None:
        """Show the card of the chosen activity, with the details that are there."""
        if (number := self._chosen) is not None:
            address = self._frame.attrs["b24"]["portal"]
            # Microseconds, as in the frame: nanoseconds end in 2262.
            now = pd.Timestamp.now("UTC").as_unit("us")
            details = self._details.get(number, "")
            self._card.value = card_html(self.named, number, address, now, self._texts, details)

    def _update_code(self) -> None:
        """Show the code that reads the same, or hide it."""
        code = self._code if self._show_code.value else None
        self._code_area.value = code(self._frame.attrs["b24"], self._tz) if code else ""
        show(code is not None, self._code_area)

    def _save(self, suffix: str) -> None:
        """Save the frame in the working folder, and report the name of the file."""
        notes: list[str] = []
        try:
            with redirect_warnings(notes.append):
                name = _write(suffix, _FORMATS[suffix](self._frame))
        except (OSError, ImportError, ValueError) as error:
            text = self._texts("not_saved", why=self._texts.explain(error))
        else:
            rows = self._texts.count(len(self._frame), "row")
            text = self._texts("saved", rows=rows, name=name)
        self._saved.value = self._note(" ".join([text, *notes]))

    def _note(self, text: str) -> Html:
        return fill("note", language=self._texts.language, text=text)


def bar(name: str, *children: widgets.Widget) -> widgets.Box:
    """Make a row of widgets that breaks where the window is narrow."""
    return widgets.Box(children).add_class("b24-bar").add_class(f"b24-{name}")


def show(shown: bool, *parts: widgets.Widget) -> None:
    """Show or hide widgets."""
    for part in parts:
        part.layout.display = None if shown else "none"


def _write(suffix: str, content: bytes) -> str:
    """Write a file whose name says when, and that is not there yet; return its name."""
    stem = f"activities-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for number in itertools.count(1):
        path = Path(f"{stem}{f'-{number}' if number > 1 else ''}{suffix}")
        # Exclusively, so that no link is followed which somebody put into a shared folder.
        with suppress(FileExistsError), path.open("xb") as file:
            file.write(content)
            break
    return path.name

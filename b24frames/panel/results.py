"""What is done with a result: its rows are sorted, turned over, looked at, saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from b24frames.activities import ReadOptions
from b24frames.ids import parse_ids
from b24frames.messages import count, name_some, redirect_warnings
from b24frames.panel import export, table
from b24frames.panel.card import card_html
from b24frames.panel.reading import explain
from b24frames.panel.view import View, said


class Results:
    """The frame of the last look-up, as the widgets of a view show it.

    Parameters
    ----------
    view : View
        The widgets.
    options : dict
        How it was read.
    """

    def __init__(self, view: View, options: ReadOptions) -> None:
        self._view = view
        self._options = options
        self._ids: list[int] = []
        self._frame = pd.DataFrame()
        self._order: list[int] = []  # positions of the frame's rows, as they are shown
        self._page = 0
        self._chosen: int | None = None
        self._connect()

    def _connect(self) -> None:
        """Say what each widget does."""
        view = self._view
        view.sort.observe(lambda _: self._sort(), "value")
        view.descending.observe(lambda _: self._sort(), "value")
        view.previous.on_click(lambda _: self._turn(-1))
        view.next.on_click(lambda _: self._turn(1))
        for place, button in enumerate(view.rows):
            button.on_click(lambda _, place=place: self._choose(place))
        view.show_code.observe(lambda _: self._show_code(), "value")
        view.csv.on_click(lambda _: self._save(export.save_csv))
        view.parquet.on_click(lambda _: self._save(export.save_parquet))

    def clear(self) -> None:
        """Show nothing."""
        self._view.show_results(some=False, any_rows=False)

    def show(self, ids: list[int], frame: pd.DataFrame) -> None:
        """Show a frame, the first page of its rows, and where it came from."""
        view = self._view
        self._ids, self._frame = ids, frame
        self._chosen = parse_ids(frame.index)[0] if len(frame) == 1 else None
        view.source.value = said(export.source_text(frame.attrs["b24"]))
        view.saved.value = view.card.value = ""
        self._show_code()
        self._sort()
        view.show_results(some=True, any_rows=len(frame) > 0)

    def _sort(self) -> None:
        """Show the first page of the rows, sorted as chosen."""
        if len(self._frame):
            view = self._view
            descending = view.descending.value
            self._order = table.sort_rows(self._frame, view.sort.value, descending=descending)
            self._page = 0
            self._show_page()

    def _turn(self, pages: int) -> None:
        """Turn to another page."""
        self._page += pages
        self._show_page()

    def _choose(self, place: int) -> None:
        """Show the activity of a row in detail."""
        self._chosen = parse_ids(self._rows_of_page().index)[place]
        self._show_page()

    def _rows_of_page(self) -> pd.DataFrame:
        """Return the rows of the page."""
        start = self._page * table.PAGE
        return self._frame.iloc[self._order[start : start + table.PAGE]]

    def _show_page(self) -> None:
        """Show a page of the table, and the chosen activity."""
        view, total, first = self._view, len(self._order), self._page * table.PAGE
        rows = table.cells(self._rows_of_page())
        last = first + len(rows)
        shown = f"{first + 1:,}–{last:,} of {total:,}"
        view.pages.value = said(f"{shown} · times in {self._options['tz']}")
        view.previous.disabled = self._page == 0
        view.next.disabled = last >= total
        view.table.value = table.page_html(rows, self._chosen)
        view.show_rows([f"Show activity {row['ID']}: {row['Subject']}" for row in rows])
        if self._chosen is not None:
            address = self._frame.attrs["b24"]["portal"]
            now = pd.Timestamp.now("UTC").as_unit("us")  # as the frame: nanoseconds end in 2262
            view.card.value = card_html(self._frame, self._chosen, address, now)

    def _show_code(self) -> None:
        """Show the code that reads the same, or hide it."""
        wanted, facts = self._view.show_code.value, self._frame.attrs.get("b24")
        code = export.code(self._ids, facts, self._options) if wanted and facts else ""
        self._view.show_code_field(code)

    def _save(self, save: Callable[[pd.DataFrame], str]) -> None:
        """Save the frame, and say where."""
        notes: list[str] = []
        try:
            with redirect_warnings(notes.append):
                name = save(self._frame)
        except (OSError, ImportError, ValueError) as error:
            text = f"Not saved: {explain(error)}"
        else:
            text = f"{count(len(self._frame), 'row')} saved as {name}, in the working folder."
        self._view.saved.value = said(" ".join([text, *notes]))


def summary(facts: dict[str, Any], rows: int) -> tuple[str, list[str]]:
    """Say how many activities there are, which are missing, and why."""
    missing = facts["missing"]
    named = f" No record: {name_some(missing)}." if missing else ""
    reasons = [
        f"{reason}: {name_some(ids, 20)}" for reason, ids in facts["missing_reasons"].items()
    ]
    return f"{count(rows, 'activity')}.{named}", reasons

"""The widgets that a panel is made of, and how they lie."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import ipywidgets as widgets

from b24frames.panel.table import NO_MATHS, PAGE, SORTS
from b24frames.panel.texts import escape, visible

_STYLE = files("b24frames.panel").joinpath("panel.css").read_text(encoding="utf-8")


class View:
    """The widgets of one panel."""

    def __init__(self) -> None:
        self.field = widgets.Text(
            description="Activities", placeholder="ids, such as 999 or 1-20, 35"
        )
        self.look_up = widgets.Button(description="Look up", button_style="primary")
        self.cancel = widgets.Button(description="Cancel", tooltip="Stop reading")
        self.recent = widgets.Dropdown(description="Recent", options=[("look-ups", None)])
        self.bar = widgets.IntProgress(max=1)
        self.message = widgets.HTML()

        self.sort = widgets.Dropdown(description="Sort by", options=SORTS)
        self.descending = widgets.ToggleButton(description="Descending")
        self.pages = widgets.HTML()
        self.previous = widgets.Button(description="Previous")
        self.next = widgets.Button(description="Next")
        self.table = widgets.HTML()
        self.rows = [widgets.Button() for _ in range(PAGE)]  # they lie over those of the table
        self.row_box = widgets.VBox()
        self.card = widgets.HTML()

        self.source = widgets.HTML()
        self.refresh = widgets.Button(description="Refresh", tooltip="Ask the portal again")
        self.show_code = widgets.ToggleButton(description="Copy as code")
        self.csv = widgets.Button(description="Save CSV")
        self.parquet = widgets.Button(description="Save parquet")
        self.saved = widgets.HTML()
        self.code = widgets.Textarea(description="Code", rows=4)

        self._tools = _bar(
            "tools", self.sort, self.descending, self.pages, self.previous, self.next
        )
        self._grid = widgets.Box([self.table, self.row_box])
        self._actions = _bar(
            "actions", self.source, self.refresh, self.show_code, self.csv, self.parquet
        )
        self._name_classes()
        self.show_busy(busy=False)
        self.show_results(some=False, any_rows=False)
        self.show_code_field("")
        self.show_recent([])

    def _name_classes(self) -> None:
        """Give the style its hooks."""
        for widget, name in (
            (self.field, "ids"),
            (self.recent, "recent"),
            (self.pages, "said"),
            (self.source, "said"),
            (self._grid, "grid"),
            (self.row_box, "rows"),
            (self.code, "code"),
        ):
            widget.add_class(f"b24-{name}")

    def children(self) -> Sequence[widgets.Widget]:
        """Return what the panel is made of, from top to bottom."""
        return [
            _bar("ask", self.field, self.look_up, self.cancel, self.recent),
            self.bar,
            self.message,
            self._tools,
            self._grid,
            self.card,
            self._actions,
            self.saved,
            self.code,
            widgets.HTML(f"<style>{_STYLE}</style>"),
        ]

    def show_busy(self, *, busy: bool) -> None:
        """Show whether a look-up is under way."""
        self.look_up.disabled = self.refresh.disabled = self.recent.disabled = busy
        _show(busy, self.cancel, self.bar)

    def show_results(self, *, some: bool, any_rows: bool) -> None:
        """Show the parts that only a result needs."""
        _show(some, self._actions)
        _show(any_rows, self._tools, self._grid, self.card)

    def show_code_field(self, code: str) -> None:
        """Show the code; where there is none, hide its field."""
        self.code.value = code
        _show(bool(code), self.code)

    def show_recent(self, items: Sequence[tuple[str, list[int]]]) -> None:
        """Offer what was looked up before, once there is a choice."""
        with self.recent.hold_trait_notifications():
            self.recent.options = [("look-ups", None), *items]
            self.recent.value = None
        _show(len(items) > 1, self.recent)

    def show_message(self, lines: Sequence[str], *, problem: bool = False) -> None:
        """Say something; screen readers read it out."""
        first, *others = lines or [""]
        text = f"<p>{escape(first)}</p>"
        text += "".join(f'<p class="b24-soft">{escape(line)}</p>' for line in others)
        role, look = ("alert", " b24-problem") if problem else ("status", "")
        self.message.value = (
            f'<div role="{role}" class="b24-message{look} {NO_MATHS}">{text}</div>' if first else ""
        )

    def show_rows(self, names: Sequence[str]) -> None:
        """Give each row of the page its button."""
        for button, name in zip(self.rows, names, strict=False):
            button.description = visible(name)
        self.row_box.children = self.rows[: len(names)]


def said(text: str) -> str:
    """Return a short text as HTML."""
    return f'<span class="b24-soft {NO_MATHS}">{escape(text)}</span>'


def _bar(name: str, *children: widgets.Widget) -> widgets.Box:
    """Make a row of widgets that breaks where the window is narrow."""
    box = widgets.Box(children)
    box.add_class("b24-bar")
    box.add_class(f"b24-{name}")
    return box


def _show(shown: bool, *parts: widgets.Widget) -> None:
    """Show or hide parts."""
    for part in parts:
        part.layout.display = None if shown else "none"

"""The search: a form whose fields become filters."""

from __future__ import annotations

from datetime import date
from typing import Any

import ipywidgets as widgets

from b24frames.panel.html import message_html
from b24frames.panel.results import bar, show
from b24frames.panel.texts import Texts
from b24frames.schema import ACTIVITY


class SearchForm:
    """Fields for the day of creation, type, responsible user and subject.

    Parameters
    ----------
    texts : Texts
        The words on them.

    Attributes
    ----------
    bar : ipywidgets.Box
        The fields, and the button.
    button : ipywidgets.Button
        For the panel, which can search.
    fields : tuple of ipywidgets.Widget
        What is to be filled in.
    """

    def __init__(self, texts: Texts) -> None:
        providers = [(texts.label("PROVIDER_ID", i), i) for i in ACTIVITY["PROVIDER_ID"].labels]
        # Of a dropdown whose value is None nothing is shown.
        options = [(texts("any"), ""), *providers]
        self._days = [widgets.DatePicker(description=texts(key)) for key in ("from", "to")]
        self._type = widgets.Dropdown(description=texts("column.Type"), options=options)
        self._responsible = widgets.Text(
            description=texts("column.Responsible"), placeholder=texts("responsible_hint")
        )
        self._subject = widgets.Text(
            description=texts("column.Subject"), placeholder=texts("subject_hint")
        )
        texts_of = (self._responsible.add_class("b24-user"), self._subject.add_class("b24-text"))
        self.fields = (*self._days, self._type, *texts_of)
        self.button = widgets.Button(description=texts("find"), tooltip=texts("find_hint"))
        warning = widgets.HTML()
        show(False, warning)
        self.bar = bar("search", *self.fields, self.button, warning)

        def check_days(_: object) -> None:
            first, last = self._period()
            turned = first is not None and last is not None and first > last
            # What is there before it is seen is not read out.
            lines = [texts("days_turned")]
            warning.value = message_html(lines, texts.language, problem=True) if turned else ""
            show(turned, warning)

        for day in self._days:
            day.observe(check_days, "value")

    def _period(self) -> list[date | None]:
        """Return the first and last day; a day whose year is still being typed is none."""
        days = [day.value for day in self._days]
        return [day if day is not None and day.year > 999 else None for day in days]

    def filters(self) -> list[tuple[str, str, Any]] | None:
        """Return the conditions on the fields that are filled; None: all activities."""
        first, last = self._period()
        conditions = [
            ("CREATED", ">=", first and first.isoformat()),
            ("CREATED", "<=", last and f"{last.isoformat()}T23:59:59"),
            ("PROVIDER_ID", "==", self._type.value),
            ("RESPONSIBLE_ID", "==", self._responsible.value.strip()),
            ("SUBJECT", "contains", self._subject.value.strip()),
        ]
        return [condition for condition in conditions if condition[2]] or None

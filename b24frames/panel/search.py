"""The search: a form whose fields become filters."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from b24frames.panel.results import bar
from b24frames.schema import PROVIDERS

_ANY = "any"
_PROVIDER_IDS = {name: provider for provider, name in PROVIDERS.items()}


class SearchForm:
    """Fields for the day of creation, type, responsible user and subject.

    Attributes
    ----------
    bar : ipywidgets.Box
        The fields, and the button.
    button : ipywidgets.Button
        For the panel, which can search.
    texts : tuple of ipywidgets.Text
        The fields into which anything can be typed.
    """

    def __init__(self) -> None:
        self._first = widgets.DatePicker(description="Created from")
        self._last = widgets.DatePicker(description="to")
        self._type = widgets.Dropdown(description="Type", options=[_ANY, *_PROVIDER_IDS])
        self._responsible = widgets.Text(description="Responsible", placeholder="id of a user")
        self._subject = widgets.Text(description="Subject", placeholder="contains")
        self.texts = (self._responsible.add_class("b24-user"), self._subject.add_class("b24-text"))
        self.button = widgets.Button(description="Find", tooltip="Find activities, newest first")
        days = (self._first, self._last, self._type)
        self.bar = bar("search", *days, *self.texts, self.button)

    def filters(self) -> list[tuple[str, str, Any]] | None:
        """Return the conditions on the fields that are filled; None: all activities."""
        first, last = self._first.value, self._last.value
        conditions = [
            ("CREATED", ">=", first and first.isoformat()),
            ("CREATED", "<=", last and f"{last.isoformat()}T23:59:59"),
            ("PROVIDER_ID", "==", _PROVIDER_IDS.get(self._type.value)),
            ("RESPONSIBLE_ID", "==", self._responsible.value.strip()),
            ("SUBJECT", "contains", self._subject.value.strip()),
        ]
        return [condition for condition in conditions if condition[2]] or None

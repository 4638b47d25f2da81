"""`LookupPanel`: look activities up by hand, in a notebook."""

from __future__ import annotations

import html
from collections import deque

import ipywidgets as widgets
import pandas as pd
import traitlets

from b24frames.activities import CachePlace, read_activities
from b24frames.errors import B24Error, name_some
from b24frames.ids import parse_id_text, parse_ids
from b24frames.portal import Portal

_SHOWN_COLUMNS = ["TYPE_ID", "PROVIDER_ID", "SUBJECT", "START_TIME", "COMPLETED", "RESPONSIBLE_ID"]
_SHOWN_ROWS = 50
_HISTORY = 100


class LookupPanel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A field for ids, a button, and the activities as a table.

    Parameters
    ----------
    portal : Portal or str, optional
        As of `b24frames.read_activities`.
    ids : int, str of digits, or iterable of them, optional
        Looked up at once.
    cache : bool, path-like or ActivityCache, default True
        As of `b24frames.read_activities`.

    Attributes
    ----------
    ids : list of int
        The ids looked up last; observable, like all of these.
    frame : pandas.DataFrame or None
        Their rows, as of `b24frames.read_activities`.
    busy : bool
        Whether a look-up is under way.
    message : str
        How the last look-up ended, in one sentence.

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

    def __init__(
        self,
        portal: Portal | str | None = None,
        ids: object = None,
        cache: CachePlace = True,
    ) -> None:
        self._portal = portal
        self._cache = cache
        self._history: deque[list[int]] = deque(maxlen=_HISTORY)
        self._field = widgets.Text(
            placeholder="ids, such as 999 or 1-20, 35", description="Activities"
        )
        self._button = widgets.Button(description="Look up", button_style="primary")
        self._status = widgets.HTML()
        self._table = widgets.HTML()
        super().__init__([widgets.HBox([self._field, self._button]), self._status, self._table])
        self._button.on_click(lambda _: self.lookup(self._field.value))
        if ids is not None:
            self.lookup(ids)

    @property
    def history(self) -> list[list[int]]:
        """The ids of the last look-ups, the newest last; at most 100."""
        return list(self._history)

    def lookup(self, ids: object) -> None:
        """Look activities up and show them, as the button does.

        Parameters
        ----------
        ids : int, str or iterable
            As of `b24frames.read_activities`, or a text such as ``"1-20, 35"``.
        """
        self.busy = self._button.disabled = True
        try:
            wanted = parse_id_text(ids) if isinstance(ids, str) else parse_ids(ids)
            frame = read_activities(
                wanted, self._portal, cache=self._cache, missing="ignore", progress=False
            )
        except (B24Error, ValueError, TypeError) as error:
            self._show(str(error), None)
        else:
            self.ids = wanted
            self._history.append(wanted)
            missing = frame.attrs["b24"]["missing"]
            named = f" No record: {name_some(missing)}." if missing else ""
            count = f"{len(frame):,} {'activity' if len(frame) == 1 else 'activities'}."
            self._show(count + named, frame)
        finally:
            self.busy = self._button.disabled = False

    def _show(self, message: str, frame: pd.DataFrame | None) -> None:
        """Show a sentence and a table; every text from the portal is escaped."""
        self.message = message
        self._status.value = html.escape(message)
        self.frame = frame
        self._table.value = (
            ""
            if frame is None
            else frame[_SHOWN_COLUMNS].head(_SHOWN_ROWS).to_html(escape=True, border=0)
        )

"""Pictures of activities, drawn by matplotlib.

Text that may come from the portal is drawn as it is: neither as mathtext nor by TeX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from b24frames.accessor import analysis
from b24frames.arguments import check_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

Kind = Literal["timeline", "week", "workload", "talk_time"]
"""The pictures that can be drawn."""
_Drawn = tuple[int, str, str, str]
"""How much there was to draw, a title, and what is along the axes; a zone may have any name."""

_MOST_TYPES, _MOST_USERS = 7, 20
_LONGEST_NAME = 40
# Colours that people with colour blindness tell apart (Okabe and Ito), and grey for all others.
_COLOURS = "#0072B2 #E69F00 #009E73 #CC79A7 #56B4E9 #D55E00 #F0E442 #999999".split()
_OPEN, _OVERDUE = _COLOURS[4], _COLOURS[5]
_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
# Up to how many days each unit of time makes a readable number of bars.
_UNITS = {"day": ("D", 62), "week": ("W-SUN", 430), "month": ("M", 3_700), "year": ("Y", np.inf)}
_LAST_DAY = pd.Period("9999-12-31", "D").ordinal
_TALKS = "none|≤ 15 s|≤ 30 s|≤ 1 min|≤ 2 min|≤ 5 min|≤ 10 min|≤ 30 min|≤ 1 h|longer".split("|")
_TALK_EDGES = [-np.inf, 0, 15, 30, 60, 120, 300, 600, 1800, 3600, np.inf]  # [s]


def plot(
    frame: pd.DataFrame, kind: Kind, *, ax: Axes | None = None, at: str | datetime | None = None
) -> Axes:
    """Draw activities."""
    check_choice("kind", kind, Kind)
    if at is not None and kind != "workload":
        raise ValueError(f"at= is for kind='workload'; kind={kind!r} shows no moment")
    draw, columns = _KINDS[kind]
    analysis.require(frame, f"plot({kind!r})", columns)
    moment = analysis.parse_moment(at)
    if find_spec("matplotlib") is None:
        raise ImportError("df.b24.plot needs matplotlib: python -m pip install 'b24frames[plot]'")
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    if ax is None:
        ax = pyplot.subplots(figsize=(8, 4), layout="constrained")[1]
    elif not isinstance(ax, Axes):
        raise TypeError(f"ax is of type {type(ax).__name__}; a matplotlib Axes is needed")
    number, title, x, y = draw(frame, ax, moment)
    _as_written([ax.set_title(title), ax.set_xlabel(x), ax.set_ylabel(y)])
    if not number:
        ax.text(0.5, 0.5, "no activities", transform=ax.transAxes, ha="center", va="center")
    return ax


def _draw_timeline(frame: pd.DataFrame, ax: Axes, _: pd.Timestamp) -> _Drawn:
    """Draw how many activities were created, by type as the provider names it."""
    created, zone = _wall_time(frame["CREATED"])
    days = (created.max() - created.min()).days if len(created) else 0
    unit, freq = next((name, freq) for name, (freq, most) in _UNITS.items() if days <= most)
    names = analysis.provider_name(frame)[frame["CREATED"].notna()].fillna("unknown")
    counts = _count(created.dt.to_period(freq), names, _MOST_TYPES)
    title = f"{len(created):,} activities created, by {unit}"
    _integers(ax.yaxis)
    if len(created):
        _draw_bars(ax, counts)
    else:
        ax.set_xticks([])
    return len(created), title, f"created ({zone})", "activities"


def _draw_bars(ax: Axes, counts: pd.DataFrame) -> None:
    """Draw counts by period as bars, one colour for each column on top of the others."""
    from matplotlib import dates

    periods = pd.period_range(counts.index.min(), counts.index.max())
    # Days since 1970, as matplotlib counts, since its dates end with the year 9999.
    left = periods.asfreq("D", "S").asi8
    right = np.minimum(periods.asfreq("D", "E").asi8 + 1, _LAST_DAY)
    bottom = np.zeros(len(periods))
    counts = counts.reindex(periods, fill_value=0)
    for name, colour in zip(counts, _COLOURS, strict=False):
        ax.bar(left, counts[name], right - left, bottom, align="edge", color=colour, label=name)
        bottom += counts[name].to_numpy()
    untyped: Any = dates
    locator = untyped.AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    ax.set_xlim(left[0], right[-1])
    _add_legend(ax)


def _draw_week(frame: pd.DataFrame, ax: Axes, _: pd.Timestamp) -> _Drawn:
    """Draw at which hours of the week activities start, as a heat map."""
    starts, zone = _wall_time(frame["START_TIME"])
    counts = np.zeros((7, 24), int)
    np.add.at(counts, (starts.dt.day_of_week, starts.dt.hour), 1)
    image = ax.imshow(counts, cmap="Blues", aspect="auto", vmin=0, vmax=max(1, counts.max()))
    bar = ax.figure.colorbar(image, ax=ax, label="activities")
    _integers(bar.ax.yaxis)
    ax.set_yticks(range(7), _WEEKDAYS)
    ax.set_xticks(range(0, 24, 3), [f"{hour}:00" for hour in range(0, 24, 3)])
    title = f"Start of {len(starts):,} activities in the week"
    return len(starts), title, f"hour of START_TIME ({zone})", "weekday"


def _draw_workload(frame: pd.DataFrame, ax: Axes, moment: pd.Timestamp) -> _Drawn:
    """Draw how many activities are open, and how many of them overdue, by responsible user."""
    overdue = analysis.is_overdue(frame, moment).fillna(False).astype(bool)
    users = ("user " + frame["RESPONSIBLE_ID"].astype("Int64").astype("string")).fillna("nobody")
    is_open = (~frame["COMPLETED"]).fillna(False).astype(bool)
    counts = _count(overdue[is_open], users[is_open], _MOST_USERS)
    counts = counts.reindex([True, False], fill_value=0)
    places = range(counts.shape[1])
    ax.barh(places, counts.loc[True], color=_OVERDUE, label="overdue")
    ax.barh(places, counts.loc[False], left=counts.loc[True], color=_OPEN, label="not overdue")
    ax.set_yticks(places, counts.columns)
    _as_written(ax.get_yticklabels())
    ax.invert_yaxis()
    zone = frame["DEADLINE"].dt.tz
    on = f"{moment.tz_convert(zone):%Y-%m-%d %H:%M} ({_readable(zone)})"
    _integers(ax.xaxis)
    if counts.shape[1]:
        _add_legend(ax)
    title = f"Open activities at {on}"
    return counts.shape[1], title, "activities not completed", "responsible"


def _draw_talk_time(frame: pd.DataFrame, ax: Axes, _: pd.Timestamp) -> _Drawn:
    """Draw how long the calls that telephony made lasted."""
    seconds = analysis.talk_time(frame).dropna().dt.total_seconds().astype(float)
    bars = pd.cut(seconds, _TALK_EDGES, labels=_TALKS)
    ax.bar(range(len(_TALKS)), bars.value_counts(sort=False), color=_COLOURS[0])
    ax.set_xticks(range(len(_TALKS)), _TALKS)
    ax.tick_params(axis="x", labelsize="small")
    title = f"Talk time of {len(seconds):,} telephony calls"
    if len(seconds):
        median = int(seconds.median())
        title += f", median {median // 60} min {median % 60} s"
    _integers(ax.yaxis)
    return len(seconds), title, "talk time, END_TIME - START_TIME", "calls"


# What draws each kind, and the columns it needs.
_KINDS: Mapping[Kind, tuple[Callable[[pd.DataFrame, Axes, pd.Timestamp], _Drawn], list[str]]] = {
    "timeline": (_draw_timeline, ["CREATED", "PROVIDER_ID"]),
    "week": (_draw_week, ["START_TIME"]),
    "workload": (_draw_workload, ["RESPONSIBLE_ID", "COMPLETED", "DEADLINE"]),
    "talk_time": (_draw_talk_time, analysis.TALK_COLUMNS),
}


def _wall_time(column: pd.Series) -> tuple[pd.Series, str]:
    """Return the dates that are known as clocks in their zone showed them, and the zone."""
    zone = column.dt.tz
    # Not Arrow's own dates: pandas 2.2 takes their zone away by showing UTC.
    dates = column.dropna().astype(pd.DatetimeTZDtype("us", zone))
    return dates.dt.tz_localize(None), _readable(zone)


def _count(rows: pd.Series, names: pd.Series, most: int) -> pd.DataFrame:
    """Return counts by row and name, the most frequent names first, and all others as one."""
    frequent = names.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    columns = {name: _readable(name) for name in frequent[:most]}
    if len(frequent) > most:
        columns |= dict.fromkeys(frequent[most:], f"{len(frequent) - most:,} others")
    shown = [columns[name] for name in names]
    counts = pd.DataFrame({"row": rows.array, "name": shown}).value_counts().unstack(fill_value=0)
    return counts.reindex(columns=list(dict.fromkeys(columns.values())))


def _add_legend(ax: Axes) -> None:
    """Name the colours beside what is drawn, whatever the names look like."""
    handles = ax.containers
    names = [str(handle.get_label()) for handle in handles]
    legend = ax.legend(handles, ["name"] * len(names), loc="upper left", bbox_to_anchor=(1, 1))
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # a name that begins with an underscore would have been left out
    _as_written(legend.get_texts())


def _as_written(texts: Iterable[Text]) -> None:
    """Let text stand for itself: nothing in it is mathtext, and TeX does not see it."""
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)


def _integers(axis: Any) -> None:
    """Count in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _readable(name: object) -> str:
    """Return a name on one line, and not too long; it may come from the portal."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(name))
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"

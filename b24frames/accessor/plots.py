"""The few pictures that people want of activities, drawn by matplotlib.

Text that may come from the portal is drawn as it is: neither as mathtext nor by TeX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from b24frames.accessor import analysis
from b24frames.messages import short_repr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

_MOST_TYPES, _MOST_USERS = 7, 20
_LONGEST_NAME = 40
# Colours that people who see few of them tell apart (Okabe and Ito), and grey for all others.
_COLOURS = "#0072B2 #E69F00 #009E73 #CC79A7 #56B4E9 #D55E00 #F0E442 #999999".split()
_OPEN, _OVERDUE = _COLOURS[4], _COLOURS[5]
_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
# Up to how many days each unit of time makes a readable number of bars.
_UNITS = (("day", 62), ("week", 430), ("month", 3_700))
_LETTERS: Mapping[str, Literal["D", "M", "Y"]] = {
    "day": "D",
    "week": "D",
    "month": "M",
    "year": "Y",
}
_LAST_DAY = np.datetime64("9999-12-31")
_TALKS = {  # where each bar ends [s]
    "none": 0,
    "≤ 15 s": 15,
    "≤ 30 s": 30,
    "≤ 1 min": 60,
    "≤ 2 min": 120,
    "≤ 5 min": 300,
    "≤ 10 min": 600,
    "≤ 30 min": 1800,
    "≤ 1 h": 3600,
    "longer": np.inf,
}


def plot(
    frame: pd.DataFrame,
    kind: str,
    *,
    ax: Axes | None = None,
    at: str | datetime | None = None,
) -> Axes:
    """Draw activities.

    Parameters
    ----------
    frame : pandas.DataFrame
        Activities.
    kind : {"timeline", "week", "workload", "talk_time"}
        As of ``df.b24.plot``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    at : str or datetime, optional
        Of ``"workload"``: as of `is_overdue`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> plot(b24.read_activities([], portal), "clock")
    Traceback (most recent call last):
        ...
    ValueError: kind='clock' is not accepted; accepted are 'timeline', 'week', ...
    """
    if not isinstance(kind, str) or kind not in _KINDS:
        accepted = ", ".join(map(repr, _KINDS))
        raise ValueError(f"kind={short_repr(kind)} is not accepted; accepted are {accepted}")
    if at is not None and kind != "workload":
        raise ValueError(f"at= is for kind='workload'; kind={kind!r} shows no moment")
    draw, columns = _KINDS[kind]
    analysis.require(frame, f"plot({kind!r})", columns)
    moment = analysis.parse_moment(at)
    if find_spec("matplotlib") is None:
        raise ImportError("df.b24.plot needs matplotlib: python -m pip install 'b24frames[plot]'")
    axes = _axes(ax)
    if not draw(frame, axes, moment):
        axes.text(0.5, 0.5, "no activities", transform=axes.transAxes, ha="center", va="center")
    return axes


def _axes(ax: Any) -> Axes:
    """Return the caller's axes, or those of a new figure."""
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    if ax is None:
        return pyplot.subplots(figsize=(8, 4), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax is a {type(ax).__name__}; a matplotlib Axes is needed")
    return ax


def _draw_timeline(frame: pd.DataFrame, ax: Axes, _: pd.Timestamp) -> int:
    """Draw how many activities were created, by type as the provider names it."""
    days, zone = _wall_time(frame["CREATED"], "datetime64[D]")
    unit, edges = _edges(days)
    names = analysis.provider_name(frame)[frame["CREATED"].notna()].fillna("unknown")
    bottom = np.zeros(len(edges) - 1, np.int64)
    for (name, rows), colour in zip(_most_frequent(names), _COLOURS, strict=False):
        counts = np.histogram(days[rows].astype(np.int64), edges.astype(np.int64))[0]
        ax.bar(edges[:-1], counts, np.diff(edges), bottom, align="edge", color=colour, label=name)
        bottom += counts
    _describe(ax, f"{len(days):,} activities created, by {unit}", f"created ({zone})", "activities")
    _integers(ax.yaxis)
    if len(days):
        _dates(ax, edges)
        _add_legend(ax)
    else:
        ax.set_xticks([])
    return len(days)


def _draw_week(frame: pd.DataFrame, ax: Axes, _: pd.Timestamp) -> int:
    """Draw at which hours of the week activities start, as a heat map."""
    hours, zone = _wall_time(frame["START_TIME"], "datetime64[h]")
    # The first of January 1970 was a Thursday.
    places = (hours.astype(np.int64) + 3 * 24) % (7 * 24)
    counts = np.bincount(places, minlength=7 * 24).reshape(7, 24)
    image = ax.imshow(counts, cmap="Blues", aspect="auto", vmin=0, vmax=max(1, counts.max()))
    bar = ax.figure.colorbar(image, ax=ax, label="activities")
    _integers(bar.ax.yaxis)
    ax.set_yticks(range(7), _WEEKDAYS)
    ax.set_xticks(range(0, 24, 3), [f"{hour}:00" for hour in range(0, 24, 3)])
    title = f"Start of {len(hours):,} activities in the week"
    _describe(ax, title, f"hour of START_TIME ({zone})", "weekday")
    return len(hours)


def _draw_workload(frame: pd.DataFrame, ax: Axes, moment: pd.Timestamp) -> int:
    """Draw how many activities are open, and how many of them overdue, by responsible user."""
    is_open = _truths(~frame["COMPLETED"])
    is_overdue = _truths(analysis.is_overdue(frame, moment))[is_open]
    users = frame["RESPONSIBLE_ID"][is_open]
    names = ("user " + users.astype("string")).fillna("nobody")
    groups = list(_most_frequent(names, _MOST_USERS))
    overdue = [int(is_overdue[rows].sum()) for _, rows in groups]
    in_time = [int((~is_overdue[rows]).sum()) for _, rows in groups]
    places = range(len(groups))
    ax.barh(places, overdue, color=_OVERDUE, label="overdue")
    ax.barh(places, in_time, left=overdue, color=_OPEN, label="not overdue")
    ax.set_yticks(places, [name for name, _ in groups])
    _as_written(ax.get_yticklabels())
    ax.invert_yaxis()
    zone = frame["DEADLINE"].dt.tz
    on = f"{moment.tz_convert(zone):%Y-%m-%d %H:%M} ({_readable(zone)})"
    _describe(ax, f"Open activities at {on}", "activities not completed", "responsible")
    _integers(ax.xaxis)
    if groups:
        _add_legend(ax)
    return len(groups)


def _draw_talk_time(frame: pd.DataFrame, ax: Axes, _: pd.Timestamp) -> int:
    """Draw how long the calls that telephony made lasted."""
    seconds = _seconds(analysis.talk_time(frame).dropna())
    places = np.searchsorted(list(_TALKS.values()), seconds)
    counts = np.bincount(places, minlength=len(_TALKS))
    ax.bar(range(len(_TALKS)), counts, color=_COLOURS[0])
    ax.set_xticks(range(len(_TALKS)), list(_TALKS))
    ax.tick_params(axis="x", labelsize="small")
    title = f"Talk time of {len(seconds):,} telephony calls"
    if len(seconds):
        median = int(np.median(seconds))
        title += f", median {median // 60} min {median % 60} s"
    _describe(ax, title, "talk time, END_TIME - START_TIME", "calls")
    _integers(ax.yaxis)
    return len(seconds)


# What draws each kind and returns how much there was to draw, and the columns it needs.
_KINDS: dict[str, tuple[Callable[[pd.DataFrame, Axes, pd.Timestamp], int], list[str]]] = {
    "timeline": (_draw_timeline, ["CREATED", "PROVIDER_ID"]),
    "week": (_draw_week, ["START_TIME"]),
    "workload": (_draw_workload, ["RESPONSIBLE_ID", "COMPLETED", "DEADLINE"]),
    "talk_time": (_draw_talk_time, ["PROVIDER_ID", "ORIGIN_ID", "START_TIME", "END_TIME"]),
}


def _wall_time(column: pd.Series, unit: str) -> tuple[npt.NDArray[np.datetime64], str]:
    """Return the dates that are known as clocks in their zone showed them, and the zone."""
    zone = column.dt.tz
    # Not Arrow's own dates: pandas 2.2 takes their zone away by showing UTC.
    dates = column.dropna().astype(pd.DatetimeTZDtype("us", zone))
    return dates.dt.tz_localize(None).to_numpy("datetime64[us]").astype(unit), _readable(zone)


def _edges(days: npt.NDArray[np.datetime64]) -> tuple[str, npt.NDArray[np.datetime64]]:
    """Return the unit of time that makes a readable number of bars, and where these begin."""
    if not len(days):
        return "day", np.zeros(1, "datetime64[D]")
    first, last = days.min(), days.max()
    span = int((last - first).astype(np.int64))
    unit = next((unit for unit, most in _UNITS if span <= most), "year")
    letter = _LETTERS[unit]
    one, step = np.timedelta64(1, letter), np.timedelta64(7 if unit == "week" else 1, letter)
    first, last = (day.astype(f"datetime64[{letter}]") for day in (first, last))
    if unit == "week":  # from Monday on
        first -= np.timedelta64(int(first.astype(np.int64) + 3) % 7, letter)
    edges = np.arange(first, last + step + one, step).astype("datetime64[D]")
    return unit, np.minimum(edges, _LAST_DAY)


def _most_frequent(
    names: pd.Series, most: int = _MOST_TYPES
) -> Iterable[tuple[str, npt.NDArray[np.intp]]]:
    """Yield the most frequent names and the rows they are in, and all others as one."""
    codes, distinct = pd.factorize(names)
    counts = np.bincount(codes, minlength=len(distinct))
    order = np.lexsort((np.asarray(distinct, dtype=np.str_), -counts))
    for code in order[:most]:
        yield _readable(distinct[code]), np.flatnonzero(codes == code)
    if len(order) > most:
        rest = f"{len(order) - most:,} others"
        yield rest, np.flatnonzero(np.isin(codes, order[most:]))


def _describe(ax: Axes, title: str, x: str, y: str) -> None:
    """Write what is drawn, and along which axes; a zone may have any name."""
    _as_written([ax.set_title(title), ax.set_xlabel(x), ax.set_ylabel(y)])


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


def _dates(ax: Axes, edges: npt.NDArray[np.datetime64]) -> None:
    """Show the time from the first edge to the last."""
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    ax.set_xlim(edges[0], edges[-1])


def _readable(name: object) -> str:
    """Return a name on one line, and not too long; it may come from the portal."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(name))
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _truths(column: pd.Series) -> npt.NDArray[np.bool_]:
    """Return truth values; what is not known is not true."""
    return column.to_numpy(np.bool_, na_value=False)


def _seconds(spans: pd.Series) -> npt.NDArray[np.float64]:
    """Return time spans [s]."""
    return spans.to_numpy("timedelta64[us]") / np.timedelta64(1, "s")

"""`df.b24.plot`: what is drawn is what is in the frame."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from b24frames.errors import BadValueWarning
from b24frames.practice import PracticePortal
from b24frames.schema import Backend
from tests.helpers.frames import assert_frame_equal

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is part of the extra plot")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - only where it is installed, and without a window

KINDS = ("timeline", "week", "workload", "talk_time")
BACKENDS = ("numpy_nullable", "pyarrow")
# What a CRM may hold: mathtext that is none, a name that legends leave out, what ends a line.
HOSTILE = [r"$\frac{1}{$", "_hidden", "$x$", "bell\a", "line\nbreak", "x" * 200, r"\input{a}"]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the figures of a test."""
    yield
    pyplot.close("all")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Give each family of dtypes."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
    backend: Backend = request.param
    return backend


@pytest.fixture
def activities(backend: Backend) -> Callable[..., pd.DataFrame]:
    """Type a frame of activities whose other fields are those of a telephony call."""

    def make(tz: str = "UTC", **columns: list[Any]) -> pd.DataFrame:
        rows = len(next(iter(columns.values())))
        usual = {
            "CREATED": "2024-01-01T00:00:00+00:00",
            "START_TIME": "2024-01-01T00:00:00+00:00",
            "END_TIME": "2024-01-01T00:01:00+00:00",
            "DEADLINE": "",
            "COMPLETED": "N",
            "RESPONSIBLE_ID": "1",
            "PROVIDER_ID": "VOXIMPLANT_CALL",
            "ORIGIN_ID": "VI_1",
        }
        fields = {name: [value] * rows for name, value in usual.items()} | columns
        raw = pd.DataFrame(fields, dtype=object)
        return raw.b24.typed(tz=tz, dtype_backend=backend)

    return make


def heights(ax: Any) -> dict[str, list[float]]:
    """Return the heights of the bars of each colour, by its name in the legend."""
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    bars = [[bar.get_height() for bar in container] for container in ax.containers]
    return dict(zip(names, bars, strict=True))


def render(ax: Any) -> None:
    """Lay out all that is to be drawn; what cannot be raises or warns only now."""
    ax.figure.draw_without_rendering()


def test_timeline__counts(activities: Callable[..., pd.DataFrame]) -> None:
    """Each bar is as high as there are activities of the type on the day, in the frame's zone."""
    created = ["2024-01-01T22:59:59+00:00", "2024-01-01T23:00:00+00:00", "2024-01-03T12:00:00Z", ""]
    df = activities(
        "Europe/Berlin", CREATED=created, PROVIDER_ID=["CRM_EMAIL", "CRM_EMAIL", "CRM_SMS", "ZOOM"]
    )
    ax = df.b24.plot("timeline")
    assert heights(ax) == {"e-mail": [1, 1, 0], "SMS": [0, 0, 1]}
    assert ax.get_title() == "3 activities created, by day"
    assert ax.get_xlabel() == "created (Europe/Berlin)"
    assert ax.get_ylabel() == "activities"
    first = matplotlib.dates.num2date(ax.containers[0][0].get_x())
    assert first.date().isoformat() == "2024-01-01"
    assert ax.containers[1][2].get_y() == 0
    render(ax)


@pytest.mark.parametrize(
    ("first", "last", "unit", "bars"),
    [
        ("2024-01-01", "2024-01-31", "day", 31),
        ("2024-01-01", "2024-06-30", "week", 26),
        ("2024-01-01", "2024-07-01", "week", 27),
        ("2024-01-01", "2026-12-31", "month", 36),
        ("2024-01-01", "2043-12-31", "year", 20),
        ("9998-01-01", "9999-12-30", "month", 24),
    ],
)
def test_timeline__units(
    activities: Callable[..., pd.DataFrame], first: str, last: str, unit: str, bars: int
) -> None:
    """The longer the time, the longer what a bar stands for; none is lost."""
    df = activities(CREATED=[f"{first}T00:00:00Z", f"{last}T23:59:59Z"])
    ax = df.b24.plot("timeline")
    assert ax.get_title().endswith(f"by {unit}")
    (drawn,) = heights(ax).values()
    assert len(drawn) == bars
    assert (drawn[0], drawn[-1], sum(drawn)) == (1, 1, 2)
    render(ax)


def test_timeline__weeks_begin_on_mondays(activities: Callable[..., pd.DataFrame]) -> None:
    """A week goes from Monday to Sunday."""
    days = ["2024-01-03", "2024-01-07", "2024-01-08", "2024-06-01"]
    ax = activities(CREATED=[f"{day}T12:00:00Z" for day in days]).b24.plot("timeline")
    (drawn,) = heights(ax).values()
    assert drawn[:2] == [2, 1]
    monday = matplotlib.dates.num2date(ax.containers[0][0].get_x())
    assert monday.date().isoformat() == "2024-01-01"


def test_timeline__many_types(activities: Callable[..., pd.DataFrame]) -> None:
    """The most frequent types have colours of their own; all others share one."""
    names = [f"APP_{i:02}" for i in range(12) for _ in range(20 - i)]
    drawn = heights(activities(PROVIDER_ID=names).b24.plot("timeline"))
    assert drawn == {f"APP_{i:02}": [20 - i] for i in range(7)} | {
        "5 others": [13 + 12 + 11 + 10 + 9]
    }


def test_timeline__hostile_names(activities: Callable[..., pd.DataFrame]) -> None:
    """Names are drawn as they are: no mathtext, no TeX, none left out, none too long."""
    ax = activities(PROVIDER_ID=HOSTILE).b24.plot("timeline")
    texts = ax.get_legend().get_texts()
    shown = {text.get_text() for text in texts}
    assert {r"$\frac{1}{$", "_hidden", "$x$", "bell\ufffd", "line\ufffdbreak"} <= shown
    assert max(map(len, shown)) == 40
    assert not any(text.get_parse_math() or text.get_usetex() for text in texts)
    render(ax)


def test_timeline__half_a_character() -> None:
    """A name that cannot be written is drawn as its escape."""
    raw = pd.DataFrame(
        {"CREATED": ["2024-01-01T00:00:00Z"], "PROVIDER_ID": ["\ud83d"]}, dtype=object
    )
    with pytest.warns(BadValueWarning, match="PROVIDER_ID"):
        typed = raw.b24.typed()
    ax = typed.b24.plot("timeline")
    assert heights(ax) == {r"\ud83d": [1]}
    render(ax)


def test_timeline__tex(activities: Callable[..., pd.DataFrame]) -> None:
    """TeX does not see names from the portal, not even where the user draws with TeX."""
    with matplotlib.rc_context({"text.usetex": True}):
        ax = activities(PROVIDER_ID=[r"\input{secrets}"]).b24.plot("timeline")
    assert not any(text.get_usetex() for text in ax.get_legend().get_texts())


def test_week__counts(activities: Callable[..., pd.DataFrame]) -> None:
    """The cell of a weekday and an hour counts what starts then, in the frame's zone."""
    starts = [
        "2024-01-01T00:59:59+01:00",  # Monday, in Berlin
        "2024-03-31T00:59:00+00:00",  # Sunday, the last minute of winter time
        "2024-03-31T01:00:00+00:00",  # one minute later
        "1969-12-31T22:59:00+00:00",  # Wednesday, before the epoch
        "9999-12-31T00:00:00+01:00",  # never
    ]
    ax = activities("Europe/Berlin", START_TIME=starts).b24.plot("week")
    data = np.asarray(ax.images[0].get_array())
    assert data.shape == (7, 24)
    cells = {(0, 0): 1, (6, 1): 1, (6, 3): 1, (2, 23): 1}
    assert {(int(d), int(h)): int(data[d, h]) for d, h in np.argwhere(data)} == cells
    assert [text.get_text() for text in ax.get_yticklabels()][::6] == ["Monday", "Sunday"]
    assert ax.get_xlabel() == "hour of START_TIME (Europe/Berlin)"
    assert "4 activities" in ax.get_title()
    assert ax.images[0].colorbar.ax.get_ylabel() == "activities"
    render(ax)


def test_workload__counts(activities: Callable[..., pd.DataFrame]) -> None:
    """Each user has a bar of what is open: first what is overdue, then the rest."""
    df = activities(
        "Asia/Almaty",
        RESPONSIBLE_ID=["5", "5", "5", "8", "8", "9", None],
        COMPLETED=["N", "N", "N", "N", "Y", "Y", "N"],
        DEADLINE=["2024-01-01T00:00:00Z"] * 2 + ["2025-01-01T00:00:00Z"] * 2 + [""] * 3,
    )
    ax = df.b24.plot("workload", at="2024-06-01T00:00:00+00:00")
    overdue, rest = ([bar.get_width() for bar in bars] for bars in ax.containers)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["user 5", "nobody", "user 8"]
    assert (overdue, rest) == ([2, 0, 0], [1, 1, 1])
    assert [bar.get_x() for bar in ax.containers[1]] == overdue
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["overdue", "not overdue"]
    assert ax.get_title() == "Open activities at 2024-06-01 05:00 (Asia/Almaty)"
    assert ax.get_xlabel() == "activities not completed"
    render(ax)


def test_workload__now(activities: Callable[..., pd.DataFrame]) -> None:
    """Without a moment it is now."""
    df = activities(DEADLINE=["2024-01-01T00:00:00Z", "9998-01-01T00:00:00Z"])
    ax = df.b24.plot("workload")
    assert [bars[0].get_width() for bars in ax.containers] == [1, 1]


def test_workload__many_users(activities: Callable[..., pd.DataFrame]) -> None:
    """More users than can be read share a last bar."""
    users = [str(i) for i in range(1, 31)] + ["30"]
    ax = activities(RESPONSIBLE_ID=users).b24.plot("workload")
    names = [text.get_text() for text in ax.get_yticklabels()]
    widths = [bar.get_width() for bar in ax.containers[1]]
    assert (names[0], widths[0]) == ("user 30", 2)
    assert (names[-1], widths[-1]) == ("10 others", 10)
    assert sum(widths) == 31


def test_talk_time__counts(activities: Callable[..., pd.DataFrame]) -> None:
    """Each call of telephony is in the bar of its length; other activities are in none."""
    seconds = [0, 1, 15, 16, 60, 61, 3600, 3601, 45]
    ends = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(seconds, unit="s")
    df = activities(
        END_TIME=[end.isoformat() for end in ends], ORIGIN_ID=["VI_1"] * 8 + ["by hand"]
    )
    ax = df.b24.plot("talk_time")
    labels = [text.get_text() for text in ax.get_xticklabels()]
    drawn = dict(zip(labels, [bar.get_height() for bar in ax.containers[0]], strict=True))
    assert {name: height for name, height in drawn.items() if height} == {
        "none": 1,
        "≤ 15 s": 2,
        "≤ 30 s": 1,
        "≤ 1 min": 1,
        "≤ 2 min": 1,
        "≤ 1 h": 1,
        "longer": 1,
    }
    assert ax.get_title() == "Talk time of 8 telephony calls, median 0 min 38 s"
    assert ax.get_ylabel() == "calls"
    render(ax)


@pytest.mark.parametrize("kind", KINDS)
def test_plot__empty(activities: Callable[..., pd.DataFrame], kind: str) -> None:
    """A frame without rows, or with nothing but NA, gives an empty picture with its axes named."""
    df = activities(
        CREATED=[""], START_TIME=[""], END_TIME=[""], COMPLETED=["Y"], RESPONSIBLE_ID=[None]
    )
    for frame in (df, df.iloc[:0]):
        ax = frame.b24.plot(kind)
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert "no activities" in [text.get_text() for text in ax.texts]
        assert sum(bar.get_height() for bars in ax.containers for bar in bars) == 0
        assert not any(np.asarray(image.get_array()).any() for image in ax.images)
        render(ax)


@pytest.mark.parametrize("kind", KINDS)
def test_plot__own_axes(activities: Callable[..., pd.DataFrame], kind: str) -> None:
    """What is given as `ax` is drawn into, and returned; no figure is made."""
    figure, (_, right) = pyplot.subplots(1, 2)
    df = activities(ORIGIN_ID=["VI_1"])
    before = df.copy(deep=True)
    assert df.b24.plot(kind, ax=right) is right
    assert pyplot.get_fignums() == [figure.number]
    assert_frame_equal(df, before)
    render(right)


@pytest.mark.parametrize("kind", KINDS)
def test_plot__practice_portal(portal: PracticePortal, backend: Backend, kind: str) -> None:
    """Whatever the practice portal holds is drawn without a warning."""
    import b24frames as b24

    df = b24.read_activities(range(1, 101), portal, missing="ignore", dtype_backend=backend)
    ax = df.b24.plot(kind)
    assert "no activities" not in [text.get_text() for text in ax.texts]
    ax.figure.savefig(io.BytesIO(), format="png", dpi=20)


def test_plot__refused(activities: Callable[..., pd.DataFrame]) -> None:
    """What is not accepted is named, and what is; no figure is left behind."""
    df = activities(ORIGIN_ID=["VI_1"])
    for kind in ("clock", None, ["week"]):
        with pytest.raises(ValueError, match=r"is not accepted; accepted are 'timeline', 'week'"):
            df.b24.plot(kind)
    with pytest.raises(ValueError, match="at= is for kind='workload'"):
        df.b24.plot("week", at="2024-01-01T00:00:00Z")
    with pytest.raises(ValueError, match="not a moment with a time zone"):
        df.b24.plot("workload", at="2024-01-01")
    with pytest.raises(TypeError, match="ax is of type str"):
        df.b24.plot("week", ax="left")
    with pytest.raises(AttributeError, match=r"plot\('week'\) needs START_TIME"):
        df.drop(columns="START_TIME").b24.plot("week")
    with pytest.raises(AttributeError, match="needs START_TIME as datetime64"):
        pd.DataFrame({"START_TIME": ["2024-01-01"]}).b24.plot("week")
    assert pyplot.get_fignums() == []


def test_plot__without_matplotlib(
    activities: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without matplotlib the error says how to install it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "b24frames.accessor.plots.find_spec",
        lambda name: None if name == "matplotlib" else found(name),
    )
    with pytest.raises(ImportError, match=r"b24frames\[plot\]"):
        activities(ORIGIN_ID=["VI_1"]).b24.plot("week")

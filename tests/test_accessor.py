"""`.b24` on frames, Series and Index."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import b24frames as b24
from b24frames.errors import MissingActivitiesWarning
from b24frames.practice import PracticePortal
from tests.helpers.frames import assert_frame_equal
from tests.helpers.practice import asked, posts

MakePortal = Callable[..., PracticePortal]
SECRET = "planted-secret-31"


def test_series__aligned(portal: PracticePortal) -> None:
    """A Series of ids gives a frame of its own index: duplicates kept, NA where nothing is."""
    ids = pd.Series([5, None, 3, 5, 7], index=list("abcde"), name="ACTIVITY_ID")
    frame = ids.b24.read_activities(portal, missing="ignore")
    assert frame.index.tolist() == list("abcde")
    assert frame["ID"].tolist() == [5, pd.NA, 3, 5, pd.NA]
    assert frame.loc["a"].equals(frame.loc["d"])
    assert frame.loc[["b", "e"]].isna().all(axis=None)
    direct = b24.read_activities([5, 3], portal, index_col=None)
    assert list(frame.dtypes) == list(direct.dtypes)
    assert asked(portal) == [5, 3, 7]
    assert ids.name == "ACTIVITY_ID"
    assert "b24" not in ids.attrs


def test_series__join(portal: PracticePortal) -> None:
    """The result joins the frame that the ids came from."""
    deals = pd.DataFrame({"ID": [100, 200], "ACTIVITY_ID": ["5", "3"]})
    activities = deals["ACTIVITY_ID"].b24.read_activities(portal).add_suffix("_ACTIVITY")
    joined = deals.join(activities)
    assert joined["ID"].tolist() == [100, 200]
    assert joined["ID_ACTIVITY"].tolist() == [5, 3]
    assert joined["SUBJECT_ACTIVITY"].notna().all()


def test_series__refused(portal: PracticePortal) -> None:
    """A bad id is named with its position in the Series."""
    with pytest.raises(ValueError, match="'x' at position 2"):
        pd.Series([5, None, "x"]).b24.read_activities(portal)
    with pytest.raises(TypeError, match="index_col"):
        pd.Series([5]).b24.read_activities(portal, index_col="ID")
    with pytest.raises(TypeError, match="chunksize"):
        pd.Series([5]).b24.read_activities(portal, chunksize=2)
    assert posts(portal) == 0


def test_series__columns(portal: PracticePortal) -> None:
    """Only the columns asked for are there."""
    frame = pd.Series([5, 7]).b24.read_activities(portal, columns=["SUBJECT"], missing="ignore")
    assert list(frame.columns) == ["SUBJECT"]
    assert frame["SUBJECT"].isna().tolist() == [False, True]


def test_series__empty(portal: PracticePortal) -> None:
    """No ids give no rows, with the usual columns."""
    frame = pd.Series([], dtype="Int64").b24.read_activities(portal)
    assert frame.shape == (0, 39)


def test_index__aligned(portal: PracticePortal) -> None:
    """An Index of ids is aligned with itself."""
    frame = pd.Index([5, 3, 5], name="x").b24.read_activities(portal)
    assert frame.index.tolist() == frame["ID"].tolist() == [5, 3, 5]


def test_frame__read_activities(portal: PracticePortal) -> None:
    """A frame reads the activities of one of its columns, and is not changed."""
    deals = pd.DataFrame({"ACTIVITY_ID": [5, 3]}, index=["a", "b"])
    before = deals.copy()
    frame = deals.b24.read_activities("ACTIVITY_ID", portal)
    assert frame["ID"].to_dict() == {"a": 5, "b": 3}
    assert_frame_equal(deals, before)
    with pytest.raises(AttributeError, match="'OTHER'"):
        deals.b24.read_activities("OTHER", portal)


def test_frame__refresh(portal: PracticePortal) -> None:
    """The same ids are read again, from the portal."""
    old = b24.read_activities([5, 3], portal)
    portal.server.touch(3, SUBJECT="changed")
    new = old.b24.refresh(portal)
    assert new.index.tolist() == [5, 3]
    assert new.loc[3, "SUBJECT"] == "changed" != old.loc[3, "SUBJECT"]
    with_column = b24.read_activities([5, 3], portal, index_col=None)
    assert with_column.b24.refresh(portal).index.tolist() == [5, 3]
    with pytest.raises(AttributeError, match="ID"):
        pd.DataFrame({"A": [1]}).b24.refresh(portal)


def test_frame__refresh_keeps_dtypes(portal: PracticePortal) -> None:
    """Dtypes and zone stay those of the frame."""
    pytest.importorskip("pyarrow")
    old = b24.read_activities([5, 3], portal, dtype_backend="pyarrow", tz="Asia/Almaty")
    assert old.b24.refresh(portal).dtypes.equals(old.dtypes)


def of_another_user(portal: b24.Portal) -> b24.Portal:
    """Return the same portal as another user sees it."""
    return b24.Portal.from_oauth(portal.address, access_token=SECRET, user_id=57)


@pytest.mark.parametrize("by_environment", [False, True])
@pytest.mark.parametrize("index_col", ["ID", None])
def test_refresh__another_portal(
    make_portal: MakePortal,
    monkeypatch: pytest.MonkeyPatch,
    by_environment: bool,
    index_col: str | None,
) -> None:
    """The rows of one portal are not replaced by those of another, which is not even asked."""
    ours, other = (make_portal(activities=20, secret=SECRET) for _ in range(2))
    frame = b24.read_activities([5, 3], ours, index_col=index_col)
    monkeypatch.setenv("B24_WEBHOOK_URL", other.url)
    with pytest.raises(ValueError, match="was read from") as caught:
        frame.b24.refresh(None if by_environment else other)
    for portal in (ours, other):
        assert f"{portal.address}, user 1" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert posts(other) == 0
    monkeypatch.setenv("B24_WEBHOOK_URL", ours.url)
    assert_frame_equal(frame.b24.refresh(index_col=index_col), frame)


def test_refresh__another_user(portal: PracticePortal) -> None:
    """What one user sees is not replaced by what another sees."""
    frame = b24.read_activities([5, 3], portal)
    with pytest.raises(ValueError, match="user 1, and the portal to ask is .*user 57") as caught:
        frame.b24.refresh(of_another_user(portal))
    assert SECRET not in str(caught.value)
    assert posts(portal) == 1


@pytest.mark.parametrize("attrs", [{}, {"b24": None}, {"b24": {"requested": 2}}])
def test_refresh__of_unknown_origin(
    portal: PracticePortal, monkeypatch: pytest.MonkeyPatch, attrs: dict[str, Any]
) -> None:
    """A frame that does not say where it is from needs a portal that is named."""
    frame = b24.read_activities([5, 3], portal)
    frame.attrs = attrs
    monkeypatch.setenv("B24_WEBHOOK_URL", portal.url)
    with pytest.raises(ValueError, match="does not say which portal .*name the portal"):
        frame.b24.refresh()
    assert posts(portal) == 1
    assert frame.b24.refresh(portal).index.tolist() == [5, 3]


def test_read_activities__default_of_another_portal(
    make_portal: MakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids in a frame of one portal are not taken for those of the default portal, if another."""
    ours, other = make_portal(activities=20), make_portal(activities=20)
    frame = b24.read_activities([5, 3], ours).assign(PARENT=[1, 2])
    monkeypatch.setenv("B24_WEBHOOK_URL", other.url)
    reads: list[Callable[..., pd.DataFrame]] = [
        lambda **options: frame.b24.read_activities("PARENT", **options),
        lambda **options: frame["PARENT"].b24.read_activities(**options),
    ]
    for before, read in enumerate(reads):
        with pytest.raises(ValueError, match="was read from"):
            read()
        assert posts(other) == before
        assert read(portal=other, cache=False)["ID"].tolist() == [1, 2]
    deals = pd.DataFrame({"PARENT": [1, 2]})
    assert deals.b24.read_activities("PARENT")["ID"].tolist() == [1, 2]


def test_report__tells(portal: PracticePortal) -> None:
    """The report names counts, and each missing id with its reason, as text and as HTML."""
    frame = b24.read_activities([5, 7, 9], portal, missing="ignore")
    report = frame.b24.report
    for text in (repr(report), report._repr_html_()):
        assert portal.address in text
        assert re.search(r"not found.*\b7\b", text)
        assert "crm.activity.configurable.get" in text
    assert "<table>" in report._repr_html_()
    for attrs in ({}, {"b24": None}, {"b24": 5}, {"b24": ["portal"]}):
        other = pd.DataFrame()
        other.attrs |= attrs
        with pytest.raises(AttributeError, match="no report"):
            _ = other.b24.report


def test_refresh__zone_of_the_index(portal: PracticePortal) -> None:
    """The zone is kept where the only date is the index."""
    frame = b24.find_activities(
        [("ID", "<", 4)], portal, columns=["ID", "SUBJECT"], index_col="CREATED", tz="Asia/Tokyo"
    )
    assert str(frame.b24.refresh(portal)["CREATED"].dt.tz) == "Asia/Tokyo"


def test_ids__several_columns(portal: PracticePortal) -> None:
    """Two columns of one name are refused where ids are needed."""
    frame = b24.read_activities([1, 2, 3], portal, index_col=None, missing="ignore")
    twice = pd.concat([frame, frame[["ID"]]], axis=1)
    for use in (lambda: twice.b24.refresh(portal), lambda: twice.b24.bindings(portal)):
        with pytest.raises(AttributeError, match="several columns of this frame are named ID"):
            use()


def test_report__escaped() -> None:
    """Text from a portal cannot become markup."""
    frame = pd.DataFrame()
    frame.attrs["b24"] = {
        "portal": "https://acme.bitrix24.com",
        "user_id": 1,
        "requested": 30,
        "from_cache": 0,
        "fetched": 0,
        "http_requests": 1,
        "missing": list(range(30)),
        "missing_reasons": {"<script>alert(1)</script>": list(range(30))},
        "stale": [],
        "read_at": "2026-01-01T00:00:00+00:00",
    }
    text = frame.b24.report._repr_html_()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "10 more" in text


def test_warnings__point_at_the_caller(portal: PracticePortal) -> None:
    """A warning of a read by the accessor points at the line that called it."""
    with pytest.warns(MissingActivitiesWarning) as caught:
        pd.Series([7]).b24.read_activities(portal)
    assert [Path(w.filename).name for w in caught] == ["test_accessor.py"]


METHODS = """
bindings calls communications duration expand is_missed_call is_overdue labels names owner_url plot
provider_name read_activities refresh report spreadsheet_safe storable talk_time
talk_time_from typed
""".split()


def ask_everything(frame: pd.DataFrame) -> list[Any]:
    """Ask a frame of activities all that needs no portal."""
    accessor = frame.b24
    return [
        accessor.labels(),
        accessor.duration,
        accessor.talk_time,
        accessor.is_overdue("2026-01-01T00:00:00+00:00"),
        accessor.is_missed_call,
        accessor.provider_name,
        accessor.expand("SETTINGS"),
        accessor.typed(),
        accessor.storable(),
        accessor.spreadsheet_safe(),
    ]


def test_frame__methods_are_shown() -> None:
    """Every method is there to be completed, and says what it does."""
    accessor = pd.DataFrame().b24
    assert [name for name in dir(accessor) if not name.startswith("_")] == METHODS
    for name in METHODS:
        assert getattr(type(accessor), name).__doc__


def test_frame__survives(portal: PracticePortal) -> None:
    """Copies, slices, groups and joined frames have the methods, and give the same answers."""
    frame = b24.read_activities(range(10, 60), portal, missing="ignore")
    before = frame.copy()
    whole = ask_everything(frame)
    assert_frame_equal(frame, before)
    joined = pd.concat([frame.iloc[:20], frame.iloc[20:].copy()])
    for one, other in zip(whole, ask_everything(joined), strict=True):
        assert one.equals(other)
    some = frame[frame["TYPE_ID"] == 2]
    assert some.b24.talk_time.equals(whole[2][some.index])
    groups = frame.groupby("TYPE_ID")[list(frame.columns)]
    counts = groups.apply(lambda group: group.b24.is_missed_call.sum())
    assert counts.sum() == whole[4].sum()


def test_frame__no_rows(portal: PracticePortal) -> None:
    """A frame without rows answers everything."""
    assert [len(answer) for answer in ask_everything(b24.read_activities([], portal))] == [0] * 10


@pytest.mark.parametrize("name", ["b24frames", "b24frames.accessor.accessor"])
def test_register__survives_reload(name: str) -> None:
    """A reload warns of nothing, and the accessor goes on working."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(importlib.import_module(name))
        importlib.reload(importlib.import_module("b24frames"))
    frame = pd.DataFrame({"PROVIDER_ID": ["CRM_SMS"]})
    assert frame.b24.provider_name.tolist() == ["SMS"]
    assert hasattr(frame.index, "b24")


def test_report__partial_and_hostile() -> None:
    """A report of what another program has left of the facts is one of these, on safe lines."""
    frame = pd.DataFrame()
    frame.attrs["b24"] = {
        "portal": "https://acme\x1b[31m.example\n<b>",
        "requested": 1234,
        "stale": [5],
        "missing_reasons": {"<img src=x onerror=alert(1)>\x07": [7]},
    }
    report = frame.b24.report
    assert repr(report).splitlines() == [
        "portal     https://acme\\x1b[31m.example <b>",
        "requested  1,234",
        "stale      1: 5",
        "           <img src=x onerror=alert(1)>\\x07: 7",
    ]
    assert "<b>" not in report._repr_html_()
    assert "<img" not in report._repr_html_()
    assert report._repr_html_().count("<tr>") == 4
    frame.attrs["b24"] = {}
    assert repr(frame.b24.report) == ""


def test_series__columns_with_the_id(portal: PracticePortal) -> None:
    """The id is a column where it is asked for, in its place: the index is the caller's own."""
    ids = pd.Series([5, None, 7, 5], index=list("abcd"))
    frame = ids.b24.read_activities(
        portal, columns=iter(["SUBJECT", "ID", "SETTINGS"]), missing="keep"
    )
    assert frame.columns.tolist() == ["SUBJECT", "ID", "SETTINGS"]
    assert frame["ID"].fillna(0).tolist() == [5, 0, 7, 5]
    assert [value is None for value in frame["SETTINGS"]] == [False, True, True, False]


def test_frame__columns_of_one_name(portal: PracticePortal) -> None:
    """Two columns of one name are refused where they are asked for, and no bother elsewhere."""
    frame = b24.read_activities([5, 6], portal)
    twice = pd.concat([frame, frame[["END_TIME", "SETTINGS"]]], axis="columns")
    assert twice.b24.provider_name.equals(frame.b24.provider_name)
    for ask in (lambda df: df.b24.duration, lambda df: df.b24.expand("SETTINGS")):
        with pytest.raises(AttributeError, match="several columns are named"):
            ask(twice)
    with pytest.raises(AttributeError, match="several columns"):
        twice.b24.read_activities("END_TIME", portal)

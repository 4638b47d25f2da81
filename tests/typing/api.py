"""The public names, used as users use them; mypy checks this file, and nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any, assert_type

import pandas as pd

import b24frames as b24
from b24frames.accessor.accessor import FrameAccessor, IdsAccessor, Report
from b24frames.practice import PracticePortal


def read(portal: b24.Portal, ids: pd.Series[int]) -> None:
    """Accept every kind of argument; give a frame, or an iterator of frames."""
    assert_type(b24.read_activities(1), pd.DataFrame)
    assert_type(b24.read_activities(range(5), portal), pd.DataFrame)
    assert_type(b24.read_activities(ids, "https://acme.bitrix24.com/rest/1/x/"), pd.DataFrame)
    assert_type(b24.read_activities([1], portal, chunksize=10), Iterator[pd.DataFrame])
    assert_type(
        b24.read_activities(
            ["1", 2],
            portal,
            columns=["SUBJECT"],
            index_col=None,
            dtype_backend="pyarrow",
            tz=timezone(timedelta(hours=5)),
            missing="keep",
            on_bad_value="raise",
            cache=Path("folder"),
            max_age="7d",
            only_if_cached=True,
            stale_if_error=True,
            via="list",
            chunksize=None,
            progress=False,
        ),
        pd.DataFrame,
    )
    b24.read_activities(1, missing="drop")  # type: ignore[call-overload]  # no such choice
    b24.read_activities(1, colums=["ID"])  # type: ignore[call-overload]  # no such keyword


def find(portal: b24.Portal) -> None:
    """Accept conditions; give a frame, an iterator of frames, or a number."""
    calls = [("TYPE_ID", "==", "call"), ("CREATED", ">=", "2026-10-01")]
    assert_type(b24.find_activities(calls, portal), pd.DataFrame)
    assert_type(b24.find_activities([calls, [("ID", "in", [1, 2])]], limit=5), pd.DataFrame)
    assert_type(b24.find_activities(None, portal, chunksize=10), Iterator[pd.DataFrame])
    assert_type(b24.count_activities(calls, tz="Europe/Berlin"), int)


def names_and_calls(portal: b24.Portal) -> None:
    """Read users and calls."""
    assert_type(b24.read_users(), pd.DataFrame)
    assert_type(b24.read_users([1, "2"], portal, dtype_backend="pyarrow"), pd.DataFrame)
    assert_type(b24.read_calls(), pd.DataFrame)
    assert_type(b24.read_calls([1], portal, filters=[("ID", ">", 1)], tz="UTC"), pd.DataFrame)
    assert_type(b24.schema.CALL["CALL_TYPE"], b24.schema.Field)


def portals() -> None:
    """Make portals, and ask them."""
    portal = b24.Portal("https://acme.bitrix24.com/rest/1/x/", limits=(50, 2), timeout=(5, 60))
    assert_type(
        b24.Portal.from_oauth(
            "https://acme.bitrix24.com", access_token="x", user_id=1, on_refresh=print
        ),
        b24.Portal,
    )
    assert_type(portal.address, str)
    assert_type(portal.user_id, int)
    assert_type(portal.call("crm.activity.fields"), Any)
    assert_type(portal.call_batch({"a": ("crm.activity.get", {"id": 1})}), dict[str, Any])
    with b24.practice_portal(activities=10, deleted=[7]) as practice:
        assert_type(practice, PracticePortal)
        assert_type(practice.url, str)


def cached(portal: b24.Portal) -> None:
    """Look at a cache, and clear it."""
    cache = b24.ActivityCache("folder", max_size=None)
    assert_type(cache.path, Path | None)
    assert_type(cache.info(), dict[str, Any])
    assert_type(cache.clear(ids=[1], portal=portal), int)
    assert_type(cache.prune(older_than="30d"), int)
    b24.read_activities(1, portal, cache=cache)


def stored(portal: b24.Portal) -> None:
    """Keep a store up to date, and read from it."""
    store = b24.ActivityStore(Path("folder"), portal, [("TYPE_ID", "==", "call")])
    assert_type(store.sync(full=True, progress=False).added, int)
    assert_type(store.read(["SUBJECT"], dtype_backend="pyarrow", tz="Asia/Almaty"), pd.DataFrame)
    assert_type(store.info(), dict[str, Any])
    assert_type(store.table, Any)


def accessors(frame: FrameAccessor, ids: IdsAccessor, portal: b24.Portal) -> None:
    """Ask a frame, and read what it names; pandas' own types do not know `.b24`."""
    assert_type(frame.report, Report)
    assert_type(frame.typed(dtype_backend="pyarrow", tz="Asia/Almaty"), pd.DataFrame)
    assert_type(frame.labels(["TYPE_ID"]), pd.DataFrame)
    assert_type(frame.duration, pd.Series)
    assert_type(frame.talk_time, pd.Series)
    assert_type(frame.is_overdue(pd.Timestamp.now("UTC")), pd.Series)
    assert_type(frame.is_missed_call, pd.Series)
    assert_type(frame.provider_name, pd.Series)
    assert_type(frame.expand("SETTINGS"), pd.DataFrame)
    assert_type(frame.storable(), pd.DataFrame)
    assert_type(frame.spreadsheet_safe(), pd.DataFrame)
    assert_type(frame.refresh(portal, via="list"), pd.DataFrame)
    assert_type(frame.names(portal, cache=False, max_age="7d"), pd.DataFrame)
    assert_type(frame.owner_url, pd.Series)
    assert_type(frame.calls(portal, filters=[("CALL_TYPE", "==", 2)]), pd.DataFrame)
    assert_type(frame.communications(), pd.DataFrame)
    assert_type(frame.bindings(), pd.DataFrame)
    assert_type(frame.read_activities("ACTIVITY_ID", portal, missing="ignore"), pd.DataFrame)
    assert_type(ids.read_activities(portal), pd.DataFrame)
    frame.refresh(portal, via="post")  # type: ignore[arg-type]  # no such choice


def panel() -> None:
    """Make a panel, and use it from code."""
    shown = b24.LookupPanel(ids="1-3", cache=False, tz="Asia/Almaty", max_age=None)
    assert_type(shown.lookup([1]), None)
    assert_type(shown.history, list[list[int]])


def errors(error: b24.errors.PortalError, missing: b24.errors.MissingActivitiesError) -> None:
    """Ask an error what it is."""
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, float | None)
    assert_type(error.http_status, int | None)
    assert_type(error.code, str)
    assert_type(missing.ids, list[int])
    root: b24.errors.B24Error = missing
    lookup: KeyError = missing
    warning: UserWarning = b24.errors.StaleDataWarning()
    print(root, lookup, warning)


def fields() -> None:
    """Look a field up."""
    assert_type(b24.schema.ACTIVITY["ID"], b24.schema.Field)
    assert_type(b24.schema.ACTIVITY["ID"].wire, b24.schema.Wire)
    assert_type(b24.schema.COLUMNS, tuple[str, ...])
    assert_type(b24.schema.label("TYPE_ID", 2), str)

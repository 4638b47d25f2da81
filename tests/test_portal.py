"""The portal client: calls, batches, the right error for each answer, and no secret shown."""

from __future__ import annotations

import logging
import math
import pickle
import traceback
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

import b24frames as b24
from b24frames.errors import (
    ActivityNotFoundError,
    ActivityRefusedError,
    AuthenticationError,
    InvalidAnswerError,
    OperatingTimeError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)
from b24frames.portal.limits import MAX_ATTEMPTS
from b24frames.practice import PracticePortal
from tests.helpers.cases import SYSTEM_ERRORS
from tests.helpers.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault
from tests.helpers.practice import asked, posts

MakePortal = Callable[..., PracticePortal]
SECRET = "pl4ntedS3cret"


def get(i: int) -> tuple[str, dict[str, int]]:
    """Return the command for one activity."""
    return ("crm.activity.get", {"id": i})


# --- calls -------------------------------------------------------------------------------------


def test_call__result(portal: PracticePortal) -> None:
    """A call returns the value under `result`."""
    assert portal.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
    fields = portal.call("crm.activity.fields")
    assert fields["SUBJECT"]["type"] == "string"
    statuses = portal.call("crm.enum.activitystatus")
    assert {"ID", "NAME"} <= set(statuses[0])


def test_call__manners(portal: PracticePortal) -> None:
    """A request is a POST that says who sends it."""
    portal.call("crm.activity.get", {"id": 5})
    (request,) = portal.server.requests
    assert request.http_method == "POST"
    assert request.user_agent == f"b24frames/{b24.__version__}"
    assert request.params == {"id": 5}


def test_call__not_found(portal: PracticePortal) -> None:
    """An activity that is not there, or not given, has an error of its own."""
    with pytest.raises(ActivityNotFoundError) as caught:
        portal.call("crm.activity.get", {"id": 7})
    assert caught.value.http_status == 400
    assert caught.value.method == "crm.activity.get"
    assert not caught.value.retryable
    with pytest.raises(ActivityRefusedError, match="configurable"):
        portal.call("crm.activity.get", {"id": 9})
    assert posts(portal) == 2


@pytest.mark.parametrize(("status", "code", "kind", "retryable"), SYSTEM_ERRORS)
def test_call__system_errors(
    portal: PracticePortal, status: int, code: str, kind: type[PortalError], retryable: bool
) -> None:
    """Transient errors are repeated a bounded number of times, final ones not at all."""
    portal.server.faults.append(Fault(code))
    with pytest.raises(PortalError) as caught:
        portal.call("crm.activity.get", {"id": 5})
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    is_limit = issubclass(kind, (RateLimitError, OperatingTimeError))
    assert is_limit or posts(portal) == (MAX_ATTEMPTS if retryable else 1)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("INTERNAL_SERVER_ERROR", times=2),
        Fault("QUERY_LIMIT_EXCEEDED", times=2),
        Fault("OPERATION_TIME_LIMIT", times=2),
        Fault("html", times=2),
        Fault("html", times=2, status=200),
        Fault("empty", times=2),
        Fault("cut-json", times=2),
        Fault("truncated", times=2),
        Fault("close", times=2),
        Fault("reset", times=2),
        Fault("wrong-type"),
        Fault("gzip"),
        Fault("drip"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_call__survives(portal: PracticePortal, fault: Fault) -> None:
    """What passes by itself is waited out, and odd but right answers are read."""
    portal.server.faults.append(fault)
    assert portal.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
    assert posts(portal) == 1 + (fault.times or 0)


def test_call__redirect(portal: PracticePortal) -> None:
    """A portal that has moved is not followed: the error names the new host and nothing else."""
    fault = Fault("redirect", location="https://new.bitrix24.com")
    portal.server.faults.append(fault)
    with pytest.raises(PortalError, match=r"moved to new\.bitrix24\.com") as caught:
        portal.call("crm.activity.get", {"id": 5})
    assert "practice" not in str(caught.value)
    assert posts(portal) == 1


def test_call__no_connection() -> None:
    """A portal that is not there is unavailable, after a bounded number of attempts."""
    portal = b24.Portal("http://127.0.0.1:9/rest/1/x/", clock=WaitlessClock())
    with pytest.raises(PortalUnavailableError, match="no connection") as caught:
        portal.call("crm.activity.get", {"id": 5})
    assert caught.value.retryable
    assert caught.value.http_status is None


def test_call__timeout(make_portal: MakePortal) -> None:
    """A portal that does not answer is given up after the time set."""
    practice = make_portal()
    practice.server.faults.append(Fault("hang"))
    portal = b24.Portal(practice.url, timeout=(1, 0.05), clock=WaitlessClock())
    with pytest.raises(PortalUnavailableError, match="no answer"):
        portal.call("crm.activity.get", {"id": 5})
    portal.close()


@pytest.mark.parametrize(
    "timeout", [0, (1,), (1, 0), (-1, 1), "ab", (1, 2, 3), None, ("x", 1), (1, math.inf), (1, 1e10)]
)
def test_portal__timeout_refused(timeout: Any) -> None:
    """A timeout that is not a pair of seconds is refused."""
    with pytest.raises(ValueError, match="timeout="):
        b24.Portal("https://acme.bitrix24.com/rest/1/x/", timeout=timeout)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *product(("concurrency", "max_wait"), (0, -1, "5", True)),
        ("concurrency", 2.5),
        ("max_wait", None),
    ],
)
def test_portal__number_refused(option: str, value: Any) -> None:
    """What is not a positive number is refused."""
    with pytest.raises(ValueError, match=f"{option}="):
        b24.Portal("https://acme.bitrix24.com/rest/1/x/", **{option: value})


def test_portal__own_session(portal: PracticePortal) -> None:
    """The caller's session is used, and stays open."""
    with requests.Session() as session:
        mine = b24.Portal(portal.url, session=session)
        mine.call("crm.activity.get", {"id": 5})
        mine.close()
        mine.call("crm.activity.get", {"id": 5})
    assert posts(portal) == 2


def test_portal__no_proxy_to_itself(
    portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment does not come between this machine and itself."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert b24.Portal(portal.url).call("crm.activity.get", {"id": 5})["ID"]


# --- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 120])
def test_call_batch__any_number(portal: PracticePortal, count: int) -> None:
    """Any number of commands, 50 in a request; answers in the order given."""
    ids = range(10 + count, 10, -1)
    answers = portal.call_batch({f"a{i}": get(i) for i in ids})
    assert list(answers) == [f"a{i}" for i in ids]
    assert all(answers[f"a{i}"] == portal.server.record(i) for i in ids)
    sizes = sorted(len(r.commands) for r in portal.server.requests)
    assert sizes == ([count % 50] if count % 50 else []) + [50] * (count // 50)


def test_call_batch__errors(portal: PracticePortal) -> None:
    """Each command has its own answer or error."""
    answers = portal.call_batch({"a": get(5), "b": get(7), "c": get(9), "d": get(6)})
    assert answers["a"]["SUBJECT"] == portal.server.record(5)["SUBJECT"]  # type: ignore[index]
    assert isinstance(answers["b"], ActivityNotFoundError)
    assert isinstance(answers["c"], ActivityRefusedError)
    assert answers["d"] == portal.server.record(6)


@pytest.mark.parametrize("name", ["0", "a b", "a[1]", "ü", "a&b=c"])
def test_call_batch__any_name(portal: PracticePortal, name: str) -> None:
    """A command may have any name, also one that PHP turns into a place in a list."""
    answers = portal.call_batch({name: get(5)})
    assert answers == {name: portal.server.record(5)}


def test_call_batch__falsy_results(portal: PracticePortal) -> None:
    """An empty result is a result."""
    answers = portal.call_batch({"a": ("crm.activity.list", {"filter": {"ID": 10**9}})})
    assert answers == {"a": []}
    assert posts(portal) == 1


@pytest.mark.parametrize("kind", ["unanswered", "QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT"])
def test_call_batch__repeats_what_failed(portal: PracticePortal, kind: str) -> None:
    """Only the commands that failed are sent again."""
    portal.server.faults.append(Fault(kind, ids=[11, 12], times=3))
    answers = portal.call_batch({f"a{i}": get(i) for i in range(10, 40)})
    assert all(answers[f"a{i}"] == portal.server.record(i) for i in range(10, 40))
    assert asked(portal)[:30] == list(range(10, 40))
    assert set(asked(portal)[30:]) == {11, 12}


def test_call_batch__gives_up(portal: PracticePortal) -> None:
    """A command that is never answered has an error, after a bounded number of attempts."""
    portal.server.faults.append(Fault("unanswered", ids=[11]))
    answers = portal.call_batch({f"a{i}": get(i) for i in range(10, 40)})
    assert isinstance(answers["a11"], InvalidAnswerError)
    assert sum(isinstance(answer, dict) for answer in answers.values()) == 29
    assert posts(portal) == 3


@pytest.mark.parametrize(
    "value", [np.int64(11), pd.Index([11], dtype="Int64")[0], np.uint8(11), 11, "11"]
)
def test_call__kinds_of_numbers(portal: PracticePortal, value: Any) -> None:
    """An id as a frame's index holds it is as good as any other."""
    params = {"id": value}
    answers = portal.call_batch({"a": ("crm.activity.get", params)})
    assert answers["a"]["ID"] == portal.call("crm.activity.get", params)["ID"] == "11"
    listed = {"filter": {"@ID": (value, np.int64(12))}}
    assert len(portal.call("crm.activity.list", listed)) == 2


@pytest.mark.parametrize(
    "value",
    [{11}, b"11", np.array([11]), pd.Index([11]), pd.NA, pd.Timestamp(0), float("nan"), object()],
    ids=lambda value: type(value).__name__,
)
def test_call__parameters_refused(portal: PracticePortal, value: Any) -> None:
    """What is no JSON is named before any request, not sent as whatever its `str` is."""
    words = f"parameters of crm.activity.list have .*{type(value).__name__}.*accepted are str, int"
    params = {"filter": {"ID": [1, value]}}
    with pytest.raises(TypeError, match=words):
        portal.call("crm.activity.list", params)
    with pytest.raises(TypeError, match=words):
        portal.call_batch({"good": get(5), "bad": ("crm.activity.list", params)})
    assert posts(portal) == 0


def test_call_batch__names_refused(portal: PracticePortal) -> None:
    """JSON has no names but text."""
    with pytest.raises(TypeError, match="1"):
        portal.call_batch({1: get(5)})  # type: ignore[dict-item]
    assert posts(portal) == 0


@pytest.mark.parametrize("kind", ["surrogate", "bad-bytes"])
def test_call_batch__one_bad_text(portal: PracticePortal, kind: str) -> None:
    """A text that is no valid Unicode costs none of its neighbours."""
    portal.server.faults.append(Fault(kind, ids=[11]))
    answers = portal.call_batch({f"a{i}": get(i) for i in range(10, 40)})
    assert answers["a11"]["ID"] in ("11", 11)
    assert all(answers[f"a{i}"] == portal.server.record(i) for i in range(12, 40))


# --- pacing ------------------------------------------------------------------------------------


def test_pacing__never_refused(make_portal: MakePortal) -> None:
    """A read of more requests than the burst is paced: the portal refuses none."""
    portal = make_portal(activities=100, limits=(10, 2), speed=100.0)
    for i in range(25):
        portal.call("crm.activity.get", {"id": i % 5 + 1}) if i % 5 else portal.call("profile")
    assert posts(portal) == 25
    assert portal.server.refusals == 0


def test_pacing__others_use_the_bucket(make_portal: MakePortal) -> None:
    """When the portal refuses since others fill its bucket, the call is repeated later."""
    portal = make_portal(limits=(10, 2), speed=100.0)
    for _ in range(10):
        requests.post(portal.url + "profile", timeout=5)
    assert portal.call("profile")


# --- secrets -----------------------------------------------------------------------------------


def test_secret__nowhere(
    make_portal: MakePortal, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither repr, nor errors with all their context, nor our log lines show the secret."""
    portal = make_portal(activities=50, secret=SECRET)
    portal.server.faults.append(Fault("INTERNAL_SERVER_ERROR", times=1))
    shown = [repr(portal), str(portal)]
    with caplog.at_level(logging.DEBUG, logger="b24frames"):
        portal.call("profile")
        portal.server.stop()
        with pytest.raises(PortalUnavailableError) as caught:
            portal.call("profile")
    shown += [record.getMessage() for record in caplog.records if record.name == "b24frames"]
    assert len(shown) > 2
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), str(error), repr(vars(error))]
        shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__cause__ or error.__context__
    shown += capsys.readouterr()
    assert not [text for text in shown if SECRET in text]
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(portal._credential)


def test_secret__wrong(portal: PracticePortal) -> None:
    """A wrong secret is refused at once, and not repeated in the message."""
    wrong = b24.Portal(portal.url.replace("practice", SECRET))
    with pytest.raises(AuthenticationError) as caught:
        wrong.call("profile")
    assert SECRET not in str(caught.value)
    assert posts(portal) == 1


def test_rate_limit_error__retry_after(make_portal: MakePortal) -> None:
    """The portal's own word about when to come back is passed on."""
    portal = make_portal()
    portal.server.faults.append(Fault("QUERY_LIMIT_EXCEEDED", retry_after=3))
    with pytest.raises(RateLimitError) as caught:
        portal.call("profile")
    assert caught.value.retry_after == 3.0


@pytest.mark.parametrize("session", [5, "x", {}, object(), requests.Session])
def test_portal__refuses_session(session: Any) -> None:
    """What is no session is refused by name, not when it is first used."""
    with pytest.raises(TypeError, match="session=.* is not a requests.Session"):
        b24.Portal("https://acme.bitrix24.com/rest/1/s3cret0s3cret/", session=session)


def test_portal__numbers_of_numpy() -> None:
    """They count as numbers, as they do everywhere else."""
    options: Any = {"limits": (np.int64(50), np.float32(2)), "concurrency": np.int64(3)}
    options |= {"timeout": (np.float64(1.5), np.int64(9)), "max_wait": np.float64(60)}
    b24.Portal("https://acme.bitrix24.com/rest/1/s3cret0s3cret/", **options).close()
    with pytest.raises(ValueError, match="concurrency=True is not"):
        b24.Portal("https://acme.bitrix24.com/rest/1/s3cret0s3cret/", concurrency=True)


def test_portal__refuses_session_without_adapter() -> None:
    """So is one that cannot send to the portal, without a word of the secret."""
    session = requests.Session()
    del session.adapters["https://"]
    with pytest.raises(ValueError, match=r"no adapter for https://acme.bitrix24.com:") as caught:
        b24.Portal("https://acme.bitrix24.com/rest/1/s3cret0s3cret/", session=session)
    assert "s3cret" not in str(caught.value)
    assert isinstance(b24.Portal("http://127.0.0.1/rest/1/s3cret/", session=session), b24.Portal)


@pytest.mark.parametrize("commands", [[], None, "x", 5])
def test_call_batch__refuses_commands(portal: PracticePortal, commands: Any) -> None:
    """Commands need names."""
    with pytest.raises(TypeError, match="commands=.* is not a dict"):
        portal.call_batch(commands)

"""Errors: the right class for each answer, in plain words, and fit to travel between processes."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from b24frames import errors
from b24frames.errors import (
    ActivityNotFoundError,
    ActivityRefusedError,
    AuthenticationError,
    B24Error,
    BadValueWarning,
    MissingActivitiesError,
    PermissionDeniedError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
    error_from_answer,
)
from b24frames.messages import name_some, warn_at_caller
from tests.helpers.cases import SYSTEM_ERRORS


@pytest.mark.parametrize(("status", "code", "kind", "retryable"), SYSTEM_ERRORS)
@pytest.mark.parametrize("in_batch", [False, True])
def test_error_from_answer__system(
    status: int, code: str, kind: type[PortalError], retryable: bool, in_batch: bool
) -> None:
    """The code decides, whatever the status, at the top level and for one command."""
    error = error_from_answer(
        {"error": code, "error_description": "words"},
        method="crm.activity.get",
        http_status=None if in_batch else status,
    )
    assert type(error) is kind
    assert (error.code, error.retryable) == (code, retryable)
    assert code in str(error)
    assert "words" in str(error)


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("Not found", ActivityNotFoundError),
        ("NOT FOUND.", ActivityNotFoundError),
        ("Activity is not found.", ActivityNotFoundError),
        ("Access denied.", ActivityNotFoundError),
        ("Application context required", ActivityRefusedError),
        ("Use crm.activity.configurable.get for this activity provider", ActivityRefusedError),
        ("", ActivityRefusedError),
        (None, ActivityRefusedError),
        ("mysql server has gone away", PortalError),
    ],
)
@pytest.mark.parametrize("status", [None, 400])
def test_error_from_answer__empty_code(
    description: str | None, kind: type[PortalError], status: int | None
) -> None:
    """Where the code is empty the description tells what is the matter with the activity."""
    answer = {"error": "", "error_description": description}
    error = error_from_answer(answer, method="crm.activity.get", http_status=status)
    assert type(error) is kind
    assert not error.retryable


@pytest.mark.parametrize("description", ["Not found", ""])
@pytest.mark.parametrize(
    ("code", "method", "kind"),
    [
        ("NOT_FOUND", "crm.activity.get", ActivityNotFoundError),
        ("NOT_FOUND", "crm.item.list", PortalError),
        ("ERROR_METHOD_NOT_FOUND", "crm.activity.get", PortalError),
    ],
)
def test_error_from_answer__code_of_missing(
    code: str, method: str, kind: type[PortalError], description: str
) -> None:
    """The code may say it, too, that there is no such activity; others say no such thing."""
    answer = {"error": code, "error_description": description}
    assert type(error_from_answer(answer, method=method, http_status=400)) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (429, RateLimitError),
        (500, PortalUnavailableError),
        (503, PortalUnavailableError),
        (400, PortalError),
    ],
)
def test_error_from_answer__status_last(status: int, kind: type[PortalError]) -> None:
    """Where neither code nor description is known, the status decides."""
    error = error_from_answer({"error": "NEW"}, method="crm.activity.list", http_status=status)
    assert type(error) is kind


@pytest.mark.parametrize(
    ("code", "method", "words"),
    [
        ("NO_AUTH_FOUND", "profile", "Check the webhook: copy its URL again"),
        ("INVALID_CREDENTIALS", "profile", "was deleted or blocked, its secret or owner was chan"),
        ("insufficient_scope", "crm.activity.get", "Tick the scope 'crm'"),
        ("insufficient_scope", "batch", "Tick the scope 'crm'"),
        ("insufficient_scope", "user.get", "Tick the scope 'user_brief'"),
        ("insufficient_scope", "voximplant.statistic.get", "Tick the scope 'telephony'"),
        ("ACCESS_DENIED", "profile", "commercial plan"),
        ("user_access_error", "profile", "access to the application"),
        ("expired_token", "profile", "from_oauth a new access token"),
        ("INVALID_REQUEST", "profile", "https://"),
        ("QUERY_LIMIT_EXCEEDED", "profile", "Other programs at this address"),
        ("OPERATION_TIME_LIMIT", "profile", "within ten minutes"),
        ("OVERLOAD_LIMIT", "profile", "ask the portal's administrator or Bitrix24 support"),
        ("PORTAL_DELETED", "profile", "ask the portal's administrator or Bitrix24 support"),
    ],
)
def test_portal_error__hint(code: str, method: str, words: str) -> None:
    """Each code says what can be done about it, and only a missing scope speaks of one."""
    error = error_from_answer({"error": code}, method=method, http_status=401)
    assert words in error.hint
    assert str(error).endswith(error.hint)
    assert ("permission" in error.hint) == (code == "insufficient_scope")
    for page in re.findall(r"docs/\S+\.md", error.hint):
        assert (Path(__file__).parents[1] / page).is_file()


def _all_errors() -> list[type[B24Error]]:
    """List every error class of the module."""
    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, B24Error)]
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", _all_errors())
def test_errors__pickle(kind: type[B24Error]) -> None:
    """Every error comes back from a pickle with all that it carries."""
    facts: dict[str, Any] = {}
    if issubclass(kind, PortalError):
        facts = {"code": "C", "http_status": 503, "method": "m", "retry_after": 2.5}
    error = kind("words", **facts)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_missing_activities_error__carries_the_rest() -> None:
    """The error for missing ids is a KeyError with the ids and the rows that were found."""
    frame = pd.DataFrame({"ID": [1]})
    error = MissingActivitiesError("2 is missing", [2], frame)
    assert isinstance(error, KeyError)
    assert str(error) == "2 is missing"
    again = pickle.loads(pickle.dumps(error))
    assert again.ids == [2]
    assert again.frame.equals(frame)


def test_name_some__bounded() -> None:
    """A long list is cut, and the rest counted."""
    assert name_some([1, 2]) == "1, 2"
    assert name_some(range(100)) == "0, 1, 2, 3, 4 and 95 more"


def test_warn_caller__points_here() -> None:
    """A warning points at the line that called into the package, not into it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_at_caller("words", BadValueWarning)
    assert [Path(w.filename).name for w in caught] == ["test_errors.py"]

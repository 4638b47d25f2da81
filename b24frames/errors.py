"""Every error and warning of b24frames, and the translation of a portal's answers to errors.

::

    B24Error
    ├── PortalError                  the portal, or the way to it, refused a call
    │   ├── AuthenticationError      the webhook's secret or the access token is not accepted
    │   ├── PermissionDeniedError    accepted, but not allowed to do this
    │   ├── RateLimitError           too many requests (transient)
    │   ├── OperatingTimeError       too much operating time used (transient)
    │   ├── PortalBlockedError       REST is switched off for this portal
    │   ├── PortalUnavailableError   internal error, gateway, connection, timeout (transient)
    │   ├── InvalidAnswerError       not of the REST API's form (transient, but for web pages)
    │   ├── ActivityNotFoundError    no such activity, or not visible to this user
    │   └── ActivityRefusedError     the activity exists, but this method does not return it
    ├── MissingActivitiesError       (also a KeyError) some ids have no record
    ├── BadValueError                (also a ValueError) a value that cannot be understood
    ├── CacheError                   the cache's file cannot be read or written
    └── StoreError                   the store's table cannot be read or written
        └── StoreBusyError           another program has written to it meanwhile

    B24Warning (a UserWarning)
    ├── MissingActivitiesWarning
    ├── BadValueWarning
    ├── NamesMissingWarning
    ├── StaleDataWarning
    ├── MethodsDifferWarning
    └── CacheWarning
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WEB_PAGE = "WEB_PAGE"
"""Our code of a web page in place of an answer, such as a login page; not of a gateway's."""


# Completion offers the classes that users catch; the rest is internal.
def __dir__() -> list[str]:
    own = (value for value in globals().values() if isinstance(value, type))
    return [kind.__name__ for kind in own if kind.__module__ == __name__]


class B24Error(Exception):
    """Root of all errors of b24frames."""

    def __str__(self) -> str:
        # KeyError.__str__ would show the repr of the message.
        return str(self.args[0]) if self.args else ""


class PortalError(B24Error):
    """A call that failed, in the portal or on the way to it.

    Parameters
    ----------
    description : str
        The message, the portal's or ours.
    code : str
        The portal's error code; often empty. Ours are ``TIMEOUT``, ``WEB_PAGE``, ``PROXY`` and
        ``TLS``.
    http_status : int or None
        The HTTP status; None without an answer (no connection), and for a command of a batch.
    method : str
        The REST method that was called, such as ``crm.activity.get``.
    retry_after : float or None
        The delay that the portal asked for before the call is repeated [s].

    Attributes
    ----------
    retryable : bool
        Whether the same call may succeed later (transient) or not (final).
    ends_all : bool
        Whether all other calls would fail in the same way.
    reached : bool
        Whether a connection to the portal was made; False also where a new access token is needed
        and the authorization server gives none.
    hint : str
        How to fix the problem; often empty.

    Examples
    --------
    >>> error = RateLimitError("Too many requests", code="QUERY_LIMIT_EXCEEDED", http_status=503)
    >>> error.retryable, error.http_status
    (True, 503)
    """

    # Defaults of the class; an instance may differ, such as the final error of a proxy.
    retryable: bool = False
    ends_all: bool = False
    reached: bool = True
    usual_hint: str = ""

    def __init__(
        self,
        description: str = "",
        *,
        code: str = "",
        http_status: int | None = None,
        method: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(description)
        self.description = description
        self.code = code
        self.http_status = http_status
        self.method = method
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = self.description.rstrip(". ") or "the portal gave no reason"
        facts = [self.code] if self.code else []
        facts += [f"HTTP {self.http_status}"] if self.http_status else []
        text = f"{self.method}: {text}" if self.method else text
        text = f"{text} ({', '.join(facts)})" if facts else text
        return f"{text}. {self.hint}" if self.hint else text

    @property
    def hint(self) -> str:
        """How to fix the problem; often empty."""
        hint = _HINTS.get(self.code.upper(), self.usual_hint)
        # The scope that is missing depends on the family of methods.
        prefix = self.method.lower().partition(".")[0]
        return hint.replace("SCOPE", _SCOPES.get(prefix, "crm"))


class AuthenticationError(PortalError):
    """The portal does not accept the webhook's secret or the access token."""

    ends_all = True
    usual_hint = "Check the webhook (it may have been deleted or changed) or the access token."


class PermissionDeniedError(PortalError):
    """The credential is accepted but not allowed to do this."""

    ends_all = True
    usual_hint = "Check that the webhook has the scope 'SCOPE' and that its user may do this."


class RateLimitError(PortalError):
    """The portal's request rate is used up (QUERY_LIMIT_EXCEEDED)."""

    retryable = True


class OperatingTimeError(PortalError):
    """The method's operating time is used up (OPERATION_TIME_LIMIT)."""

    retryable = True


class PortalBlockedError(PortalError):
    """REST is switched off for the whole portal (OVERLOAD_LIMIT, PORTAL_DELETED)."""

    ends_all = True
    usual_hint = "Waiting does not help: ask the portal's administrator or Bitrix24 support."


class PortalUnavailableError(PortalError):
    """The portal did not answer, or answered with an internal or gateway error."""

    retryable = True


class InvalidAnswerError(PortalError):
    """The answer is not JSON, or not of the form that the REST API documents."""

    retryable = True


class ActivityNotFoundError(PortalError):
    """The activity does not exist, or this user may not see it: the portal does not say which."""


class ActivityRefusedError(PortalError):
    """The activity exists, but this method does not return it."""


class MissingActivitiesError(B24Error, KeyError):
    """Some ids have no record, and the caller chose ``missing="raise"``.

    Parameters
    ----------
    message : str
        Names the ids.
    ids : sequence of int
        The ids without a record, in the order given.
    frame : pandas.DataFrame or None
        The rows that were found.
    """

    def __init__(self, message: str = "", ids: Sequence[int] = (), frame: Any = None) -> None:
        super().__init__(message)
        self.ids = list(ids)
        self.frame = frame


class BadValueError(B24Error, ValueError):
    """A value is invalid, and the caller chose ``on_bad_value="raise"``."""


class CacheError(B24Error):
    """The cache's file cannot be read or written."""


class StoreError(B24Error):
    """The table of an `b24frames.ActivityStore` cannot be read or written."""


class StoreBusyError(StoreError):
    """Another program has written to the table meanwhile: what it wrote is kept; sync again."""


class B24Warning(UserWarning):
    """Root of all warnings of b24frames."""


class MissingActivitiesWarning(B24Warning):
    """Some ids have no record; the message names them."""


class BadValueWarning(B24Warning):
    """Invalid values became NA; the message names field, ids and values."""


class NamesMissingWarning(B24Warning):
    """Some users or owners have no name; the message names them, and what the webhook lacks."""


class StaleDataWarning(B24Warning):
    """The portal is out of reach; older cache entries were used instead."""


class MethodsDifferWarning(B24Warning):
    """The portal's list and get disagree on an activity; the read went on by get."""


class CacheWarning(B24Warning):
    """The cache was damaged, or could not be used; the read went on."""


# Codes of the REST API's "Statuses and System Error Codes", which decide whatever the HTTP status:
# https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
_KINDS: Mapping[str, type[PortalError]] = {
    "NO_AUTH_FOUND": AuthenticationError,
    "EXPIRED_TOKEN": AuthenticationError,
    "INVALID_TOKEN": AuthenticationError,
    "INSUFFICIENT_SCOPE": PermissionDeniedError,
    "INVALID_CREDENTIALS": PermissionDeniedError,
    "USER_ACCESS_ERROR": PermissionDeniedError,
    "ACCESS_DENIED": PermissionDeniedError,
    "QUERY_LIMIT_EXCEEDED": RateLimitError,
    "OPERATION_TIME_LIMIT": OperatingTimeError,
    "OVERLOAD_LIMIT": PortalBlockedError,
    "PORTAL_DELETED": PortalBlockedError,
    "INTERNAL_SERVER_ERROR": PortalUnavailableError,
    "ERROR_UNEXPECTED_ANSWER": PortalUnavailableError,
    "ERROR_BATCH_METHOD_NOT_ALLOWED": PortalError,
    "ERROR_BATCH_LENGTH_EXCEEDED": PortalError,
    "INVALID_REQUEST": PortalError,
    "ERROR_MANIFEST_IS_NOT_AVAILABLE": PortalError,
    "ERROR_METHOD_NOT_FOUND": PortalError,
}
_KINDS_BY_STATUS: Mapping[int | None, type[PortalError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    429: RateLimitError,
}

_SCOPES = {"user": "user_brief", "voximplant": "telephony"}
_WEBHOOK_PAGE = "docs/how-to/webhook.md"
_NETWORK_PAGE = "docs/how-to/corporate-network.md"
# For INVALID_CREDENTIALS see https://helpdesk.bitrix24.com/open/21269128
_HINTS: Mapping[str, str] = {
    "NO_AUTH_FOUND": f"Check the webhook: copy its URL again ({_WEBHOOK_PAGE}).",
    "INVALID_CREDENTIALS": "The webhook was deleted or blocked, its secret or owner was changed, "
    f"or its URL is mistyped: copy it again ({_WEBHOOK_PAGE}).",
    "INSUFFICIENT_SCOPE": "Tick the scope 'SCOPE' among the webhook's permissions "
    f"({_WEBHOOK_PAGE}).",
    "ACCESS_DENIED": "The REST API needs a commercial plan of the portal, or this user may not do "
    "this: ask its administrator.",
    "USER_ACCESS_ERROR": "Ask the portal's administrator for access to the application.",
    "EXPIRED_TOKEN": "Give Portal.from_oauth a new access token, or what renews it "
    "(docs/how-to/oauth.md).",
    "INVALID_GRANT": "The application must be granted access anew (docs/how-to/oauth.md).",
    "INVALID_REQUEST": "Give the portal's address with https://.",
    "QUERY_LIMIT_EXCEEDED": "Other programs at this address ask the portal, too: let them finish, "
    "or give Portal a longer max_wait.",
    "OPERATION_TIME_LIMIT": "It is granted again within ten minutes: wait, or give Portal a longer "
    "max_wait.",
    WEB_PAGE: "Usually the address is not that of a webhook, REST or the portal is closed, or a "
    f"network's login page stands before it ({_WEBHOOK_PAGE}).",
    "PROXY": f"How to give a proxy: {_NETWORK_PAGE}.",
    "TLS": f"How to give a certificate authority or a client certificate: {_NETWORK_PAGE}.",
}


def is_of_caller(error: BaseException | None) -> bool:
    """Return whether an error is an OSError without a number, which the system's have.

    Parameters
    ----------
    error : BaseException or None
        An error caught where the system may fail.

    Returns
    -------
    bool
        Whether a signal handler of the caller raised it, such as a `TimeoutError` at a deadline.
    """
    return isinstance(error, OSError) and error.errno is None


def error_from_answer(
    answer: Mapping[str, Any],
    *,
    method: str,
    http_status: int | None = None,
    retry_after: float | None = None,
) -> PortalError:
    """Return the error of an answer with the key ``error``."""
    code = str(answer.get("error") or "")
    description = str(answer.get("error_description") or "")
    # The HTTP status comes last, since it may stand for transient and for final errors alike. The
    # code is often empty; then the description decides.
    kind = (
        _KINDS.get(code.upper())
        or _activity_error(method, code, description, http_status)
        or _KINDS_BY_STATUS.get(http_status)
        or (PortalUnavailableError if (http_status or 0) >= 500 else PortalError)
    )
    return kind(
        description,
        code=code,
        http_status=http_status,
        method=method,
        retry_after=retry_after,
    )


def _activity_error(
    method: str, code: str, description: str, http_status: int | None
) -> type[PortalError] | None:
    """Return the error of a single activity, if the answer is one."""
    # A command of a batch has no status of its own.
    is_get = method.lower() == "crm.activity.get" and code.upper() in ("", "NOT_FOUND")
    if not is_get or http_status not in (None, 400, 403, 404):
        return None
    # These errors seldom have a code: the description tells them apart.
    words = f"{code} {description}".replace("_", " ").lower().strip()
    if "not found" in words or "access denied" in words:
        return ActivityNotFoundError
    if not words or "application context" in words or "crm.activity.configurable" in words:
        return ActivityRefusedError
    return None

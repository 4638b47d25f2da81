"""The errors that a portal answers with: code, HTTP status and description.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SYSTEM_ERRORS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "INTERNAL_SERVER_ERROR": (500, "Internal server error"),
        "ERROR_UNEXPECTED_ANSWER": (500, "Server returned an unexpected response"),
        "QUERY_LIMIT_EXCEEDED": (503, "Too many requests"),
        "OPERATION_TIME_LIMIT": (429, "Method is blocked due to operation time limit."),
        "ERROR_BATCH_METHOD_NOT_ALLOWED": (405, "Method is not allowed for batch usage"),
        "ERROR_BATCH_LENGTH_EXCEEDED": (400, "Max batch length exceeded"),
        "NO_AUTH_FOUND": (401, "Wrong authorization data"),
        "INVALID_REQUEST": (400, "Https required."),
        "OVERLOAD_LIMIT": (503, "REST API is blocked due to overload."),
        "ACCESS_DENIED": (403, "REST API is available only on commercial plans."),
        "INVALID_CREDENTIALS": (403, "Invalid request credentials"),
        "ERROR_MANIFEST_IS_NOT_AVAILABLE": (404, "Manifest is not available"),
        "ERROR_METHOD_NOT_FOUND": (404, "Method not found!"),
        "insufficient_scope": (
            403,
            "The request requires higher privileges than provided by the webhook token",
        ),
        "expired_token": (401, "The access token provided has expired."),
        "user_access_error": (403, "The user does not have access to the application."),
        "PORTAL_DELETED": (500, "The public part of the site is closed."),
    }
)
"""HTTP status and description of every code that any method may answer with [1]_."""


class Refused(Exception):
    """A call that the portal refuses.

    Parameters
    ----------
    code : str
        The error code; often empty.
    description : str, optional
        What happened; of a system error, its usual description.
    status : int, optional
        HTTP status; of a system error, its documented one.
    """

    def __init__(
        self, code: str, description: str | None = None, status: int | None = None
    ) -> None:
        usual_status, usual_description = SYSTEM_ERRORS.get(code, (400, ""))
        self.code = code
        self.description = usual_description if description is None else description
        self.status = status or usual_status
        super().__init__(self.code, self.description, self.status)

    def answer(self) -> dict[str, str]:
        """Return the error as the portal writes it."""
        return {"error": self.code, "error_description": self.description}

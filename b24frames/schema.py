"""The tables of fields: wire form, dtype, enumeration, meaning. Data, no logic.

Everything that depends on the fields of activities, calls and users derives from `ACTIVITY`, `CALL`
and `USER`: the columns of a frame and their dtypes, the empty frame, labels, and the
documentation's tables of columns.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-fields.html
.. [3] https://apidocs.bitrix24.com/api-reference/crm/auxiliary/enum/index.html
.. [4] https://apidocs.bitrix24.com/api-reference/telephony/voximplant/statistic/voximplant-statistic-get.html
.. [5] https://apidocs.bitrix24.com/api-reference/user/user-get.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

# The enumerations are in ACTIVITY, as labels.
__all__ = ["ACTIVITY", "CALL", "COLUMNS", "DTYPES", "USER", "Field", "Wire", "label"]


# Completion offers the public names only.
def __dir__() -> list[str]:
    return __all__


Backend = Literal["numpy_nullable", "pyarrow"]
"""The families of dtypes."""

OnBadValue = Literal["warn", "raise"]
"""What to do about an invalid value."""


class Wire(StrEnum):
    """How JSON writes the value of a field."""

    INTEGER = "integer in a string"
    DOUBLE = "double in a string"
    DATETIME = "ISO 8601 date and time with offset"
    FLAG = "Y or N"
    TEXT = "text"
    OBJECT = "object"
    LIST = "list of objects"
    ANY = "not documented"


DTYPES: Mapping[str, Mapping[Wire, str]] = MappingProxyType(
    {
        "numpy_nullable": {
            Wire.INTEGER: "Int64",
            Wire.DOUBLE: "Float64",
            # Microseconds: nanoseconds end in the year 2262.
            Wire.DATETIME: "datetime64[us, {tz}]",
            Wire.FLAG: "boolean",
            Wire.TEXT: "string",
            Wire.OBJECT: "object",
            Wire.LIST: "object",
            Wire.ANY: "object",
        },
        "pyarrow": {
            Wire.INTEGER: "int64[pyarrow]",
            Wire.DOUBLE: "double[pyarrow]",
            Wire.DATETIME: "timestamp[us, tz={tz}][pyarrow]",
            Wire.FLAG: "bool[pyarrow]",
            Wire.TEXT: "string[pyarrow]",
            # JSON text: objects differ in their keys, and Arrow's structs must not.
            Wire.OBJECT: "string[pyarrow]",
            Wire.LIST: "string[pyarrow]",
            Wire.ANY: "string[pyarrow]",
        },
    }
)
"""The dtype of each wire form, by `dtype_backend`; ``{tz}`` stands for the zone."""


@dataclass(frozen=True)
class Field:
    """One field of an activity, a call or a user, and so one column of a frame.

    Parameters
    ----------
    name : str
        Its name in the portal.
    wire : Wire
        How JSON writes the value.
    meaning : str
        One sentence.
    labels : mapping of int or str to str
        The labels of an enumeration by code; empty for other fields. Enumerations are open: codes
        that are not listed occur.
    always : bool
        Whether every frame has the column; otherwise only those whose data have it.
    """

    name: str
    wire: Wire
    meaning: str
    labels: Mapping[int, str] | Mapping[str, str] = field(default_factory=dict)
    always: bool = True


# Enumerations are open: a code without a label is shown as it is.
TYPES = {
    0: "undefined",
    1: "meeting",
    2: "call",
    3: "task",
    4: "e-mail",
    5: "action",
    6: "user action",
}
STATUSES = {0: "undefined", 1: "pending", 2: "completed", 3: "completed automatically"}
PRIORITIES = {0: "unset", 1: "low", 2: "medium", 3: "high"}
DIRECTIONS = {0: "undefined", 1: "incoming", 2: "outgoing"}
NOTIFY_TYPES = {0: "none", 1: "minutes", 2: "hours", 3: "days"}
CONTENT_TYPES = {0: "undefined", 1: "plain text", 2: "BB-code", 3: "HTML"}
RESULT_STREAMS = {0: "undefined", 1: "incoming", 2: "outgoing", 3: "reversing", 4: "missed"}
RESULT_MARKS = {0: "none", 1: "negative", 2: "positive", 3: "neutral"}
RESULT_STATUSES = {0: "undefined", 1: "unanswered", 2: "answered"}
USER_TYPE = 0  # in the place of an owner's type: a user
OWNER_TYPES = {
    1: "lead",
    2: "deal",
    3: "contact",
    4: "company",
    5: "invoice (old)",
    7: "quote",
    8: "requisite",
    14: "order",
    31: "invoice",
    33: "store document",
    36: "document",
    39: "company document",
    1024: "system",
}
PROVIDERS = {
    "CRM_TODO": "to-do",
    "CRM_MEETING": "meeting",
    "CRM_TASKS_TASK": "task",
    "TASKS": "task (old)",
    "CRM_TASKS_TASK_COMMENT": "comments of a task",
    "VOXIMPLANT_CALL": "call",
    "CALL_LIST": "call list",
    "CRM_CALL_TRACKER": "mobile call",
    "CRM_EMAIL": "e-mail",
    "CRM_SMS": "SMS",
    "CRM_NOTIFICATION": "notification",
    "CRM_WHATSAPP": "WhatsApp message",
    "CRM_TELEGRAM": "Telegram message",
    "IMOPENLINES_SESSION": "open-channel chat",
    "CRM_WEBFORM": "form submission",
    "CRM_LF_MESSAGE": "feed message",
    "CRM_EXTERNAL_CHANNEL": "external channel",
    "CRM_REQUEST": "request",
    "REST_APP": "activity of an application",
    "CONFIGURABLE_REST_APP": "configurable activity of an application",
    "CRM_DELIVERY": "delivery",
    "CRM_PAYMENT": "payment",
    "STORE_DOCUMENT": "store document",
    "CRM_DOCUMENT": "document",
    "CRM_SIGN_DOCUMENT": "e-signature document",
    "CRM_SIGN_B2E_DOCUMENT": "e-signature document of a company",
    "CRM_CALENDAR_SHARING": "calendar slot",
    "CRM_BOOKING": "booking",
    "CRM_WAIT_LIST_ITEM": "waiting-list entry",
    "CRM_BIZPROC_WORKFLOW": "workflow",
    "CRM_BIZPROC_WORKFLOW_COMMENT": "comment of a workflow",
    "CRM_BIZPROC_TASK": "workflow task",
    "VISIT_TRACKER": "visit",
    "ZOOM": "Zoom conference",
    "CRM_REPEAT_SALE": "repeat sale",
}

CALL_TYPES = {
    1: "outgoing",
    2: "incoming",
    3: "incoming, redirected",
    4: "callback",
    5: "informational",
}
CALL_FAILED_CODES = {
    "200": "answered",
    "304": "missed",
    "603": "declined",
    "603-S": "canceled",
    "403": "forbidden",
    "404": "wrong number",
    "486": "busy",
    "484": "no such direction",
    "503": "direction not available",
    "480": "temporarily not available",
    "402": "not enough money",
    "423": "blocked",
    "OTHER": "undefined",
}

_FIELDS = (
    # In the order of the method's page [1].
    Field("ID", Wire.INTEGER, "The activity."),
    Field("OWNER_ID", Wire.INTEGER, "The CRM object that the activity belongs to."),
    Field("OWNER_TYPE_ID", Wire.INTEGER, "The type of that CRM object.", OWNER_TYPES),
    Field("TYPE_ID", Wire.INTEGER, "The type; 6 is told apart by PROVIDER_ID.", TYPES),
    Field("PROVIDER_ID", Wire.TEXT, "Which provider made the activity.", PROVIDERS),
    Field("PROVIDER_TYPE_ID", Wire.TEXT, "The provider's own type, such as CALL."),
    Field("PROVIDER_GROUP_ID", Wire.TEXT, "The provider's own group."),
    Field("ASSOCIATED_ENTITY_ID", Wire.INTEGER, "The provider's object, such as a task; 0: none."),
    Field("SUBJECT", Wire.TEXT, "The title."),
    Field("CREATED", Wire.DATETIME, "When it was created."),
    Field("LAST_UPDATED", Wire.DATETIME, "When it was last changed."),
    Field("START_TIME", Wire.DATETIME, "When it starts."),
    Field("END_TIME", Wire.DATETIME, "When it ends."),
    Field("DEADLINE", Wire.DATETIME, "When it is due; NaT: no deadline."),
    Field("COMPLETED", Wire.FLAG, "Whether it is completed."),
    Field("STATUS", Wire.INTEGER, "How it was completed.", STATUSES),
    Field("RESPONSIBLE_ID", Wire.INTEGER, "The responsible user."),
    Field("PRIORITY", Wire.INTEGER, "The priority.", PRIORITIES),
    Field("NOTIFY_TYPE", Wire.INTEGER, "The unit of NOTIFY_VALUE.", NOTIFY_TYPES),
    Field("NOTIFY_VALUE", Wire.INTEGER, "How many NOTIFY_TYPE units ahead to remind."),
    Field("DESCRIPTION", Wire.TEXT, "The text, of the form DESCRIPTION_TYPE."),
    Field("DESCRIPTION_TYPE", Wire.INTEGER, "The form of the description.", CONTENT_TYPES),
    Field("DIRECTION", Wire.INTEGER, "Incoming or outgoing.", DIRECTIONS),
    Field("LOCATION", Wire.TEXT, "The place."),
    Field("SETTINGS", Wire.OBJECT, "Settings of the provider."),
    Field("ORIGINATOR_ID", Wire.TEXT, "The external source."),
    Field("ORIGIN_ID", Wire.TEXT, "The id in the external source; VI_…: made by telephony."),
    Field("AUTHOR_ID", Wire.INTEGER, "The user who created it."),
    Field("EDITOR_ID", Wire.INTEGER, "The user who last changed it."),
    Field("PROVIDER_PARAMS", Wire.OBJECT, "Parameters of the provider."),
    Field("PROVIDER_DATA", Wire.TEXT, "Data of the provider, often JSON."),
    Field("RESULT_MARK", Wire.INTEGER, "The mark of the result.", RESULT_MARKS),
    Field("RESULT_VALUE", Wire.DOUBLE, "The value of the result."),
    Field("RESULT_SUM", Wire.DOUBLE, "The sum of the result, in RESULT_CURRENCY_ID."),
    Field("RESULT_CURRENCY_ID", Wire.TEXT, "The currency of the sum."),
    Field("RESULT_STATUS", Wire.INTEGER, "Whether it was answered.", RESULT_STATUSES),
    Field("RESULT_STREAM", Wire.INTEGER, "The stream of the result.", RESULT_STREAMS),
    Field("RESULT_SOURCE_ID", Wire.TEXT, "The source of the result."),
    Field("AUTOCOMPLETE_RULE", Wire.INTEGER, "The rule by which it completes itself."),
    # Not on the page, but known to occur: frames have them only if their data do.
    Field("ORIGIN_VERSION", Wire.TEXT, "The version in the external source.", always=False),
    Field("IS_INCOMING_CHANNEL", Wire.FLAG, "Whether it came in by a channel.", always=False),
    Field("BINDINGS", Wire.LIST, "The CRM objects it is bound to.", always=False),
    Field("COMMUNICATIONS", Wire.LIST, "Phones and e-mail addresses.", always=False),
    Field("FILES", Wire.LIST, "The attached files.", always=False),
    Field("WEBDAV_ELEMENTS", Wire.LIST, "The attached files of the drive.", always=False),
)

# Read-only: everything else is derived from it.
ACTIVITY: Mapping[str, Field] = MappingProxyType({f.name: f for f in _FIELDS})
"""Every known field of an activity by its name, in the order of the columns."""

COLUMNS: tuple[str, ...] = tuple(f.name for f in _FIELDS if f.always)
"""The 39 fields that every frame has, one of them perhaps as its index."""

CALL: Mapping[str, Field] = MappingProxyType(
    {
        f.name: f
        for f in (
            # In the order of the method's page [4].
            Field("ID", Wire.INTEGER, "The row; a transferred call has several."),
            Field("CALL_TYPE", Wire.INTEGER, "The kind of call.", CALL_TYPES),
            Field("CALL_ID", Wire.TEXT, "The call; ORIGIN_ID of its activity is VI_ and this."),
            Field("EXTERNAL_CALL_ID", Wire.TEXT, "The call in an external system."),
            Field("CALL_CATEGORY", Wire.TEXT, "The category, such as external."),
            Field("CALL_DURATION", Wire.INTEGER, "How long it lasted [s]."),
            Field("CALL_START_DATE", Wire.DATETIME, "When it began."),
            Field("CALL_RECORD_URL", Wire.TEXT, "The recording, without the token it asks for."),
            Field("CALL_VOTE", Wire.INTEGER, "The customer's mark."),
            Field("COST", Wire.DOUBLE, "The cost, in COST_CURRENCY."),
            Field("COST_CURRENCY", Wire.TEXT, "The currency of the cost."),
            Field("CALL_FAILED_CODE", Wire.TEXT, "How it ended.", CALL_FAILED_CODES),
            Field("CALL_FAILED_REASON", Wire.TEXT, "How it ended, in the portal's words."),
            Field("CRM_ACTIVITY_ID", Wire.INTEGER, "The activity; 0 or NA: none."),
            Field("CRM_ENTITY_ID", Wire.INTEGER, "The CRM object of the other party."),
            Field("CRM_ENTITY_TYPE", Wire.TEXT, "Its type: LEAD, CONTACT or COMPANY."),
            Field("PORTAL_USER_ID", Wire.INTEGER, "The user who talked."),
            Field("PORTAL_NUMBER", Wire.TEXT, "The portal's number."),
            Field("PHONE_NUMBER", Wire.TEXT, "The other party's number, as it was dialled."),
            Field("RECORD_DURATION", Wire.INTEGER, "How long the recording is [s]."),
            Field("RECORD_FILE_ID", Wire.INTEGER, "The recording's file on the drive."),
            Field("REDIAL_ATTEMPT", Wire.INTEGER, "Which attempt it was."),
            Field("REST_APP_ID", Wire.INTEGER, "The application that made it."),
            Field("REST_APP_NAME", Wire.TEXT, "That application's name."),
            Field("SESSION_ID", Wire.INTEGER, "The session of the telephony."),
            Field("TRANSCRIPT_ID", Wire.INTEGER, "The transcript."),
            Field("TRANSCRIPT_PENDING", Wire.FLAG, "Whether the transcript is still being made."),
            Field("CALL_LOG", Wire.TEXT, "The log, without the session it asks for."),
            Field("COMMENT", Wire.TEXT, "The comment."),
        )
    }
)
"""Every field of a call's statistics by its name, in the order of the columns."""

USER: Mapping[str, Field] = MappingProxyType(
    {
        f.name: f
        for f in (
            Field("ID", Wire.INTEGER, "The user."),
            Field("NAME", Wire.TEXT, "The first name."),
            Field("LAST_NAME", Wire.TEXT, "The last name."),
            Field("SECOND_NAME", Wire.TEXT, "The second name, or the patronymic."),
            Field("FULL_NAME", Wire.TEXT, "All three as one; `user 57` where there is none."),
            Field("ACTIVE", Wire.FLAG, "Whether the user has not been dismissed."),
            Field("WORK_POSITION", Wire.TEXT, "The position."),
            Field("UF_DEPARTMENT", Wire.LIST, "The ids of the departments."),
        )
    }
)
"""Every field of a user by its name, in the order of the columns; FULL_NAME is ours."""

ALL_FIELDS: Mapping[str, Field] = MappingProxyType({**ACTIVITY, **CALL, **USER})
"""All fields: whatever has one name in two tables is of one wire form."""

CUSTOM_FIELD_PREFIX = "UF_"
"""The prefix of the names of a portal's custom fields."""


def is_column(name: object) -> bool:
    """Return whether a name is that of a known field or of a custom field."""
    return isinstance(name, str) and (name in ACTIVITY or name.startswith(CUSTOM_FIELD_PREFIX))


def label(name: str, code: int | str) -> str:
    """Return the label of a code of an enumeration, or the code itself if it is unknown.

    Parameters
    ----------
    name : str
        The field.
    code : int or str
        A value of it.

    Returns
    -------
    str
        The label, or the code as text.

    Examples
    --------
    >>> label("TYPE_ID", 2), label("TYPE_ID", 77), label("OWNER_TYPE_ID", 1031)
    ('call', '77', 'smart process 1031 (recycle bin)')
    """
    labels: Mapping[Any, str] = ALL_FIELDS[name].labels
    if code in labels:
        return labels[code]
    return _owner_type(int(code)) if name == "OWNER_TYPE_ID" else str(code)


def is_smart_process(owner_type: int) -> bool:
    """Return whether a type of CRM objects is a smart process of the portal."""
    # Their ids are assigned from fixed ranges: 128 to 191, then even numbers from 1030.
    return 128 <= owner_type < 192 or (owner_type >= 1030 and owner_type % 2 == 0)


def _owner_type(code: int) -> str:
    """Return the label of a type that differs between portals, or is in the recycle bin."""
    if is_smart_process(code):
        return f"smart process {code}"
    # A deleted object has a type of its own: 64 above, or the next odd number.
    if 192 <= code < 256 or code > 1030:
        return f"smart process {code} (recycle bin)"
    if 18 <= code <= 26 or code in (32, 37):
        return f"{code} (recycle bin)"
    return str(code)

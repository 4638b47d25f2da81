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

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, get_args

# The enumerations are in ACTIVITY, as labels; labels.json has them in both languages.
__all__ = ["ACTIVITY", "CALL", "COLUMNS", "DTYPES", "USER", "Field", "Wire", "label"]


# Completion offers the public names only.
def __dir__() -> list[str]:
    return __all__


Backend = Literal["numpy_nullable", "pyarrow"]
"""The families of dtypes."""

OnBadValue = Literal["warn", "raise"]
"""What to do about an invalid value."""

Language = Literal["en", "ru"]
"""The languages of labels and of the panel."""


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


_DTYPES: Mapping[Wire, tuple[str, str]] = {
    Wire.INTEGER: ("Int64", "int64[pyarrow]"),
    Wire.DOUBLE: ("Float64", "double[pyarrow]"),
    # Microseconds: nanoseconds end in the year 2262.
    Wire.DATETIME: ("datetime64[us, {tz}]", "timestamp[us, tz={tz}][pyarrow]"),
    Wire.FLAG: ("boolean", "bool[pyarrow]"),
    Wire.TEXT: ("string", "string[pyarrow]"),
    # With Arrow JSON text: objects differ in their keys, and its structs must not.
    **dict.fromkeys((Wire.OBJECT, Wire.LIST, Wire.ANY), ("object", "string[pyarrow]")),
}
DTYPES: Mapping[str, Mapping[Wire, str]] = MappingProxyType(
    {
        backend: {wire: dtypes[number] for wire, dtypes in _DTYPES.items()}
        for number, backend in enumerate(get_args(Backend))
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
    russian_labels : mapping of int or str to str
        The same labels in Russian.
    """

    name: str
    wire: Wire
    meaning: str
    labels: Mapping[int, str] | Mapping[str, str] = field(default_factory=dict)
    always: bool = True
    russian_labels: Mapping[int, str] | Mapping[str, str] = field(default_factory=dict)


USER_TYPE = 0  # in the place of an owner's type: a user

_LABELS: dict[str, dict[str, list[str]]] = json.loads(
    files("b24frames").joinpath("labels.json").read_text("utf-8")
)
_SMART_PROCESS = {"en": ("smart process", "recycle bin"), "ru": ("смарт-процесс", "корзина")}


def _enumeration(name: str, wire: Wire, meaning: str) -> Field:
    """Make a field whose codes have labels."""
    code = int if wire is Wire.INTEGER else str
    labels: list[Any] = [
        {code(key): texts[column] for key, texts in _LABELS[name].items()} for column in (0, 1)
    ]
    return Field(name, wire, meaning, labels[0], russian_labels=labels[1])


def _table(*fields: Field) -> Mapping[str, Field]:
    """Make a table, read-only since everything else is derived from it."""
    return MappingProxyType({field.name: field for field in fields})


ACTIVITY: Mapping[str, Field] = _table(
    # In the order of the method's page [1].
    Field("ID", Wire.INTEGER, "The activity."),
    Field("OWNER_ID", Wire.INTEGER, "The CRM object that the activity belongs to."),
    _enumeration("OWNER_TYPE_ID", Wire.INTEGER, "The type of that CRM object."),
    _enumeration("TYPE_ID", Wire.INTEGER, "The type; 6 is told apart by PROVIDER_ID."),
    _enumeration("PROVIDER_ID", Wire.TEXT, "Which provider made the activity."),
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
    _enumeration("STATUS", Wire.INTEGER, "How it was completed."),
    Field("RESPONSIBLE_ID", Wire.INTEGER, "The responsible user."),
    _enumeration("PRIORITY", Wire.INTEGER, "The priority."),
    _enumeration("NOTIFY_TYPE", Wire.INTEGER, "The unit of NOTIFY_VALUE."),
    Field("NOTIFY_VALUE", Wire.INTEGER, "How many NOTIFY_TYPE units ahead to remind."),
    Field("DESCRIPTION", Wire.TEXT, "The text, of the form DESCRIPTION_TYPE."),
    _enumeration("DESCRIPTION_TYPE", Wire.INTEGER, "The form of the description."),
    _enumeration("DIRECTION", Wire.INTEGER, "Incoming or outgoing."),
    Field("LOCATION", Wire.TEXT, "The place."),
    Field("SETTINGS", Wire.OBJECT, "Settings of the provider."),
    Field("ORIGINATOR_ID", Wire.TEXT, "The external source."),
    Field("ORIGIN_ID", Wire.TEXT, "The id in the external source; VI_…: made by telephony."),
    Field("AUTHOR_ID", Wire.INTEGER, "The user who created it."),
    Field("EDITOR_ID", Wire.INTEGER, "The user who last changed it."),
    Field("PROVIDER_PARAMS", Wire.OBJECT, "Parameters of the provider."),
    Field("PROVIDER_DATA", Wire.TEXT, "Data of the provider, often JSON."),
    _enumeration("RESULT_MARK", Wire.INTEGER, "The mark of the result."),
    Field("RESULT_VALUE", Wire.DOUBLE, "The value of the result."),
    Field("RESULT_SUM", Wire.DOUBLE, "The sum of the result, in RESULT_CURRENCY_ID."),
    Field("RESULT_CURRENCY_ID", Wire.TEXT, "The currency of the sum."),
    _enumeration("RESULT_STATUS", Wire.INTEGER, "Whether it was answered."),
    _enumeration("RESULT_STREAM", Wire.INTEGER, "The stream of the result."),
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
"""Every known field of an activity by its name, in the order of the columns."""

COLUMNS: tuple[str, ...] = tuple(f.name for f in ACTIVITY.values() if f.always)
"""The 39 fields that every frame has, one of them perhaps as its index."""

CALL: Mapping[str, Field] = _table(
    # In the order of the method's page [4].
    Field("ID", Wire.INTEGER, "The row; a transferred call has several."),
    _enumeration("CALL_TYPE", Wire.INTEGER, "The kind of call."),
    Field("CALL_ID", Wire.TEXT, "The call; ORIGIN_ID of its activity is VI_ and this."),
    Field("EXTERNAL_CALL_ID", Wire.TEXT, "The call in an external system."),
    Field("CALL_CATEGORY", Wire.TEXT, "The category, such as external."),
    Field("CALL_DURATION", Wire.INTEGER, "How long it lasted [s]."),
    Field("CALL_START_DATE", Wire.DATETIME, "When it began."),
    Field("CALL_RECORD_URL", Wire.TEXT, "The recording, without the token it asks for."),
    Field("CALL_VOTE", Wire.INTEGER, "The customer's mark."),
    Field("COST", Wire.DOUBLE, "The cost, in COST_CURRENCY."),
    Field("COST_CURRENCY", Wire.TEXT, "The currency of the cost."),
    _enumeration("CALL_FAILED_CODE", Wire.TEXT, "How it ended."),
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
"""Every field of a call's statistics by its name, in the order of the columns."""

USER: Mapping[str, Field] = _table(
    Field("ID", Wire.INTEGER, "The user."),
    Field("NAME", Wire.TEXT, "The first name."),
    Field("LAST_NAME", Wire.TEXT, "The last name."),
    Field("SECOND_NAME", Wire.TEXT, "The second name, or the patronymic."),
    Field("FULL_NAME", Wire.TEXT, "All three as one; `user 57` where there is none."),
    Field("ACTIVE", Wire.FLAG, "Whether the user has not been dismissed."),
    Field("WORK_POSITION", Wire.TEXT, "The position."),
    Field("UF_DEPARTMENT", Wire.LIST, "The ids of the departments."),
)
"""Every field of a user by its name, in the order of the columns; FULL_NAME is ours."""

ALL_FIELDS: Mapping[str, Field] = MappingProxyType({**ACTIVITY, **CALL, **USER})
"""All fields: whatever has one name in two tables is of one wire form."""

CUSTOM_FIELD_PREFIX = "UF_"
"""The prefix of the names of a portal's custom fields."""


def is_column(name: object) -> bool:
    """Return whether a name is that of a known field or of a custom field."""
    return isinstance(name, str) and (name in ACTIVITY or name.startswith(CUSTOM_FIELD_PREFIX))


def code_of(field: Field, text: object) -> Any:
    """Return the code that a label stands for, in any case; anything else as it is.

    Parameters
    ----------
    field : Field
        The enumeration.
    text : object
        A label, or a code.

    Returns
    -------
    int, str or object
        The code.

    Examples
    --------
    >>> code_of(ACTIVITY["TYPE_ID"], "Call"), code_of(ACTIVITY["PROVIDER_ID"], "CRM_EMAIL")
    (2, 'CRM_EMAIL')
    """
    codes = {label.casefold(): code for code, label in field.labels.items()}
    return codes.get(text.strip().casefold(), text) if isinstance(text, str) else text


def label(name: str, code: int | str, language: Language = "en") -> str:
    """Return the label of a code of an enumeration, or the code itself if it is unknown.

    Parameters
    ----------
    name : str
        The field.
    code : int or str
        A value of it.
    language : {"en", "ru"}, default "en"
        The language of the label.

    Returns
    -------
    str
        The label, or the code as text.

    Examples
    --------
    >>> label("TYPE_ID", 2), label("TYPE_ID", 77), label("OWNER_TYPE_ID", 1031)
    ('call', '77', 'smart process 1031 (recycle bin)')
    >>> label("TYPE_ID", 2, "ru")
    'звонок'
    """
    known = ALL_FIELDS[name]
    labels: Mapping[Any, str] = known.russian_labels if language == "ru" else known.labels
    if code in labels:
        return labels[code]
    return _owner_type(int(code), language) if name == "OWNER_TYPE_ID" else str(code)


def is_smart_process(owner_type: int) -> bool:
    """Return whether a type of CRM objects is a smart process of the portal."""
    # Their ids are assigned from fixed ranges: 128 to 191, then even numbers from 1030.
    return 128 <= owner_type < 192 or (owner_type >= 1030 and owner_type % 2 == 0)


def _owner_type(code: int, language: Language) -> str:
    """Return the label of a type that differs between portals, or is in the recycle bin."""
    smart_process, recycle_bin = _SMART_PROCESS[language]
    if is_smart_process(code):
        return f"{smart_process} {code}"
    # A deleted object has a type of its own: 64 above, or the next odd number.
    if 192 <= code < 256 or code > 1030:
        return f"{smart_process} {code} ({recycle_bin})"
    if 18 <= code <= 26 or code in (32, 37):
        return f"{code} ({recycle_bin})"
    return str(code)

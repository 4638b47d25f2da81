"""The REST methods of the practice portal, by name.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-fields.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/auxiliary/enum/index.html
.. [3] https://apidocs.bitrix24.com/api-reference/user/user-get.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from b24frames import schema
from b24frames.practice.faults import Refused
from b24frames.practice.forms import as_int, as_list, as_map, write_date
from b24frames.practice.kinds import PEOPLE, REFUSED_PROVIDER
from b24frames.practice.listing import PAGE, list_activities
from b24frames.practice.store import Store


@dataclass(frozen=True)
class Outcome:
    """What a method answers.

    Attributes
    ----------
    result : object
        The value under ``result``.
    paging : dict of str to int
        ``next`` and ``total``, of methods that answer page by page.
    """

    result: Any
    paging: dict[str, int] = field(default_factory=dict)


def activity_id(params: Mapping[str, Any]) -> int | None:
    """Return the activity that a call is about, or None."""
    value = params.get("id")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


@dataclass(frozen=True)
class Call:
    """One call of one method, by itself or as a command of a batch.

    Attributes
    ----------
    method : str
        Its name in lower case.
    params : mapping of str to object
        The parameters, by their names in lower case.
    store : Store
        The portal's activities.
    user_id : int
        The user who calls.
    commands : tuple of str
        None: only batches have commands.
    """

    method: str
    params: Mapping[str, Any]
    store: Store
    user_id: int
    commands: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """The activity that the call is about, if it is about one."""
        number = activity_id(self.params)
        return () if number is None else (number,)


Method = Callable[[Call], Outcome]


def _get(call: Call) -> Outcome:
    """Answer ``crm.activity.get``."""
    number = activity_id(call.params)
    if number is None:
        raise Refused("", "ID is not defined or invalid.")
    record = call.store.record(number)
    if record is None:
        raise Refused("", "Not found")
    if record["PROVIDER_ID"] == REFUSED_PROVIDER:
        raise Refused("", "Use crm.activity.configurable.get for this activity provider")
    return Outcome(record)


def _list(call: Call) -> Outcome:
    """Answer ``crm.activity.list``."""
    return Outcome(*list_activities(call.store, call.params))


_ENUMERATIONS = {
    "activitytype": "TYPE_ID",
    "activitystatus": "STATUS",
    "activitypriority": "PRIORITY",
    "activitynotifytype": "NOTIFY_TYPE",
    "activitydirection": "DIRECTION",
    "contenttype": "DESCRIPTION_TYPE",
    "ownertype": "OWNER_TYPE_ID",
}
_FIELD_TYPES = {
    **{name: f"crm_enum_{enumeration}" for enumeration, name in _ENUMERATIONS.items()},
    **dict.fromkeys(("RESPONSIBLE_ID", "AUTHOR_ID", "EDITOR_ID"), "user"),
    "BINDINGS": "crm_activity_binding",
    "COMMUNICATIONS": "crm_activity_communication",
    "FILES": "diskfile",
    "WEBDAV_ELEMENTS": "diskfile",
}
_WIRE_TYPES = {
    schema.Wire.INTEGER: "integer",
    schema.Wire.DOUBLE: "double",
    schema.Wire.DATETIME: "datetime",
    schema.Wire.FLAG: "char",
    schema.Wire.OBJECT: "object",
}
_REQUIRED = {"TYPE_ID", "SUBJECT", "RESPONSIBLE_ID", "COMMUNICATIONS"}
_IMMUTABLE = {"OWNER_ID", "OWNER_TYPE_ID", "TYPE_ID"}
_READ_ONLY = {
    "ID",
    "ASSOCIATED_ENTITY_ID",
    "CREATED",
    "LAST_UPDATED",
    "AUTHOR_ID",
    "EDITOR_ID",
    "BINDINGS",
    "IS_INCOMING_CHANNEL",
}


def _describe_field(name: str, kind: str, *, multiple: bool = False) -> dict[str, object]:
    """Return the description of one field."""
    return {
        "type": kind,
        "isRequired": name in _REQUIRED,
        "isReadOnly": name in _READ_ONLY,
        "isImmutable": name in _IMMUTABLE,
        "isMultiple": multiple,
        "isDynamic": name.startswith("UF_"),
        "title": name.replace("_", " ").capitalize(),
    }


def _fields(_: Call) -> Outcome:
    """Answer ``crm.activity.fields``."""
    known = {
        name: _describe_field(
            name,
            _FIELD_TYPES.get(name) or _WIRE_TYPES.get(known.wire, "string"),
            multiple=known.wire is schema.Wire.LIST,
        )
        for name, known in schema.ACTIVITY.items()
    }
    own = "UF_CRM_1700000000"
    return Outcome(known | {own: _describe_field(own, "string")})


def _enumerate(name: str, _: Call) -> Outcome:
    """Answer one of ``crm.enum.*``."""
    return Outcome(
        [
            {"ID": code, "NAME": label.capitalize(), "SYMBOL_CODE": label.upper()}
            for code, label in schema.ACTIVITY[name].labels.items()
            if code != 0
        ]
    )


def _user(number: int) -> dict[str, object]:
    """Return one of the portal's users."""
    name, last_name = PEOPLE[number - 1]
    return {
        "ID": str(number),
        "ACTIVE": True,
        "NAME": name,
        "LAST_NAME": last_name,
        "EMAIL": f"user{number}@example.com",
        "WORK_POSITION": "",
        "USER_TYPE": "employee",
    }


def _users(call: Call) -> Outcome:
    """Answer ``user.get``; it takes filters inside ``filter`` and beside it."""
    beside = dict(call.params) | as_map(call.params.get("filter"))
    filters = {key.upper(): value for key, value in beside.items()}
    wanted = filters.get("ID", filters.get("@ID", list(range(1, len(PEOPLE) + 1))))
    known = {as_int(item) for item in as_list(wanted)} & set(range(1, len(PEOPLE) + 1))
    return Outcome([_user(number) for number in sorted(known)][:PAGE], {"total": len(known)})


def _current_user(call: Call) -> Outcome:
    """Answer ``user.current`` and ``profile``."""
    person = _user((call.user_id - 1) % len(PEOPLE) + 1)
    return Outcome(person | {"ID": str(call.user_id), "ADMIN": True})


def _server_time(_: Call) -> Outcome:
    """Answer ``server.time``."""
    return Outcome(write_date(datetime.now(UTC)))


def _method_names(_: Call) -> Outcome:
    """Answer ``methods``."""
    return Outcome(["batch", *METHODS])


def _scopes(_: Call) -> Outcome:
    """Answer ``scope``."""
    return Outcome(["crm", "user"])


METHODS: dict[str, Method] = {
    "crm.activity.get": _get,
    "crm.activity.list": _list,
    "crm.activity.fields": _fields,
    **{f"crm.enum.{name}": partial(_enumerate, of) for name, of in _ENUMERATIONS.items()},
    "user.get": _users,
    "user.current": _current_user,
    "profile": _current_user,
    "methods": _method_names,
    "scope": _scopes,
    "server.time": _server_time,
}
"""Every method but ``batch``, by its name in lower case."""

"""The schema: the one table that columns, dtypes and documentation derive from."""

from __future__ import annotations

import re

import pytest

from b24frames import schema
from b24frames.schema import ACTIVITY, ALL_FIELDS, COLUMNS, DTYPES, Wire, label
from tests.helpers.answers import sample

# The documented codes of each enumeration, with a word that its label must have.
ENUMERATIONS: dict[str, str] = {
    "TYPE_ID": "0 undefined, 1 meeting, 2 call, 3 task, 4 e-mail, 5 action, 6 user action",
    "STATUS": "0 undefined, 1 pending, 2 completed, 3 automatically",
    "PRIORITY": "0 unset, 1 low, 2 medium, 3 high",
    "DIRECTION": "0 undefined, 1 incoming, 2 outgoing",
    "NOTIFY_TYPE": "0 none, 1 minutes, 2 hours, 3 days",
    "DESCRIPTION_TYPE": "0 undefined, 1 plain, 2 BB-code, 3 HTML",
    "RESULT_STREAM": "0 undefined, 1 incoming, 2 outgoing, 3 reversing, 4 missed",
    "RESULT_MARK": "0 none, 1 negative, 2 positive, 3 neutral",
    "RESULT_STATUS": "0 undefined, 1 unanswered, 2 answered",
    "OWNER_TYPE_ID": (
        "1 lead, 2 deal, 3 contact, 4 company, 5 invoice, 7 quote, 8 requisite, 14 order, "
        "31 invoice, 33 store document, 36 document, 39 company document, 1024 system"
    ),
}
PROVIDERS = """
CRM_TODO CRM_MEETING CRM_TASKS_TASK TASKS CRM_TASKS_TASK_COMMENT VOXIMPLANT_CALL CALL_LIST
CRM_CALL_TRACKER CRM_EMAIL CRM_SMS CRM_NOTIFICATION CRM_WHATSAPP CRM_TELEGRAM IMOPENLINES_SESSION
CRM_WEBFORM CRM_LF_MESSAGE CRM_EXTERNAL_CHANNEL CRM_REQUEST REST_APP CONFIGURABLE_REST_APP
CRM_DELIVERY CRM_PAYMENT STORE_DOCUMENT CRM_DOCUMENT CRM_SIGN_DOCUMENT CRM_SIGN_B2E_DOCUMENT
CRM_CALENDAR_SHARING CRM_BOOKING CRM_WAIT_LIST_ITEM CRM_BIZPROC_WORKFLOW
CRM_BIZPROC_WORKFLOW_COMMENT CRM_BIZPROC_TASK VISIT_TRACKER ZOOM CRM_REPEAT_SALE
""".split()


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_labels__every_documented_code(name: str) -> None:
    """Each documented code has its label, and no other has one."""
    words = dict(part.split(" ", 1) for part in ENUMERATIONS[name].split(", "))
    labels = ACTIVITY[name].labels
    assert [str(code) for code in labels] == list(words)
    for code, text in labels.items():
        assert words[str(code)] in text


def test_labels__which_fields_have_them() -> None:
    """No other field is an enumeration, but for the provider."""
    assert {f.name for f in ACTIVITY.values() if f.labels} == {*ENUMERATIONS, "PROVIDER_ID"}
    assert set(ACTIVITY["PROVIDER_ID"].labels) == set(PROVIDERS)


def test_columns__are_those_of_the_page() -> None:
    """A frame's fixed columns are the 39 fields of the method's page, in its order."""
    assert list(COLUMNS) == list(sample("activity").answer["result"])
    assert len(COLUMNS) == 39


@pytest.mark.parametrize("backend", DTYPES)
def test_dtypes__complete(backend: str) -> None:
    """Each wire form has a dtype in each backend."""
    assert set(DTYPES[backend]) == set(Wire)


def test_fields__are_documented() -> None:
    """Each field says in one sentence what it means, and is filed under its own name."""
    for name, field in ACTIVITY.items():
        assert field.name == name
        assert field.meaning.endswith(".")


def test_labels__are_keyed_like_the_column() -> None:
    """Codes of a numeric column are numbers, those of a text column text; labels are distinct."""
    for field in ACTIVITY.values():
        kind = int if field.wire is Wire.INTEGER else str
        assert all(isinstance(code, kind) for code in field.labels)
        assert len(set(field.labels.values())) == len(field.labels)


def test_labels__in_russian() -> None:
    """Each label has its Russian one beside it, distinct within its field, and in Russian."""
    kept = {"SMS", "HTML"}
    for field in ALL_FIELDS.values():
        assert list(field.russian_labels) == list(field.labels)
        assert len(set(field.russian_labels.values())) == len(field.labels)
        for code, text in field.russian_labels.items():
            assert re.search("[а-я]", text) or text in kept, text
            assert text == text.strip()
            assert label(field.name, code, "ru") == text
    assert label("OWNER_TYPE_ID", 1031, "ru") == "смарт-процесс 1031 (корзина)"
    assert label("OWNER_TYPE_ID", 20, "ru") == "20 (корзина)"
    assert label("TYPE_ID", 77, "ru") == "77"


def test_schema__cannot_be_changed() -> None:
    """The tables are read-only."""
    with pytest.raises(TypeError):
        schema.ACTIVITY["NEW"] = ACTIVITY["ID"]  # type: ignore[index]

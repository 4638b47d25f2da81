"""The schema: the one table that columns, dtypes and documentation derive from."""

from __future__ import annotations

import pytest

from b24frames import schema
from b24frames.schema import ACTIVITY, COLUMNS, DTYPES, Wire

# In the order of the method's page.
PAGE = """
ID OWNER_ID OWNER_TYPE_ID TYPE_ID PROVIDER_ID PROVIDER_TYPE_ID PROVIDER_GROUP_ID
ASSOCIATED_ENTITY_ID SUBJECT CREATED LAST_UPDATED START_TIME END_TIME DEADLINE COMPLETED STATUS
RESPONSIBLE_ID PRIORITY NOTIFY_TYPE NOTIFY_VALUE DESCRIPTION DESCRIPTION_TYPE DIRECTION LOCATION
SETTINGS ORIGINATOR_ID ORIGIN_ID AUTHOR_ID EDITOR_ID PROVIDER_PARAMS PROVIDER_DATA RESULT_MARK
RESULT_VALUE RESULT_SUM RESULT_CURRENCY_ID RESULT_STATUS RESULT_STREAM RESULT_SOURCE_ID
AUTOCOMPLETE_RULE
""".split()


def test_columns__are_those_of_the_page() -> None:
    """A frame's fixed columns are the 39 fields of the method's page, in its order."""
    assert list(COLUMNS) == PAGE
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


def test_schema__cannot_be_changed() -> None:
    """The tables are read-only."""
    with pytest.raises(TypeError):
        schema.ACTIVITY["NEW"] = ACTIVITY["ID"]  # type: ignore[index]

"""Generated activities: each record is a function of the seed and its id alone.

The usual and the awkward are mixed in fixed proportions, so that what works on two thousand
practice records has met what real portals send. What careless readers have not met, a few records
have: each such edit is made to a fixed share of the ids.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

from b24frames.practice.draft import Draft, Edit, Record, new_draft
from b24frames.practice.kinds import PEOPLE, REFUSED_KIND, choose_kind

_FIRST_DAY = datetime(2022, 1, 3, 6)
_DAYS = 1_460
_HALFWAY = 4_000


def make_record(seed: int, number: int, *, refused: bool = False) -> Record:
    """Return the record of one activity as JSON values, in the order of the method's page.

    Parameters
    ----------
    seed : int
        The same seed gives the same records.
    number : int
        The activity's id.
    refused : bool, default False
        Whether it is of the provider that ``crm.activity.get`` refuses.
    """
    rng = Random(f"{seed}:{number}")
    kind = REFUSED_KIND if refused else choose_kind(rng)
    # Later ids are later, however many there are: no id comes after the last day.
    days = _DAYS * number / (number + _HALFWAY) + rng.random() / 3
    created = _FIRST_DAY + timedelta(seconds=int(days * 86_400))
    draft = new_draft(number, kind, rng, created)
    edit = _EDIT_AT.get((number * 73 + seed * 31) % _WHEEL)
    if edit is not None:
        edit(draft)
    return draft.record


def communications(record: Record) -> list[Record]:
    """Return the phones or e-mail addresses of an activity, which lists give when asked."""
    number = int(record["ID"])
    name, last_name = PEOPLE[number % len(PEOPLE)]
    mail = record["PROVIDER_ID"] == "CRM_EMAIL"
    return [
        {
            "ID": str(number * 2),
            "TYPE": "EMAIL" if mail else "PHONE",
            "VALUE": f"client{number}@example.com" if mail else f"+7900{number:07}",
            "ENTITY_ID": record["OWNER_ID"],
            "ENTITY_TYPE_ID": "3",
            "ENTITY_SETTINGS": {"NAME": name, "LAST_NAME": last_name},
        }
    ]


def _setter(**fields: Any) -> Edit:
    """Return an edit that sets these fields."""
    return lambda draft: draft.set(**fields)


def _write_numbers(draft: Draft) -> None:
    """Write integers as JSON numbers in place of strings, as some portals do."""
    for name, value in draft.record.items():
        if isinstance(value, str) and value.isdecimal() and name not in _DIGITS_ARE_TEXT:
            draft.record[name] = int(value)


_DIGITS_ARE_TEXT = {"PROVIDER_TYPE_ID", "SUBJECT", "ORIGINATOR_ID", "ORIGIN_ID", "ORIGIN_VERSION"}


def _attach_files(draft: Draft) -> None:
    """Attach one or two files."""
    first = draft.rng.randrange(1, 10_000)
    numbers = range(first, first + draft.rng.randrange(1, 3))
    url = "https://portal.example/disk/{}/Счёт.pdf?auth=&a=1"
    draft.set(FILES=[{"id": number, "url": url.format(number)} for number in numbers])


# Subjects that spoil careless exports, tables and pages.
_AWKWARD_SUBJECTS: tuple[str | None, ...] = (
    "=1+1",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+7 900 123-45-67",
    "-2+3",
    "Встреча 🤝 👩‍👩‍👧 ✅",
    "שיחה עם דוד – متابعة العميل",
    "two\nlines,\ta tab",
    "quotes \"and\" 'more'; a \\ backslash, <b>markup</b> & ampersands",
    "",
    None,
)
_EDITS: tuple[Edit, ...] = (
    *(_setter(SUBJECT=subject) for subject in _AWKWARD_SUBJECTS),
    *[_write_numbers] * 2,
    *[_attach_files] * 4,
    _setter(TYPE_ID="7", PROVIDER_TYPE_ID="FROM_A_LATER_RELEASE"),
    _setter(SETTINGS=False),
    _setter(PROVIDER_PARAMS=False),
    _setter(START_TIME="", END_TIME="", DEADLINE=""),
    _setter(END_TIME=None, DEADLINE=None),
    _setter(ORIGINATOR_ID="007", ORIGIN_ID="007"),
    _setter(DESCRIPTION=None, LOCATION=None, ASSOCIATED_ENTITY_ID=None, EDITOR_ID=None),
    _setter(UF_CRM_1700000000="Sonderwunsch: ё"),
)
# A wheel of 200 places, every eighth with an edit: each is made to half a per cent of the ids.
_WHEEL = 200
_EDIT_AT: dict[int, Edit] = {place * 8 + 5: edit for place, edit in enumerate(_EDITS)}

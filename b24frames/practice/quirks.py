"""What few records have, and careless readers have not met: each in a fixed share of the ids."""

from __future__ import annotations

from typing import Any

from b24frames.practice.draft import Draft, Edit
from b24frames.practice.texts import AWKWARD_SUBJECTS


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


_EDITS: tuple[Edit, ...] = (
    *(_setter(SUBJECT=subject) for subject in AWKWARD_SUBJECTS),
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
_BY_PLACE: dict[int, Edit] = {place * 8 + 5: edit for place, edit in enumerate(_EDITS)}


def quirk_of(seed: int, number: int) -> Edit | None:
    """Return the edit that falls to an id, if one does."""
    return _BY_PLACE.get((number * 73 + seed * 31) % _WHEEL)

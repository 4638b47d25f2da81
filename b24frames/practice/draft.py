"""A record in the making: what all kinds of activities have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from b24frames.practice.dates import NO_DEADLINE, write_date
from b24frames.practice.providers import Kind
from b24frames.practice.texts import COMPANIES, PEOPLE, SMALL_TALK

Record = dict[str, Any]


@dataclass(frozen=True)
class Draft:
    """A record in the making.

    Attributes
    ----------
    record : dict of str to object
        The record so far.
    rng : random.Random
        What the rest of it is drawn from.
    created : datetime.datetime
        When the activity was created, in UTC.
    """

    record: Record
    rng: Random
    created: datetime

    def set(self, **fields: Any) -> None:
        """Set fields; new ones come after the known ones."""
        self.record.update(fields)

    def word(self, name: str) -> str:
        """Draw a word for a template."""
        return _Words(self.rng)[name]


Edit = Callable[[Draft], None]
"""Changes a record in the making."""


def basic_record(number: int, kind: Kind, rng: Random, created: datetime) -> Record:
    """Return what all kinds have in common, every field of the method's page in its order."""
    user = str(rng.randrange(1, len(PEOPLE) + 1))
    hour = created.replace(minute=0, second=0)
    start = hour + timedelta(minutes=15 * rng.randrange(-96, 960))
    completed = rng.random() < 0.7
    planned = rng.random() < 0.8
    begins = write_date(start)
    return {
        "ID": str(number),
        "OWNER_ID": str(rng.randrange(1, 5_000)),
        "OWNER_TYPE_ID": rng.choice(kind.owner_types),
        "TYPE_ID": rng.choice(kind.type_ids),
        "PROVIDER_ID": kind.provider,
        "PROVIDER_TYPE_ID": rng.choice(kind.provider_types),
        "PROVIDER_GROUP_ID": None,
        "ASSOCIATED_ENTITY_ID": "0",
        "SUBJECT": kind.subject.format_map(_Words(rng)),
        "CREATED": write_date(created),
        "LAST_UPDATED": write_date(created + timedelta(seconds=int(rng.expovariate(1e-6)))),
        "START_TIME": begins,
        "END_TIME": write_date(start + timedelta(minutes=rng.choice((15, 30, 60, 60, 360)))),
        "DEADLINE": begins if planned else rng.choice(NO_DEADLINE),
        "COMPLETED": "Y" if completed else "N",
        "STATUS": rng.choice(("2", "2", "2", "3")) if completed else "1",
        "RESPONSIBLE_ID": user,
        "PRIORITY": rng.choice(("2", "2", "2", "1", "3", "0")),
        "NOTIFY_TYPE": rng.choice(("0", "1", "1", "2", "3")),
        "NOTIFY_VALUE": rng.choice(("0", "15", "15", "60")),
        "DESCRIPTION": rng.choice(SMALL_TALK),
        "DESCRIPTION_TYPE": rng.choice(("1", "1", "0")),
        "DIRECTION": rng.choice(kind.directions),
        "LOCATION": rng.choice(("", "", "", "Berlin, Alexanderplatz 1", "ул. Ленина, 5")),
        "SETTINGS": [],
        "ORIGINATOR_ID": None,
        "ORIGIN_ID": None,
        "AUTHOR_ID": user,
        "EDITOR_ID": str(rng.randrange(1, len(PEOPLE) + 1)),
        "PROVIDER_PARAMS": [],
        "PROVIDER_DATA": None,
        "RESULT_MARK": rng.choice(("0", "0", "0", "1", "2", "3")),
        "RESULT_VALUE": None,
        "RESULT_SUM": None,
        "RESULT_CURRENCY_ID": None,
        "RESULT_STATUS": "0",
        "RESULT_STREAM": "0",
        "RESULT_SOURCE_ID": None,
        "AUTOCOMPLETE_RULE": rng.choice(("0", "0", "0", "1")),
    }


class _Words(dict[str, str]):
    """The words that templates may ask for, drawn only when they do."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng

    def __missing__(self, word: str) -> str:
        rng = self._rng
        if word == "name":
            return " ".join(rng.choice(PEOPLE))
        if word == "company":
            return rng.choice(COMPANIES)
        if word == "phone":
            return f"+7 9{rng.randrange(10**8, 10**9):09}"
        return str(rng.randrange(1, 10_000))

"""Generated activities: each record is a function of the seed and its id alone.

The usual and the awkward are mixed in fixed proportions, so that what works on two thousand
practice records has met what real portals send.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from b24frames.practice.draft import Draft, Record, basic_record
from b24frames.practice.families import FAMILIES
from b24frames.practice.providers import REFUSED_KIND, choose_kind
from b24frames.practice.quirks import quirk_of
from b24frames.practice.texts import PEOPLE

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
    draft = Draft(basic_record(number, kind, rng, created), rng, created)
    FAMILIES[kind.family](draft)
    quirk = quirk_of(seed, number)
    if quirk is not None:
        quirk(draft)
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

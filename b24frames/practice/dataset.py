"""The activities of the practice portal: generated from templates, and changed since.

Usual and awkward records are mixed in fixed proportions, so that code that works on two thousand of
them has met what real portals send.
"""

from __future__ import annotations

import math
import re
import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import Any, Literal, NamedTuple

from b24frames.practice.formats import as_int, comparable, load, read_date, write_date
from b24frames.schema import ACTIVITY, Wire

Record = dict[str, Any]
Kind = Literal["created", "changed", "deleted", "restored"]

USERS: list[Record] = load("users")
"""The users who work with activities, ids 1 to 12; customers have the same names."""

_TEMPLATES = load("templates")
_WORDS = _TEMPLATES["words"] | {
    "name": {"choice": [f"{u['NAME']} {u['LAST_NAME']}" for u in USERS]}
}
_KINDS = _TEMPLATES["kinds"]
_CUMULATED_WEIGHTS = tuple(accumulate(kind["weight"] for kind in _KINDS))
_REFUSED = _TEMPLATES["refused_kind"]
REFUSED_PROVIDER: str = _REFUSED["PROVIDER_ID"]
"""The provider whose activities ``crm.activity.get`` refuses."""

# Awkward values that careless readers do not expect. A wheel of 200 positions has an edit at every
# eighth: each is applied to half a per cent of the ids.
_WHEEL = 200
_EDIT_AT = {place * 8 + 5: edit for place, edit in enumerate(_TEMPLATES["edits"])}

_WORK: dict[str, Any] = _TEMPLATES["work"]
_NEVER = "9999-12-31T00:00:00"
FILTERABLE = {
    name: field.wire
    for name, field in ACTIVITY.items()
    if field.always and field.wire is not Wire.OBJECT
}
"""The fields that filters and orders of activities may name."""

# Ids approach the last day without passing it: half of the days are over at id 4 000.
_FIRST_DAY = datetime(2022, 1, 3, 6)
_DAYS = 1_460
_HALFWAY = 4_000
_FOLLOWED_WITHIN = 12  # activities, so two or three days


class RecordBuilder:
    """Generate the fields of a record from templates.

    A template is a JSON value. In its texts, ``$name`` stands for the value drawn under that name
    before, or is one of the words in ``templates.json``. Names in lower case do not get into the
    record. An object with one of these keys stands for a drawn value:

    - ``choice``: one of these templates;
    - ``random``: the integer that a method of `random.Random` returns; ``as``: in this format;
    - ``chance``: ``Y`` with this probability, or ``N``;
    - ``by``: the value of the object under the key that this template draws;
    - ``after``: the date of this name, and so much later;
    - ``product``: these numbers multiplied, in the format ``as``.

    Parameters
    ----------
    rng : random.Random
        The source of all random values.
    **given : str
        Further words.
    """

    def __init__(self, rng: Random, **given: str) -> None:
        self.record: Record = {}
        self._rng = rng
        self._given = given
        self._words: dict[str, Any] = {}

    def fill(self, template: Any, **given: Any) -> Record:
        """Draw an object, and set its fields, new ones at the end; return the record."""
        # Words are drawn once per template: an e-mail names the same person in all its fields.
        self._words = self._given | self.record | given
        fields = self._draw(template) or {}
        self.record.update((name, value) for name, value in fields.items() if name.isupper())
        return self.record

    def write_integers(self) -> None:
        """Replace strings of integers by JSON numbers, as some portals send them."""
        for name, value in self.record.items():
            is_integer = ACTIVITY[name].wire is Wire.INTEGER
            if is_integer and isinstance(value, str) and value.isdecimal():
                self.record[name] = int(value)

    def attach_files(self) -> None:
        """Attach one or two files."""
        first = self._rng.randrange(1, 10_000)
        numbers = range(first, first + self._rng.randrange(1, 3))
        address = "https://portal.example/bitrix/tools/crm_show_file.php?fileId={}&ownerTypeId=6"
        query = f"&ownerId={self.record['ID']}&auth={self._rng.getrandbits(128):032x}"
        self.record["FILES"] = [{"id": i, "url": address.format(i) + query} for i in numbers]

    def _draw(self, template: Any) -> Any:
        match template:
            case str():
                if "$" not in template:
                    return template
                return re.sub(r"\$(\w+)", lambda found: str(self._word(found[1])), template)
            case {"choice": options}:
                return self._draw(self._rng.choice(options))
            case {"random": [method, *arguments]}:
                number = int(getattr(self._rng, method)(*arguments))
                return template["as"].format(number) if "as" in template else number
            case {"chance": float(probability)}:
                return "Y" if self._rng.random() < probability else "N"
            case {"by": key, **cases}:
                return self._draw(cases.get(self._draw(key)))
            case {"after": name, **span}:
                moment = read_date(self._word(name)) or _FIRST_DAY
                return write_date(moment + timedelta(**self._draw(span)))
            case {"product": factors, "as": form}:
                return form.format(math.prod(float(self._draw(factor)) for factor in factors))
            case list():
                return [self._draw(item) for item in template]
            case dict():
                drawn = {}
                for name, value in template.items():
                    drawn[name] = self._words[name] = self._draw(value)
                return drawn
        return template

    def _word(self, name: str) -> Any:
        if name not in self._words:
            self._words[name] = self._draw(_WORDS[name])
        return self._words[name]


def make_record(seed: int, number: int, refused: bool = False) -> Record:
    """Return the record of one activity as JSON values, in the order of the method's page.

    Parameters
    ----------
    seed : int
        The same seed gives the same records.
    number : int
        The activity's id.
    refused : bool, default False
        Whether its provider is the one that ``crm.activity.get`` refuses.
    """
    builder = _draw(seed, number, refused)
    if is_made(builder.record) and not builder.record["SETTINGS"]:
        _follow_up(builder, seed, number)
    match _EDIT_AT.get((number * 73 + seed * 31) % _WHEEL):
        case "write_integers":
            builder.write_integers()
        case "attach_files":
            builder.attach_files()
        case fields:
            builder.fill(fields)
    return builder.record


def _draw(seed: int, number: int, refused: bool = False, only: str = "") -> RecordBuilder:
    """Draw a record without regard to others; nothing if it is not of the only family wanted."""
    rng = Random(f"{seed}:{number}")
    kind = rng.choices(_KINDS, cum_weights=_CUMULATED_WEIGHTS)[0] if not refused else _REFUSED
    if only not in ("", kind["family"]):
        return RecordBuilder(rng)
    # Greater ids are created later, but none after the last day.
    days = _DAYS * number / (number + _HALFWAY) + rng.random() / 3
    created = _FIRST_DAY + timedelta(seconds=int(days * 86_400))
    hour = created.replace(minute=0, second=0)
    # Telephony rests at weekends: the calls that would be then are of other days nearby.
    away = (0, 0, 0, 0, 0, -1, 1)[created.weekday()] * (1 + number % 3)
    workday = hour.replace(hour=0) + timedelta(days=away)
    times = {"created": created, "hour": hour, "workday": workday}
    builder = RecordBuilder(rng, id=str(number), **{n: write_date(t) for n, t in times.items()})
    for template in (_TEMPLATES["common"] | kind, *_TEMPLATES["families"][kind["family"]]):
        builder.fill(template)
    return builder


# Portals of one seed share their records, which nobody changes in place.
_shared_record = lru_cache(maxsize=20_000)(make_record)
_call = lru_cache(maxsize=1_000)(lambda seed, number: _draw(seed, number, only="call").record)


def is_made(record: Record) -> bool:
    """Return whether telephony made a call, and did not attach itself to a planned one."""
    return str(record.get("ORIGIN_ID"))[:3] == "VI_" and record["CREATED"] == record["START_TIME"]


def _follow_up(builder: RecordBuilder, seed: int, number: int) -> None:
    """Let a call be one to the customer of the call before it if nobody answered that one."""
    earlier = range(number - 1, max(0, number - _FOLLOWED_WITHIN), -1)
    before = next((n for n in earlier if is_made(_call(seed, n))), 0)
    if before and _call(seed, before)["RESULT_STREAM"] == "4":
        call = _shared_record(seed, before)  # which may itself be one that follows another
        builder.fill(_TEMPLATES["follow_up"], **{f"its_{name}": call[name] for name in call})


def phone(record: Record) -> str:
    """Return the phone number of an activity's owner."""
    owner = as_int(record["OWNER_TYPE_ID"]) * 5_003 + as_int(record["OWNER_ID"])
    return f"+7900{owner * 7_919 % 10**7:07}"  # a prime, so that owners have different ones


def communications(record: Record) -> list[Record]:
    """Return the phones or e-mail addresses of an activity, which lists return on request."""
    number = int(record["ID"])
    user = USERS[number % len(USERS)]
    mail = record["PROVIDER_ID"] == "CRM_EMAIL"
    return [
        {
            "ID": str(number * 2),
            "TYPE": "EMAIL" if mail else "PHONE",
            "VALUE": f"client{number}@example.com" if mail else phone(record),
            "ENTITY_ID": record["OWNER_ID"],
            "ENTITY_TYPE_ID": "3",
            "ENTITY_SETTINGS": {"NAME": user["NAME"], "LAST_NAME": user["LAST_NAME"]},
        }
    ]


def links(record: Record) -> list[tuple[int, int]]:
    """Return the type and id of each CRM object that an activity is linked to, its owner first."""
    number = as_int(record["ID"])
    owner = as_int(record["OWNER_TYPE_ID"]), as_int(record["OWNER_ID"])
    # A few objects have many activities, so that a filter by one finds some.
    contacts = [(3, number % 400 + 1), (3, number % 90 + 1)][: number % 3]
    return list(dict.fromkeys([owner, *contacts, *[(4, number % 60 + 1)][: number % 2]]))


@dataclass
class Table:
    """Rows by id, and their values as the portal compares them.

    Attributes
    ----------
    ids : callable
        Returns the ids of all rows, sorted.
    row : callable
        Returns the row with an id.
    fields : mapping of str to Wire
        The fields that conditions and orders may name.
    """

    ids: Callable[[], Sequence[int]]
    row: Callable[[int], Record]
    fields: Mapping[str, Wire]

    def __post_init__(self) -> None:
        self.names = {name.upper(): name for name in self.fields}
        self._columns: defaultdict[str, dict[int, Any]] = defaultdict(dict)

    def value(self, number: int, field: str) -> Any:
        """Return the comparable value of a field of a row; cached."""
        column = self._columns[field]
        if number not in column:
            value = self.row(number).get(field)
            # No deadline is stored as the greatest date, whatever its offset.
            if str(value).startswith(_NEVER[:10]):
                value = _NEVER
            column[number] = comparable(self.fields[field], value)
        return column[number]

    def forget(self, number: int) -> None:
        """Remove a changed row from the cache."""
        for column in self._columns.values():
            column.pop(number, None)


class Change(NamedTuple):
    """One change of an activity.

    Attributes
    ----------
    kind : {"created", "changed", "deleted", "restored"}
        The kind of change.
    id : int
        The activity.
    record : dict or None
        Its record after the change, read-only; None if it was deleted.
    """

    kind: Kind
    id: int
    record: Record | None


class Store:
    """Activities with the ids 1 to `activities`, generated when first needed.

    Parameters
    ----------
    activities : int
        The greatest id.
    seed : int
        The same seed gives the same records.
    deleted, refused : float or collection of int
        The ids that do not exist, and those that ``crm.activity.get`` refuses: a share of all, or
        the ids themselves.

    Attributes
    ----------
    lock : threading.RLock
        Its holder sees one state of all activities.
    table : Table
        The activities as lists compare them.
    changes : list of Change
        Their changes so far, in order.
    """

    def __init__(
        self,
        activities: int,
        seed: int,
        deleted: float | Collection[int],
        refused: float | Collection[int],
    ) -> None:
        self.seed = seed
        self.lock = threading.RLock()
        self.changes: list[Change] = []
        self.table = Table(self.ids, lambda number: self.record(number) or {}, FILTERABLE)
        self._activities = activities
        self._is_refused = _chooser(refused, f"{seed}:refused")
        self._deleted_at_start = _chooser(deleted, f"{seed}:deleted")
        self._deleted_since: dict[int, bool] = {}
        self._changed: dict[int, Record] = {}
        self._ids: list[int] | None = None

    def exists(self, number: int) -> bool:
        """Return whether there is an activity with this id."""
        if not 1 <= number <= self._activities:
            return False
        deleted = self._deleted_since.get(number)
        return not (self._deleted_at_start(number) if deleted is None else deleted)

    def record(self, number: int) -> Record | None:
        """Return an activity's record, read-only, or None if there is none."""
        with self.lock:
            if not self.exists(number):
                return None
            changed = self._changed.get(number)
            return changed or _shared_record(self.seed, number, self._is_refused(number))

    def ids(self) -> list[int]:
        """Return the ids of all activities, sorted, read-only."""
        with self.lock:
            if self._ids is None:
                self._ids = [i for i in range(1, self._activities + 1) if self.exists(i)]
            return self._ids

    def create(self, **fields: object) -> int:
        """Create an activity with these fields, and return its id."""
        with self.lock:
            number = self._activities = self._activities + 1
            made = make_record(self.seed, number, self._is_refused(number))
            times = ("CREATED", "LAST_UPDATED", "START_TIME", "END_TIME", "DEADLINE")
            self._changed[number] = made | dict.fromkeys(times, write_date(_now())) | fields
            self._set_deleted(number, False, "created")
            return number

    def touch(self, number: int, **fields: object) -> None:
        """Change fields of an activity, and LAST_UPDATED unless it is among them.

        Raises
        ------
        KeyError
            There is no such activity.
        """
        with self.lock:
            record = self.record(number)
            if record is None:
                raise KeyError(number)
            # Two changes in the same second must be distinguishable.
            before = read_date(record["LAST_UPDATED"]) or datetime.min.replace(tzinfo=UTC)
            now = max(_now(), before + timedelta(seconds=1))
            self._changed[number] = record | {"LAST_UPDATED": write_date(now)} | fields
            self._note("changed", number)

    def delete(self, number: int) -> None:
        """Delete an activity."""
        with self.lock:
            self._set_deleted(number, True, "deleted")

    def restore(self, number: int) -> None:
        """Restore a deleted activity."""
        with self.lock:
            self._set_deleted(number, False, "restored")

    def _set_deleted(self, number: int, deleted: bool, kind: Kind) -> None:
        self._deleted_since[number] = deleted
        # Changed in place: a list of a million ids is not to be rebuilt for each change.
        if self._ids is not None:
            place = bisect_left(self._ids, number)
            self._ids[place : bisect_right(self._ids, number)] = (
                [number] if self.exists(number) else []
            )
        self._note(kind, number)

    def _note(self, kind: Kind, number: int) -> None:
        self.table.forget(number)
        self.changes.append(Change(kind, number, self.record(number)))


class Colleagues:
    """Simulated colleagues who create, change and delete activities while a client reads.

    Parameters
    ----------
    store : Store
        The activities.
    seed : int
        The same seed gives the same changes.
    every : int
        The number of commands between two changes.
    """

    def __init__(self, store: Store, seed: int, every: int) -> None:
        self._store = store
        self._rng = Random(f"{seed}:work")
        self._every = every
        self._commands = 0

    def let_work(self) -> None:
        """Count a command, and make a change if one is due."""
        with self._store.lock:
            self._commands += 1
            ids = self._store.ids()
            if ids and self._commands % self._every == 0:
                self._change(self._rng.choice(ids))

    def _change(self, number: int) -> None:
        updated = self._store.table.row(number)["LAST_UPDATED"]
        builder = RecordBuilder(self._rng, now=write_date(_now()), updated=updated)
        kind = self._rng.choice(list(_WORK))
        builder.fill(_WORK[kind])
        if kind == "delete":
            self._store.delete(number)
        elif kind in ("edit", "rebind"):
            self._store.touch(number, **builder.record)
        else:
            self._store.create(**builder.record)


def _now() -> datetime:
    return datetime.now(UTC)


def _chooser(choice: float | Collection[int], salt: str) -> Callable[[int], bool]:
    """Return the predicate of a share of all ids, or of these ids."""
    if not isinstance(choice, (int, float)):
        return frozenset(choice).__contains__
    # By a hash of the id: no list of ids, and independent of their number.
    bound = int(choice * 2**64)

    def is_chosen(number: int) -> bool:
        digest = blake2b(f"{salt}:{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < bound

    return is_chosen

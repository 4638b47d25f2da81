"""The activities of the practice portal: generated from templates, and changed since.

Usual and awkward records are mixed in fixed proportions, so that code that works on two thousand of
them has met what real portals send.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, islice, repeat
from random import Random
from typing import Any, Literal, NamedTuple

from b24frames.practice.faults import Refused
from b24frames.practice.formats import (
    PREFIXES,
    Holds,
    as_int,
    as_list,
    as_map,
    comparable,
    fill,
    load,
    parse_condition,
    read_date,
    write_date,
)
from b24frames.schema import ACTIVITY, Wire

Record = dict[str, Any]
Page = tuple[list[Record], dict[str, int]]
"""The rows of a page, and its ``next`` and ``total``."""
Kind = Literal["created", "changed", "deleted", "restored"]
_PAGE = 50

USERS: list[Record] = load("users")
"""The users who work with activities, ids 1 to 12; customers have the same names."""

_TEMPLATES = load("templates")
_KINDS = _TEMPLATES["kinds"]
_CUMULATED_WEIGHTS = tuple(accumulate(kind["weight"] for kind in _KINDS))
_REFUSED = _TEMPLATES["refused_kind"]
REFUSED_PROVIDER: str = _REFUSED["PROVIDER_ID"]
"""The provider whose activities ``crm.activity.get`` refuses."""

# Awkward values that careless readers do not expect. A wheel of 200 positions has an edit at every
# eighth: each is applied to half a per cent of the ids.
_WHEEL = 200
_EDITS = [edit for edit in _TEMPLATES["edits"] for _ in range(edit.get("places", 1))]
_EDIT_AT = {place * 8 + 5: edit for place, edit in enumerate(_EDITS)}

_WORK: list[dict[str, Any]] = _TEMPLATES["work"]
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
    rng, record = _draw(seed, number, refused)
    if is_made(record) and not record["SETTINGS"]:
        record |= _follow_up(rng, record, seed, number)
    edit = _EDIT_AT.get((number * 73 + seed * 31) % _WHEEL, {})
    record |= fill(rng, edit, record)
    # Some portals send JSON numbers in place of strings.
    for name in record if "as_numbers" in edit else ():
        if ACTIVITY[name].wire is Wire.INTEGER and str(record[name]).isdecimal():
            record[name] = int(record[name])
    return record


def _draw(seed: int, number: int, refused: bool = False, only: str = "") -> tuple[Random, Record]:
    """Draw a record without regard to others; nothing if it is not of the only family wanted."""
    rng = Random(f"{seed}:{number}")
    kind = rng.choices(_KINDS, cum_weights=_CUMULATED_WEIGHTS)[0] if not refused else _REFUSED
    record: Record = {}
    if only not in ("", kind["family"]):
        return rng, record
    # Greater ids are created later, but none after the last day.
    days = _DAYS * number / (number + _HALFWAY) + rng.random() / 3
    created = _FIRST_DAY + timedelta(seconds=int(days * 86_400))
    hour = created.replace(minute=0, second=0)
    # Telephony rests at weekends: the calls that would be then are of other days nearby.
    away = (0, 0, 0, 0, 0, -1, 1)[created.weekday()] * (1 + number % 3)
    workday = hour.replace(hour=0) + timedelta(days=away)
    times = {"created": created, "hour": hour, "workday": workday}
    given = {"id": number, **{name: write_date(moment) for name, moment in times.items()}}
    for template in (_TEMPLATES["common"] | kind, *_TEMPLATES["families"][kind["family"]]):
        record |= fill(rng, template, given | record)
    return rng, record


# Portals of one seed share their records, which nobody changes in place.
_shared_record = lru_cache(maxsize=20_000)(make_record)
_call = lru_cache(maxsize=1_000)(lambda seed, number: _draw(seed, number, only="call")[1])


def is_made(record: Record) -> bool:
    """Return whether telephony made a call, and did not attach itself to a planned one."""
    return str(record.get("ORIGIN_ID"))[:3] == "VI_" and record["CREATED"] == record["START_TIME"]


def _follow_up(rng: Random, record: Record, seed: int, number: int) -> Record:
    """Let a call be one to the customer of the call before it if nobody answered that one."""
    earlier = range(number - 1, max(0, number - _FOLLOWED_WITHIN), -1)
    before = next((n for n in earlier if is_made(_call(seed, n))), 0)
    if not before or _call(seed, before)["RESULT_STREAM"] != "4":
        return {}
    call = _shared_record(seed, before)  # which may itself be one that follows another
    its = {f"its_{name}": value for name, value in call.items()}
    return fill(rng, _TEMPLATES["follow_up"], record | its)


def phone(record: Record) -> str:
    """Return the phone number of an activity's owner."""
    owner = as_int(record["OWNER_TYPE_ID"]) * 5_003 + as_int(record["OWNER_ID"])
    return f"+7900{owner * 7_919 % 10**7:07}"  # a prime, so that owners have different ones


def communications(record: Record) -> list[Record]:
    """Return the phones or e-mail addresses of an activity, which lists return on request."""
    number = int(record["ID"])
    is_mail = record["PROVIDER_ID"] == "CRM_EMAIL"
    person = USERS[number % len(USERS)]
    return [
        {
            "ID": str(number * 2),
            "TYPE": "EMAIL" if is_mail else "PHONE",
            "VALUE": f"client{number}@example.com" if is_mail else phone(record),
            "ENTITY_ID": record["OWNER_ID"],
            "ENTITY_TYPE_ID": "3",
            "ENTITY_SETTINGS": {name: person[name] for name in ("NAME", "LAST_NAME")},
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
    """Rows by id, and lists of them as the portal filters, sorts and cuts them.

    Attributes
    ----------
    ids : callable
        Returns the ids of all rows, sorted.
    row : callable
        Returns the row with an id.
    fields : mapping of str to Wire
        The fields that conditions and orders may name, the id first.
    prefixes : mapping of str to str
        The operators of the prefixes of keys in a filter.
    order : mapping of str to str
        The order if no valid one is asked for.
    strict : bool
        Whether invalid conditions and orders are refused; else they are dropped.
    """

    ids: Callable[[], Sequence[int]]
    row: Callable[[int], Record]
    fields: Mapping[str, Wire]
    prefixes: Mapping[str, str]
    order: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False

    def __post_init__(self) -> None:
        self.key = next(iter(self.fields))
        self.names = {name.upper(): name for name in self.fields}
        self._columns: defaultdict[str, dict[int, Any]] = defaultdict(dict)

    def value(self, number: int, field: str) -> Any:
        """Return the comparable value of a field of a row; cached."""
        if field == self.key:
            return number
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

    def find(
        self,
        params: Mapping[str, Any],
        order: Mapping[str, Any],
        times: Callable[[int], int] = lambda _: 1,
    ) -> Page:
        """Return one page of the rows that satisfy all conditions, and its ``next`` and ``total``.

        Parameters
        ----------
        params : mapping of str to object
            Those of the method: ``filter`` has the conditions by prefix and field; ``start`` is the
            first row; if negative, nothing is counted.
        order : mapping of str to object
            The fields to sort by; those with ``DESC`` are descending.
        times : callable
            Returns how often a row occurs; 0 if the user may not see it.
        """
        sorting = self._parse_order(order) or self._parse_order(self.order)
        ids, conditions = self._parse_filter(as_map(params.get("filter")))
        start = as_int(params.get("start"))

        def matches(ids: Iterable[int]) -> Iterator[int]:
            for number in ids:
                if all(holds(self.value(number, name)) for name, holds in conditions):
                    yield from repeat(number, times(number))

        if sorting and sorting[0][0] == self.key:
            return self._cut(matches(reversed(ids) if sorting[0][1] else ids), start)
        # Ties are not broken: equal rows are in a different order on each page.
        found = sorted(matches(ids), key=lambda number: hash((start, number)))
        for name, descending in reversed(sorting):
            # Sorting is stable, so the last key is sorted by first; NULL is less than any value.
            values = {number: self.value(number, name) for number in found}
            found.sort(key=lambda n: (values[n] is not None, values[n]), reverse=descending)
        return self._cut(found, start)

    def _parse_order(self, order: Mapping[str, Any]) -> list[tuple[str, bool]]:
        """Return the fields to sort by, and whether each is descending."""
        found = [(self._name(name, "order", name), way) for name, way in order.items()]
        return [(name, str(way).upper() == "DESC") for name, way in found if name is not None]

    def _parse_filter(
        self, filters: Mapping[str, Any]
    ) -> tuple[Sequence[int], list[tuple[str, Holds]]]:
        """Return sorted ids, all that conditions on ids leave, and the conditions by field."""
        ids, conditions = self.ids(), []
        for key, value in filters.items():
            name = key.lstrip("!=<>@%?")
            operator = self.prefixes.get(key.removesuffix(name), "")
            field = self._name(name if operator else "", "filter", key)
            holds = field and parse_condition(operator, self.fields[field], value)
            if not (field and holds):
                continue
            conditions.append((field, holds))
            # A portal may have a million rows: bounds and equality must not scan them.
            if field == self.key and operator in ("=", "@"):
                wanted = sorted({as_int(item) for item in as_list(value)})
                ids = [n for n in wanted if bisect_left(ids, n) < bisect_right(ids, n)]
            elif field == self.key and operator in (">", ">="):
                ids = ids[bisect_left(ids, as_int(value)) :]
            elif field == self.key and operator in ("<", "<="):
                ids = ids[: bisect_right(ids, as_int(value))]
        return ids, conditions

    def _name(self, name: str, part: str, entry: str) -> str | None:
        """Return the field that an entry of a filter or order names; None to drop the entry."""
        known = self.names.get(name.upper())
        if known is None and self.strict:
            text = f"Invalid {part}: field '{entry}' is not allowed"
            raise Refused("INVALID_ARG_VALUE", text)
        return known

    def _cut(self, found: Iterable[int], start: int) -> Page:
        """Return the page with the row `start`, or the first if there is none."""
        # Without a count, no row after the page has to be read.
        numbers = list(found if start >= 0 else islice(found, _PAGE))
        first = start // _PAGE * _PAGE
        first = first if 0 <= first < len(numbers) else 0
        page = [self.row(number) for number in numbers[first : first + _PAGE]]
        if start < 0:
            return page, {}
        following = {"next": first + _PAGE} if first + _PAGE < len(numbers) else {}
        return page, {**following, "total": len(numbers)}


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


@dataclass(eq=False)
class Store:
    """Activities with the ids 1 to `activities`, generated when first needed.

    Parameters
    ----------
    activities : int
        The greatest id so far.
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

    activities: int
    seed: int
    deleted: float | Collection[int]
    refused: float | Collection[int]

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.changes: list[Change] = []
        self.table = Table(
            self.ids, lambda number: self.record(number) or {}, FILTERABLE, PREFIXES["activity"]
        )
        self._is_refused = _chooser(self.refused, f"{self.seed}:refused")
        is_deleted = _chooser(self.deleted, f"{self.seed}:deleted")
        self._ids = [n for n in range(1, self.activities + 1) if not is_deleted(n)]
        self._changed: dict[int, Record] = {}

    def ids(self) -> list[int]:
        """Return the ids of all activities, sorted, read-only."""
        return self._ids

    def record(self, number: int) -> Record | None:
        """Return an activity's record, read-only, or None if there is none."""
        with self.lock:
            if bisect_left(self._ids, number) == bisect_right(self._ids, number):
                return None
            changed = self._changed.get(number)
            return changed or _shared_record(self.seed, number, self._is_refused(number))

    def create(self, **fields: object) -> int:
        """Create an activity with these fields, and return its id."""
        with self.lock:
            number = self.activities = self.activities + 1
            made = make_record(self.seed, number, self._is_refused(number))
            times = ("CREATED", "LAST_UPDATED", "START_TIME", "END_TIME", "DEADLINE")
            self._changed[number] = made | dict.fromkeys(times, write_date(_now())) | fields
            self._note("created", number)
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
        self._note("deleted", number)

    def restore(self, number: int) -> None:
        """Restore a deleted activity."""
        self._note("restored", number)

    def _note(self, kind: Kind, number: int) -> None:
        """Make a change, but for the record itself, which must be changed before."""
        with self.lock:
            exists = kind != "deleted" and 1 <= number <= self.activities
            # Changed in place: a list of a million ids is not to be rebuilt for each change.
            place = slice(bisect_left(self._ids, number), bisect_right(self._ids, number))
            self._ids[place] = [number] if exists else []
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
        words = {"now": write_date(_now()), "updated": updated}
        template = self._rng.choice(_WORK)
        change = getattr(self._store, template["does"])
        existing = [number] if template["does"] != "create" else []
        change(*existing, **fill(self._rng, template, words))


def _now() -> datetime:
    return datetime.now(UTC)


def _chooser(choice: float | Collection[int], salt: str) -> Callable[[int], bool]:
    """Return the predicate of a share of all ids, or of these ids."""
    if not isinstance(choice, (int, float)):
        return frozenset(choice).__contains__
    # By a hash of the id, independent of the number of ids.
    bound = int(choice * 2**64)

    def is_chosen(number: int) -> bool:
        digest = blake2b(f"{salt}:{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < bound

    return is_chosen

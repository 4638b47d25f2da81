"""The formats of a portal, which is PHP over a database: parameters, dates, and conditions.

Its dates have the offset of the server, which changes twice a year. The data files are JSON.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any
from urllib.parse import parse_qsl

from b24frames.schema import Wire

_WINTER = timedelta(hours=1)
_SUMMER = timedelta(hours=2)

_COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_COMMON = {op: op for op in ("=", "!=", "%", *_COMPARISONS)} | {"": "=", "!": "!="}
_CRM = _COMMON | {"@": "@", "!@": "!@", "=%": "like", "%=": "like"}
_CALL = _COMMON | {"?": "%", "!%": "!%", "><": "><", "!><": "!><"}
# Lists of activities ignore the negation of ``%``.
_ACTIVITY = _CRM | {"!%": "%", "!=%": "like", "!%=": "like"}
PREFIXES = {"activity": _ACTIVITY, "call": _CALL, "item": _CRM | _CALL, "user": _CRM}
"""The operators of the prefixes of keys in a filter, by what is listed."""

Holds = Callable[[Any], bool]
"""Returns whether a comparable value satisfies a condition."""


def load(name: str) -> Any:
    """Return the content of a data file of this package."""
    return json.loads(files(__package__).joinpath(f"{name}.json").read_text("utf-8"))


_WORDS: dict[str, Any] = load("words")


def fill(rng: Random, template: Any, words: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the fields of a record from a template.

    A template is a JSON value. In its texts, ``$name`` stands for the value drawn under that name
    before, or is one of the words given or in ``words.json``. Names in lower case do not get
    into the record. An object with one of these keys stands for a drawn value:

    - ``choice``: one of these templates;
    - ``random``: the integer that a method of `random.Random` returns; ``as``: in this format;
    - ``chance``: ``Y`` with this probability, or ``N``;
    - ``by``: the value of the object under the key that this template draws;
    - ``after``: the date of this name, and so much later;
    - ``sum``: these integers added;
    - ``product``: these numbers multiplied, in the format ``as``.
    """
    # Words are drawn once per template: an e-mail names the same person in all its fields.
    known = dict(words)

    def word(name: str) -> Any:
        if name not in known:
            known[name] = draw(_WORDS[name])
        return known[name]

    def draw(template: Any) -> Any:
        match template:
            case str():
                return re.sub(r"\$(\w+)", lambda found: str(word(found[1])), template)
            case {"choice": options}:
                return draw(rng.choice(options))
            case {"random": [method, *arguments]}:
                number = int(getattr(rng, method)(*arguments))
                return template["as"].format(number) if "as" in template else number
            case {"chance": float(probability)}:
                return "Y" if rng.random() < probability else "N"
            case {"by": key, **cases}:
                return draw(cases.get(draw(key)))
            case {"after": name, **span}:
                return write_date(datetime.fromisoformat(word(name)) + timedelta(**draw(span)))
            case {"sum": terms}:
                return sum(int(draw(term)) for term in terms)
            case {"product": factors, "as": form}:
                return form.format(math.prod(float(draw(factor)) for factor in factors))
            case list():
                return [draw(item) for item in template]
            case dict():
                drawn = {}
                for name, value in template.items():
                    drawn[name] = known[name] = draw(value)
                return drawn
        return template

    return {name: value for name, value in (draw(template) or {}).items() if name.isupper()}


def parse_query(text: str) -> dict[str, Any]:
    """Parse a query string with keys in brackets into nested dicts.

    Examples
    --------
    >>> parse_query("id=1&filter[%3EID]=5&select[]=ID&select[]=SUBJECT")
    {'id': '1', 'filter': {'>ID': '5'}, 'select': {'0': 'ID', '1': 'SUBJECT'}}
    """
    params: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        name, *parts = key.split("[")
        if not name or not all(part.endswith("]") for part in parts):
            continue
        *path, last = [name, *(part[:-1] for part in parts)]
        target = params
        # Empty brackets append; a key that is both a text and an array is dropped.
        for name in path:
            inner = target.setdefault(name or str(len(target)), {})
            target = inner if isinstance(inner, dict) else {}
        target[last or str(len(target))] = value
    return params


def lower_keys(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by lower-case names, which take precedence over other spellings.

    Examples
    --------
    >>> lower_keys({"filter": 1, "FILTER": 2, "Id": 3, "START": 50})
    {'filter': 1, 'id': 3}
    """
    lowered = {name.lower(): value for name, value in params.items()}
    exact = {name: value for name, value in params.items() if name in lowered}
    # Portals accept ``start`` in lower case only.
    return {n: v for n, v in (lowered | exact).items() if n != "start" or n in exact}


def as_map(value: object) -> dict[str, Any]:
    """Return an array as a dict; a list has the keys 0, 1, …; anything else is empty."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return {str(i): item for i, item in enumerate(value)} if isinstance(value, list) else {}


def as_list(value: object) -> list[Any]:
    """Return the values of an array; a scalar is an array of one."""
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def as_int(value: object) -> int:
    """Return the integer at the beginning of a text, or 0; an array is 1, an empty one 0.

    Examples
    --------
    >>> as_int("12 Monkeys"), as_int(None), as_int(True), as_int([7, 8])
    (12, 0, 1, 1)
    """
    if isinstance(value, (list, dict)):
        return int(bool(value))
    match = re.match(r"\s*[+-]?[0-9]+", str(int(value) if isinstance(value, bool) else value))
    return int(match[0]) if match else 0


def comparable(wire: Wire, value: object) -> Any:
    """Return a value as the database compares it: whole seconds, text without regard to case.

    Empty text, null and invalid dates are None, the database's NULL.

    Examples
    --------
    >>> comparable(Wire.INTEGER, "5"), comparable(Wire.TEXT, "Straße"), comparable(Wire.TEXT, "")
    (5, 'strasse', None)
    """
    if value is None or value == "":
        return None
    if wire is Wire.INTEGER:
        return as_int(value)
    if wire is Wire.DATETIME:
        moment = read_date(str(value))
        return moment and moment.replace(microsecond=0)
    if wire is Wire.DOUBLE:
        match = re.match(r"\s*[+-]?[0-9]+(\.[0-9]*)?", str(value))
        return float(match[0]) if match else 0.0
    # PHP converts true to "1" and false to "".
    return ((value is True and "1") or None) if isinstance(value, bool) else str(value).casefold()


def parse_condition(operator_: str, wire: Wire, value: object) -> Holds | None:
    """Return the predicate of a condition, or None if the portal drops the condition."""
    if operator_.startswith("!"):
        opposite, is_list = parse_condition(operator_[1:], wire, value), operator_ == "!@"
        # SQL's NOT IN is never true of NULL; other negations take it in.
        return opposite and (lambda found: not opposite(found) and not (is_list and found is None))
    if operator_ in _COMPARISONS and wire is Wire.INTEGER:
        value = as_int(value)
    items = as_list(value)
    if not items:
        return None
    if operator_ in ("%", "like"):
        texts = [re.escape(str(item).casefold()) for item in items]
        if operator_ == "like":
            texts = [text.replace("%", ".*").replace("_", ".") for text in texts]
        match = re.compile("|".join(texts), re.DOTALL)
        test = match.search if operator_ == "%" else match.fullmatch
        return lambda found: found is not None and test(str(found)) is not None
    nothing = {Wire.INTEGER: 0, Wire.DOUBLE: 0.0}.get(wire)
    operands: list[Any] = [comparable(wire, item) or nothing for item in items]
    if operator_ in ("=", "@"):
        # A number that is 0 also equals NULL, but not in a list of ``@``.
        wanted = {*operands, *([None] if operator_ == "=" and 0 in operands else [])}
        return wanted.__contains__
    if None in operands:
        return lambda found: found is None
    if operator_ == "><":
        return lambda found: found is not None and operands[0] <= found <= operands[-1]
    compare = _COMPARISONS[operator_]
    return lambda found: found is not None and any(compare(found, it) for it in operands)


def write_map(array: Mapping[str, Any]) -> dict[str, Any] | list[Any]:
    """Return an array as PHP writes it to JSON: a list if the keys are 0, 1, … or absent.

    Examples
    --------
    >>> write_map({}), write_map({"0": "a", "1": "b"}), write_map({"1": "b"})
    ([], ['a', 'b'], {'1': 'b'})
    """
    # PHP has one type for both, and decides by the keys.
    if list(array) == [str(i) for i in range(len(array))]:
        return list(array.values())
    return dict(array)


def write_date(moment: datetime) -> str:
    """Return an instant as the portal writes it.

    Parameters
    ----------
    moment : datetime.datetime
        With a zone, or naive in UTC.

    Examples
    --------
    >>> write_date(datetime(2024, 3, 31, 0, 59, 59)), write_date(datetime(2024, 3, 31, 1))
    ('2024-03-31T01:59:59+01:00', '2024-03-31T03:00:00+02:00')
    """
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    starts, ends = _summer_time(moment.year)
    offset = _SUMMER if starts <= moment < ends else _WINTER
    return f"{(moment + offset).isoformat(timespec='seconds')}+0{offset.seconds // 3600}:00"


def read_date(text: str) -> datetime | None:
    """Parse a date and time, in the portal's zone if it has no offset; None if invalid."""
    try:
        moment = datetime.fromisoformat(text)
        # Summer time starts at two and ends at three o'clock of the portal's time.
        if moment.tzinfo is None:
            starts, ends = _summer_time(moment.year)
            offset = _SUMMER if starts + _WINTER <= moment < ends + _SUMMER else _WINTER
            return (moment - offset).replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@cache
def _summer_time(year: int) -> tuple[datetime, datetime]:
    """Return when summer time starts and ends: one o'clock UTC on two last Sundays."""
    # The rule of central Europe, since not every system has a database of time zones.
    last_days = (datetime(year, month, 31, 1) for month in (3, 10))
    starts, ends = (last - timedelta((last.weekday() + 1) % 7) for last in last_days)
    return starts, ends

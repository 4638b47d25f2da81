"""Dates as the portal's server writes them: at its own offset, which changes twice a year."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache

_WINTER = timedelta(hours=1)
_SUMMER = timedelta(hours=2)

NO_DEADLINE = ("9999-12-31T00:00:00+01:00", "9999-12-31T00:00:00+03:00")
"""The database's greatest date, which means that there is none."""


def write_date(moment: datetime) -> str:
    """Return an instant as the portal writes it.

    Parameters
    ----------
    moment : datetime.datetime
        With a zone, or without one in UTC.

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
    """Return the instant that a text names, or None; without an offset it is the portal's time."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            starts, ends = _summer_time(moment.year)
            offset = _SUMMER if starts + _WINTER <= moment < ends + _SUMMER else _WINTER
            return (moment - offset).replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@cache
def _summer_time(year: int) -> tuple[datetime, datetime]:
    """Return when summer time starts and ends, in UTC: one o'clock on two last Sundays.

    The rule is written out, since not every system has a database of time zones.
    """
    return _last_sunday(year, 3), _last_sunday(year, 10)


def _last_sunday(year: int, month: int) -> datetime:
    """Return one o'clock on the last Sunday of a month that has 31 days."""
    last = date(year, month, 31)
    return datetime(year, month, 31 - (last.weekday() + 1) % 7, 1)

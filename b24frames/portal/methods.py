"""The two REST methods that give activities: `crm.activity.get` and `crm.activity.list`.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-get.html
.. [2] https://apidocs.bitrix24.com/api-reference/crm/timeline/activities/activity-base/crm-activity-list.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from b24frames.encoding import decode_record, encode_record
from b24frames.errors import (
    ActivityNotFoundError,
    ActivityRefusedError,
    InvalidAnswerError,
    MethodsDifferWarning,
    PortalError,
    name_some,
    warn_caller,
)
from b24frames.portal.calls import MAX_COMMANDS, Command, Watch
from b24frames.portal.limits import MAX_ATTEMPTS
from b24frames.portal.portal import Portal
from b24frames.schema import COLUMNS

PAGE = 50
_GET = "crm.activity.get"
_LIST = "crm.activity.list"
# What the list returns and get does not: both are to give the same frame.
_REFUSED_BY_GET = ("CONFIGURABLE_REST_APP",)

Answered = tuple[dict[int, bytes], dict[int, str]]
"""What one request brought: the JSON text of records by id, and the reasons for missing ones."""

Keep = Callable[[dict[int, bytes], dict[int, str]], None]
"""Keeps what one request brought, in the thread that received it."""


def get_activities(
    portal: Portal, ids: Sequence[int], keep: Keep, watch: Watch
) -> Iterator[Answered]:
    """Get the activities one by one, 50 in a request; a record of another id is asked for again."""

    def handle(answers: dict[str, Any]) -> Answered:
        found: dict[int, bytes] = {}
        missing: dict[int, str] = {}
        for name, answer in answers.items():
            asked = int(name[1:])
            if isinstance(answer, (ActivityNotFoundError, ActivityRefusedError)):
                missing[asked] = _reason(answer)
            elif isinstance(answer, PortalError):
                answer.description = f"{answer.description} (activity {asked})"
            elif isinstance(answer, dict) and _id_of(answer) in (asked, None):
                found[asked] = encode_record({**answer, "ID": answer.get("ID") or str(asked)})
        keep(found, missing)
        _raise_first(a for n, a in answers.items() if int(n[1:]) not in missing)
        return found, missing

    for _ in range(2 * MAX_ATTEMPTS):
        if not ids:
            return
        settled: set[int] = set()
        commands = ((f"a{i}", (_GET, {"id": i})) for i in ids)
        for found, missing in portal.iter_batches(commands, handle, watch):
            settled |= found.keys() | missing.keys()
            yield found, missing
        ids = [i for i in ids if i not in settled]
    raise InvalidAnswerError(
        f"the portal keeps answering with no record, or another, for the ids {name_some(ids)}",
        method=_GET,
    )


def list_activities(
    portal: Portal, ids: Sequence[int], keep: Keep, watch: Watch
) -> Iterator[Answered]:
    """List the activities, a page of 50 in each command.

    The first request carries a `crm.activity.get` too: where the two methods do not agree, nothing
    is taken from the list.
    """
    if not ids:
        return
    pages = (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
    commands: Iterator[tuple[str, Command]] = (
        (f"p{number}", (_LIST, {"filter": {"@ID": page}, "select": ["*", "FILES"], "start": -1}))
        for number, page in enumerate(pages)
    )
    asked = set(ids)

    def handle(answers: dict[str, Any]) -> Answered:
        found = _read_pages(answers.values(), asked)
        keep(found, {})
        _raise_first(answers.values())
        return found, {}

    first = dict(islice(commands, MAX_COMMANDS - 1))
    first["probe"] = (_GET, {"id": ids[0]})
    answers: dict[str, Any] = {}
    for part in portal.iter_batches(first.items(), lambda part: part, watch):
        answers |= part
    got = answers.pop("probe")
    differing = _differences(got, _read_pages(answers.values(), asked).get(ids[0]))
    if differing:
        warn_caller(
            f"{_LIST} and {_GET} do not agree on activity {ids[0]} ({name_some(differing)}); "
            "the read goes on by get",
            MethodsDifferWarning,
        )
        return
    yield handle(answers)
    yield from portal.iter_batches(commands, handle, watch)


def _read_pages(pages: Iterable[object], asked: set[int]) -> dict[int, bytes]:
    """Return the records of some pages that were asked for, and that get would give too."""
    found: dict[int, bytes] = {}
    for page in pages:
        records = page.values() if isinstance(page, dict) else page
        for record in records if isinstance(records, Iterable) else ():
            i = _id_of(record)
            if i in asked and record.get("PROVIDER_ID") not in _REFUSED_BY_GET:
                found[i] = encode_record(_as_got(record))
    return found


def _raise_first(answers: Iterable[object]) -> None:
    """Raise the first error among some answers."""
    for answer in answers:
        if isinstance(answer, PortalError):
            raise answer


def _differences(got: object, listed: bytes | None) -> list[str]:
    """Return the fields in which the record that was got is not the one that was listed."""
    if isinstance(got, PortalError) and got.retryable:
        raise got
    if not isinstance(got, dict):
        return [] if listed is None else ["only in the list"]
    if listed is None:
        return ["not in the list"]
    record = decode_record(listed)
    got = decode_record(encode_record(got))
    return [name for name in COLUMNS if got.get(name) != record.get(name)]


def _as_got(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of a list as `crm.activity.get` gives it: FILES only where there are any."""
    return {name: value for name, value in record.items() if value or name != "FILES"}


def _reason(error: PortalError) -> str:
    """Tell why there is no record."""
    if isinstance(error, ActivityNotFoundError):
        return f"not found, or not visible to this user ({error.description})"
    return f"refused by the portal ({error.description or 'without a reason'})"


def _id_of(record: object) -> int | None:
    """Return the activity id that a record says it has; None where it does not say."""
    if not isinstance(record, dict) or record.get("ID") in (None, ""):
        return None
    digits = str(record["ID"])  # of a number, too; what is neither is another's
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0

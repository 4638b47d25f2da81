"""The activities that the practice portal holds, and what was changed in them since."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b

from b24frames.practice.data import make_record
from b24frames.practice.draft import Record
from b24frames.practice.forms import read_date, write_date


@lru_cache(maxsize=20_000)
def _generate(seed: int, number: int, refused: bool) -> Record:
    """Make a record, to be read only; portals of the same seed share it."""
    return make_record(seed, number, refused=refused)


class Store:
    """Activities with the ids 1 to `activities`, made when they are first asked for.

    Parameters
    ----------
    activities : int
        The greatest id.
    seed : int
        The same seed gives the same records.
    deleted, refused : float or collection of int
        The ids that do not exist, and those that ``crm.activity.get`` refuses: a share of all,
        or the very ids.
    """

    def __init__(
        self,
        activities: int,
        seed: int,
        deleted: float | Collection[int],
        refused: float | Collection[int],
    ) -> None:
        self._seed = seed
        self._activities = activities
        self._is_refused = _chooser(refused, f"{seed}:refused")
        self._is_deleted = _chooser(deleted, f"{seed}:deleted")
        self._gone: dict[int, bool] = {}
        self._changed: dict[int, Record] = {}
        self._ids: list[int] | None = None
        self._lock = threading.RLock()

    def exists(self, number: int) -> bool:
        """Tell whether there is an activity with this id."""
        if not 1 <= number <= self._activities:
            return False
        gone = self._gone.get(number)
        return not (self._is_deleted(number) if gone is None else gone)

    def record(self, number: int) -> Record | None:
        """Return an activity's record, to be read only, or None where there is none."""
        with self._lock:
            if not self.exists(number):
                return None
            refused = self._is_refused(number)
            return self._changed.get(number) or _generate(self._seed, number, refused)

    def ids(self) -> Sequence[int]:
        """Return the ids of all activities, sorted."""
        with self._lock:
            if self._ids is None:
                self._ids = [i for i in range(1, self._activities + 1) if self.exists(i)]
            return self._ids

    def neighbour(self, *numbers: int) -> Record | None:
        """Return the record of some activity but these."""
        others = (i for i in range(1, self._activities + 1) if i not in numbers)
        return next((self.record(i) for i in others if self.exists(i)), None)

    def touch(self, number: int, **fields: object) -> None:
        """Change fields of an activity, and LAST_UPDATED unless it is among them.

        Raises
        ------
        KeyError
            There is no such activity.
        """
        with self._lock:
            record = self.record(number)
            if record is None:
                raise KeyError(number)
            before = read_date(record["LAST_UPDATED"]) or datetime.min.replace(tzinfo=UTC)
            now = max(datetime.now(UTC), before + timedelta(seconds=1))
            self._changed[number] = record | {"LAST_UPDATED": write_date(now)} | fields

    def delete(self, number: int) -> None:
        """Delete an activity; nothing happens where there is none."""
        self._set_gone(number, gone=True)

    def restore(self, number: int) -> None:
        """Bring a deleted activity back."""
        self._set_gone(number, gone=False)

    def _set_gone(self, number: int, *, gone: bool) -> None:
        with self._lock:
            self._gone[number] = gone
            self._ids = None


def _chooser(choice: float | Collection[int], salt: str) -> Callable[[int], bool]:
    """Return what tells whether an id is among the chosen: a share of all, or the very ids."""
    if not isinstance(choice, (int, float)):
        return frozenset(choice).__contains__
    bound = int(choice * 2**64)

    def is_chosen(number: int) -> bool:
        digest = blake2b(f"{salt}:{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < bound

    return is_chosen

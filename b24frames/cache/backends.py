"""What a store of entries can do, and any backend of requests-cache as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from requests_cache.backends.base import BaseCache
from requests_cache.backends.filesystem import FileDict
from requests_cache.backends.sqlite import SQLiteDict

from b24frames.cache.entries import Entry, decode, is_intact, parse_key
from b24frames.errors import CacheError
from b24frames.messages import name_some

T = TypeVar("T")


class Store(Protocol):
    """A place for entries.

    Each method raises `CacheError` when the place cannot be used.

    Attributes
    ----------
    pending_warnings : list of str
        What the user has to be told about damages that were found.
    """

    pending_warnings: list[str]

    def read(self, keys: Sequence[str], now: float, /) -> dict[str, Entry]:
        """Return the entries that there are; `now` (Unix time [s]) is when they were read."""

    def write(self, rows: Sequence[tuple[str, bytes]], now: float, /) -> None:
        """Keep entries, in one transaction where the place has such."""

    def keys_with_times(self) -> list[tuple[str, bytes]]:
        """Return each key, with at least the beginning of its value."""

    def delete(self, keys: Sequence[str] | None) -> int:
        """Forget entries, or all; return how many there were."""

    def size(self) -> int:
        """Return how much room all entries take [bytes]."""

    def evict(self, max_size: int) -> int:
        """Forget what was read longest ago until the rest fits; return how many."""

    def close(self) -> None:
        """Close what is open; the next use opens it again."""


class BackendStore:
    """Entries in a backend of requests-cache that is no SQLite file.

    Parameters
    ----------
    backend : requests_cache.BaseCache
        Taken over: its serializer is switched off, since entries are bytes already, and what is
        pickled runs code when it is read.
    """

    def __init__(self, backend: BaseCache) -> None:
        if isinstance(backend.responses, SQLiteDict):
            raise ValueError("for an SQLite file give its path: ActivityCache('some.sqlite')")
        self._name = f"{type(backend).__name__} {backend.cache_name!r}"
        self._storage: Any = backend.responses
        self._storage.serializer = None
        if isinstance(self._storage, FileDict):
            self._storage.is_binary = True
        self.pending_warnings: list[str] = []

    def __repr__(self) -> str:
        return self._name

    # Backends have no time of reading to keep.
    def read(self, keys: Sequence[str], _now: float, /) -> dict[str, Entry]:
        """Return the entries that there are; a damaged one is none."""
        entries: dict[str, Entry] = {}
        damaged = []
        values = self._use(lambda storage: [storage.get(key) for key in keys])
        for key, value in zip(keys, values, strict=True):
            if is_intact(key.encode(), value):
                entries[key] = decode(key.encode(), value)
            elif value is not None:
                damaged.append(key)
        if damaged:
            number = f"{len(damaged)} damaged entries in the cache {self._name}"
            self.pending_warnings.append(f"{number} are read anew: {name_some(damaged)}")
        return entries

    def write(self, rows: Sequence[tuple[str, bytes]], _now: float, /) -> None:
        """Keep entries, one by one: each is whole or damaged, which its checksum tells."""

        def write(storage: Any) -> None:
            for key, value in rows:
                storage[key] = value

        self._use(write)

    def keys_with_times(self) -> list[tuple[str, bytes]]:
        """Return each key of ours, with its value."""
        return self._use(lambda storage: [(key, storage.get(key)) for key in _own(storage)])

    def delete(self, keys: Sequence[str] | None) -> int:
        """Forget entries, or all; return how many there were."""

        def delete(storage: Any) -> int:
            found = [key for key in (_own(storage) if keys is None else keys) if key in storage]
            storage.bulk_delete(found)
            return len(found)

        return self._use(delete)

    def size(self) -> int:
        """Return the size of all values [bytes]."""
        return sum(len(value or b"") for _, value in self.keys_with_times())

    def evict(self, max_size: int) -> int:
        """Refuse: the times of reading are not known here."""
        raise ValueError(
            f"max_size={max_size!r} is for SQLite files; {self._name} has limits of its own"
        )

    def close(self) -> None:
        """Close the connections of the backend."""
        self._use(lambda storage: storage.close())

    def _use(self, work: Callable[[Any], T]) -> T:
        """Do something with the storage; whatever fails is a `CacheError`."""
        try:
            return work(self._storage)
        except Exception as error:  # reason: each backend raises errors of its own library
            # FileDict hides the error of the system behind a KeyError.
            reason = error.__cause__ if isinstance(error, KeyError) else error
            raise CacheError(f"the cache {self._name} cannot be used: {reason}") from error


def _own(storage: Any) -> list[str]:
    """Return the keys of ours in a storage."""
    return [key for key in list(storage.keys()) if parse_key(key)]

"""Entries in a backend of requests-cache: Redis, files and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from requests_cache.backends.base import BaseCache
from requests_cache.backends.filesystem import FileDict
from requests_cache.backends.sqlite import SQLiteDict

from b24frames.cache.entries import Entry, decode, is_intact, parse_key
from b24frames.errors import CacheError, is_of_caller
from b24frames.messages import name_some

T = TypeVar("T")


class BackendStore:
    """Entries in a backend of requests-cache that is no SQLite file.

    It has the methods of `SQLiteStore`. Each raises `CacheError` if the backend cannot be used.

    Parameters
    ----------
    backend : requests_cache.BaseCache
        Changed: its serializer is switched off.
    """

    def __init__(self, backend: BaseCache) -> None:
        # It would lack the guards and the bound of `SQLiteStore`.
        if isinstance(backend.responses, SQLiteDict):
            raise ValueError("for an SQLite file give its path: ActivityCache('some.sqlite')")
        self._name = f"{type(backend).__name__} {backend.cache_name!r}"
        self._storage: Any = backend.responses
        # Entries are bytes already; the default serializer, pickle, would run code when reading.
        self._storage.serializer = None
        if isinstance(self._storage, FileDict):
            self._storage.is_binary = True
        self.pending_warnings: list[str] = []

    def __repr__(self) -> str:
        return self._name

    # `now` is not used: backends do not record times of reading.
    def read(self, keys: Sequence[str], _now: float, /) -> dict[str, Entry]:
        """Return the existing entries, without damaged ones."""
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
        """Write entries one by one: the checksum of each tells whether it is complete."""

        def write(storage: Any) -> None:
            for key, value in rows:
                storage[key] = value

        self._use(write)

    def keys_with_times(self) -> list[tuple[str, bytes]]:
        """Return each of our keys with its value."""
        return self._use(lambda storage: [(key, storage.get(key)) for key in _own(storage)])

    def delete(self, keys: Sequence[str] | None) -> int:
        """Delete entries, or all; return how many existed."""

        def delete(storage: Any) -> int:
            found = [key for key in (_own(storage) if keys is None else keys) if key in storage]
            storage.bulk_delete(found)
            return len(found)

        return self._use(delete)

    def size(self) -> int:
        """Return the size of all values [bytes]."""
        return sum(len(value or b"") for _, value in self.keys_with_times())

    def evict(self, max_size: int) -> int:
        """Raise: backends do not record times of reading."""
        raise ValueError(
            f"max_size={max_size!r} is for SQLite files; {self._name} has limits of its own"
        )

    def close(self) -> None:
        """Close the connections of the backend."""
        self._use(lambda storage: storage.close())

    def _use(self, work: Callable[[Any], T]) -> T:
        """Call a function with the storage; raise `CacheError` for any error."""
        try:
            return work(self._storage)
        except Exception as error:  # reason: each backend raises errors of its own library
            # FileDict raises a KeyError for any OSError.
            reason = error.__cause__ if isinstance(error, KeyError) else error
            if is_of_caller(reason):
                raise
            raise CacheError(f"the cache {self._name} cannot be used: {reason}") from error


def _own(storage: Any) -> list[str]:
    return [key for key in list(storage.keys()) if parse_key(key)]

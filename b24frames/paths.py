"""The location of the cache."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from b24frames.credentials import looks_like_address
from b24frames.errors import CacheError

CACHE_VARIABLE = "B24FRAMES_CACHE"
_FILE_NAME = "activities.sqlite"
_FILE_SUFFIXES = (".sqlite", ".sqlite3", ".db")


def cache_file(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the file of a cache.

    Parameters
    ----------
    path : path-like, optional
        A folder, or a file with the suffix ``.sqlite``, ``.sqlite3`` or ``.db``; by default the
        environment variable ``B24FRAMES_CACHE``, or else the user's cache folder.

    Raises
    ------
    CacheError
        There is no such location.
    ValueError
        A URL, or an empty text, in place of a path.

    Examples
    --------
    >>> cache_file("somewhere").name, cache_file("some.sqlite").name
    ('activities.sqlite', 'some.sqlite')
    """
    given = os.environ.get(CACHE_VARIABLE) or None if path is None else path
    if given == "":
        raise ValueError("path='' is not a path; accepted are a folder, a file, and None")
    # A webhook would become the name of a folder, with its secret.
    if looks_like_address(given):
        raise ValueError(f"the place of the cache (or {CACHE_VARIABLE}) is an address, not a path")
    try:
        place = user_cache_path("b24frames", appauthor=False) if given is None else Path(given)
        place = place.expanduser().absolute()
        is_file = place.suffix.lower() in _FILE_SUFFIXES and not place.is_dir()
    # RuntimeError: no home folder; ValueError: NUL in the name.
    except (OSError, RuntimeError, ValueError) as error:
        raise CacheError(f"there is no place for a cache at {given!r}: {error}") from error
    return place if is_file else place / _FILE_NAME

"""Commands and their answers, encoded to and decoded from the form that PHP uses.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlencode

from b24frames.errors import PortalError

# A documented limit of the method batch [1]_.
MAX_COMMANDS = 50

Command = tuple[str, Mapping[str, Any]]
"""A REST method and its parameters: one call, alone or in a batch."""


class Answer(NamedTuple):
    """The answer to one request.

    Attributes
    ----------
    results : dict of str to object
        The result of each command, or the `PortalError` with which it was refused.
    times : sequence of (str, object)
        The ``time`` that the portal reported for methods.
    totals : mapping of str to object
        The ``total`` that it reported for commands.
    """

    results: dict[str, Any]
    times: Iterable[tuple[str, object]] = ()
    totals: Mapping[str, object] = MappingProxyType({})


class CommandQueue:
    """Commands to send: those of an iterable, taken as needed, and those appended since.

    Parameters
    ----------
    commands : iterable of (str, Command)
        Each under a name of its own.
    """

    def __init__(self, commands: Iterable[tuple[str, Command]] = ()) -> None:
        self._source = iter(commands)
        self._appended: deque[tuple[str, Command]] = deque()

    def append(self, name: str, command: Command) -> None:
        """Add a command, to be sent before those of the iterable."""
        self._appended.append((name, command))

    def extend(self, commands: Iterable[tuple[str, Command]]) -> None:
        """Add commands after the existing ones; they are taken as needed."""
        self._source = chain(self._source, commands)

    def take(self, size: int) -> dict[str, Command]:
        """Return the next commands, at most `size`."""
        some = [self._appended.popleft() for _ in range(min(size, len(self._appended)))]
        return dict(chain(some, islice(self._source, size - len(some))))


@dataclass(order=True)
class Task:
    """Commands that are sent in one request, once they are due."""

    due: float
    order: int
    commands: dict[str, Command] = field(compare=False)
    in_batch: bool = field(compare=False)
    attempt: int = field(default=0, compare=False)
    # Why the task waits; shown to the user.
    reason: str = field(default="", compare=False)
    expired: int | None = field(default=None, compare=False)
    first_sent: float = field(default=math.inf, compare=False)
    sent: float = field(default=0.0, compare=False)
    level: float = field(default=0.0, compare=False)

    @property
    def methods(self) -> set[str]:
        """The REST methods that this task uses operating time of."""
        methods = {method for method, _ in self.commands.values()}
        return methods | {"batch"} if self.in_batch else methods


def cut(commands: dict[str, Command], size: int) -> tuple[dict[str, Command], dict[str, Command]]:
    """Split commands into the first `size` and the rest."""
    items = list(commands.items())
    return dict(items[:size]), dict(items[size:])


def batch_params(commands: Mapping[str, Command]) -> dict[str, Any]:
    """Return the parameters of a batch.

    Examples
    --------
    >>> batch_params({"a1": ("crm.activity.get", {"id": 1})})
    {'halt': 0, 'cmd': {'a1': 'crm.activity.get?id=1'}}
    """
    cmd = {n: f"{method}?{encode_params(params)}" for n, (method, params) in commands.items()}
    return {"halt": 0, "cmd": cmd}


def named_answers(answers: object, names: Collection[str]) -> dict[str, Any]:
    """Return the answers of a batch by name."""
    # PHP has one type for maps and lists: empty maps, and those with keys 0, 1, 2 …, come as lists.
    if isinstance(answers, dict):
        return {name: answers[name] for name in names if name in answers}
    if isinstance(answers, list):
        return {str(i): answer for i, answer in enumerate(answers) if str(i) in names}
    return {}


def encode_params(params: Mapping[str, Any]) -> str:
    """Encode parameters in PHP's query syntax: nested ones with brackets.

    Examples
    --------
    >>> encode_params({"filter": {">ID": 5}, "select": ["*"]})
    'filter%5B%3EID%5D=5&select%5B0%5D=%2A'
    """
    return urlencode([pair for name, value in params.items() for pair in _pairs(name, value)])


def _pairs(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _pairs(f"{key}[{name}]", part)
    elif isinstance(value, (list, tuple)):
        for position, part in enumerate(value):
            yield from _pairs(f"{key}[{position}]", part)
    # Before str(): PHP reads "False" as a true value.
    elif isinstance(value, bool):
        yield key, "1" if value else "0"
    else:
        yield key, "" if value is None else str(value)


def has_expired(error: PortalError) -> bool:
    """Return whether an error says that the access token has expired."""
    return error.code.lower() == "expired_token"

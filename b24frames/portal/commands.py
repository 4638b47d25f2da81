"""What is asked of a portal and what it answers, in and out of the form that PHP writes.

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

MAX_COMMANDS = 50

Command = tuple[str, Mapping[str, Any]]
"""A REST method and its parameters: one call, alone or in a batch."""


class Answer(NamedTuple):
    """What one request brought.

    Attributes
    ----------
    results : dict of str to object
        The result of each command that was answered, or the `PortalError` that refused it.
    times : sequence of (str, object)
        The ``time`` that the portal told of methods.
    totals : mapping of str to object
        The ``total`` that it told of commands.
    """

    results: dict[str, Any]
    times: Iterable[tuple[str, object]] = ()
    totals: Mapping[str, object] = MappingProxyType({})


class CommandQueue:
    """What is to be asked: commands of an iterable, taken as needed, and those appended since.

    Parameters
    ----------
    commands : iterable of (str, Command)
        Each under a name of its own.
    """

    def __init__(self, commands: Iterable[tuple[str, Command]] = ()) -> None:
        self._source = iter(commands)
        self._appended: deque[tuple[str, Command]] = deque()

    def append(self, name: str, command: Command) -> None:
        """Have a command asked, before those of the iterable."""
        self._appended.append((name, command))

    def extend(self, commands: Iterable[tuple[str, Command]]) -> None:
        """Have further commands asked after those that there are; taken as needed."""
        self._source = chain(self._source, commands)

    def take(self, size: int) -> dict[str, Command]:
        """Return the next commands, at most so many."""
        some = [self._appended.popleft() for _ in range(min(size, len(self._appended)))]
        return dict(chain(some, islice(self._source, size - len(some))))


@dataclass(order=True)
class Task:
    """Commands that are sent together, once they are due."""

    due: float
    order: int
    commands: dict[str, Command] = field(compare=False)
    in_batch: bool = field(compare=False)
    attempt: int = field(default=0, compare=False)
    reason: str = field(default="", compare=False)  # why it waits
    expired: int | None = field(default=None, compare=False)
    first_sent: float = field(default=math.inf, compare=False)
    sent: float = field(default=0.0, compare=False)
    level: float = field(default=0.0, compare=False)

    @property
    def methods(self) -> set[str]:
        """The REST methods whose operating time is used."""
        methods = {method for method, _ in self.commands.values()}
        return methods | {"batch"} if self.in_batch else methods


def cut(commands: dict[str, Command], size: int) -> tuple[dict[str, Command], dict[str, Command]]:
    """Cut commands into the first ones and the rest."""
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
    """Return a batch's map of answers by name: PHP writes an empty one as a list."""
    if isinstance(answers, dict):
        return {name: answers[name] for name in names if name in answers}
    if isinstance(answers, list):
        return {str(i): answer for i, answer in enumerate(answers) if str(i) in names}
    return {}


def encode_params(params: Mapping[str, Any]) -> str:
    """Encode parameters as PHP reads them: nested ones with brackets.

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
    elif isinstance(value, bool):
        yield key, "1" if value else "0"
    else:
        yield key, "" if value is None else str(value)


def has_expired(error: PortalError) -> bool:
    """Return whether an error is that of an access token to be renewed."""
    return error.code.lower() == "expired_token"

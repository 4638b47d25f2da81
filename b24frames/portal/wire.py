"""How PHP, which the portal speaks, writes parameters and maps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode


def named_answers(answers: object, names: Collection[str]) -> dict[str, Any]:
    """Return a batch's map of answers by name: PHP writes an empty one as a list."""
    if isinstance(answers, dict):
        return {name: answers[name] for name in names if name in answers}
    if isinstance(answers, list):
        return {str(i): answer for i, answer in enumerate(answers) if str(i) in names}
    return {}


def encode_params(params: Mapping[str, Any]) -> str:
    """Encode parameters as PHP reads them: nested ones with brackets."""
    pairs: list[tuple[str, str]] = []

    def collect(key: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, part in value.items():
                collect(f"{key}[{name}]", part)
        elif isinstance(value, (list, tuple)):
            for position, part in enumerate(value):
                collect(f"{key}[{position}]", part)
        else:
            pairs.append((key, _scalar(value)))

    for name, value in params.items():
        collect(name, value)
    return urlencode(pairs)


def _scalar(value: Any) -> str:
    """Write one parameter as PHP's own http_build_query would."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return "" if value is None else str(value)

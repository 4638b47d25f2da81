"""The Russian pages, kept in step with the English ones: ``python -m tests.helpers.translations``.

It puts the code blocks of the English pages into the Russian ones; the words are for people.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRANSLATIONS = {
    "README.md": "README.ru.md",
    "docs/tutorial.md": "docs/ru/tutorial.md",
    "docs/how-to/webhook.md": "docs/ru/webhook.md",
    "docs/errors.md": "docs/ru/errors.md",
}
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def code_blocks(text: str) -> list[str]:
    """Return the code blocks of a page, with their fences."""
    return _BLOCK.findall(text)


def outline(text: str) -> dict[str, int]:
    """Return how much a page has of what a translation has as much of."""
    prose = _BLOCK.sub("", text)
    signs = {
        "headings": "^#+ ",
        "rows of tables": r"^\|",
        "items": r"^(?:-|\d+\.) ",
        "images": "!\\[",
    }
    return {name: len(re.findall(sign, prose, re.MULTILINE)) for name, sign in signs.items()}


def links(page: str) -> set[str]:
    """Return what a page links to; an English page stands for its translation."""
    english = {russian: page for page, russian in TRANSLATIONS.items()}
    found = set()
    for path, anchor in re.findall(r"(?<!!)\[[^]]*\]\(([^)#\s]+)(#[^)]*)?\)", read(page)):
        target = path
        if "://" not in path:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        target = english.get(target, target)
        found.add(target if target in TRANSLATIONS else target + anchor)
    return found - {"README.md"}


def code_spans(text: str) -> set[str]:
    """Return the names and pieces of code within the sentences of a page."""
    return set(re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text)))


def main() -> None:
    """Copy the code blocks."""
    for english, russian in TRANSLATIONS.items():
        blocks = code_blocks(read(english))
        text = read(russian)
        if len(blocks) != len(code_blocks(text)):
            raise SystemExit(f"{russian} has not as many code blocks as {english}")
        for old, new in zip(code_blocks(text), blocks, strict=True):
            text = text.replace(old, new)
        (ROOT / russian).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

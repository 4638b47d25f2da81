"""The Russian pages say what the English ones say, as far as a test can tell."""

from __future__ import annotations

import re

import pytest

from tests.helpers.translations import (
    ROOT,
    TRANSLATIONS,
    code_blocks,
    code_spans,
    links,
    outline,
    read,
)

PAIRS = list(TRANSLATIONS.items())


@pytest.mark.parametrize(("english", "russian"), PAIRS)
def test_code__is_the_same(english: str, russian: str) -> None:
    """Each code block is that of the English page: run `python -m tests.helpers.translations`."""
    assert code_blocks(read(russian)) == code_blocks(read(english)) != []


@pytest.mark.parametrize(("english", "russian"), PAIRS)
def test_outline__is_the_same(english: str, russian: str) -> None:
    """A translation has as many headings, rows of tables, items and images."""
    assert outline(read(russian)) == outline(read(english))


@pytest.mark.parametrize(("english", "russian"), PAIRS)
def test_names__are_the_same(english: str, russian: str) -> None:
    """Whatever the English page names in its sentences, the translation names, too."""
    added = {'labels(language="ru")', 'b24.LookupPanel(language="ru")'}
    assert code_spans(read(russian)) - added == code_spans(read(english))


@pytest.mark.parametrize(("english", "russian"), PAIRS)
def test_links__are_the_same(english: str, russian: str) -> None:
    """A translation links to the same pages, in Russian where they are."""
    assert links(russian) == links(english)


@pytest.mark.parametrize("russian", [*TRANSLATIONS.values(), "docs/ru/index.md"])
def test_words__are_russian(russian: str) -> None:
    """No paragraph was left in English."""
    prose = re.sub(r"^```.*?^```$|`[^`]*`|\]\([^)]*\)", "", read(russian), flags=re.M | re.S)
    for paragraph in prose.split("\n\n"):
        cyrillic, latin = (len(re.findall(f"[{of}]", paragraph)) for of in ("а-яА-Я", "a-zA-Z"))
        assert cyrillic >= latin or "b24frames" in paragraph, paragraph


def test_pages__all_in_the_index() -> None:
    """The page `docs/ru/index.md` leads to each Russian page, and the README to the README."""
    text = read("docs/ru/index.md")
    for path in (ROOT / "docs" / "ru").glob("*.md"):
        assert path.name == "index.md" or f"({path.name})" in text
    assert "(README.ru.md)" in "".join(read("README.md").splitlines(True)[:4])
    assert "(README.md)" in "".join(read("README.ru.md").splitlines(True)[:4])

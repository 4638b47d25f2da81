"""The methods that give activities: which record is that of which id."""

from __future__ import annotations

from typing import Any

import pytest

from b24frames.records import _id_of, _read_pages


@pytest.mark.parametrize("given", ["10", 10])
def test_id_of__a_number(given: Any) -> None:
    """An id is text of digits, or a number."""
    assert _id_of({"ID": given}) == 10


@pytest.mark.parametrize("odd", ["10.9", 10.9, True, "1_0", "\uff11\uff10", [10], "9" * 400, "x"])
def test_id_of__no_number(odd: Any) -> None:
    """What is not an id is that of no activity, so that the record is asked for again."""
    assert _id_of({"ID": odd}) == 0


@pytest.mark.parametrize("record", [{}, {"ID": None}, {"ID": ""}, [], None])
def test_id_of__not_told(record: Any) -> None:
    """A record may lack its id."""
    assert _id_of(record) is None


def test_read_pages__only_what_was_asked_for() -> None:
    """A portal that does not know the filter lists its first activities: none of them is taken."""
    page = [{"ID": "1"}, {"ID": "5"}, {"ID": None}, {"ID": "x"}, {"ID": "6"}]
    assert _read_pages([page, {"0": {"ID": 7}, "1": {"ID": 8}}], {5, 6, 7}).keys() == {5, 6, 7}

"""`LookupPanel`, driven without a kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

import b24frames as b24
from b24frames.practice import PracticePortal
from tests.conftest import posts


@pytest.fixture
def panel(portal: PracticePortal) -> b24.LookupPanel:
    """Make a panel on the practice portal."""
    return b24.LookupPanel(portal)


def test_lookup__shows(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """A look-up sets the traits and shows the rows; a missing id is named."""
    seen: list[Any] = []
    panel.observe(lambda change: seen.append(change["new"]), names="busy")
    panel.lookup("5-8")
    assert panel.ids == [5, 6, 7, 8]
    assert panel.frame.index.tolist() == [5, 6, 8]
    assert panel.message == "3 activities. No record: 7."
    assert seen == [True, False]
    assert panel.history == [[5, 6, 7, 8]]


def test_button__looks_up(panel: b24.LookupPanel) -> None:
    """The button looks up what the field says."""
    row = panel.children[0]
    field, button = row.children
    field.value = "5"
    button.click()
    assert panel.frame.index.tolist() == [5]


def test_lookup__rubbish(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Rubbish is refused in words, without a traceback or a request."""
    panel.lookup("<b>rubbish</b>")
    assert "neither an id" in panel.message
    assert "<b>" not in panel.children[1].value
    assert posts(portal) == 0
    assert not panel.busy


def test_lookup__portal_down(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """A portal that is down is said in words."""
    portal.server.stop()
    panel.lookup(5)
    assert "no connection" in panel.message
    assert panel.frame is None


def test_table__escaped(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Markup in the portal's texts stays text."""
    portal.server.touch(5, SUBJECT="<img src=x onerror=alert(1)>")
    panel.lookup([5])
    assert "<img" not in panel.children[2].value
    assert "&lt;img" in panel.children[2].value


def test_state__no_secret(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """The state that a notebook saves holds no secret."""
    panel.lookup([5])
    states = [w.get_state() for w in (panel, *panel.children, *panel.children[0].children)]
    assert "/rest/" not in json.dumps(states, default=str)
    assert "practice" not in json.dumps(states, default=str)

"""`LookupPanel`, driven without a kernel; what a person sees is tested in `browser`."""

from __future__ import annotations

import ast
import asyncio
import builtins
import functools
import json
import re
import string
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime, tzinfo
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

import b24frames as b24
from b24frames.errors import error_from_answer
from b24frames.ids import parse_id_text
from b24frames.panel import lookup, results, widget
from b24frames.panel.html import HEADS, SORTS, card_html, static_html
from b24frames.panel.texts import _TABLE, Texts, description_text, ids_code, ids_text
from b24frames.practice import PracticePortal
from b24frames.practice.faults import Fault
from tests.helpers.practice import plant, posts

SECRET = "planted-secret-77"
ENGLISH = Texts("en")
HOSTILE = (
    "<script>run()</script><img src=x onerror=run()><a href='javascript:run()'>x</a> {{1}} $x$"
)


@pytest.fixture
def portal(make_portal: Callable[..., PracticePortal]) -> PracticePortal:
    """Make a portal with a planted secret."""
    return make_portal(activities=300, deleted=[7], refused=[9], secret=SECRET)


@pytest.fixture
def panel(portal: PracticePortal) -> b24.LookupPanel:
    """Make a panel on the practice portal."""
    return b24.LookupPanel(portal)


def everything(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """Find a widget and all that is in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def find(panel: b24.LookupPanel, name: str) -> Any:
    """Find a widget of a panel by its description."""
    (found,) = [w for w in everything(panel) if getattr(w, "description", "").startswith(name)]
    return found


def shown(panel: b24.LookupPanel) -> str:
    """Return all HTML that a panel shows, but for its style."""
    values = [w.value for w in everything(panel) if isinstance(w, widgets.HTML)]
    return "\n".join(value for value in values if "<style>" not in value)


def displayed(panel: b24.LookupPanel) -> str:
    """Return the same, and what is shown where no kernel runs."""
    return f"{shown(panel)}\n{panel._repr_mimebundle_()['text/html']}"


def press_enter(panel: b24.LookupPanel, text: str, name: str = "Activities") -> None:
    """Type into a field and press Enter, which a browser tells by such a message."""
    field = find(panel, name)
    field.value = text
    data = {"method": "custom", "content": {"event": "submit"}}
    field.comm.handle_msg({"content": {"data": data}, "buffers": []})


def rows(panel: b24.LookupPanel) -> list[str]:
    """Return the names of the buttons of the rows."""
    names = [getattr(w, "description", "") for w in everything(panel)]
    return [name for name in names if name.startswith("Show activity")]


class Tags(HTMLParser):
    """Collects the tags and attributes of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self.found.append((tag, dict(attrs)))


def assert_harmless(html: str) -> None:
    """Check that HTML runs nothing, and links to nothing but the portal."""
    for tag, attributes in Tags(html).found:
        assert tag not in ("script", "img", "iframe", "style", "link", "form", "svg")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert re.match(r"http://127\.0\.0\.1:\d+/crm/", attributes.get("href") or "", re.A) or (
            "href" not in attributes
        )


def test_lookup__shows(panel: b24.LookupPanel) -> None:
    """A look-up sets the traits and shows the rows; missing ids are named, with their reason."""
    seen: list[Any] = []
    panel.observe(lambda change: seen.append((change["name"], change["new"])), ["busy", "message"])
    panel.lookup("5-9")
    assert panel.ids == [5, 6, 7, 8, 9]
    assert panel.frame.index.tolist() == [5, 6, 8]
    assert panel.message == "3 activities. No record: 7, 9."
    assert seen == [("busy", True), ("message", panel.message), ("busy", False)]
    assert panel.history == [[5, 6, 7, 8, 9]]
    assert "Not found): 7" in shown(panel)
    assert "crm.activity.configurable.get for this activity provider): 9" in shown(panel)
    assert len(rows(panel)) == 3


def test_ids__looked_up_at_once(portal: PracticePortal) -> None:
    """Ids given to the panel are there when it is made; a single one with its card."""
    panel = b24.LookupPanel(portal, 5, tz="Asia/Tokyo")
    assert panel.frame.index.tolist() == [5]
    assert str(panel.frame["CREATED"].dt.tz) == "Asia/Tokyo"
    assert "JST" in shown(panel)


@pytest.mark.parametrize("how", ["button", "enter"])
def test_field__looks_up(panel: b24.LookupPanel, how: str) -> None:
    """The button and Enter look up what the field says."""
    if how == "enter":
        press_enter(panel, "5, 8")
    else:
        find(panel, "Activities").value = "5, 8"
        find(panel, "Look up").click()
    assert panel.frame.index.tolist() == [5, 8]
    assert find(panel, "Look up").disabled is False


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ("<b>rubbish</b>", "neither an id (999) nor a range (1-200)"),
        ("  ", "No ids; type some, such as 999 or 1-20, 35"),
        ("9-5", "ends before it begins"),
        ([1, True], "True at position 1"),
        (None, "NoneType was given"),
        (0, "0 is not an id"),
    ],
)
def test_lookup__rubbish(
    panel: b24.LookupPanel, portal: PracticePortal, ids: object, words: str
) -> None:
    """Rubbish is refused in words, without a traceback, a request or the last result."""
    panel.lookup([5])
    sent = posts(portal)
    panel.lookup(ids)
    assert words in panel.message
    assert (panel.frame, panel.ids, panel.busy) == (None, [], False)
    assert posts(portal) == sent
    assert_harmless(shown(panel))
    assert 'role="alert"' in shown(panel)


def test_lookup__portal_down(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """A portal that is down is said in words, with what to do next."""
    portal.server.stop()
    panel.lookup(5)
    assert panel.message == (
        "No connection to 127.0.0.1. Check the connection to the portal, then look up again."
    )
    assert panel.frame is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("NO_AUTH_FOUND", "Check the webhook"),
        ("insufficient_scope", "scope 'crm'"),
        ("OVERLOAD_LIMIT", "ask the portal's administrator"),
    ],
)
def test_lookup__refused(
    panel: b24.LookupPanel, portal: PracticePortal, code: str, words: str
) -> None:
    """What the portal refuses is said in words, with what to do next."""
    portal.server.faults.append(Fault(code))
    panel.lookup(5)
    assert words in panel.message
    assert SECRET not in panel.message


@pytest.mark.parametrize("portal", [None, f"https://acme/{SECRET}", f"ftp://a/rest/1/{SECRET}/", 5])
def test_lookup__no_portal(portal: Any) -> None:
    """A panel without a right portal says so when it is used, and not what the secret is."""
    panel = b24.LookupPanel(portal)
    panel.lookup(5)
    assert len(panel.message) > 20
    assert SECRET not in panel.message


def test_lookup__ends_early(panel: b24.LookupPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens, the panel is free again."""

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lookup, "read_activities", interrupt)
    with pytest.raises(KeyboardInterrupt):
        panel.lookup(5)
    assert not panel.busy
    assert "ended early" in panel.message


def test_lookup__notes(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """What would be a warning is said in the panel."""
    portal.server.touch(5, OWNER_ID="<i>abc</i>")
    panel.lookup(5)
    assert "OWNER_ID" in shown(panel)
    assert "&lt;i&gt;abc" in shown(panel)


def test_cancel__ends_the_read(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Cancel ends a look-up between two answers, and says how far it was."""
    (bar,) = [w for w in everything(panel) if isinstance(w, widgets.IntProgress)]
    cancel, seen = find(panel, "Cancel"), []

    def click(change: dict[str, Any]) -> None:
        if change["new"] == 50:
            seen.append(cancel.layout.display)
            cancel.click()

    bar.observe(click, "value")
    panel.lookup("1-300")
    assert panel.message == (
        "Cancelled: 50 of 300 activities had been received and kept. Look up again to go on."
    )
    assert panel.frame is None
    assert (seen, cancel.layout.display) == ([None], "none")


async def _until(panel: b24.LookupPanel, *, busy: bool) -> None:
    """Wait until a panel is busy, or free."""
    changed = asyncio.Event()
    panel.observe(lambda _: changed.set(), "busy")
    while panel.busy is not busy:
        await asyncio.wait_for(changed.wait(), 60)
        changed.clear()


def test_button__in_an_event_loop(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Where an event loop runs the button returns at once; the traits change in its thread."""
    portal.server.faults.append(Fault("hang", ids=[250]))

    async def use() -> None:
        find(panel, "Activities").value = "1-300"
        find(panel, "Look up").click()
        assert panel.busy
        assert find(panel, "Look up").disabled
        press_enter(panel, "3")  # does nothing while the panel is busy
        while not posts(portal):
            await asyncio.sleep(0)
        find(panel, "Cancel").click()  # no answer comes that could be waited for
        await _until(panel, busy=False)
        assert panel.message.startswith("Cancelled")
        press_enter(panel, "3")
        await _until(panel, busy=False)
        assert panel.frame.index.tolist() == [3]

    asyncio.run(use())


@pytest.mark.parametrize(("name", "late"), [("Activities", "1-4"), ("Subject", "planted")])
def test_enter__text_that_comes_late(
    panel: b24.LookupPanel, portal: PracticePortal, name: str, late: str
) -> None:
    """What a browser sends of fast typing after Enter counts; what is typed later does not."""
    for number in range(1, 5):
        portal.server.touch(number, SUBJECT="planted")

    async def use() -> None:
        field = find(panel, name)
        press_enter(panel, late[:-1], name)
        field.value = late
        assert panel.busy
        await _until(panel, busy=False)
        assert sorted(panel.ids) == [1, 2, 3, 4]
        field.value = f"{late}0"
        assert not panel.busy

    asyncio.run(use())


def test_click__choice_that_comes_late(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """A choice that a browser sends after the click counts, whatever the field was before it."""
    portal.server.touch(1, PROVIDER_ID="ZOOM", SUBJECT="planted")
    portal.server.touch(2, PROVIDER_ID="VOXIMPLANT_CALL", SUBJECT="planted")

    async def use() -> None:
        find(panel, "Subject").value = "planted"
        choice = find(panel, "Type")
        choice.value = "ZOOM"
        find(panel, "Find").click()
        choice.value = "VOXIMPLANT_CALL"
        await _until(panel, busy=False)
        assert panel.ids == [2]

    asyncio.run(use())


def test_lookup__ends_the_one_before(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """A look-up from code takes the place of the one that the button began."""
    portal.server.faults.append(Fault("hang", ids=[250]))

    async def use() -> None:
        press_enter(panel, "1-300")
        panel.lookup([4])
        assert panel.frame.index.tolist() == [4]
        assert not panel.busy
        for thread in threading.enumerate():
            if thread.name == "b24frames panel":
                await asyncio.to_thread(thread.join)

    asyncio.run(use())
    assert panel.frame.index.tolist() == [4]
    assert panel.history == [[4]]


def test_table__sorted_and_paged(panel: b24.LookupPanel) -> None:
    """Rows are sorted as chosen, and shown page by page."""
    panel.lookup("60, 1-5, 10-40")
    assert rows(panel)[0].startswith("Show activity 60:")
    assert "1–20 of 37" in shown(panel)
    find(panel, "Sort by").value = "ID"
    find(panel, "Next").click()
    assert "21–37 of 37" in shown(panel)
    assert find(panel, "Next").disabled
    assert rows(panel)[-1].startswith("Show activity 60:")
    find(panel, "Descending").value = True
    assert rows(panel)[0].startswith("Show activity 60:")
    assert find(panel, "Previous").disabled


@pytest.mark.parametrize("by", ["Subject", "Type", "Start", "Deadline", "Last updated"])
def test_table__sorted_like_pandas(panel: b24.LookupPanel, by: str) -> None:
    """Every order holds all rows, those without a value last."""
    panel.lookup("1-20")
    find(panel, "Sort by").label = by
    numbers = [int(re.findall(r"\d+", name)[0]) for name in rows(panel)]
    assert sorted(numbers) == panel.frame.index.tolist()
    column = {"Subject": "SUBJECT", "Start": "START_TIME", "Deadline": "DEADLINE"}.get(by)
    if column:
        values = panel.frame.loc[numbers, column]
        values = values.str.casefold() if by == "Subject" else values
        assert values.dropna().is_monotonic_increasing
        assert not values.isna().iloc[: values.notna().sum()].any()


def test_row__card(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """A row's button shows the activity in detail."""
    portal.server.touch(
        5,
        SUBJECT="Call & talk",
        TYPE_ID="2",
        PROVIDER_ID="VOXIMPLANT_CALL",
        ORIGIN_ID="VI_1",
        OWNER_TYPE_ID="2",
        OWNER_ID="77",
        DIRECTION="1",
        RESULT_STREAM="4",
        CREATED="2024-03-01T10:00:00+03:00",
        START_TIME="2024-03-01T10:00:00+03:00",
        END_TIME="2024-03-01T10:01:40+03:00",
        DESCRIPTION="[b]bold[/b]",
        DESCRIPTION_TYPE="2",
        SETTINGS={"MISSED_CALL": True},
    )
    panel.lookup("1-5")
    assert "<article" not in shown(panel)
    (button,) = [
        w for w in everything(panel) if getattr(w, "description", "")[:16] == rows(panel)[4][:16]
    ]
    button.click()
    card = shown(panel)
    for text in ("Call &amp; talk", ">call<", "incoming", "missed call", "deal 77", "0:01:40"):
        assert text in card
    assert f'href="{portal.address}/crm/deal/details/77/"' in card
    assert "2024-03-01 07:00 UTC" in card
    assert ">bold</div>" in card
    assert "<summary>SETTINGS</summary>" in card
    assert_harmless(card)


def test_texts__escaped(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Markup in the portal's texts stays text, wherever it is shown."""
    fields = "SUBJECT PROVIDER_ID PROVIDER_TYPE_ID LOCATION DESCRIPTION PROVIDER_DATA".split()
    for kind in ("1", "2", "3"):
        texts = dict.fromkeys(fields, HOSTILE)
        portal.server.touch(
            5,
            **texts,
            DESCRIPTION_TYPE=kind,
            SETTINGS={HOSTILE: HOSTILE},
            PROVIDER_PARAMS=[HOSTILE],
        )
        find(panel, "Refresh").click()
        panel.lookup(5)
        html = displayed(panel)
        assert "&lt;script&gt;" in html
        assert_harmless(html)


@pytest.mark.parametrize(
    "fields",
    [
        {"SUBJECT": "half \ud83d", "DESCRIPTION": "half \ud83d", "PROVIDER_ID": "half \ud83d"},
        {"LOCATION": "half \ud83d", "SETTINGS": {"half \ud83d": ["half \ud83d"]}},
        {"SETTINGS": [[1], [2, [3]], None], "PROVIDER_PARAMS": [None]},
        {"START_TIME": "0001-01-01T00:00:00+00:00", "END_TIME": "9998-01-01T00:00:00+00:00"},
        dict.fromkeys(b24.schema.COLUMNS[1:]),
        dict.fromkeys(b24.schema.COLUMNS[1:], ""),
        {"PROVIDER_DATA": "[" * 100_000},
        {"DESCRIPTION": "<![x]> &#" + "1" * 5000, "DESCRIPTION_TYPE": "3"},
    ],
)
def test_card__extreme_values(
    panel: b24.LookupPanel, portal: PracticePortal, fields: dict[str, Any]
) -> None:
    """Whatever a record holds, it is shown, in messages that can be sent."""
    portal.server.touch(5, **fields)
    panel.lookup(5)
    assert "<article" in shown(panel)
    for one in everything(panel):
        json.dumps(one.get_state(), ensure_ascii=False, default=str).encode("utf-8")
    panel._repr_mimebundle_()["text/html"].encode("utf-8")


def test_refresh__asks_again(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Where the data come from is said, and Refresh asks the portal again."""
    panel.lookup("1-3")
    assert "3 from the portal" in shown(panel)
    panel.lookup("1-4")
    assert "3 from the cache (the oldest read just now); 1 from the portal" in shown(panel)
    portal.server.touch(2, SUBJECT="changed")
    find(panel, "Refresh").click()
    assert panel.frame.loc[2, "SUBJECT"] == "changed"
    assert "4 from the portal" in shown(panel)


def test_refresh__another_portal(
    make_portal: Callable[..., PracticePortal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the default portal has become another, Refresh does not ask it for the same ids."""
    ours, other = make_portal(activities=20), make_portal(activities=20)
    monkeypatch.setenv("B24_WEBHOOK_URL", ours.url)
    panel = b24.LookupPanel()
    panel.lookup("1-3")
    monkeypatch.setenv("B24_WEBHOOK_URL", other.url)
    find(panel, "Refresh").click()
    assert panel.message.startswith(f"This frame was read from {ours.address}")
    assert other.address in panel.message
    assert posts(other) == 0
    panel.lookup("1-3")
    assert panel.frame.attrs["b24"]["portal"] == other.address


def test_history__bounded(panel: b24.LookupPanel) -> None:
    """The last hundred look-ups are kept; one of them can be chosen again."""
    panel.lookup("1-3")
    for number in range(101):
        panel.lookup([301 + number % 3])
    assert len(panel.history) == 100
    panel.history[-1].append(0)
    assert panel.history[-1] == [302]
    recent = find(panel, "Recent")
    assert [text for text, _ in recent.options[1:]] == ["302", "301", "303"]
    assert recent.label == "look-ups"
    recent.value = [303]
    assert panel.ids == [303]
    assert find(panel, "Activities").value == "303"


def test_history__alike(panel: b24.LookupPanel) -> None:
    """Of two long look-ups that look alike in the list, it has the newer."""
    ids = [*range(1, 100, 2)]
    for last in (200, 300):
        panel.lookup([*ids, last])
    recent = find(panel, "Recent")
    assert [choice for _, choice in recent.options[1:]] == [[*ids, 300]]


def test_code__reads_the_same(
    panel: b24.LookupPanel, portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code to copy gives the same frame, and holds no secret."""
    panel.lookup("1-6, 20")
    find(panel, "Copy as code").value = True
    code = find(panel, "Code").value
    assert SECRET not in code
    monkeypatch.setenv("B24_WEBHOOK_URL", portal.url)
    names: dict[str, Any] = {}
    exec(code, names)
    pd.testing.assert_frame_equal(names["df"], panel.frame)
    find(panel, "Copy as code").value = False
    assert find(panel, "Code").value == ""


def test_save__files(
    panel: b24.LookupPanel,
    portal: PracticePortal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The frame is saved beside the notebook; a spreadsheet executes nothing of it."""
    monkeypatch.chdir(tmp_path)
    portal.server.touch(5, SUBJECT="=1+1")
    panel.lookup("5-6")
    find(panel, "Save CSV").click()
    find(panel, "Save CSV").click()
    (one, other) = tmp_path.glob("*.csv")
    assert one.read_text("utf-8") == other.read_text("utf-8")
    assert ",'=1+1," in one.read_text("utf-8")
    pytest.importorskip("pyarrow", reason="parquet needs it")
    find(panel, "Save parquet").click()
    (parquet,) = tmp_path.glob("*.parquet")
    assert f"2 rows saved as {parquet.name}" in shown(panel)
    assert pd.read_parquet(parquet)["SUBJECT"].iloc[0] == "=1+1"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets not everybody make links")
def test_save__links(
    panel: b24.LookupPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that somebody put into the folder is not followed, wherever it leads."""

    class Noon(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Noon:
            return cls(2024, 1, 1, 12, tzinfo=tz)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "datetime", Noon)
    Path("activities-20240101-120000.csv").symlink_to(tmp_path / "elsewhere")
    panel.lookup("5-6")
    find(panel, "Save CSV").click()
    assert not (tmp_path / "elsewhere").exists()
    assert "2 rows saved as activities-20240101-120000-2.csv" in shown(panel)
    assert len(pd.read_csv("activities-20240101-120000-2.csv")) == 2


def test_save__not_possible(
    panel: b24.LookupPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be saved is said in words."""
    monkeypatch.chdir(tmp_path)
    panel.lookup(5)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", refuse)
    find(panel, "Save CSV").click()
    assert "Not saved: No space left on device." in shown(panel)


def test_static__last_result(panel: b24.LookupPanel) -> None:
    """Beside the widget there is the last result, for pages without a kernel."""
    assert "Nothing has been looked up yet" in panel._repr_mimebundle_()["text/html"]
    panel.lookup("1-52")
    assert "The first" not in panel._repr_mimebundle_()["text/html"]
    panel.lookup("1-60")
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "Comments: Globex &amp; Sons" in bundle["text/html"]
    assert "The first 50 of 58 rows" in bundle["text/html"]
    assert bundle["text/html"].count("<tr>") == 1 + 50
    assert bundle["text/plain"] == "LookupPanel('58 activities. No record: 7, 9.')"


def test_state__no_secret(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """The state that a notebook saves holds no secret, whatever was done."""
    panel.find([("ID", "<", 9)])
    find(panel, "Show activity 2").click()
    panel.lookup("1-9")
    find(panel, "Copy as code").value = True
    found = [json.dumps(w.get_state(), default=str) for w in everything(panel)]
    portal.server.faults.append(Fault("NO_AUTH_FOUND"))
    find(panel, "Refresh").click()
    found += [json.dumps(w.get_state(), default=str) for w in everything(panel)]
    found += [repr(panel), str(panel._repr_mimebundle_())]
    assert "/rest/" not in "".join(found)
    assert SECRET not in "".join(found)


@pytest.mark.parametrize("start", ["https://", ""])
def test_field__no_address(panel: b24.LookupPanel, start: str) -> None:
    """An address is not left in the field, whose text a notebook saves; Enter is not needed."""
    find(panel, "Activities").value = f"{start}acme.bitrix24.com/rest/1/{SECRET}/"
    assert find(panel, "Activities").value == ""
    assert 'role="alert"' in shown(panel)
    assert "B24_WEBHOOK_URL" in shown(panel)
    assert SECRET not in "".join(json.dumps(w.get_state(), default=str) for w in everything(panel))


@given(st.lists(st.integers(1, 2**63 - 1), unique=True, min_size=1))
def test_ids_text__round_trip(ids: list[int]) -> None:
    """Ids as text, and as code, name the same ids."""
    assert parse_id_text(ids_text(ids)) == ids
    assert list(eval(ids_code(ids))) == ids


@given(st.text() | st.text("<>/abc='\"&;[]*ul li\n"), st.sampled_from([None, 0, 1, 2, 3]))
def test_description__any_text(text: str, kind: int | None) -> None:
    """Any description gives a text, and a card that is harmless."""
    frame = pd.DataFrame({"ID": ["5"], "DESCRIPTION": [text], "SUBJECT": [text]})
    raw = frame.reindex(columns=b24.schema.COLUMNS).assign(DESCRIPTION_TYPE=str(kind or 0))
    typed = raw.b24.typed(on_bad_value="warn").set_index("ID")
    now = pd.Timestamp("2026-01-01", tz="UTC")
    assert_harmless(card_html(typed, 5, "https://acme.bitrix24.com", now, ENGLISH))
    assert_harmless(static_html(typed, text, ENGLISH))
    assert isinstance(description_text(text, kind, ENGLISH), str)


@pytest.mark.parametrize(
    ("text", "kind", "plain"),
    [
        ("a  <b>b</b><br>c<p>d</p>", 3, "a b\nc\nd"),
        ("<style>p{}</style>x<script>y", 3, "x"),
        ('<a href="https://e.org/">on</a> <a href="data:x">no</a>', 3, "on (https://e.org/) no"),
        ("<ul><li>one<li>two</ul>", 3, "• one\n• two"),
        ("<p title='a>b'>1 &lt; 2<![if x]>&nbsp;<o:p>3</o:p><!-- <b>4 -->", 3, "1 < 2\xa03"),
        ("<tr><td>a</td><td>b</td></tr><A HREF = HTTPS://e.org/?a&amp;b>c</A>&#12345678;", 3,
         "a  b\nc (HTTPS://e.org/?a&b)&#12345678;"),
        ("[url=https://e.org]here[/url] [user=3]Ivan[/user] [1] [draft]", 2,
         "here (https://e.org) Ivan [1] [draft]"),
        ("<b>[b]</b>", 1, "<b>[b]</b>"),
        ("x" * 10_001, 1, "x" * 10_000 + "… (1 character more in the frame)"),
    ],
)  # fmt: skip
def test_description__text(text: str, kind: int, plain: str) -> None:
    """Markup is reduced to what a reader sees."""
    assert description_text(text, kind, ENGLISH) == plain


@pytest.mark.parametrize(
    ("part", "kind"),
    [(part, 2) for part in (" ", "[url=x]", "[url=", "[b=", " \n")]
    + [(part, 3) for part in ("<a ", "<a x=", "<a href='", "<!--", "<!", "<a \"'", "<title><")],
)
def test_description__long(part: str, kind: int) -> None:
    """A text that a stranger made to be slow is read at once: otherwise this would take hours."""
    assert "end" in description_text(f"end {part * (500_000 // len(part))} end", kind, ENGLISH)


@pytest.mark.parametrize(
    ("address", "kind", "path"),
    [
        ("https://acme.bitrix24.com", 3, "https://acme.bitrix24.com/crm/contact/details/5/"),
        ("https://acme.bitrix24.com", 130, "https://acme.bitrix24.com/crm/type/130/details/5/"),
        ("https://acme.bitrix24.com", 1031, None),
        ("https://acme.bitrix24.com", 14, None),
        ("javascript:alert(1)//", 3, None),
    ],
)
def test_card__owner_on_own_host(address: str, kind: int, path: str | None) -> None:
    """Links lead to pages of the portal, or nowhere."""
    frame = pd.DataFrame({"ID": ["7"], "OWNER_TYPE_ID": [str(kind)], "OWNER_ID": ["5"]})
    typed = frame.reindex(columns=b24.schema.COLUMNS).b24.typed().set_index("ID")
    html = card_html(typed, 7, address, pd.Timestamp("2026-01-01", tz="UTC"), ENGLISH)
    links = [attributes.get("href") for tag, attributes in Tags(html).found if tag == "a"]
    assert links == ([path] if path else [])


def test_find__newest_first(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """A search shows the newest of what it finds, says how many there are, and is no look-up."""
    panel.find([("ID", ">", 20)])
    every = b24.find_activities([("ID", ">", 20)], portal, limit=200)
    pd.testing.assert_frame_equal(panel.frame, every)
    assert panel.message == "The 200 newest of 280 activities."
    assert panel.ids == every.index.tolist() == sorted(panel.ids, reverse=True)
    assert rows(panel)[0].startswith("Show activity 300:")
    assert (panel.busy, panel.history) == (False, [])
    panel.find([("ID", "<", 8)])
    assert panel.message == "6 activities found."
    panel.find([("ID", ">", 1000)])
    assert (panel.message, panel.ids) == ("0 activities found.", [])


@pytest.mark.parametrize("how", ["button", "enter"])
def test_search__form(panel: b24.LookupPanel, portal: PracticePortal, how: str) -> None:
    """Days, type, responsible user and text together find what they say, in the panel's zone."""
    every = b24.find_activities(None, portal, tz="Asia/Tokyo")
    panel = b24.LookupPanel(portal, tz="Asia/Tokyo")
    middle = every[every["PROVIDER_ID"].eq("CRM_TODO") & every["SUBJECT"].str.len().gt(5)].iloc[3]
    day, text = middle["CREATED"].date(), middle["SUBJECT"][:4].upper()
    find(panel, "Created from").value = find(panel, "to").value = day
    find(panel, "Type").label = "to-do"
    find(panel, "Responsible").value = f" {middle['RESPONSIBLE_ID']}"
    find(panel, "Subject").value = text
    if how == "button":
        find(panel, "Find").click()
    else:
        press_enter(panel, text, "Subject")
    wanted = every[
        (every["CREATED"].dt.date == day)
        & (every["PROVIDER_ID"] == "CRM_TODO")
        & (every["RESPONSIBLE_ID"] == middle["RESPONSIBLE_ID"])
        & every["SUBJECT"].str.lower().str.contains(text.lower(), regex=False)
    ]
    assert panel.frame.index.tolist() == wanted.index[::-1].tolist()
    assert middle.name in panel.frame.index


def test_search__days_turned(panel: b24.LookupPanel) -> None:
    """A first day after the last one is told at once, until it is mended."""
    first, last = find(panel, "Created from"), find(panel, "to")
    first.value = date(2026, 10, 2)
    assert 'role="alert"' not in shown(panel)
    last.value = date(2026, 10, 1)
    assert "The first day is after the last one" in shown(panel)
    assert 'role="alert"' in shown(panel)
    last.value = date(2026, 10, 2)
    assert 'role="alert"' not in shown(panel)
    last.value = date(202, 10, 1)
    assert 'role="alert"' not in shown(panel)
    last.value = date(2026, 10, 1)
    assert 'role="alert"' in shown(panel)
    last.value = None
    assert 'role="alert"' not in shown(panel)


def test_search__empty_form(panel: b24.LookupPanel) -> None:
    """Without a condition the newest activities are shown; the list of types shows its choice."""
    assert (find(panel, "Type").index, find(panel, "Type").label) == (0, "any")
    find(panel, "Find").click()
    assert panel.message == "The 200 newest of 299 activities."


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ([("RESPONSIBLE_ID", "==", "<b>Anna</b>")], "RESPONSIBLE_ID is compared with "),
        ([("CREATION", "==", 1)], "'CREATION' is not a field"),
        ([], "An empty list was given"),
        ("1-3", "A str was given"),
    ],
)
def test_find__wrong_filters(
    panel: b24.LookupPanel, portal: PracticePortal, filters: Any, words: str
) -> None:
    """Wrong conditions are refused in a sentence, without a request or the last result."""
    panel.lookup([5])
    sent = posts(portal)
    panel.find(filters)
    assert panel.message.startswith(words)
    assert (panel.frame, panel.ids, panel.busy, posts(portal)) == (None, [], False, sent)
    assert_harmless(shown(panel))


def test_refresh__searches_again(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """After a search, Refresh searches again."""
    panel.find([("SUBJECT", "contains", "planted")])
    assert panel.ids == []
    portal.server.touch(5, SUBJECT="a Planted subject")
    find(panel, "Refresh").click()
    assert panel.ids == [5]


def test_cancel__ends_a_search(make_portal: Callable[..., PracticePortal]) -> None:
    """Cancel ends a search between two answers."""
    panel = b24.LookupPanel(make_portal(activities=300))
    (bar,) = [w for w in everything(panel) if isinstance(w, widgets.IntProgress)]
    bar.observe(lambda _: find(panel, "Cancel").click(), "value")
    panel.find([("SUBJECT", "!=", "x")])
    assert re.fullmatch(r"Cancelled: \d+ activit\w+ had been received and kept\.", panel.message)
    assert panel.frame is None


def test_code__searches_the_same(
    panel: b24.LookupPanel, portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code to copy of a search gives the same frame, and holds no secret."""
    day = pd.Timestamp("2022-01-20", tz="Asia/Tokyo")
    hidden = f"https://acme.bitrix24.com/rest/1/{SECRET}/"
    given = [("OWNER_ID", ">", np.int64(1)), ("TYPE_ID", "in", np.array([2, 6]))]
    given += [("PRIORITY", "in", {2, 3}), ("STATUS", "in", pd.Series([1, 2]))]
    panel.find([("CREATED", "<", day), ("SUBJECT", "!=", hidden), *given])
    find(panel, "Copy as code").value = True
    code = find(panel, "Code").value
    assert SECRET not in code
    monkeypatch.setenv("B24_WEBHOOK_URL", portal.url)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(panel.frame) > 0
    pd.testing.assert_frame_equal(names["df"], panel.frame)


def test_names__after_the_rows(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Names stand in the table, the card and the static result, and not in the frame."""
    panel.lookup("1-3")
    names = panel.frame.b24.names(portal)
    for name in [*names["RESPONSIBLE_NAME"], *names["OWNER_NAME"]]:
        assert displayed(panel).count(f'dir="auto">{escape(name)}</td>') >= 2
    assert "RESPONSIBLE_NAME" not in panel.frame
    find(panel, "Show activity 2").click()
    assert f"<dd>{escape(names.loc[2, 'AUTHOR_NAME'])}</dd>" in shown(panel)
    sent = posts(portal)
    panel.lookup("1-3")
    assert posts(portal) == sent


def test_names__without_the_scope(make_portal: Callable[..., PracticePortal]) -> None:
    """Without the scope the rows stay, and one line says which permission to tick."""
    panel = b24.LookupPanel(make_portal(activities=20, scopes=["crm"], deleted=()))
    panel.lookup("1-6")
    assert panel.message == "6 activities."
    assert len(rows(panel)) == 6
    assert re.search(r'dir="auto">user \d+</td>', shown(panel))
    assert shown(panel).count("&#39;user_brief&#39;") == 1


def test_names__never_block(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """While names are awaited the rows are there, and another look-up takes their place."""
    b24.read_activities(range(1, 5), portal)
    portal.server.faults.append(Fault("hang"))

    async def use() -> None:
        press_enter(panel, "1-3")
        await _until(panel, busy=False)
        assert len(rows(panel)) == 3
        assert 'dir="auto">user ' in shown(panel)
        press_enter(panel, "4")
        await _until(panel, busy=False)
        assert panel.frame.index.tolist() == [4]

    asyncio.run(use())


def test_head__sorts(panel: b24.LookupPanel) -> None:
    """A click on a column's head sorts by it, another turns the order; both are announced."""
    panel.lookup("1-6, 8")
    head = find(panel, "Order by Start")
    head.click()
    assert find(panel, "Sort by").value == "Start"
    assert 'class="b24-Start" aria-sort="ascending"' in shown(panel)
    ascending = rows(panel)
    head.click()
    assert find(panel, "Descending").value
    assert 'class="b24-Start" aria-sort="descending"' in shown(panel)
    assert rows(panel) != ascending
    find(panel, "Order by Responsible").click()
    assert shown(panel).count('aria-sort="none"') == len(HEADS) - 1
    numbers = [int(re.findall(r"\d+", name)[0]) for name in rows(panel)]
    assert not find(panel, "Descending").value
    assert sorted(numbers) == panel.frame.index.tolist()
    names = re.findall(r'b24-Responsible" dir="auto">(.*?)</td>', shown(panel))
    assert names == sorted(names, key=str.casefold)


@pytest.mark.parametrize("by", HEADS)
def test_head__every_column(panel: b24.LookupPanel, by: str) -> None:
    """Whatever column is sorted by, all rows are there and the empty ones come last."""
    panel.lookup("1-20")
    find(panel, f"Order by {by}").click()
    cells = re.findall(rf'<td class="b24-{by}[^>]*>(.*?)</td>', shown(panel))
    assert len(cells) == 18
    assert "" not in cells[: sum(map(bool, cells))]


def test_card__details(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """The card of a call has its communications, its links by name, and its statistics."""
    frame = b24.find_activities([("ORIGIN_ID", "contains", "VI_")], portal)
    calls = frame.b24.calls(portal)
    number = int(calls["CRM_ACTIVITY_ID"].value_counts().index[0])
    panel.lookup([number])
    links = frame.loc[[number]].b24.bindings(portal)
    wanted = [*links.b24.names(portal)["OWNER_NAME"], *links.b24.owner_url.dropna()]
    of_call = calls[calls["CRM_ACTIVITY_ID"] == number]
    assert len(of_call) > 1
    wanted += [str(pd.Timedelta(s, "s").to_pytimedelta()) for s in of_call["CALL_DURATION"]]
    wanted += [*of_call["PHONE_NUMBER"], "<h4>Communications</h4>"]
    for text in wanted:
        assert text in shown(panel) or escape(text) in shown(panel)
    assert shown(panel).count(of_call["PHONE_NUMBER"].iloc[0]) == len(of_call) + 1
    assert_harmless(shown(panel))


def test_card__details_once(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """The details of an activity are asked for when its card is shown, and once."""
    panel.lookup("1-3")
    sent = posts(portal)
    find(panel, "Show activity 2").click()
    assert posts(portal) > sent
    find(panel, "Show activity 1").click()
    sent = posts(portal)
    find(panel, "Show activity 2").click()
    assert posts(portal) == sent
    assert "<h4>Communications</h4>" in shown(panel)


def test_card__owner_once(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """The card links to its owner once, and to every other object that it is linked to."""
    frame = b24.read_activities(range(1, 60), portal, missing="ignore")
    links = frame.b24.bindings(portal)
    number = int(links.index.value_counts().index[0])
    assert len(links.loc[[number]]) > 1
    panel.lookup([number])
    addresses = [a["href"] for tag, a in Tags(shown(panel)).found if tag == "a"]
    assert frame.b24.owner_url[number] in addresses
    assert sorted(addresses) == sorted(links.loc[[number]].assign().b24.owner_url.dropna())
    alone = int(links.index.value_counts().index[-1])
    panel.lookup([alone])
    assert "<h4>Other links</h4>" not in shown(panel)


def test_card__details_refused(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Where the portal is down, the card stays, and a sentence says why it lacks the rest."""
    panel.lookup("1-3")
    portal.server.stop()
    find(panel, "Show activity 2").click()
    assert "<article" in shown(panel)
    assert shown(panel).count("No connection to 127.0.0.1") == 1


def test_cancel__names_and_details(panel: b24.LookupPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel ends what is awaited after the rows; they stay, and a click on a row asks again."""
    gate, asked = threading.Event(), []

    def read_late(_: object) -> pd.DataFrame:
        asked.append(gate.wait(60))
        return pd.DataFrame({"TYPE": ["late"], "VALUE": ["late"], "NAME": ["late"]})

    reads = {"communications": read_late, "links": read_late}
    monkeypatch.setattr(widget, "_UNNOTICED", 0)
    monkeypatch.setattr(results, "name_reads", lambda *_: {"named": read_late})
    monkeypatch.setattr(results, "detail_reads", lambda *_: reads)

    async def use() -> None:
        press_enter(panel, "5")
        await _until(panel, busy=False)
        cancel = find(panel, "Cancel")
        while cancel.layout.display == "none":
            await asyncio.sleep(0)
        assert "Reading names and details" in shown(panel)
        cancel.click()
        assert cancel.layout.display == "none"
        assert "Reading names and details" not in shown(panel)
        assert shown(panel).count("Cancelled: names or details are missing.") == 2
        gate.set()
        for thread in threading.enumerate():
            if thread.name == "b24frames panel":
                await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)

    asyncio.run(use())
    # What was under way came to its end, unseen, and nothing was begun.
    assert asked == [True, True]
    assert "late" not in shown(panel)
    assert panel.message == "1 activity."
    monkeypatch.undo()
    find(panel, "Show activity 5").click()
    assert "<h4>Communications</h4>" in shown(panel)


@pytest.mark.parametrize(
    ("seconds", "text"), [("9223372036854775807", "2562047788015215:30:07"), ("3725", "1:02:05")]
)
def test_card__length_of_a_call(
    panel: b24.LookupPanel, portal: PracticePortal, seconds: str, text: str
) -> None:
    """Whatever length the statistics of a call tell, the card shows it."""
    plant(portal.server, ["CALL_DURATION"], seconds)
    calls = b24.find_activities([("ORIGIN_ID", "contains", "VI_")], portal).b24.calls(portal)
    panel.lookup([int(calls["CRM_ACTIVITY_ID"].iloc[0])])
    assert f'<li dir="auto">{text} ' in shown(panel)


def test_details__hostile(panel: b24.LookupPanel, portal: PracticePortal) -> None:
    """Names, phone numbers and addresses that a stranger chose stay texts."""
    fields = "NAME LAST_NAME SECOND_NAME title name lastName companyTitle VALUE TYPE PHONE_NUMBER"
    plant(portal.server, fields.split(), HOSTILE)
    calls = b24.find_activities([("ORIGIN_ID", "contains", "VI_")], portal, limit=3)
    for number in calls.index:
        panel.lookup([number])
        html = displayed(panel)
        assert html.count("&lt;script&gt;") > 8
        assert_harmless(html)


@pytest.mark.parametrize("field", ["Subject", "Responsible"])
def test_search__no_address(panel: b24.LookupPanel, field: str) -> None:
    """An address is not left in the fields of the search either."""
    find(panel, field).value = f"https://acme.bitrix24.com/rest/1/{SECRET}/"
    assert find(panel, field).value == ""
    assert 'role="alert"' in shown(panel)


PANEL = Path(b24.__file__).parent / "panel"
# Texts in the code that nobody reads in the panel, or that are no language: names, code, formats.
NO_TEXTS = {
    "b24frames panel",
    "import b24frames as b24\n\n",
    "tex2jax_ignore mathjax_ignore",
    "address blockquote div dl dt dd h1 h2 h3 h4 h5 h6 hr ol p pre table tr ul",
}


# What stays in a Russian text: names and code.
NO_ENGLISH = re.compile(
    r"\{\w+\}|B24_WEBHOOK_URL|CSV|parquet|cache=False|REST|LookupPanel\(portal\)|\bID\b"
    r"|Portal.from_oauth|docs/ru/webhook.md"
)


@functools.cache
def phrases_of_the_library() -> str:
    """Return the messages outside the panel, each on one line, with what is put into them."""
    sources = (p.read_text(encoding="utf-8") for p in PANEL.parent.rglob("*.py"))
    text = re.sub(r'"\s+f?"', "", "".join(sources))
    places = {"WEBHOOK_VARIABLE": "B24_WEBHOOK_URL", "what": "webhook", "found": "a web page"}
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text.replace("not a URL; {expected}", "not a URL; expected")


def fields_of(text: str) -> list[str]:
    """Return the names of the places of a text."""
    return sorted({name for _, name, _, _ in string.Formatter().parse(text) if name is not None})


@pytest.mark.parametrize("key", _TABLE)
def test_texts__complete(key: str) -> None:
    """Each text is there in both languages, with the same places, and is used."""
    english, russian = _TABLE[key]
    assert english.strip() == english != ""
    assert russian.strip() == russian != ""
    assert fields_of(english) == fields_of(russian)
    plain = re.sub(NO_ENGLISH, "", russian)
    assert not re.search("[A-Za-z]", plain)
    if "|" in english:
        assert (english.count("|"), russian.count("|")) == (1, 2)
    prefix, _, name = key.rpartition(".")
    if prefix == "error":
        assert issubclass(getattr(b24.errors, name, None) or getattr(builtins, name), Exception)
    elif prefix == "phrase":
        assert english in phrases_of_the_library()
    elif prefix == "column":
        assert name in {*SORTS, "End", "Author", "Created", "Talk", "Priority", "Place", "Provider"}
    else:
        sources = "".join(path.read_text(encoding="utf-8") for path in PANEL.glob("*.py"))
        assert f'"{key.removesuffix("_kept")}' in sources


@pytest.mark.parametrize("path", sorted(PANEL.glob("*.py")), ids=lambda path: path.name)
def test_texts__nowhere_else(path: Path) -> None:
    """No text that people read stands in the panel's code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = [
        re.sub(r"<[^>]*>?|[^<]*>|\{[^}]*\}", "", node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        and id(node) not in skipped and node.value not in NO_TEXTS
    ]  # fmt: skip
    assert [text for text in texts if re.search(r"[a-z]{2,} [a-z]{2,}|[А-Яа-я]", text)] == []


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 дел"), (1, "1 дело"), (2, "2 дела"), (4, "4 дела"), (5, "5 дел"), (11, "11 дел"),
     (12, "12 дел"), (14, "14 дел"), (21, "21 дело"), (22, "22 дела"), (25, "25 дел"),
     (111, "111 дел"), (121, "121 дело"), (1204, "1 204 дела"), (1011, "1 011 дел")],
)  # fmt: skip
def test_texts__russian_plurals(number: int, text: str) -> None:
    """A Russian noun stands in the form that its number wants; spaces do not break."""
    assert Texts("ru").count(number, "activity") == text.replace(" ", "\xa0")


@pytest.mark.parametrize("language", ["de", "EN", None, True, ["ru"], "ru-RU"])
def test_language__refused(language: Any) -> None:
    """Another language is refused at once, and the message says which ones there are."""
    with pytest.raises(ValueError, match="language=.* is not accepted; accepted are 'en', 'ru'"):
        b24.LookupPanel(language=language)


def texts_of(panel: b24.LookupPanel) -> list[str]:
    """Return each text that a panel shows: in HTML, on widgets, and in their choices."""
    found = re.findall(r">([^<]+)<", displayed(panel).replace("\n", " "))
    found += re.findall(r'(?:aria-label|title)="([^"]*)"', displayed(panel))
    for one in everything(panel):
        for name in ("description", "placeholder", "tooltip"):
            found.append(str(getattr(one, name, None) or ""))
        found += [str(label) for label in getattr(one, "_options_labels", ())]
    return [text.strip() for text in found if text.strip()]


def test_language__russian(portal: PracticePortal) -> None:
    """In Russian nothing is left of the English texts: search, rows, card, errors, Cancel, code."""
    panel = b24.LookupPanel(portal, language="ru", tz="Europe/Moscow", max_age=0)
    english = {text for text, russian in _TABLE.values() if text != russian}
    english |= {label for table in (b24.schema.ACTIVITY, b24.schema.CALL) for f in table.values()
                for code, label in f.labels.items() if label != f.russian_labels[code]}  # fmt: skip
    calls = b24.find_activities([("ORIGIN_ID", "contains", "VI_")], portal).b24.calls(portal)
    (bar,) = [w for w in everything(panel) if isinstance(w, widgets.IntProgress)]
    messages = []
    steps: list[Callable[[], object]] = [
        lambda: find(panel, "Найти").click(),
        lambda: panel.lookup("1-30, 60"),
        lambda: find(panel, "Показать дело 2:").click(),
        lambda: find(panel, "Показать код").set_trait("value", True),
        lambda: find(panel, "Обновить").click(),
        lambda: panel.lookup([int(calls["CRM_ACTIVITY_ID"].iloc[0])]),
        lambda: panel.lookup("  "),
        lambda: bar.observe(lambda _: find(panel, "Отмена").click(), "value"),
        lambda: panel.lookup("61-300"),
        lambda: panel.find([("ID", ">", 20)]),
        lambda: portal.server.stop(),
        lambda: panel.lookup([50]),
    ]
    for step in steps:
        step()
        messages.append(panel.message)
        texts = texts_of(panel)
        assert english.isdisjoint(texts)
        assert not [text for text in texts if re.fullmatch(r"(user|deal|contact|lead) \d+", text)]
        assert {attributes.get("lang", "ru") for _, attributes in Tags(displayed(panel)).found} == {
            "ru"
        }
    spoken = [message.replace("\xa0", " ") for message in dict.fromkeys(messages)]
    assert spoken == [
        "Показаны самые новые: 200 из 299 дел.",
        "29 дел. Нет записи: 7, 9.",
        "1 дело.",
        "Проверьте, что задано: номера дел не указаны; введите их, например 999 или 1-20, 35.",
        "Отменено: получено 50 из 240 дел, они в кэше. Чтобы продолжить, повторите запрос.",
        "Отменено: получено 0 дел, они в кэше.",
        "Портал недоступен: нет соединения с 127.0.0.1. Проверьте соединение с порталом и "
        "повторите запрос.",
    ]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("NO_AUTH_FOUND", "скопируйте его адрес заново (docs/ru/webhook.md)."),
        ("INVALID_CREDENTIALS", "Вебхук удалён или заблокирован"),
        ("INSUFFICIENT_SCOPE", "Отметьте право 'crm' среди прав вебхука"),
        ("ACCESS_DENIED", "обратитесь к администратору."),
        ("USER_ACCESS_ERROR", "открыть доступ к приложению."),
        ("EXPIRED_TOKEN", "Передайте в Portal.from_oauth новый токен доступа"),
        ("OVERLOAD_LIMIT", "Ждать бесполезно"),
        ("WEB_PAGE", "либо сеть требует сначала войти"),
    ],
)
def test_language__advice(code: str, advice: str) -> None:
    """In Russian, too, an error says what to do about its code; the portal's words stay."""
    error = error_from_answer({"error": code, "error_description": "Its words"}, method="batch")
    text = Texts("ru").explain(error)
    assert advice in text
    assert "Its words" in text
    assert error.hint[:20] not in text


def test_language__saved_in_russian(
    portal: PracticePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are the same in every language, and the message says where they are."""
    monkeypatch.chdir(tmp_path)
    panel = b24.LookupPanel(portal, 5, language="ru")
    find(panel, "Сохранить CSV").click()
    (path,) = tmp_path.iterdir()
    assert f"Файл {path.name} записан в рабочую папку: 1\xa0строка." in shown(panel)
    pd.testing.assert_frame_equal(panel.frame, b24.read_activities([5], portal))


def test_language__ages() -> None:
    """Ages are told in the language of the panel."""
    ages = [Texts("ru").age(seconds).replace("\xa0", " ") for seconds in (5, 60, 7200, -90_000)]
    assert ages == ["только что", "1 минуту назад", "2 часа назад", "через 1 день"]


def test_observer__raises(panel: b24.LookupPanel) -> None:
    """An observer that raises leaves a panel that looks up again."""

    def fail(_: object) -> None:
        raise RuntimeError("of the observer")

    panel.observe(fail, "frame")
    with pytest.raises(RuntimeError, match="of the observer"):
        panel.lookup("1-3")
    assert not panel.busy
    assert not find(panel, "Look up").disabled
    panel.unobserve(fail, "frame")
    panel.lookup("7")
    assert panel.ids == [7]


def test_observer__begins_a_look_up(panel: b24.LookupPanel) -> None:
    """An observer of the frame sees the message to it, and may look up further."""
    seen: list[str] = []

    def further(_: object) -> None:
        seen.append(panel.message)
        if len(seen) == 1:
            panel.lookup("5-6")

    panel.observe(further, "frame")
    panel.lookup("1-3")
    assert seen[0].startswith("3 activities")
    assert panel.frame is not None
    assert panel.ids == panel.frame.index.tolist() == [5, 6]
    assert panel.message.startswith("2 activities")
    assert panel.history == [[1, 2, 3], [5, 6]]

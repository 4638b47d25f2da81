"""The look-up panel in a real browser: what a person types, presses and sees."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import b24frames as b24
from b24frames.practice import PracticePortal
from b24frames.practice.faults import Fault
from tests.browser.conftest import Shoot
from tests.browser.jupyter import PATIENCE, Lab, Notebook, Voila, webhook_code
from tests.helpers.practice import plant

SECRET = "planted-secret-5e1f"
PANEL = "panel = b24.LookupPanel(portal, cache='cache-{}', tz='Europe/Berlin')\npanel"
HOSTILE = (
    "<script>window.ran=1</script><img src='http://evil.example/x.png' onerror='window.ran=2'>"
    "<a href='javascript:window.ran=3'>click</a> {{7*7}} $x^2$ $$\\frac{1}{2}$$ \\(y\\)"
)
SLOW = {"latency": 0.4}
NOTE_PROGRESS = """() => {
    window.progress = []
    const bar = document.querySelector(".b24-panel .progress-bar")
    new MutationObserver(() => {
        if (!window.progress.includes(bar.style.width)) window.progress.push(bar.style.width)
    }).observe(bar, {attributes: true})
}"""


@pytest.fixture
def portal(
    make_portal: Callable[..., PracticePortal], request: pytest.FixtureRequest
) -> PracticePortal:
    """Make a portal with a planted secret; a test may ask for a slow one."""
    options = {"activities": 300, "deleted": [7], "refused": [9], "secret": SECRET}
    return make_portal(**options, **getattr(request, "param", {}))


@pytest.fixture
def cells(portal: PracticePortal, folder: Path, request: pytest.FixtureRequest) -> list[str]:
    """Return the cells of a notebook with a panel."""
    return [webhook_code(folder, portal.url), PANEL.format(request.node.originalname)]


def expect(locator: Any) -> Any:
    """Wait for what is expected, however slow the machine is."""
    from playwright.sync_api import expect as expect_of_playwright

    expect_of_playwright.set_options(timeout=PATIENCE)
    return expect_of_playwright(locator)


def look_up(page: Any, ids: str, field: str = "Activities") -> None:
    """Type ids and press Enter."""
    field = page.get_by_label(field)
    field.fill(ids)
    field.press("Enter")


def row(page: Any, number: int) -> Any:
    """Find the row of an activity in the table."""
    return page.get_by_role("button", name=re.compile(rf"^Show activity {number}:"))


def card(page: Any, number: int) -> Any:
    """Find the card of an activity."""
    return page.get_by_role("article", name=f"Activity {number}", exact=True)


def check_accessibility(page: Any) -> None:
    """Let axe-core look for what keeps people out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=".b24-panel").response["violations"]
    grave = [v for v in found if v["impact"] in ("serious", "critical")]
    said = [(v["id"], [node["html"][:200] for node in v["nodes"][:3]]) for v in grave]
    assert said == []


def press_until(page: Any, key: str, name: str) -> None:
    """Press a key until the widget of a name has the focus; nothing else moves it."""
    focused = page.evaluate_handle("() => document.activeElement")
    for _ in range(60):
        page.keyboard.press(key)
        focused = page.evaluate(
            "() => { const e = document.activeElement; return (e.labels?.[0]?.textContent || "
            "e.getAttribute('aria-label') || e.textContent || '').trim() }"
        )
        if focused.startswith(name):
            return
    raise AssertionError(f"{key} never led to {name}, but last to {focused}")


def violations(page: Any) -> list[str]:
    """Show what the panel is made of under the strictest rules; return what breaks them."""
    html = page.locator(".b24-panel").first.evaluate("e => e.outerHTML")
    strict = page.context.new_page()
    broken: list[str] = []
    rules = "default-src 'none'; style-src 'unsafe-inline'"
    strict.add_init_script(
        "document.addEventListener('securitypolicyviolation', e => {"
        "(window.broken ||= []).push(e.violatedDirective + ' ' + e.blockedURI)})"
    )

    def answer(route: Any) -> None:
        if route.request.url.endswith("/panel"):
            headers = {"Content-Security-Policy": rules, "Content-Type": "text/html"}
            route.fulfill(body=f"<!doctype html><meta charset=utf-8>{html}", headers=headers)
        else:
            broken.append(route.request.url)
            route.abort()

    strict.route("**/*", answer)
    strict.goto("http://127.0.0.1:1/panel")
    strict.locator(".b24-panel").hover()
    broken += strict.evaluate("() => window.broken || []")
    # Of handlers, newer browsers say nothing before an event calls them.
    broken += strict.evaluate(
        "() => [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"
        ".filter(name => name.startsWith('on'))"
    )
    strict.close()
    return [url for url in broken if not url.endswith("favicon.ico")]


def test_enter__shows_rows(lab: Lab, cells: list[str], shoot: Shoot) -> None:
    """Ids and Enter: the rows are there, the missing ones are named, and pages can be turned."""
    page = lab.open(cells)
    look_up(page, "1-30, 35")
    expect(row(page, 1)).to_be_visible()
    expect(page.get_by_role("status").first).to_contain_text("29 activities. No record: 7, 9.")
    expect(page.get_by_text("1–20 of 29")).to_be_visible()
    shoot(page, "result-light")
    check_accessibility(page)
    page.get_by_role("button", name="Next").click()
    expect(row(page, 35)).to_be_visible()
    page.get_by_label("Sort by").select_option("ID")
    page.get_by_role("button", name="Descending").click()
    expect(page.locator(".b24-table tbody tr").first).to_contain_text("35")


def test_rubbish__refused(lab: Lab, cells: list[str], shoot: Shoot) -> None:
    """A wrong id is refused in words, and the field keeps it."""
    page = lab.open(cells)
    look_up(page, "12, a dozen")
    expect(page.get_by_role("alert")).to_contain_text("'a dozen' is neither an id")
    expect(page.get_by_label("Activities")).to_have_value("12, a dozen")
    shoot(page, "error-light")
    check_accessibility(page)


def test_address__leaves_the_field(lab: Lab, cells: list[str]) -> None:
    """A pasted address is gone from the field at once, and said to be."""
    page = lab.open(cells)
    page.get_by_label("Activities").fill(f"https://acme.bitrix24.com/rest/1/{SECRET}/")
    expect(page.get_by_label("Activities")).to_have_value("")
    expect(page.get_by_role("alert")).to_contain_text("An address is not an id")
    lab.run("docmanager:save")
    assert SECRET not in lab.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("portal", [SLOW], indirect=True)
def test_slow_portal__progress_and_cancel(
    lab: Lab, cells: list[str], portal: PracticePortal, shoot: Shoot
) -> None:
    """While a slow portal is read the bar moves, another cell runs, and Cancel ends it."""
    portal.server.faults.append(Fault("hang", ids=[290]))
    page = lab.open(cells)
    expect(page.get_by_label("Activities")).to_be_visible()
    page.evaluate(NOTE_PROGRESS)
    look_up(page, "1-300")
    expect(page.get_by_role("status").first).to_contain_text("250 of 300 activities")
    expect(page.locator(".b24-panel .progress-bar")).to_have_attribute(
        "style", re.compile(r"width: 83")
    )
    shoot(page, "busy-light")
    check_accessibility(page)
    assert len(page.evaluate("window.progress")) >= 4
    lab.add("print('busy:', panel.busy)")
    expect(page.get_by_text("busy: True").last).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status").first).to_contain_text("Cancelled: 250 of 300")
    expect(page.get_by_role("button", name="Look up")).to_be_enabled()
    look_up(page, "1-250")
    expect(page.get_by_text("248 from the cache")).to_be_visible()


def test_portal_down__said(
    lab: Lab, cells: list[str], portal: PracticePortal, shoot: Shoot
) -> None:
    """A portal that is out of reach is said in a sentence, without a traceback."""
    page = lab.open(cells)
    expect(page.get_by_label("Activities")).to_be_visible()
    portal.server.stop()
    look_up(page, "5")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("o connection to 127.0.0.1")
    expect(alert).to_contain_text("Check the connection")
    shoot(page, "portal-down")
    check_accessibility(page)
    assert "Traceback" not in page.content()


def test_row__card(lab: Lab, cells: list[str], shoot: Shoot) -> None:
    """A row is chosen by the keyboard alone; its card says it all, and links to the owner."""
    page = lab.open(cells)
    look_up(page, "1-30")
    row(page, 2).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(card(page, 3)).to_be_visible()
    link = card(page, 3).get_by_role("link").first
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert link.get_attribute("href").startswith("http://127.0.0.1:")
    row(page, 22).click()
    expect(card(page, 22)).to_contain_text("Owner")
    expect(card(page, 22)).to_contain_text("CET")
    shoot(page, "card-light")
    check_accessibility(page)
    lab.run("apputils:change-theme", {"theme": "JupyterLab Dark"})
    expect(page.locator("body[data-jp-theme-light='false']")).to_be_attached()
    shoot(page, "card-dark")
    check_accessibility(page)
    look_up(page, "rubbish")
    expect(page.get_by_role("alert")).to_be_visible()
    shoot(page, "error-dark")
    check_accessibility(page)
    lab.run("apputils:change-theme", {"theme": "JupyterLab Light"})


def test_search__finds(lab: Lab, cells: list[str], portal: PracticePortal, shoot: Shoot) -> None:
    """Days and a text find what was created then, newest first, with names as soon as they come."""
    found = b24.find_activities(
        [("CREATED", ">=", "2022-01-10"), ("CREATED", "<", "2022-04-01"),
         ("SUBJECT", "contains", "call")], portal, tz="Europe/Berlin",
    )  # fmt: skip
    newest = int(found.index.max())
    name = found[["RESPONSIBLE_ID"]].loc[[newest]].b24.names(portal).iloc[0, 0]
    page = lab.open(cells)
    page.get_by_label("Created from").fill("2022-01-10")
    page.get_by_label("to", exact=True).fill("2022-03-31")
    page.get_by_label("Subject", exact=True).fill("call")
    page.get_by_label("Subject", exact=True).press("Enter")
    expect(page.get_by_role("status")).to_contain_text(f"{len(found)} activities found")
    first = page.locator(".b24-grid tbody tr").first
    expect(first).to_contain_text(str(newest))
    expect(first).to_contain_text(name)
    expect(page.get_by_label("Type", exact=True).locator("option:checked")).to_have_text("any")
    shoot(page, "search-light")
    check_accessibility(page)
    page.get_by_label("Created from").fill("")
    page.get_by_label("to", exact=True).fill("")
    page.get_by_label("Type", exact=True).select_option("to-do")
    page.get_by_label("Responsible").fill("3")
    page.get_by_label("Subject", exact=True).fill("")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("status")).not_to_contain_text(f"{len(found)} activities found")
    every = [("PROVIDER_ID", "==", "CRM_TODO"), ("RESPONSIBLE_ID", "==", 3)]
    count = b24.count_activities(every, portal)
    expect(page.get_by_role("status")).to_contain_text(re.compile(rf"^{count} activit\w+ found"))


def test_head__click_sorts(lab: Lab, cells: list[str], shoot: Shoot) -> None:
    """A click on a column's head sorts, and so do Tab and Enter; the head says how."""
    page = lab.open(cells)
    look_up(page, "1-6, 8")
    head = page.locator(".b24-grid th.b24-Start")
    expect(row(page, 8)).to_be_visible()
    # Names come after the rows, in a new table.
    expect(page.locator(".b24-grid td.b24-Responsible").first).not_to_contain_text("user")
    box = head.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(head).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Order by Start").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    starts = page.locator(".b24-grid td.b24-Start").all_inner_texts()
    assert starts == sorted(starts, reverse=True)
    for name in ("ID", "Subject", "Type", "Start", "Status", "Responsible", "Owner"):
        box = page.locator(f".b24-grid th.b24-{name}").bounding_box()
        button = page.get_by_role("button", name=f"Order by {name}").bounding_box()
        assert abs(box["x"] - button["x"]) < 2
        assert abs(box["width"] - button["width"]) < 3
    shoot(page, "sorted")
    check_accessibility(page)


def test_card__details(lab: Lab, cells: list[str], portal: PracticePortal, shoot: Shoot) -> None:
    """The card of a call gets its communications, links and statistics, also in the dark."""
    frame = b24.find_activities([("ORIGIN_ID", "contains", "VI_")], portal)
    calls = frame.b24.calls(portal).set_index("CRM_ACTIVITY_ID")
    number = int(calls.index.value_counts().index[0])
    page = lab.open(cells)
    look_up(page, str(number))
    for heading in ("Communications", "Links", "Calls"):
        expect(card(page, number).get_by_role("heading", name=heading)).to_be_visible()
    expect(card(page, number)).to_contain_text(calls.loc[number, "PHONE_NUMBER"].iloc[0])
    for link in card(page, number).get_by_role("link").all():
        assert link.get_attribute("rel") == "noopener noreferrer"
        assert link.get_attribute("href").startswith(f"{portal.address}/crm/")
    shoot(page, "details-light")
    check_accessibility(page)
    lab.run("apputils:change-theme", {"theme": "JupyterLab Dark"})
    expect(page.locator("body[data-jp-theme-light='false']")).to_be_attached()
    shoot(page, "details-dark")
    check_accessibility(page)
    lab.run("apputils:change-theme", {"theme": "JupyterLab Light"})


def test_names__without_the_scope(
    lab: Lab, cells: list[str], portal: PracticePortal, shoot: Shoot
) -> None:
    """Without the scope the rows stay, and a line says which permission to tick."""
    portal.server.scopes.discard("user_brief")
    page = lab.open(cells)
    look_up(page, "1-5")
    expect(page.get_by_text("scope 'user_brief'")).to_be_visible()
    expect(row(page, 5)).to_be_visible()
    shoot(page, "no-scope")
    check_accessibility(page)


def test_narrow__fits(lab: Lab, cells: list[str], shoot: Shoot) -> None:
    """In a narrow window nothing sticks out."""
    page = lab.open(cells)
    page.set_viewport_size({"width": 480, "height": 900})
    look_up(page, "20-26")
    row(page, 22).click()
    expect(card(page, 22)).to_be_visible()
    shoot(page, "narrow")
    check_accessibility(page)
    wide = "e => [...e.querySelectorAll('*')].some(c => c.getBoundingClientRect().right > "
    wide += "e.getBoundingClientRect().right + 1 && getComputedStyle(c).position != 'absolute')"
    assert page.locator(".b24-panel").evaluate(wide) is False


def test_frame__in_the_next_cell(lab: Lab, cells: list[str], screenshots: Path) -> None:
    """What was looked up by hand is in the next cell as a frame."""
    page = lab.open(cells)
    look_up(page, "1-3")
    expect(row(page, 3)).to_be_visible()
    lab.add("print(f'rows: {panel.frame.index.tolist()}')")
    expect(page.get_by_text("rows: [1, 2, 3]")).to_be_visible()
    page.screenshot(path=str(screenshots / "next-cell.png"))


def test_hostile_texts__stay_texts(
    lab: Lab, cells: list[str], portal: PracticePortal, page: Any, shoot: Shoot
) -> None:
    """Scripts, images, links and formulas in texts of the CRM are shown, and do nothing."""
    for number, kind in ((4, "1"), (5, "2"), (6, "3")):
        portal.server.touch(
            number, SUBJECT=HOSTILE, DESCRIPTION=HOSTILE, DESCRIPTION_TYPE=kind, LOCATION=HOSTILE,
            PROVIDER_ID=HOSTILE, PROVIDER_TYPE_ID=HOSTILE, SETTINGS={HOSTILE: HOSTILE},
            PROVIDER_DATA=HOSTILE,
        )  # fmt: skip
    fields = "NAME LAST_NAME title name lastName VALUE TYPE PHONE_NUMBER".split()
    plant(portal.server, fields, HOSTILE)
    page = lab.open(cells)
    look_up(page, "4-6")
    for number in (4, 5, 6):
        row(page, number).click()
        expect(card(page, number)).to_contain_text("{{7*7}}")
        expect(card(page, number)).to_contain_text("$x^2$")
        expect(card(page, number).get_by_role("heading", name="Communications")).to_be_visible()
        expect(card(page, number).locator("li").last).to_contain_text("$x^2$")
    for summary in page.locator(".b24-card summary").all():
        summary.click()
    shoot(page, "hostile")
    check_accessibility(page)
    assert violations(page) == []
    assert page.evaluate("window.ran") is None
    assert page.locator(".b24-panel :is(script, img)").count() == 0
    assert page.locator("[href^='javascript']").count() == 0
    assert page.locator("mjx-container, .MathJax").count() == 0
    assert [url for url in page.foreign_requests if "evil" in url] == []


def test_saved_notebook__no_secret_but_the_result(lab: Lab, cells: list[str], shoot: Shoot) -> None:
    """The saved notebook, with its widgets' state, shows the last result and holds no secret."""
    page = lab.open(cells)
    look_up(page, "1-3, 7")
    row(page, 2).click()
    expect(card(page, 2)).to_be_visible()
    page.get_by_role("button", name="Copy as code").click()
    expect(page.get_by_label("Code", exact=True)).to_have_value(re.compile("read_activities"))
    lab.run("docmanager:save")
    text = lab.path.read_text(encoding="utf-8")
    saved = json.loads(text)
    assert "widgets" in saved["metadata"]
    assert SECRET not in text
    outputs = [output["data"] for cell in saved["cells"] for output in cell["outputs"]]
    (static,) = [o for o in outputs if "text/html" in o]
    assert "3 activities. No record: 7." in "".join(static["text/html"])
    expect(page.locator(".b24-fallback")).to_be_hidden()
    # The same notebook where no kernel runs, and nothing of the widgets was kept.
    del saved["metadata"]["widgets"]
    lab.path = lab.path.with_name(f"static-{lab.path.name}")
    lab.path.write_text(json.dumps(saved), encoding="utf-8")
    lab.show()
    expect(page.locator(".b24-fallback")).to_be_visible()
    expect(page.locator(".b24-fallback")).to_contain_text("No record: 7")


def show_a_card(page: Any, name: str, shoot: Shoot) -> None:
    """Look up, choose a row, and see its card, with nothing for where no kernel runs."""
    look_up(page, "1-5")
    row(page, 5).click()
    expect(card(page, 5)).to_be_visible()
    expect(page.locator(".b24-fallback")).to_be_hidden()
    shoot(page, name)
    check_accessibility(page)


def test_voila__panel(voila: Voila, cells: list[str], shoot: Shoot) -> None:
    """In voila the panel works as an application."""
    page = voila.open(cells)
    show_a_card(page, "voila", shoot)


@pytest.mark.parametrize(("name", "width"), [("russian", 1180), ("russian-narrow", 480)])
def test_russian__every_state(
    lab: Lab, folder: Path, portal: PracticePortal, shoot: Shoot, name: str, width: int
) -> None:
    """In Russian every state can be read by everybody: empty, rows, card, error, search, dark."""
    made = PANEL.format(name).replace("'Europe/Berlin'", "'Europe/Moscow', language='ru'")
    page = lab.open([webhook_code(folder, portal.url), made])
    page.set_viewport_size({"width": width, "height": 1000})
    expect(page.get_by_label("Дела")).to_be_visible()
    check_accessibility(page)
    look_up(page, "1-30", "Дела")
    expect(page.get_by_role("status").first).to_contain_text(re.compile("28.дел. Нет записи: 7, 9"))
    page.get_by_role("button", name=re.compile("^Показать дело 20:")).click()
    card = page.get_by_role("article", name="Дело 20", exact=True)
    expect(card.get_by_role("heading", name="Контактные данные")).to_be_visible()
    assert page.locator(".b24-card").get_attribute("lang") == "ru"
    shoot(page, f"{name}-card")
    check_accessibility(page)
    look_up(page, "дюжина", "Дела")
    expect(page.get_by_role("alert")).to_contain_text("Проверьте, что задано")
    shoot(page, f"{name}-error")
    check_accessibility(page)
    page.get_by_label("Создано с").fill("2022-03-31")
    page.get_by_label("по", exact=True).fill("2022-01-10")
    expect(page.get_by_role("alert").first).to_contain_text("Первый день позже последнего")
    shoot(page, f"{name}-turned")
    check_accessibility(page)
    page.get_by_label("по", exact=True).fill("2022-04-30")
    page.get_by_label("Тип", exact=True).select_option("звонок")
    page.get_by_role("button", name="Найти").click()
    expect(page.get_by_role("status").first).to_contain_text(re.compile("Найдено \\d+.дел"))
    expect(page.locator(".b24-grid td.b24-Responsible").first).not_to_contain_text("сотрудник")
    lab.run("apputils:change-theme", {"theme": "JupyterLab Dark"})
    expect(page.locator("body[data-jp-theme-light='false']")).to_be_attached()
    shoot(page, f"{name}-search-dark")
    check_accessibility(page)
    lab.run("apputils:change-theme", {"theme": "JupyterLab Light"})


def test_keyboard__alone(voila: Voila, cells: list[str], shoot: Shoot) -> None:
    """Look up, choose a row, sort, page, search by days and type, copy and save: by keys alone."""
    page = voila.open(cells)
    expect(page.get_by_label("Activities")).to_be_visible()
    press_until(page, "Tab", "Activities")
    page.keyboard.type("1-40")
    page.keyboard.press("Enter")
    expect(row(page, 1)).to_be_visible()
    press_until(page, "Tab", "Order by ID")
    page.keyboard.press("Enter")
    expect(page.locator("th.b24-ID")).to_have_attribute("aria-sort", "ascending")
    page.keyboard.press("Space")
    expect(page.locator("th.b24-ID")).to_have_attribute("aria-sort", "descending")
    press_until(page, "Tab", "Show activity 38:")
    page.keyboard.press("Enter")
    expect(card(page, 38)).to_be_visible()
    press_until(page, "Shift+Tab", "Next")
    page.keyboard.press("Enter")
    expect(row(page, 1)).to_be_visible()
    press_until(page, "Shift+Tab", "Sort by")
    page.keyboard.type("Deadline")
    expect(page.get_by_label("Sort by")).to_have_value("Deadline")
    press_until(page, "Tab", "Copy as code")
    page.keyboard.press("Space")
    expect(page.get_by_label("Code", exact=True)).to_have_value(re.compile("read_activities"))
    shoot(page, "keyboard")
    press_until(page, "Shift+Tab", "Look up")
    press_until(page, "Tab", "Created from")
    page.keyboard.type("03312022")
    press_until(page, "Tab", "to")
    page.keyboard.type("03102022")
    expect(page.get_by_role("alert")).to_contain_text("The first day is after the last one")
    press_until(page, "Shift+Tab", "Look up")
    press_until(page, "Tab", "Created from")
    page.keyboard.type("01102022")
    expect(page.get_by_role("alert")).to_be_hidden()
    press_until(page, "Tab", "Type")
    page.keyboard.type("call")
    press_until(page, "Tab", "Find")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("47 activities found")
    expect(page.get_by_label("Type", exact=True).locator("option:checked")).to_have_text("call")
    check_accessibility(page)


def test_keyboard__cancel_names(
    lab: Lab, cells: list[str], portal: PracticePortal, shoot: Shoot
) -> None:
    """Names that take long are announced, and Cancel ends the wait, by keys alone."""
    cached = PANEL.format("late").replace(
        "panel =", "b24.read_activities(range(1, 6), portal, cache='cache-late')\npanel ="
    )
    page = lab.open([cells[0], cached])
    expect(page.get_by_label("Activities")).to_be_visible()
    portal.server.faults.append(Fault("hang"))
    look_up(page, "1-5")
    expect(row(page, 5)).to_be_visible()
    expect(page.get_by_text("Reading names and details")).to_be_visible()
    shoot(page, "names-awaited")
    check_accessibility(page)
    press_until(page, "Tab", "Cancel")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Cancelled: names or details are missing.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(row(page, 5)).to_be_visible()
    shoot(page, "names-cancelled")
    check_accessibility(page)


def test_rules__nothing_from_elsewhere(lab: Lab, cells: list[str]) -> None:
    """The panel asks nobody but its kernel; it needs no script, font or image, as in a webview."""
    page = lab.open(cells)
    expect(page.get_by_label("Activities")).to_be_visible()
    assert violations(page) == []
    look_up(page, "1-30")
    row(page, 20).click()
    expect(card(page, 20).get_by_role("heading", name="Communications")).to_be_visible()
    page.get_by_role("button", name="Copy as code").click()
    assert violations(page) == []
    assert page.foreign_requests == []
    # Not of the card, which is made anew when names arrive.
    page.locator(".b24-panel").first.evaluate("e => e.setAttribute('onclick', '1')")
    assert violations(page) == ["onclick"]
    page.locator(".b24-panel").first.evaluate(
        "e => e.append(Object.assign(document.createElement('script'), {text: '1'}))"
    )
    assert any("script-src" in what for what in violations(page))


def test_notebook__panel(notebook: Notebook, cells: list[str], shoot: Shoot) -> None:
    """In Notebook 7 the panel works as it does in JupyterLab."""
    page = notebook.open(cells)
    show_a_card(page, "notebook", shoot)
    assert page.foreign_requests == []

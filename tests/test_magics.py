"""`%activity` and `%activities`, in a real IPython shell."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import b24frames as b24
from b24frames.practice import PracticePortal
from tests.helpers.practice import asked

SECRET = "plantedS3cret"


@pytest.fixture
def shell(
    portal: PracticePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    """Start IPython with the extension loaded, and a portal in the variable `portal`."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell(config=config, user_ns={"portal": portal})
    assert shell.run_cell("%load_ext b24frames").success
    yield shell
    shell.restore_sys_module_state()
    # Each would be reset at the end of the process, with all of its garbage collected.
    atexit.unregister(shell.atexit_operations)


def ask(shell: InteractiveShell, line: str) -> pd.DataFrame:
    """Run a line that must go well, and return its result."""
    done = shell.run_cell(line, store_history=True)
    assert done.success
    assert isinstance(done.result, pd.DataFrame)
    return done.result


def refusal(shell: InteractiveShell, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a line that must be refused in one line, and return that."""
    capsys.readouterr()
    done = shell.run_cell(line)
    assert not done.success
    shown = capsys.readouterr()
    assert shown.out == ""
    (said,) = shown.err.strip().splitlines()
    assert said.startswith("UsageError: ")
    return said


def test_activity__gives_the_frame(
    shell: InteractiveShell, portal: PracticePortal, capsys: pytest.CaptureFixture[str]
) -> None:
    """The frame is the cell's result and `_`; a missing id is told in one line."""
    frame = ask(shell, "%activity 12 3-5, 7 12 --portal portal")
    assert frame.index.tolist() == [12, 3, 4, 5]
    assert asked(portal)[:5] == [12, 3, 4, 5, 7]
    assert shell.run_cell("_").result is frame
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("1 of 5 activities")
    assert "7" in told


def test_activity__labels(shell: InteractiveShell) -> None:
    """`--labels` puts names in place of codes, and keeps the rest."""
    plain = ask(shell, "%activity 1-3 --portal portal")
    named = ask(shell, "%activity 1-3 --portal portal --labels")
    assert named["TYPE_ID"].tolist() == ["meeting", "call", "user action"]
    assert list(named.columns) == list(plain.columns)
    assert named["SUBJECT"].equals(plain["SUBJECT"])
    assert named.b24.report is not None
    russian = ask(shell, "%activity 1-3 --portal portal --language ru")
    assert russian["TYPE_ID"].tolist() == ["встреча", "звонок", "пользовательское действие"]


def test_activity__environment(
    shell: InteractiveShell, portal: PracticePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--portal` it is the portal of the environment variable."""
    monkeypatch.setenv("B24_WEBHOOK_URL", portal.url)
    assert ask(shell, "%activity 1").index.tolist() == [1]


def test_activity__practice(shell: InteractiveShell) -> None:
    """`--practice` needs no portal at all."""
    assert ask(shell, "%activity 1-3 --practice").index.tolist() == [1, 2, 3]


@pytest.mark.parametrize("line", ["-h", "1-3 --help"])
def test_activity__usage(
    shell: InteractiveShell,
    portal: PracticePortal,
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`--help` says how it is used, reads nothing, and ends nothing."""
    done = shell.run_cell(f"%activity {line}")
    assert done.success
    assert done.result is None
    shown = capsys.readouterr()
    assert "%activity" in shown.out
    assert "--practice" in shown.out
    assert shown.err == ""
    assert asked(portal) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "required: ids"),
        ("abc --portal portal", "'abc' is neither an id"),
        ("9-3 --portal portal", "ends before it begins"),
        ("0 --portal portal", "not an id"),
        ("-5 --portal portal", "'-5' is neither an id"),
        ("1", "B24_WEBHOOK_URL"),
        ("1 --portal nobody", "the variable is not there"),
        ("1 --portal pd", "the variable is not there"),
        ("1 --portal number", "the variable holds no Portal"),
        ("1 --portal portal --practice", "not allowed with"),
        ("1 --label", "unrecognized arguments: --label"),
        ('1 "', "No closing quotation"),
    ],
)
def test_activity__refused(
    shell: InteractiveShell,
    portal: PracticePortal,
    line: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is not accepted is told in one line, before any request."""
    shell.user_ns["number"] = 7
    assert words in refusal(shell, f"%activity {line}", capsys)
    assert asked(portal) == []


@pytest.mark.parametrize(
    "line",
    [
        f"1 --portal https://acme.bitrix24.com/rest/1/{SECRET}/",
        f"https://acme.bitrix24.com/rest/1/{SECRET}/",
        f"1 --portal acme.bitrix24.com/rest/1/{SECRET}/",
        f"1 --portal {SECRET}",
    ],
)
def test_activity__secret_in_the_cell(
    shell: InteractiveShell, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A webhook in a cell is refused, and not repeated."""
    said = refusal(shell, f"%activity {line}", capsys)
    assert SECRET not in said
    assert "--portal NAME" in said


def test_activity__portal_refuses(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the portal is one line, too, without the secret."""
    with b24.practice_portal(secret="another") as other:
        monkeypatch.setenv("B24_WEBHOOK_URL", f"{other.address}/rest/1/{SECRET}/")
        said = refusal(shell, "%activity 1", capsys)
    assert "Check the webhook" in said
    assert SECRET not in said


def test_activity__help(shell: InteractiveShell) -> None:
    """`%activity?` tells the arguments."""
    told = shell.object_inspect("%activity")
    assert told["found"]
    for argument in ("ids", "--portal NAME", "--practice", "--labels"):
        assert argument in told["docstring"]


def test_activities__gives_the_frame(
    shell: InteractiveShell, portal: PracticePortal, capsys: pytest.CaptureFixture[str]
) -> None:
    """What matches all conditions is the cell's result, whole and named on request."""
    line = "%activities TYPE_ID=call 'ID in 1,2,3,5' CREATED>=2020-01-01 --portal portal --labels"
    frame = ask(shell, line)
    truth = [1, 2, 3, 5]
    calls = [i for i in truth if (portal.server.record(i) or {})["TYPE_ID"] == "2"]
    assert frame.index.tolist() == calls
    assert set(frame["TYPE_ID"]) == {"call"}
    assert capsys.readouterr().err == ""
    few = ask(shell, "%activities ID>0 --limit 2 --portal portal")
    assert few.index.tolist() == [300, 299]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "required: conditions"),
        ("abc --portal portal", "is not a condition"),
        ("DATE_CREATE>=2026-10-01 --portal portal", "'DATE_CREATE' is not a field"),
        ("TYPE_ID=visit --portal portal", "'meeting', 'call'"),
        ("TYPE_ID=call --limit 0 --portal portal", "limit=0"),
        ("TYPE_ID=call --limit x --portal portal", "--limit"),
        ("TYPE_ID=call", "B24_WEBHOOK_URL"),
        ("TYPE_ID=call --portal nobody", "the variable is not there"),
        (f"SUBJECT=https://acme.bitrix24.com/rest/1/{SECRET}/", "--portal NAME"),
        (f"TYPE_ID=call --portal https://acme.bitrix24.com/rest/1/{SECRET}/", "--portal NAME"),
    ],
)
def test_activities__refused(
    shell: InteractiveShell,
    portal: PracticePortal,
    line: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is not accepted is told in one line, before any request, and no webhook repeated."""
    said = refusal(shell, f"%activities {line}", capsys)
    assert words in said
    assert SECRET not in said
    assert portal.server.requests == []


def test_activities__help(shell: InteractiveShell) -> None:
    """`%activities?` tells the arguments."""
    told = shell.object_inspect("%activities")["docstring"]
    for argument in ("conditions", "CREATED>=2026-10-01", "--limit N", "--labels"):
        assert argument in told


def test_activity__plain_ipython(tmp_path: Path) -> None:
    """It works in IPython outside a notebook, and shows the frame."""
    code = "%load_ext b24frames\n%activity 1-3 --practice\nprint(_.index.tolist())\n"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--ipython-dir", str(tmp_path), "--colors=nocolor"],
        input=code,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(b24.__file__).parents[1])},
    )
    assert done.returncode == 0
    assert "[3 rows x " in done.stdout
    assert "[1, 2, 3]" in done.stdout


def test_portal__html() -> None:
    """A portal shows itself in a notebook: address, user, rate; never the secret, never markup."""
    portal: Any = b24.Portal(f"https://acme.bitrix24.com/rest/17/{SECRET}/", limits="enterprise")
    html = portal._repr_html_()
    for text in ("https://acme.bitrix24.com", "17", "250 at once, then 5 a second"):
        assert text in html
    assert SECRET not in html
    portal = b24.Portal("http://127.0.0.1:1/rest/1/x/", limits="self-hosted")
    assert "no limit" in portal._repr_html_()


def test_portal__html_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of a portal is text, whatever is in it."""
    portal: Any = b24.Portal("http://127.0.0.1:1/rest/1/x/")
    monkeypatch.setattr(type(portal), "address", "<img src=x onerror=alert(1)>")
    assert "<img" not in portal._repr_html_()
    assert "&lt;img" in portal._repr_html_()


def test_portal__html_of_a_refused_one() -> None:
    """A portal whose webhook was refused has nothing to show."""
    portal: Any = object.__new__(b24.Portal)
    assert portal._repr_html_() is None

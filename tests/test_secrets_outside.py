"""The secret hunt, outside of the process that reads: saved notebooks, and child processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

import b24frames as b24
from b24frames.practice import PracticePortal
from b24frames.practice.faults import Fault
from tests.helpers.hunt import PLAIN, Hunt, client_of

MakePortal = Callable[..., PracticePortal]

# What a reader does in a notebook, with good and bad luck.
CELLS = [
    """
    import logging, os, sys
    import b24frames as b24
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    frame = b24.read_activities(range(1, 61), progress=True, max_age=0)
    frame.head()
    """,
    "print(frame.b24.report); frame.b24.report",
    "portal = b24.Portal(os.environ['B24_WEBHOOK_URL']); print(portal, vars(portal)); portal",
    "panel = b24.LookupPanel(portal); panel.lookup([1, 2, 7]); panel",
    "b24.read_activities([1], os.environ['B24_WEBHOOK_URL'].replace('/rest/1/', '/rest/2/'))",
    "b24.Portal(os.environ['B24_WEBHOOK_URL'], limits='fast')",
    "%xmode Verbose",
    "b24.read_activities([1], portal.__class__(os.environ['B24_NOBODY']), cache=False)",
    "b24.read_activities([10**9], missing='raise')",
    "portal.call('crm.activity.nope')",
]
SHOWS = "import os; os.environ['B24_WEBHOOK_URL']"


def execute(cells: list[str], folder: Path) -> Any:
    """Run a notebook, go on after errors, and return it as it is saved."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(_dedent(cell)) for cell in cells]
    client = nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", allow_errors=True, store_widget_state=True
    )
    client.execute(cwd=str(folder))
    nbformat.write(book, folder / "saved.ipynb")
    return json.loads((folder / "saved.ipynb").read_text(encoding="utf-8"))


def _dedent(cell: str) -> str:
    return "\n".join(line.strip() for line in cell.strip().splitlines())


@pytest.mark.notebooks
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_notebook__saved_outputs(
    make_portal: MakePortal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither outputs, tracebacks nor widgets that a notebook is saved with show the secret."""
    practice = make_portal(activities=60, deleted=[7], refused=[9], secret=PLAIN)
    monkeypatch.setenv("B24_WEBHOOK_URL", practice.url)
    monkeypatch.setenv("B24_NOBODY", f"https://no-such.invalid/rest/1/{PLAIN}/")
    monkeypatch.setenv("NO_PROXY", "*")
    # The pauses between the attempts at a portal that is not there are of no interest.
    quick = "from b24frames.portal import limits; limits.retry_delay = lambda *_: 0.0"
    notebook = execute([quick, *CELLS, SHOWS], tmp_path)
    shows = notebook["cells"].pop()
    outputs = [cell["outputs"] for cell in notebook["cells"]]
    errors = [o["ename"] for found in outputs for o in found if o["output_type"] == "error"]
    assert errors == [
        "AuthenticationError",
        "ValueError",
        "PortalUnavailableError",
        "MissingActivitiesError",
        "PortalError",
    ]
    text = json.dumps(notebook)
    for shown in ("activities", "Portal(", "urllib3", "application/vnd.jupyter.widget-view+json"):
        assert shown in text
    assert "widgets" in notebook["metadata"]
    found = Hunt()
    found.add("notebook", text)
    assert found.found() == []
    # The hunt would find what the last cell shows.
    found.add("control", json.dumps(shows["outputs"]))
    assert found.found() == [f"control: {PLAIN!r}"]


_TELL = "import json, os, sys; print(json.dumps([sys.argv, sys.orig_argv, dict(os.environ)]))"


class Starting(requests.Session):
    """A session that starts a child process in the middle of each request, and keeps its words."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request."""
        command = [sys.executable, "-S", "-c", _TELL]
        self.told.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return super().request(*args, **options)


_watched: list[list[str]] = []


def _note_events(event: str, arguments: tuple[object, ...]) -> None:
    """Note what is given to other processes, or kept for them, while somebody watches."""
    if _watched and event.startswith(("os.putenv", "os.exec", "os.posix_spawn", "subprocess.")):
        _watched[-1].append(f"{event} {arguments!r}")


sys.addaudithook(_note_events)


def test_child_processes__environment_and_arguments(
    make_portal: MakePortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process started while a portal is asked is told the secret, nor is any environment."""
    practice = make_portal(activities=60, deleted=[7], refused=[9], secret=PLAIN)
    found, events = Hunt(), list[str]()
    _watched.append(events)
    try:
        with (
            Starting() as session,
            closing(client_of(practice, practice.url, session=session)) as p,
        ):
            p.folder = tmp_path
            b24.read_activities(range(1, 51), p, missing="ignore", progress=True)
            practice.server.faults.append(Fault("NO_AUTH_FOUND"))
            with pytest.raises(b24.errors.AuthenticationError):
                b24.read_activities(range(51, 61), p)
        found.add("told", *session.told)
        found.add("events", *events)
        assert len(session.told) == 2
        assert any(event.startswith("subprocess.Popen") for event in events)
        assert found.found() == []
        # The hunt would find both.
        monkeypatch.setenv("PLANTED", PLAIN)
        found.add("control", *events)
        assert found.found() == [f"control: {PLAIN!r}"]
    finally:
        _watched.pop()

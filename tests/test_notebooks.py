"""The notebooks run top to bottom, and what is committed of their output shows nothing it must not.

They need the extra ``notebooks``. Without it they are skipped; where the environment variable
B24FRAMES_REQUIRE names ``notebooks``, that is a failure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.notebooks import FOLDER, run
from tests.helpers.optional import skip_or_fail

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Folders of machines, Windows' too, the names that kernels give to cells, and webhooks.
PATHS = re.compile(
    r"/(tmp|home|root|Users|var|private|opt|usr|mnt|work)/|[A-Za-z]:\\|ipykernel_|site-packages"
    r"|/rest/\d+/|b24frames-\w"
)


@pytest.fixture
def _can_run() -> None:
    """Skip, or fail where notebooks are required, if what runs them is not installed."""
    lacking = [name for name in ("nbclient", "ipykernel", "matplotlib") if find_spec(name) is None]
    if lacking:
        skip_or_fail(
            "notebooks", f"{', '.join(lacking)}: not installed, part of the extra notebooks"
        )


def outputs(notebook: Any) -> Iterator[Any]:
    """Yield the outputs of all cells."""
    for cell in notebook["cells"]:
        yield from cell.get("outputs", [])


def shown(notebook: Any) -> str:
    """Return all that a notebook shows, but for the bytes of pictures, and its metadata."""
    said = [
        {**output, "data": {k: v for k, v in output.get("data", {}).items() if "image" not in k}}
        for output in outputs(notebook)
    ]
    cells = [cell["metadata"] for cell in notebook["cells"]]
    return json.dumps([said, cells, notebook["metadata"]], ensure_ascii=False)


def kinds(notebook: Any) -> list[list[list[str]]]:
    """Return what kinds of output each code cell has."""
    return [
        [sorted(output.get("data", ["text"])) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def test_notebooks__are_there() -> None:
    """Each notebook has a number of its own."""
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert {f"{number:02}" for number in range(1, 10)} <= set(numbers)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.notebooks
@pytest.mark.usefixtures("_can_run")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook__runs(path: Path, tmp_path: Path) -> None:
    """Each cell runs without an error and a warning, and shows what is committed, kind by kind."""
    notebook = run(path, tmp_path)
    complaints = [
        output
        for output in outputs(notebook)
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert complaints == []
    assert PATHS.search(shown(notebook)) is None
    assert kinds(notebook) == kinds(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook__committed(path: Path) -> None:
    """It has a purpose and outputs of one run, and these tell neither a secret nor the machine."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "**Purpose:**" in "".join(notebook["cells"][0]["source"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert any(cell["outputs"] for cell in code)
    assert {output["output_type"] for output in outputs(notebook)} <= {
        "display_data",
        "execute_result",
    }
    text = shown(notebook)
    assert (found := PATHS.search(text)) is None, found
    assert "widget-state" not in text


def test_gallery__every_notebook() -> None:
    """Each notebook is in the gallery, with pictures that it has."""
    page = (FOLDER.parent / "docs" / "gallery.md").read_text(encoding="utf-8")
    cards = re.findall(r"\[!\[[^]]+\]\(([^)]+)\)\]\(notebooks/(\w+)\.ipynb\)", page)
    assert {stem for _, stem in cards} == {path.stem for path in NOTEBOOKS}
    for picture, stem in cards:
        notebook = json.loads((FOLDER / f"{stem}.ipynb").read_text(encoding="utf-8"))
        drawn = sum("image/png" in output.get("data", {}) for output in outputs(notebook))
        own = [f"notebooks/{stem}-{number}.png" for number in range(1, drawn + 1)]
        assert picture in (own or ["images/card-light.png"])


@pytest.mark.notebooks
@pytest.mark.usefixtures("_can_run")
def test_run__slow_machine(tmp_path: Path) -> None:
    """A read that takes so long that it shows a progress bar leaves none in the outputs."""
    import nbformat

    slow = nbformat.v4.new_code_cell(
        "import b24frames\n"
        "with b24frames.practice_portal(100, latency=0.7) as portal:\n"
        "    b24frames.read_activities(range(1, 101), portal, missing='ignore', progress=True)\n"
        "    print('read')"
    )
    path = tmp_path / "slow.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[slow]), path)
    assert [output.get("text") for output in outputs(run(path, tmp_path))] == ["read\n"]


def test_paths__are_found() -> None:
    """What is looked for in the outputs would be found."""
    for path in (
        "/tmp/IPython_1/2.py:1",
        "/home/anna/x",
        "/Users/anna/x",
        "C:\\Users\\anna",
        "https://acme.bitrix24.com/rest/1/secret/",
    ):
        assert PATHS.search(path)
    assert not PATHS.search("created 2024-01-01 10:00 at http://127.0.0.1:4000, 1/2 of A/B tests")

"""The house: what an import costs, and who may know whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "b24frames"


def run(code: str, cwd: Path) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import__loads_little(tmp_path: Path) -> None:
    """An import loads no Jupyter, network or way to make frames; no file, no socket is opened."""
    code = f"""
import socket, sys
sys.path.insert(0, {str(PACKAGE.parent)!r})
sys.dont_write_bytecode = True
def refuse(*args, **kwargs):
    raise AssertionError("an import opened a socket")
socket.socket.connect = socket.getaddrinfo = refuse
import b24frames
spared = "ipywidgets IPython jupyter requests requests_cache tqdm b24frames.frame".split()
print([name for name in spared if name in sys.modules])
"""
    assert run(code, tmp_path).strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_typed__loads_no_network(tmp_path: Path) -> None:
    """Typing, labelling and exporting a frame loads nothing of the network or the cache."""
    code = f"""
import sys
sys.path.insert(0, {str(PACKAGE.parent)!r})
sys.dont_write_bytecode = True
import pandas as pd
import b24frames
raw = pd.DataFrame([{{"ID": "7", "TYPE_ID": "2", "SETTINGS": {{}}, "PROVIDER_ID": "CRM_SMS"}}])
frame = raw.b24.typed(tz="Europe/Berlin")
frame.b24.labels(), frame.b24.provider_name, frame.b24.expand("SETTINGS")
frame.b24.storable(), frame.b24.spreadsheet_safe()
spared = "requests requests_cache urllib3 b24frames.portal b24frames.cache".split()
print([name for name in spared if name in sys.modules])
"""
    assert run(code, tmp_path).strip() == "[]"


def test_import__star() -> None:
    """A star import brings the public names, and only them."""
    import b24frames

    names: dict[str, object] = {}
    exec("from b24frames import *", names)
    assert sorted(names.keys() - {"__builtins__"}) == b24frames.__all__


def test_layers__hold() -> None:
    """Data flows one way, as `pyproject.toml` declares."""
    pytest.importorskip("importlinter", reason="import-linter is part of the extra dev")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    assert "0 broken" in run(code, PACKAGE.parent)

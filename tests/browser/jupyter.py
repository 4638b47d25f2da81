"""A JupyterLab, a voila and a browser on this machine, in folders of their own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

PATIENCE = 90_000  # [ms] a loaded machine is slow; what is awaited comes long before
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_APPS = {
    "jupyterlab": ("LabApp", "doc/tree"),
    "notebook": ("JupyterNotebookApp", "notebooks"),
}
_ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
_MODULES = ("playwright", "jupyterlab", "notebook", "voila", "axe_playwright_python")


def find_chromium() -> tuple[str, str]:
    """Return where the browser is, and what is lacking."""
    found = next(filter(None, map(shutil.which, _NAMES)), "")
    modules = [name for name in _MODULES if find_spec(name) is None]
    reasons = [] if found else ["no chromium on the PATH"]
    reasons += [f"not installed: {', '.join(modules)} (extra browser)"] if modules else []
    return found, "; ".join(reasons)


@contextmanager
def open_browser(chromium: str) -> Iterator[Any]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        yield browser
        browser.close()


def webhook_code(folder: Path, url: str) -> str:
    """Put a portal's URL into a file beside the notebooks; return the code of its portal."""
    name = f"webhook-{secrets.token_hex(4)}.txt"
    (folder / name).write_text(url, encoding="utf-8")
    return (
        "import pathlib, b24frames as b24\n"
        f"url = pathlib.Path({name!r}).read_text()\n"
        "options = {'concurrency': 1, 'max_wait': 3, 'timeout': (2, 600)}\n"
        "portal = b24.Portal(url, limits='self-hosted', **options)\n"
        "del url\n"
    )


class Notebooks:
    """Opens notebooks in a page of a server."""

    def __init__(self, page: Any, folder: Path, address: str) -> None:
        self.page = page
        self.folder = folder
        self.address = address

    def write(self, cells: list[str]) -> Path:
        """Write a notebook of code cells."""
        content = [
            {
                "cell_type": "code",
                "id": f"cell{number}",
                "metadata": {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate(cells)
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {
            "cells": content,
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = self.folder / f"{secrets.token_hex(4)}.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return path


class Lab(Notebooks):
    """JupyterLab."""

    def open(self, cells: list[str]) -> Any:
        """Open a notebook and run it; return the page."""
        self.path = self.write(cells)
        self.show()
        self.run("notebook:run-all-cells")
        return self.page

    def show(self) -> None:
        """Show the notebook, with its kernel ready."""
        self.page.goto(self.address.format(self.path.name))
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
            "?.status === 'idle'"
        )

    def add(self, source: str) -> None:
        """Add a cell at the end and run it."""
        self.run("notebook:insert-cell-below")
        self.page.evaluate(
            "source => window.jupyterapp.shell.currentWidget.content.activeCell.model"
            ".sharedModel.setSource(source)",
            source,
        )
        self.run("notebook:run-cell")

    def run(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        """Run a command of JupyterLab, and wait for its end."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)",
            [command, arguments or {}],
        )


class Notebook(Lab):
    """Notebook 7."""

    def show(self) -> None:
        """Show the notebook, with its kernel ready."""
        super().show()
        # It opens more by itself while it starts.
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()


class Voila(Notebooks):
    """Voila."""

    def open(self, cells: list[str]) -> Any:
        """Open a notebook as an application; return the page."""
        self.page.goto(self.address.format(self.write(cells).name))
        return self.page


@contextmanager
def serve_lab(folder: Path, home: Path, app: str = "jupyterlab") -> Iterator[str]:
    """Serve a folder by JupyterLab or Notebook 7; give the address of a notebook, less its name."""
    name, path = _APPS[app]
    token = secrets.token_hex(16)
    settings = {
        "@jupyterlab/apputils-extension/notification": {"fetchNews": "false"},
        "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
    }
    for plugin, values in settings.items():
        file = home / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    arguments = [
        app,
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
        f"--{name}.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with _serve(arguments, home, f"/api?token={token}") as address:
        yield f"{address}/{path}/{{}}?token={token}"


@contextmanager
def serve_voila(folder: Path, home: Path) -> Iterator[str]:
    """Serve the notebooks of a folder by voila; give the address of one, less its name."""
    arguments = ["voila", "--no-browser", "--Voila.ip=127.0.0.1", str(folder)]
    with _serve(arguments, home, "/") as address:
        yield f"{address}/voila/render/{{}}"


@contextmanager
def _serve(arguments: list[str], home: Path, path: str) -> Iterator[str]:
    """Run a server in folders of its own until it is not needed any more."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("CONFIG", "DATA", "RUNTIME")
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in names}
    environment = {
        **os.environ,
        **places,
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "B24FRAMES_CACHE": str(home / "cache"),
        "B24_WEBHOOK_URL": "",
    }
    log = home / "log.txt"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *arguments, f"--port={port}"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}{path}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        if os.name == "posix":
            os.killpg(server.pid, signal.SIGTERM)  # with the kernels
        else:
            server.terminate()
        server.wait(timeout=60)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(url, timeout=10):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text('utf-8', 'replace')}")

"""Run the notebooks, and keep what they show: ``python -m tests.helpers.notebooks``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).parents[2] / "notebooks"
PATIENCE = 300  # [s] for one cell, on any machine


def run(path: Path, folder: Path) -> Any:
    """Run a notebook on the practice portal, in a folder, and return it with its outputs."""
    import matplotlib.font_manager  # noqa: F401 - builds its list of fonts, or kernels say so
    import nbclient
    import nbformat

    notebook: Any = nbformat.read(path, as_version=4)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]),
        "B24FRAMES_CACHE": str(folder / "cache"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    environment.pop("B24_WEBHOOK_URL", None)
    client = nbclient.NotebookClient(
        notebook,
        timeout=PATIENCE,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    for cell in notebook["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if not _is_bar(output)]
    return notebook


def _is_bar(output: Any) -> bool:
    """Return whether an output is a progress bar, which slow machines show and then remove."""
    text = str(output.get("data", {}).get("text/plain", ""))
    return text.startswith("activities: ") and output["output_type"] == "display_data"


def main(names: Sequence[str]) -> None:
    """Run the notebooks of these names, or all, and write them back."""
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            with TemporaryDirectory() as folder:
                notebook = run(path, Path(folder))
            notebook.metadata["language_info"] = {"name": "python"}  # not of which version
            nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The documentation's site: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``.

Nothing is fetched: no inventory of other projects, no font, no script.
"""

import json
import shutil
from base64 import b64decode
from pathlib import Path

from docutils.nodes import Element, document, meta
from sphinx import addnodes
from sphinx.application import Sphinx

import b24frames

# Sphinx reads what is below this folder only.
HERE = Path(__file__).parent
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
(HERE / "notebooks").mkdir()
for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
    shutil.copy(notebook, HERE / "notebooks")
    # The gallery shows pictures of notebooks: NAME-1.png is the first in NAME.ipynb.
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    pictures = [data["image/png"] for data in shown if "image/png" in data]
    for number, picture in enumerate(pictures, 1):
        (HERE / "notebooks" / f"{notebook.stem}-{number}.png").write_bytes(b64decode(picture))

project = "b24frames"
author = "The b24frames developers"
project_copyright = author
version = release = b24frames.__version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "myst_nb",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

# Pages are Markdown; notebooks are shown as they were saved.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

# The reference is made of the docstrings, which say the types in words.
default_role = "py:obj"
nitpicky = True  # a name that leads nowhere is a warning, but for parameters and other projects'
nitpick_ignore_regex = [
    ("py:obj", "at|columns|dtype_backend|filters|handle|hint|kind|max_size|tz"),
    ("py:obj", r"pandas\.(Timedelta|read_parquet)|deltalake\.DeltaTable|find|frame"),
]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

# What nobody makes by hand is titled by how one gets it.
TITLES = {"FrameAccessor": "df.b24", "IdsAccessor": "s.b24", "Report": "df.b24.report"}


def retitle(_app: Sphinx, _domain: str, _kind: str, content: Element) -> None:
    """Put the title of a class in the place of its name and constructor."""
    signature = content.parent[0]
    if title := TITLES.get(signature.get("fullname")):
        signature[:] = [addnodes.desc_name(title, title)]
        signature["_toc_name"] = title


# Words that readers search for and the pages do not say, such as those of the Russian portal.
KEYWORDS = {
    "how-to/calls": "звонок, звонки, телефония, пропущенные",
    "errors": "ошибка, ошибки, предупреждения",
    "how-to/export": "выгрузка, экспорт, excel",
    "how-to/find-activities": "поиск, фильтр, дела",
    "how-to/names": "имена, ответственный, сотрудники",
    "how-to/store": "хранилище, таблица, delta",
    "how-to/webhook": "вебхук, токен, права, 401, 403",
    "panel": "панель, виджет",
}


def add_keywords(app: Sphinx, doctree: document) -> None:
    """Give a page its keywords, which the search looks at, too."""
    if words := KEYWORDS.get(app.env.docname):
        doctree.append(meta(name="keywords", content=words))


def setup(app: Sphinx) -> None:
    """Have Sphinx call `retitle` for each object described, and `add_keywords` for each page."""
    app.connect("object-description-transform", retitle)
    app.connect("doctree-read", add_keywords)


html_theme = "pydata_sphinx_theme"
html_title = "b24frames"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
# Pages without others beside them have nothing to show in the left column.
html_sidebars: dict[str, list[str]] = {
    page: []
    for page in ("index", "tutorial", "comparison", "benchmarks", "contributing", "changelog")
}
html_theme_options = {
    "github_url": "https://github.com/b24frames/b24frames",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

"""What readers type into the search of the site leads to the page that is meant.

``python -m sphinx -b html docs SITE && python .ci/search.py SITE``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sphinx.search.en import SearchEnglish

MEANT = {
    "webhook 401": "how-to/webhook",
    "insufficient_scope": "how-to/webhook",
    "missing id": "how-to/missing-ids",
    "StoreBusyError": "errors",
    "proxy certificate": "how-to/corporate-network",
    "offline": "how-to/offline",
    "time zone": "time",
    "csv": "how-to/export",
    "звонки": "how-to/calls",
    "вебхук": "how-to/webhook",
    "ошибки": "errors",
    "выгрузка": "how-to/export",
}


def search(index: dict[str, Any], query: str) -> set[str]:
    """Return the pages with all words of a query, as the site finds them; it skips numbers."""
    stem = SearchEnglish({}).stem
    pages = set(index["docnames"])
    for word in query.split():
        if not word.isdigit():
            found = [index[terms].get(stem(word.lower()), []) for terms in ("terms", "titleterms")]
            numbers = [n for some in found for n in (some if isinstance(some, list) else [some])]
            pages &= {index["docnames"][number] for number in numbers}
    return pages


def main(site: str) -> int:
    """Search for each query; return the exit status."""
    text = (Path(site) / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    lost = {query: page for query, page in MEANT.items() if page not in search(index, query)}
    for query, page in lost.items():
        print(f"the search for {query!r} does not find {page}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""How large the house is: modules, functions and cycles. Ends with 1 where it grew crooked.

``python .ci/shape.py``
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGE = Path(__file__).parents[1] / "b24frames"
LONGEST_MODULE, LONGEST_BODY = 360, 25  # [lines]; bodies: nine of ten


def bodies(source: str) -> Iterator[tuple[int, str]]:
    """Yield the length of each function's body, without its docstring, and the name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                yield (body[-1].end_lineno or 0) - body[0].lineno + 1, node.name


def cycle() -> list[str]:
    """Return modules that import each other in a circle, imports inside functions included."""
    graph = grimp.build_graph("b24frames", exclude_type_checking_imports=True, cache_dir=None)
    imports = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def main() -> int:
    """Print the figures; return the exit status."""
    sources = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
    }
    lengths = sorted((len(text.splitlines()), name) for name, text in sources.items())
    found = sorted(
        (length, f"{name}:{function}")
        for name, text in sources.items()
        for length, function in bodies(text)
    )
    p90 = found[int(len(found) * 0.9)][0]
    circle = cycle()
    rooms = [p for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    print(f"modules and packages  {len(rooms)} (files {len(sources)})")
    print("longest module        {} lines, {}".format(*lengths[-1]))
    print(f"bodies of functions   {len(found)}, p90 {p90} lines")
    print("longest body          {} lines, {}".format(*found[-1]))
    print(f"import cycles         {' -> '.join(circle) or 0}")
    too_long = [f"{name} has {length} lines" for length, name in lengths if length > LONGEST_MODULE]
    if too_long:
        print("too long:", "; ".join(too_long))
    return 1 if too_long or p90 > LONGEST_BODY or circle else 0


if __name__ == "__main__":
    sys.exit(main())

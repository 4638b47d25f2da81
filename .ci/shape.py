"""How large the house is: code, files, bodies and cycles. Exits with 1 where a bound is passed.

``python .ci/shape.py``

Code is what is neither docstring, comment nor blank. The totals are a ratchet: whoever makes the
package smaller lowers them here, and whoever must raise one says why beside it.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGE = Path(__file__).parents[1] / "b24frames"
# Of which 820 in 5 files find activities by filters; with 370 in 1 practice portals list and tell
# names as portals do; 160 in 1 keep netrc, proxies, certificates and caches of the caller apart;
# 690 in 4 are names, users and calls; 390 in 2 the store; 220 in 1 the panel's search and details;
# 37 let practice customers call again and be called back, and take talk times from statistics; 19
# name what spreadsheets cut, and refuse columns that labels cannot be made of; 80 are the panel's
# texts by language, counted and aged, and its Cancel for names and details; 36 take text from Arrow
# as it is; 13 find all rows where links repeat them, compare more of them, and hide more tokens; 10
# keep minutes of offsets, days of Arrow, dtypes of what is read again, and panics of deltalake in
# the family of errors; 9 tell a portal that is down from an activity that breaks its batch; 36 keep
# filters of stores as given, logins out of them, and dates and arrays of other programs right; 16
# refuse sessions, commands and paths that are none, and name rows where there are no ids; 9 write a
# file whole or not at all; 2 let files of stores say less of themselves, and rows of the panel be
# shown sooner; 10 refuse sessions without https, and zones that Arrow cannot take, sort codes of
# any type, and look into calls alone; 17 tell outages from activities, and ids of calls from
# theirs, and keep the modes of files; 13 read labels of codes that are text, numbers of NumPy and
# decimal ones, and dates among objects; 17 let errors of the caller's signal handlers out, and take
# failed renewals for outages; 18 type calls, users and names that come back from files, and
# end a wait of `on_refresh` for itself.
TOTAL_CODE, TOTAL_FILES = 8_918, 63
SLACK = 60  # [lines] by which the code may be below its total before that has to be lowered
LONGEST_FILE = 300  # [lines of code]
P90_BODY, LONGEST_BODY = 25, 50  # [lines]
LEAST_COMMENTS = 0.02  # lines that are a comment, of all lines
MOST_TRIVIAL_HELPERS = 20
TRIVIAL = 3  # [lines]
REPEATED_NAMES = 0
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_of(node: Function) -> list[ast.stmt]:
    """Return the statements of a function, without its docstring."""
    return node.body[1:] if ast.get_docstring(node) else node.body


def functions(tree: ast.Module) -> Iterator[tuple[int, Function]]:
    """Yield each function with the length of its body [lines]."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and (body := body_of(node)):
            yield (body[-1].end_lineno or 0) - body[0].lineno + 1, node


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the lines that strings standing by themselves take."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }


def count_lines(source: str, tree: ast.Module) -> tuple[int, int]:
    """Return how many lines have code, and how many nothing but a comment."""
    code: set[int] = set()
    comments = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        comments += token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")
        if token.type not in LAYOUT:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstring_lines(tree)), comments


def trivial_helpers(trees: dict[str, ast.Module]) -> list[str]:
    """Return the private functions of a few lines that are named once besides their definition."""
    named: Counter[str] = Counter()
    short: list[tuple[str, str]] = []
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                named[node.id] += 1
            elif isinstance(node, ast.Attribute):
                named[node.attr] += 1
        short += [
            (file, node.name)
            for length, node in functions(tree)
            if length <= TRIVIAL and node.name.startswith("_") and not node.name.startswith("__")
        ]
    return [f"{file}:{name}" for file, name in short if named[name] == 1]


def cycle() -> list[str]:
    """Return modules that import each other in a circle, imports inside functions included."""
    graph = grimp.build_graph("b24frames", exclude_type_checking_imports=True, cache_dir=None)
    imports = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def repeated_names(files: list[str]) -> list[str]:
    """Return the names that several files have, `__init__` aside."""
    counts = Counter(Path(file).name for file in files)
    return [name for name, number in counts.items() if number > 1 and name != "__init__.py"]


def main() -> int:
    """Print the figures; return the exit status."""
    sources = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    trees = {file: ast.parse(source) for file, source in sources.items()}
    lines = {file: count_lines(sources[file], tree) for file, tree in trees.items()}
    code, comments = (sum(counts) for counts in zip(*lines.values(), strict=True))
    total = sum(len(source.splitlines()) for source in sources.values())
    longest_file = max(lines, key=lambda file: lines[file][0])
    bodies = sorted(
        (length, f"{file}:{node.name}")
        for file, tree in trees.items()
        for length, node in functions(tree)
    )
    p90 = bodies[int(len(bodies) * 0.9)][0]
    helpers, circle, repeated = trivial_helpers(trees), cycle(), repeated_names(list(sources))
    checks = [
        (f"code                 {code} lines", code <= TOTAL_CODE),
        (f"total to be lowered  {TOTAL_CODE}, by {TOTAL_CODE - code}", code >= TOTAL_CODE - SLACK),
        (f"files                {len(sources)}", len(sources) <= TOTAL_FILES),
        (
            f"longest file         {lines[longest_file][0]} lines of code, {longest_file}",
            lines[longest_file][0] <= LONGEST_FILE,
        ),
        (f"bodies of functions  {len(bodies)}, p90 {p90} lines", p90 <= P90_BODY),
        ("longest body         {} lines, {}".format(*bodies[-1]), bodies[-1][0] <= LONGEST_BODY),
        (f"comments             {comments / total:.1%}", comments >= LEAST_COMMENTS * total),
        (f"trivial helpers      {len(helpers)}", len(helpers) <= MOST_TRIVIAL_HELPERS),
        (f"import cycles        {' -> '.join(circle) or 0}", not circle),
        (f"repeated names       {', '.join(repeated) or 0}", len(repeated) <= REPEATED_NAMES),
    ]
    for text, holds in checks:
        print(text if holds else f"{text}  TOO MUCH")
    if not checks[7][1]:
        print("\n".join(helpers))
    return 0 if all(holds for _, holds in checks) else 1


if __name__ == "__main__":
    sys.exit(main())

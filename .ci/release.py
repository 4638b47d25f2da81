"""Release what is committed: check, run `.ci/run`, tag, push the tag; a workflow publishes it.

``python .ci/release.py``
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def git(*arguments: str) -> str:
    """Run git here and return what it prints."""
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def problems(version: str) -> list[str]:
    """Return why this cannot be released."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE)
    found = {
        "there are changes that are not committed": git("status", "--porcelain"),
        "the branch is not main": git("branch", "--show-current") != "main",
        f"CHANGELOG.md has no heading '## {version} (YYYY-MM-DD)'": not dated,
        f"the tag v{version} is there already": git("tag", "--list", f"v{version}"),
    }
    return [problem for problem, is_so in found.items() if is_so]


def main() -> int:
    """Release, or say why not; return the exit status."""
    source = (ROOT / "b24frames" / "_version.py").read_text(encoding="utf-8")
    version = source.split('"')[-2]
    if found := problems(version):
        print(f"b24frames {version} cannot be released:", *found, sep="\n- ")
        return 1
    subprocess.run(["bash", ".ci/run"], cwd=ROOT, check=True)
    git("tag", "--annotate", f"v{version}", "--message", f"b24frames {version}")
    git("push", "origin", f"v{version}")
    print(f"v{version} is pushed; the workflow Release publishes it")
    return 0


if __name__ == "__main__":
    sys.exit(main())

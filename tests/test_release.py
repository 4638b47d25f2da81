"""What is released: the contents of wheel and sdist, and the script that pushes a release."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import b24frames

ROOT = Path(__file__).parents[1]
VERSION = b24frames.__version__
NAME = f"b24frames-{VERSION}"
LEFT_OVER = {"__pycache__", "_build", ".ipynb_checkpoints", ".DS_Store", ".git", ".pytest_cache"}


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build a distribution the way pip does, in an environment that has the backend already."""
    pytest.importorskip("hatchling")
    code = f"from hatchling.build import build_{kind} as build; print(build({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and unpack it."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    return folder / NAME


def wheel_files(source: Path, folder: Path) -> set[str]:
    """Return the names of the files in a wheel."""
    with zipfile.ZipFile(build("wheel", source, folder)) as archive:
        return set(archive.namelist())


def test_wheel__contents(tmp_path: Path) -> None:
    """The wheel has the package, its type marker and style sheet, the license, and no more."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "b24frames").rglob("*")
        if path.is_file() and not LEFT_OVER & set(path.parts)
    }
    assert {"b24frames/py.typed", "b24frames/panel/panel.css"} <= package
    about = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")}
    about.add(f"{NAME}.dist-info/licenses/LICENSE")
    assert wheel_files(ROOT, tmp_path) == package | about


def test_sdist__makes_the_same_wheel(sdist: Path, tmp_path: Path) -> None:
    """A wheel of the sdist has the same files as one of the checkout."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    assert wheel_files(sdist, tmp_path / "there") == wheel_files(ROOT, tmp_path / "here")


def test_sdist__contents(sdist: Path) -> None:
    """The sdist has what is needed to test, document and judge it, and nothing left over."""
    files = {PurePosixPath(p.relative_to(sdist).as_posix()) for p in sdist.rglob("*")}
    for name in (
        "README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE environment.yml pyproject.toml "
        "PKG-INFO docs/conf.py docs/index.md tests/conftest.py tests/typing/api.py .ci/run "
        "benchmarks/__main__.py"
    ).split():
        assert PurePosixPath(name) in files
    assert not [str(file) for file in files if LEFT_OVER & set(file.parts)]


def test_metadata__version_in_one_place(tmp_path: Path) -> None:
    """The wheel's version is that of `_version.py`, which no other file of the project repeats."""
    assert f"{NAME}.dist-info/METADATA" in wheel_files(ROOT, tmp_path)
    literal = f'"{b24frames.__version__}"'
    sources = [*(ROOT / "b24frames").rglob("*.py"), ROOT / "pyproject.toml", ROOT / "docs/conf.py"]
    holders = [p.name for p in sources if literal in p.read_text(encoding="utf-8")]
    assert holders == ["_version.py"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a repository with the script, a `.ci/run` that does nothing, and an origin."""
    if shutil.which("git") is None or shutil.which("bash") is None:
        pytest.skip("needs git and bash")
    project = tmp_path / "project"
    for name in (".ci/release.py", "b24frames/_version.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    (project / ".ci" / "run").write_text("exit 0\n", encoding="utf-8")
    dated = f"# Changelog\n\n## {b24frames.__version__} (2026-01-31)\n"
    (project / "CHANGELOG.md").write_text(dated, encoding="utf-8")
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "init", "--quiet", "--bare", str(tmp_path / "origin"))
    git(project, "remote", "add", "origin", str(tmp_path / "origin"))
    commit(project)
    return project


def git(project: Path, *arguments: str) -> str:
    """Run git in a project, whatever the user's own settings are."""
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *settings, *arguments], cwd=project, capture_output=True, text=True, check=True
    ).stdout


def commit(project: Path) -> None:
    """Commit all."""
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "All")


def release(project: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of a project."""
    identity = {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
    return subprocess.run(
        [sys.executable, str(project / ".ci" / "release.py")],
        env={**os.environ, **identity},
        capture_output=True,
        text=True,
        check=False,
    )


def test_release__pushes_the_tag(project: Path) -> None:
    """A release is a tag with the version's name, pushed; the same is not released twice."""
    done = release(project)
    assert done.returncode == 0, done.stderr
    assert f"refs/tags/v{b24frames.__version__}" in git(project, "ls-remote", "origin")
    again = release(project)
    assert again.returncode == 1
    assert "is there already" in again.stdout


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda p: (p / "new.txt").touch(), "not committed"),
        (lambda p: git(p, "switch", "--quiet", "--create", "other"), "not main"),
        (
            lambda p: (p / "CHANGELOG.md").write_text(f"## {VERSION} (not released yet)"),
            "no heading",
        ),
    ],
)
def test_release__refuses(project: Path, change: object, problem: str) -> None:
    """What is not ready is named, and nothing is pushed."""
    assert callable(change)
    change(project)
    done = release(project)
    assert done.returncode == 1
    assert problem in done.stdout
    assert git(project, "ls-remote", "origin") == ""


def test_release__checks_first(project: Path) -> None:
    """Nothing is pushed when `.ci/run` fails."""
    (project / ".ci" / "run").write_text("exit 3\n", encoding="utf-8")
    commit(project)
    assert release(project).returncode != 0
    assert git(project, "ls-remote", "origin") == ""

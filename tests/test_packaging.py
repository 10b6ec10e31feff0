"""The wheel, what `pip install .` gives a user, and what a release must be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from pcsearch import __version__
from pcsearch.cluster.files.shipped import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
    command = ["git", *who, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_wheel_carries_recipes_and_data_files(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"pcsearch/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")}
    assert recipes
    assert recipes <= names
    others = (
        "reporting/published.json",
        "recipes/recipes.md",
        "data/datasets/digits.npz",
        "py.typed",
        *(f"clusters/{Path(of.name).name}" for of in SHIPPED.values()),
    )
    assert {f"pcsearch/{name}" for name in others} <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "pcsearch").rglob("*.py")}
    assert modules <= names
    assert not any(name.startswith("tests/") for name in names)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows what belongs to it")
def test_the_source_archive_has_all_that_tests_and_documentation_need(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    known = set(git(ROOT, "ls-files").splitlines())
    assert {name for name in known - names if not name.startswith(".")} == set()


def test_one_oldest_python_everywhere() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = requires.removeprefix(">=")
    assert f"Python {oldest} or newer" in (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert f"Python {oldest} or newer" in makefile
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in makefile


def test_licences_are_listed_of_what_runs_and_of_nothing_else() -> None:
    command = [sys.executable, "scripts/licences.py"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    listed = {row[0].removeprefix("| "): row[2] for row in rows}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {re.split(r"[\[><=,]", need)[0] for need in project["dependencies"]}
    assert direct <= listed.keys()
    assert {"boto3", "aiohttp", "markupsafe"} <= listed.keys(), "by an extra, and at second hand"
    assert not {"pcsearch", "pytest", "moto", "ruff", "hatchling"} & listed.keys()
    assert "BSD-3-Clause" in listed["torch"]
    committed = (ROOT / "docs/licences.md").read_text()
    assert all(f"| {name} |" in committed for name in direct)


@needs_git
def test_a_tag_of_this_commit_is_the_version() -> None:
    tags = [tag for tag in git(ROOT, "tag", "--points-at", "HEAD").split() if tag[:1] == "v"]
    assert tags in ([], [f"v{__version__}"])


@needs_git
def test_a_release_is_refused_until_tag_version_changes_and_addresses_agree(
    tmp_path: Path,
) -> None:
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "pcsearch/version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "pcsearch/version.py").write_text('__version__ = "1.2.0"\n')
    git(tmp_path, "init")

    def refused() -> list[str]:
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-m", "a release")
        return refused_as_it_is()

    def refused_as_it_is() -> list[str]:
        command = [sys.executable, "scripts/release.py", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found = done.stderr.splitlines()
        assert done.returncode == (1 if found else 0), done.stderr
        return found

    tagless, cited, changes, *_ = refused()
    assert tagless.endswith("says 1.2.0, but this commit has no tag: git tag v1.2.0")
    assert cited.startswith("error: CITATION.cff says ")
    assert changes.endswith('write "1.2.0, YYYY-MM-DD"')

    (tmp_path / "CITATION.cff").write_text("version: 1.2.0\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.0, 2027-01-31\n\n## 1.1.0\n")
    urls = [f'{name} = "https://EXAMPLE.org/x"' for name in ("Source", "Documentation", "Issues")]
    (tmp_path / "pyproject.toml").write_text("\n".join(["[project.urls]", *urls]))
    assert [line.partition(" is no address")[0] for line in refused()[1:]] == [
        f"error: [project.urls] {name} = https://EXAMPLE.org/x"
        for name in ("Source", "Documentation", "Issues")
    ]

    real = (tmp_path / "pyproject.toml").read_text().replace("EXAMPLE.org/x", "github.com/p/x")
    (tmp_path / "pyproject.toml").write_text(real)
    (only,) = refused()
    assert "no tag" in only
    git(tmp_path, "tag", "v1.2.0")
    assert refused_as_it_is() == []
    (tmp_path / "CITATION.cff").write_text("version: 1.2.0\n\n")
    (only,) = refused_as_it_is()
    assert only == "error: there are changes that are not committed: CITATION.cff"
    git(tmp_path, "tag", "-d", "v1.2.0")
    git(tmp_path, "tag", "v1.3.0")
    assert any("the tag v1.3.0: git tag v1.2.0" in line for line in refused_as_it_is())


def test_no_address_is_made_up_and_one_version_everywhere() -> None:
    from scripts.release import MADE_UP

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [(ROOT / name).read_text() for name in ("CITATION.cff", "mkdocs.yml")]
    stated = re.findall(
        r"^(?:url|repository-code|site_url|repo_url): *(\S+)", "\n".join(texts), re.M
    )
    assert [
        url for url in (*stated, *project.get("urls", {}).values()) if MADE_UP.search(url)
    ] == []
    assert f"\nversion: {__version__}\n" in texts[0]
    newest = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest.startswith(f"{__version__}, ")

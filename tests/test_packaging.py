"""The wheel: what `pip install .` gives a user."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from pcsearch.cluster.files.shipped import SHIPPED

ROOT = Path(__file__).resolve().parents[1]


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

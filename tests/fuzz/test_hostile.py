"""Thousands of spoilt recipes, run folders and other files: a result or a clear error, no harm.

The cases run in processes of their own, under a guard that sees writes elsewhere, processes, code
and whatever takes too long (`guard.py`). A failure names its seed; to see it alone:
`python -m tests.fuzz.run_recipes SEED SEED+1 FOLDER`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cli import PACKAGE, CommandLine
from tests.fuzz.file_cases import KINDS
from tests.fuzz.recipe_cases import recipe_case, write_case
from tests.fuzz.run_cases import change_run
from tests.fuzz.run_template import Template, make_template, snapshot

RECIPES, RUNS, PARTS = 5000, 2000, 4
FILES = 500
"""Of each kind: image folders, manifests, cluster files, weights, archives."""


def all_go_well(module: str, first: int, last: int, folder: Path, *kind: str) -> dict[str, int]:
    """Run the cases of the seeds; how often each outcome came."""
    command = [sys.executable, "-m", module, *kind, str(first), str(last), str(folder)]
    done = subprocess.run(
        command, cwd=PACKAGE, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    *failures, counts = done.stdout.splitlines() or [""]
    assert not failures, "\n".join(failures)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, int] = ast.literal_eval(counts)
    return outcomes


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_spoilt_recipes(tmp_path: Path, part: int) -> None:
    size = RECIPES // PARTS
    outcomes = all_go_well("tests.fuzz.run_recipes", part * size, (part + 1) * size, tmp_path)
    assert sum(outcomes.values()) == size
    assert min(outcomes["loaded"], outcomes["refused"]) > size // 50, "the cases are too alike"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_spoilt_run_folders(tmp_path: Path, part: int) -> None:
    size = RUNS // PARTS
    outcomes = all_go_well("tests.fuzz.run_runs", part * size, (part + 1) * size, tmp_path)
    assert sum(outcomes.values()) >= size
    assert min(outcomes["done"], outcomes["refused"]) > size // 50, "the cases are too alike"


@pytest.mark.timeout(120)
def test_a_few_spoilt_run_folders(tmp_path: Path) -> None:
    all_go_well("tests.fuzz.run_runs", RUNS, RUNS + 100, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_files_from_strangers(tmp_path: Path, kind: str) -> None:
    outcomes = all_go_well("tests.fuzz.run_files", 0, FILES, tmp_path, kind)
    assert sum(outcomes.values()) == FILES
    assert min(outcomes["done"], outcomes["refused"]) >= FILES // 50, "the cases are too alike"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_a_few_files_from_strangers(tmp_path: Path, kind: str) -> None:
    all_go_well("tests.fuzz.run_files", FILES, FILES + 40, tmp_path, kind)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("command", ["summary", "trials"])
def test_spoilt_run_folders_on_the_command_line(
    tmp_path: Path, template: Template, command: str, seed: int
) -> None:
    folder = tmp_path / "case"
    template.copy_to(folder)
    change_run(folder / "runs" / "one", folder / "canary", seed)
    before = snapshot(folder / "canary")
    result = CommandLine(folder, folder / "cache").run(command, "one", timeout=60)
    assert result.code in (0, 2), result
    assert (result.code == 2) == result.err.startswith("error: "), result
    assert "Traceback" not in result.err + result.out, result
    assert snapshot(folder / "canary") == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_spoilt_recipes_on_the_command_line(tmp_path: Path, seed: int) -> None:
    case = recipe_case(seed)
    write_case(case, tmp_path)
    pcsearch = CommandLine(tmp_path, tmp_path / "cache")
    given = [argument for argument in case.overrides if "\0" not in argument]
    result = pcsearch.run("recipes", "validate", "mine.yaml", *given, timeout=60)
    assert result.code in (0, 2), result
    assert "Traceback" not in result.err + result.out, result
    assert not (tmp_path / "EXECUTED").exists()

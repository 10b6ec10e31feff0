"""The map is true: each file and function that ARCHITECTURE.md names is there, and each folder."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAP = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES = sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|j2))`", MAP)))
STEPS = re.findall(r"^\| [^|]+ \| ((?:`[\w.]+`(?:, )?)+) \| `([\w/]+\.py)` \|$", MAP, re.MULTILINE)


@pytest.mark.parametrize("file", FILES)
def test_a_file_on_the_map_is_there(file: str) -> None:
    assert (ROOT / "pcsearch" / file).is_file() or (ROOT / file).is_file()


def test_functions_on_the_main_path_are_where_the_map_says() -> None:
    assert len(STEPS) >= 12
    for functions, file in STEPS:
        tree = ast.parse((ROOT / "pcsearch" / file).read_text(encoding="utf-8"))
        defined = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        for name in re.findall(r"[\w.]+", functions):
            assert set(name.split(".")) <= defined, f"{file} does not define {name}"


def test_every_folder_is_on_the_map_and_in_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = " ".join(settings["tool"]["importlinter"]["contracts"][0]["layers"])
    for folder in sorted((ROOT / "pcsearch").iterdir()):
        if not (folder / "__init__.py").is_file():
            continue
        assert re.search(rf"(^| )(├|└)?─? ?{folder.name} +\w", MAP, re.MULTILINE), folder.name
        assert f"pcsearch.{folder.name}" in contract

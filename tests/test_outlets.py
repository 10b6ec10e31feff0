"""What everything has to pass, read off the code: one way to open a file, an image, a console."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pcsearch

ROOT = Path(pcsearch.__file__).parent

OPENS = {
    "open", "fdopen", "read_text", "read_bytes", "memmap", "fromfile", "loadtxt", "genfromtxt",
    "loadmat", "whosmat", "load_file", "safe_open", "is_tarfile", "is_zipfile", "ZipFile",
    "TarFile", "ParquetFile", "read_csv", "read_table", "imread", "read_image", "decode_image",
    "decode_jpeg", "mmap",
}  # fmt: skip
ALLOWED = {
    "cli/app.py": "the null device, in place of a terminal that is gone",
    "io.py": "the way itself; syncs a folder",
    "cpus.py": "the kernel's control groups",
    "runs/driver.py": "the kernel's process table",
    "pickle_check.py": "looks into what open_regular gives",
    "reporting/figures.py": "the current folder, to come back to",
    "data/decode.py": "open_image, of what open_regular gives",
    "data/cache/build.py": "writes a new file",
    "data/cache/files.py": "syncs a folder; maps what open_regular gives",
    "fetch.py": "writes what open_to_append gives",
    "data/download/archive.py": "reads what open_regular gives",
    "data/labels_file.py": "reads what open_regular gives",
    "data/layouts/cifar_files.py": "maps what open_regular gives",
    "data/datasets/digits.py": "a file of this package",
    "data/datasets/fieldguide.py": "files of this package",
    "data/layouts/manifest_table.py": "reads what open_regular gives",
    "data/layouts/matlab.py": "reads what read_regular gives",
    "data/datasets/svhn.py": "reads what open_regular gives",
    "models/weights.py": "reads what open_regular gives",
    "training/checkpoints.py": "reads what open_regular gives, and writes a new file",
    "search/journal/journal_file.py": "syncs a folder",
    "storage/local.py": "writes a new file, and syncs a folder",
    "reporting/published.py": "a file of this package",
    "reporting/html.py": "a file of this package",
    "recipe/load.py": "files of this package",
    "cli/recipes.py": "files of this package, and a new one",
    "cluster/launcher.py": "the null device",
    "cluster/session/autoscaler.py": "the kernel's command lines; what Kubernetes puts into a pod",
    "cluster/session/signals.py": "the null device",
    "cluster/session/security.py": "the kernel's open ports and users, and a new file",
    "cluster/files/provider.py": "what the machine's firmware says",
    "execution/worker_health.py": "what Tune has just written",
    "cli/compare.py": "small files of a run, by RunFolder",
    "reporting/audit.py": "small files of a run, by RunFolder",
    "execution/export.py": "small files of a run, by RunFolder",
    "cli/export.py": "writes a new file",
    "data/cache/features.py": "maps what open_regular gives",
    "training/export.py": "maps what open_regular gives",
    "execution/script_template.py": "is for people to run, and names the formats, too",
}
"""Modules that open files in another way, and why that is no way in for a stranger's."""


MODULES = sorted(ROOT.rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(path: Path) -> set[str]:
    """The functions and methods that a module calls, but for those of this package."""
    found, ours = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func
            found.add(name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", ""))
        elif isinstance(node, ast.FunctionDef):
            ours.add(node.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pcsearch"):
            ours |= {alias.name for alias in node.names}
    return found - ours


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_files_are_opened_in_one_way(path: Path) -> None:
    opened = calls(path) & OPENS
    assert not opened or named(path) in ALLOWED, f"{opened}: take pcsearch.io"


@pytest.mark.parametrize("words", ["Image.open(", "from_markup", "rich.markup import render"])
def test_what_nobody_else_calls(words: str) -> None:
    assert {named(path) for path in MODULES if words in path.read_text()} <= {
        "data/decode.py",
        "execution/script_template.py",
    }


def test_consoles_are_made_in_one_place() -> None:
    makers = {named(path) for path in MODULES if "Console" in calls(path)}
    assert makers <= {"reporting/formatting.py"}, "take pcsearch.cli.console.console"

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
    "regular_files.py": "the way itself",
    "pickles.py": "looks into what open_regular gives",
    "results/plots.py": "the current folder, to come back to",
    "data/decode.py": "open_image, of what open_regular gives",
    "data/cache/build.py": "writes a new file",
    "data/cache/disk.py": "syncs a folder",
    "data/cache/layout.py": "maps what open_regular gives",
    "data/download/fetching.py": "writes what open_to_append gives",
    "data/download/unpacking.py": "reads what open_regular gives",
    "data/labels_archive.py": "reads what open_regular gives",
    "data/readers/cifar_files.py": "maps what open_regular gives",
    "data/readers/digits.py": "a file of scikit-learn's",
    "data/readers/fieldguide.py": "files of this package",
    "data/readers/manifest_table.py": "reads what open_regular gives",
    "data/readers/matlab.py": "reads what read_regular gives",
    "data/readers/svhn.py": "reads what open_regular gives",
    "models/weights.py": "reads what open_regular gives",
    "train/atomic.py": "syncs a folder",
    "train/checkpoint.py": "reads what open_regular gives, and writes a new file",
    "search/journal.py": "syncs a folder",
    "storage/local.py": "writes a new file, and syncs a folder",
    "results/published.py": "a file of this package",
    "results/report.py": "a file of this package",
    "recipe/shipped.py": "files of this package",
    "cli/recipes.py": "files of this package, and a new one",
    "cluster/autoscaler.py": "command lines, of the kernel",
    "cluster/exposure.py": "open ports, of the kernel",
    "cluster/session_folder.py": "users, of the kernel, and a new file",
    "cluster/check_provider.py": "what the machine's firmware says",
    "cluster/kuberay_pod.py": "what Kubernetes puts into a pod",
    "search/losses.py": "what Tune has just written",
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
    assert {named(path) for path in MODULES if words in path.read_text()} <= {"data/decode.py"}


def test_consoles_are_made_in_one_place() -> None:
    makers = {named(path) for path in MODULES if "Console" in calls(path)}
    assert makers <= {"results/measuring.py"}, "take pcsearch.cli.console.console"

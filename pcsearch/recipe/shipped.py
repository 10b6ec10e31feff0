"""The recipes that come with the package, found by scanning."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Name → file: inside an installed package, or beside the package in a checkout."""
    for folder in (PACKAGE / "recipes", PACKAGE.parent / "recipes"):
        files = sorted(folder.glob("*.yaml"), key=lambda file: file.stem)
        if files:
            return {file.stem: file for file in files}
    return {}


def description(file: Path) -> str:
    """The first comment line of a recipe: what it is for."""
    with file.open(encoding="utf-8") as lines:
        first = next(lines, "")
    return first.lstrip("#").strip() if first.startswith("#") else ""

"""Recipes that the tests start from."""

from __future__ import annotations

from pathlib import Path

MINIMAL = """\
datasets: [digits]
backbones: [resnet50]
asha: {max_epochs: 9}
"""


def write(folder: Path, text: str, name: str = "my.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file

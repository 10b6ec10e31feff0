"""Recipes load without torch and without Ray."""

from __future__ import annotations

import subprocess
import sys


def test_loading_a_recipe_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from pcsearch.recipe import load_recipe; load_recipe('quickstart'); "
        "print(sorted({'torch', 'ray', 'torchvision', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""`python -m tests.fuzz.run_recipes FIRST LAST FOLDER`: load the recipes of these seeds, guarded.

Prints a line for each that ends otherwise than in recipes or in one clear error, then the counts.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections import Counter
from pathlib import Path

from pcsearch.errors import UserError
from pcsearch.recipe import load_recipe, load_recipes
from pcsearch.recipe.load import parse_recipe
from tests.fuzz.guard import UNSEEN, Guard
from tests.fuzz.recipe_cases import recipe_case, write_case


def outcome(seed: int, folder: Path, guard: Guard) -> str:
    case = recipe_case(seed)
    write_case(case, folder)
    os.mkfifo(folder / "pipe")
    try:
        with guard.case(folder):
            recipes = load_recipes(case.sources, case.overrides)
            for recipe in recipes:
                assert parse_recipe(recipe.dump_yaml()) == recipe, "it is not read back as written"
    except UserError as error:
        message = str(error)
        assert message, "the message is empty"
        assert len(message) < 100_000, f"the message has {len(message)} characters"
        assert not UNSEEN.search(message), "the message commands the terminal"
        return "refused"
    return "loaded"


def main() -> None:
    first, last, base = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    load_recipe("cub200")  # all that is imported late
    guard, counts = Guard(), Counter[str]()
    guard.install()
    for seed in range(first, last):
        folder = base / str(seed)
        folder.mkdir()
        os.chdir(folder)
        try:
            counts[outcome(seed, folder, guard)] += 1
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__}: {error}"
            print(f"seed {seed}: {told[:300]} ({where.filename}:{where.lineno})", flush=True)  # noqa: T201
        os.chdir(base)
        shutil.rmtree(folder)
    print(dict(counts))  # noqa: T201


if __name__ == "__main__":
    main()

"""A recipe may extend any file, so nothing of what a file holds that is no recipe is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe import load_recipe
from tests.e2e.cli import PACKAGE
from tests.recipe.recipes import MINIMAL, write

FOREIGN = (
    "root:$6$SECRET:19000:0:99999:7:::\ndaemon:*:19000\n", "SECRET", "a: b: SECRET\n", "[SECRET\n",
    "machine example.org login me password SECRET\n", "token: SECRET\n", "SECRET: 3\n", "'SECRET",
    "- SECRET\n- 2\n", "!SECRET 3\n", "a: !!int SECRET\n", "SECRET: 1\nSECRET: 2\n", "a: *SECRET\n",
    "%SECRET\n", "users:\n- name: SECRET\n", "search: {trials: 3}\napi_key: SECRET\n",
    "? [SECRET]\n",    "SECRET=3\nOTHER=4\n", "-----BEGIN SECRET-----\nabc\n", "a:\tSECRET\n\tb",
    "@SECRET", "`SECRET`",
)  # fmt: skip


@pytest.mark.parametrize("content", FOREIGN)
def test_nothing_of_a_foreign_file_is_shown(tmp_path: Path, content: str) -> None:
    write(tmp_path, content, "foreign")
    write(tmp_path, "extends: foreign\n", "between.yaml")
    for name in ("foreign", "between.yaml"):
        with pytest.raises(UserError) as error:
            load_recipe(write(tmp_path, f"extends: {name}\n{MINIMAL}"))
        assert "SECRET" not in str(error.value)
        assert "foreign:" in str(error.value), "the file and the line are"


def test_mistakes_of_a_recipe_that_is_extended_are_told(tmp_path: Path) -> None:
    write(tmp_path, f"{MINIMAL}train: {{momentum: 3}}\n", "base.yaml")
    with pytest.raises(UserError, match=r"base\.yaml:4: train\.momentum is 3, but must be"):
        load_recipe(write(tmp_path, "extends: base.yaml\n"))


def test_a_full_disk_leaves_no_copy(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "sys.dont_write_bytecode = True; sys.argv = ['pcsearch', *sys.argv[1:]];"
        "from pcsearch.__main__ import main; main()"
    )
    target = tmp_path / "mine.yaml"
    command = [sys.executable, "-c", code, "recipes", "copy", "quickstart", str(target)]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert done.stderr.startswith(f"error: {target}: cannot be written")
    assert not target.exists()

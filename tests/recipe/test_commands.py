"""`pcsearch recipes`: what its commands print and write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from pcsearch.cli.recipes import app
from pcsearch.errors import UserError
from pcsearch.recipe import load_recipe, shipped_recipes


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(*arguments: str) -> str:
    error = run(*arguments).exception
    assert isinstance(error, UserError)
    return str(error)


def test_ls_names_every_shipped_recipe() -> None:
    rows = json.loads(run("ls", "--json").stdout)
    assert [row["name"] for row in rows] == sorted(shipped_recipes())
    quickstart = next(row for row in rows if row["name"] == "quickstart")
    assert quickstart["datasets"] == ["digits", "fieldguide"]
    assert quickstart["backbones"] == ["compact_cnn"]
    shown = run("ls").stdout
    assert "my-images: Your own images" in shown
    assert "Pairwise Confusion (PC)" in shown.splitlines()[0]
    assert len(shown.splitlines()[0]) <= 80


def test_show_resolves_and_raw_does_not(tmp_path: Path) -> None:
    shown = run("show", "quickstart", "search.trials=3").stdout
    assert yaml.safe_load(shown)["search"]["trials"] == 3
    file = tmp_path / "shown.yaml"
    file.write_text(shown, encoding="utf-8")
    assert load_recipe(file) == load_recipe("quickstart", ["search.trials=3"])
    raw = run("show", "quickstart", "--raw").stdout
    assert raw == shipped_recipes()["quickstart"].read_text(encoding="utf-8")
    assert "--raw" in refused("show", "quickstart", "a=b", "--raw")
    assert 'did you mean "quickstart"?' in refused("show", "quickstar")


def test_copy_never_overwrites(tmp_path: Path) -> None:
    target = tmp_path / "my.yaml"
    assert run("copy", "quickstart", str(target)).exit_code == 0
    assert target.read_bytes() == shipped_recipes()["quickstart"].read_bytes()
    target.write_text("mine")
    assert refused("copy", "cub200", str(target)).endswith(
        "my.yaml: already exists; choose another name or remove it"
    )
    assert target.read_text() == "mine"
    assert run("copy", "cub200", str(tmp_path)).exit_code == 0
    assert (tmp_path / "cub200.yaml").is_file()
    assert "cannot be written" in refused("copy", "cub200", str(tmp_path / "no" / "x.yaml"))
    assert refused("copy", "cub", str(tmp_path)).startswith("cub: no such recipe")


def test_validate_prints_what_is_right_and_raises_what_is_wrong(tmp_path: Path) -> None:
    assert run("validate", "quickstart").stdout == "quickstart: ok (quickstart: 2 studies)\n"
    assert "--images FOLDER" in run("validate", "my-images").stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("datasets: [digits]\nbackbone: [vgg16]\n")
    result = run("validate", str(wrong), "cub200", "search.seed=3")
    assert result.stdout == "cub200: ok (cub200: 1 study)\n"
    assert str(result.exception).splitlines() == [
        f"{wrong}:1: backbones: missing: every recipe needs it, as in backbones=[resnet50]",
        f"{wrong}:1: asha.max_epochs: missing: every recipe needs it, as in asha.max_epochs=9",
        f'{wrong}:2: backbone: unknown key, did you mean "backbones"?',
    ]
    assert "no recipe is given" in refused("validate", "a=b")
    noted = run("validate", "quickstart", "image.resize=64")
    assert noted.stderr.startswith("note: override image.resize=64: image.resize has no effect on ")


def test_validate_lists_unknown_backbones_among_all_mistakes(tmp_path: Path) -> None:
    """In milliseconds, and no code of the user's own is imported."""
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "datasets: [digits]\nbackbones: [resnet51, 'mine:net']\nweights: none\n"
        "asha: {max_epochs: 0}\nbackbone_options: {'mine:net': {a: 1}}\n"
    )
    code = (
        "import sys\nfrom pcsearch.cli.app import main\n"
        f"sys.argv[1:] = ['recipes', 'validate', {str(wrong)!r}]\n"
        "try:\n    main()\nfinally:\n    print({'torch', 'mine'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (2, "set()\n")
    assert done.stderr.splitlines() == [
        f'error: {wrong.name}:2: backbones: unknown backbone "resnet51", did you mean "resnet50"?',
        f"{wrong.name}:4: asha.max_epochs is 0, but must be at least 1",
    ]


@pytest.mark.parametrize("command", ["ls", "show", "copy", "validate", "schema"])
def test_help_has_an_example(command: str) -> None:
    assert f"pcsearch recipes {command}" in " ".join(run(command, "--help").stdout.split())


def test_commands_import_nothing_heavy_until_they_run() -> None:
    code = (
        "import sys, pcsearch.cli.recipes; "
        "print(sorted({'torch', 'ray', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

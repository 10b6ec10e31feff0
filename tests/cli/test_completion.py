"""What the shells complete: asked as they ask, through the command itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from pcsearch.arms import competitors
from pcsearch.recipe import shipped_recipes


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with two runs, the second one active later, and a recipe."""
    for number, name in enumerate(("first-try", "second")):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "journal.jsonl").touch()
        os.utime(run / "journal.jsonl", (number, number))
    (tmp_path / "runs" / "no-run").mkdir()
    (tmp_path / "birds.yaml").touch()
    return tmp_path


def command(here: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pcsearch", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables},
    )


def bash(here: Path, *words: str, **variables: str) -> list[str]:
    """The completions of the last word; bash makes "=" a word of its own."""
    asked = {"COMP_WORDS": "\n".join(("pcsearch", *words)), "COMP_CWORD": str(len(words))}
    done = command(here, _PCSEARCH_COMPLETE="complete_bash", **asked, **variables)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


SAMPLERS = ["tpe", "gp", "random", "grid", "qmc"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tune", "quicks"], ["quickstart"]),
        (["tune", ""], [*shipped_recipes(), "birds.yaml"]),
        (["tune", "quickstart", "asha.g"], ["asha.grace_epochs=", "asha.grace_epochs=1"]),
        (["tune", "asha.r"], ["asha.reduction_factor=", "asha.rule="]),
        (["tune", "quickstart", "search.sampler", "="], SAMPLERS),
        (["tune", "quickstart", "search.sampler", "=", "t"], ["tpe"]),
        (["tune", "quickstart", "search.arms", "=", "[pc,e"], ["[pc,entropic"]),
        (["tune", "quickstart", "search.arms=[pc,"], [
            f"search.arms=[pc,{arm}" for arm in competitors() if arm != "pc"
        ]),
        (["tune", "quickstart", "datasets", "=", "fl"], ["flowers102"]),
        (["plan", "quickstart", "backbones", "=", "resnet5"], ["resnet50"]),
        (["tune", "x.yaml", "search.prior", "=", "f"], ["first-try"]),
        (["tune", "x.yaml", "train.per_backbone.vgg16.mom"], [
            "train.per_backbone.vgg16.momentum=", "train.per_backbone.vgg16.momentum=0.9"
        ]),
        (["tune", "x.yaml", "image.per_dataset.ci"], [
            "image.per_dataset.cifar10.", "image.per_dataset.cifar100."
        ]),
        (["recipes", "show", "quickstart", "image.fl"], ["image.flip=", "image.flip=true"]),
        (["recipes", "copy", "my-m"], ["my-manifest"]),
        (["data", "get", "cars", "cub"], ["cub200"]),
        (["data", "prepare", "--recipe", "cub200", "data.ro"], ["data.root=", "data.root=data"]),
        (["summary", ""], ["second", "first-try"]),
        (["trials", "f"], ["first-try"]),
        (["report", "--runs", "elsewhere", ""], []),
        (["report", "--runs", "s3://bucket/runs", ""], []),
        (["resume", ""], ["second", "first-try"]),
        (["attach", ""], ["second", "first-try"]),
        (["stop", "f"], ["first-try"]),
        (["resume", "second", "confirm.se"], ["confirm.seeds=", "confirm.seeds=5"]),
        (["simulate", "quickstart", "--curves", "se"], ["second"]),
        (["summary", "runs/"], []),
    ],
    ids=" ".join,
)  # fmt: skip
def test_bash(here: Path, words: list[str], expected: list[str]) -> None:
    assert list(dict.fromkeys(bash(here, *words))) == expected


def test_attach_and_stop_complete_the_runs_that_run(here: Path) -> None:
    with FileLock(here / "runs" / "first-try" / "driver.lock"):
        assert bash(here, "stop", "") == bash(here, "attach", "") == ["first-try"]
        assert bash(here, "summary", "") == ["second", "first-try"]


def test_zsh_and_fish_also_explain(here: Path) -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "pcsearch tune quickstart search.lambda"}
    fish = {"_PCSEARCH_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    first = command(here, **asked, **fish).stdout.splitlines()[0]
    assert first == "search.lambda_over_n=\tspace of λ/N for `pc`"
    zsh = command(here, **asked, _PCSEARCH_COMPLETE="complete_zsh").stdout
    assert zsh.startswith('_arguments \'*: :(("search.lambda_over_n=":"space of λ/N for \\`pc\\`"')


def test_a_runs_name_needs_nothing_heavy(here: Path) -> None:
    code = (
        "import sys\nfrom pcsearch.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print({'torch', 'ray', 'numpy', 'optuna', 'yaml', 'scipy'} & set(sys.modules))"
    )
    asked = {"COMP_WORDS": "pcsearch\nsummary\nf", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=here,
        env={**os.environ, **asked, "_PCSEARCH_COMPLETE": "complete_bash"},
    )
    assert done.stdout.splitlines() == ["first-try", "set()"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_call_the_installed_command(here: Path, shell: str) -> None:
    """Also from `python -m pcsearch`, whose name is no variable's."""
    script = command(here, _PCSEARCH_COMPLETE=f"source_{shell}").stdout
    assert f"_PCSEARCH_COMPLETE=complete_{shell}" in script
    shown = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert command(here, "--show-completion", shell, **shown).stdout.strip() == script.strip()


def test_bash_runs_its_script(here: Path) -> None:
    program = here / "bin" / "pcsearch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pcsearch "$@"\n')
    program.chmod(0o755)
    lines = (
        'eval "$(pcsearch --show-completion)"\n'
        "COMP_WORDS=(pcsearch tune quickstart search.control = s); COMP_CWORD=5\n"
        '_pcsearch_completion pcsearch; echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", lines],
        capture_output=True,
        text=True,
        check=True,
        cwd=here,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        },
    )
    assert done.stdout == "single\n"


def test_variables_are_the_defaults_of_folders(here: Path) -> None:
    (here / "runs").rename(here / "mine")
    assert bash(here, "summary", "", PCSEARCH_RUNS="mine") == ["second", "first-try"]
    assert "under mine" in command(here, "summary", "third", PCSEARCH_RUNS="mine").stderr
    other = command(here, "summary", "third", "--runs", "runs", PCSEARCH_RUNS="mine")
    assert "under runs" in other.stderr
    shown = command(here, "recipes", "show", "cub200", PCSEARCH_DATA="/images").stdout
    assert "root: /images" in shown
    assert "/images" in command(here, "data", "info", "cub200", PCSEARCH_DATA="/images").stdout
    for arguments in (["plan", "--help"], ["data", "get", "--help"]):
        assert "env var: PCSEARCH_" in command(here, *arguments).stdout

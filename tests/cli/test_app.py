"""The command as a process: how fast it starts, what it says of mistakes, its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "ray", "optuna", "scipy", "numpy", "sklearn", "yaml")
COMMANDS: tuple[list[str], ...] = (
    [],
    ["tune"],
    ["plan"],
    ["probe"],
    ["summary"],
    ["trials"],
    ["runs"],
    ["runs", "ls"],
    ["recipes"],
    ["recipes", "ls"],
    ["data"],
    ["data", "get"],
    ["cluster"],
    ["cluster", "init", "aws"],
)


def pcsearch(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pcsearch", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    # Typer itself loads pydantic to describe a command's options.
    heavy = HEAVY if command else (*HEAVY, "pydantic")
    script = (
        "import sys\n"
        f"sys.argv = ['pcsearch', *{command}, '--help']\n"
        "from pcsearch.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('HEAVY', [name for name in {heavy} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_starts_within_half_a_second() -> None:
    def processor_seconds() -> float:
        before = os.times()
        assert pcsearch("--help").returncode == 0
        after = os.times()
        return (
            after.children_user
            + after.children_system
            - (before.children_user + before.children_system)
        )

    # Processor time, the best of three: the machine that runs the tests may be busy.
    assert min(processor_seconds() for _ in range(3)) < 0.5


def test_version() -> None:
    from pcsearch import __version__

    assert pcsearch("--version").stdout == f"pcsearch {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sumary"], "Did you mean 'summary'?"),
        (["tune", "quickstart", "--imges", "x"], "--images"),
        (["tune"], "--images FOLDER"),
        (["tune", "quickstat"], 'did you mean "quickstart"?'),
        (["tune", "quickstart", "search.trails=3"], 'did you mean "trials"?'),
        (
            ["tune", "--images", "nowhere", "weights=none", "backbones=[compact_cnn]"],
            "nowhere",
        ),
        (["summary"], 'there are no runs under "runs"; start one with `pcsearch tune quickstart`'),
        (["summary", "nothing"], 'there is no run "nothing" under runs'),
        (["trials", "nothing"], 'there is no run "nothing" under runs'),
        (
            ["plan", "quickstart", "--price-per-hour", "3", "--no-measure"],
            "needs a speed: omit --no",
        ),
        (
            ["plan", "quickstart", "search.prior=first", "--runs", "there"],
            'search.prior: there is no run "first" under there',
        ),
        (
            ["plan", "quickstart", "--seconds-per-epoch", "nan"],
            "--seconds-per-epoch is nan, but must be 0 or more",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_message_and_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    done = pcsearch(*arguments, cwd=tmp_path, COLUMNS="200", TERM="dumb")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir()), "something was left behind"


def test_interrupt_exits_130(tmp_path: Path) -> None:
    script = (
        "import sys, pcsearch.recipe.load as load\n"
        "def interrupted(*_, **__): raise KeyboardInterrupt\n"
        "load.load_recipes = interrupted\n"
        "sys.argv = ['pcsearch', 'tune', 'quickstart']\n"
        "from pcsearch.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_examples_stand_on_lines_of_their_own() -> None:
    lines = [line.strip() for line in pcsearch("tune", "--help").stdout.splitlines()]
    assert "pcsearch tune quickstart" in lines
    assert "pcsearch tune --images ~/birds" in lines


def test_brackets_in_examples_are_no_markup() -> None:
    assert "'datasets=[cub200, cars]' budget.hours=12" in pcsearch("resume", "--help").stdout


def test_a_terminal_without_greek_letters_gets_question_marks(tmp_path: Path) -> None:
    done = pcsearch("--help", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "weight ?" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["recipes", "ls"], ["recipes", "show", "cub200"]]
)
def test_a_closed_pipe_ends_it_as_other_tools(arguments: list[str]) -> None:
    """As in `pcsearch recipes ls | head`; 1 would mean failed studies."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pcsearch", *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_a_full_disk_does_not_take_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pcsearch", "recipes", "ls"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    told = "error: the output could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize("arguments", [["--help"], ["recipes", "ls"]])
def test_a_terminal_of_no_columns_counts_as_unmeasured(arguments: list[str]) -> None:
    assert pcsearch(*arguments, COLUMNS="0").stdout == pcsearch(*arguments, COLUMNS="").stdout != ""

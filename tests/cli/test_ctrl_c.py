"""Ctrl-C at any moment of a command: it is told, whatever was going on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.cli import PACKAGE, Process, descendants

INTERRUPTED = (128 + signal.SIGINT, -signal.SIGINT)
"""Exit codes; a shell shows both as 130. Python makes itself the second where a KeyboardInterrupt
went through `exec`, which a dataclass uses, or where a Ctrl-C comes after its last clean-up."""

TWICE = """
import os, signal, sys, threading, time
from pcsearch.__main__ import main
from pcsearch.cli.ctrl_c import nothing_to_clean_up

after, between = float(sys.argv.pop()), float(sys.argv.pop())

def press():
    time.sleep(after)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(between)
    os.kill(os.getpid(), signal.SIGINT)

nothing_to_clean_up()
threading.Thread(target=press, daemon=True).start()
{command}
"""


def start(command: str, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TWICE.format(command=command), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(PACKAGE),
            "PCSEARCH_CACHE": str(cwd / "cache"),
            "OMP_NUM_THREADS": "1",
        },
    )


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("between", [0.0, 0.05])
@pytest.mark.parametrize("after", [0.05, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0])
def test_ctrl_c_twice_as_a_campaign_starts(after: float, between: float, tmp_path: Path) -> None:
    process = start("main()", "tune", "quickstart", str(between), str(after), cwd=tmp_path)
    below: set[Process] = set()
    while process.poll() is None:
        below.update(descendants(process.pid))
        time.sleep(0.01)
    _out, err = process.communicate()
    assert process.returncode in INTERRUPTED, err
    assert err.startswith("interrupted")
    assert err.count("\n") == 1, err  # told once, and no traceback
    until = time.monotonic() + 20
    while (left := [p for p in below if p.is_alive]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


def test_while_modules_are_imported_it_ends_at_once(tmp_path: Path) -> None:
    process = start("time.sleep(30)", "60", "0.1", cwd=tmp_path)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "interrupted before anything started; the same command starts it again\n"


CLEANING = """
from pcsearch.cli.ctrl_c import told_as
with told_as("so"):
    try:
        time.sleep(30)
    finally:
        print("cleaning")
        time.sleep({seconds})
        print("clean")
"""


def test_the_first_one_cleans_up_and_is_told(tmp_path: Path) -> None:
    process = start(CLEANING.format(seconds=0.1), "60", "0.3", cwd=tmp_path)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, err) == ("cleaning\nclean\n", "interrupted so\n")


def test_a_second_one_does_not_wait_for_the_cleaning(tmp_path: Path) -> None:
    process = start(CLEANING.format(seconds=30), "0.3", "0.3", cwd=tmp_path)
    began = time.monotonic()
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "interrupted so\n"
    assert time.monotonic() - began < 10


ENDED = """
import contextlib, signal, sys
from pcsearch.cli.ctrl_c import told_as
with told_as("before anything started"):
    try:
        try:
            {first}
        except BaseException as error:
            {note}
            raise
    finally:
        {last}
"""
NOTE = 'error.add_note("resume with: pcsearch resume runs/a")'


@pytest.mark.parametrize(
    ("first", "note", "last", "code", "told"),
    [
        ("raise KeyboardInterrupt", "pass", "pass", 130, "interrupted before anything started"),
        (
            "raise KeyboardInterrupt", NOTE, "pass", 130,
            "interrupted; resume with: pcsearch resume runs/a",
        ),
        ("sys.exit(143)", "pass", "pass", 143, "ended by SIGTERM before anything started"),
        (  # Ray turns the exit into another one, which the session turns back
            "sys.exit(129)", NOTE, "sys.exit(129)", 129,
            "ended by SIGHUP; resume with: pcsearch resume runs/a",
        ),
        ("sys.exit(2)", "pass", "pass", 2, ""),
    ],
)  # fmt: skip
def test_a_resume_is_promised_only_of_a_campaign_that_ran(
    first: str, note: str, last: str, code: int, told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDED.format(first=first, note=note, last=last)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
    )
    assert (done.returncode, done.stderr) == (code, told and f"{told}\n")


def test_a_background_job_of_a_shell_goes_on(tmp_path: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    script = ignoring + TWICE.format(command="time.sleep(0.5); print('went on')")
    process = subprocess.run(
        [sys.executable, "-c", script, "0.1", "0.1"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "went on\n", "")

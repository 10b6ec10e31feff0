"""Progress of `pcsearch data`: what a log gets, and what a terminal shows."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pcsearch.cli.data.progress import Lines, Pace, how_far, show_progress
from tests.data.download.server import Habits, running
from tests.data.download.small_cub import part_of, tgz

PACKAGE = Path(__file__).resolve().parents[2]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_resumed_bytes_are_no_speed() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.report(900_000_000, 1_000_000_000)
    assert pace.per_second is None
    clock.now += 10
    pace.report(950_000_000, 1_000_000_000)
    assert pace.per_second == 5_000_000
    assert pace.seconds_left == 10
    assert how_far(pace, is_bytes=True) == ("950.0 MB of 1.00 GB, 5.0 MB/s, ~0:10 left")
    pace.report(0, None)  # it had to start over
    clock.now += 2
    pace.report(4_000_000, None)
    assert pace.per_second == 2_000_000


def test_units_are_said_once() -> None:
    pace = Pace(Clock())
    pace.report(1_500, 20_000)
    assert how_far(pace, is_bytes=True) == "1.5 of 20.0 kB"
    assert how_far(pace, is_bytes=False) == "1,500 of 20,000"
    pace.report(1_500, None)
    assert how_far(pace, is_bytes=True) == "1.5 kB"


def test_plain_lines_begin_end_and_every_half_minute() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(stream, clock)
    for second in range(100):
        clock.now += 1
        lines.moved("downloading", "a.tgz", 1_000_000 * (second + 1), 100_000_000)
    lines.noted("a note")
    lines.counted("decoding", 3, 3)
    assert stream.getvalue().splitlines() == [
        "downloading a.tgz: 1.0 of 100.0 MB, resuming at 1.0 MB",
        "downloading a.tgz: 31.0 of 100.0 MB, 1.0 MB/s, ~1:09 left",
        "downloading a.tgz: 61.0 of 100.0 MB, 1.0 MB/s, ~0:39 left",
        "downloading a.tgz: 91.0 of 100.0 MB, 1.0 MB/s, ~0:09 left",
        "downloading a.tgz: 100.0 of 100.0 MB, 1.0 MB/s, ~0:00 left",
        "a note",
        "decoding: 3 of 3",
    ]


def test_a_pipe_and_a_dumb_terminal_get_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    with show_progress(io.StringIO()) as progress:
        assert isinstance(progress, Lines)
    monkeypatch.setenv("TERM", "dumb")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, show_progress(stream) as progress:
        assert isinstance(progress, Lines)
    os.close(ours)


GET = """
import sys
sys.path.insert(0, {package!r})
from pcsearch.cli.app import main
from pcsearch.data.catalog import DATASETS
from tests.data.download.small_cub import entry
DATASETS["cub200"] = entry({url!r})
sys.argv = ["pcsearch", "data", "get", "cub200"]
main()
"""


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_leaves_what_can_be_resumed(tmp_path: Path) -> None:
    with running() as server:
        url = server.serve("/a.tgz", Habits(tgz(), stall_after=200_000))
        program = GET.format(package=str(PACKAGE), url=url)
        shown, code = on_a_terminal(program, tmp_path, interrupt_at="200.0 of 302.8")
        assert code == 130
        assert "interrupted: repeat the command to continue from here" in shown
        assert "Traceback" not in shown
        assert re.search(r"downloading CUB_200_2011\.tgz .*200\.0 of 302\.8 kB", shown)
        assert part_of(tmp_path / "data").stat().st_size == 200_000
        server.serve("/a.tgz", Habits(tgz(), seconds_per_chunk=0.01))
        shown, code = on_a_terminal(program, tmp_path)
        assert code == 0
        assert "200.0 of 302.8 kB, resuming at 200.0 kB" in shown
        assert "cub200: downloaded (102.8 kB), in data/CUB_200_2011" in shown


def on_a_terminal(code: str, folder: Path, interrupt_at: str | None = None) -> tuple[str, int]:
    """Run it, and press Ctrl-C once that text is shown; what was shown, and the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "NO_COLOR": "1"},
    )
    os.close(theirs)
    shown = ""
    while True:
        try:
            piece = os.read(ours, 4096).decode(errors="replace")
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        shown += piece
        if interrupt_at is not None and interrupt_at in shown:
            process.send_signal(signal.SIGINT)
            interrupt_at = None
    os.close(ours)
    return shown, process.wait(timeout=30)

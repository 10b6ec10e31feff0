"""Make the tutorial's pictures again: run its commands in a new folder, and save what appears.

    python scripts/docs_pictures.py          about four minutes on two cores; needs Chromium

The commands are those of docs/tutorial.md, and their output is real. Each picture of a terminal is
an SVG that loads nothing from elsewhere.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = ROOT / "docs/tutorial.md"
PICTURES = ROOT / "docs/pictures"
WIDTH = 100
LIVE_AT = 0.4
"""The part of the live view's frames after which its picture is taken."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_REDRAWN = re.compile(r"(?:\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)*|\x1b\[H)")
_CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-LN-Za-ln-z]|\r")
_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, text in _FENCE.findall(TUTORIAL.read_text()):
            if kind == "yaml":
                (folder / text.split()[1]).write_text(text)
            elif kind == "sh":
                _run_block(text, folder)
        _screenshot(folder / "runs/first-try/report.html")


def _run_block(text: str, folder: Path) -> None:
    """Run a block, command by command where it is pcsearch's, and save the pictures among them."""
    lines = text.splitlines()
    if not all(line.startswith("pcsearch ") for line in lines):
        # verify, after the folder is mended, ends well and has no picture
        subprocess.run(["bash", "-c", text], cwd=folder, env=_environment(folder), check=True)
        return
    for line in lines:
        command = line.partition("#")[0].strip()
        output = _on_terminal(command, folder)
        words = command.split()
        name = "-".join(words[1:3] if words[1] in ("data", "recipes") else words[1:2])
        if name == "data-verify":
            _save("verify", command, output)
        elif name in ("plan", "summary"):
            _save(name, command, output)
        elif name == "tune":
            frames = [one for one in _REDRAWN.split(output) if one.count("\n") > 5]
            _save("live", command, frames[int(len(frames) * LIVE_AT)])


def _environment(folder: Path) -> dict[str, str]:
    """A terminal of `WIDTH` columns, with `pcsearch` and `python` those that run this script."""
    programs = folder / ".bin"
    if not programs.exists():
        programs.mkdir()
        for name, arguments in (("python", ""), ("pcsearch", "-m pcsearch")):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
            (programs / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PCSEARCH_CACHE": str(folder / ".cache"),
        "TERM": "xterm-256color",
        "COLUMNS": str(WIDTH),
        "LINES": "40",
    }


def _on_terminal(command: str, folder: Path) -> str:
    """What a command writes on a terminal, whatever its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=_environment(folder), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # Linux ends a terminal by an error
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    print(f"{command}: exit {process.wait()}")
    return b"".join(parts).decode()


def _save(name: str, command: str, output: str) -> None:
    """Save the last screen of an output as an SVG, under its command."""
    shown = _CONTROL.sub("", _REDRAWN.split(output)[-1]).rstrip()
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    # an empty last line, because the picture's end cuts off the lower ends of letters
    console.print(Text(f"$ {command}", style="bold"), Text.from_ansi(shown), "", sep="\n")
    svg = console.export_svg(title="", unique_id=name)
    (PICTURES / f"{name}.svg").write_text(_FACE.sub("", svg).replace("Fira Code, ", ""))


def _screenshot(page: Path) -> None:
    """The upper part of a page, as a PNG of few colours."""
    from PIL import Image

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium: docs/pictures/report.png stays as it is")
    target = PICTURES / "report.png"
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1300"]
    command = [browser, *flags, f"--screenshot={target}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    Image.open(target).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


if __name__ == "__main__":
    main()

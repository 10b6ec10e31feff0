"""`pcsearch audit`: check that a run's numbers follow from its journal."""

from __future__ import annotations

from dataclasses import asdict

import typer

from pcsearch.cli.options import RUNS, Json, Run, Runs, examples

EPILOG = examples(
    "pcsearch audit",
    "pcsearch audit runs/first-try --json",
)

EXIT_CHANGED = 1
"""Something was changed after it was written."""


def audit(run: Run = None, runs: Runs = RUNS, as_json: Json = False) -> None:
    """Decide everything in a run again from its journal, and compare. Nothing is trained.

    Checked: the seals of the journal; every trial, stop, choice and verdict; that no test image was
    opened before the choice; the kept predictions; the stored summary. The exit code is 1 if
    anything was changed.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.printable import printable
    from pcsearch.reporting.audit import audit as audited
    from pcsearch.runs.find import find_run

    folder = find_run(run, runs)
    checks = audited(folder)
    passed = all(check.passed for check in checks)
    if as_json:
        rows = [asdict(check) | {"passed": check.passed} for check in checks]
        write_json({"run": str(folder.address), "passed": passed, "checks": rows}, indent=2)
    else:
        terminal = console()
        for check in checks:
            mark, style = ("✓", "green") if check.passed else ("✗", "bold red")
            terminal.print(f"[{style}]{mark}[/] {check.name}: ", end="", markup=True)
            terminal.print(printable(check.told), markup=False)
            for line in check.wrong:
                terminal.print(f"    {printable(line)}", markup=False, style="red")
        terminal.print(_verdict(passed), markup=False)
    if not passed:
        raise typer.Exit(EXIT_CHANGED)


def _verdict(passed: bool) -> str:
    if passed:
        return "The run's numbers follow from its journal."
    return "The run was changed after it was written: take it from a copy, or run it again."

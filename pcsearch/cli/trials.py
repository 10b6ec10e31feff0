"""`pcsearch trials`: list a run's trials."""

from __future__ import annotations

import typer

from pcsearch.cli.options import RUNS, Json, Run, Runs, examples

EPILOG = examples(
    "pcsearch trials",
    "pcsearch trials first-try --json | jq 'select(.state == \"FAILED\") | .error'",
)


def trials(run: Run = None, runs: Runs = RUNS, as_json: Json = False) -> None:
    """List a run's trials, their configurations and results.

    A confirm trial is "superseded" once a wider search has chosen another configuration.

    --json prints one object a line: the trial, its study, phase and arm, its state, configuration,
    validation top-1 by epoch, seconds and error. A trial that has not ended has the state RUNNING,
    even if its run was killed; pcsearch summary --json says whether the run still runs.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.reporting.notes import journal_notes
    from pcsearch.reporting.summary import trial_rows
    from pcsearch.runs.find import find_run, resume_command

    folder = find_run(run, runs)
    state = folder.state()
    rows = trial_rows(state)
    if as_json:
        for row in rows:
            write_json(row)
        for line in journal_notes(state):
            typer.echo(line, err=True)
        return
    from pcsearch.reporting.trials_table import shown_rows, trials_table

    terminal = console()
    running = bool(state.running) and folder.status(state, quick=True) == "running"
    terminal.print(trials_table(shown_rows(rows, running=running), terminal.width))
    for line in journal_notes(state):
        typer.echo(line)
    if state.running and not running:
        typer.echo(
            "The run was interrupted. To restart its interrupted trials from their checkpoints: "
            f"{resume_command(folder.address)}"
        )

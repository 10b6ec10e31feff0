"""`python -m tests.fuzz.run_runs FIRST LAST FOLDER`: read the run folders of these seeds, guarded.

Prints a line for each that ends otherwise than in a result or in one clear error, then the counts.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pcsearch.cli.console import console, print_summary
from pcsearch.data.labels_file import load_test, load_training
from pcsearch.errors import PcsearchError
from pcsearch.recipe.load import read_resolved
from pcsearch.reporting.analysis_tables import analysis_tables
from pcsearch.reporting.details_tables import class_view, image_view, trial_view
from pcsearch.reporting.html import html_report
from pcsearch.reporting.image_details import StudyPredictions
from pcsearch.reporting.summary import summarise, trial_rows
from pcsearch.reporting.trial_details import trial_details
from pcsearch.reporting.trials_table import trials_table
from pcsearch.runs.folder import RunFolder, check_free, find_run, list_runs
from pcsearch.search.journal.journal_file import FileJournal
from pcsearch.search.trial import checkpoint_folder
from pcsearch.training.checkpoints import Checkpoints
from tests.fuzz.guard import UNSEEN, Guard
from tests.fuzz.run_cases import change_run
from tests.fuzz.run_template import TRIAL, Template, make_template, snapshot

ENDED = {"event": "ended", "status": "interrupted", "t": 1e6}


def summary(folder: Path, template: Template) -> None:
    state = find_run("one", folder / "runs").state()
    told = summarise(state, RunFolder(folder / "runs" / "one").status(state))
    told.to_json()
    shown = io.StringIO()
    terminal = console(shown)
    print_summary(terminal, told)
    terminal.print(trials_table(trial_rows(state), terminal.width))
    _check_seen(shown.getvalue())


def show(folder: Path, template: Template) -> None:
    run = find_run("one", folder / "runs")
    state, shown = run.state(), io.StringIO()
    terminal = console(shown)
    told = summarise(state, read=run.read_bytes)
    json.dumps(told.to_json(), allow_nan=False)
    terminal.print(analysis_tables(told))
    for name in list(state.trials)[-2:]:
        terminal.print(trial_view(trial_details(run.events(), name), state.plan, running=False))
    for study in state.plan.studies:
        found = StudyPredictions(state, study, run.read_bytes)
        for name in found.class_names[:2]:
            terminal.print(class_view(found.of_class(name)))
        for name in found.image_names[:2]:
            terminal.print(image_view(found.image(name)))
    _check_seen(shown.getvalue())


def report(folder: Path, template: Template) -> None:
    """Of every sixteenth only: figures take half a second."""
    run = RunFolder(folder / "runs" / "one")
    if not folder.name.isdigit() or int(folder.name) % 16 == 0:
        state = run.state()
        _check_seen(html_report(run, state, run.status(state)))


def _check_seen(shown: str) -> None:
    found = UNSEEN.search(shown)
    assert found is None, f"{found and found[0]!r} is shown"


def runs(folder: Path, template: Template) -> None:
    for run in list_runs(folder / "runs"):
        run.status(run.state())


def recipe(folder: Path, template: Template) -> None:
    read_resolved(folder / "runs" / "one" / "recipe.yaml")


def taken(folder: Path, template: Template) -> None:
    check_free(folder / "runs", "one")


def labels(folder: Path, template: Template) -> None:
    data, cache = folder / "runs" / "one" / "data", folder / "cache"
    load_training(data / "digits.train.npz", cache)
    load_test(data / "digits.test.npz", cache)


def checkpoints(folder: Path, template: Template) -> None:
    run = RunFolder(folder / "runs" / "one")
    own = Checkpoints(run.checkpoints / checkpoint_folder(TRIAL), 1, every_seconds=0)
    found = own.load(template.identity)
    if found is not None:
        own.save(found, template.identity)


def further_event(folder: Path, template: Template) -> None:
    with (
        contextlib.suppress(OSError),
        FileJournal(folder / "runs" / "one" / "journal.jsonl") as journal,
    ):
        journal.append(ENDED)


def the_end(folder: Path, template: Template) -> None:
    with contextlib.suppress(OSError):
        RunFolder(folder / "runs" / "one").finish({}, whole=True)


STEPS: tuple[Callable[[Path, Template], None], ...] = (
    summary,
    show,
    report,
    runs,
    recipe,
    taken,
    labels,
    checkpoints,
    further_event,
    the_end,
)


def main() -> None:
    first, last, base = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    logging.disable()
    template = make_template(base / "template")
    for step in STEPS:  # all that is imported late
        template.copy_to(base / "whole")
        with contextlib.suppress(PcsearchError):
            step(base / "whole", template)
        shutil.rmtree(base / "whole")
    guard, counts = Guard(), Counter[str]()
    guard.install()
    for seed in range(first, last):
        folder = base / str(seed)
        template.copy_to(folder)
        os.chdir(folder)
        change_run(folder / "runs" / "one", folder / "canary", seed)
        before = snapshot(folder / "canary")
        for step in STEPS:
            counts[_outcome(seed, step, folder, template, guard)] += 1
        if snapshot(folder / "canary") != before:
            print(f"seed {seed}: something beside the run folder was changed", flush=True)  # noqa: T201
        os.chdir(base)
        shutil.rmtree(folder)
    print(dict(counts))  # noqa: T201


def _outcome(
    seed: int,
    step: Callable[[Path, Template], None],
    folder: Path,
    template: Template,
    guard: Guard,
) -> str:
    try:
        with guard.case(folder):
            step(folder, template)
    except PcsearchError as error:
        message = str(error)
        assert message, "the message is empty"
        assert not UNSEEN.search(message), "the message commands the terminal"
        return "refused"
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "pcsearch/" in frame.filename] or frames
        told, where = f"{type(error).__name__}: {error}"[:300], own[-1]
        print(f"seed {seed}, {step.__name__}: {told} ({where.filename}:{where.lineno})", flush=True)  # noqa: T201
        return "failed"
    return "done"


if __name__ == "__main__":
    main()

"""Start or resume campaigns, and record how they end."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pcsearch.cluster.session.capacity import Sizing
from pcsearch.code_consent import allowed, code_of, own_modules, remember
from pcsearch.data.cache import default_cache_folder
from pcsearch.errors import NodeError, UserError
from pcsearch.execution.preflight.datasets import open_datasets
from pcsearch.execution.preflight.model_check import all_plain, all_published_weights
from pcsearch.execution.preflight.prepare import PreparedCampaign, prepare_campaigns
from pcsearch.execution.preflight.speed import forecast
from pcsearch.execution.worker_data import publish_labels
from pcsearch.printable import printable_lines
from pcsearch.recipe.load import with_absolute_paths
from pcsearch.recipe.schema import Recipe
from pcsearch.reporting.summary import Summary, summarise
from pcsearch.reporting.warnings import first_near_perfect
from pcsearch.runs.find import Runs, check_free, check_place, free_names, new_run
from pcsearch.runs.folder import RunFolder, environment, resume_command, shown_address
from pcsearch.runs.prior_runs import all_earlier_runs, check_earlier_runs
from pcsearch.runs.shutdown import Ending
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import Event
from pcsearch.search.observer import Observer
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState, Status, replay
from pcsearch.storage import LeaseLostError, StorageError
from pcsearch.version import __version__


@dataclass
class CampaignEnd:
    """How a campaign ended: interrupted unless it is called with True, that all is done."""

    campaign: Campaign
    status: Status = "interrupted"
    summary: Summary | None = None
    """As it was stored, once it was."""

    def __call__(self, complete: bool) -> None:
        self.status = _status_of(self.campaign) if complete else "interrupted"


@contextlib.contextmanager
def record_outcome(
    campaign: Campaign, folder: RunFolder, observer: Observer, go_on: str
) -> Iterator[CampaignEnd]:
    """Record how a campaign ended, also after an error; `go_on` is the command that resumes it."""
    end = CampaignEnd(campaign)
    try:
        yield end
        end.summary = _write_end(campaign, folder, end.status)
    except LeaseLostError:
        raise  # another process runs it now
    except StorageError as error:  # the end cannot be written either
        raise StorageError(f"{error}. Then resume with: {go_on}") from error
    except NodeError as error:
        _write_end(campaign, folder, end.status)
        raise UserError(
            f"{error}. Finished work is kept. Fix this, then resume with: {go_on}"
        ) from error
    except BaseException as error:
        if isinstance(error, OSError) and _is_in(folder.path, error.filename):
            raise UserError(
                f"{folder.address} can no longer be written ({error.strerror or error}). The "
                "journal is complete up to here. Free some space or fix its permissions, then "
                f"resume with: {go_on}"
            ) from error
        with contextlib.suppress(Exception):
            _write_end(campaign, folder, end.status)
        error.add_note(f"resume with: {go_on}")
        raise
    finally:
        observer.finished(end.status)


def _is_in(folder: Path, filename: object) -> bool:
    """Whether an error is about a file in `folder`; an error of a closed pipe names no file."""
    if not isinstance(filename, str | bytes):
        return False
    return Path(os.fsdecode(filename)).absolute().is_relative_to(folder.absolute())


def _write_end(campaign: Campaign, folder: RunFolder, status: Status) -> Summary:
    campaign.end(status)
    # who interrupts a campaign may have seconds, and large predictions take some to read
    read = None if status == "interrupted" else folder.read_bytes
    summary = summarise(campaign.state, read=read)
    folder.finish(summary.to_json(), whole=campaign.done)
    return summary


def _status_of(campaign: Campaign) -> Status:
    """The final status of a campaign that is done."""
    return "failed" if campaign.state.failed_studies() else "complete"


_EXIT_WITHOUT_RAY = 3


@dataclass(frozen=True)
class Outcome:
    """One campaign's end."""

    folder: RunFolder
    state: CampaignState
    summary: Summary
    cluster: str | None = None
    """The address of its cluster; None if it ran on this machine alone."""

    @property
    def resume_command(self) -> str:
        """The command that resumes it."""
        return resume_command(self.folder.address, self.cluster)


def run_recipes(
    recipes: Sequence[Recipe],
    *,
    runs: Runs,
    name: str | None,
    address: str | None,
    observer: Observer,
    agree: Callable[[], bool] = lambda: True,
    hours: float | None = None,
    notes: Sequence[str] = (),
) -> Iterator[Outcome]:
    """Prepare every recipe, then run them in turn on one Ray session. Stop if one is interrupted.

    Yields each campaign's outcome when it ends. `agree` is asked before a campaign of more than a
    day on this machine. `hours` changes trials, epochs and seeds so that they fill this time here.
    `notes` are sentences on the recipes, told if nothing is wrong with their datasets.
    """
    recipes, earlier = all_earlier_runs([with_absolute_paths(recipe) for recipe in recipes], runs)
    for recipe in recipes:
        own_modules(recipe.code)
    if name is not None and len(recipes) > 1:
        raise UserError(f"--name names one run, but there are {len(recipes)} recipes; omit --name")
    names = [name] if name is not None else free_names(runs, [recipe.name for recipe in recipes])
    for run_name in names:
        check_free(runs, run_name)
    check_place(runs)
    opened = [open_datasets(recipe) for recipe in recipes]
    check_earlier_runs(recipes, opened, earlier)
    for line in notes:
        observer.noted(line)
    # Early nodes cost money before a campaign counts its spending.
    early = address is not None and recipes[0].budget.cost is None
    if hours is not None:
        recipes = [_fitted(recipes, hours, address, observer)]
    about = {
        "recipes": ", ".join(recipe.name for recipe in recipes),
        "runs": str(runs),
        "name": ", ".join(names),
    }
    with prepare_campaigns(
        recipes,
        opened,
        address,
        observer,
        early,
        about,
        earlier=earlier,
        on_plan=lambda recipe, plan: _tell_time(recipe, plan, observer, agree),
    ) as all_ready:
        for ready, run_name in zip(all_ready, names, strict=True):
            text = ready.recipe.dump_yaml()
            with new_run(runs, run_name, text, _environment(ready)) as folder:
                if folder.url is None:
                    remember(folder.path, ready.recipe.code)
                outcome = run_in(folder, ready, observer)
            yield outcome
            if outcome.summary.status == "interrupted":
                return


def _fitted(
    recipes: Sequence[Recipe], hours: float, address: str | None, observer: Observer
) -> Recipe:
    """The one recipe, made to fill the hours on this machine."""
    from pcsearch.execution.preflight.fit_hours import fit_to_hours

    if address is not None:
        raise UserError(
            "--hours measures this machine, but --address trains elsewhere: omit --hours and set "
            "budget.hours, or omit --address"
        )
    if len(recipes) > 1:
        raise UserError(
            f"--hours takes one recipe, but there are {len(recipes)}; start them one by one"
        )
    if not (math.isfinite(hours) and hours > 0):
        raise UserError(f"--hours is {hours:g}, but must be greater than 0")
    return fit_to_hours(recipes[0], hours, observer)


def _tell_time(recipe: Recipe, plan: Plan, observer: Observer, agree: Callable[[], bool]) -> None:
    """Say how long a campaign on this machine takes, and ask if it is more than a day.

    The smallest network starts at once: measuring it would cost the import of PyTorch.
    """
    is_tiny = set(recipe.backbones) == {"compact_cnn"} and all_plain(recipe)
    measured = None if is_tiny else forecast(recipe, plan)
    if measured is None:
        return
    for line in measured.sentences(plan):
        observer.noted(line)
    if measured.is_above_a_day(plan) and not agree():
        raise UserError("not started, as you answered; no run was made")


def _environment(ready: PreparedCampaign) -> dict[str, Any]:
    """What is stored with the run: versions, machine, weights, hashes of the user's code."""
    code = code_of(ready.recipe.code)
    del code["pcsearch"]  # its version stands beside
    published = all_published_weights(ready.recipe)
    licences = {name: asdict(weights) for name, weights in published.items()}
    return environment(ready.weights, licences) | ({"code": code} if code else {})


def run_in(
    folder: RunFolder,
    ready: PreparedCampaign,
    observer: Observer,
    state: CampaignState | None = None,
    on_start: Callable[[Campaign], None] = lambda campaign: None,
) -> Outcome:
    """Run a campaign in its locked folder, from its start or from `state`.

    Args:
        folder: Holds its journal, or will hold it.
        ready: What to run.
        observer: Receives its progress.
        state: The state from its journal; None starts a new campaign.
        on_start: Called with the campaign before its first trial.

    Raises:
        UserError: the journal can no longer be written; it is complete up to there.
    """
    from pcsearch.cluster.session.processes import lifeline, stderr_to_file
    from pcsearch.execution.tuner import run_campaign

    for dataset in ready.datasets:
        publish_labels(dataset, folder.data)
    folder.share_data()
    state = _reloaded(folder, state, observer)
    began = time.monotonic() - (state.seconds if state else 0.0)
    sizing = ready.sizing
    with folder.open_journal(after=state.events if state else 0) as journal:
        campaign = Campaign(
            ready.plan if state is None else state.plan,
            journal,
            clock=lambda: time.monotonic() - began,
            max_concurrent=sizing.max_concurrent,
            state=state,
            listener=lambda event, now: _watch(event, now, folder, observer),
        )
        on_start(campaign)
        campaign.advance()
        ending = Ending(folder.stop_marker())
        observer.started(shown_address(folder.address), campaign.plan, sizing.max_concurrent)
        go_on = resume_command(folder.address, ready.address)
        with (
            record_outcome(campaign, folder, observer, go_on) as end,
            lifeline(lambda what: _without_ray(what, folder, observer, go_on)),
            stderr_to_file(folder.path / "driver.log"),
        ):
            complete = run_campaign(
                campaign,
                worker_context(ready.recipe, campaign.plan, folder, sizing),
                ending,
                cpus_per_trial=sizing.cpus_per_trial,
                gpus_per_trial=sizing.gpus_per_trial,
                one_machine=ready.one_machine,
                tick=_ticker(campaign, ready, ending, observer, began),
                stopping=observer.stopping,
            )
            end(complete)
    assert end.summary is not None
    return Outcome(folder, campaign.state, end.summary, ready.address)


def _ticker(
    campaign: Campaign,
    ready: PreparedCampaign,
    ending: Ending,
    observer: Observer,
    began: float,
) -> Callable[[int], None]:
    """The function to call about ten times a second with the number of waiting trials."""
    from pcsearch.execution.node_watch import NodeWatch

    sizing = ready.sizing
    nodes = NodeWatch(
        campaign,
        sizing.cpus_per_trial,
        sizing.gpus_per_trial,
        grows=not ready.one_machine,
        told=observer.noted,
    )

    def tick(waiting: int) -> None:
        if not ending.requested:
            nodes.look(waiting)
        elapsed_seconds = time.monotonic() - began
        observer.tick(campaign.state, elapsed_seconds, sizing.max_concurrent, waiting)

    return tick


def _reloaded(
    folder: RunFolder, state: CampaignState | None, observer: Observer
) -> CampaignState | None:
    """Reload the state of a resumed campaign and send its history to the observer.

    A driver that was cut off from the store and lost the run may write one last event during the
    preparation.
    """
    if state is None:
        return None
    events = list(folder.events())
    observer.history(events)
    return state if state.events == len(events) else replay(events)


def _without_ray(what: str, folder: RunFolder, observer: Observer, go_on: str) -> None:
    """End this process, since calls to Ray would never return. The journal is complete."""
    told = (
        f"error: Ray on this machine ended unexpectedly (its {what}). Finished work is kept. "
        f"Resume with: {go_on}\n"
    )
    try:
        observer.finished("interrupted")
        with contextlib.suppress(OSError):  # stdout may be closed
            sys.stdout.flush()
            os.write(1, printable_lines(told).encode())
        folder.let_go()
    finally:  # this is not the main thread, which waits for ever
        os._exit(_EXIT_WITHOUT_RAY)


def finish(folder: RunFolder, state: CampaignState) -> Outcome:
    """Write the missing end of a campaign that has nothing left to do."""
    if state.status not in ("complete", "failed"):
        with folder.open_journal(after=state.events) as journal:
            campaign = Campaign(state.plan, journal, clock=lambda: state.seconds, state=state)
            campaign.end(_status_of(campaign))
    summary = summarise(state, read=folder.read_bytes)
    folder.finish(summary.to_json(), whole=True)
    return Outcome(folder, state, summary)


def _watch(event: Event, state: CampaignState, folder: RunFolder, observer: Observer) -> None:
    """Pass an event to the observer, and remove the checkpoints of a trial that ended."""
    if event.get("trial") and event["trial"] not in state.running:
        folder.drop_checkpoints(event["trial"])
    observer.event(event, state)
    if (line := first_near_perfect(event, state)) is not None:
        observer.noted(line)


def worker_context(recipe: Recipe, plan: Plan, folder: RunFolder, sizing: Sizing) -> dict[str, Any]:
    """The fields of `WorkerContext`, as plain data, for the workers."""
    return {
        "recipe": recipe.dump_yaml(),
        "cache": str(default_cache_folder()),
        "data": str(folder.data.resolve()),
        "checkpoints": str(folder.checkpoints.resolve()),
        "weights": str(folder.weights.resolve()),
        "cpus": max(1, int(sizing.cpus_per_trial)),
        "gpus": sizing.gpus_per_trial,
        "split_hashes": {study.id: study.split_hash for study in plan.studies},
        "code": code_of(recipe.code),
        "allowed_code": list(allowed()),
        "import_path": str(Path.cwd()),
        "version": __version__,
        "bfloat16": [study.id for study in plan.studies if study.bfloat16],
        "remote": folder.url,
    }

"""The trained networks that a run keeps, or that an exported folder holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from pcsearch.errors import UserError, did_you_mean
from pcsearch.execution.exported_folder import is_exported, read_exported
from pcsearch.reporting.better_arm import better_arm
from pcsearch.reporting.formatting import label
from pcsearch.reporting.summary import summarise
from pcsearch.reporting.summary_types import StudySummary, Summary
from pcsearch.runs.find import Runs, find_run, resume_command
from pcsearch.runs.folder import RunFolder, shown_address
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Trial, weights_file
from pcsearch.training.export import NetworkFacts, load_trained, read_facts


@dataclass(frozen=True)
class KeptNetwork:
    """A trained network of a study.

    Attributes:
        arm: The arm that trained it.
        file: Its weights, a file of safetensors.
        facts: What is needed to use it.
    """

    arm: str
    file: Path
    facts: NetworkFacts

    def load(self) -> nn.Module:
        """The network in evaluation mode; see `load_trained`."""
        return load_trained(self.facts, self.file)


@dataclass(frozen=True)
class KeptStudy:
    """The networks of a study that can be used.

    Attributes:
        study: The study's id.
        networks: At least one, in the order of the arms.
        best: The arm to use by default, or the one that was asked for.
        why: A sentence that says which arm this is, and why.
        folder: The run; None for an exported folder.
        state: The campaign; None for an exported folder.
    """

    study: str
    networks: tuple[KeptNetwork, ...]
    best: str
    why: str
    folder: RunFolder | None = None
    state: CampaignState | None = None

    @property
    def network(self) -> KeptNetwork:
        """The network of the arm `best`."""
        return next(one for one in self.networks if one.arm == self.best)

    @property
    def summary(self) -> Summary | None:
        """The summary of the run; None for an exported folder."""
        return None if self.state is None else summarise(self.state)


@contextmanager
def kept_networks(
    source: str, runs: Runs, study: str | None = None, arm: str | None = None
) -> Iterator[KeptStudy]:
    """The networks of one study of a run, or the one in an exported folder.

    Files from an object store are copied for the time of the block.

    Args:
        source: A run (see `find_run`), or a folder of `pcsearch export`.
        runs: Where runs are looked up by name.
        study: A study's id, or its data set or backbone if that names one study.
        arm: An arm's name; by default the better one by the run's test results.

    Raises:
        UserError: no such run, study or arm; or no weights are there. The text says what is
            missing.
    """
    if is_exported(Path(source)):
        yield _of_exported(Path(source), study, arm)
        return
    folder = find_run(source, runs)
    with tempfile.TemporaryDirectory(prefix="pcsearch-") as copies:
        yield _of_run(folder, study, arm, Path(copies))


def _of_exported(folder: Path, study: str | None, arm: str | None) -> KeptStudy:
    exported = read_exported(folder)
    if study is not None and study not in (exported.study, *exported.study.split("/", 1)):
        raise UserError(f'{folder} holds the study "{exported.study}", not "{study}"')
    if arm is not None and arm != exported.arm:
        raise UserError(f"{folder} holds the network of the arm {exported.arm} alone, not {arm}")
    network = KeptNetwork(exported.arm, exported.weights, exported.facts)
    why = f"Network: {label(exported.arm)} of {exported.study}, from {folder}."
    return KeptStudy(exported.study, (network,), exported.arm, why)


def _of_run(folder: RunFolder, study: str | None, arm: str | None, copies: Path) -> KeptStudy:
    state = folder.trusted_state()
    summary = summarise(state, folder.status(state, quick=True))
    chosen = choose_study(summary, study, folder)
    if arm is not None and arm not in chosen.arms:
        hint = did_you_mean(arm, chosen.arms) or f" (its arms: {', '.join(chosen.arms)})"
        raise UserError(f'{chosen.id} has no arm "{arm}"{hint}')
    trials = _trials(state, chosen)
    wanted = trials if arm is None else {arm: trials[arm]} if arm in trials else {}
    if not wanted:
        raise UserError(_nothing_kept(folder, state, chosen, summary.status, arm, list(trials)))
    networks = [_network(folder, name, trial, copies) for name, trial in wanted.items()]
    kept = [network for network in networks if network is not None]
    if not kept:
        files = ", ".join(f"weights/{weights_file(trial.spec)}" for trial in wanted.values())
        raise UserError(
            f"{shown_address(folder.address)} lacks {files}, although {_written(wanted)}; restore "
            "it from a copy of the run"
        )
    names = [network.arm for network in kept]
    if arm is None:
        better = better_arm(chosen, names)
        best, why = better.arm, f"Network: {label(better.arm)} of {chosen.id}. It has {better.why}"
    else:
        best, why = arm, f"Network: {label(arm)} of {chosen.id}, as asked for"
    return KeptStudy(chosen.id, tuple(kept), best, f"{why}.", folder, state)


def _written(trials: Mapping[str, Trial]) -> str:
    names = ", ".join(trial.spec.trial for trial in trials.values())
    return f"the weights of {names} were written"


def choose_study(summary: Summary, study: str | None, folder: RunFolder) -> StudySummary:
    """The study that is asked for, or the only one; see `kept_networks`."""
    known = [one.id for one in summary.studies]
    if study is None:
        found = summary.studies
    else:
        found = tuple(one for one in summary.studies if one.id == study) or tuple(
            one for one in summary.studies if study in (one.dataset, one.backbone)
        )
    if len(found) == 1:
        return found[0]
    run = shown_address(folder.address)
    if not found:
        parts = [part for one in summary.studies for part in (one.dataset, one.backbone)]
        hint = did_you_mean(study or "", [*known, *parts]) or f"; its studies: {', '.join(known)}"
        raise UserError(f'{run} has no study "{study}"{hint}')
    ids = ", ".join(one.id for one in found)
    raise UserError(f"{run} has {len(found)} studies; name one with --study: {ids}")


def _trials(state: CampaignState, study: StudySummary) -> dict[str, Trial]:
    """By arm, the confirm trial of its choice whose weights were written."""
    return {
        name: trial
        for name in study.arms
        for trial in state.arms[study.id, name].trials["confirm"]
        if trial.spec.keep_weights and trial.state == "COMPLETE" and trial.weights_error is None
    }


def _network(folder: RunFolder, arm: str, trial: Trial, copies: Path) -> KeptNetwork | None:
    path = folder.file(f"weights/{weights_file(trial.spec)}", copies)
    if path is None:
        return None
    facts = read_facts(path)
    if facts.trial != trial.spec.trial:
        raise UserError(
            f"{path} holds the weights of {facts.trial or 'no trial'}, not of {trial.spec.trial}; "
            "restore the run from a copy"
        )
    return KeptNetwork(arm, path, replace(facts, config=dict(trial.spec.config)))


def _nothing_kept(
    folder: RunFolder,
    state: CampaignState,
    study: StudySummary,
    status: str,
    arm: str | None,
    kept: Sequence[str],
) -> str:
    """Why no weights of the study, or of its arm, are kept, and what to do."""
    run, resume = shown_address(folder.address), resume_command(folder.address)
    names = [arm] if arm else list(study.arms)
    what = f"{run} has no trained network of {study.id}" + (f", arm {arm}" if arm else "")
    if not state.plan.confirm_seeds:
        return f"{what}: it was searched only. Train one with: {resume} confirm.seeds=1"
    arms = [state.arms[study.id, name] for name in names]
    confirm = [trial for one in arms for trial in one.trials["confirm"]]
    errors = [trial for trial in confirm if trial.weights_error is not None]
    if errors:
        trial = errors[0]
        return f"{what}: the weights of {trial.spec.trial} could not be written: " + str(
            trial.weights_error
        )
    if kept:
        return (
            f"{what}: it keeps the weights of {', '.join(kept)} alone, as versions up to 0.1.0 "
            "did. Take that arm, or run the recipe again"
        )
    reasons = [one.given_up for one in arms if one.given_up]
    if reasons:
        return f"{what}: {reasons[0]}. `pcsearch trials {run}` shows the errors"
    first = [trial for trial in confirm if trial.spec.index == 0]
    if first and all(trial.state in ("FAILED", "DIVERGED") for trial in first):
        error = first[0].error or first[0].state.lower()
        return f"{what}: {first[0].spec.trial} failed: {error.splitlines()[0]}"
    if status == "running":
        return f"{what} yet: it still runs. pcsearch attach {run} follows it"
    return f"{what} yet: it was {status} before its confirm trials ended. Continue it: {resume}"

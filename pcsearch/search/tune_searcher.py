"""Where Ray Tune's trials come from: a searcher that asks the campaign, and which of them run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ray.tune.search import Searcher

from pcsearch.search.campaign import Campaign
from pcsearch.search.ending import Ending
from pcsearch.search.warmth import Warmth


class NotStored:
    """Tune pickles what it is given so as to restore it later; we never do, so nothing is kept."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class Runs:
    """Which of Tune's trials trains which of the campaign's, while it does."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        self.safe: set[str] = set()
        """Trials that have written down all they trained since the campaign was told to end."""
        self.warmth = Warmth()

    @property
    def ids(self) -> set[str]:
        return set(self._open)

    def begin(self, tune_id: str, trial: str) -> None:
        self._open[tune_id] = trial

    def trial(self, tune_id: str) -> str | None:
        return self._open.get(tune_id)

    def end(self, tune_id: str) -> str | None:
        """The trial, once: None if it had ended already as the campaign decided."""
        return self._open.pop(tune_id, None)


class CampaignSearcher(NotStored, Searcher):  # type: ignore[misc]
    """Hands the campaign's trials to Tune, and the ends that Tune alone sees to the campaign."""

    def __init__(self, campaign: Campaign, runs: Runs, ending: Ending) -> None:
        super().__init__()
        self._campaign = campaign
        self._runs = runs
        self._ending = ending

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return True  # the campaign's width is Tune's own; no limiter around this searcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        spec, done = None, False
        if not self._ending.begun:
            with self._ending.guard():
                decoded = self._runs.warmth.next()
                spec, done = self._campaign.next_trial(decoded), self._campaign.done
        if spec is None:
            # None while nothing runs would make Tune sleep for minutes, deaf to everything
            done = done or (self._ending.begun and not self._runs.ids)
            return Searcher.FINISHED if done else None
        self._runs.warmth.taken()
        self._runs.begin(trial_id, spec.trial)
        trial = self._campaign.state.trials[spec.trial]
        return {
            "spec": json.dumps(vars(spec)),
            "attempt": trial.attempt,
            "micro_batches": trial.micro_batches,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        # What ended as the campaign decided, or with an error, is no longer among the open ones.
        self.lost([trial_id], "its worker ended before its last epoch")

    def lost(self, trial_ids: Iterable[str], reason: str) -> None:
        """Tell the campaign of trials that Tune has ended without any decision of ours."""
        for trial_id in trial_ids:
            trial = self._runs.end(trial_id)
            if trial is not None and not self._ending.begun:
                with self._ending.guard():
                    self._campaign.lost(trial, reason, "worker")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the only record."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing, either."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a campaign goes on from its journal, never from Tune's files")

"""What an epoch's report costs the driver, of 64 trials at once.

`run_campaign` as a live campaign calls it, journal on disk included, without the live view; trials
are a function that sleeps for two seconds an epoch and reports, in workers without PyTorch (64 of
them with it would not fit in memory), once all 64 are there; it counts from when all have reported.
Processor time is the driver process's own, all threads of Ray's in it included, ÷ epoch reports;
the hook is the scheduler's `on_trial_result`, in which the campaign decides and writes; latency is
from just before a worker reports to the decision's end. 256 search trials with early stopping after
1, 3 and 9 epochs of 27, so that it includes asking for the next ones.

Once with the journal in a local file, once with it in an object store that answers after 20 ms,
which the driver waits for at each event: processor time is then boto3's, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from data_path_parts.figures import Figure
from simulation import plan, study

from cluster_parts.distant_store import distant_store
from cluster_parts.sleeping import sleeping_trial
from pcsearch.runs.segmented_journal import SegmentJournal
from pcsearch.runs.shutdown import Ending
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import FileJournal, Journal
from pcsearch.storage import open_storage

TRIALS, EPOCH_SECONDS = 64, 2.0
STORE_MILLISECONDS = 20.0


def measure(scratch: Path, repeats: int) -> list[Figure]:
    with FileJournal(scratch / "journal.jsonl") as journal:
        figures = _measured(scratch / "file", journal).figures("journal in a file")
    with distant_store(STORE_MILLISECONDS) as url, SegmentJournal(open_storage(url)) as journal:
        watch = _measured(scratch / "store", journal)
    return figures + watch.figures(f"in a store {STORE_MILLISECONDS:g} ms away")


def _measured(scratch: Path, journal: Journal) -> _Watch:
    from pcsearch.cluster.session.processes import stderr_to_file
    from pcsearch.cluster.session.session import ray_session

    scratch.mkdir()
    with ray_session(None) as capacity:
        cpus = capacity().cpus / TRIALS
        with stderr_to_file(scratch / "driver.log"):  # Ray finds 64 workers many
            return _run(scratch, journal, cpus)


class _Watch:
    """Times every call of the scheduler's hook once all trials have reported."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.hook: list[float] = []
        self.latency: list[float] = []
        self.began: tuple[float, float] | None = None
        self.end: tuple[float, float] = (0.0, 0.0)

    def wrap(self, method: Any) -> Any:
        def timed(scheduler: Any, controller: object, trial: Any, result: Mapping[str, Any]) -> str:
            start = time.perf_counter()
            decision: str = method(scheduler, controller, trial, result)
            if self.began is not None and "sent" in result:
                self.hook.append(time.perf_counter() - start)
                self.latency.append(time.time() - result["sent"])
                self.end = time.process_time(), time.perf_counter()
            self._seen.add(trial.trial_id)
            if self.began is None and len(self._seen) >= TRIALS:
                self.began = time.process_time(), time.perf_counter()
            return decision

        return timed

    def figures(self, journal: str) -> list[Figure]:
        assert self.began is not None
        reports = len(self.hook)
        used, passed = self.end[0] - self.began[0], self.end[1] - self.began[1]
        rate = f"{journal}; {reports} reports, {reports / passed:.0f} a second"
        p95 = quantiles(self.latency, n=20)[-1]
        return [
            Figure("driver's processor time, per epoch report", 1e3 * used / reports, 10.0,
                   at_least=False, unit="ms", note=rate),
            Figure("in the scheduler's hook", 1e3 * sum(self.hook) / reports, 10.0, at_least=False,
                   unit="ms", note=f"median {1e3 * median(self.hook):.2f}"),
            Figure("from report to decision", 1e3 * median(self.latency), unit="ms",
                   note=f"95 % within {1e3 * p95:.0f} ms"),
        ]  # fmt: skip


def _run(scratch: Path, journal: Journal, cpus: float) -> _Watch:
    from pcsearch.execution.tune_adapter import CampaignScheduler
    from pcsearch.execution.tuner import run_campaign

    asked = plan(
        study("birds", 4 * TRIALS, arms=("pc",)), max_epochs=27, startup_trials=TRIALS,
        finalist_configs=0, finalist_repeats=0, confirm_seeds=(),
    )  # fmt: skip
    watch, began = _Watch(), time.monotonic()
    workers = scratch / "workers"
    workers.mkdir()
    original = CampaignScheduler.on_trial_result
    CampaignScheduler.on_trial_result = watch.wrap(original)  # type: ignore[method-assign]
    try:
        campaign = Campaign(asked, journal, lambda: time.monotonic() - began, TRIALS)
        whole = run_campaign(
            campaign,
            {"seconds": EPOCH_SECONDS, "workers": str(workers), "wanted": TRIALS},
            Ending(scratch / "stop"),
            cpus_per_trial=cpus,
            gpus_per_trial=0,
            one_machine=False,
            tick=lambda waiting: None,
            trial=sleeping_trial,
        )
    finally:
        CampaignScheduler.on_trial_result = original  # type: ignore[method-assign]
    assert whole
    return watch

"""How long a trial may go without an epoch."""

from __future__ import annotations

from pcsearch.execution.worker_health import UNMEASURED_SECONDS, deadline_seconds
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.plan import ImageCounts
from pcsearch.search.trial import Trial
from tests.search.driving import Clock, drive, make_plan, study_plan


def campaign(**images: int) -> Campaign:
    counts = ImageCounts(**{"fit": 80, "val": 20, "train": 100, "test": 300} | images)
    study = study_plan().model_copy(update={"images": counts})
    return Campaign(make_plan(studies=(study,)), MemoryJournal(), clock=Clock())


def new_trial(of: Campaign) -> Trial:
    spec = of.next_trial()
    assert spec is not None
    return of.state.trials[spec.trial]


def test_until_an_epoch_was_measured_there_is_an_hour() -> None:
    one = campaign()
    assert deadline_seconds(one.state, new_trial(one), first=True) == UNMEASURED_SECONDS == 3600


def test_it_follows_from_the_longest_epoch() -> None:
    one = campaign()
    drive(one, seconds_per_epoch=8.0, most_epochs=1)
    trial = next(iter(one.state.trials.values()))
    assert deadline_seconds(one.state, trial, first=False) == 80
    assert deadline_seconds(one.state, trial, first=True) == 80 + 60


def test_a_node_that_has_not_decoded_the_images_has_time_for_that() -> None:
    """Of 2,000 training images, 200 s; without, a node that joined late was taken for hung."""
    one = campaign(fit=1600, val=400, train=2000)
    drive(one, seconds_per_epoch=1.0, most_epochs=1)
    trial = next(iter(one.state.trials.values()))
    assert trial.spec.phase == "search"
    assert deadline_seconds(one.state, trial, first=True, decodes=True) == 30 + 60 + 200
    assert deadline_seconds(one.state, trial, first=False, decodes=True) == 30


def test_confirm_decodes_the_test_images_at_its_end() -> None:
    one = campaign()
    drive(one)
    (confirm, *_) = [t for t in one.state.trials.values() if t.spec.phase == "confirm"]
    last = confirm.epochs.pop()
    assert deadline_seconds(one.state, confirm, first=False, decodes=True) == 30 + 30
    assert deadline_seconds(one.state, confirm, first=False) == 30
    confirm.epochs.append(last)


def test_a_worker_with_a_frozen_body_has_time_to_compute_features() -> None:
    """2 s an image, before the first epoch of an attempt and, of test images, in the last."""

    def frozen() -> Campaign:
        made = campaign()
        (study,) = made.state.plan.studies
        study = study.model_copy(update={"frozen_body": True})
        made.state.plan = made.state.plan.model_copy(update={"studies": (study,)})
        return made

    new, one = frozen(), frozen()
    assert deadline_seconds(new.state, new_trial(new), first=True) == 3600 + 200
    drive(one)
    trials = list(one.state.trials.values())
    assert deadline_seconds(one.state, trials[0], first=True) == 30 + 60 + 200
    assert deadline_seconds(one.state, trials[0], first=True, decodes=True) == 30 + 60 + 200 + 10
    assert deadline_seconds(one.state, trials[0], first=False) == 30
    (confirm, *_) = [trial for trial in trials if trial.spec.phase == "confirm"]
    confirm.epochs.pop()
    assert deadline_seconds(one.state, confirm, first=False) == 30 + 600


def test_decoding_is_no_reason_to_wait_for_more_than_an_hour() -> None:
    one = campaign(fit=800_000, val=200_000, train=1_000_000)
    drive(one, seconds_per_epoch=1.0, most_epochs=1)
    trial = next(iter(one.state.trials.values()))
    assert deadline_seconds(one.state, trial, first=True, decodes=True) == 3600

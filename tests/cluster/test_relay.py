"""A campaign that is told in lines looks, to whoever follows them, as if it ran here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pcsearch.cli.views.plain import PlainLines
from pcsearch.cluster.follow import LINE_KEY, EventLines, Followed, follow
from pcsearch.errors import UserError
from pcsearch.reporting.summary import summarise
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.observer import Observer
from pcsearch.search.state import replay
from tests.cli.campaigns import drive, plan
from tests.reporting.simulated_campaigns import campaign_plan, helpful
from tests.search.driving import Clock
from tests.search.driving import drive as drive_on

CLUSTER = "my clusters/a.yaml"


def watched(observer: Observer) -> Campaign:
    """A whole campaign, as `run_in` tells of it."""
    observer.preparing("digits images", 0, 1600)
    observer.noted("weights of compact_cnn: none")
    observer.preparing("digits images", 1600, 1600)
    observer.started(Path("runs/demo-1"), plan(), 3)
    campaign = drive(
        plan(),
        listener=observer.event,
        tick=lambda state, seconds: observer.tick(state, seconds, 3, min(2, len(state.running))),
    )
    observer.stopping()
    campaign.end("complete")
    observer.finished("complete")
    return campaign


def told(watch: Callable[[Observer], object]) -> list[str]:
    stream = io.StringIO()
    ticks = iter(range(10**6))
    watch(EventLines(stream, clock=lambda: 10.0 * next(ticks)))  # everything is due
    return stream.getvalue().splitlines()


def followed(lines: list[str]) -> tuple[list[Followed], list[str], list[str]]:
    """The ends, the plain lines, and what was none of ours."""
    stream, others = io.StringIO(), list[str]()
    ends = list(follow(lines, PlainLines(stream), others.append, CLUSTER))
    return ends, stream.getvalue().splitlines(), others


def test_who_follows_sees_what_who_watches_sees() -> None:
    here = io.StringIO()
    campaign = watched(PlainLines(here))
    (end,), lines, others = followed(told(watched))
    again = "; Ctrl-C again ends at once"  # not from where it is followed
    there = str(Path("runs/demo-1").absolute())  # who follows is in another folder
    seen = here.getvalue().replace(again, "").replace("in runs/demo-1", f"in {there}")
    assert lines == seen.splitlines()
    assert any("stopping: running trials may end their epoch" in line for line in lines)
    assert not others
    assert end.run == there
    assert end.summary.to_json() == summarise(campaign.state).to_json()
    assert end.summary.status == "complete"


def test_a_campaign_that_was_gone_on_with_brings_its_past() -> None:
    asked = campaign_plan()
    journal = MemoryJournal()
    drive_on(Campaign(asked, journal, Clock(), max_concurrent=2), helpful, most_epochs=40)
    past = list(journal.events)
    state = replay(past)

    def going_on(observer: Observer) -> None:
        observer.history(past)
        campaign = Campaign(
            asked, MemoryJournal(), Clock(), max_concurrent=2, state=state, listener=observer.event
        )
        campaign.resume(host="head", pid=7, version="0.1.0")
        observer.started("s3://b/runs/demo", campaign.plan, 2)
        drive_on(campaign, helpful)
        campaign.end("complete")
        observer.finished("complete")

    (end,), lines, _ = followed(told(going_on))
    assert len(end.state.trials) == len(state.trials)
    assert end.summary.to_json() == summarise(state).to_json()
    assert any("resumed, 1 trial restarted" in line for line in lines)
    assert end.resume_command == (
        "pcsearch cluster submit 'my clusters/a.yaml' --resume s3://b/runs/demo"
    )


def test_campaigns_one_after_another_are_told_apart() -> None:
    ends, _, _ = followed([*told(watched), *told(watched)])
    assert [end.summary.status for end in ends] == ["complete", "complete"]
    assert ends[0].state is not ends[1].state


def test_other_lines_stand_where_they_stood() -> None:
    lines = told(watched)
    strange = ["Traceback (most recent call last):", '{"pcsearch":', '{"pcsearch":7}', "[1, 2]"]
    ends, plain, others = followed([strange[0], *lines[:9], *strange[1:], *lines[9:]])
    assert others == strange
    assert len(ends) == 1
    assert plain == followed(lines)[1]


def test_what_a_later_version_tells_besides_is_passed_over() -> None:
    lines = told(watched)
    later = json.dumps({LINE_KEY: "weather", "sky": "blue"}, separators=(",", ":"))
    assert len(followed([later, *lines])[0]) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"pcsearch":"tick","seconds":3,"width":2}',
        '{"pcsearch":"started","run":"r","width":2}',
        '{"pcsearch":"event","event":{"event":"moved"}}',
        '{"pcsearch":"preparing","what":"x","done":null,"total":3}',
    ],
)
def test_a_line_that_cannot_be_understood_names_the_remedy(line: str) -> None:
    with pytest.raises(UserError, match="another version of pcsearch"):
        followed([line])


def test_an_interrupted_campaign_ends_without_its_last_event() -> None:
    """A driver that is told to end may die before it says how."""
    lines = told(watched)
    ends, _, _ = followed(lines[: len(lines) // 2])
    assert ends == []

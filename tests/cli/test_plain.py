from __future__ import annotations

import io
import re
from pathlib import Path

from pcsearch.cli.views.plain import PlainLines
from pcsearch.search.plan import Plan
from tests.cli.campaigns import drive, plan


def lines_of(one: Plan, **options: object) -> list[str]:
    stream = io.StringIO()
    view = PlainLines(stream)
    view.preparing("digits images", 0, 1600)
    view.preparing("digits images", 800, 1600)
    view.preparing("digits images", 1600, 1600)
    view.started(Path("runs/demo-1"), one, 3)
    drive(
        one,
        listener=view.event,
        tick=lambda state, seconds: view.tick(state, seconds, 3),
        **options,  # type: ignore[arg-type]
    )
    view.finished("complete")
    view.close()
    return stream.getvalue().splitlines()


def test_a_line_an_event_with_the_age_before_it() -> None:
    lines = lines_of(plan())
    assert all(re.match(r" *\d+:\d\d  \S", line) for line in lines)
    ages = [line[:8] for line in lines]
    assert ages == sorted(ages)
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert lines[0].endswith("preparing digits images: 1,600")
    assert lines[1].endswith("prepared digits images: 1,600")
    assert lines[2].endswith("demo: 2 studies, 3 trials at once, in runs/demo-1")
    assert lines[-1].endswith("campaign complete")
    assert len(re.findall("compact_cnn: done$", text, re.MULTILINE)) == 2
    assert len(re.findall(r" (control|pc): chose ", text)) == 4
    assert re.search(r"pc: chose λ/N 0\.\d+.*, validation \d+\.\d %$", text, re.MULTILINE)
    assert "digits/compact_cnn pc confirm 2: complete after 9 epochs, test 92.0 %, λ/N" in text
    assert re.search(r"stopped early after 1 epoch, validation \d+\.\d %", text)


def test_every_trial_ends_in_one_line() -> None:
    state = drive(plan(), listener=lambda event, state: None).state
    ended = [
        line for line in lines_of(plan()) if re.search(r"(search|finalists|confirm) \d+: ", line)
    ]
    assert len(ended) == len(state.trials)


def test_progress_each_half_minute() -> None:
    lines = [line for line in lines_of(plan()) if "progress: " in line]
    seconds = [60 * int(line[:5]) + int(line[6:8]) for line in lines]
    assert len(seconds) >= 2
    assert seconds == [30 * (i + 1) for i in range(len(seconds))]
    assert re.search(r"\d+ of \d+ trials ended, \d running, \d+ epochs, ~\d+:\d\d left", lines[0])


def test_failures_and_arms_given_up_are_told() -> None:
    text = "\n".join(lines_of(plan(), fails=lambda spec: spec.arm == "pc"))
    assert "digits/compact_cnn pc search 0: failed: loss became nan at epoch 1" in text
    assert "digits/compact_cnn pc finalists 0: failed: loss became nan at epoch 1" in text
    given_up = (
        "digits/compact_cnn pc: given up: none of its 2 finalist trials was trained to the end"
    )
    assert given_up in text


def test_a_look_at_the_test_images_is_told_with_its_verdict() -> None:
    text = "\n".join(lines_of(plan()))
    # the test values of `drive` are equal in both arms, so nothing scatters
    assert len(re.findall(r"digits/compact_cnn pc: gain \+0\.00: withheld$", text, re.M)) == 1


def test_a_divergence_is_told_as_one() -> None:
    stream, state = io.StringIO(), drive(plan(), listener=lambda event, state: None).state
    trial = next(iter(state.trials))
    PlainLines(stream).event({"event": "diverged", "trial": trial, "error": "loss is nan"}, state)
    assert "digits/compact_cnn control search 0: diverged: loss is nan" in stream.getvalue()


def test_cached_images_are_not_announced() -> None:
    stream = io.StringIO()
    PlainLines(stream).preparing("digits", 10, 10)
    assert stream.getvalue() == ""


def test_what_was_done_before_is_not_told_again_when_it_goes_on() -> None:
    state = drive(plan(), listener=lambda event, state: None).state
    stream = io.StringIO()
    view = PlainLines(stream)
    view.event({"event": "resumed"}, state)
    view.event({"event": "extended"}, state)
    view.started("runs/demo-1", plan(), 3)
    told = stream.getvalue()
    assert "done" not in told
    assert len({line[:8] for line in told.splitlines()}) == 1  # all at the campaign's age

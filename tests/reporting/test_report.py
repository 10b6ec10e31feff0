"""The page of a run: whole at any time, escaped, and in need of nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pcsearch.reporting import figures as plots
from pcsearch.reporting.figures import confirm_plots, search_plot
from pcsearch.reporting.html import html_report
from pcsearch.reporting.summary import summarise
from pcsearch.runs.folder import RunFolder
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState
from tests.reporting.simulated_campaigns import (
    campaign_plan,
    entropic_arm,
    other_study,
    simulate,
    smoothing_arm,
)
from tests.search.driving import control_arm, pc_arm, study_plan

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """The text of a page; complains about tags that are not closed, or not where they should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def written(state: CampaignState, folder: Path, status: Any = "complete") -> Page:
    return Page(html_report(RunFolder(folder), state, status))


def test_it_says_what_the_summary_says(tmp_path: Path) -> None:
    state = simulate(campaign_plan())
    page = written(state, tmp_path)
    summary = summarise(state, "complete")
    assert summary.notes
    for line in summary.notes:
        assert line in page.text
    for scores in (study.test_top1 for study in summary.studies[0].arms.values()):
        assert scores is not None
        for seed, value in scores.by_seed().items():
            assert f"{value:.2f}" in page.text
            assert f"seed={seed}" in page.text
    (study,) = summary.studies
    for arm in study.arms.values():
        assert arm.test_top1 is not None
        assert f"{arm.test_top1.mean:.2f} ± {arm.test_top1.std:.2f}" in page.text
    gain = study.arms["pc"].gain
    assert gain is not None
    assert f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]" in page.text
    assert study.split_hash in page.text
    assert page.text.count("search-0") == 24, "twelve search trials of each of the two arms"
    assert [tag for tag, _ in page.tags].count("figure") == 2


def test_it_needs_nothing_else(tmp_path: Path) -> None:
    page = written(simulate(campaign_plan()), tmp_path)
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href") or name.startswith("on"):
                assert str(value).startswith("#"), (tag, name, value)
            assert "url(" not in str(value) or "url(#" in str(value)
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_what_a_stranger_wrote_is_text(tmp_path: Path) -> None:
    evil = "</pre></td><script>alert(1)</script><img src=x onerror=alert(1)>"
    (tmp_path / "recipe.yaml").write_text(f"name: {evil}\n# {{{{ 7 * 7 }}}}\n")
    (tmp_path / "environment.json").write_bytes(b"\xff\x00 " + evil.encode())
    plan = campaign_plan(name=evil)
    state = simulate(plan, fails={"digits/compact_cnn/pc/search-000": 2})
    state.trials["digits/compact_cnn/pc/search-000"].error = evil
    page = written(state, tmp_path)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert(1)</script>") >= 4
    assert "{{ 7 * 7 }}" in page.text


def test_what_cannot_be_seen_is_written_out(tmp_path: Path) -> None:
    evil = "\x1b[31m\u202egnp.\u2066exe\u200b\x9b8m"
    (tmp_path / "recipe.yaml").write_text(f"name: {evil}\n")
    (tmp_path / "environment.json").write_text(evil)
    plan = campaign_plan(name=evil)
    state = simulate(plan, fails={"digits/compact_cnn/pc/search-000": 2})
    state.trials["digits/compact_cnn/pc/search-000"].error = evil
    page = html_report(RunFolder(tmp_path), state, "complete")
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]", page
    )
    assert page.count("gnp.\\u2066exe") >= 4


@pytest.mark.parametrize("reports", [0, 1, 7, 40])
@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_at_any_time(tmp_path: Path, reports: int, status: str) -> None:
    plan = campaign_plan()
    state = simulate(plan, most_epochs=reports) if reports else CampaignState(plan)
    page = written(state, tmp_path, status)
    assert status in page.text
    assert ("repeat the command" in page.text) == (status == "running")
    assert ("resume with: pcsearch resume" in page.text) == (status == "interrupted")
    assert ("No trial has a value yet" in page.text) == (reports == 0)


def test_every_arm_with_a_strength_has_its_panel() -> None:
    study = study_plan()
    arms = (control_arm(12), pc_arm(12), smoothing_arm(), entropic_arm())
    state = simulate(campaign_plan(study.model_copy(update={"arms": arms})))
    plot = search_plot(state, state.plan.studies[0])
    assert plot is not None
    for words in ("λ/N", ">λ<", "smoothing", "paper's range", "control's best"):
        assert words in plot.svg
    assert plot.svg.count("chosen") == 3, "in the legends of three panels"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("reports", [1, 2, 3, 9])
def test_early_figures_warn_of_nothing(reports: int) -> None:
    study = study_plan().model_copy(update={"arms": (smoothing_arm(),)})
    state = simulate(campaign_plan(study), most_epochs=reports)
    plot = search_plot(state, study)
    assert plot is not None
    assert "smoothing" in plot.svg


def test_a_large_search_is_drawn_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = campaign_plan()
    state = simulate(plan)
    whole = search_plot(state, plan.studies[0])
    monkeypatch.setattr(plots, "DRAWN_AT_MOST", 5)
    part = search_plot(state, plan.studies[0])
    assert whole is not None
    assert part is not None
    assert len(part.svg) < len(whole.svg)
    assert "the 5 longest trained trials" in part.caption
    assert "longest trained" not in whole.caption


def test_pairs_are_drawn_once_there_are_some() -> None:
    def drawn(plan: Plan) -> list[plots.Plot]:
        return confirm_plots(summarise(simulate(plan)).studies[0])

    assert drawn(campaign_plan(seeds=0)) == []
    (one,), (five,) = drawn(campaign_plan(seeds=1)), drawn(campaign_plan(seeds=5))
    arms = (control_arm(12), pc_arm(12), smoothing_arm())
    each = drawn(campaign_plan(study_plan().model_copy(update={"arms": arms})))
    assert [plot.caption.split(" with")[0] for plot in each] == [
        "Confirm trials of PC and control",
        "Confirm trials of label smoothing and control",
    ]
    lines = re.compile(r"stroke: ?#9aa0a6")
    assert len(lines.findall(five.svg)) > len(lines.findall(one.svg))


def test_several_studies(tmp_path: Path) -> None:
    studies = study_plan(), other_study("fieldguide", "resnet18", 40)
    page = written(simulate(campaign_plan(*studies)), tmp_path)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)), "no two things of a page have one name"
    assert [tag for tag, _ in page.tags].count("h2") == 3
    assert "fieldguide · resnet18" in page.text


def test_what_a_person_has_set_for_other_figures_is_left_out() -> None:
    import matplotlib

    state = simulate(campaign_plan())
    plain = search_plot(state, state.plan.studies[0])
    with matplotlib.rc_context({"axes.facecolor": "#123456", "lines.linewidth": 9}):
        assert search_plot(state, state.plan.studies[0]) == plain
        assert matplotlib.rcParams["lines.linewidth"] == 9


def test_the_same_state_gives_the_same_figures() -> None:
    state = simulate(campaign_plan())
    first, again = (search_plot(state, state.plan.studies[0]) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("trap", ["a pipe", "an endless device", "what would be evaluated"])
def test_a_matplotlibrc_beside_the_command_is_not_read(tmp_path: Path, trap: str) -> None:
    """Matplotlib reads one at its first import; a fresh process shows it."""
    trapped = tmp_path / "matplotlibrc"
    if trap == "a pipe":
        os.mkfifo(trapped)
    elif trap == "an endless device":
        trapped.symlink_to("/dev/zero")
    else:
        trapped.write_text("figure.dpi: 17\naxes.prop_cycle: [].append(open('was_run', 'w'))\n")
    script = (
        "import os; from pcsearch.reporting.figures import _matplotlib; "
        "print(_matplotlib().rcParams['figure.dpi'], os.getcwd())"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    dpi, here = told.stdout.split()
    assert (float(dpi), here) == (100.0, str(tmp_path)), told.stderr
    assert not (tmp_path / "was_run").exists()
    assert told.stderr == ""

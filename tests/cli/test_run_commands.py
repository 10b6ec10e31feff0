"""`summary`, `trials`, `report` and `runs ls` on run folders that real campaigns wrote."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from pcsearch.cli.runs import _gain_text
from pcsearch.runs.folder import new_run
from pcsearch.search.journal.journal_file import FileJournal
from pcsearch.search.plan import Plan
from tests.cli.campaigns import drive, plan, silent
from tests.cli.conftest import Command


def write_run(name: str, one: Plan, *, until: float = float("inf"), status: str = "") -> None:
    with (
        new_run(Path("runs"), name, "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        campaign = drive(one, listener=silent, until=until, journal=journal)
        if status:
            campaign.end(status)  # type: ignore[arg-type]


def test_runs_side_by_side(command: Command) -> None:
    write_run("first", plan(("digits/compact_cnn",)), status="complete")
    write_run("second", plan(), status="complete")
    code, out, err = command("compare", "first", "second")
    assert (code, err) == (0, "")
    assert out.count("digits/compact_cnn") == out.count("fieldguide/compact_cnn") == 1
    assert "Nothing differs" in out
    code, out, _ = command("compare", "first", "runs/second", "--json")
    content = json.loads(out)
    assert content["runs"] == ["first", "second"]
    assert [(one["study"], one["arm"], one["run"]) for one in content["results"]] == [
        ("digits/compact_cnn", "control", "first"),
        ("digits/compact_cnn", "control", "second"),
        ("digits/compact_cnn", "pc", "first"),
        ("digits/compact_cnn", "pc", "second"),
        ("fieldguide/compact_cnn", "control", "second"),
        ("fieldguide/compact_cnn", "pc", "second"),
    ]


def test_audit_of_a_run_and_of_a_changed_one(command: Command) -> None:
    write_run("first", plan(), until=20)
    code, out, err = command("audit", "first")
    assert (code, err) == (0, "")
    assert "✓ journal: " in out
    journal = Path("runs/first/journal.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:5] + lines[6:]))
    code, out, _ = command("audit", "first", "--json")
    assert (code, json.loads(out)["passed"]) == (1, False)
    code, out, _ = command("audit", "first")
    assert (code, "✗" in out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first"], "one run was given: name at least two"),
        (["first", "runs/first"], "first was given twice"),
        (["first", "other"], "other"),
    ],
)
def test_runs_that_cannot_be_compared(command: Command, arguments: list[str], message: str) -> None:
    write_run("first", plan(("digits/compact_cnn",)), status="complete")
    code, _, err = command("compare", *arguments)
    assert code == 2
    assert message in err


def test_summary_for_a_paper(command: Command) -> None:
    write_run("first", plan(), status="complete")
    _, markdown, _ = command("summary", "first", "--markdown")
    assert markdown.startswith("| dataset | backbone | N | arm |")
    _, latex, _ = command("summary", "first", "--latex")
    assert r"compact\_cnn" in latex
    code, text, _ = command("summary", "first", "--csv")
    assert code == 0
    assert len(text.splitlines()) == 1 + 2 * 2
    code, _, err = command("summary", "first", "--csv", "--json")
    assert (code, "--json and --csv were given" in err) == (2, True)


def test_summary_of_a_run_by_name_by_folder_and_of_the_latest(command: Command) -> None:
    write_run("first", plan(), status="complete")
    write_run("second", plan(("digits/vgg16",)), until=5)
    old = time.time() - 60
    os.utime("runs/first/journal.jsonl", (old, old))
    code, out, _ = command("summary", "first", "--json")
    assert code == 0
    content = json.loads(out)
    expected = {"campaign", "status", "studies", "interruptions", "notes", "what_now"}
    assert set(content) == expected | {"mismatches", "unsealed_lines"}
    assert (content["mismatches"], content["unsealed_lines"]) == ([], 0)
    assert content["status"] == "complete"
    assert [study["backbone"] for study in content["studies"]] == ["compact_cnn"] * 2
    assert json.loads(command("summary", "runs/first", "--json")[1]) == content
    latest = json.loads(command("summary", "--json")[1])
    assert latest["studies"][0]["backbone"] == "vgg16"
    assert latest["status"] == "interrupted", "its process is gone"


def test_summary_prints_the_table_and_its_notes(command: Command) -> None:
    write_run("first", plan(), status="complete")
    code, out, _ = command("summary")
    assert code == 0
    assert "fieldguide" in out
    assert "control" in out
    assert "gain" in out
    assert "\x1b" not in out


def test_summary_while_the_campaign_runs(command: Command) -> None:
    with (
        new_run(Path("runs"), "live", "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        drive(plan(), listener=silent, until=9, journal=journal)
        assert json.loads(command("summary", "live", "--json")[1])["status"] == "running"
        assert "still running" in command("summary", "live")[1]


def test_trials_as_json_lines(command: Command) -> None:
    write_run("first", plan(), status="complete")
    code, out, _ = command("trials", "first", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == sum(row["state"] in ("COMPLETE", "PRUNED") for row in rows)
    expected = {"trial", "study", "phase", "arm", "state", "config", "epochs", "seconds", "error"}
    expected |= {"attempts", "repeated_epochs", "comparable", "set_aside", "test", "test_value"}
    expected |= {"mismatches"}
    assert all(set(row) == expected for row in rows)
    confirm = next(row for row in rows if row["phase"] == "confirm")
    assert confirm["epochs"][0] == [1, None]
    assert confirm["test_value"] == confirm["test"]["top1"] == 90.0


def test_trials_as_a_table(command: Command) -> None:
    write_run("first", plan(), status="complete")
    code, out, _ = command("trials")
    assert code == 0
    assert "digits/compact_cnn" in out
    assert "search-000" in out
    assert "90.00" in next(line for line in out.splitlines() if "confirm-000" in line)


def test_trials_of_a_dead_run_say_that_it_is_dead(command: Command) -> None:
    write_run("dead", plan(), until=5)
    _, out, _ = command("trials", "dead")
    assert "interrupted  " in out
    assert "running" not in out
    assert out.endswith("trials from their checkpoints: pcsearch resume runs/dead\n")
    write_run("whole", plan(), status="complete")
    assert "interrupted" not in command("trials", "whole")[1]


def test_report_is_a_page_in_the_run_folder(command: Command) -> None:
    write_run("first", plan(), status="complete")
    code, out, _ = command("report", "first")
    page = Path("runs/first/report.html").resolve()
    assert (code, out) == (0, f"{page}: written (complete)\n")
    assert "fieldguide · compact_cnn" in page.read_text()
    assert (
        command("report", "first", "--out", "other.html")[1] == "other.html: written (complete)\n"
    )
    assert Path("other.html").read_text().count("<figure") == page.read_text().count("<figure")


def test_report_of_a_dead_run_with_a_torn_line(command: Command) -> None:
    write_run("dead", plan(), until=5)
    with Path("runs/dead/journal.jsonl").open("a") as journal:
        journal.write('{"event": "epo')
    code, out, _ = command("report")
    assert code == 0
    assert out.endswith("report.html: written (interrupted)\n")
    assert "was interrupted" in Path("runs/dead/report.html").read_text()


def test_report_replaces_a_link_and_does_not_follow_it(command: Command) -> None:
    write_run("first", plan(), status="complete")
    Path("mine.txt").write_text("mine")
    Path("runs/first/report.html").symlink_to(Path("mine.txt").resolve())
    assert command("report")[0] == 0
    assert Path("mine.txt").read_text() == "mine"


def test_report_replaces_a_report_and_no_other_file(command: Command) -> None:
    write_run("first", plan(), status="complete")
    for name, content in (("mine.txt", "mine"), ("runs/first/report.html", "<html>mine</html>")):
        Path(name).write_text(content)
        out = () if "report" in name else ("--out", name)
        code, _, err = command("report", *out)
        assert code == 2
        assert err.endswith("exists and is no report; choose another file with --out FILE\n")
        assert Path(name).read_text() == content
    Path("page.html").touch()
    for _ in range(2):
        assert command("report", "--out", "page.html")[0] == 0
        assert "fieldguide · compact_cnn" in Path("page.html").read_text()


def test_report_shows_nothing_that_a_link_leads_to(command: Command) -> None:
    write_run("first", plan(), status="complete")
    Path("secret").write_text("aws_secret_access_key = canary")
    for name in ("recipe.yaml", "environment.json"):
        (Path("runs/first") / name).unlink()
        (Path("runs/first") / name).symlink_to(Path("secret").resolve())
    assert command("report")[0] == 0
    page = Path("runs/first/report.html").read_text()
    assert "canary" not in page
    assert "recipe.yaml is missing from the run" in page


def test_report_where_a_person_points_it(command: Command, tmp_path: Path) -> None:
    write_run("first", plan(), status="complete")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert command("report", "--out", "link/page.html")[0] == 0
    assert (tmp_path / "real" / "page.html").is_file()
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        code, out, err = command("report", "--out", "pipe")
        assert reader.stdout is not None
        assert reader.stdout.read().startswith("<!DOCTYPE html>")
    assert (code, out, err) == (0, "", "pipe: written (complete)\n")
    assert Path("pipe").is_fifo(), "it was written to, not replaced"


def test_report_that_cannot_be_written(command: Command) -> None:
    write_run("first", plan(), status="complete")
    Path("file").touch()
    code, _, err = command("report", "--out", "file/report.html")
    assert code == 2
    assert err == "error: --out file/report.html: there is no folder file\n"
    code, _, err = command("report", "none")
    assert code == 2
    assert 'no run "none"' in err


def test_runs_ls(command: Command) -> None:
    write_run("first", plan(), status="complete")
    write_run("second", plan(), until=5)
    Path("runs/broken").mkdir()
    Path("runs/broken/journal.jsonl").write_text('{"event": "nonsense"}\n')
    code, out, _ = command("runs", "ls", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["first"]["status"] == "complete"
    assert rows["first"]["studies"] == ["digits/compact_cnn", "fieldguide/compact_cnn"]
    assert rows["first"]["best_gain"]["mean"] == 0, "both arms get the same test values"
    assert rows["first"]["best_gain"]["arm"] == "pc"
    assert rows["second"]["status"] == "interrupted"
    assert rows["second"]["best_gain"] is None
    assert rows["broken"]["status"] == "unreadable"
    code, out, _ = command("runs", "ls")
    assert code == 0
    for word in ("first", "complete", "interrupted", "unreadable", "best of 2: 0.0"):
        assert word in out
    write_run("single", plan(("digits/compact_cnn",)), status="complete")
    (line,) = (line for line in command("runs", "ls")[1].splitlines() if "single" in line)
    assert " 0.0" in line
    assert "best" not in line


@pytest.mark.parametrize(
    ("mean", "text"), [(-2e-15, "0.0"), (0.04, "0.0"), (0.06, "+0.1"), (-1.25, "-1.2")]
)
def test_a_gain_of_nothing_has_no_sign(mean: float, text: str) -> None:
    gain = {
        "mean": mean,
        "verdict": None,
        "low": -0.4,
        "high": 0.4,
        "arm": "pc",
        "study": "digits/x",
    }
    assert _gain_text(gain) == f"{text} [-0.4, +0.4] (pc, digits/x)"
    told = f"{text} [-0.4, +0.4]: withheld (pc, digits/x)"
    assert _gain_text(gain | {"verdict": "withheld"}) == told


def test_runs_ls_without_runs(command: Command) -> None:
    code, out, _ = command("runs", "ls", "--runs", "elsewhere")
    assert code == 0
    assert out.startswith('there are no runs under "elsewhere"; start one with: ')
    assert out.endswith("pcsearch tune quickstart --runs elsewhere\n")
    assert command("runs", "ls", "--json")[1] == "[]\n"


def edit_journal(name: str, kind: str, **values: object) -> int:
    """Change the first event of a kind, as an editor would; the number of its line."""
    path = Path("runs") / name / "journal.jsonl"
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if f'"event":"{kind}"' in line)
    lines[number] = json.dumps(json.loads(lines[number]) | values)
    path.write_text("\n".join([*lines, ""]))
    return number + 1


def test_a_journal_that_was_edited_is_shown_with_what_does_not_agree(command: Command) -> None:
    write_run("first", plan(), status="complete")
    before = command("summary", "first")[1]
    assert "AGREE" not in before
    line = edit_journal("first", "epoch", value=99.9)
    code, out, _ = command("summary", "first")
    told = " ".join(out.split())
    assert code == 0
    assert "THE JOURNAL DOES NOT AGREE WITH ITSELF" in told
    assert f"Line {line} of the journal (digits/compact_cnn/control/search-000): its seal" in told
    content = json.loads(command("summary", "first", "--json")[1])
    assert content["mismatches"][0]["line"] == line
    assert content["mismatches"][0]["trial"] == "digits/compact_cnn/control/search-000"
    code, out, err = command("trials", "first", "--json")
    rows = [json.loads(row) for row in out.splitlines()]
    assert {"line": line} == {"line": rows[0]["mismatches"][0]["line"]}
    assert "DOES NOT AGREE" in err
    assert "DOES NOT AGREE" in command("trials", "first")[1]
    assert "journal contradicts itself in" in " ".join(command("runs", "ls")[1].split())
    (listed,) = json.loads(command("runs", "ls", "--json")[1])
    assert listed["mismatches"] == len(content["mismatches"])
    assert command("report", "first")[0] == 0
    assert "DOES NOT AGREE" in Path("runs/first/report.html").read_text()


def test_a_journal_that_was_edited_is_not_resumed(command: Command) -> None:
    write_run("first", plan(), until=9)
    line = edit_journal("first", "asked", t=1.5)
    before = Path("runs/first/journal.jsonl").read_bytes()
    code, out, err = command("resume", "first")
    assert code == 2
    assert f"line {line} of the journal (digits/compact_cnn/control/search-000): its seal" in err
    assert line == 2
    assert "or keep its first line and resume from there" in err
    assert "Traceback" not in out + err
    assert Path("runs/first/journal.jsonl").read_bytes() == before

"""Trials wait for machines that the provider does not have: it is said, with the reason."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cluster import sleeper
from tests.cluster.fake_cluster import fake_cluster, until
from tests.cluster.out_of_stock import REASON
from tests.e2e.cli import PACKAGE, overrides, read_journal

PROVIDER = "tests.cluster.out_of_stock.OutOfStock"


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_why_no_node_comes_is_said_while_trials_wait(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    recipe = sleeper.recipe(
        tmp_path / "marks",
        0.1,
        search={"trials": 2, "control": "none"},
        asha={"max_epochs": 1, "grace_epochs": 1},
        confirm={"seeds": 0, "epochs": 1},
    )
    out = tmp_path / "out"
    with fake_cluster(workers=2, provider=PROVIDER, PYTHONPATH=str(PACKAGE)) as cluster:
        process = cluster.tune(tmp_path, *overrides(**recipe))
        try:
            until(lambda: "could be started" in out.read_text() or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130, out.read_text()
        finally:
            process.kill()
    told = out.read_text()
    sentence = f"no machine of type worker could be started: {REASON}. Trials wait until one starts"
    assert told.count(sentence) == 1
    assert "resume with: pcsearch resume" in told
    kinds = [event["event"] for event in read_journal(tmp_path / "run" / "journal.jsonl")]
    assert kinds == ["campaign", "asked", "asked", "ended"]

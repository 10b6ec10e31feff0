"""What `pcsearch cluster status` prints of machines and of campaigns that were not submitted."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pcsearch.cli.app import app
from pcsearch.cluster import jobs
from pcsearch.cluster.jobs import HeadNode, Job


class Fake:
    """A cluster with workers of two sizes, and a campaign that `tune --address` started."""

    def __init__(self, address: str) -> None:
        self.address = address

    def nodes(self) -> list[HeadNode]:
        return [
            HeadNode("h", True, 0, 0),
            *[HeadNode("w", False, 4, 1)] * 2,
            HeadNode("v", False, 16, 4),
        ]

    def campaigns(self) -> list[Job]:
        about = {"recipes": "cub200", "runs": "/runs", "name": "here"}
        return [Job("01000000", "RUNNING", about, "", None, 1.0, None, "process 7 on 10.0.0.5")]


def test_machines_by_size_and_what_was_not_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "Jobs", Fake)
    result = CliRunner().invoke(app, ["cluster", "status", "http://127.0.0.1:1"])
    assert result.exit_code == 0, result.output
    first, two, one, _, campaign, process = result.output.splitlines()
    assert first == "the head and 3 workers: 24 CPUs and 6 GPUs for trials"
    assert (two, one) == (
        "  2 workers with 4 CPUs and 1 GPU",
        "  1 worker with 16 CPUs and 4 GPUs",
    )
    assert campaign.split()[:2] == ["01000000", "running"]
    assert process == "01000000 was not submitted; it is process 7 on 10.0.0.5"

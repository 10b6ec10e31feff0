"""Following over a connection that breaks: each line once, and whole. Without Ray."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from pcsearch.cluster import follow as following
from pcsearch.cluster import jobs
from pcsearch.cluster.follow import Following


class Client:
    """Ray's, of one job: chunks of its log for each time it is followed, and its status then."""

    def __init__(self, streams: list[tuple[list[str], str]]) -> None:
        self._streams = iter(streams)
        self.status = "RUNNING"

    def list_jobs(self) -> list[Any]:
        status = SimpleNamespace(value=self.status)
        return [
            SimpleNamespace(
                submission_id="one",
                status=status,
                metadata={jobs.MARK: "0"},
                message="",
                driver_exit_code=None,
                start_time=1,
                end_time=None,
            )
        ]

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        chunks, self.status = next(self._streams)
        for chunk in chunks:
            yield chunk


def followed(streams: list[tuple[list[str], str]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    client = Client(streams)

    def made(address: str) -> jobs.Jobs:
        one = jobs.Jobs.__new__(jobs.Jobs)
        one.address, one._client = address, client
        return one

    monkeypatch.setattr(following, "Jobs", made)
    monkeypatch.setattr(following, "dashboard_of", contextlib.nullcontext)
    return list(Following("http://127.0.0.1:1", "one").lines(lambda: None))


def test_a_line_in_which_the_stream_breaks_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    broken, whole = ["one\nt", "wo\nthr"], ["one\ntwo\nthree\n", "four\n"]
    lines = followed([(broken, "RUNNING"), (whole, "SUCCEEDED")], monkeypatch)
    assert lines == ["one", "two", "three", "four"]


def test_a_job_may_end_without_an_end_of_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert followed([(["one\n", "two"], "FAILED")], monkeypatch) == ["one", "two"]

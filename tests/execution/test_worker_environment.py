"""What Ray Tune writes down of the driver's environment for workers on other nodes."""

from __future__ import annotations

import json

import pytest

from pcsearch.execution.tune_patches import without_credentials


class Trainable:
    """Stands in for what a worker runs."""


def test_no_credentials_but_what_workers_need(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.execution.class_cache import _ActorClassCache

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "very")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "indeed")
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    before = _ActorClassCache().get(Trainable)._default_options["runtime_env"]
    assert before["env_vars"]["AWS_SECRET_ACCESS_KEY"] == "secret"  # else nothing is to be done
    with without_credentials():
        written = _ActorClassCache().get(Trainable)._default_options["runtime_env"]
    assert "AWS" not in json.dumps(written)
    assert written["env_vars"]["RAY_CHDIR_TO_TRIAL_DIR"] == "0"

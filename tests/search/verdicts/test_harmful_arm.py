"""No verdict is too timid: an arm that surely harms is told to hurt. Real trainings, no Ray."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

WRONG_LABELS = 0.2
"""Of the training labels, in the arm that is called `pc`; its λ is 0."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fifth_of_wrong_labels_behind_an_arms_name_hurts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One campaign of the twenty in `benchmarks/verdicts.py --spoil`, of which nineteen say so."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("verdicts", None)
    from verdicts import campaign  # type: ignore[import-not-found]

    summary = campaign("quickstart", ["datasets=[fieldguide]"], 1, WRONG_LABELS)
    (study,) = summary["studies"]
    arm = study["arms"]["pc"]
    assert arm["verdict"]["word"] == "hurts", arm["verdict"]
    assert arm["gain"]["high"] < 0

"""`benchmarks/gpu_packing.py`, on processors: the script whose figures a GPU is to give."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu_packing.py"
SMALL = ["--backbone=compact_cnn", "--crop=32", "--batch=8", "--seconds=1"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.slow
def test_it_measures_each_number_of_trials_and_says_the_fraction() -> None:
    done = run("--device=cpu", "--trials", "1", "2", *SMALL)
    assert done.returncode == 0, done.stderr
    heading, *rows, advice = done.stdout.splitlines()
    assert heading.split()[0] == "trials"
    totals = {}
    for row in rows:
        trials, images, against, *memory = row.split()
        totals[int(trials)] = float(images)
        assert float(images) > 0
        assert memory == ["0.00", "0.00"], "of a processor none is told"
        assert float(against) == pytest.approx(float(images) / totals[1], abs=0.01)
    assert list(totals) == [1, 2]
    said = re.fullmatch(r"resources\.gpus_per_trial: (1|0\.5)   \(([12]) a GPU\)", advice)
    assert said is not None
    assert float(said[1]) == 1 / int(said[2])
    most = max(totals.values())
    assert totals[int(said[2])] >= 0.97 * most - 0.1


@pytest.mark.slow
def test_without_a_gpu_it_says_so() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = run(*SMALL)
    assert done.returncode == 2
    assert "there is no GPU" in done.stderr

"""Which checkpoints are written, kept and gone on from."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

import pytest

from pcsearch.train.checkpoints import Checkpoints

from .helpers import MemoryBatches, perceptron, same, settings, state, train

EPOCHS = 6


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run_until(epoch: int, checkpoints: Path | Checkpoints) -> None:
    run = train(perceptron(), MemoryBatches(), settings(epochs=EPOCHS), checkpoints=checkpoints)
    for _ in islice(run, epoch):
        pass
    run.close()  # type: ignore[attr-defined]


def epochs_trained(checkpoints: Path | Checkpoints) -> list[int]:
    batches = MemoryBatches()
    backbone, whole = perceptron(), perceptron()
    list(train(backbone, batches, settings(epochs=EPOCHS), checkpoints=checkpoints))
    list(train(whole, MemoryBatches(), settings(epochs=EPOCHS)))
    assert same(state(backbone), state(whole)), "it must end as an uninterrupted training does"
    return batches.asked


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :])


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_until(3, tmp_path)
    assert files(tmp_path) == ["a0000-e00002.pt", "a0000-e00003.pt"]
    damage(tmp_path / "a0000-e00003.pt", how)
    with caplog.at_level(logging.WARNING):
        assert epochs_trained(tmp_path) == [3, 4, 5, 6]
    assert "a0000-e00003.pt" in caplog.text
    assert "goes on from the checkpoint before" in caplog.text


def test_where_none_is_whole_training_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_until(3, tmp_path)
    for name in files(tmp_path):
        damage(tmp_path / name, "truncated")
    with caplog.at_level(logging.WARNING):
        assert epochs_trained(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert "training starts anew" in caplog.text


def test_a_later_attempt_goes_on_from_an_earlier_one_and_clears_up(tmp_path: Path) -> None:
    run_until(3, tmp_path)
    assert epochs_trained(Checkpoints(tmp_path, 1, every_seconds=0.0)) == [4, 5, 6]
    assert files(tmp_path) == ["a0001-e00005.pt", "a0001-e00006.pt"]


def test_an_outlived_worker_leaves_the_files_of_later_attempts_alone(tmp_path: Path) -> None:
    run = train(perceptron(), MemoryBatches(), settings(epochs=EPOCHS), checkpoints=tmp_path)
    next(run)
    run_until(3, Checkpoints(tmp_path, 1, every_seconds=0.0))
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    for _ in run:  # the old worker goes on to its end
        pass
    after = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert before.items() <= after.items()
    assert set(after) - set(before) == {"a0000-e00005.pt", "a0000-e00006.pt"}


def test_short_epochs_share_a_checkpoint(tmp_path: Path) -> None:
    run_until(EPOCHS, Checkpoints(tmp_path, every_seconds=3600.0))
    assert files(tmp_path) == []


def test_what_costs_long_is_written_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of our own: an epoch takes 3 s, writing a checkpoint takes 1 s."""
    now = [0.0]
    checkpoints = Checkpoints(tmp_path, every_seconds=2.0)
    written: list[float] = []
    monkeypatch.setattr("pcsearch.train.checkpoints.time.monotonic", lambda: now[0])

    def slow(*_: object) -> None:
        written.append(now[0])
        now[0] += 1.0

    monkeypatch.setattr("pcsearch.train.checkpoints.save_checkpoint", slow)
    for _ in train(perceptron(), MemoryBatches(), settings(epochs=20), checkpoints=checkpoints):
        now[0] += 3.0
    # after the second epoch at 3 s (nothing was due at 0); then 20 s after its end at 4 s
    assert written == [3.0, 25.0, 47.0]


@pytest.mark.parametrize("wanted", [True, False])
def test_leaving_early_writes_the_epochs_since_if_they_are_wanted(
    tmp_path: Path, wanted: bool
) -> None:
    run_until(4, Checkpoints(tmp_path, every_seconds=3600.0, at_the_end=lambda: wanted))
    assert (files(tmp_path) if tmp_path.is_dir() else []) == ["a0000-e00004.pt"] * wanted
    assert epochs_trained(tmp_path)[0] == (5 if wanted else 1)

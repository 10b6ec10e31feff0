"""Which checkpoints are written, kept and gone on from."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

import pytest

from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.metrics import Evaluation
from tests.training.helpers import (
    MemoryBatches,
    fixed_evaluation,
    perceptron,
    same,
    settings,
    state,
    train,
)

EPOCHS = 6


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run_until(epoch: int, checkpoints: Path | Checkpoints) -> None:
    run = train(perceptron(), MemoryBatches(), settings(epochs=EPOCHS), checkpoints=checkpoints)
    for _ in islice(run, epoch):
        pass
    run.close()


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


def test_what_a_killed_attempt_half_wrote_takes_no_room_in_the_next(tmp_path: Path) -> None:
    run_until(3, tmp_path)
    (tmp_path / ".a0000-e00004.pt.99999.tmp").write_bytes(b"half")
    run_until(4, Checkpoints(tmp_path, attempt=1, every_seconds=0))
    assert files(tmp_path) == ["a0000-e00003.pt", "a0001-e00004.pt"]


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
    assert "resumes from the checkpoint before" in caplog.text


def test_where_none_is_whole_training_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_until(3, tmp_path)
    for name in files(tmp_path):
        damage(tmp_path / name, "truncated")
    with caplog.at_level(logging.WARNING):
        assert epochs_trained(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert "training starts from scratch" in caplog.text


def test_damaged_files_do_not_count_among_those_that_are_kept(tmp_path: Path) -> None:
    """Of higher epochs than what is trained anew, they would have its checkpoints removed."""
    run_until(4, tmp_path)
    for name in files(tmp_path):
        damage(tmp_path / name, "truncated")
    run_until(2, Checkpoints(tmp_path, 1, every_seconds=0.0))
    assert files(tmp_path) == ["a0001-e00001.pt", "a0001-e00002.pt"]
    assert epochs_trained(Checkpoints(tmp_path, 2, every_seconds=0.0)) == [3, 4, 5, 6]


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


@pytest.mark.parametrize(
    ("epoch", "cost", "written"),
    [
        (0.5, 0.0, [2.0, 4.0, 6.0]),  # as often as is allowed
        (2.0, 0.125, [2.0, 6.125, 10.25]),  # after 2.5 s
        (1.0, 0.1875, [2.0, 6.1875, 10.375]),  # after 3.75 s
        (3.0, 1.0, [3.0, 10.0, 17.0]),  # 20 s would be long: after 4 s
        (4.0, 9.0, [4.0, 17.0, 30.0]),  # so that every epoch of 4 s or more is written
    ],
)
def test_what_costs_long_is_written_rarely_but_long_epochs_always(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: float,
    cost: float,
    written: list[float],
) -> None:
    """On a clock of our own: how long an epoch takes, and writing a checkpoint, in seconds."""
    now = [0.0]
    began: list[float] = []
    monkeypatch.setattr("pcsearch.training.checkpoints.time.monotonic", lambda: now[0])

    def slow(*_: object) -> None:
        began.append(now[0])
        now[0] += cost

    monkeypatch.setattr("pcsearch.training.checkpoints.save_checkpoint", slow)
    checkpoints = Checkpoints(tmp_path, every_seconds=2.0)

    def evaluate(module: object) -> Evaluation:
        now[0] += epoch
        return fixed_evaluation()

    chosen = settings(epochs=20)
    list(train(perceptron(), MemoryBatches(), chosen, checkpoints=checkpoints, evaluate=evaluate))
    assert began[:3] == written


def test_while_it_is_to_stop_every_epoch_is_written(tmp_path: Path) -> None:
    stopping = False
    checkpoints = Checkpoints(tmp_path, every_seconds=3600.0, stopping=lambda: stopping)
    run = train(perceptron(), MemoryBatches(), settings(epochs=EPOCHS), checkpoints=checkpoints)
    known: list[tuple[list[str], int]] = []
    for record in run:
        known.append((files(tmp_path), checkpoints.saved_epoch))
        stopping = record.epoch in (2, 3)
        if record.epoch == 5:
            run.close()
    third, fourth = "a0000-e00003.pt", "a0000-e00004.pt"
    both = [third, fourth]
    assert known == [([], 0), ([], 0), ([third], 3), (both, 4), (both, 4)]
    assert epochs_trained(tmp_path) == [5, 6]


def test_what_was_read_counts_as_saved(tmp_path: Path) -> None:
    run_until(3, tmp_path)
    checkpoints = Checkpoints(tmp_path, 1, every_seconds=3600.0)
    run = train(perceptron(), MemoryBatches(), settings(epochs=EPOCHS), checkpoints=checkpoints)
    assert [(r.epoch, r.epoch <= checkpoints.saved_epoch) for r in islice(run, 5)] == [
        (1, True),
        (2, True),
        (3, True),
        (4, False),
        (5, False),
    ]

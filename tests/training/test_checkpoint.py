from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pcsearch.errors import TrialError
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.metrics import EpochRecord, record_from_dict
from tests.training.helpers import (
    MemoryBatches,
    fixed_evaluation,
    perceptron,
    same,
    settings,
    state,
    train,
)


def timeless(records: list[EpochRecord]) -> list[dict[str, Any]]:
    return [{**asdict(r), "seconds": None, "replayed": None} for r in records]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"optimizer": "adamw", "lr": 0.01},
        {"accumulation_steps": 3, "clip_norm": 1.0, "schedule": "cosine"},
        {"head_only_epochs": 2, "lambda_": 0.5},
    ],
)
@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_resumed_is_uninterrupted_bit_for_bit(
    tmp_path: Path, values: dict[str, Any], stop: int
) -> None:
    chosen = settings(**{"epochs": 5, **values})
    whole, first, second = (perceptron(norm=True, dropout=0.3, seed=s) for s in (0, 0, 5))
    expected = list(train(whole, MemoryBatches(), chosen))
    folder = tmp_path / "campaign" / "trial"
    run = train(first, MemoryBatches(), chosen, checkpoints=folder)
    for _ in range(stop):
        next(run)
    run.close()
    torch.rand(3)  # what others draw in between plays no part
    batches = MemoryBatches()
    records = list(train(second, batches, chosen, checkpoints=folder))
    assert same(state(second), state(whole))
    assert timeless(records) == timeless(expected)
    assert [record.replayed for record in records] == [e <= stop for e in range(1, 6)]
    assert batches.asked == list(range(stop + 1, 6))
    assert sorted(file.name for file in folder.iterdir()) == ["a0000-e00004.pt", "a0000-e00005.pt"]


def test_evaluation_survives_in_the_records(tmp_path: Path) -> None:
    path = tmp_path / "c"
    validate = lambda module: fixed_evaluation(61.5)  # noqa: E731
    first = list(
        train(perceptron(), MemoryBatches(), settings(), checkpoints=path, evaluate=validate)
    )
    again = list(
        train(perceptron(), MemoryBatches(), settings(), checkpoints=path, evaluate=validate)
    )
    assert again == first
    assert again[0].validation == fixed_evaluation(61.5)
    assert record_from_dict(asdict(first[0])) == first[0]
    before = {key: value for key, value in asdict(first[0]).items() if key != "clipped"}
    assert record_from_dict(before) == replace(first[0], clipped=None), "as it was written before"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    next(train(perceptron(), MemoryBatches(), settings(), checkpoints=tmp_path))
    (path,) = tmp_path.iterdir()
    return path


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.98])
def test_a_truncated_checkpoint_is_ignored_with_a_warning(
    written: Path, keep: float, caplog: pytest.LogCaptureFixture
) -> None:
    content = written.read_bytes()
    written.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    backbone, fresh = perceptron(), perceptron()
    with caplog.at_level(logging.WARNING):
        records = list(train(backbone, MemoryBatches(), settings(), checkpoints=written.parent))
    assert "training starts from scratch" in caplog.text
    assert [record.replayed for record in records] == [False, False]
    list(train(fresh, MemoryBatches(), settings()))
    assert same(state(backbone), state(fresh))
    (_, last) = train(perceptron(), MemoryBatches(), settings(), checkpoints=written.parent)
    assert last.replayed  # it was replaced by a good one


def test_a_damaged_byte_of_the_weights_is_noticed(
    written: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = bytearray(written.read_bytes())
    next(train(trained := perceptron(), MemoryBatches(), settings()))
    weight = trained.module[1].weight.detach().numpy().tobytes()
    content[content.index(weight) + len(weight) // 2] ^= 1
    written.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        records = list(train(perceptron(), MemoryBatches(), settings(), checkpoints=written.parent))
    assert "damaged" in caplog.text
    assert not any(record.replayed for record in records)


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("/tmp/never"),)  # type: ignore[return-value]


@pytest.mark.parametrize("content", [Hostile(), {"weights": torch.zeros(2)}, [1, 2]])
def test_foreign_files_are_ignored_and_never_run(
    tmp_path: Path, content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path
    torch.save(content, path / "a0000-e00001.pt")
    with caplog.at_level(logging.WARNING):
        records = list(train(perceptron(), MemoryBatches(), settings(), checkpoints=path))
    assert "training starts from scratch" in caplog.text
    assert not any(record.replayed for record in records)


def test_other_settings_are_refused_by_name(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(TrialError, match=r"lr is 0\.1 there and 0\.2 here") as caught:
        next(
            train(
                perceptron(), MemoryBatches(), settings(lr=0.2, seed=4), checkpoints=written.parent
            )
        )
    assert "seed is 0 there and 4 here" in str(caught.value)
    assert written.read_bytes() == before


def test_another_network_or_another_amount_of_data_is_refused(written: Path) -> None:
    with pytest.raises(TrialError, match="other parameters"):
        next(train(perceptron(classes=4), MemoryBatches(), settings(), checkpoints=written.parent))
    with pytest.raises(TrialError, match="5 batches an epoch, not 3"):
        next(train(perceptron(), MemoryBatches(24), settings(), checkpoints=written.parent))


def test_training_goes_on_without_checkpoints_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    checkpoints = Checkpoints(tmp_path / "file" / "trial", every_seconds=0.0)
    backbone, fresh = perceptron(), perceptron()
    with caplog.at_level(logging.WARNING):
        for _ in train(backbone, MemoryBatches(), settings(), checkpoints=checkpoints):
            assert checkpoints.saved_epoch == 0
            assert "cannot write the checkpoint" in (checkpoints.error or "")
    assert caplog.text.count("training continues without it") == 1, "it is said once"
    list(train(fresh, MemoryBatches(), settings()))
    assert same(state(backbone), state(fresh))


@pytest.mark.parametrize(
    "failure",
    [OSError(28, "No space left on device"), RuntimeError("unexpected pos"), MemoryError()],
)
def test_a_write_that_fails_leaves_the_old_checkpoint_and_is_tried_again(
    written: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    before = written.read_bytes()

    def fails_halfway(content: object, file: Any) -> None:
        file.write(b"half of it")
        raise failure

    checkpoints = Checkpoints(written.parent, every_seconds=0.0)
    run = train(perceptron(), MemoryBatches(), settings(), checkpoints=checkpoints)
    next(run)
    assert (checkpoints.saved_epoch, checkpoints.error) == (1, None), "read from the file"
    with monkeypatch.context() as broken:
        broken.setattr(torch, "save", fails_halfway)
        next(run)
    assert str(failure) in (checkpoints.error or "-")
    assert checkpoints.saved_epoch == 1
    assert written.read_bytes() == before
    assert [file.name for file in written.parent.iterdir()] == [written.name]


def test_writing_again_after_a_failure_clears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, every_seconds=0.0)
    run = train(perceptron(), MemoryBatches(), settings(), checkpoints=checkpoints)
    with monkeypatch.context() as broken:
        broken.setattr(torch, "save", _no_space)
        next(run)
    assert checkpoints.error is not None
    next(run)
    assert (checkpoints.saved_epoch, checkpoints.error) == (2, None)


def _no_space(content: object, file: object) -> None:
    raise OSError(28, "No space left on device")

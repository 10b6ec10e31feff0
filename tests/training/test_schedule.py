from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.training.optim import stages_of
from pcsearch.training.schedule import Schedule, lr_factor, schedule_of
from tests.training.helpers import settings


def factors(schedule: Schedule) -> list[float]:
    return [lr_factor(schedule, update) for update in range(schedule.total_updates)]


def test_linear() -> None:
    assert factors(Schedule("linear", 4)) == [1.0, 0.75, 0.5, 0.25]


def test_linear_after_warmup() -> None:
    assert factors(Schedule("linear", 6, warmup_updates=2)) == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]


def test_poly_with_the_papers_power() -> None:
    assert factors(Schedule("poly", 4)) == pytest.approx([1, 0.8660254, 0.7071068, 0.5])
    assert factors(Schedule("poly", 4, poly_power=2.0)) == [1.0, 0.5625, 0.25, 0.0625]


def test_cosine() -> None:
    assert factors(Schedule("cosine", 4)) == pytest.approx([1, 0.8535534, 0.5, 0.1464466])


def test_constant_after_warmup() -> None:
    assert factors(Schedule("constant", 5, warmup_updates=4)) == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_step_counts_from_the_first_update() -> None:
    schedule = Schedule("step", 7, drop_updates=3, step_gamma=0.5)
    assert factors(schedule) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_step_multiplies_with_a_long_warmup() -> None:
    schedule = Schedule("step", 6, warmup_updates=4, drop_updates=2, step_gamma=0.5)
    assert factors(schedule) == [0.25, 0.5, 0.375, 0.5, 0.25, 0.25]


def test_epochs_become_updates() -> None:
    chosen = settings(epochs=10, schedule="step", warmup_epochs=0.5, step_epochs=2.5)
    schedule = schedule_of(chosen, epochs=10, updates_per_epoch=8)
    assert schedule == Schedule(
        "step", 80, warmup_updates=4, drop_updates=20, step_gamma=0.1, poly_power=0.5
    )


def test_a_step_within_rounding_is_not_lost() -> None:
    """0.1 · 30 is 3.0000000000000004 in floating point, but the drop is at update 3."""
    schedule = schedule_of(settings(epochs=1, schedule="step", step_epochs=0.1), 1, 30)
    assert factors(schedule)[:4] == pytest.approx([1, 1, 1, 0.1])


@given(
    kind=st.sampled_from(["linear", "poly", "cosine", "step", "constant"]),
    total=st.integers(2, 60),
    data=st.data(),
)
def test_rises_then_never_rises_again_and_stays_in_range(
    kind: str, total: int, data: st.DataObject
) -> None:
    warmup = data.draw(st.integers(0, total - 1))
    schedule = Schedule(kind, total, warmup, drop_updates=total)  # type: ignore[arg-type]
    values = factors(schedule)
    assert all(0 < value <= 1 for value in values)
    assert values[:warmup] == sorted(values[:warmup])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)
    assert values[warmup] == 1


def test_stages_cover_all_epochs_and_restart_the_schedule() -> None:
    chosen = settings(epochs=3, head_only_epochs=1, head_only_lr=1.0, lr=0.2, warmup_epochs=0.5)
    alone, together = stages_of(chosen, updates_per_epoch=2)
    assert (alone.head_only, together.head_only) == (True, False)
    assert [*alone.epochs, *together.epochs] == [1, 2, 3]
    assert [alone.lr_at(update) for update in range(2)] == [1.0, 1.0]
    expected = [0.2 * factor for factor in (1.0, 1.0, 2 / 3, 1 / 3)]
    assert [together.lr_at(update) for update in range(4)] == pytest.approx(expected)


def test_the_head_alone_trains_at_the_heads_rate_unless_told() -> None:
    (alone,) = stages_of(settings(epochs=2, head_only_epochs=2, head_lr_multiplier=10), 5)
    assert alone.lr_at(9) == pytest.approx(1.0)


def test_a_frozen_body_is_one_stage_of_the_head_with_warm_up_and_schedule() -> None:
    chosen = settings(epochs=4, lr=0.1, freeze="body", head_lr_multiplier=5, warmup_epochs=1)
    (alone,) = stages_of(chosen, updates_per_epoch=2)
    assert (alone.head_only, alone.epochs) == (True, range(1, 5))
    found = [alone.lr_at(update) for update in range(8)]
    assert found == pytest.approx(
        [0.25, 0.5, 0.5, 0.5 * 5 / 6, 0.5 * 4 / 6, 0.25, 0.5 / 3, 0.5 / 6]
    )

"""The gain and its parts against hand calculations, naive references and simulated campaigns."""

from __future__ import annotations

import base64
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from pcsearch.recipe.search_space import Space
from pcsearch.search.selection import Edge, nothing_beyond
from pcsearch.search.verdicts.gain import (
    Confirmed,
    Gain,
    alpha_of,
    choice_variance,
    detectable_gain,
    holm_levels,
    mean_std,
    measured_gain,
    pack_classes,
    unpack_classes,
)
from pcsearch.training.metrics import deciding_metrics
from tests.e2e.naive import chosen_variance

ACCURACY = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


def paired_gain(treated: dict[int, float], control: dict[int, float]) -> Gain | None:
    """The gain of accuracies alone, at the level of 95 %: the paired t of textbooks."""
    one, other = ({k: Confirmed(v) for k, v in arm.items()} for arm in (treated, control))
    return measured_gain(one, other, alpha=0.05)


def hits(right: list[int]) -> Confirmed:
    packed = np.packbits(np.array(right, dtype=np.uint8)).tobytes()
    return Confirmed(100 * sum(right) / len(right), base64.b64encode(packed).decode())


def test_mean_and_sample_standard_deviation() -> None:
    mean, std = mean_std([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert mean == 5.0
    assert std == pytest.approx(math.sqrt(32 / 7))  # squares sum to 32 over n − 1 = 7
    assert mean_std([3.5]) == (3.5, None)


def test_a_gain_computed_by_hand() -> None:
    """Differences 1, 3, 2: mean 2, s 1, t = 2·√3; with 2 degrees of freedom all is closed form."""
    gain = paired_gain({7: 82.0, 8: 84.0, 9: 83.0}, {7: 81.0, 8: 81.0, 9: 81.0})
    assert gain is not None
    assert gain.mean == pytest.approx(2.0)
    reach = 4.302652729911275 / math.sqrt(3)  # t(0.975, 2)
    assert gain.low == pytest.approx(2 - reach)
    assert gain.high == pytest.approx(2 + reach)
    t = 2 * math.sqrt(3)
    assert gain.p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert gain.includes_zero is True


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ACCURACY, ACCURACY), min_size=2, max_size=12))
def test_agrees_with_scipys_paired_test(pairs: list[tuple[float, float]]) -> None:
    treated, control = ({seed: p[i] for seed, p in enumerate(pairs)} for i in (0, 1))
    differences = [t - c for t, c in pairs]
    gain = paired_gain(treated, control)
    assert gain is not None
    if max(differences) - min(differences) < 1e-9:
        return  # scipy has no answer there; see the test of equal differences
    reference = scipy_stats.ttest_rel(list(treated.values()), list(control.values()))
    bounds = reference.confidence_interval(0.95)
    assert gain.mean == pytest.approx(sum(differences) / len(differences), abs=1e-9)
    assert gain.low == pytest.approx(bounds.low, rel=1e-7, abs=1e-7)
    assert gain.high == pytest.approx(bounds.high, rel=1e-7, abs=1e-7)
    assert gain.p_value == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(ACCURACY, ACCURACY), min_size=2, max_size=6))
def test_swapping_the_arms_turns_the_gain_around(pairs: list[tuple[float, float]]) -> None:
    left, right = ({seed: p[i] for seed, p in enumerate(pairs)} for i in (0, 1))
    there, back = paired_gain(left, right), paired_gain(right, left)
    assert there is not None
    assert back is not None
    assert back.mean == pytest.approx(-there.mean)
    assert (back.low is None) == (there.low is None)
    if there.low is None:
        return
    assert back.p_value == pytest.approx(there.p_value)
    assert (back.low, back.high) == pytest.approx((-float(there.high or 0), -float(there.low or 0)))


def test_only_common_seeds_count_whatever_their_order() -> None:
    control = {3: 70.0, 1: 71.0, 2: 72.0}
    gain = paired_gain({1: 72.0, 2: 74.0, 9: 0.0}, control)
    assert gain == paired_gain({2: 74.0, 1: 72.0}, control)
    assert gain is not None
    assert gain.mean == pytest.approx(1.5)


def test_too_few_common_seeds() -> None:
    assert paired_gain({1: 80.0}, {2: 79.0}) is None
    assert paired_gain({}, {}) is None
    one = paired_gain({1: 80.0, 2: 81.0}, {1: 79.0, 3: 79.0})
    assert one is not None
    assert (one.mean, one.low, one.high, one.p_value) == (1.0, None, None, None)
    assert one.includes_zero is None


@pytest.mark.parametrize("difference", [1.5, -1.5, 0.0])
def test_equal_differences_give_no_interval(difference: float) -> None:
    control = {seed: 80.0 + seed for seed in range(4)}
    treated = {seed: value + difference for seed, value in control.items()}
    gain = paired_gain(treated, control)
    assert gain is not None
    assert (gain.mean, gain.low, gain.high, gain.p_value) == (difference, None, None, None)


def test_differences_that_are_equal_but_for_rounding_give_no_interval_either() -> None:
    """One image of 359 more in each of two trainings: the differences differ in the last bit."""
    control = {1: 100 * 331 / 359, 2: 100 * 337 / 359}
    treated = {1: 100 * 332 / 359, 2: 100 * 338 / 359}
    assert treated[1] - control[1] != treated[2] - control[2]
    gain = paired_gain(treated, control)
    assert gain is not None
    assert (gain.low, gain.high, gain.p_value) == (None, None, None)


def test_the_better_arm_in_pairs_of_any_seeds() -> None:
    """Of the four pairs 82 and 80 against 81 and 80: better, better, equal, worse."""
    gain = paired_gain({1: 82.0, 2: 80.0}, {1: 81.0, 2: 80.0})
    assert gain is not None
    assert gain.better == pytest.approx((1 + 1 + 0.5 + 0) / 4)


def test_images_by_hand() -> None:
    """Two seeds, four images; differences in hits (x100): +1 +1 0 0, and +1 0 0 0.

    Means of images 1, ½, 0, 0; of seeds ½, ¼; of all ⅜. MS of images = 2·(0.6875 − 4·0.140625)/3...
    worked out in fractions below; the error is what neither explains.
    """
    treated = {1: hits([1, 1, 1, 0]), 2: hits([1, 0, 1, 0])}
    control = {1: hits([0, 0, 1, 0]), 2: hits([0, 0, 1, 0])}
    gain = measured_gain(treated, control, test_images=4)
    assert gain is not None
    assert gain.mean == pytest.approx(37.5)
    image_means = [1, 0.5, 0, 0]
    mean_square = 2 * sum((m - 0.375) ** 2 for m in image_means) / 3
    residuals = [  # d − image's mean − seed's mean + mean
        [1 - 1 - 0.5 + 0.375, 1 - 0.5 - 0.5 + 0.375, -0.5 + 0.375, -0.5 + 0.375],
        [1 - 1 - 0.25 + 0.375, 0 - 0.5 - 0.25 + 0.375, -0.25 + 0.375, -0.25 + 0.375],
    ]
    error = sum(r * r for row in residuals for r in row) / (1 * 3)
    images = 100**2 * max(0, mean_square - error) / 8
    seeds = max(100**2 * ((0.5 - 0.25) ** 2 / 2) / 2, 100**2 * error / 8)
    assert gain.parts.images == pytest.approx(math.sqrt(images))
    assert gain.parts.seeds == pytest.approx(math.sqrt(seeds))
    assert gain.parts.search is None


def test_the_parts_cover_what_new_seeds_and_new_images_change() -> None:
    """Campaigns drawn with both kinds of scatter: their SD is what the parts say of one of them."""
    rng = np.random.default_rng(5)
    gains, errors = [], []
    for _ in range(300):
        leaning = rng.normal(0, 0.8, 120)  # how much each image gains by the regulariser
        level = rng.normal(0.5, 1.0, 120)
        treated, control = {}, {}
        for seed in range(5):
            luck = rng.normal(0, 0.25, 2)
            one = (level + leaning + luck[0] + rng.normal(0, 1, 120) > 0).astype(int)
            other = (level + luck[1] + rng.normal(0, 1, 120) > 0).astype(int)
            treated[seed], control[seed] = hits(list(one)), hits(list(other))
        gain = measured_gain(treated, control, test_images=120)
        assert gain is not None
        gains.append(gain.mean)
        errors.append(math.hypot(gain.parts.seeds or 0, gain.parts.images or 0))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(gains), rel=0.12)


def test_equal_means_of_seeds_are_no_certainty() -> None:
    """Every seed gains one image of eight, but another one each time."""
    treated = {seed: hits([int(i in (7, seed)) for i in range(8)]) for seed in range(3)}
    control = {seed: hits([int(i == 7) for i in range(8)]) for seed in range(3)}
    gain = measured_gain(treated, control, test_images=8)
    assert gain is not None
    assert gain.mean == pytest.approx(12.5)
    assert gain.parts.seeds is not None
    assert gain.parts.seeds > 0
    assert gain.low is not None


def test_choices_that_cannot_differ_add_nothing() -> None:
    assert choice_variance([]) is None
    assert choice_variance([np.array([[60.0, 61.0, 62.0]])]) == 0.0  # one candidate
    assert choice_variance([np.array([[60.0], [50.0]])]) is None  # one repeat: scatter unknown
    far = np.array([[60.0, 61.0, 60.5, 60.2], [20.0, 21.1, 20.4, 20.1]])
    assert choice_variance([far]) == pytest.approx(0.0, abs=1e-6)


def test_an_arm_whose_scatter_is_unknown_leaves_the_whole_unknown() -> None:
    known = np.random.default_rng(0).normal(60, 2, (4, 4))
    assert choice_variance([known]) is not None
    assert choice_variance([known, known[:, :1]]) is None
    assert choice_variance([known[:, :1], known]) is None


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_among_many_varies_as_its_definition_says(seed: int) -> None:
    """Naive reference, one world at a time: true values given the scores, choices given those."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(60, 1.5, (5, 1)) + rng.normal(0, 2.0, (5, 4))
    means = scores.mean(axis=1)
    residuals = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
    noise = float((residuals**2).sum()) / (4 * 3) / 4
    spread = max(0.0, float(np.var(means, ddof=1)) - noise)
    shrink = spread / (spread + noise)
    variances = []
    for _ in range(4000):
        centre = means.mean() + shrink * (means - means.mean())
        true = centre + rng.normal(0, math.sqrt(shrink * noise), 5)
        seen = true + rng.normal(0, math.sqrt(noise), (100, 5))
        variances.append(np.var(true[seen.argmax(axis=1)], ddof=1))
    assert choice_variance([scores]) == pytest.approx(np.mean(variances), rel=0.2, abs=0.02)


def test_degrees_of_freedom_by_hand() -> None:
    """Welch and Satterthwaite over three parts: 3 seeds, 2 × 4 finalists an arm, 40 images."""
    rng = np.random.default_rng(1)
    right = [list(map(int, rng.random(40) < share)) for share in (0.9, 0.8, 0.85, 0.6, 0.55, 0.7)]
    treated = {seed: hits(row) for seed, row in enumerate(right[:3])}
    control = {seed: hits(row) for seed, row in enumerate(right[3:])}
    finalists = [rng.normal([[60.0], [61.0]], 2.0, (2, 4)) for _ in range(2)]
    gain = measured_gain(treated, control, finalists, 40, alpha=0.05)
    assert gain is not None
    assert None not in (gain.low, gain.parts.seeds, gain.parts.search, gain.parts.images)
    parts = [(gain.parts.seeds, 2), (gain.parts.search, 2 * 1 * 3), (gain.parts.images, 39)]
    variance = sum(error**2 for error, _ in parts if error)
    freedom = variance**2 / sum(error**4 / of for error, of in parts if error)
    reach = scipy_stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    assert gain.low == pytest.approx(gain.mean - reach)
    assert gain.high == pytest.approx(gain.mean + reach)


def test_weights_make_a_mean_over_classes_of_a_mean_over_images() -> None:
    classes = pack_classes(np.array([0, 0, 0, 2]))
    labels = unpack_classes(classes, 4)
    assert labels is not None
    weights = deciding_metrics()["mean_class_top1"].weights(labels)
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])  # class 1 has no image
    correct = np.array([1, 0, 0, 1])
    assert (weights * correct).mean() == pytest.approx((1 / 3 + 1) / 2)
    assert unpack_classes(None, 4) is None
    assert unpack_classes(classes, 5) is None
    assert unpack_classes("?", 4) is None


def test_a_mean_over_unequal_classes_errs_no_more_often_than_the_level() -> None:
    """Nine classes of 100 test images and one of 3, which counts as much as each of the others."""
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(10), [100] * 9 + [3])
    weights = deciding_metrics()["mean_class_top1"].weights(labels)
    wrong = {"weighted": 0, "plain": 0}
    for _ in range(400):
        ease = rng.beta(2, 1, len(labels))
        turn = 0.1 * rng.normal(size=len(labels))  # what an image likes, without an effect of PC
        arms: list[dict[int, Confirmed]] = []
        for sign in (1, -1):
            right = [(rng.random(len(labels)) < ease + sign * turn).astype(int) for _ in range(5)]
            each = [Confirmed(100 * float((weights * r).mean()), hits(list(r)).hits) for r in right]
            arms.append(dict(enumerate(each)))
        for name, of in (("weighted", weights), ("plain", None)):
            gain = measured_gain(*arms, [], len(labels), alpha=0.04, weights=of)
            wrong[name] += gain is not None and gain.includes_zero is False
    assert wrong["weighted"] <= 0.06 * 400
    assert wrong["plain"] > wrong["weighted"]


def test_the_choice_varies_as_campaigns_that_repeat_it_do() -> None:
    """Naive reference: for known true values, repeat finalists and choice many times."""
    rng = np.random.default_rng(3)
    estimates, truths = [], []
    for _ in range(60):
        true = rng.normal(60, 1.5, 6)
        scores = true[:, None] + rng.normal(0, 2.0, (6, 4))
        estimates.append(choice_variance([scores]))
        chosen = [true[np.argmax(true + rng.normal(0, 1.0, 6))] for _ in range(200)]
        truths.append(np.var(chosen))
    assert np.mean([e for e in estimates if e is not None]) == pytest.approx(
        np.mean(truths), rel=0.35
    )


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0, 4.0, 8.0])
def test_the_choice_between_two_varies_as_the_integral_says(apart: float) -> None:
    """In closed form but for one integral (tests/e2e/naive.py); draws scatter around it."""
    generator = np.random.default_rng(int(apart))
    for repeats in (2, 3, 4):
        arms = [generator.normal([[90.0], [90.0 + apart]], 2.0, (2, repeats)) for _ in range(2)]
        drawn, integral = choice_variance(arms), chosen_variance([arm.tolist() for arm in arms])
        assert drawn is not None
        assert math.sqrt(drawn) == pytest.approx(math.sqrt(integral), rel=0.15, abs=0.1)


def test_looks_share_one_error_rate() -> None:
    assert alpha_of([], 1) == pytest.approx(0.04)
    assert alpha_of([], 3) == pytest.approx(0.04 / 3)
    planned = [alpha_of([0.04 / 3] * k, 3) for k in range(3)]
    assert sum(planned) == pytest.approx(0.04)
    spent = [0.04]
    for _ in range(30):  # whoever widens a run again and again
        spent.append(alpha_of(spent, 1))
    assert spent[1:3] == pytest.approx([0.005, 0.0025])
    assert sum(spent) <= 0.05
    many = [0.04 / 5] * 5  # nothing of the 4 % is left for a sixth look, though 1 % is of the 5
    assert alpha_of(many, 5) == pytest.approx(0.005)


def test_arms_are_judged_one_after_another() -> None:
    """By hand, 6 % in three arms: 2 % for the smallest p-value, then 3 %, then 6 %."""
    levels = holm_levels({"a": 0.05, "b": 0.001, "c": 0.02}, 0.06)
    assert levels == {"b": pytest.approx(0.02), "c": pytest.approx(0.03), "a": pytest.approx(0.06)}
    stopped = holm_levels({"a": 0.04, "b": 0.001, "c": 0.031}, 0.06)
    assert stopped == {"b": pytest.approx(0.02), "c": pytest.approx(0.03), "a": pytest.approx(0.03)}
    none = holm_levels({"a": 0.03, "b": None, "c": 0.021}, 0.06)
    assert none == dict.fromkeys("abc", pytest.approx(0.02))
    unknown = holm_levels({"a": 0.02, "b": None}, 0.06)
    assert unknown == {"a": pytest.approx(0.03), "b": pytest.approx(0.06)}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.1))
def test_an_arm_passes_if_its_adjusted_p_value_does(p_values: list[float], alpha: float) -> None:
    """Holm's adjusted p-values: the running maximum of (k - i) p over the sorted p-values."""
    named = {str(index): p for index, p in enumerate(p_values)}
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(named, key=lambda name: named[name])):
        largest = max(largest, (len(named) - rank) * named[name])
        adjusted[name] = largest
    levels = holm_levels(named, alpha)
    for name, p in named.items():
        if abs(adjusted[name] - alpha) > 1e-9:
            assert (p <= levels[name]) == (adjusted[name] <= alpha)


def test_several_equal_arms_err_in_five_percent_of_studies() -> None:
    """20,000 studies: six arms without an effect share a control, 5 seeds each."""
    rng = np.random.default_rng(0)
    differences = rng.normal(0, 1, (20_000, 6, 5)) - rng.normal(0, 1, (20_000, 1, 5))
    t = differences.mean(axis=2) / (differences.std(axis=2, ddof=1) / math.sqrt(5))
    p_values = 2 * scipy_stats.t.sf(np.abs(t), 4)
    erred = [
        any(p <= levels[name] for name, p in named.items())
        for row in p_values[:4000]
        for named in [{str(index): float(p) for index, p in enumerate(row)}]
        for levels in [holm_levels(named, 0.05)]
    ]
    assert 0.02 < np.mean(erred) <= 0.05


def test_looking_again_and_again_errs_in_five_percent_at_most() -> None:
    """20,000 campaigns without an effect, each looked at after 5, 10, 15 and 20 seeds."""
    rng = np.random.default_rng(0)
    differences = rng.normal(0, 1, (20_000, 20))
    erred = np.zeros(20_000, dtype=bool)
    spent: list[float] = []
    for seeds in (5, 10, 15, 20):
        spent.append(alpha_of(spent, 1))
        seen = differences[:, :seeds]
        t = seen.mean(axis=1) / (seen.std(axis=1, ddof=1) / math.sqrt(seeds))
        erred |= np.abs(t) > scipy_stats.t.ppf(1 - spent[-1] / 2, seeds - 1)
    assert erred.mean() <= 0.05


def test_more_seeds_and_images_show_smaller_gains() -> None:
    assert detectable_gain(10, 4, 1000) < detectable_gain(5, 4, 1000) < detectable_gain(5, 4, 200)
    assert detectable_gain(2, 4, 200) > detectable_gain(5, 4, 200) > detectable_gain(5, 8, 200)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_same_scores_give_the_same_interval(seed: int) -> None:
    generator = random.Random(seed)
    scores = np.array([[generator.gauss(60, 2) for _ in range(3)] for _ in range(4)])
    assert choice_variance([scores]) == choice_variance([scores.copy()])


def test_reading_results_starts_nothing_heavy() -> None:
    code = (
        "import sys; import pcsearch.reporting.summary, pcsearch.reporting.tables;"
        "print([m for m in ('torch', 'ray', 'optuna', 'scipy') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert printed.decode().strip() == "[]"


@pytest.mark.parametrize(
    ("key", "end", "space", "nothing"),
    [
        ("weight_decay", "low", Space.between(0.0, 0.1), True),
        ("weight_decay", "high", Space.between(0.0, 0.1), False),
        ("weight_decay", "high", Space.fixed(0.0), False),
        ("lr", "low", Space.between(0.001, 0.1), False),
        ("batch_size", "low", Space.of((8, 16)), True),
        ("batch_size", "high", Space.of((8, 16)), True),
        ("batch_size", "high", Space.of((8, 16, 32)), False),
    ],
)
def test_where_nothing_lies_beyond_an_end(key: str, end: Edge, space: Space, nothing: bool) -> None:
    assert nothing_beyond(key, end, space) == nothing

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from pcsearch.reporting.lambda_curve import (
    CurvePoint,
    Difference,
    FeatureFacts,
    LambdaCurve,
    curve_points,
    image_weights,
)

FRACTIONS = (0.0, 0.05, 0.1)


def hits_of(counts: list[list[int]], images: int = 10) -> np.ndarray:
    """[L, R, images] where counts[l][r] of the images are named right."""
    return np.array([[[i < count for i in range(images)] for count in row] for row in counts])


def points_of(repeats: list[list[list[int]]], given: bool = False) -> tuple[CurvePoint, ...]:
    hits = [hits_of(counts) for counts in repeats]
    rates = [0.1, 1.0][: len(repeats[0][0])]
    weights = [np.ones(10)] * len(hits)
    fractions = FRACTIONS[: len(repeats[0])]
    return curve_points(fractions, 20, rates, hits, weights, given_split=given, val_per_fit=0.25)


def test_means_and_paired_intervals_by_hand() -> None:
    # One rate. λ = 0: 4, 5, 6 of 10 right; the other: 5, 7, 6. Differences 10, 20, 0 points.
    control, other = points_of([[[4], [5]], [[5], [7]], [[6], [6]]])
    assert (control.value, other.value) == (50, pytest.approx(60))
    spread = math.sqrt(1 / 3 + 0.25)
    assert control.standard_error == pytest.approx(10 * spread)
    assert control.gain is None
    assert other.lambda_ == 1.0
    assert other.gain is not None
    assert other.gain.mean == pytest.approx(10)
    reach = stats.t.ppf(0.975, 2) * 10 * spread  # the sample deviation of 10, 20, 0 is 10
    assert other.gain.low == pytest.approx(10 - reach)
    assert other.gain.high == pytest.approx(10 + reach)
    assert other.behind_best is None
    assert control.behind_best == Difference(
        pytest.approx(-10), pytest.approx(-10 - reach), pytest.approx(-10 + reach)
    )
    assert control.near_best


def test_a_rate_is_not_chosen_by_the_images_it_is_measured_on() -> None:
    # Rate 2 is best in repeat 0 alone: the others choose rate 1 for it, and it chooses for them.
    (point,) = points_of([[[5, 9]], [[6, 5]], [[6, 5]]])
    # repeat 0: others have 12 and 10, rate 1: 5. Repeats 1, 2: 11 and 14, rate 2: 5 and 5.
    assert point.value == pytest.approx(50)
    assert point.rate == 1.0  # 19 against 17 in all


def test_equal_rates_take_the_lowest() -> None:
    (point,) = points_of([[[5, 5]], [[6, 6]]])
    assert point.rate == 0.1


def test_values_that_never_differ_are_equal_and_a_constant_lead_has_no_interval() -> None:
    first, second, third = points_of([[[4], [4], [5]], [[5], [5], [6]]])
    assert second.gain == Difference(0, 0.0, 0.0)
    assert third.gain == Difference(pytest.approx(10), None, None)
    assert first.near_best  # nothing excludes it


def test_with_a_given_split_images_are_the_sample() -> None:
    # Two seeds on the same ten images. λ = 0: 4 and 4 right; the other: 8 and 6, the same first.
    control, other = points_of([[[4], [8]], [[4], [6]]], given=True)
    assert other.gain is not None
    per_image = np.array([0] * 4 + [100] * 2 + [50] * 2 + [0] * 2)
    interval = stats.ttest_1samp(per_image, 0).confidence_interval()
    assert other.gain.mean == pytest.approx(30)
    assert (other.gain.low, other.gain.high) == (
        pytest.approx(interval.low),
        pytest.approx(interval.high),
    )
    assert control.value == 40


def test_weights_make_the_mean_over_classes() -> None:
    labels = np.array([0, 0, 0, 2], dtype=np.int64)  # class 1 has no image
    weights = image_weights(labels, "mean_class_top1")
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2])
    right = np.array([True, False, False, True])
    assert (right * weights).mean() == pytest.approx((1 / 3 + 1) / 2)
    np.testing.assert_array_equal(image_weights(labels, "top1"), np.ones(4))


def point(fraction: float, value: float, behind: Difference | None) -> CurvePoint:
    gain = None if fraction == 0 else Difference(value - 50, value - 52, value - 48)
    return CurvePoint(fraction, 10 * fraction, value, 1.0, gain, behind, 1.0)


def curve_of(*points: CurvePoint, notes: tuple[str, ...] = ()) -> LambdaCurve:
    return LambdaCurve(
        "digits/compact_cnn", 10, 80, 20, 3, False, "top1", "euclidean", "split_batch", 32, 15,
        FeatureFacts("head", "Linear", False, 64, "none"), points, notes, 1.0, 2.0,
    )  # fmt: skip


FAR, NEAR = Difference(-9, -12, -6), Difference(-1, -3, 1)


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (
            (point(0, 50, FAR), point(0.1, 59, None)),
            "λ/N = 0.1 looks best (59.0 %), and every other value is worse by more than the error.",
        ),
        (
            (point(0, 50, NEAR), point(0.05, 45, FAR), point(0.1, 51, None)),
            "λ/N = 0.1 looks best (51.0 %), but these do not differ from it: 0 (within error). "
            "Whether λ > 0 helps stays open.",
        ),
        (
            (point(0, 50, FAR), point(0.05, 58, NEAR), point(0.1, 59, None)),
            "λ/N = 0.1 looks best (59.0 %), but these do not differ from it: 0.05 (within error).",
        ),
        (
            (point(0, 50, None), point(0.05, 49, NEAR)),
            "λ/N = 0 looks best (50.0 %), but none of the other values differs from it "
            "(within error). No λ > 0 looks better than plain cross-entropy.",
        ),
    ],
)
def test_what_is_concluded(points: tuple[CurvePoint, ...], text: str) -> None:
    assert curve_of(*points).conclusion() == text


def test_json_has_everything() -> None:
    curve = curve_of(point(0, 50, NEAR), point(0.1, 51, None), notes=("Look.",))
    content = json.loads(json.dumps(curve.to_json(), allow_nan=False))
    assert content["best_lambda_over_n"] == 0.1
    assert content["near_best_lambda_over_n"] == [0, 0.1]
    assert content["points"][1] == {
        "lambda_over_n": 0.1, "lambda": 1.0, "value": 51, "standard_error": 1.0,
        "gain": {"mean": 1, "low": -1, "high": 3}, "behind_best": None, "rate": 1.0,
        "near_best": True,
    }  # fmt: skip
    assert content["points"][0]["gain"] is None
    assert "not a verdict" in content["caveat"]
    assert content["notes"] == ["Look."]

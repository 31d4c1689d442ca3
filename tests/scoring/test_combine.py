import pytest

from medres.errors import ConfigError
from medres.scoring.combine import check_rule, combine_images

IMAGES = [(0.2, 0.8), (0.4, 0.0)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("mean", (0.3, 0.4)), ("max", (0.4, 0.8)), ("noisy-or", (0.52, 0.8))],
)
def test_rules_on_a_table_worked_by_hand(rule, expected) -> None:
    combined = combine_images(IMAGES, ["", ""], rule, "multilabel")
    assert combined.probabilities == pytest.approx(expected, abs=1e-15)
    assert combined.sides == {}


def test_both_sides_are_combined_apart_and_the_study_has_the_larger() -> None:
    images = [(0.2,), (0.4,), (0.9,), (0.1,)]
    combined = combine_images(images, ["R", "R", "L", "U"], "mean", "binary")
    assert combined.sides == {"R": pytest.approx((0.3,)), "L": (0.9,)}
    assert combined.probabilities == (0.9,)


@pytest.mark.parametrize(("rule", "right"), [("mean", 0.3), ("max", 0.4), ("noisy-or", 0.52)])
def test_a_study_of_both_sides_and_nothing_else_has_the_larger_too(rule, right) -> None:
    combined = combine_images([(0.2,), (0.4,), (0.25,)], ["R", "R", "L"], rule, "multilabel")
    assert combined.sides == {"R": pytest.approx((right,)), "L": pytest.approx((0.25,))}
    assert combined.probabilities == pytest.approx((right,))


def test_images_of_neither_side_count_too() -> None:
    images = [(0.2,), (0.3,), (0.8,)]
    assert combine_images(images, ["R", "L", ""], "mean", "binary").probabilities == (0.8,)


@pytest.mark.parametrize("lateralities", [["L", "U"], ["R", ""], ["B", "U"]])
def test_one_side_alone_is_no_reason_to_part_images(lateralities) -> None:
    combined = combine_images([(0.2,), (0.8,)], lateralities, "mean", "binary")
    assert combined.probabilities == (0.5,)
    assert combined.sides == {}


def test_classes_have_no_sides() -> None:
    combined = combine_images(IMAGES, ["R", "L"], "mean", "multiclass")
    assert combined.probabilities == pytest.approx((0.3, 0.4))


def test_a_rule_that_breaks_the_sum_of_classes_is_refused() -> None:
    check_rule("mean", "multiclass")
    check_rule("max", "multilabel")
    with pytest.raises(ConfigError, match="'max' is not accepted for a multiclass model"):
        check_rule("max", "multiclass")
    with pytest.raises(ConfigError, match="give one of mean, max, noisy-or"):
        check_rule("median", "binary")

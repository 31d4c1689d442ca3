from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from medres.errors import UndefinedMetricError
from medres.metrics.calibration_line import NEAREST, calibration_line, logits_of
from medres.metrics.logistic import fit_line


def drawn(seed: int, n: int = 500):
    generator = torch.Generator().manual_seed(seed)
    logit = 1.5 * torch.randn(n, generator=generator, dtype=torch.float64) - 1
    y = (torch.rand(n, generator=generator, dtype=torch.float64) < torch.sigmoid(logit)).double()
    return y, logit


def own_fit(y, logit) -> torch.Tensor:
    a, b = fit_line(y[:, None], logit[:, None], torch.ones_like(y)[:, None])
    return a + b * logit


def test_a_models_own_fit_has_slope_1_and_intercept_0():
    y, logit = drawn(1)
    line = calibration_line(y, torch.sigmoid(own_fit(y, logit)))
    assert line.slope.value == pytest.approx(1, abs=1e-9)
    assert line.intercept.value == pytest.approx(0, abs=1e-9)
    assert line.in_the_large.value == pytest.approx(0, abs=1e-9)


def test_a_stretched_and_shifted_fit_has_half_the_slope():
    y, logit = drawn(2)
    line = calibration_line(y, torch.sigmoid(2 * own_fit(y, logit) + 0.5))
    assert line.slope.value == pytest.approx(0.5, abs=1e-9)
    assert line.intercept.value == pytest.approx(-0.25, abs=1e-9)


def test_line_and_standard_errors_equal_a_textbook_fit():
    y, logit = drawn(3)
    line = calibration_line(y, torch.sigmoid(logit))
    z = logit.numpy()[:, None]
    other = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(z, y.numpy())
    assert line.slope.value == pytest.approx(other.coef_[0, 0], abs=1e-5)
    design = np.hstack([np.ones_like(z), z])
    p = other.predict_proba(z)[:, 1]
    covariance = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))
    z95 = 1.959963984540054
    assert (line.slope.high - line.slope.low) / 2 / z95 == pytest.approx(
        covariance[1, 1] ** 0.5, rel=1e-5
    )
    assert (line.intercept.high - line.intercept.low) / 2 / z95 == pytest.approx(
        covariance[0, 0] ** 0.5, rel=1e-5
    )
    assert line.slope.method == "Wald"


def test_repeated_patients_do_not_shrink_the_interval():
    y, logit = drawn(4, n=150)
    once = calibration_line(y, torch.sigmoid(logit))
    again = calibration_line(
        y.repeat(4), torch.sigmoid(logit).repeat(4), patient_ids=np.tile(np.arange(150), 4)
    )
    assert again.slope.value == pytest.approx(once.slope.value, abs=1e-9)
    for name in ("slope", "intercept", "in_the_large"):
        wide, narrow = (
            getattr(line, name).high - getattr(line, name).low for line in (again, once)
        )
        assert wide == pytest.approx(narrow, rel=0.2)
    assert again.slope.method == "Wald, clustered by patient"


def test_intervals_cover_1_and_0_for_a_calibrated_model():
    covered = np.zeros(3)
    for seed in range(300):
        y, logit = drawn(seed, n=200)
        line = calibration_line(y, torch.sigmoid(logit))
        covered += [
            line.slope.low <= 1 <= line.slope.high,
            line.intercept.low <= 0 <= line.intercept.high,
            line.in_the_large.low <= 0 <= line.in_the_large.high,
        ]
    assert covered / 300 == pytest.approx([0.95] * 3, abs=0.035)


def test_scores_of_0_and_1_are_taken_just_inside():
    assert logits_of(torch.tensor([0.0, 1.0])).tolist() == pytest.approx(
        [np.log(NEAREST), -np.log(NEAREST)], rel=1e-6
    )
    line = calibration_line([0, 1, 0, 1, 1], [0.0, 1.0, 0.4, 0.3, 1.0])
    assert 0 < line.slope.value < 1


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.8], "scores that part the classes or are all equal"),
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], "scores that part the classes or are all equal"),
        ([1, 1], [0.3, 0.4], "rows of one class only"),
        ([0, 1], [0.3, 1.4], r"the calibration line is undefined: 1 scores outside \[0, 1\]"),
    ],
)
def test_undefined_lines_say_why(y, p, message: str):
    with pytest.raises(UndefinedMetricError, match=message):
        calibration_line(y, p)

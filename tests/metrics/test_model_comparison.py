from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from medres.errors import MetricInputError
from medres.metrics.comparison import bootstrap_difference, compare_aurocs, holm
from medres.metrics.model_comparison import FIGURES, compare_models
from medres.metrics.operating_point import Threshold
from medres.metrics.paired_decisions import compare_decisions

HALF = Threshold(0.5, "by hand", 0)


def drawn(n: int = 150):
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(n, 2, generator=generator) < 0.5).double()
    noise = torch.randn(2, n, 2, generator=generator, dtype=torch.float64)
    return y, torch.sigmoid(2 * y - 1 + noise[0]), torch.sigmoid(0.5 * y + noise[1])


def test_every_figure_equals_its_single_function_with_holm_over_findings():
    y, a, b = drawn()
    y[:20, 1] = math.nan
    locked = {"x": HALF, "y": HALF}
    result = compare_models(
        y, a, b, ["x", "y"], first_thresholds=locked, second_thresholds=locked, resamples=100
    )
    columns = y[20:, 1], a[20:, 1], b[20:, 1]
    assert result.findings["y"]["auroc"] == compare_aurocs(*columns)
    assert result.findings["y"]["sensitivity"] == compare_decisions(*columns, 0.5, 0.5)
    brier = bootstrap_difference(*columns, "brier_score", resamples=100)
    assert result.findings["y"]["brier_score"].difference.value == brier.difference.value
    for figure in FIGURES:
        raw = [result.findings[name][figure].p_value for name in ("x", "y")]
        adjusted = [result.adjusted[name][figure] for name in ("x", "y")]
        assert adjusted == pytest.approx(holm(raw))
    content = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert content["x"]["auroc"]["p_holm"] == result.adjusted["x"]["auroc"]


def test_repeated_patients_take_the_bootstrap_for_decisions():
    y, a, b = drawn(60)
    ids = np.tile(np.arange(60), 2)
    result = compare_models(
        y.repeat(2, 1), a.repeat(2, 1), b.repeat(2, 1), ["x", "y"], patient_ids=ids,
        first_thresholds={"x": HALF}, second_thresholds={"x": HALF}, resamples=50,
    )  # fmt: skip
    assert result.findings["x"]["auroc"].test == "DeLong, paired, clustered (Obuchowski)"
    assert result.findings["x"]["sensitivity"].test.startswith("patient bootstrap")
    assert result.findings["y"]["sensitivity"] == "a model has no threshold"


def test_what_is_undefined_says_why():
    y, a, b = drawn(40)
    y[:, 0] = 1
    result = compare_models(y, torch.logit(a), b, ["x", "y"], resamples=20)
    assert "none of the 40 rows is negative" in result.findings["x"]["auroc"]
    assert result.findings["y"]["brier_score"] == "scores outside [0, 1] are no probabilities"
    assert result.as_json()["x"]["auroc"] == {"undefined": result.findings["x"]["auroc"]}
    with pytest.raises(MetricInputError, match=r"y_true has 2 columns for the findings \['x'\]"):
        compare_models(y, a, b, ["x"])

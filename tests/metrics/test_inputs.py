from __future__ import annotations

import numpy as np
import pytest
import torch

from medres.errors import MedresError, MetricInputError, UndefinedMetricError
from medres.metrics.inputs import as_tensors, read_back


def test_inputs_of_any_kind_become_float64_of_equal_value():
    for kind in (list, np.asarray, torch.tensor):
        label, score = as_tensors(kind([0, 1, 1]), kind([0.25, 0.5, 0.5]))
        assert label.dtype == score.dtype == torch.float64
        assert label.tolist() == [0.0, 1.0, 1.0]
        assert score.tolist() == [0.25, 0.5, 0.5]


def test_half_precision_scores_keep_their_ties_and_order():
    scores = torch.tensor([0.1, 0.1001, 0.2], dtype=torch.bfloat16)
    _, score = as_tensors([0, 1, 1], scores)
    assert score[0] == score[1] < score[2]


def test_inputs_do_not_change_under_the_caller():
    scores = np.array([0.1, 0.2])
    _, score = as_tensors([0, 1], scores)
    scores[:] = 9
    assert score.tolist() == [0.1, 0.2]


def test_unequal_shapes_are_refused():
    with pytest.raises(MetricInputError, match=r"y_true has shape \(3,\) and y_score \(2,\)"):
        as_tensors([0, 1, 1], [0.5, 0.5])


def test_no_rows_are_undefined():
    with pytest.raises(UndefinedMetricError, match="no rows: a metric needs at least one"):
        as_tensors([], [])


@pytest.mark.parametrize("label", [2.0, -1.0, 0.5, float("inf")])
def test_a_label_other_than_0_and_1_is_refused(label: float):
    y_true, y_score = as_tensors([0, 1, label], [0.1, 0.2, 0.3])
    with pytest.raises(MetricInputError, match="1 of 3 labels in y_true are neither 0, 1 nor NaN"):
        read_back(y_true, y_score)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused(score: float):
    y_true, y_score = as_tensors([0, 1, 1], [0.1, 0.2, score])
    with pytest.raises(MetricInputError, match="1 of 3 scores in y_score are NaN or infinite"):
        read_back(y_true, y_score)


def test_input_errors_are_medres_errors_and_value_errors_but_not_undefined_metrics():
    assert issubclass(MetricInputError, MedresError)
    assert issubclass(MetricInputError, ValueError)
    assert not issubclass(MetricInputError, UndefinedMetricError)


@pytest.mark.parametrize("scores", [["0.1", "a"], [[0.1], [0.2, 0.3]], [object(), 1]])
def test_what_is_no_number_is_refused_without_being_quoted(scores):
    with pytest.raises(MetricInputError, match="labels or scores are not all numb") as error:
        as_tensors([0, 1], scores)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("shape", [(), (2, 2, 2)])
def test_neither_one_finding_nor_several_is_refused(shape):
    with pytest.raises(MetricInputError, match=r"give \(N,\) for one finding, \(N, F\) for"):
        as_tensors(np.ones(shape), np.ones(shape))

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError
from medres.metrics.aggregation import combine_scores

NAN = math.nan
PATIENTS = ["b", "a", "a", "a", "b"]
STUDIES = ["s3", "s1", "s1", "s2", "s3"]
SCORES = [[0.1], [0.2], [0.6], [0.3], [0.5]]
LABELS = [[0], [0], [1], [0], [NAN]]


def test_images_become_studies_by_mean_and_labels_by_maximum():
    studies = combine_scores(LABELS, SCORES, patient_ids=PATIENTS, study_ids=STUDIES, unit="study")
    assert studies.unit_ids == ("s1", "s2", "s3")
    assert studies.patient_ids == ("a", "a", "b")
    assert studies.y_score[:, 0].tolist() == pytest.approx([0.4, 0.3, 0.3])
    assert studies.y_true[:, 0].tolist() == [1, 0, 0]
    assert (studies.n_images, studies.n_studies, studies.n_patients) == (5, 3, 2)


def test_studies_become_patients_by_maximum():
    patients = combine_scores(LABELS, SCORES, patient_ids=PATIENTS, study_ids=STUDIES)
    assert patients.unit_ids == patients.patient_ids == ("a", "b")
    assert patients.y_score[:, 0].tolist() == pytest.approx([0.4, 0.3])
    assert patients.y_true[:, 0].tolist() == [1, 0]
    assert (patients.n_images, patients.n_studies, patients.n_patients) == (5, 3, 2)


def test_a_label_is_missing_only_where_every_image_lacks_it():
    combined = combine_scores(
        [[NAN, 1], [NAN, NAN], [0, NAN]], np.zeros((3, 2)), patient_ids=["a", "a", "b"]
    )
    assert combined.y_true.isnan().tolist() == [[True, False], [False, True]]
    assert combined.y_true[0, 1] == 1
    assert combined.y_true[1, 0] == 0


def test_images_without_a_study_are_studies_of_their_own():
    for studies in (None, ["", "", ""]):
        combined = combine_scores(
            [0, 0, 1], [0.2, 0.8, 0.5], patient_ids=[1, 1, 2], study_ids=studies
        )
        assert combined.n_studies == 3
        assert combined.y_score[:, 0].tolist() == [0.8, 0.5]


def test_the_same_study_id_under_two_patients_is_two_studies():
    combined = combine_scores(
        [0, 1], [0.2, 0.8], patient_ids=["a", "b"], study_ids=["s", "s"], unit="study"
    )
    assert combined.unit_ids == ("s", "s")
    assert combined.y_true[:, 0].tolist() == [0, 1]


@given(st.permutations(range(5)))
def test_combination_does_not_depend_on_row_order(order):
    def pick(column):
        return [column[i] for i in order]

    combined = combine_scores(
        pick(LABELS), pick(SCORES), patient_ids=pick(PATIENTS), study_ids=pick(STUDIES)
    )
    assert combined.y_score[:, 0].tolist() == pytest.approx([0.4, 0.3])
    assert combined.y_true[:, 0].tolist() == [1, 0]


def test_ids_may_be_tensors_and_scores_keep_their_device_and_become_float64():
    combined = combine_scores(
        torch.tensor([0, 1]), torch.tensor([0.25, 0.5]), patient_ids=torch.tensor([7, 7])
    )
    assert combined.unit_ids == ("7",)
    assert combined.y_score.dtype == torch.float64


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(MetricInputError, match="1 of 2 scores in y_score are NaN or infinite"):
        combine_scores([0, 1], [0.5, NAN], patient_ids=["a", "b"])


def test_empty_patients_wrong_lengths_and_units_are_refused():
    with pytest.raises(MetricInputError, match="1 of 2 patient_ids are empty"):
        combine_scores([0, 1], [0.5, 0.5], patient_ids=["a", ""])
    with pytest.raises(MetricInputError, match=r"study_ids has shape \(1,\); give one for each"):
        combine_scores([0, 1], [0.5, 0.5], patient_ids=["a", "b"], study_ids=["s"])
    with pytest.raises(MetricInputError, match="unit 'series' is unknown"):
        combine_scores([0, 1], [0.5, 0.5], patient_ids=["a", "b"], unit="series")


def test_an_image_without_label_and_score_has_no_part_in_that_finding():
    labels = [[1, 0], [NAN, 0], [0, NAN], [NAN, NAN]]
    scores = [[0.1, 0.2], [NAN, 0.6], [0.3, NAN], [0.9, NAN]]
    studies = combine_scores(
        labels, scores, patient_ids=["a", "a", "a", "b"], study_ids=["s", "s", "t", "u"],
        unit="study",
    )  # fmt: skip
    assert studies.y_score.tolist() == [
        [0.1, pytest.approx(0.4)], [0.3, pytest.approx(NAN, nan_ok=True)],
        [0.9, pytest.approx(NAN, nan_ok=True)],
    ]  # fmt: skip
    patients = combine_scores(
        labels, scores, patient_ids=["a", "a", "a", "b"], study_ids=["s", "s", "t", "u"]
    )
    assert patients.y_score[0].tolist() == [0.3, pytest.approx(0.4)]
    assert patients.y_score[1].isnan().tolist() == [False, True]
    assert patients.y_true[1].isnan().tolist() == [True, True]

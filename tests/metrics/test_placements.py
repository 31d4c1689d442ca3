from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.metrics.intervals import PatientGroups
from medres.metrics.placements import (
    clustered_variance,
    delong_area,
    placement_covariance,
    placements_of_rows,
)
from medres.metrics.ranking import auroc

from . import slow_twins

rows = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-1.0, 0.0, -0.0, 0.5, 2.0]), st.integers(0, 5)),
    min_size=4,
).filter(lambda rows: all(len({p for y, _, p in rows if y == c}) > 1 for c in (0, 1)))


@given(rows)
@settings(deadline=None)
def test_clustered_variance_equals_the_slow_twin(rows):
    y, s, patients = (np.array(column) for column in zip(*rows, strict=True))
    _, index = np.unique(patients, return_inverse=True)
    groups = PatientGroups(torch.from_numpy(index), int(index.max()) + 1)
    found = float(clustered_variance(torch.from_numpy(y).double(), torch.from_numpy(s), groups))
    assert found == pytest.approx(slow_twins.obuchowski_variance(y, s, patients), abs=1e-13)


def test_placements_of_a_table_with_a_tie_worked_by_hand():
    y, s = (
        torch.tensor([1.0, 0, 1, 0, 0]).double(),
        torch.tensor([0.9, 0.8, 0.4, 0.4, 0.1]).double(),
    )
    # positives: .9 beats all 3, .4 beats 1 and ties 1; negatives: .8 below 1, .4 below 1 and ties 1
    expected = [1, 0.5, 0.5, 0.75, 1]
    assert placements_of_rows(y, s).tolist() == pytest.approx(expected)
    y[4] = torch.nan
    assert placements_of_rows(y, s).tolist() == pytest.approx([1, 0.5, 0.25, 0.75, 0])


def test_with_one_row_a_patient_the_covariance_is_delongs():
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(60, generator=generator) < 0.4).double()
    scores = (y + torch.randn((2, 60), generator=generator)).round(decimals=1).double()
    placed = torch.stack([placements_of_rows(y, s) for s in scores])
    covariance = placement_covariance(y, placed, PatientGroups(torch.arange(60), 60))
    for k in (0, 1):
        assert float(covariance[k, k]) == pytest.approx(float(delong_area(y, scores[k]).variance))
    difference = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    slow = slow_twins.delong_difference_variance(y, scores[0], scores[1])
    assert float(difference) == pytest.approx(slow)


def test_delong_for_repeated_patients_takes_their_variance_and_counts_patients():
    generator = torch.Generator().manual_seed(1)
    y = (torch.arange(80) % 4 == 0).double()
    s = y + torch.randn(80, generator=generator)
    once, ids = auroc(y, s, method="DeLong"), torch.arange(80).repeat(3)
    thrice = auroc(y.repeat(3), s.repeat(3), method="DeLong", patient_ids=ids)
    assert thrice.method == "DeLong, clustered (Obuchowski)"
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.01)
    logit = auroc(y.repeat(3), s.repeat(3), method="logit-DeLong", patient_ids=ids)
    assert logit.method == "logit-DeLong, clustered (Obuchowski)"

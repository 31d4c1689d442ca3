from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.metrics.intervals import patient_bootstrap, patient_groups
from medres.metrics.runs import resampled_areas, score_runs

from . import slow_twins

CPU = torch.device("cpu")
rows = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-1.0, 0.0, -0.0, 0.5, 2.0])), min_size=2
).filter(lambda rows: len({y for y, _ in rows}) == 2)


@given(rows, st.integers(0, 9))
def test_areas_of_runs_equal_the_slow_twin_on_repeated_rows(rows, seed: int):
    y, s = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    runs = score_runs(torch.from_numpy(y), torch.from_numpy(s))
    weights = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (5, len(y))))
    areas = runs.areas(weights[:, runs.rows].to(torch.uint8))
    for area, row in zip(areas.tolist(), weights.numpy(), strict=True):
        yy, ss = np.repeat(y, row), np.repeat(s, row)
        if 0 < yy.sum() < len(yy):
            assert area == pytest.approx(slow_twins.auroc(yy, ss), abs=1e-14)
        else:
            assert np.isnan(area)


def test_runs_of_a_table_with_a_tie_worked_by_hand():
    y, s = (torch.tensor(a).double() for a in ([1, 1, 0, 1, 0, 0], [9, 8, 7, 5, 5, 1]))
    runs = score_runs(y, s)
    # + + | - | tie: + | - | and, since the tie is apart, no positive | -
    assert runs.ends.tolist() == [0, 2, 3, 4, 5, 5, 6]
    assert runs.half_tied.tolist() == [0, 0.5, 0]
    assert score_runs(y[:4], s[:4]).half_tied is None


def test_resampled_areas_take_the_draws_of_the_patient_bootstrap():
    generator = torch.Generator().manual_seed(0)
    y = (torch.arange(90) % 3 == 0).double()
    s = (y + torch.randn(90, generator=generator)).round(decimals=1)
    patients = patient_groups(torch.arange(90) // 2, 90, CPU)
    weights = patient_bootstrap(lambda w: w, patients, resamples=30, seed=5)
    slow = slow_twins.resampled(
        slow_twins.auroc, y.numpy(), s.numpy(), weights[:, patients.index].numpy()
    )
    assert resampled_areas(y, s, patients, 30, 5).tolist() == pytest.approx(slow)

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.metrics.intervals import patient_bootstrap, patient_groups
from medres.metrics.resampling import draw_counts
from medres.metrics.runs import resampled_areas, score_runs

from . import slow_twins

CPU = torch.device("cpu")
rows = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-1.0, 0.0, -0.0, 0.5, 2.0])), min_size=2
).filter(lambda rows: len({y for y, _ in rows}) == 2)


@given(rows, st.integers(0, 9))
@settings(deadline=None)
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


@given(rows)
@settings(deadline=None)
def test_cells_of_runs_give_the_areas_of_their_rows(rows):
    y, s = (torch.tensor(column).double() for column in zip(*(rows * 5), strict=True))
    runs = score_runs(y, s)
    cells, by_cell = runs.in_cells()
    weights = torch.randint(4, (3, len(y)), generator=torch.Generator().manual_seed(0))
    together = torch.zeros((3, len(cells.sizes)), dtype=torch.int64)
    together.index_add_(1, cells.of_patient, weights)
    assert by_cell.areas(together.to(torch.uint8)).tolist() == pytest.approx(
        runs.areas(weights.to(torch.uint8)).tolist(), nan_ok=True
    )
    assert cells.sizes.max() <= 8
    assert torch.bincount(cells.of_patient).equal(cells.sizes)


def test_cells_and_rows_resample_alike():
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(300, generator=generator) < 0.3).double()
    s = (y + torch.randn(300, generator=generator)).double()
    patients = patient_groups(None, 300, CPU)
    by_cells = resampled_areas(y, s, patients, 4000, 1)
    runs = score_runs(y, s)
    draws = draw_counts(patients.n, 4000, 1, y.device)
    by_rows = torch.cat([runs.areas(w[:, runs.rows]) for w in draws])
    assert float(by_cells.mean()) == pytest.approx(float(by_rows.mean()), abs=0.002)
    assert float(by_cells.std()) == pytest.approx(float(by_rows.std()), rel=0.05)

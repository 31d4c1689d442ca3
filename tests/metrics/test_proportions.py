from __future__ import annotations

import pytest
import torch

from medres.metrics.intervals import patient_groups, wilson
from medres.metrics.proportions import patient_sums, proportion_figures

RIGHT = torch.tensor([[1, 0], [0, 0], [1, 0], [1, 0]], dtype=torch.float64)
OF = torch.tensor([[1, 0], [1, 0], [1, 0], [1, 0]], dtype=torch.float64)


def test_shares_of_independent_rows_have_wilsons_interval():
    patients = patient_groups(None, 4, RIGHT.device)
    share, nothing = proportion_figures(RIGHT, OF, patients, ["none here", "none there"])
    assert share == wilson(3, 4)
    assert nothing.reason == "none there"


def test_repeated_patients_are_drawn_whole():
    patients = patient_groups(["a", "a", "b", "c"], 4, RIGHT.device)
    assert patient_sums(OF, patients)[:, 0].tolist() == [2, 1, 1]
    share, _ = proportion_figures(RIGHT, OF, patients, ["", ""])
    assert share.value == 0.75
    assert (share.low, share.high) == pytest.approx((0.5, 1.0))
    assert share.method == "patient bootstrap, 2000 resamples"

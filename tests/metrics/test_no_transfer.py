"""Nothing leaves the device inside a metric: each look at a value would be a wait for a GPU."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from medres.metrics.intervals import PatientGroups
from medres.metrics.placements import placement_covariance, placements_of_rows
from medres.metrics.ranking import auroc_tensor
from medres.metrics.resampling import draw_counts
from medres.metrics.runs import score_runs
from medres.metrics.sorted_scores import (
    area_under_roc,
    cumulative_counts,
    mean_precision,
    rank_scores,
)

READS = {
    torch.ops.aten._local_scalar_dense.default: "read of a value",
    torch.ops.aten.nonzero.default: "shape that depends on values",
    torch.ops.aten.masked_select.default: "shape that depends on values",
    torch.ops.aten._unique2.default: "shape that depends on values",
    torch.ops.aten.unique_consecutive.default: "shape that depends on values",
}


class Refuse(TorchDispatchMode):
    """Raises where a value would travel from the device to the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.index.Tensor and torch.bool in {
            index.dtype for index in args[1] if index is not None
        }:
            raise AssertionError("shape that depends on values by a mask")
        if func in READS:
            raise AssertionError(f"{READS[func]} by {func}")
        if func is torch.ops.aten._to_copy.default and (kwargs or {}).get("device") is not None:
            raise AssertionError(f"copy to {kwargs['device']}")
        return func(*args, **(kwargs or {}))


def table(n: int = 50):
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand((n, 3), generator=generator) < 0.5).double()
    label[0] = torch.nan
    return label, torch.randn((n, 3), generator=generator).double().round(decimals=1)


def test_the_refusal_works():
    with pytest.raises(AssertionError, match="read of a value"), Refuse():
        torch.ones(1).item()
    with pytest.raises(AssertionError, match="copy to meta"), Refuse():
        torch.ones(1).to("meta")
    with pytest.raises(AssertionError, match="depends on values"), Refuse():
        torch.ones(3)[torch.ones(3, dtype=torch.bool)]


@pytest.mark.parametrize("method", ["Newcombe", "DeLong", "logit-DeLong"])
def test_auroc_with_its_interval_reads_nothing_back(method):
    label, score = table()
    with Refuse():
        auroc_tensor(label, score, method=method)
        auroc_tensor(label[:, 0], score[:, 0], method=method)


def test_auroc_stays_on_a_device_that_holds_no_values_at_all():
    label, score = (a.to("meta") for a in table())
    estimate = auroc_tensor(label, score)
    assert (estimate.value.device.type, estimate.low.shape) == ("meta", (3,))


def test_counts_and_what_follows_from_them_read_nothing_back():
    label, score = (a.T.contiguous() for a in table())
    with Refuse():
        tp, fp = cumulative_counts(rank_scores(label, score))
        area_under_roc(tp, fp), mean_precision(tp, fp)


def test_clustered_delong_reads_nothing_back():
    label, score = (a.T.contiguous() for a in table())
    patients = PatientGroups(torch.arange(50) // 2, 25)
    with Refuse():
        placed = torch.stack([placements_of_rows(label[0], score[k]) for k in (0, 1)])
        placement_covariance(label[0], placed, patients)


def test_resamples_read_nothing_back_once_the_runs_are_known():
    label, score = (a[1:, 0] for a in table())
    runs = score_runs(label, score)
    with Refuse():
        for counts in draw_counts(49, 10, 0, label.device):
            runs.areas(counts.gather(1, runs.rows.expand(len(counts), 49)))

from __future__ import annotations

import math

import pytest
import torch

from medres.errors import MetricInputError
from medres.metrics.auroc_by_finding import auroc_by_finding
from medres.metrics.estimate import UndefinedEstimate
from medres.metrics.ranking import auroc


def columns(n: int = 120):
    generator = torch.Generator().manual_seed(5)
    label = (torch.rand((n, 5), generator=generator) < 0.4).double()
    score = (label + torch.randn((n, 5), generator=generator)).round(decimals=1)
    label[::7, 1] = math.nan
    score[::7, 1] = math.nan
    label[:, 2] = 1
    label[:, 3] = math.nan
    score[:, 4] += 9 * label[:, 4]  # perfect
    return label, score


@pytest.mark.parametrize("method", [None, "DeLong", "logit-DeLong", "patient bootstrap"])
def test_each_finding_is_the_single_one_on_its_labelled_rows(method):
    label, score = columns()
    figures = auroc_by_finding(label, score, method=method, resamples=200)
    for f in (0, 4):
        alone = auroc(label[:, f], score[:, f], method=method, resamples=200)
        tolerance = 0.03 if method == "patient bootstrap" else 1e-12  # other draws
        assert figures[f].method == alone.method
        limits = [alone.low, alone.high]
        assert [figures[f].low, figures[f].high] == pytest.approx(limits, abs=tolerance)
        assert (figures[f].value, figures[f].note) == (alone.value, alone.note)
    given = ~label[:, 1].isnan()
    assert figures[1].value == auroc(label[given, 1], score[given, 1]).value
    words = method or "Newcombe"
    assert figures[2] == UndefinedEstimate("no negative rows", method=words)
    assert figures[3] == UndefinedEstimate("no labelled rows", method=words)


def test_repeated_patients_are_resampled_whole_and_the_same_ones_for_all_findings():
    label, score = (a[:, :1].repeat(3, 2) for a in columns())
    ids = torch.arange(120).repeat(3)
    one, same = auroc_by_finding(label, score, patient_ids=ids)
    assert one == same == auroc(label[:, 0], score[:, 0], patient_ids=ids)
    assert one.method == "patient bootstrap, 2000 resamples, logit scale"


def test_one_finding_may_be_a_vector():
    label, score = (a[:, 0] for a in columns())
    assert auroc_by_finding(label, score) == (auroc(label, score),)


def test_strange_labels_scores_and_formulas_for_repeated_patients_are_refused():
    label, score = columns()
    with pytest.raises(MetricInputError, match="10 of 600 labels in y_true are neither 0 nor 1"):
        auroc_by_finding(label.clone().index_fill_(0, torch.tensor([0, 1]), 7), score.nan_to_num())
    with pytest.raises(MetricInputError, match="DeLong for several findings takes one row a pat"):
        auroc_by_finding(label, score, method="DeLong", patient_ids=torch.arange(120) // 2)
    with pytest.raises(MetricInputError, match="AUROC interval 'Wald' is unknown"):
        auroc_by_finding(label, score, method="Wald")

"""Decisions, calibration, utility and classes read nothing back inside their tensor functions."""

from __future__ import annotations

import torch

from medres.metrics.agreement import agreement_weights, kappa_statistic
from medres.metrics.brier import murphy_parts
from medres.metrics.calibration import bin_columns, calibration_error, chance_error
from medres.metrics.calibration_line import line_coefficients, logits_of
from medres.metrics.decision_curve import counts_at
from medres.metrics.decision_measures import measures
from medres.metrics.fixed_rate import rate_at
from medres.metrics.intervals import PatientGroups, wilson_bounds
from medres.metrics.logistic import fit_intercept, fit_line, separated
from medres.metrics.multiclass import prepare_multiclass
from medres.metrics.operating_point import decision_counts, decision_indicators
from medres.metrics.proportions import patient_sums
from medres.metrics.sorted_scores import cumulative_counts, rank_scores

from .test_no_transfer import Refuse

N = 60
PATIENTS = PatientGroups(torch.arange(N) // 2, N // 2)
ALONE = PatientGroups(torch.arange(N), N)


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    score = torch.rand(N, generator=generator, dtype=torch.float64).round(decimals=2)
    return (torch.rand(N, generator=generator, dtype=torch.float64) < score).double(), score


def test_decisions_read_nothing_back():
    label, score = rows()
    ranked = rank_scores(label, score)
    with Refuse():
        cells = patient_sums(decision_indicators(label, score, 0.5), PATIENTS)
        pair = torch.stack([label, label], dim=1), torch.stack([score, score], dim=1)
        measures(*decision_counts(*pair, cells.new_zeros(2) + 0.5).unbind(0))
        measures(*cells.sum(0).unbind(0)), wilson_bounds(cells[:, 0], cells.sum(1))
        for wanted in ("sensitivity", "specificity"):
            rate_at(wanted, *cumulative_counts(ranked), 0.9)


def test_calibration_reads_nothing_back():
    label, score = rows()
    with Refuse():
        logits_of(score)
        logit = torch.logit(score.clamp(0.01, 0.99))
        column, z, weight = label[:, None], logit[:, None], torch.ones_like(label)[:, None]
        fit_line(column, z, weight), fit_intercept(column, z, weight)
        separated(column, z, weight)
        line_coefficients(label, logit, ALONE), line_coefficients(label, logit, PATIENTS)


def test_bins_read_nothing_back():
    label, score = rows()
    for binning in ("width", "mass"):
        columns = bin_columns(label, score, binning=binning)
        with Refuse():
            bin_columns(label, score, binning=binning)
            error = calibration_error(columns.sum(0))
            murphy_parts(columns.sum(0), error)
            (
                chance_error(label, score, columns, ALONE),
                chance_error(label, score, columns, PATIENTS),
            )


def test_counts_of_a_decision_curve_read_nothing_back():
    label, score = rows()
    thresholds = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    with Refuse():
        counts_at(label, score, thresholds)


def test_classes_read_nothing_back_once_prepared():
    generator = torch.Generator().manual_seed(0)
    score = torch.rand(N, 3, generator=generator, dtype=torch.float64)
    label = torch.eye(3, dtype=torch.float64)[torch.arange(N) % 3]
    classes = prepare_multiclass(label, score, PATIENTS)
    with Refuse():
        classes.statistics(torch.ones(2, N // 2))
        kappa_statistic(torch.ones(3, 3, dtype=torch.float64), agreement_weights(3, "linear"))

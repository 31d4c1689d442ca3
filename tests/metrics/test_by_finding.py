"""Every metric takes (N,) and (N, F), leaves out missing labels, and says what is undefined."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from functools import partial

import pytest
import torch

import medres.metrics
from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics import decision_measures, operating_point
from medres.metrics.agreement import cohens_kappa
from medres.metrics.brier import brier_parts, brier_score
from medres.metrics.calibration import expected_calibration_error, reliability_curve
from medres.metrics.calibration_line import calibration_line
from medres.metrics.comparison import (
    bootstrap_difference,
    compare_aurocs,
    compare_aurocs_unpaired,
)
from medres.metrics.curves import precision_recall_curve, roc_curve
from medres.metrics.decision_curve import decision_curve
from medres.metrics.decisions import decisions
from medres.metrics.estimate import UndefinedEstimate
from medres.metrics.fixed_rate import sensitivity_at_specificity, specificity_at_sensitivity
from medres.metrics.operating_point import Threshold, choose_threshold, confusion
from medres.metrics.paired_decisions import compare_decisions
from medres.metrics.partial_auroc import partial_auroc
from medres.metrics.predictive_values import predictive_values_at
from medres.metrics.ranking import auroc, average_precision
from medres.metrics.recalibration import fit_isotonic
from medres.metrics.subgroups import subgroup_analysis
from medres.metrics.three_way import (
    Band,
    choose_band,
    evaluate_three_way,
    three_way_counts,
    three_way_figures,
)

N = 160
LABELLED = (0, 1)  # columns with both classes; 2 has one class, 3 no label
PATIENTS = [f"patient {k // 2}" for k in range(N)]
FEW = {"resamples": 50}

BY_FINDING = {
    "auroc": auroc,
    "auroc by DeLong": partial(auroc, method="DeLong"),
    "auroc by logit-DeLong": partial(auroc, method="logit-DeLong"),
    "auroc by bootstrap": partial(auroc, method="patient bootstrap", **FEW),
    "auroc of patients": partial(auroc, patient_ids=PATIENTS, **FEW),
    "auroc by Obuchowski": partial(auroc, method="DeLong", patient_ids=PATIENTS),
    "partial auroc": partial(partial_auroc, false_positive_rate=(0, 0.2), **FEW),
    "partial auroc of patients": partial(
        partial_auroc, sensitivity=(0.8, 1), patient_ids=PATIENTS, **FEW
    ),
    "average precision": partial(average_precision, patient_ids=PATIENTS, **FEW),
    "roc": roc_curve,
    "precision-recall": precision_recall_curve,
    "confusion": partial(confusion, threshold=0.5),
    "threshold": choose_threshold,
    "threshold by cost": partial(choose_threshold, rule="cost", miss_cost=3),
    "band": partial(choose_band, sensitivity=0.7, specificity=0.7, target_by="observed"),
    "three-way counts": partial(three_way_counts, lower=0.3, upper=0.6),
    "three-way": partial(three_way_figures, lower=0.3, upper=0.6, patient_ids=PATIENTS, **FEW),
    "three-way whole": partial(
        evaluate_three_way,
        band=Band(Threshold(0.3, "by hand", 0), Threshold(0.6, "by hand", 0)),
        patient_ids=PATIENTS,
        **FEW,
    ),
    "decisions": partial(decisions, threshold=0.5, patient_ids=PATIENTS, **FEW),
    "sensitivity at": partial(sensitivity_at_specificity, specificity=0.8, **FEW),
    "specificity at": partial(
        specificity_at_sensitivity, sensitivity=0.8, patient_ids=PATIENTS, **FEW
    ),
    "brier": partial(brier_score, patient_ids=PATIENTS, **FEW),
    "brier parts": brier_parts,
    "ece": partial(expected_calibration_error, binning="mass", **FEW),
    "ece of patients": partial(expected_calibration_error, patient_ids=PATIENTS, **FEW),
    "reliability": reliability_curve,
    "line": partial(calibration_line, patient_ids=PATIENTS),
    "decision curve": partial(decision_curve, thresholds=(0.2, 0.5), patient_ids=PATIENTS),
    "isotonic": fit_isotonic,
    "subgroups": partial(
        subgroup_analysis, groups={"sex": ["f", "m"] * (N // 2)}, threshold=0.5, minimum=5, **FEW
    ),
}
PAIRED = {
    "DeLong": compare_aurocs,
    "Obuchowski": partial(compare_aurocs, patient_ids=PATIENTS),
    "bootstrap": partial(bootstrap_difference, patient_ids=PATIENTS, **FEW),
    "McNemar": partial(compare_decisions, first_threshold=0.5, second_threshold=0.4),
}
DEFINED_WITH_ONE_CLASS = {
    "confusion", "three-way counts", "three-way", "three-way whole", "brier", "brier parts",
    "ece", "ece of patients", "reliability", "subgroups", "precision-recall", "McNemar",
    "decisions",
}  # fmt: skip


def table():
    """Labels with a hole in columns 1 and 3, scores with ties, NaN where the label is missing."""
    generator = torch.Generator().manual_seed(5)
    score = torch.rand((N, 4), generator=generator, dtype=torch.float64).round(decimals=1)
    label = (torch.rand((N, 4), generator=generator) < 0.25 + 0.5 * score).double()
    label[::7, 1] = math.nan
    label[:, 2] = 1
    label[:, 3] = math.nan
    return label, score.masked_fill(label.isnan(), math.nan)


def columns_of(figure):
    """Comparable: the repr of a tensor of samples would hide its middle."""
    return repr(figure)


def alone(metric, label, f, *scores):
    """The (N,) call on the labelled rows alone, with their patients."""
    given = ~label[:, f].isnan()
    keywords = dict(metric.keywords) if isinstance(metric, partial) else {}
    for name in ("patient_ids",):
        if name in keywords:
            keywords[name] = [p for p, kept in zip(keywords[name], given, strict=True) if kept]
    if "groups" in keywords:
        kept = [v for v, g in zip(keywords["groups"]["sex"], given, strict=True) if g]
        keywords["groups"] = {"sex": kept}
    function = metric.func if isinstance(metric, partial) else metric
    return function(label[given, f], *(s[given, f] for s in scores), **keywords)


@pytest.mark.parametrize("name", BY_FINDING)
def test_each_finding_gives_what_its_labelled_rows_give_alone(name):
    metric, (label, score) = BY_FINDING[name], table()
    figures = metric(label, score)
    assert len(figures) == 4
    for f in LABELLED:
        assert columns_of(figures[f]) == columns_of(alone(metric, label, f, score))
        assert columns_of(metric(label[:, f], score[:, f])) == columns_of(figures[f])
    assert isinstance(figures[2], UndefinedEstimate) == (name not in DEFINED_WITH_ONE_CLASS)
    if name not in ("subgroups", "isotonic"):  # they say it in their own words
        assert figures[3].reason == "no labelled rows"


@pytest.mark.parametrize("name", PAIRED)
def test_each_finding_is_compared_as_it_is_alone(name):
    metric, (label, score) = PAIRED[name], table()
    other = (score + 0.3 * label).clamp(max=1).round(decimals=1).roll(3, 0)
    other = other.nan_to_num(0.5).masked_fill(label.isnan(), math.nan)
    figures = metric(label, score, other)
    for f in LABELLED:
        assert columns_of(figures[f]) == columns_of(alone(metric, label, f, score, other))
    assert isinstance(figures[2], UndefinedEstimate) == (name not in DEFINED_WITH_ONE_CLASS)
    assert figures[3].reason == "no labelled rows"


def test_two_sets_have_their_own_holes():
    (label, score), n = table(), 100
    figures = compare_aurocs_unpaired(label[:n], score[:n], label[n:], score[n:])
    given = ~label[:, 1].isnan()
    first, second = given.clone(), given.clone()
    first[n:], second[:n] = False, False
    rows = [a[kept, 1] for kept in (first, second) for a in (label, score)]
    assert figures[1] == compare_aurocs_unpaired(*rows)
    assert figures[2].reason == "none of the 100 rows is negative; it needs both classes"
    with pytest.raises(MetricInputError, match="give the same findings in each"):
        compare_aurocs_unpaired(label, score, label[:, :2], score[:, :2])


def test_kappa_of_several_readings():
    first = torch.tensor([[0, 1], [1, 1], [2, math.nan], [2, 1], [0, 1.0]])
    second = torch.tensor([[0, 1], [1, 1], [1, 0], [2, 1], [0, 1.0]])
    one, other = cohens_kappa(first, second, weights="linear")
    assert one == cohens_kappa(first[:, 0], second[:, 0], weights="linear")
    assert other.reason == "both put every row into the same category"


@pytest.mark.parametrize(
    "measure",
    [
        operating_point.sensitivity, operating_point.specificity, operating_point.ppv,
        operating_point.npv, decision_measures.f1_score, decision_measures.matthews_correlation,
        decision_measures.accuracy, decision_measures.balanced_accuracy,
        decision_measures.youden_index, decision_measures.positive_likelihood_ratio,
        decision_measures.negative_likelihood_ratio, decision_measures.decision_figures,
        partial(predictive_values_at, prevalence=0.1),
    ],
)  # fmt: skip
def test_figures_of_counts_take_the_counts_of_several_findings(measure):
    label, score = table()
    counts = confusion(label, score, [0.5, 0.3, 0.5, 0.5])
    assert counts[1] == confusion(label[:, 1], score[:, 1], 0.3)
    figures = measure(counts)
    assert figures[:2] == (measure(counts[0]), measure(counts[1]))
    assert figures[3].reason == "no labelled rows"


def test_an_undefined_figure_of_counts_gives_its_reason():
    label, score = table()
    figures = operating_point.specificity(confusion(label, score, 0.5), level=0.9)
    assert figures[2] == UndefinedEstimate("no negative rows", 0.9)


def test_numbers_for_each_finding_are_counted():
    label, score = table()
    with pytest.raises(MetricInputError, match="threshold has 2 values for 4 findings"):
        confusion(label, score, [0.5, 0.3])


def test_three_axes_are_refused():
    with pytest.raises(MetricInputError, match=r"shape \(2, 2, 2\); give \(N,\) for one finding"):
        auroc(torch.ones(2, 2, 2), torch.ones(2, 2, 2))


def test_a_strange_label_or_score_is_refused_in_any_column():
    label, score = table()
    strange, infinite = label.clone(), score.clone()
    strange[3, 1], infinite[3, 1] = 7, math.inf
    for metric in (auroc, partial(brier_score, **FEW)):
        with pytest.raises(MetricInputError, match=r"1 of \d+ labels in y_true are neither 0, 1"):
            metric(strange, score)
        with pytest.raises(MetricInputError, match=r"1 of \d+ scores in y_score are NaN or inf"):
            metric(label, infinite)


def test_formulas_of_several_findings_know_their_methods():
    label, score = table()
    with pytest.raises(MetricInputError, match="AUROC interval 'Wald' is unknown"):
        auroc(label, score, method="Wald")


def test_no_labels_at_all_are_undefined_for_one_finding():
    label, score = (a[:, 3] for a in table())
    with pytest.raises(UndefinedMetricError, match="no rows: a metric needs at least one label"):
        auroc(label, score)


WITHOUT_FINDINGS = {
    # tensors in, tensors out: what the metrics are made of
    "as_tensors", "as_rows", "count_strange", "read_back", "bin_columns", "chance_error",
    "clustered_variance", "counts_at", "curve_figures", "decision_counts", "decision_indicators",
    "delong_area", "line_coefficients", "patients_by_class", "place_rows", "placement_covariance",
    "placements_of_rows", "rank_scores", "resampled_areas", "score_histogram", "score_runs",
    "threshold_steps", "weighted_auroc", "weighted_average_precision", "weighted_brier_score",
    "auroc_tensor", "partial_auroc_tensor", "aurocs_by_formula",
    # tables, (N, F), as a whole
    "combine_scores", "compare_models", "evaluate", "evaluate_micro",
    "prepare_multiclass", "fit_temperature", "fit_platt",
}  # fmt: skip


def test_every_metric_of_labels_takes_several_findings():
    found = set()
    for module in pkgutil.iter_modules(medres.metrics.__path__):
        members = vars(importlib.import_module(f"medres.metrics.{module.name}"))
        for name, member in members.items():
            own = getattr(member, "__module__", "") == f"medres.metrics.{module.name}"
            if own and inspect.isfunction(member) and not name.startswith("_"):
                first = next(iter(inspect.signature(member).parameters), "")
                if first in ("y_true", "first_true") and not hasattr(member, "by_finding"):
                    found.add(name)
    assert found == WITHOUT_FINDINGS

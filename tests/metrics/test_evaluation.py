from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sklearn.metrics
import torch

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.brier import brier_parts
from medres.metrics.calibration_line import calibration_line
from medres.metrics.decision_curve import decision_curve
from medres.metrics.decision_measures import MEASURES, f1_score
from medres.metrics.estimate import Estimate, UndefinedEstimate
from medres.metrics.evaluation import evaluate
from medres.metrics.finding_details import AskedDetails
from medres.metrics.fixed_rate import sensitivity_at_specificity
from medres.metrics.intervals import wilson
from medres.metrics.operating_point import Confusion, Threshold
from medres.metrics.predictive_values import predictive_values_at
from medres.metrics.ranking import auroc, average_precision
from medres.metrics.three_way import Band

HALF = Threshold(0.5, "Youden index on validation", 100)


def two_findings(n: int = 200):
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand((n, 2), generator=generator) < 0.3).double()
    score = torch.sigmoid(2 * label - 1 + torch.randn((n, 2), generator=generator))
    return label, score


def test_figures_of_one_row_a_patient_equal_the_single_functions():
    label, score = two_findings()
    report = evaluate(label, score, findings=["opacity", "effusion"], seed=4)
    for f, name in enumerate(["opacity", "effusion"]):
        figures = report[name].figures
        assert figures["auroc"] == auroc(label[:, f], score[:, f])
        assert figures["auroc_delong"] == auroc(label[:, f], score[:, f], method="DeLong")
        assert figures["average_precision"] == average_precision(label[:, f], score[:, f], seed=4)
        assert figures["prevalence"] == wilson(int(label[:, f].sum()), 200)
    assert report.unit == "patient"
    assert report.n_patients == 200


def test_operating_point_uses_the_locked_threshold_as_given():
    label, score = two_findings()
    report = evaluate(label, score, findings=["a", "b"], thresholds={"a": HALF})
    tn, fp, fn, tp = sklearn.metrics.confusion_matrix(label[:, 0], score[:, 0] >= 0.5).ravel()
    assert report["a"].confusion == Confusion(int(tp), int(fp), int(tn), int(fn))
    assert report["a"].threshold == HALF
    assert report["a"].figures["sensitivity"] == wilson(int(tp), int(tp + fn))
    assert report["a"].figures["npv"] == wilson(int(tn), int(tn + fn))
    assert report["b"].confusion is None
    assert report["b"].figures["ppv"].reason == "no threshold is locked"


def test_missing_labels_are_left_out_of_their_finding_only_and_noted():
    label, score = two_findings()
    label[:50, 1] = math.nan
    score[:50, 1] = math.nan
    report = evaluate(label, score, findings=["a", "b"])
    assert (report["a"].n, report["a"].n_missing) == (200, 0)
    assert (report["b"].n, report["b"].n_missing) == (150, 50)
    assert report["b"].figures["auroc"] == auroc(label[50:, 1], score[50:, 1])
    assert "b: left out for want of a label: 50 patients." in report.notes


def test_findings_without_a_class_are_undefined_with_a_reason_and_left_out_of_macro():
    label = [[0, 1, 0, math.nan], [0, 1, 1, math.nan], [0, 1, 0, math.nan]]
    score = np.full((3, 4), 0.5)
    thresholds = dict.fromkeys("abcd", HALF)
    report = evaluate(label, score, findings=list("abcd"), thresholds=thresholds)
    reasons = {
        name: report[name].figures[figure].reason
        for name, figure in [("a", "auroc"), ("b", "auroc"), ("d", "auroc"), ("d", "brier_score")]
    }
    assert reasons == {
        "a": "no positive patients",
        "b": "no negative patients",
        "d": "no labelled patients",
    }
    assert report["a"].figures["sensitivity"].reason == "no positive patients"
    assert report["a"].figures["npv"].reason == "no patients called negative"
    assert report["a"].figures["brier_score"].value == 0.25
    assert report.macro.findings == ("c",)
    assert report.macro.left_out == ("a", "b", "d")
    assert "c: only 1 positive patients; intervals from so few" in " ".join(report.notes)


def test_macro_is_undefined_where_no_finding_has_both_classes():
    report = evaluate([[1], [1]], [[0.5], [0.6]], findings=["a"])
    assert report.macro.auroc == UndefinedEstimate(
        "no finding with both classes", method="patient bootstrap"
    )


def test_macro_is_the_mean_with_a_narrower_interval_than_independent_findings_have():
    label, score = two_findings()
    report = evaluate(label, score, findings=["a", "b"])
    one, other = (report[name].figures["auroc"] for name in "ab")
    assert report.macro.auroc.value == pytest.approx((one.value + other.value) / 2)
    assert report.macro.auroc.high - report.macro.auroc.low < one.high - one.low
    assert report.macro.auroc.method == "patient bootstrap, 2000 resamples"


def test_macro_rests_on_every_finding_whatever_their_order():
    label, score = two_findings()
    one = evaluate(label, score, findings=["a", "b"], resamples=300).macro
    other = evaluate(label.flip(1), score.flip(1), findings=["b", "a"], resamples=300).macro
    for figure in ("auroc", "average_precision"):
        limits = [(e.value, e.low, e.high) for e in (getattr(one, figure), getattr(other, figure))]
        assert limits[0] == pytest.approx(limits[1], abs=1e-12)


def test_macro_of_the_same_finding_twice_has_that_findings_interval():
    label, score = two_findings()
    twice = evaluate(label[:, [0, 0]], score[:, [0, 0]], findings=["a", "b"], resamples=500)
    once = evaluate(label[:, :1], score[:, :1], findings=["a"], resamples=500)
    assert twice.macro.auroc == once.macro.auroc


def test_repeated_patients_get_the_bootstrap_for_every_interval():
    label, score = two_findings()
    ids = [f"p{k}" for k in range(200)] * 3
    report = evaluate(
        label.repeat(3, 1),
        score.repeat(3, 1),
        findings=["a", "b"],
        patient_ids=ids,
        thresholds={"a": HALF, "b": HALF},
    )
    once = evaluate(label, score, findings=["a", "b"], thresholds={"a": HALF, "b": HALF})
    assert (report.unit, report.n_patients, report.n_images) == ("image", 200, 600)
    for name, figure in report["a"].figures.items():
        drawn = (
            "DeLong, clustered" if name == "auroc_delong" else "patient bootstrap, 2000 resamples"
        )
        assert figure.method.startswith(drawn), name
        single = once["a"].figures["auroc_delong" if name == "auroc" else name]
        assert figure.value == pytest.approx(single.value)
        assert figure.high - figure.low == pytest.approx(single.high - single.low, rel=0.15), name
    limits, single = report["a"].reliability, once["a"].reliability
    assert [x * 3 for x in single.n] == list(limits.n)
    widths = np.subtract(limits.high, limits.low) / np.subtract(single.high, single.low)
    assert 0.6 < widths.min() <= widths.max() < 1.4


def test_proportions_of_repeated_patients_at_0_and_1_do_not_pretend_certainty():
    label, score = [0, 0, 1, 1] * 10, [0.1, 0.2, 0.8, 0.9] * 10
    report = evaluate(
        label, score, findings=["a"], patient_ids=np.arange(40) // 2, thresholds={"a": HALF}
    )
    found = report["a"].figures["sensitivity"]
    assert (found.value, found.low, found.high) == (1.0, wilson(10, 10).low, 1.0)
    assert found.method == "Wilson on 10 patients (all resamples agree)"
    assert report["a"].figures["auroc"].low == pytest.approx(0.05**0.1)
    assert report.macro.auroc.low == pytest.approx(0.05**0.1)


def test_report_does_not_depend_on_row_order_and_repeats_with_its_seed():
    label, score = two_findings(60)
    ids = np.array([f"p{k // 2}" for k in range(60)])
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    first = evaluate(label, score, findings=["a", "b"], patient_ids=ids).as_json()
    second = evaluate(
        label[order], score[order], findings=["a", "b"], patient_ids=ids[order.numpy()]
    ).as_json()
    for name in "ab":
        for figure in ("auroc", "average_precision"):
            assert first["findings"][name][figure] == second["findings"][name][figure]


def test_logits_keep_their_ranking_but_have_no_calibration():
    label, score = two_findings()
    report = evaluate(label, torch.logit(score), findings=["a", "b"])
    assert report["a"].figures["auroc"] == auroc(label[:, 0], score[:, 0])
    assert report["a"].figures["brier_score"].reason == "scores outside [0, 1] are no probabilities"
    assert report["a"].reliability is None


def test_as_json_follows_the_schema_and_is_strict_json():
    label, score = two_findings()
    label[:, 1] = 0
    report = evaluate(
        label, score, findings=["a", "b"], thresholds={"a": HALF}, n_studies=210, n_images=400
    )
    content = report.as_json(dataset={"name": "d"}, model={"m": 1}, provenance={"seed": 0})
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert list(content) == [
        "schema", "unit", "n", "dataset", "findings", "macro", "micro", "notes", "model",
        "provenance",
    ]  # fmt: skip
    assert content["schema"] == "medres.evaluation/1"
    assert content["n"] == {"patients": 200, "studies": 210, "images": 400}
    assert list(content["findings"]["a"]) == [
        "n", "n_positive", "n_missing", "prevalence", "auroc", "auroc_delong",
        "average_precision", "brier_score", "expected_calibration_error", "threshold",
        "confusion", "sensitivity", "specificity", "ppv", "npv", *MEASURES, "net_benefit",
        "calibration_slope", "calibration_intercept", "calibration_in_the_large", "brier_parts",
        "at_prevalence", "three_way", "decision_curve", "subgroups", "curves",
    ]  # fmt: skip
    assert list(content["findings"]["a"]["curves"]) == [
        "roc", "precision_recall", "reliability", "scores", "thresholds", "bands",
    ]  # fmt: skip
    assert content["findings"]["b"]["auroc"] == {
        "value": None,
        "low": None,
        "high": None,
        "level": 0.95,
        "method": "Newcombe's method 5",
        "undefined": "no positive patients",
    }
    assert content["notes"][0].startswith("No patient ids were given")


def test_multiclass_is_one_against_the_rest_with_accuracy_and_confusion():
    generator = torch.Generator().manual_seed(0)
    label = torch.eye(3)[torch.randint(3, (90,), generator=generator)]
    score = torch.softmax(label + torch.randn((90, 3), generator=generator), 1)
    report = evaluate(label, score, findings=["x", "y", "z"], kind="multiclass")
    truth, named = label.argmax(1), score.argmax(1)
    matrix = sklearn.metrics.confusion_matrix(truth, named)
    assert report.multiclass.confusion_matrix == tuple(tuple(row) for row in matrix.tolist())
    assert report.multiclass.accuracy == wilson(int((truth == named).sum()), 90)
    ovr = sklearn.metrics.roc_auc_score(truth, score.double(), multi_class="ovr", average="macro")
    assert report.macro.auroc.value == pytest.approx(ovr)
    assert report.as_json()["multiclass"]["classes"] == ["x", "y", "z"]


def test_multiclass_accuracy_of_repeated_patients_is_bootstrapped():
    label = torch.eye(2).repeat(20, 1)
    score = torch.where(torch.arange(40)[:, None] % 5 == 0, 1 - label, label)
    ids = torch.arange(40) // 2
    report = evaluate(label, score, findings=["x", "y"], kind="multiclass", patient_ids=ids)
    assert report.multiclass.accuracy.value == 0.8
    assert report.multiclass.accuracy.method == "patient bootstrap, 2000 resamples"


def test_unlabelled_multiclass_has_undefined_accuracy():
    label = np.full((2, 2), math.nan)
    report = evaluate(label, np.zeros((2, 2)), findings=["x", "y"], kind="multiclass")
    assert report.multiclass.accuracy.reason == "no labelled rows"


def test_one_row_is_evaluated_without_failing():
    report = evaluate([1], [0.7], findings=["a"], thresholds={"a": HALF})
    assert report["a"].figures["sensitivity"].value == 1.0
    assert isinstance(report["a"].figures["brier_score"], Estimate)


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(MetricInputError, match=r"y_true has shape \(1, 2\) for findings \['a'\]"):
        evaluate([[0, 1]], [[0.5, 0.5]], findings=["a"])
    with pytest.raises(MetricInputError, match="give a list of names"):
        evaluate([0], [0.5], findings="a")
    with pytest.raises(MetricInputError, match=r"findings \['a', 'a'\] repeat a name"):
        evaluate([[0, 1]], [[0.5, 0.5]], findings=["a", "a"])
    with pytest.raises(MetricInputError, match=r"thresholds for unknown findings \['b'\]"):
        evaluate([0], [0.5], findings=["a"], thresholds={"b": HALF})
    with pytest.raises(MetricInputError, match="kind 'ordinal' is unknown"):
        evaluate([0], [0.5], findings=["a"], kind="ordinal")
    with pytest.raises(MetricInputError, match="1 of 2 rows of y_true are not one-hot over 2"):
        evaluate([[0, 1], [1, 1]], np.zeros((2, 2)), findings=["a", "b"], kind="multiclass")
    with pytest.raises(UndefinedMetricError, match="no rows"):
        evaluate([], [], findings=["a"])


def test_nan_scores_with_a_label_are_refused():
    with pytest.raises(MetricInputError, match="1 of 2 scores in y_score are NaN or infinite"):
        evaluate([0, 1], [0.5, math.nan], findings=["a"])


def test_labels_other_than_0_1_and_nan_are_refused():
    with pytest.raises(MetricInputError, match="1 of 2 labels in y_true are neither 0, 1 nor NaN"):
        evaluate([0, 2], [0.5, 0.5], findings=["a"])


def test_details_equal_the_single_functions_and_leave_out_missing_labels():
    label, score = two_findings()
    label[:50, 0] = math.nan
    sex = ["F", "M", "M", ""] * 50
    asked = AskedDetails(
        prevalence=0.1,
        specificities=(0.9,),
        sensitivities=(0.8,),
        bands={"a": Band(Threshold(0.4, "by hand", 0), Threshold(0.7, "by hand", 0))},
        subgroups={"sex": sex},
    )
    report = evaluate(
        label, score, findings=["a", "b"], thresholds={"a": HALF}, asked=asked, resamples=200
    )
    details, y, s = report["a"].details, label[50:, 0], score[50:, 0]
    line = calibration_line(y, s)
    assert details.calibration["calibration_slope"] == line.slope
    assert details.calibration["calibration_in_the_large"] == line.in_the_large
    assert details.brier_parts == brier_parts(y, s)
    assert details.decision_curve == decision_curve(y, s, prevalence=0.1)
    assert details.decisions["f1_score"] == f1_score(report["a"].confusion)
    assert details.elsewhere == predictive_values_at(report["a"].confusion, 0.1, units="patients")
    fixed = sensitivity_at_specificity(y, s, 0.9, resamples=200)
    assert details.fixed["sensitivity_at_specificity"] == {"0.9": fixed}
    counts = details.three_way.counts
    assert counts.tp + counts.fn + counts.undecided_positive == sum(y)
    (column,) = details.subgroups
    assert [group.name for group in column.groups] == ["F", "M"]
    assert sum(group.n for group in column.groups) + column.n_not_stated == 150
    other = report["b"].details
    assert other.decisions["f1_score"].reason == "no threshold is locked"
    assert other.three_way is None
    content = json.loads(json.dumps(report.as_json(), allow_nan=False))
    finding = content["findings"]["a"]
    assert finding["at_prevalence"]["prevalence"] == 0.1
    assert finding["three_way"]["counts"]["tp"] == counts.tp
    assert finding["subgroups"]["sex"]["groups"]["F"]["n"] == column.groups[0].n


def test_details_of_repeated_patients_are_clustered():
    label, score = two_findings()
    report = evaluate(
        label.repeat(2, 1), score.repeat(2, 1), findings=["a", "b"], thresholds={"a": HALF},
        patient_ids=np.tile(np.arange(200), 2), asked=AskedDetails(prevalence=0.1), resamples=200,
    )  # fmt: skip
    details = report["a"].details
    assert details.decisions["f1_score"].method == "patient bootstrap, 200 resamples"
    assert details.elsewhere["ppv"].method.startswith("patient bootstrap")
    assert details.calibration["calibration_slope"].method == "Wald, clustered by patient"
    assert details.decision_curve.method.startswith("delta method, clustered by patient")


def test_details_of_logits_and_of_one_class_say_why_there_are_none():
    label, score = two_findings()
    label[:, 1] = 0
    score[:, 0] = torch.logit(score[:, 0])
    report = evaluate(label, score, findings=["a", "b"], resamples=20)
    logits, one_class = report["a"].details, report["b"].details
    why = "scores that are no probabilities"
    assert logits.calibration["calibration_slope"].reason == why
    assert (logits.brier_parts, logits.decision_curve) == (None, None)
    reason = one_class.calibration["calibration_in_the_large"].reason
    assert reason == "patients of one class only"
    assert one_class.decision_curve is None
    assert one_class.fixed == {}


def test_micro_pools_every_labelled_pair():
    label, score = two_findings()
    label[:50, 1] = math.nan
    thresholds = {"a": HALF, "b": Threshold(0.6, "by hand", 0)}
    micro = evaluate(label, score, findings=["a", "b"], thresholds=thresholds, resamples=200).micro
    given = ~label.isnan()
    assert micro.n == 350
    pooled = sklearn.metrics.roc_auc_score(label[given], score[given])
    assert micro.figures["auroc"].value == pytest.approx(pooled)
    called = (score >= torch.tensor([0.5, 0.6])) & given
    right = float((called & (label == 1)).sum())
    assert micro.figures["sensitivity"].value == pytest.approx(right / float((label == 1).sum()))
    assert micro.figures["ppv"].value == pytest.approx(right / float(called.sum()))
    assert micro.figures["ppv"].method == "patient bootstrap, 200 resamples"
    assert (micro.findings, micro.left_out) == (("a", "b"), ())
    without = evaluate(label, score, findings=["a", "b"], resamples=20).micro
    assert without.figures["ppv"].reason == "no threshold is locked"
    assert without.left_out == ("a", "b")


def test_bands_and_subgroups_that_do_not_fit_are_refused():
    label, score = two_findings()
    half = Band(HALF, HALF)
    with pytest.raises(MetricInputError, match=r"bands for unknown findings \['c'\]"):
        evaluate(label, score, findings=["a", "b"], asked=AskedDetails(bands={"c": half}))
    with pytest.raises(MetricInputError, match="subgroup column 'sex' has 1 values"):
        evaluate(label, score, findings=["a", "b"], asked=AskedDetails(subgroups={"sex": ["F"]}))

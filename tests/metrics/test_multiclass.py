from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch

from medres.metrics.evaluation import evaluate
from medres.metrics.intervals import patient_bootstrap, patient_groups
from medres.metrics.multiclass import SUMMARIES, evaluate_multiclass, prepare_multiclass

NAMES = ["normal", "bacterial", "viral"]


def drawn(seed: int, n: int = 150):
    generator = np.random.default_rng(seed)
    true = generator.choice(3, size=n, p=[0.5, 0.3, 0.2])
    logit = generator.normal(size=(n, 3)).round(1) + 1.2 * np.eye(3)[true]  # rounded: ties
    score = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
    return true, score


def values(true, score, patients=None) -> dict[str, float]:
    y = torch.from_numpy(np.eye(3)[true])
    rows = prepare_multiclass(
        y, torch.from_numpy(score), patient_groups(patients, len(y), y.device)
    )
    return dict(
        zip(SUMMARIES, rows.statistics(torch.ones(1, rows.patients.n))[0].tolist(), strict=True)
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_summary_equals_scikit_learns(seed: int):
    true, score = drawn(seed)
    named = score.argmax(1)
    metrics = sklearn.metrics
    expected = {
        "accuracy": metrics.accuracy_score(true, named),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, named),
        "macro_f1": metrics.f1_score(true, named, average="macro"),
        "weighted_f1": metrics.f1_score(true, named, average="weighted"),
        "kappa": metrics.cohen_kappa_score(true, named),
        "quadratic_kappa": metrics.cohen_kappa_score(true, named, weights="quadratic"),
        "macro_auroc": metrics.roc_auc_score(true, score, multi_class="ovr", average="macro"),
        "weighted_auroc": metrics.roc_auc_score(true, score, multi_class="ovr", average="weighted"),
        "hand_till_auroc": metrics.roc_auc_score(true, score, multi_class="ovo", average="macro"),
    }
    assert values(true, score) == pytest.approx(expected, abs=1e-12)


def test_bootstrap_equals_the_figures_of_repeated_rows():
    true, score = drawn(1, n=60)
    y = torch.from_numpy(np.eye(3)[true])
    patients = patient_groups(None, 60, y.device)
    rows = prepare_multiclass(y, torch.from_numpy(score), patients)
    weights = patient_bootstrap(lambda w: w, patients, resamples=20)
    fast = rows.statistics(weights)
    for k in range(20):
        times = weights[k].long().numpy()
        slow = values(np.repeat(true, times), np.repeat(score, times, axis=0))
        assert fast[k].tolist() == pytest.approx(list(slow.values()), abs=1e-6)


def test_evaluate_reports_the_classes_with_intervals():
    true, score = drawn(2)
    report = evaluate(np.eye(3)[true], score, findings=NAMES, kind="multiclass", resamples=200)
    multiclass = report.multiclass
    assert multiclass.accuracy.method == "Wilson"
    for figure in multiclass.figures.values():
        assert figure.low <= figure.value <= figure.high
    matrix = sklearn.metrics.confusion_matrix(true, score.argmax(1))
    assert [list(row) for row in multiclass.confusion_matrix] == matrix.tolist()
    assert multiclass.as_json()["hand_till_auroc"]["method"].startswith("patient bootstrap")
    assert multiclass.left_out == ()


def test_a_class_without_rows_is_left_out_and_named():
    true, score = drawn(3)
    true = np.where(true == 2, 0, true)
    figures = values(true, score)
    assert figures["balanced_accuracy"] == pytest.approx(
        np.mean([(score.argmax(1)[true == k] == k).mean() for k in (0, 1)])
    )
    report = evaluate(np.eye(3)[true], score, findings=NAMES, kind="multiclass", resamples=20)
    assert report.multiclass.left_out == ("viral",)


def test_one_class_alone_has_no_ranking():
    score = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    y = torch.from_numpy(np.eye(3)[[0, 0]])
    patients = patient_groups(None, 2, y.device)
    rows = prepare_multiclass(y, torch.from_numpy(score), patients)
    samples = patient_bootstrap(rows.statistics, patients, resamples=5)
    figures = evaluate_multiclass(rows, samples, NAMES).figures
    assert figures["hand_till_auroc"].reason == "rows of one class only"
    assert figures["accuracy"].value == 0.5

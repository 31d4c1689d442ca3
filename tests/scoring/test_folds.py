"""Predictions out of fold: pooled in order, decided by each fold's own threshold."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medres.config import EvaluationConfig
from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.scoring.case_scores import CaseScores, ImageScores
from medres.scoring.folds import (
    OWN_BANDS,
    OWN_THRESHOLDS,
    Fold,
    choose_ensemble_bands,
    choose_ensemble_thresholds,
    evaluate_folds,
    pool_cases,
    pool_images,
)


def cases(labels: list[float], scores: list[float], name: str) -> CaseScores:
    return CaseScores(
        "patient",
        tuple(f"{name}{index}" for index in range(len(labels))),
        torch.tensor(labels, dtype=torch.float64)[:, None],
        torch.tensor(scores, dtype=torch.float64)[:, None],
        {"patients": len(labels), "studies": None, "images": 2 * len(labels)},
    )


FIRST = Fold(
    cases([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9], "a"), {"f": Threshold(0.2, "Youden", 4)}
)  # tp 2, fp 1, tn 1
SECOND = Fold(
    cases([0, 1, 1], [0.5, 0.55, 0.8], "b"), {"f": Threshold(0.6, "Youden", 3)}
)  # tp 1, fn 1, tn 1


def test_decisions_are_each_folds_own_and_counted_together():
    found = evaluate_folds([FIRST, SECOND], ["f"], kind="binary")
    entry = found["findings"]["f"]
    assert entry["confusion"] == {"tp": 3, "fp": 1, "tn": 2, "fn": 1}
    assert entry["sensitivity"]["value"] == 0.75
    assert entry["specificity"]["value"] == pytest.approx(2 / 3)
    assert entry["youden_index"]["value"] == pytest.approx(0.75 + 2 / 3 - 1)
    undefined = [figure for figure in entry.values() if isinstance(figure, dict)]
    assert not [figure for figure in undefined if figure.get("undefined")]
    assert entry["threshold"] == {"value": None, "rule": OWN_THRESHOLDS, "n": 0}
    assert found["n"] == {"patients": 7, "studies": None, "images": 14}
    # positives .3 .9 .55 .8, negatives .1 .4 .5: 10 of 12 pairs in order
    assert entry["auroc"]["value"] == pytest.approx(10 / 12)
    assert "predictions out of fold" in found["notes"][0]


def test_a_score_at_its_folds_threshold_is_positive():
    at = Fold(FIRST.cases, {"f": Threshold(0.4, "Youden", 4)})  # a negative's score
    found = evaluate_folds([at], ["f"], kind="binary")
    assert found["findings"]["f"]["confusion"] == {"tp": 1, "fp": 1, "tn": 1, "fn": 1}


def test_each_finding_is_decided_by_its_own_threshold_and_band():
    part = CaseScores(
        "patient",
        tuple("abcd"),
        torch.tensor([[0, 1], [0, 1], [1, 0], [1, 0]], dtype=torch.float64),
        torch.tensor([[0.1, 0.9], [0.4, 0.6], [0.3, 0.2], [0.8, 0.7]], dtype=torch.float64),
        {"patients": 4, "studies": None, "images": 4},
    )
    thresholds = {"f": Threshold(0.2, "Youden", 4), "g": Threshold(0.8, "Youden", 4)}
    bands = {"f": band(0.2, 0.4), "g": band(0.5, 0.65)}
    found = evaluate_folds([Fold(part, thresholds, bands)], ["f", "g"], kind="multilabel")
    f, g = (found["findings"][name] for name in "fg")
    assert f["confusion"] == {"tp": 2, "fp": 1, "tn": 1, "fn": 0}
    assert g["confusion"] == {"tp": 1, "fp": 0, "tn": 2, "fn": 1}
    assert f["three_way"]["counts"] == {  # f: - + ? +
        "tp": 1, "fp": 1, "tn": 1, "fn": 0, "undecided_positive": 1, "undecided_negative": 0,
    }  # fmt: skip
    assert g["three_way"]["counts"] == {  # g: + ? - +
        "tp": 1, "fp": 1, "tn": 1, "fn": 0, "undecided_positive": 1, "undecided_negative": 0,
    }  # fmt: skip


def test_a_fold_without_a_threshold_decides_nothing():
    found = evaluate_folds([FIRST, Fold(SECOND.cases, {})], ["f"], kind="binary")
    assert found["findings"]["f"]["confusion"] == {"tp": 2, "fp": 1, "tn": 1, "fn": 0}
    assert found["findings"]["f"]["n"] == 7  # ranked all the same
    found = evaluate_folds([Fold(FIRST.cases, {})], ["f"], kind="binary")
    assert found["findings"]["f"]["confusion"] is None


def test_several_findings_and_classes_are_pooled():
    y_true = torch.eye(3, dtype=torch.float64).repeat(4, 1)
    y_score = (y_true + 0.3) / 1.9
    names = ["x", "y", "z"]
    part = CaseScores(
        "patient",
        tuple("abcdefghijkl"),
        y_true,
        y_score,
        {"patients": 12, "studies": 12, "images": 12},
    )
    fold = Fold(part, {name: Threshold(0.5, "Youden", 9) for name in names})
    other = Fold(
        CaseScores("patient", tuple("mnopqrstuvwx"), y_true, y_score, part.counts), fold.thresholds
    )
    for kind in ("multilabel", "multiclass"):
        found = evaluate_folds([fold, other], names, kind=kind)
        assert found["findings"]["y"]["confusion"] == {"tp": 8, "fp": 0, "tn": 16, "fn": 0}
    assert pool_cases([part, part]).counts == {"patients": 24, "studies": 24, "images": 24}


def test_thresholds_of_the_ensemble_come_from_all_folds():
    thresholds, without = choose_ensemble_thresholds(
        [FIRST, SECOND], ["f"], EvaluationConfig(threshold_rule="youden")
    )
    # .55 and above: three of four positives, none of three negatives
    assert thresholds["f"].value == pytest.approx(0.525)
    assert thresholds["f"].rule == "Youden index on predictions out of fold"
    assert (thresholds["f"].n, without) == (7, [])


def test_images_of_all_folds_stand_in_the_manifests_order():
    schema = LabelSchema("binary", ("f",), ("label",))
    rows = [ManifestRow(f"{n}.png", 0, f"p{n}", "", "test", (0.0,)) for n in range(4)]
    manifest = Manifest(Path(), tuple(rows), schema, True)
    tempered = ImageScores(
        manifest, (rows[3], rows[0]), torch.tensor([[0.3], [0.0]]), torch.tensor([[0.6], [0.1]])
    )
    plain = ImageScores(manifest, (rows[2], rows[1]), torch.tensor([[0.2], [0.1]]))
    pooled = pool_images([tempered, plain], [(row.image, row.frame) for row in rows])
    assert pooled.rows == tuple(rows)
    assert pooled.y_score.flatten().tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert pooled.untempered.flatten().tolist() == pytest.approx([0.1, 0.1, 0.2, 0.6])
    assert pool_images([plain], [("1.png", 0), ("2.png", 0)]).untempered is None


def band(lower: float, upper: float) -> Band:
    return Band(Threshold(lower, "low", 4), Threshold(upper, "high", 4), (0.9, 0.9))


def test_bands_decide_in_each_fold_and_are_counted_together():
    first = replace(FIRST, bands={"f": band(0.2, 0.4)})  # negatives .1 − .4 +, positives .3 ? .9 +
    second = replace(SECOND, bands={"f": band(0.52, 0.6)})  # negative .5 −, positives .55 ? .8 +
    section = evaluate_folds([first, second], ["f"], kind="binary")["findings"]["f"]["three_way"]
    assert section["counts"] == {
        "tp": 2, "fp": 1, "tn": 2, "fn": 0, "undecided_positive": 2, "undecided_negative": 0,
    }  # fmt: skip
    assert section["lower"] == section["upper"] == {"value": None, "rule": OWN_BANDS, "n": 0}
    assert section["undecided"]["value"] == pytest.approx(2 / 7)
    assert section["undecided"]["method"] == "Wilson"
    assert section["sensitivity_counted_negative"]["value"] == 0.5
    assert section["specificity_counted_positive"]["value"] == pytest.approx(2 / 3)


def test_a_fold_without_a_band_or_a_label_takes_no_part_in_three_way_decisions():
    own = replace(FIRST, bands={"f": band(0.2, 0.4)})
    section = evaluate_folds([own, SECOND], ["f"], kind="binary")["findings"]["f"]["three_way"]
    assert sum(section["counts"].values()) == 4
    plain = evaluate_folds([FIRST, SECOND], ["f"], kind="binary")["findings"]["f"]
    assert plain["three_way"] is None
    nan = float("nan")
    silent = Fold(cases([nan, nan], [0.1, 0.9], "c"), {}, {"f": band(0.2, 0.4)})
    found = evaluate_folds([silent, SECOND], ["f"], kind="binary")["findings"]["f"]
    assert found["three_way"] is None
    both = evaluate_folds([own, silent], ["f"], kind="binary")["findings"]["f"]["three_way"]
    assert sum(both["counts"].values()) == 4


def test_bands_of_the_ensemble_come_from_all_folds():
    asked = EvaluationConfig(band=(1.0 - 1e-9, 0.9), target_by="observed")
    bands, without = choose_ensemble_bands([FIRST, SECOND], ["f"], asked)
    # the lowest positive is .3, above .1; the highest negative .5, below .55
    assert bands["f"].lower.value == pytest.approx(0.2)
    assert bands["f"].upper.value == pytest.approx(0.525)
    assert bands["f"].upper.rule == "specificity of at least 0.9 on predictions out of fold"
    assert without == []
    assert choose_ensemble_bands([FIRST], ["f"], EvaluationConfig()) == ({}, [])

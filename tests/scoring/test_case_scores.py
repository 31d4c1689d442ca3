import csv
from pathlib import Path

import pytest
import torch

from medres.config import EvaluationConfig
from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.scoring.case_scores import CaseScores, ImageScores

NAN = float("nan")


def row(image: str, patient: str, study: str, *labels: float) -> ManifestRow:
    return ManifestRow(image, 0, patient, study, "test", labels)


def scores(*rows_and_scores: tuple[ManifestRow, float]) -> ImageScores:
    rows = tuple(r for r, _ in rows_and_scores)
    schema = LabelSchema("binary", ("opacity",), ("label_opacity",))
    manifest = Manifest(Path("/data"), rows, schema, patient_ids_given=True)
    y_score = torch.tensor([[s] for _, s in rows_and_scores], dtype=torch.float64)
    return ImageScores(manifest, rows, y_score)


IMAGES = scores(
    (row("a1", "A", "s1", 0.0), 0.2),
    (row("a2", "A", "s1", 0.0), 0.4),
    (row("a3", "A", "s2", 1.0), 0.7),
    (row("b1", "B", "s3", 0.0), 0.1),
    (row("c1", "C", "s4", NAN), 0.9),
)


def test_images_combine_to_patients_by_the_highest_mean_of_their_studies() -> None:
    cases = IMAGES.combine("patient")
    assert cases.patient_ids == ("A", "B", "C")
    assert cases.y_score[:, 0].tolist() == pytest.approx([0.7, 0.1, 0.9])
    assert cases.y_true[:2, 0].tolist() == [1, 0]
    assert cases.y_true[2, 0].isnan()
    assert cases.counts == {"patients": 3, "studies": 4, "images": 5}


def test_images_combine_to_studies_by_their_mean() -> None:
    cases = IMAGES.combine("study")
    assert cases.y_score[:, 0].tolist() == pytest.approx([0.3, 0.7, 0.1, 0.9])


def test_image_as_unit_keeps_every_row() -> None:
    cases = IMAGES.combine("image")
    assert cases.patient_ids == ("A", "A", "A", "B", "C")
    assert cases.y_score.shape == (5, 1)


def test_threshold_is_chosen_on_cases_with_a_label() -> None:
    thresholds, without = IMAGES.combine("patient").choose_thresholds(
        ["opacity"], EvaluationConfig()
    )
    assert thresholds["opacity"] == Threshold(pytest.approx(0.4), "Youden index on validation", 2)
    assert without == []


def test_every_rule_of_the_configuration_reaches_the_threshold() -> None:
    rows = [(row(f"i{k}", f"P{k}", f"s{k}", float(k >= 30)), k / 60) for k in range(60)]
    cases = scores(*rows).combine("patient")
    rules = {
        "sensitivity_at_least": "sensitivity of at least 0.9 by its lower 95% bound on validation",
        "specificity_at_least": "specificity of at least 0.9 by its lower 95% bound on validation",
        "cost": "least cost, a miss counting as 10 false alarms, on validation",
    }
    for rule, words in rules.items():
        asked = EvaluationConfig(threshold_rule=rule)
        assert cases.choose_thresholds(["opacity"], asked)[0]["opacity"].rule == words


def test_finding_with_one_class_gets_no_threshold_and_the_reason() -> None:
    one_class = scores((row("a", "A", "s", 0.0), 0.2), (row("b", "B", "t", 0.0), 0.3))
    cases = one_class.combine("patient")
    thresholds, without = cases.choose_thresholds(["opacity"], EvaluationConfig())
    assert thresholds == {}
    (reason,) = without
    assert reason.startswith("opacity: no threshold was locked: a threshold is undefined: none of")


def test_evaluation_counts_patients_studies_images_and_missing_labels() -> None:
    cases = IMAGES.combine("patient")
    threshold = {"opacity": Threshold(0.5, "by hand", 0)}
    evaluation = cases.evaluate(["opacity"], threshold, kind="binary")
    assert evaluation["n"] == {"patients": 3, "studies": 4, "images": 5}
    assert evaluation["unit"] == "patient"
    finding = evaluation["findings"]["opacity"]
    assert (finding["n"], finding["n_positive"], finding["n_missing"]) == (2, 1, 1)
    assert finding["confusion"] == {"tp": 1, "fp": 0, "tn": 1, "fn": 0}


def test_csv_holds_labels_beside_scores_and_leaves_missing_ones_empty(tmp_path: Path) -> None:
    IMAGES.write_csv(tmp_path / "test.csv")
    with (tmp_path / "test.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[2] == {
        "image": "a3",
        "frame": "0",
        "patient_id": "A",
        "study_instance_uid": "s2",
        "opacity": "1",
        "opacity_score": "0.7",
    }
    assert rows[4]["opacity"] == ""


def test_cases_know_their_images_and_take_the_value_that_all_of_them_share() -> None:
    view = ["PA", "LL", "PA", "PA", ""]
    assert IMAGES.combine("image").groups(view) == view
    assert IMAGES.combine("study").images == ((0, 1), (2,), (3,), (4,))
    assert IMAGES.combine("study").groups(view) == ["", "PA", "PA", ""]
    assert IMAGES.combine("patient").groups(["F", "F", "", "M", ""]) == ["F", "M", ""]
    loose = scores((row("a", "A", "", 0.0), 0.2), (row("b", "A", "", 1.0), 0.4))
    assert sorted(loose.combine("study").images) == [(0,), (1,)]


def sixty() -> CaseScores:
    """30 negatives below 30 positives, but for two of each across: .45, .65 and .35, .55."""
    across = {27: 1.0, 21: 1.0, 39: 0.0, 33: 0.0}
    rows = [
        (row(f"i{k}", f"P{k}", f"s{k}", across.get(k, float(k >= 30))), k / 60) for k in range(60)
    ]
    return scores(*rows).combine("patient")


def test_no_band_is_chosen_unless_it_is_asked_for() -> None:
    assert sixty().choose_bands(["opacity"], EvaluationConfig()) == ({}, [])


def test_band_has_the_rates_that_are_asked_for_at_its_ends() -> None:
    asked = EvaluationConfig(band=(0.95, 0.95), target_by="observed")
    bands, without = sixty().choose_bands(["opacity"], asked)
    # sensitivity .95 of 30 allows one miss (21), specificity .95 one false alarm (39)
    rules = [f"{rate} of at least 0.95 on validation" for rate in ("sensitivity", "specificity")]
    assert bands == {
        "opacity": Band(
            Threshold(pytest.approx(26.5 / 60), rules[0], 60),
            Threshold(pytest.approx(33.5 / 60), rules[1], 60),
            (0.95, 0.95),
        )
    }
    assert without == []
    there = sixty().choose_bands(["opacity"], asked, split="local scores")[0]["opacity"]
    assert there.upper.rule == "specificity of at least 0.95 on local scores"


def test_too_few_cases_for_a_lower_bound_get_no_band_and_the_reason() -> None:
    bands, (reason,) = sixty().choose_bands(["opacity"], EvaluationConfig(band=(0.95, 0.95)))
    assert bands == {}
    assert reason.startswith("opacity: no band was locked: a threshold with a sensitivity of at le")
    assert "30 positive rows cannot show that, it takes 59 positive rows" in reason
    unlabelled = scores((row("a", "A", "s", NAN), 0.2), (row("b", "B", "t", 0.0), 0.3))
    asked = EvaluationConfig(band=(0.5, 0.5))
    bands, (reason,) = unlabelled.combine("patient").choose_bands(["opacity"], asked)
    assert reason.startswith("opacity: no band was locked: a threshold is undefined: none of")

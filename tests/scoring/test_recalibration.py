from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_records import record_of

from medres.bundle.record import ModelRecord
from medres.config import EvaluationConfig
from medres.data.score_table import ScoreTable
from medres.errors import ManifestError
from medres.metrics.operating_point import Threshold
from medres.metrics.recalibration import Temperature
from medres.metrics.three_way import Band
from medres.scoring.recalibration import recalibrate
from medres.training.calibrate import NOT_CALIBRATED, Calibration

OLD = Threshold(0.5, "Youden index on validation", 40)


def record(temperature: float | None = None) -> ModelRecord:
    plain = replace(record_of("0" * 64), thresholds={"opacity": OLD}, calibration=NOT_CALIBRATED)
    if temperature is None:
        return plain
    fitted = Temperature((temperature,), "sigmoid", 40)
    return replace(plain, calibration=Calibration(fitted, "", {}))


def local(scale: float, n: int = 2000, seed: int = 0) -> ScoreTable:
    """Scores σ(scale · z) of labels drawn from σ(z)."""
    generator = np.random.default_rng(seed)
    z = 2 * generator.normal(size=n) - 1
    y = generator.random(n) < 1 / (1 + np.exp(-z))
    p = 1 / (1 + np.exp(-scale * z))
    return ScoreTable(
        Path("local.csv"), ("opacity",), tuple((float(v),) for v in y),
        tuple((float(v),) for v in p), tuple(f"P{k}" for k in range(n)), None, {}, (),
    )  # fmt: skip


def test_record_of_a_model_knows_its_finding():
    assert record().findings == ("opacity",)


@pytest.mark.parametrize("old", [None, 0.5, 4.0])
def test_new_temperature_makes_up_for_the_sites_scale_whatever_the_old_one(old: float | None):
    result = recalibrate(record(old), local(3.0), EvaluationConfig(), "ab")
    before = old or 1.0
    assert result.changes["temperature"]["before"] == before
    assert result.record.calibration.temperature.values[0] == pytest.approx(3 * before, rel=0.1)
    figures = result.changes["calibration"]
    for name in ("negative_log_likelihood", "brier_score", "expected_calibration_error"):
        assert figures["after"][name] < figures["before"][name]


def test_old_temperature_and_thresholds_are_kept_beside_the_new():
    first = recalibrate(record(2.0), local(3.0), EvaluationConfig(), "ab").record
    second = recalibrate(first, local(1.0, seed=1), EvaluationConfig(), "cd").record
    assert [old.thresholds["opacity"] for old in second.replaced] == [
        OLD, first.thresholds["opacity"],
    ]  # fmt: skip
    assert second.replaced[0].calibration.temperature.values == (2.0,)
    assert second.replaced[1].replaced_by["scores_sha256"] == "cd"
    assert first.thresholds["opacity"].rule == "Youden index on local scores"
    again = ModelRecord.from_json(json.loads(json.dumps(second.as_json())))
    assert again == second
    assert "replaced" not in record().as_json()


def test_changes_count_the_same_cases_before_and_after():
    result = recalibrate(record(), local(3.0), EvaluationConfig(), "ab")
    sides = result.changes["findings"]["opacity"]
    for side in sides.values():
        assert sum(side["confusion"].values()) == 2000
    assert sides["before"]["threshold"] == OLD.as_json()
    assert result.changes["cases"] == 2000


def test_images_combine_to_the_models_cases():
    table = local(1.0, n=400)
    twice = replace(table, patient_ids=tuple(f"P{k // 2}" for k in range(400)))
    assert record().unit == "patient"
    assert recalibrate(record(), twice, EvaluationConfig(), "ab").changes["cases"] == 200


def test_what_cannot_be_fitted_stays_and_is_said():
    few = local(1.0, n=12)
    rule = EvaluationConfig(threshold_rule="sensitivity_at_least")
    result = recalibrate(record(2.0), few, rule, "ab")
    assert result.record.calibration == record(2.0).calibration
    assert result.record.thresholds == {"opacity": OLD}
    assert result.notes[0].startswith("The temperature stays as it was: a temperature is undefined")
    assert result.notes[1].startswith("opacity: no threshold was locked")
    assert result.notes[1].endswith("; the old one stays.")


def test_missing_labels_take_no_part():
    table = local(1.0, n=300)
    y = tuple((float("nan"),) if k < 100 else row for k, row in enumerate(table.y_true))
    p = tuple((float("nan"),) if k < 100 else row for k, row in enumerate(table.y_score))
    result = recalibrate(record(), replace(table, y_true=y, y_score=p), EvaluationConfig(), "ab")
    assert result.record.calibration.temperature.n == 200
    assert result.record.thresholds["opacity"].n == 200


def test_scores_that_are_no_probabilities_are_refused():
    table = local(1.0, n=20)
    for outside in (1.0001, -0.0001):
        logits = replace(table, y_score=((outside,), *table.y_score[1:]))
        with pytest.raises(ManifestError, match=r"local.csv: scores outside \[0, 1\] are no prob"):
            recalibrate(record(), logits, EvaluationConfig(), "ab")


def test_scores_of_exactly_0_and_1_are_probabilities():
    table = local(1.0, n=400)
    label = [y for (y,) in table.y_true]
    negative, positive = label.index(0.0), label.index(1.0)
    scores = [*table.y_score]
    scores[negative], scores[positive] = (0.0,), (1.0,)
    result = recalibrate(record(), replace(table, y_score=tuple(scores)), EvaluationConfig(), "ab")
    assert result.changes["cases"] == 400
    assert temperature_of(result.record) == pytest.approx(1.0, rel=0.2)


def test_softmax_scores_get_one_temperature():
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(1500, 3, generator=generator, dtype=torch.float64)
    named = torch.multinomial(z.softmax(1), 1, generator=generator)[:, 0]
    y = torch.nn.functional.one_hot(named, 3).double()
    plain = record()
    labels = replace(plain.labels, kind="multiclass", findings=("a", "b", "c"), columns=("label",))
    model = replace(plain, labels=labels, thresholds={})
    table = ScoreTable(
        Path("local.csv"), ("a", "b", "c"), tuple(map(tuple, y.tolist())),
        tuple(map(tuple, (2 * z).softmax(1).tolist())), None, None, {}, (),
    )  # fmt: skip
    result = recalibrate(model, table, EvaluationConfig(), "ab")
    assert result.record.calibration.temperature.values[0] == pytest.approx(2.0, rel=0.1)
    assert result.record.calibration.temperature.activation == "softmax"


BAND = Band(Threshold(0.2, "low", 40), Threshold(0.6, "high", 40), (0.95, 0.8))


def test_a_band_is_chosen_anew_for_the_rates_that_it_was_chosen_for():
    model = replace(record(2.0), bands={"opacity": BAND})
    table = local(3.0)
    result = recalibrate(model, table, EvaluationConfig(target_by="observed"), "ab")
    new = result.record.bands["opacity"]
    assert new.targets == (0.95, 0.8)
    assert new.lower.rule == "sensitivity of at least 0.95 on local scores"
    assert (new.lower.n, new.upper.rule) == (2000, "specificity of at least 0.8 on local scores")
    p = np.array(table.y_score)[:, 0]
    tempered = 1 / (1 + np.exp(-np.log(p / (1 - p)) * 2.0 / temperature_of(result.record)))
    y = np.array(table.y_true)[:, 0] == 1
    assert (tempered[y] >= new.lower.value).mean() == pytest.approx(0.95, abs=0.002)
    assert (tempered[~y] < new.upper.value).mean() == pytest.approx(0.8, abs=0.002)
    sides = result.changes["findings"]["opacity"]["band"]
    assert sides["before"]["lower"] == BAND.lower.as_json()
    assert sides["after"]["upper"] == new.upper.as_json()
    for side in sides.values():
        assert sum(side["counts"].values()) == 2000
    assert sides["before"]["counts"]["undecided_positive"] == int(
        ((p >= 0.2) & (p < 0.6) & y).sum()
    )


def temperature_of(model: ModelRecord) -> float:
    return model.calibration.temperature.values[0]


def test_old_bands_are_kept_beside_the_new_and_come_back_from_the_file():
    model = replace(record(), bands={"opacity": BAND})
    asked = EvaluationConfig(band=(0.9, 0.9), target_by="observed")
    new = recalibrate(model, local(3.0), asked, "ab").record
    assert new.bands["opacity"].targets == (0.9, 0.9)
    assert new.replaced[0].bands == {"opacity": BAND}
    assert ModelRecord.from_json(json.loads(json.dumps(new.as_json()))) == new


def test_a_band_that_cannot_be_chosen_stays_and_is_said():
    model = replace(record(2.0), bands={"opacity": BAND})
    result = recalibrate(model, local(1.0, n=12), EvaluationConfig(), "ab")
    assert result.record.bands == {"opacity": BAND}
    assert result.notes[-1].startswith("opacity: no band was locked: a threshold with a sensit")
    assert result.notes[-1].endswith("; the old one stays.")


def test_a_model_without_a_band_gets_one_only_where_it_is_asked_for():
    plain = recalibrate(record(), local(3.0), EvaluationConfig(), "ab")
    assert plain.record.bands == {}
    assert "bands" not in plain.record.as_json()
    assert "bands" not in plain.record.as_json()["replaced"][0]
    assert "band" not in plain.changes["findings"]["opacity"]
    asked = EvaluationConfig(band=(0.9, 0.9))
    result = recalibrate(record(), local(3.0), asked, "ab")
    assert result.record.bands["opacity"].targets == (0.9, 0.9)
    assert result.changes["findings"]["opacity"]["band"]["before"] is None


def test_a_band_by_hand_has_no_rates_to_be_chosen_for_and_stays():
    by_hand = Band(BAND.lower, BAND.upper)
    model = replace(record(), bands={"opacity": by_hand})
    assert recalibrate(model, local(3.0), EvaluationConfig(), "ab").record.bands == {
        "opacity": by_hand
    }


def test_an_unlabelled_image_counts_alike_before_and_after():
    plain = local(1.0, n=400)
    p = np.array(plain.y_score)[:, 0]
    y = np.where(np.arange(400) % 2, np.nan, np.array(plain.y_true)[:, 0])
    table = replace(
        plain,
        y_true=tuple((float(v),) for v in y),
        patient_ids=tuple(f"P{k // 2:03}" for k in range(400)),
    )
    sides = recalibrate(record(), table, EvaluationConfig(), "ab").changes["findings"]["opacity"]
    highest, positive = p.reshape(200, 2).max(1), y[::2] == 1  # a patient's two images
    assert sides["before"]["confusion"]["tp"] == int(((highest >= 0.5) & positive).sum())
    new = sides["after"]["threshold"]["value"]
    result = recalibrate(record(), table, EvaluationConfig(), "ab").record
    tempered = 1 / (1 + np.exp(-np.log(highest / (1 - highest)) / temperature_of(result)))
    assert sides["after"]["confusion"]["tp"] == int(((tempered >= new) & positive).sum())

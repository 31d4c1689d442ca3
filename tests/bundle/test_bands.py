"""Indeterminate bands in a model's record, its card and MONAI's evaluation of it."""

import json
from dataclasses import replace

import pytest
import torch
from model_records import record_of
from monai.bundle import ConfigParser

from medres.bundle.card import model_card
from medres.bundle.record import ModelRecord
from medres.bundle.workflows import evaluate_config
from medres.errors import BundleError
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.scoring.scorer import model_digest

LOWER = Threshold(0.125, "sensitivity of at least 0.95 on validation", 30)
UPPER = Threshold(0.625, "specificity of at least 0.9 on validation", 30)
BAND = Band(LOWER, UPPER, (0.95, 0.9))


def banded(band: Band = BAND) -> ModelRecord:
    return replace(record_of("0" * 64), bands={"opacity": band})


@pytest.mark.parametrize("band", [BAND, Band(LOWER, UPPER)])
def test_a_band_comes_back_as_it_was_stored(band: Band) -> None:
    stored = json.loads(json.dumps(banded(band).as_json()))
    assert ModelRecord.from_json(stored) == banded(band)
    assert stored["bands"]["opacity"]["lower"] == {
        "value": 0.125, "rule": "sensitivity of at least 0.95 on validation", "n": 30,
    }  # fmt: skip


def test_a_record_without_a_band_is_what_it_was_before_there_were_bands() -> None:
    plain = record_of("0" * 64)
    assert "bands" not in plain.as_json()
    assert ModelRecord.from_json(plain.as_json()).bands == {}
    assert model_digest(plain) == "43418fba72e65013877169a1459f6cdbaf89f2423b38d369d0385b4095371764"


def test_the_digest_covers_the_band() -> None:
    moved = replace(BAND, upper=replace(UPPER, value=0.626))
    digests = {model_digest(r) for r in (record_of("0" * 64), banded(), banded(moved))}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("band", "message"),
    [
        ({"lower": LOWER.as_json()}, r"record is incomplete \('upper'\)"),
        ({"lower": LOWER.as_json(), "upper": 3}, "record is incomplete"),
        (
            {**BAND.as_json(), "lower": UPPER.as_json(), "upper": LOWER.as_json()},
            r"bands\.opacity: 'lower 0\.625, upper 0\.125' is not accepted; it takes a lower end",
        ),
        (
            {**BAND.as_json(), "upper": {**UPPER.as_json(), "value": "nan"}},
            r"bands\.opacity\.upper: 'nan' is not accepted; it takes a finite number",
        ),
        (
            {**BAND.as_json(), "targets": {"sensitivity": 2, "specificity": 0.5}},
            r"bands\.opacity\.targets: '2\.0' is not accepted; it takes a finite number from 0",
        ),
        ({**BAND.as_json(), "targets": {"sensitivity": 0.5}}, "record is incomplete"),
    ],
)
def test_a_damaged_band_is_refused(band: dict, message: str) -> None:
    values = record_of("0" * 64).as_json()
    with pytest.raises(BundleError, match=f"the model's {message}|the model's record: {message}"):
        ModelRecord.from_json({**values, "bands": {"opacity": band}})


def test_a_band_of_another_finding_is_refused() -> None:
    values = {**record_of("0" * 64).as_json(), "bands": {"mass": BAND.as_json()}}
    with pytest.raises(BundleError, match="bands: 'mass' is not accepted; it takes one of opacity"):
        ModelRecord.from_json(values)


def test_the_card_says_where_the_band_lies_and_who_chose_it() -> None:
    card = model_card(banded())
    assert "indeterminate in between, where a person decides" in card
    assert (
        "| opacity | 0.125 | sensitivity of at least 0.95 on validation "
        "| 0.625 | specificity of at least 0.9 on validation | 30 |\n"
    ) in card
    assert "indeterminate" not in model_card(record_of("0" * 64))


def test_monais_evaluation_decides_with_the_band() -> None:
    parser = ConfigParser({**evaluate_config(banded())["key_metric"]["auroc"], "record": banded()})
    metric = parser.get_parsed_content("metric")
    metric(torch.tensor([[0.1], [0.3], [0.7]]), torch.tensor([[0.0], [1.0], [1.0]]))
    section = metric.report().as_json()["findings"]["opacity"]["three_way"]
    assert section["counts"] == {
        "tp": 1, "fp": 0, "tn": 1, "fn": 0, "undecided_positive": 1, "undecided_negative": 0,
    }  # fmt: skip
    without = evaluate_config(record_of("0" * 64))["key_metric"]["auroc"]["metric"]
    assert "bands" not in without

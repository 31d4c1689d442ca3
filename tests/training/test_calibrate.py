"""Temperature scaling of a trained network: what it changes, and what it must not."""

import json
import math

import pytest
import torch

from medres.metrics.ranking import auroc
from medres.training.calibrate import NOT_CALIBRATED, Calibration, fit_calibration
from medres.training.losses import probabilities

NAN = math.nan


def overconfident(kind: str, rows: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels drawn from the probabilities of logits, and three times these logits."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    if kind == "multiclass":
        classes = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
        labels = torch.nn.functional.one_hot(classes, 3).double()
    else:
        labels = torch.bernoulli(logits.sigmoid(), generator=generator)
        labels[::7, 1] = NAN
    return labels, 3 * logits


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_an_overconfident_network_is_brought_back(kind):
    labels, logits = overconfident(kind)
    found = fit_calibration(kind, labels, logits)
    assert found.temperature.values == (pytest.approx(3, rel=0.15),)
    before, after = found.validation["untempered"], found.validation["tempered"]
    assert all(after[name] < before[name] for name in before)
    expected = probabilities(kind, logits / found.temperature.values[0])
    torch.testing.assert_close(found.apply(kind, logits), expected)


def test_figures_of_the_validation_images_by_hand():
    # p = 1/2 three times, labels 1, 0 and none: log 2, 1/4, and |1/2 - 1/2| in one bin
    figures = fit_calibration("binary", torch.tensor([[1.0], [0], [NAN]]), torch.zeros(3, 1))
    assert figures.validation == {
        "untempered": {
            "negative_log_likelihood": pytest.approx(math.log(2)),
            "brier_score": 0.25,
            "expected_calibration_error": 0.0,
        }
    }


def test_auroc_is_unchanged():
    labels, logits = overconfident("binary")
    found = fit_calibration("binary", labels[:, :1], logits[:, :1])
    y_true = labels[:, 0]
    tempered, untempered = (c.apply("binary", logits) for c in (found, NOT_CALIBRATED))
    assert auroc(y_true, tempered[:, 0]).value == auroc(y_true, untempered[:, 0]).value
    assert not torch.equal(tempered, untempered)


def test_a_validation_set_that_is_too_small_gives_none_and_the_reason():
    labels = torch.tensor([[1.0]] * 9 + [[0.0]] * 40)
    found = fit_calibration("binary", labels, torch.randn(49, 1).double())
    assert found.temperature is None
    assert "temperature" in found.reason
    assert list(found.validation) == ["untempered"]
    assert found.apply("binary", torch.zeros(1, 1)).item() == 0.5


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_calibration_survives_json(kind):
    found = fit_calibration(kind, *overconfident(kind))
    again = Calibration.from_json(json.loads(json.dumps(found.as_json())))
    assert again == found
    assert Calibration.from_json(None) == NOT_CALIBRATED

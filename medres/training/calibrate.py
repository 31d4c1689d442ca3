"""Temperature scaling: fitted on validation after training, and stored with the model.

Dividing logits by a temperature changes no image's rank, so that AUROC stays what it was; it
changes what a probability says. Modern networks say too much (Guo et al., On calibration of modern
neural networks, ICML 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from medres.errors import UndefinedMetricError
from medres.metrics.calibration import bin_columns, calibration_error
from medres.metrics.recalibration import Activation, Temperature, fit_temperature
from medres.training.losses import ClassificationLoss, LabelKind, probabilities


@dataclass(frozen=True)
class Calibration:
    """What a model's logits are divided by before they become probabilities.

    Attributes:
        temperature: None where none was fitted: probabilities are then the network's own.
        reason: why there is none; empty where there is one.
        validation: of the images that it was fitted on, `untempered` and `tempered`:
            negative_log_likelihood, brier_score and expected_calibration_error over all labels.
    """

    temperature: Temperature | None
    reason: str
    validation: Mapping[str, Mapping[str, float]]

    def apply(self, kind: LabelKind, logits: Tensor) -> Tensor:
        """Probabilities (B, F) of the network's logits (B, F)."""
        scaled = logits if self.temperature is None else self.temperature.scale(logits)
        return probabilities(kind, scaled)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "temperature": None if self.temperature is None else self.temperature.as_json(),
            "reason": self.reason,
            "validation": {name: dict(figures) for name, figures in self.validation.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> Calibration:
        """Rebuild; None for a model from before there was temperature scaling.

        Raises:
            KeyError, TypeError, ValueError: a part is missing or of another kind.
        """
        if values is None:
            return NOT_CALIBRATED
        found = values["temperature"]
        temperature = None if found is None else Temperature.from_json(found)
        return cls(temperature, values["reason"], values["validation"])


NOT_CALIBRATED = Calibration(None, "none was asked for", {})
"""The network's own probabilities; of models from before there was temperature scaling too."""


def fit_calibration(kind: LabelKind, labels: Tensor, logits: Tensor) -> Calibration:
    """Fit one temperature for all outputs; none where validation is too small to tell it.

    Args:
        kind: of the labels.
        labels: (N, F) of validation images, in {0, 1, NaN}; one-hot rows for multiclass.
        logits: (N, F) of the trained network, float64.
    """
    activation: Activation = "softmax" if kind == "multiclass" else "sigmoid"
    untempered = _figures(kind, labels, logits)
    try:
        temperature = fit_temperature(labels, logits, activation=activation)
    except UndefinedMetricError as error:
        return Calibration(None, str(error), {"untempered": untempered})
    tempered = _figures(kind, labels, temperature.scale(logits))
    return Calibration(temperature, "", {"untempered": untempered, "tempered": tempered})


def _figures(kind: LabelKind, labels: Tensor, logits: Tensor) -> dict[str, float]:
    known = ~labels.isnan()
    y_true, y_score = labels[known].double(), probabilities(kind, logits)[known].double()
    return {
        "negative_log_likelihood": float(ClassificationLoss(kind)(logits, labels)),
        "brier_score": float(((y_true - y_score) ** 2).mean()),
        "expected_calibration_error": float(calibration_error(bin_columns(y_true, y_score).sum(0))),
    }

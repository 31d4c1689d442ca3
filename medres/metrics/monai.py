"""The same figures inside MONAI's and Ignite's evaluators, over any number of processes.

    metric = EvaluationMetric(("opacity",), activation="sigmoid")
    evaluator = SupervisedEvaluator(
        ..., key_val_metric={"auroc": EvaluationMetricHandler(metric)}
    )

Scores, labels and patients of an epoch are kept as they are and gathered from all processes, each
with as many rows as it has (also none), before anything is computed: a mean of the processes'
figures would not be the figure of all rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
from monai.handlers.ignite_metric import IgniteMetricHandler
from monai.handlers.utils import from_engine
from monai.metrics.metric import CumulativeIterationMetric
from monai.utils import evenly_divisible_all_gather
from monai.utils.enums import CommonKeys
from torch import Tensor
from torch.nn.functional import one_hot

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.estimate import Estimate, Figure
from medres.metrics.evaluation import EvaluationReport, Kind, evaluate
from medres.metrics.finding_details import AskedDetails
from medres.metrics.finding_evaluation import FindingEvaluation
from medres.metrics.operating_point import Threshold
from medres.metrics.recalibration import Activation
from medres.metrics.three_way import Band

EPOCH_RESAMPLES = 200
"""Of the patient bootstrap: enough to watch an epoch by; a final evaluation takes 2,000."""

ID_BITS = 52
"""Of a patient's digest, which travels as a float64: exact to 53 bits. Any two of 100,000 patients
share one with a chance of 1 in a million."""


class EvaluationMetric(CumulativeIterationMetric):
    """Every figure of `medres.metrics.evaluation.evaluate`, as one MONAI metric.

    Args:
        findings: F names, in the order of the outputs; for "multiclass" the classes.
        kind: what the outputs are to each other.
        activation: applied to predictions first; None: they are scores already.
        figure: which one `aggregate` returns: "auroc", "sensitivity", "f1_score", ….
        finding: whose figure; None: the only finding's, or for "auroc" and "average_precision" of
            several the macro mean.
        thresholds: locked, by finding, for the figures that need one; a number too, as JSON has it.
        bands: locked, by finding: scores that are left undecided; two numbers too.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Raises:
        MetricInputError: an unknown finding; no finding named for a figure without a macro mean.
    """

    def __init__(
        self,
        findings: Sequence[str],
        *,
        kind: Kind = "multilabel",
        activation: Activation | None = None,
        figure: str = "auroc",
        finding: str | None = None,
        thresholds: Mapping[str, Threshold | float] | None = None,
        bands: Mapping[str, Band | Sequence[float]] | None = None,
        resamples: int = EPOCH_RESAMPLES,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._synced = False
        self.findings, self.kind, self.activation = tuple(findings), kind, activation
        self.figure, self.thresholds = figure, _as_thresholds(thresholds or {})
        self.bands = _as_bands(bands or {})
        self.resamples, self.seed = resamples, seed
        if finding is not None and finding not in self.findings:
            raise MetricInputError(
                f"finding {finding!r} is unknown; the findings are {list(self.findings)}"
            )
        if finding is None and len(self.findings) == 1:
            finding = self.findings[0]
        if finding is None and figure not in ("auroc", "average_precision"):
            raise MetricInputError(
                f"{figure!r} has no macro mean; name the finding whose figure is meant"
            )
        self.finding = finding
        self._report: EvaluationReport | None = None

    def reset(self) -> None:
        """Forget the epoch's rows."""
        super().reset()
        self._report = None

    def __call__(self, y_pred: Any, y: Any = None, **kwargs: Any) -> Tensor:
        """Keep a batch.

        Args:
            y_pred: (B, F) or (B,) tensor, or a list of B tensors (F,): logits or scores.
            y: labels in the same form: 0, 1, or NaN = missing; for "multiclass" one-hot, or the
                number of the class.
            kwargs: `patient_ids`, B strings or numbers, equal for rows of one patient; given with
                every batch or with none.

        Returns:
            (B, 2 F + 1) float64: scores, labels, digest of the patient.
        """
        batch, labels = (
            torch.stack(list(v)) if isinstance(v, list | tuple) else v for v in (y_pred, y)
        )
        self._report = None
        kept: Tensor = super().__call__(batch, labels, **kwargs)
        return kept

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        if y is None:
            raise MetricInputError("no labels were given; pass y beside y_pred")
        score, label = _plain(y_pred), _plain(y)
        if self.kind == "multiclass" and label.shape[1] == 1 < len(self.findings):
            label = one_hot(label[:, 0].long(), len(self.findings)).to(label.dtype)
        if score.shape != label.shape or score.shape[1] != len(self.findings):
            raise MetricInputError(
                f"predictions have shape {tuple(y_pred.shape)} and labels {tuple(y.shape)} for "
                f"{len(self.findings)} findings; give one of each a row and finding"
            )
        if self.activation == "sigmoid":
            score = score.sigmoid()
        elif self.activation == "softmax":
            score = score.softmax(1)
        patients = _digests(kwargs.get("patient_ids"), score)
        return torch.cat([score, label, patients[:, None]], dim=1)

    def _sync(self) -> None:
        """Gather the rows of all processes; one without rows takes part with none."""
        if self._synced:
            return
        width = 2 * len(self.findings) + 1
        rows = self._buffers[0] if self._buffers else []
        local = torch.stack(rows) if rows else torch.zeros((0, width), dtype=torch.float64)
        if not rows and idist.backend() == "nccl":
            local = local.to(idist.device())
        self._synced_tensors = [evenly_divisible_all_gather(local, concat=True)]
        self._synced = True

    def report(self) -> EvaluationReport:
        """Every figure of the rows of all processes.

        Raises:
            UndefinedMetricError: there are no rows.
            MetricInputError: patients were given for some batches only; what `evaluate` refuses.
        """
        if self._report is None:
            rows: Tensor = self.get_buffer()
            n, patient = len(self.findings), rows[:, -1]
            without = int(patient.isnan().sum())
            if 0 < without < len(rows):
                raise MetricInputError(
                    f"{without} of {len(rows)} rows have no patient; give patient_ids with every "
                    "batch, or with none"
                )
            self._report = evaluate(
                rows[:, n : 2 * n],
                rows[:, :n],
                findings=self.findings,
                patient_ids=None if without else patient.long(),
                thresholds=self.thresholds,
                kind=self.kind,
                asked=AskedDetails(bands=self.bands),
                resamples=self.resamples,
                seed=self.seed,
            )
        return self._report

    def aggregate(self, *_: Any, **__: Any) -> Tensor:
        """The chosen figure, 0-dimensional float64.

        Raises:
            UndefinedMetricError: the labels do not define it.
            MetricInputError: there is no such figure.
        """
        report = self.report()
        figure = _figure(report, self.finding, self.figure)
        if not isinstance(figure, Estimate):
            raise UndefinedMetricError(f"{self.figure} is undefined: {figure.reason}")
        return torch.tensor(figure.value, dtype=torch.float64)


def _as_thresholds(given: Mapping[str, Threshold | float]) -> dict[str, Threshold]:
    return {
        name: t if isinstance(t, Threshold) else Threshold(float(t), "set by hand", 0)
        for name, t in given.items()
    }


def _as_bands(given: Mapping[str, Band | Sequence[float]]) -> dict[str, Band]:
    return {name: b if isinstance(b, Band) else _by_hand(*b) for name, b in given.items()}


def _by_hand(lower: float, upper: float) -> Band:
    return Band(
        Threshold(float(lower), "set by hand", 0), Threshold(float(upper), "set by hand", 0)
    )


def _plain(values: Tensor) -> Tensor:
    """(B, F) float64 of (B,) or (B, F); MPS has no float64."""
    values = values.as_subclass(Tensor)
    values = values.cpu() if values.device.type == "mps" else values
    values = values[:, None] if values.ndim == 1 else values
    return values.to(torch.float64)


def _digests(patient_ids: Any, like: Tensor) -> Tensor:
    """(B,) float64 whole numbers, equal for equal ids; NaN where none are given."""
    if patient_ids is None:
        return like.new_full((len(like),), torch.nan)
    ids = patient_ids.tolist() if isinstance(patient_ids, Tensor) else list(patient_ids)
    if len(ids) != len(like):
        raise MetricInputError(f"{len(ids)} patient_ids for {len(like)} rows; give one for each")
    words = [hashlib.sha256(str(patient).encode()).digest()[:8] for patient in ids]
    numbers = [int.from_bytes(word, "big") >> (64 - ID_BITS) for word in words]
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)


def _figure(report: EvaluationReport, finding: str | None, name: str) -> Figure:
    if finding is None:
        return report.macro.auroc if name == "auroc" else report.macro.average_precision
    figures = _figures_of(report[finding])
    if name not in figures:
        raise MetricInputError(f"no figure {name!r}; choose one of {', '.join(figures)}")
    return figures[name]


def _figures_of(entry: FindingEvaluation) -> dict[str, Figure]:
    details = entry.details
    return {
        **entry.figures,
        **(details.decisions if details else {}),
        **(details.calibration if details else {}),
    }


class EvaluationMetricHandler(IgniteMetricHandler):
    """An `EvaluationMetric` as an Ignite metric that takes patients too.

    MONAI's own handler passes exactly predictions and labels; this one adds the patients, from the
    batch that the engine works on. At the end of an epoch the figure is in `engine.state.metrics`
    under its name, and the whole report, as JSON values, in `engine.state.metric_details`.

    Args:
        metric: to feed.
        output_transform: from the engine's output to (y_pred, y) or (y_pred, y, patient_ids); by
            default the keys `pred` and `label` of MONAI's evaluators.
        patient_key: of the batch, where the output has no patients; a batch without it counts each
            row as a patient of its own.
        save_details: whether to put the report into `engine.state.metric_details`.
    """

    def __init__(
        self,
        metric: EvaluationMetric,
        output_transform: Callable[[Any], Any] | None = None,
        *,
        patient_key: str = "patient_id",
        save_details: bool = True,
    ) -> None:
        super().__init__(metric, None, output_transform or _pred_and_label, save_details)
        self.metric, self.patient_key = metric, patient_key

    def iteration_completed(self, engine: Any) -> None:
        """Keep what the engine has just put out, with the patients of its batch."""
        output = self._output_transform(engine.state.output)
        if len(output) == 2:
            output = (*output, _patients_of(engine.state.batch, self.patient_key))
        self.update(output)

    def update(self, output: Sequence[Any]) -> None:
        """Keep a batch.

        Raises:
            MetricInputError: neither 2 nor 3 items.
        """
        if len(output) not in (2, 3):
            raise MetricInputError(
                f"the output has {len(output)} items; give y_pred and y, or y_pred, y and "
                "patient_ids"
            )
        y_pred, y, *patients = output
        self._is_reduced = False
        self.metric(y_pred, y, patient_ids=patients[0] if patients else None)

    def compute(self) -> float:
        """The figure over the rows of all processes."""
        value = float(self.metric.aggregate())
        self._is_reduced = True
        if self.save_details and self._engine is not None:
            self._engine.state.metric_details[self._name] = self.metric.report().as_json()
        return value


def _pred_and_label(output: Any) -> Any:
    """Of an engine's output; a function of the module, since MONAI's own cannot be pickled."""
    return from_engine([CommonKeys.PRED, CommonKeys.LABEL])(output)


def _patients_of(batch: Any, key: str) -> Any:
    """The patients of a collated or decollated batch, or None."""
    if isinstance(batch, Mapping):
        return batch.get(key)
    if isinstance(batch, list) and batch and isinstance(batch[0], Mapping) and key in batch[0]:
        return [item[key] for item in batch]
    return None

"""Probabilities of images, from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from monai.data import Dataset
from torch import Tensor, nn

from medres.bundle.directory import Model
from medres.data.manifest import Manifest, ManifestRow
from medres.scoring.case_scores import ImageScores
from medres.training.calibrate import NOT_CALIBRATED, Calibration
from medres.training.dataset import FORWARD_BATCH, as_items, build_loader
from medres.training.precision import AutocastInferer
from medres.transforms.chains import build_evaluation_chain
from medres.transforms.preprocessing import Preprocessing

Follow = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Predictor:
    """A network, what it expects, and where it computes.

    Attributes:
        network: logits (B, F) from (B, 1, S, S).
        kind: sigmoid a finding, or one softmax.
        preprocessing: from a file to the network's input.
        device: where the network computes.
        precision: of the forward pass; fp32 by default, so that scores do not depend on the device.
        workers: processes that read images; 0 reads in the main one.
        calibration: of the probabilities.
    """

    network: nn.Module
    kind: Literal["binary", "multilabel", "multiclass"]
    preprocessing: Preprocessing
    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    calibration: Calibration = NOT_CALIBRATED

    @classmethod
    def of_model(cls, model: Model, device: torch.device, *, workers: int = 0) -> Predictor:
        """The predictor of a model directory, its calibration included."""
        record = model.record
        return cls(
            model.network,
            record.kind,
            record.preprocessing,
            device,
            workers=workers,
            calibration=record.calibration,
        )

    @torch.inference_mode()
    def predict_logits(
        self, items: Sequence[dict[str, Any]], *, follow: Follow = lambda batches: batches
    ) -> Tensor:
        """Logits of images, as the network gives them; `activate` makes them probabilities.

        Args:
            items: dictionaries with `image`, an address, and `frame`.
            follow: wraps the batches, for a progress bar.

        Returns:
            (N, F) float64, in the order of the items, on the predictor's device (of an
            MPS device: on the CPU).

        Raises:
            RuntimeError: from MONAI's chain, caused by the `UnreadableImageError` of the first
                image that cannot be read; `survey_images` finds them before.
        """
        dataset = Dataset(items, build_evaluation_chain(self.preprocessing))
        loader = build_loader(dataset, FORWARD_BATCH, workers=self.workers)
        return torch.cat([self._logits_of(batch["image"]) for batch in follow(loader)])

    def predict(
        self, items: Sequence[dict[str, Any]], *, follow: Follow = lambda batches: batches
    ) -> Tensor:
        """Probabilities (N, F) of images, float64 in [0, 1]; see `predict_logits`."""
        return self.activate(self.predict_logits(items, follow=follow))

    def score_rows(
        self,
        manifest: Manifest,
        rows: Sequence[ManifestRow],
        *,
        follow: Follow = lambda batches: batches,
    ) -> ImageScores:
        """Probabilities of a manifest's rows; see `predict_logits`."""
        logits = self.predict_logits(as_items(manifest, rows), follow=follow)
        return self.score_logits(manifest, rows, logits)

    def score_logits(
        self, manifest: Manifest, rows: Sequence[ManifestRow], logits: Tensor
    ) -> ImageScores:
        """The same from the rows' logits (N, F)."""
        untempered = (
            None
            if self.calibration.temperature is None
            else NOT_CALIBRATED.apply(self.kind, logits)
        )
        return ImageScores(manifest, tuple(rows), self.activate(logits), untempered)

    def activate(self, logits: Tensor) -> Tensor:
        """Probabilities (B, F) of logits (B, F), calibrated."""
        return self.calibration.apply(self.kind, logits)

    def score_batch(self, images: Tensor) -> Tensor:
        """Probabilities (B, F) float64 of network inputs (B, 1, S, S)."""
        return self.activate(self._logits_of(images))

    @torch.inference_mode()
    def _logits_of(self, images: Tensor) -> Tensor:
        """Logits (B, F) float64 of network inputs (B, 1, S, S)."""
        place(self.network, self.device)
        with self._convolutions():
            logits = AutocastInferer(self.precision)(images.to(self.device), self.network)
        # Metrics follow the scores' device and compute in float64, which MPS has not.
        logits = logits.cpu() if logits.device.type == "mps" else logits
        return logits.double()

    def _convolutions(self) -> AbstractContextManager[None]:
        """By default CUDA rounds the inputs of fp32 convolutions to TF32's 10 bits."""
        if self.device.type != "cuda":  # a setting of the process, which threads would fight over
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=self.precision != "fp32")


def place(network: nn.Module, device: torch.device) -> None:
    """Bring a network to a device, in evaluation mode, laid out as convolutions read it fastest.

    One that is there already stays untouched: others may be computing with its weights.
    """
    if network.training or not all(_is_placed(p, device) for p in network.parameters()):
        with torch.inference_mode(False):  # else its weights could never again lead a gradient
            network.to(device).to(memory_format=torch.channels_last).eval()


def _is_placed(weights: Tensor, device: torch.device) -> bool:
    there = weights.device
    same = there.type == device.type and (
        there.index is None or device.index in (None, there.index)
    )
    return same and (weights.ndim != 4 or weights.is_contiguous(memory_format=torch.channels_last))

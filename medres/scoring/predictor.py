"""Probabilities of images, from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from monai.data import Dataset
from torch import Tensor, nn

from medres.data.manifest import Manifest, ManifestRow
from medres.scoring.case_scores import ImageScores
from medres.training.dataset import FORWARD_BATCH, as_items, build_loader
from medres.training.losses import probabilities
from medres.training.precision import AutocastInferer
from medres.transforms.chains import build_evaluation_chain
from medres.transforms.preprocessing import Preprocessing


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
    """

    network: nn.Module
    kind: Literal["binary", "multilabel", "multiclass"]
    preprocessing: Preprocessing
    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0

    @torch.inference_mode()
    def predict(
        self,
        items: Sequence[dict[str, Any]],
        *,
        follow: Callable[[Iterable[Any]], Iterable[Any]] = lambda batches: batches,
    ) -> Tensor:
        """Probabilities of images.

        Args:
            items: dictionaries with `image`, an address, and `frame`.
            follow: wraps the batches, for a progress bar.

        Returns:
            (N, F) float64 in [0, 1], in the order of the items, on the predictor's device (of an
            MPS device: on the CPU).

        Raises:
            RuntimeError: from MONAI's chain, caused by the `UnreadableImageError` of the first
                image that cannot be read; `survey_images` and `score_archive` find them before.
        """
        dataset = Dataset(items, build_evaluation_chain(self.preprocessing))
        loader = build_loader(dataset, FORWARD_BATCH, workers=self.workers)
        scores = [self.score_batch(batch["image"]) for batch in follow(loader)]
        return torch.cat(scores)

    def score_rows(
        self,
        manifest: Manifest,
        rows: Sequence[ManifestRow],
        *,
        follow: Callable[[Iterable[Any]], Iterable[Any]] = lambda batches: batches,
    ) -> ImageScores:
        """Probabilities of a manifest's rows; see `predict`."""
        scores = self.predict(as_items(manifest, rows), follow=follow)
        return ImageScores(manifest, tuple(rows), scores)

    @torch.inference_mode()
    def score_batch(self, images: Tensor) -> Tensor:
        """Probabilities (B, F) float64 of network inputs (B, 1, S, S)."""
        network = self.network.to(self.device).to(memory_format=torch.channels_last).eval()
        logits = AutocastInferer(self.precision)(images.to(self.device), network)
        # Metrics follow the scores' device and compute in float64, which MPS has not.
        logits = logits.cpu() if logits.device.type == "mps" else logits
        return probabilities(self.kind, logits.double())

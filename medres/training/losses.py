"""Losses on logits, with missing labels, class weights and label smoothing."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medres.errors import ConfigError

LabelKind = Literal["binary", "multilabel", "multiclass"]
KINDS: tuple[LabelKind, ...] = ("binary", "multilabel", "multiclass")


class ClassificationLoss(nn.Module):
    """Mean cross-entropy over the labels that are known.

    binary and multilabel: a sigmoid a finding, mean over all known entries. multiclass: one softmax
    over classes, mean over the rows that are known, each weighted by its class as PyTorch's
    `CrossEntropyLoss` does. A batch without any known label gives 0, and gradients of 0.

    Args:
        kind: of the labels.
        class_weights: (F,) above 0: of each finding's positives, or of each class.
        label_smoothing: ε in [0, 1): a target y becomes (1 - ε)·y + ε/2, or + ε/F for multiclass.

    Raises:
        ConfigError: an argument that is not accepted.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        kind: LabelKind,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_kind(kind)
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"label_smoothing: {label_smoothing:g} is not accepted; give 0 to below 1"
            )
        if class_weights is not None and not (
            class_weights.ndim == 1 and (class_weights > 0).all()
        ):
            raise ConfigError(
                f"class_weights: {class_weights.tolist()} is not accepted; give one weight above 0 "
                "for each output"
            )
        self.kind = kind
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, computed in float32 or better.

        Args:
            logits: (B, F).
            labels: (B, F) in [0, 1], NaN where missing; one-hot rows for multiclass.

        Raises:
            ConfigError: shapes that differ, or weights for another number of outputs.
        """
        if logits.shape != labels.shape or logits.ndim != 2:
            raise ConfigError(
                f"ClassificationLoss: expects logits and labels (B, F), found "
                f"{tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        weights = self.class_weights
        if weights is not None and len(weights) != logits.shape[1]:
            raise ConfigError(
                f"class_weights: {len(weights)} weights for {logits.shape[1]} outputs; give one "
                "for each"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        labels = labels.to(logits.dtype)
        if self.kind == "multiclass":
            return self._softmax_loss(logits, labels)
        return self._sigmoid_loss(logits, labels)

    def _sigmoid_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan()
        targets = labels.nan_to_num() * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=self._weights(logits), reduction="none"
        )
        return (losses * known).sum() / known.sum().clamp(min=1)

    def _softmax_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan().any(dim=1)  # (B,)
        targets = labels.nan_to_num()
        weights = self._weights(logits)
        losses = F.cross_entropy(
            logits,
            targets,
            weight=weights,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        rows = known if weights is None else known * (targets @ weights)
        return (losses * known).sum() / rows.sum().clamp(min=torch.finfo(logits.dtype).tiny)

    def _weights(self, logits: Tensor) -> Tensor | None:
        return None if self.class_weights is None else self.class_weights.to(logits.dtype)


def check_kind(kind: str) -> None:
    """Refuse a kind of labels that does not exist.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: {kind!r} is not accepted; give one of {', '.join(KINDS)}")


def probabilities(kind: LabelKind, logits: Tensor) -> Tensor:
    """Probabilities in [0, 1] of logits (B, F): a sigmoid each, or a softmax over the classes.

    In float32 or better: a sigmoid in bf16 leaves a few hundred distinct scores.

    Raises:
        ConfigError: no such kind.
    """
    check_kind(kind)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.softmax(dim=-1) if kind == "multiclass" else logits.sigmoid()


def balanced_class_weights(kind: LabelKind, labels: Tensor) -> Tensor:
    """Weights that give every class of the training labels the same total weight.

    Args:
        kind: of the labels.
        labels: (N, F) of the training split, NaN where missing; one-hot for multiclass.

    Returns:
        (F,) float32. binary and multilabel: negatives per positive of each finding. multiclass:
        N / (F · n_c). 1 where a finding has one class only, or a class no image.

    Raises:
        ConfigError: no such kind, or labels that are not (N, F).
    """
    check_kind(kind)
    if labels.ndim != 2:
        raise ConfigError(f"labels: expects (N, F), found {tuple(labels.shape)}")
    positives = labels.nansum(dim=0).double()  # (F,)
    if kind == "multiclass":
        ratio = positives.sum() / (labels.shape[1] * positives)
    else:
        ratio = ((~labels.isnan()).sum(dim=0) - positives) / positives
    return torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0).float()

"""Losses on logits, with missing labels, class weights, label smoothing and focal weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medres.errors import ConfigError

LabelKind = Literal["binary", "multilabel", "multiclass"]
KINDS: tuple[LabelKind, ...] = ("binary", "multilabel", "multiclass")


class ClassificationLoss(nn.Module):
    """Mean cross-entropy, or focal loss, over the labels that are known.

    binary and multilabel: a sigmoid a finding, mean over all known entries. multiclass: one softmax
    over classes, mean over the rows that are known, each weighted by its class as PyTorch's
    `CrossEntropyLoss` does. A batch without any known label gives 0, and gradients of 0. Every
    argument is a JSON value, so that a bundle's config builds it by `_target_`.

    With a `focal_gamma` γ each term is weighted by how far it is from right: |t − p|^γ for a target
    t and its probability p, and (1 − p)^γ before −t log p in a softmax. For targets 0 and 1 that is
    the focal loss; for soft ones (smoothed, uncertain) its least value stays at p = t.

    Args:
        kind: of the labels.
        class_weights: (F,) above 0: of each finding's positives, or of each class.
        label_smoothing: ε in [0, 1): a target y becomes (1 - ε)·y + ε/2, or + ε/F for multiclass.
        focal_gamma: γ, 0 for plain cross-entropy or at least 1 (usually 2); in between the weight's
            slope at a target that is met is infinite.

    Raises:
        ConfigError: an argument that is not accepted.

    References:
        Lin et al., Focal loss for dense object detection, ICCV 2017, equation 4; Li et al.,
        Generalized focal loss, NeurIPS 2020, equation 4 (soft targets).
    """

    class_weights: Tensor | None

    def __init__(
        self,
        kind: LabelKind,
        class_weights: Sequence[float] | Tensor | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__()
        check_kind(kind)
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"label_smoothing: {label_smoothing:g} is not accepted; give 0 to below 1"
            )
        if not (focal_gamma == 0 or 1 <= focal_gamma < float("inf")):
            raise ConfigError(f"focal_gamma: {focal_gamma:g} is not accepted; give 0, or 1 or more")
        self.kind = kind
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.register_buffer("class_weights", _as_weights(class_weights), persistent=False)

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
        if self.focal_gamma:
            losses = losses * (targets - logits.sigmoid()).abs() ** self.focal_gamma
        return (losses * known).sum() / known.sum().clamp(min=1)

    def _softmax_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = ~labels.isnan().any(dim=1)  # (B,)
        targets = labels.nan_to_num()
        weights = self._weights(logits)
        rows = known if weights is None else known * (targets @ weights)
        smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / labels.shape[1]
        terms = -smoothed * logits.log_softmax(dim=1)  # (B, F)
        if weights is not None:
            terms = terms * weights
        if self.focal_gamma:
            terms = terms * (1 - logits.softmax(dim=1)) ** self.focal_gamma
        losses = terms.sum(dim=1)
        return (losses * known).sum() / rows.sum().clamp(min=torch.finfo(logits.dtype).tiny)

    def _weights(self, logits: Tensor) -> Tensor | None:
        return None if self.class_weights is None else self.class_weights.to(logits.dtype)


def _as_weights(class_weights: Sequence[float] | Tensor | None) -> Tensor | None:
    if class_weights is None:
        return None
    weights = torch.as_tensor(class_weights, dtype=torch.float32)
    if weights.ndim != 1 or not bool((weights > 0).all()):
        raise ConfigError(
            f"class_weights: {weights.tolist()} is not accepted; give one weight above 0 "
            "for each output"
        )
    return weights


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

"""torchvision's ResNet family for one gray channel."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Literal, Self, get_args

import torch
import torchvision
from torch import Tensor, nn

from medres.config import StemInit, StemName
from medres.errors import ConfigError
from medres.models.prefix import run_from
from medres.models.stages import STAGES, batch_norms, check_stage
from medres.models.stem import StemStart, build_conv1, build_stem

Depth = Literal[18, 34, 50, 101, 152]
DEPTHS: tuple[Depth, ...] = get_args(Depth)


class GrayscaleResNet(nn.Module):
    """A ResNet that takes gray images (B, 1, H, W) and gives logits (B, F).

    At step 0 every stem computes a function of torchvision's RGB network that `stem` names; by
    default the network on the image in three equal channels. From random weights too: at one seed
    the three stems agree.

    Batch-norm in evaluation mode survives `.train()`, because the network's own `train` holds it:
    MONAI's trainer calls `.train()` in every iteration, and `eval_mode` ends with it.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem: duplicate, port or adapter.
        num_outputs: F, at least 1.
        batch_norm: train, or eval to keep all running statistics fixed from the start; a schedule
            sets it by stage afterwards.
        stem_init: what the stem starts as; auto takes equal, sum or ones, which are one function.
        display_mean: of the data's normalisation in display units [0, 1]; for stem_init imagenet.
        display_std: of the same.

    Raises:
        ConfigError: an argument that is not accepted.
    """

    __jit_unused_properties__: ClassVar = ["batch_norm_eval"]  # MONAI's ckpt_export scripts

    def __init__(
        self,
        depth: int = 18,
        stem: StemName = "duplicate",
        num_outputs: int = 1,
        *,
        batch_norm: Literal["train", "eval"] = "train",
        stem_init: StemInit = "auto",
        display_mean: float | None = None,
        display_std: float | None = None,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError(
                f"depth: {depth} is not accepted; give one of {', '.join(map(str, DEPTHS))}"
            )
        if num_outputs < 1:
            raise ConfigError(f"num_outputs: {num_outputs} is not accepted; give at least 1")
        if batch_norm not in ("train", "eval"):
            raise ConfigError(f"batch_norm: {batch_norm!r} is not accepted; give 'train' or 'eval'")
        self.depth = depth
        self.num_outputs = num_outputs
        self.stem_start = StemStart(stem, stem_init, display_mean, display_std)
        self.stem = build_stem(self.stem_start)
        self.backbone: nn.Module = torchvision.models.get_model(
            f"resnet{depth}", weights=None, num_classes=num_outputs
        )
        self.backbone.conv1 = build_conv1(self.backbone.conv1, self.stem_start)
        self._batch_norm_eval: frozenset[str] = frozenset()
        if batch_norm == "eval":
            self.set_batch_norm_eval(STAGES)

    def arguments(self) -> dict[str, Any]:
        """What builds a network of this architecture, as JSON values."""
        start = self.stem_start
        statistics = {"display_mean": start.display_mean, "display_std": start.display_std}
        return {
            "depth": self.depth,
            "stem": start.stem,
            "num_outputs": self.num_outputs,
            "stem_init": start.init,
            **{name: value for name, value in statistics.items() if value is not None},
        }

    @property
    def batch_norm_eval(self) -> frozenset[str]:
        """The stages whose batch-norm stays in evaluation mode while the network trains."""
        return self._batch_norm_eval

    def set_batch_norm_eval(self, stages: Collection[str]) -> None:
        """Keep these stages' running statistics fixed while training, and no others'.

        Affine weights of batch-norm stay trainable; that is for `requires_grad` to say.

        Raises:
            ConfigError: no such stage.
        """
        held = frozenset(check_stage(stage) for stage in stages)
        if held != self._batch_norm_eval:
            self._batch_norm_eval = held
            self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but for the batch-norm of the stages that are held."""
        super().train(mode)
        if mode:
            for norm in batch_norms(self, self._batch_norm_eval):
                norm.eval()
        return self

    def forward(self, image: Tensor, start: str = "adapter") -> Tensor:
        """Logits (B, F) of images (B, 1, H, W), floating point, normalised.

        While training, the frozen stages in front run without a graph (see `medres.models.prefix`).

        Args:
            image: or, with another `start`, the input of that stage, as `run_stages` gives it.
            start: the first stage to run.

        Raises:
            ConfigError: another shape, integers, or no such stage.
        """
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            if start == "adapter":
                self._check(image)
            if self.training or start != "adapter":
                return self._run_from(image, start)
        logits: Tensor = self.backbone(self.stem(image))
        return logits

    @torch.jit.unused
    def _run_from(self, features: Tensor, start: str) -> Tensor:
        return run_from(self, features, start)

    @torch.jit.unused
    def _check(self, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 1:
            raise ConfigError(
                f"GrayscaleResNet: expects images (B, 1, H, W), found {tuple(image.shape)}; give "
                "one gray channel: the stem makes three of it where the network needs them"
            )
        if not image.is_floating_point():
            raise ConfigError(
                f"GrayscaleResNet: expects normalised floating point images, found {image.dtype}; "
                "give what the model's own preprocessing returns"
            )

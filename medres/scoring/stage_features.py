"""What stages of a network give on the way to its logits, taken as the images pass."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from medres.models.ensemble import ResNetEnsemble
from medres.models.stages import STAGE_MODULES, Stage


@contextmanager
def captured(
    network: nn.Module, stages: Sequence[Stage]
) -> Generator[dict[Stage, Tensor], None, None]:
    """A dictionary that holds the stages' outputs, (B, C, h, w), after each forward pass.

    Args:
        network: a `GrayscaleResNet`, or an ensemble, of which the first member is looked at.
        stages: of the network.
    """
    looked_at = network.members[0] if isinstance(network, ResNetEnsemble) else network
    features: dict[Stage, Tensor] = {}

    def keep(stage: Stage) -> object:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            features[stage] = output.detach()

        return hook

    handles = [
        looked_at.get_submodule(STAGE_MODULES[stage][-1]).register_forward_hook(keep(stage))  # type: ignore[arg-type]
        for stage in stages
    ]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()

"""Bundles of others, in the form of MONAI's model zoo, that classify 2D images.

Read are `configs/inference.json` (or .yaml), `configs/metadata.json` and `models/model.pt`: the
network, the preprocessing, and of the postprocessing what makes probabilities of the output. The
images are read by the bundle's own chain, as it was trained, not by medres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from medres.bundle.parts import WEIGHTS_BYTES, part, read_part
from medres.bundle.zoo_chain import Chain, load_chain
from medres.bundle.zoo_config import ZooConfig
from medres.bundle.zoo_files import (
    CONFIGS,
    METADATA,
    digest_files,
    read_config,
    read_formats,
    trusted_part,
)
from medres.data.labels import LabelSchema
from medres.errors import BundleError, WeightsError
from medres.files import file_digest
from medres.models.state_file import read_state_file
from medres.training.precision import AutocastInferer, ComputePrecision

WEIGHTS: Final = "models/model.pt"
WRAPPERS: Final = ("model", "state_dict")
IGNORED: Final = ("AsDiscrete", "Save", "EnsureType", "ToTensor", "ToNumpy", "CastToType")
"""Postprocessing, by the start of its name, that leaves the probabilities as they are."""
Activation = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class ZooModel:
    """A bundle of others, ready to score.

    Attributes:
        labels: what the columns of its probabilities stand for. Two outputs of a softmax are one
            finding, the second.
        network: in evaluation mode, on the CPU.
        chain: from the path of an image to the network's input.
        activation: that makes probabilities of the network's output.
        input_shape: (C, H, W) that its metadata says of the network; a size left open is 1.
        weights_sha256: of `models/model.pt`.
        digest: SHA-256 over all files that its results depend on.
        title: its name and version.
        folder: where it was read from.
        trusted: whether its config and its scripts run as code.
    """

    labels: LabelSchema
    network: nn.Module
    chain: Chain
    activation: Activation
    input_shape: tuple[int, ...]
    weights_sha256: str
    digest: str
    title: str
    folder: Path
    trusted: bool = False

    @torch.inference_mode()
    def predict(
        self, images: Tensor, device: torch.device, precision: ComputePrecision = "fp32"
    ) -> Tensor:
        """Probabilities (B, F) float64 of network inputs, as `chain` gives them, B of one shape.

        Raises:
            BundleError: another number of outputs than its metadata says.
            Exception: whatever its network raises.
        """
        # By default CUDA rounds the inputs of fp32 convolutions to TF32's 10 bits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=precision != "fp32"):
            output = AutocastInferer(precision)(images.to(device), self.network.to(device))
        output = output.cpu().double()
        named = 2 if self.kind_is_second_of_two else len(self.labels.findings)
        if len(output) != len(images) or output[0].numel() != named:
            raise BundleError(
                f"{self.folder}: its network gives {(1, *output.shape[1:])} for one image, and its "
                f"metadata names {named} outputs; mend the metadata"
            )
        output = output.flatten(1)
        shown = output.sigmoid() if self.activation == "sigmoid" else output.softmax(dim=1)
        return shown[:, 1:] if self.kind_is_second_of_two else shown

    @property
    def kind_is_second_of_two(self) -> bool:
        """Whether a softmax over two outputs stands for one finding."""
        return self.activation == "softmax" and self.labels.kind == "binary"


def is_zoo_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle, and not one of medres."""
    ours = (folder / "configs" / "medres.json").exists()
    return not ours and any((folder / name).exists() for name in CONFIGS)


def load_zoo_bundle(folder: Path, *, trust: bool = False) -> ZooModel:
    """Read a bundle of others.

    Args:
        folder: of the bundle.
        trust: run its config and its scripts as code, as MONAI does.

    Raises:
        BundleError: a part is missing or damaged, needs what is not allowed without `trust`, or
            does not say how its output becomes probabilities.
    """
    name, config = read_config(folder)
    metadata = read_part(folder, METADATA)
    formats = read_formats(folder)
    activation = _activation(config, folder)
    weights = part(folder, WEIGHTS, WEIGHTS_BYTES)
    state = _read_weights(weights)
    network = trusted_part(folder, name, "network_def") if trust else _built(config, state)
    _load_weights(weights, network, state)
    return ZooModel(
        labels=_labels(formats.outputs, activation),
        network=network.eval(),
        chain=load_chain(folder, trust=trust),
        activation=activation,
        input_shape=formats.input_shape,
        weights_sha256=file_digest(weights),
        digest=digest_files(folder, [name, METADATA, WEIGHTS], scripts=trust),
        title=f"{metadata.get('name') or folder.name} {metadata.get('version', '')}".strip(),
        folder=folder,
        trusted=trust,
    )


def _activation(config: ZooConfig, folder: Path) -> Activation:
    """What the postprocessing makes probabilities with, read and not run."""
    steps = config.raw("postprocessing") or config.raw("post_transforms") or {}
    if isinstance(steps, dict):
        steps = steps.get("transforms", [steps] if steps else [])
    if isinstance(steps, str):  # "$@transforms" or "%transforms"
        steps = config.raw(steps.lstrip("$@% ")) or []
    discrete = False
    for step in steps if isinstance(steps, list) else []:
        target = str(step.get("_target_", "")).rpartition(".")[2] if isinstance(step, dict) else ""
        if target in ("Activationsd", "Activations", "ActivationsDict"):
            for activation in ("sigmoid", "softmax"):
                if step.get(activation) is True:
                    return "sigmoid" if activation == "sigmoid" else "softmax"
        if target.startswith("AsDiscrete"):
            argmax = step.get("argmax")
            discrete = argmax is True or (isinstance(argmax, list) and argmax[:1] == [True])
            break
        if not target.startswith(IGNORED):
            break
    if discrete:  # argmax of the raw output: the network was trained with a softmax
        return "softmax"
    raise BundleError(
        f"{folder}: its postprocessing does not say what makes probabilities of the output; it "
        "needs Activationsd with sigmoid or softmax, or AsDiscreted with argmax"
    )


def _labels(names: tuple[str, ...], activation: Activation) -> LabelSchema:
    if activation == "softmax" and len(names) > 2:
        return LabelSchema("multiclass", names, ("label",))
    if activation == "softmax" and len(names) == 2:
        return LabelSchema("binary", names[1:], ("label",))
    if len(names) == 1:
        return LabelSchema("binary", names, ("label",))
    return LabelSchema("multilabel", names, tuple(f"label_{name}" for name in names))


def _built(config: ZooConfig, state: Mapping[str, Tensor]) -> nn.Module:
    with torch.device("meta"):  # takes no memory, however large
        size = sum(t.numel() for t in _network(config).state_dict().values())
    held = sum(t.numel() for t in state.values())
    if size > held:
        raise BundleError(
            f"{config.name}: network_def has {size} numbers, and the weights have {held}; they "
            "are not those of this network"
        )
    return _network(config)


def _network(config: ZooConfig) -> nn.Module:
    network = config.build("network_def")
    if not isinstance(network, nn.Module):
        raise BundleError(
            f"{config.name}: network_def is {type(network).__name__}; a network is expected"
        )
    return network


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return _unwrapped(read_state_file(path))
    except WeightsError as error:
        raise BundleError(f"{path}: not a state dict: {error}") from error


def _load_weights(path: Path, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise BundleError(
            f"{path}: the weights are not those of network_def ({len(lines) - 1} differences, the "
            f"last: {lines[-1].strip()[:200]}); give the bundle's own"
        ) from error


def _unwrapped(content: Any) -> dict[str, Tensor]:
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise WeightsError("expects tensors by name, alone or under model or state_dict")
    return content

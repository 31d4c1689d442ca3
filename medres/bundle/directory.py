"""Write and read a model directory in MONAI bundle layout.

::

    model/
        LICENSE
        configs/metadata.json    what MONAI's tools read
        configs/inference.json   the same model as a MONAI workflow
        configs/medres.json      what medres reads: `medres.bundle.record`
        configs/guard.json       tells other images from the model's own: `medres.guard.storage`
        configs/seen.json        digests of the cases it was fitted on: `medres.bundle.seen`
        docs/README.md           the model card
        models/guard.pt          tensors of the guard
        models/model.pt          a plain state dict

Reading one evaluates no configuration and unpickles tensors alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medres.bundle.card import model_card
from medres.bundle.monai_configs import inference_config, metadata_config
from medres.bundle.record import ModelRecord
from medres.bundle.seen import SeenCases
from medres.errors import BundleError, ConfigError
from medres.files import file_digest, read_json, write_json, write_text, written_whole
from medres.guard.guard import Guard
from medres.guard.storage import read_guard
from medres.models.ensemble import ResNetEnsemble
from medres.models.resnet import GrayscaleResNet

CARD_NAME = "docs/README.md"
LICENSE = """\
The configuration files of this directory were written by medres and are licensed under the Apache
License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0). The weights are under whatever
terms their owner, the one who trained them, states; replace this file to state them.
"""


@dataclass(frozen=True)
class Model:
    """A trained model, ready to score.

    Attributes:
        record: everything but the weights.
        network: in evaluation mode, on the CPU.
        seen: the cases it was fitted on.
        folder: where it was read from.
        guard: against images of another kind; None where the model has none.
    """

    record: ModelRecord
    network: GrayscaleResNet | ResNetEnsemble
    seen: SeenCases
    folder: Path
    guard: Guard | None = None


def write_weights(folder: Path, state: Mapping[str, Tensor]) -> str:
    """Write `models/model.pt`; returns its SHA-256 for the record."""
    path = folder / "models" / "model.pt"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # To a stream: given a path, torch writes its name into the file, and equal weights differ.
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        torch.save(tensors, stream)
    return file_digest(path)


def write_bundle(folder: Path, record: ModelRecord, seen: SeenCases) -> None:
    """Write everything around the weights that `write_weights` has put there, and the guard.

    The record comes last: a directory without it is not a model.
    """
    write_json(folder / "configs" / "metadata.json", metadata_config(record))
    write_json(folder / "configs" / "inference.json", inference_config(record))
    write_json(folder / "configs" / "seen.json", seen.as_json())
    write_text(folder / CARD_NAME, model_card(record))
    write_text(folder / "LICENSE", LICENSE)
    write_json(folder / "configs" / "medres.json", record.as_json())


def load_model(folder: Path) -> Model:
    """Read a model directory.

    Raises:
        BundleError: no model directory; a part missing, damaged or changed; weights of another
            architecture than the record names.
        PreprocessingMismatchError: the preprocessing does not match its digest.
    """
    record = ModelRecord.from_json(_read(folder, "configs/medres.json"))
    seen = SeenCases.from_json(_read(folder, "configs/seen.json"))
    network = build_network(record)
    network.load_state_dict(_read_weights(folder / "models" / "model.pt", record, network))
    guard = read_guard(folder, record.weights_sha256)
    return Model(record, network.eval(), seen, folder, guard)


def build_network(record: ModelRecord) -> GrayscaleResNet | ResNetEnsemble:
    """The network of a record, with random weights.

    Raises:
        BundleError: an architecture that this medres does not build.
    """
    try:
        if not record.members:
            return GrayscaleResNet(**record.network.as_arguments())
        members = [member.as_arguments() for member in record.members]
        return ResNetEnsemble(members, record.kind)
    except ConfigError as error:
        raise BundleError(
            f"the model's record names a network that this medres does not build ({error}); use "
            "the medres it was trained with, or restore the record"
        ) from error


def _read(folder: Path, name: str) -> Mapping[str, object]:
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such model directory; give a run's `model` folder")
    path = folder / name
    try:
        values = read_json(path)
    except OSError as error:
        raise BundleError(
            f"{folder}: lacks {name}, so it is no model that medres has finished writing; "
            "give a run's `model` folder"
        ) from error
    except ValueError as error:
        raise BundleError(f"{path}: not JSON; restore the file or train again") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path}: expects a JSON object; restore the file or train again")
    return values


def _read_weights(
    path: Path, record: ModelRecord, network: GrayscaleResNet | ResNetEnsemble
) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise BundleError(f"{path}: missing; restore the file or train again")
    found = file_digest(path)
    if found != record.weights_sha256:
        raise BundleError(
            f"{path}: SHA-256 {found[:12]}… is not the record's {record.weights_sha256[:12]}…; "
            "the weights were changed after training: restore the file or train again"
        )
    try:
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what zip, pickle and the file system raise
        raise BundleError(f"{path}: not a state dict; restore the file or train again") from error
    _check_architecture(path, state, network, record)
    return state


def _check_architecture(
    path: Path, state: Mapping[str, Tensor], network: nn.Module, record: ModelRecord
) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differing = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if differing:
        name = differing[0]
        raise BundleError(
            f"{path}: {len(differing)} tensors are not those of a ResNet-{record.network.depth} "
            f"with stem {record.network.stem!r} and {record.network.num_outputs} outputs; the "
            f"first is {name}: expected {expected.get(name, 'none')}, found "
            f"{found.get(name, 'none')}; the model is of another architecture than its record"
        )

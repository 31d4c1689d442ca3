"""Write and read a model directory in MONAI bundle layout.

::

    model/
        LICENSE
        configs/metadata.json    what MONAI's tools read, after `metadata_schema.json` beside it
        configs/inference.json   the same model as a MONAI workflow; likewise evaluate.json and
                                 train.json (`medres.bundle.workflows`), with logging.conf
        configs/medres.json      what medres reads: `medres.bundle.record`
        configs/guard.json       tells other images from the model's own: `medres.guard.storage`;
                                 its tensors are in guard.pt
        configs/seen.json        digests of the cases it was fitted on: `medres.bundle.seen`
        configs/digests.json     of every file: `medres.bundle.digests`
        docs/README.md           the model card
        models/model.pt          a plain state dict

Reading one evaluates no configuration, unpickles tensors alone and follows no link out of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medres.bundle.card import model_card
from medres.bundle.digests import DIGESTS, write_digests
from medres.bundle.metadata import metadata_config, metadata_schema
from medres.bundle.parts import WEIGHTS_BYTES, part, read_part
from medres.bundle.record import ModelRecord
from medres.bundle.seen import SeenCases
from medres.bundle.workflows import LOGGING, evaluate_config, inference_config, train_config
from medres.errors import BundleError, ConfigError, WeightsError
from medres.files import file_digest, format_json, write_json, write_text, written_whole
from medres.guard import storage
from medres.guard.guard import Guard
from medres.models.ensemble import ResNetEnsemble
from medres.models.resnet import GrayscaleResNet
from medres.models.state_file import read_state_file

RECORD, SEEN, WEIGHTS = "configs/medres.json", "configs/seen.json", "models/model.pt"
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
    path = folder / WEIGHTS
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # To a stream: given a path, torch writes its name into the file, and equal weights differ.
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        torch.save(tensors, stream)
    return file_digest(path)


def write_bundle(folder: Path, record: ModelRecord, seen: SeenCases) -> None:
    """Write everything around the weights that `write_weights` has put there, and the guard.

    The record comes after all that it describes: a directory without it is not a model.
    """
    (folder / DIGESTS).unlink(missing_ok=True)
    for name, text in generated_files(record).items():
        write_text(folder / name, text)
    write_json(folder / SEEN, seen.as_json())
    write_json(folder / RECORD, record.as_json())
    write_digests(folder)


def generated_files(record: ModelRecord) -> dict[str, str]:
    """Every file that follows from the record alone, by its name in the model."""
    configs = {
        "metadata": metadata_config(record),
        "inference": inference_config(record),
        "evaluate": evaluate_config(record),
        "train": train_config(record),
    }
    return {
        **{f"configs/{name}.json": format_json(config) for name, config in configs.items()},
        "configs/metadata_schema.json": metadata_schema(),
        "configs/logging.conf": LOGGING,
        CARD_NAME: model_card(record),
        "LICENSE": LICENSE,
    }


def read_record(folder: str | Path) -> ModelRecord:
    """The record of a model directory; MONAI's configs take labels and thresholds from it.

    Raises:
        BundleError: as `load_model`.
    """
    return ModelRecord.from_json(read_part(Path(folder), RECORD))


def load_model(folder: Path) -> Model:
    """Read a model directory.

    Raises:
        BundleError: no model directory; a part missing, damaged, changed or a link out of it;
            weights of another architecture than the record names.
        PreprocessingMismatchError: the preprocessing does not match its digest.

    Warns:
        UserWarning: the record has parts that this medres does not know.
    """
    record = read_record(folder)
    if record.unknown:
        warnings.warn(
            f"{folder}: another version of medres has written {', '.join(sorted(record.unknown))} "
            "into this model; this one does not know them and goes on without",
            stacklevel=2,
        )
    seen = _seen(folder)
    state = _read_weights(folder, record)
    with torch.device("meta"):  # a record's network may be large; what is built is the file's size
        _check_architecture(folder / WEIGHTS, state, build_network(record), record)
    network = build_network(record)
    network.load_state_dict(state)
    return Model(record, network.eval(), seen, folder, _guard(folder, record))


def _guard(folder: Path, record: ModelRecord) -> Guard | None:
    """The guard, whose files are opened by another station: so they are looked at before."""
    if not (folder / storage.RECORD).exists():
        return None
    for name in (storage.RECORD, storage.TENSORS):
        if (folder / name).exists():
            part(folder, name)
    return storage.read_guard(folder, record.weights_sha256)


def _seen(folder: Path) -> SeenCases:
    try:
        return SeenCases.from_json(read_part(folder, SEEN))
    except (KeyError, TypeError) as error:
        raise BundleError(
            f"{folder / SEEN}: expects lists of patients and pixels; restore the file"
        ) from error


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


def _read_weights(folder: Path, record: ModelRecord) -> dict[str, Tensor]:
    path = part(folder, WEIGHTS, WEIGHTS_BYTES)
    found = file_digest(path)
    if found != record.weights_sha256:
        raise BundleError(
            f"{path}: SHA-256 {found[:12]}… is not the record's {str(record.weights_sha256)[:12]}…;"
            " the weights were changed after training: restore the file or train again"
        )
    try:
        state = read_state_file(path)
    except WeightsError as error:
        raise BundleError(f"not a state dict: {error}; restore the file or train again") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise BundleError(
            f"{path}: not a state dict, which holds tensors by name and nothing else; restore the "
            "file or train again"
        )
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

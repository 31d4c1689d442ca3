"""Bundles of others, in the form of MONAI's model zoo, that classify 2D images.

Read are `configs/inference.json` (or .yaml), `configs/metadata.json` and `models/model.pt`: the
network, the preprocessing, and of the postprocessing what makes probabilities of the output. The
images are read by the bundle's own chain, as it was trained, not by medres.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
import yaml
from monai.data.image_reader import NumpyReader
from monai.transforms import Compose, LoadImage, LoadImaged, MapTransform
from torch import Tensor, nn

from medres.bundle.parts import WEIGHTS_BYTES, part, read_part
from medres.bundle.zoo_config import ZooConfig
from medres.data.labels import LabelSchema
from medres.errors import BundleError, RejectReason, UnreadableImageError, WeightsError
from medres.files import file_digest
from medres.imaging.read import sniff_format
from medres.models.state_file import read_state_file

CONFIGS: Final = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
WEIGHTS: Final = "models/model.pt"
WRAPPERS: Final = ("model", "state_dict")
IGNORED: Final = ("AsDiscrete", "Save", "EnsureType", "ToTensor", "ToNumpy", "CastToType")
"""Postprocessing, by the start of its name, that leaves the probabilities as they are."""
READ: Final = ("dicom", "raster", "nifti")
Activation = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class ZooModel:
    """A bundle of others, ready to score.

    Attributes:
        labels: what the columns of its probabilities stand for. Two outputs of a softmax are one
            finding, the second.
        network: in evaluation mode, on the CPU.
        chain: from an item with the address of an image to the network's input.
        image_key: of the item.
        activation: that makes probabilities of the network's output.
        weights_sha256: of `models/model.pt`.
        title: its name and version.
        folder: where it was read from.
    """

    labels: LabelSchema
    network: nn.Module
    chain: Compose
    image_key: str
    activation: Activation
    weights_sha256: str
    title: str
    folder: Path

    @torch.inference_mode()
    def score(self, address: str, device: torch.device) -> list[float]:
        """Probabilities (F,) of one image.

        Raises:
            UnreadableImageError: no image, or one that the bundle's chain does not take.
        """
        check_address(address)
        try:
            image = self.chain({self.image_key: address})[self.image_key]
            batch = torch.as_tensor(image)[None].to(device, torch.float32)
            output = self.network.to(device)(batch).double().cpu()
        except Exception as error:  # the bundle's own chain, of which nothing is known
            raise UnreadableImageError(
                RejectReason.DECODE_FAILED,
                address,
                f"the bundle's own chain does not take it ({type(_root(error)).__name__})",
            ) from None
        shown = output.sigmoid() if self.activation == "sigmoid" else output.softmax(dim=1)
        if shown.shape[0] != 1 or shown[0].numel() < len(self.labels.findings):
            raise BundleError(
                f"{self.folder}: its network gives {tuple(output.shape)} for one image, and its "
                f"metadata names {len(self.labels.findings)} findings; mend the metadata"
            )
        columns = shown[0, 1:2] if self.kind_is_second_of_two else shown[0]
        return [float(value) for value in columns]

    @property
    def kind_is_second_of_two(self) -> bool:
        """Whether a softmax over two outputs stands for one finding."""
        return self.activation == "softmax" and self.labels.kind == "binary"


def check_address(address: str) -> None:
    """Refuse what MONAI's readers would unpickle.

    Raises:
        UnreadableImageError: no file, or neither DICOM, NIfTI nor a picture.
    """
    path = Path(address)
    if sniff_format(path) not in READ or path.suffix.lower() in (".npy", ".npz", ".pkl"):
        raise UnreadableImageError(
            RejectReason.UNKNOWN_FORMAT,
            address,
            "is neither DICOM, NIfTI nor a picture; a bundle's own chain reads no other files here",
        )


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
    name = next((n for n in CONFIGS if (folder / n).exists()), CONFIGS[0])
    config = ZooConfig(_read_config(folder, name), str(folder / name))
    metadata = read_part(folder, "configs/metadata.json")
    image_key, names = _formats(folder, metadata)
    activation = _activation(config, folder)
    weights = part(folder, WEIGHTS, WEIGHTS_BYTES)
    state = _read_weights(weights)
    network, chain = _trusted(folder, name) if trust else _built(config, state)
    _load_weights(weights, network, state)
    return ZooModel(
        labels=_labels(names, activation),
        network=network.eval(),
        chain=chain,
        image_key=image_key,
        activation=activation,
        weights_sha256=file_digest(weights),
        title=f"{metadata.get('name') or folder.name} {metadata.get('version', '')}".strip(),
        folder=folder,
    )


def _read_config(folder: Path, name: str) -> Mapping[str, Any]:
    if name.endswith(".json"):
        return read_part(folder, name)
    path = part(folder, name)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not YAML; restore the file") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path}: expects a mapping; restore the file")
    return values


def _formats(folder: Path, metadata: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Key of the image, and the names of the outputs."""
    try:
        formats = metadata["network_data_format"]
        (image_key, image), *_ = formats["inputs"].items()
        output, *_ = formats["outputs"].values()
        places = range(int(output["num_channels"]))
        named = {str(k): str(v) for k, v in (output.get("channel_def") or {}).items()}
        dimensions = len(image["spatial_shape"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"{folder}/configs/metadata.json: network_data_format lacks {error}; it needs inputs "
            "with spatial_shape and outputs with num_channels"
        ) from error
    if dimensions != 2 or not 1 <= len(places) <= 1000:
        raise BundleError(
            f"{folder}: takes images of {dimensions} dimensions and gives {len(places)} outputs; "
            "medres judges bundles that classify 2D images"
        )
    return str(image_key), tuple(named.get(str(k), f"output {k}") for k in places)


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


def _built(config: ZooConfig, state: Mapping[str, Tensor]) -> tuple[nn.Module, Compose]:
    with torch.device("meta"):  # takes no memory, however large
        size = sum(t.numel() for t in _network(config).state_dict().values())
    held = sum(t.numel() for t in state.values())
    if size > held:
        raise BundleError(
            f"{config.name}: network_def has {size} numbers, and the weights have {held}; they "
            "are not those of this network"
        )
    network, chain = _network(config), config.build("preprocessing")
    if not isinstance(chain, Compose):
        raise BundleError(
            f"{config.name}: preprocessing is {type(chain).__name__}; a Compose is expected"
        )
    for step in chain.transforms:
        if isinstance(step, MapTransform):
            step.allow_missing_keys = True  # an image to be scored has no label
        loader = step._loader if isinstance(step, LoadImaged) else step
        if isinstance(loader, LoadImage):  # it tries reader after reader, and this one unpickles
            loader.readers = [r for r in loader.readers if not isinstance(r, NumpyReader)]
    return network, chain


def _network(config: ZooConfig) -> nn.Module:
    network = config.build("network_def")
    if not isinstance(network, nn.Module):
        raise BundleError(
            f"{config.name}: network_def is {type(network).__name__}; a network is expected"
        )
    return network


def _trusted(folder: Path, name: str) -> tuple[nn.Module, Compose]:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(folder / name))
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    parser["bundle_root"] = str(folder)
    sys.path.insert(1, str(folder))
    try:
        network = parser.get_parsed_content("network_def")
        chain = parser.get_parsed_content("preprocessing")
    except Exception as error:  # whatever the bundle's own code raises
        raise BundleError(
            f"{folder / name}: MONAI does not build its network and preprocessing ({error})"
        ) from error
    finally:
        sys.path.remove(str(folder))
    return network, chain


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


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error

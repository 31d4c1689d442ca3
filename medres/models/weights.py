"""Initial weights: torchvision's ImageNet ones, a file, or none.

A file is read as tensors only (`medres.models.state_file`). RGB weights enter every stem as its
`stem_init` says. Weights that were trained on gray images keep their function: conv1 is converted
to the network's stem, or refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from medres.errors import WeightsError
from medres.files import file_digest
from medres.models.fold import KERNELS, has_colour_map, input_tensors, take_input_layer
from medres.models.resnet import GrayscaleResNet
from medres.models.state_file import read_state_file

# V1 and not DEFAULT: DEFAULT is V1 for 18 and 34 but V2 for 50, 101 and 152, with another
# preprocessing (resize 232) and a training recipe whose features transfer differently. V1 is one
# recipe over the whole family (top-1 69.8, 73.3, 76.1, 77.4, 78.3), so that depths compare.
IMAGENET_MEMBER = "IMAGENET1K_V1"

WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
PREFIX = re.compile(r"^(?:(?:module|_orig_mod|model|network|backbone|encoder)\.)+")
# As torch.hub writes it. Eight digits without a letter are more likely a date.
DIGEST_IN_NAME = re.compile(r"-(?=[0-9a-f]*[a-f])([0-9a-f]{8,64})\.")
BLOCKS: Mapping[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
HEAD = ("fc.weight", "fc.bias")
SHOWN = 5


@dataclass(frozen=True)
class WeightsRecord:
    """What a network started from.

    Attributes:
        source: imagenet, none, or the file's name without its folder.
        description: one line for people.
        trained: False for random weights.
        sha256: of the file; "" for random weights.
        left_out: tensors that keep their fresh values, such as a head of another size.
        notes: what a reader of the results has to know.
    """

    source: str
    description: str
    trained: bool
    sha256: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def load_weights(network: GrayscaleResNet, weights: str | Path) -> WeightsRecord:
    """Give a network its initial weights, in place.

    Args:
        network: its stem decides how conv1 is converted; its head stays fresh where the file's
            has another size or is absent.
        weights: imagenet, none, or a file with a state dict: torchvision's, timm's, or a
            checkpoint of medres; alone or under `state_dict`, `model` or `network`; names with or
            without `module.`, `model.`, `backbone.`, `encoder.` or `_orig_mod.` before them.

    Raises:
        WeightsError: the weights cannot be had, fail the digest in their name, or do not fit.

    Warns:
        UserWarning: the stem starts without the gain that keeps the scale.
    """
    if str(weights) == "none":
        notes = _stem_notes(network)
        return WeightsRecord("none", "random weights", trained=False, notes=notes)
    if str(weights) == "imagenet":
        path = _imagenet_file(network.depth)
        description = f"torchvision resnet{network.depth} {IMAGENET_MEMBER} ({path.name})"
        source = "imagenet"
    else:
        path = Path(weights)
        source, description = path.name, f"weights from {path.name}"
    digest = _checked_digest(path)
    loaded = load_state(network, read_state_file(path), path.name)
    notes = loaded.notes
    if loaded.left_out and source != "imagenet":  # whose thousand classes nobody expects to keep
        notes += (f"the head is new, since {path.name} has none of {network.num_outputs} outputs",)
    return replace(loaded, source=source, description=description, sha256=digest, notes=notes)


def load_state(network: GrayscaleResNet, content: Any, name: str = "state dict") -> WeightsRecord:
    """The same from memory: a state dict, alone or wrapped as a file may hold it.

    Args:
        network: changed in place, or not at all where the weights do not fit.
        content: tensors by name, as `load_weights` accepts them in a file.
        name: of the weights, for messages.

    Returns:
        What was loaded; `left_out` names the head's tensors where they stay fresh.

    Raises:
        WeightsError: the weights do not fit.

    Warns:
        UserWarning: the stem starts without the gain that keeps the scale.
    """
    state = _plain_names(_unwrapped(content), name)
    own = {PREFIX.sub("", key): key for key in network.state_dict()}
    expected = {short: network.state_dict()[key] for short, key in own.items()}
    left_out = _head_left_out(state, expected)
    if left_out:
        state = {n: tensor for n, tensor in state.items() if not n.startswith("fc.")}
        state |= {n: expected[n] for n in left_out}
    for short, tensor in expected.items():  # absent from files written before PyTorch 0.4.1
        if short.endswith("num_batches_tracked"):
            state.setdefault(short, tensor)
    rgb = is_rgb(state)
    state = _fit_stem(network, state, name)
    _check_fit(network, state, expected, name)
    network.load_state_dict({own[short]: tensor for short, tensor in state.items()})
    notes = _stem_notes(network) if rgb else ()
    return WeightsRecord(name, f"weights from {name}", True, left_out=left_out, notes=notes)


def _imagenet_file(depth: int) -> Path:
    """The pinned member's file in torch.hub's folder, downloaded where it is not there yet."""
    member = torchvision.models.get_model_weights(f"resnet{depth}")[IMAGENET_MEMBER]
    url: str = member.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.exists():
        try:
            torch.hub.load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError, HTTPException) as error:
            found = DIGEST_IN_NAME.search(path.name)
            raise WeightsError(
                f"weights: {path.name} could not be downloaded ({type(error).__name__}: {error}); "
                f"fetch {url} on a machine with internet (its SHA-256 begins with "
                f"{found.group(1) if found else ''}), then give the file: "
                f"--model.weights /path/{path.name}, or put it into {path.parent}; "
                "--model.weights none trains from random weights"
            ) from error
    return path


def _checked_digest(path: Path) -> str:
    """SHA-256 of the file, compared with the part that its name carries."""
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such weights file; give imagenet, none, or a file with a state dict"
        )
    digest = file_digest(path)
    named = DIGEST_IN_NAME.search(path.name)
    if named and not digest.startswith(named.group(1)):
        raise WeightsError(
            f"{path}: its name says that the SHA-256 begins with {named.group(1)}, found "
            f"{digest[: len(named.group(1))]}; the file is damaged or not the one of that name: "
            "remove it and fetch it again"
        )
    return digest


def _plain_names(content: Mapping[Any, Any], name: str) -> dict[str, Tensor]:
    """The tensors under the names that torchvision gives them."""
    state: dict[str, Tensor] = {}
    for key, tensor in content.items():
        if isinstance(tensor, Tensor):
            short = PREFIX.sub("", str(key))
            if short in state:
                raise WeightsError(
                    f"{name}: holds {short} twice, under different prefixes; give a file with "
                    "one network"
                )
            state[short] = tensor
    if not state:
        raise WeightsError(
            f"{name}: holds no state dict; give one, alone or under one of {', '.join(WRAPPERS)}"
        )
    return state


def _unwrapped(content: Any) -> Mapping[Any, Any]:
    """The innermost state dict of a checkpoint; empty where there is no mapping at all."""
    while isinstance(content, Mapping):
        inner = [content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            return content
        content = inner[0]
    return {}


def _head_left_out(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The head's tensors, where the file has no head, or one of other outputs or more layers.

    One that takes another number of features is another network's, for `_check_fit` to refuse.
    """
    weight, bias = (state.get(name) for name in HEAD)
    if weight is not None and weight.shape[1:] != expected[HEAD[0]].shape[1:]:
        return ()
    same = weight is not None and weight.shape == expected[HEAD[0]].shape and bias is not None
    return () if same else HEAD


def is_rgb(state: Mapping[str, Tensor]) -> bool:
    """Whether conv1 takes three colours as they are, by torchvision's names."""
    kernels = state.get(KERNELS)
    plain = kernels is not None and kernels.ndim == 4 and kernels.shape[1] == 3
    return plain and not has_colour_map(state)


def _fit_stem(network: GrayscaleResNet, state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Bring conv1 and stem to the network's own, in float64, for one rounding at the end.

    RGB weights start as the network's `stem_init` says; others keep their function.
    """
    start = network.stem_start
    if is_rgb(state):
        stem = {f"stem.{n}": tensor for n, tensor in start.tensors().items()}
        return {**state, KERNELS: start.kernels(state[KERNELS]), **stem}
    kernels = state.get(KERNELS)
    if kernels is None or kernels.ndim != 4 or kernels.shape[1] not in (1, 2, 3):
        return state
    if kernels.shape[1] == 1 and start.init == "imagenet":
        raise WeightsError(
            f"{name}: its conv1 takes one gray channel, which ImageNet's normalisation of three "
            "colours does not fit; leave model.stem_init at auto"
        )
    state = dict(state)
    layer = take_input_layer(state)
    try:
        return {**state, **input_tensors(layer, start)}
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from error


def _stem_notes(network: GrayscaleResNet) -> tuple[str, ...]:
    """What to know of a stem that does not keep the scale; warned about too."""
    start = network.stem_start
    if start.reference != "none":
        return ()
    better = {"bare_mean": "sum", "bare_luma": "luma", "bare_third": "third"}[start.init]
    note = (
        f"stem {start.stem} with stem_init {start.init} shows conv1 a third of the image's "
        "contrast: with frozen batch-norm the first logits are off by half of their size or more, "
        "and in train mode conv1 learns three (Adam) to nine times (SGD) faster; stem_init "
        f"{better} keeps the scale"
    )
    warnings.warn(note, stacklevel=3)
    return (note,)


def _check_fit(
    network: GrayscaleResNet,
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    name: str,
) -> None:
    """Refuse weights of another network, saying which tensors differ.

    Raises:
        WeightsError: missing, unexpected or differently shaped tensors, or values that are not
            finite.
    """
    shapes = [
        f"{n} expected {tuple(expected[n].shape)}, found {tuple(state[n].shape)}"
        for n in expected
        if n in state and state[n].shape != expected[n].shape
    ]
    missing = [f"{n} {tuple(expected[n].shape)}" for n in expected if n not in state]
    unexpected = [f"{n} {tuple(state[n].shape)}" for n in state if n not in expected]
    if shapes or missing or unexpected:
        raise WeightsError(
            f"{name}: does not fit a resnet{network.depth} with stem {network.stem_start.stem!r}"
            f"{_likely_network(network, state)}"
            f"{_some('other shapes', shapes)}{_some('missing', missing)}"
            f"{_some('unexpected', unexpected)}"
        )
    broken = [n for n, tensor in state.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise WeightsError(
            f"{name}: holds values that are not finite{_some('in', broken)}; give weights of a "
            "training that did not diverge"
        )


def _likely_network(network: GrayscaleResNet, state: Mapping[str, Tensor]) -> str:
    """A hint for the case that the file is of another depth."""
    blocks = tuple(
        sum(n.startswith(f"layer{i}.") and n.endswith(".conv1.weight") for n in state)
        for i in range(1, 5)
    )
    found = BLOCKS.get(("layer1.0.conv3.weight" in state, blocks))
    if found is None:
        return "; give weights of that network"
    if found == f"resnet{network.depth}":
        return f"; this looks like a variant of {found}, such as a wide one: give the plain one"
    return (
        f"; this looks like a {found}, the config asks for resnet{network.depth}: set "
        f"model.depth to {found.removeprefix('resnet')}, or give other weights"
    )


def _some(title: str, names: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"\n  {title}: {', '.join(names[:SHOWN])}{more}"

"""The files of a bundle of others: its config, its metadata, and a digest over them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from medres.bundle.parts import part, read_part
from medres.bundle.zoo_config import LARGEST_NUMBER, ZooConfig
from medres.contained import same_search_path
from medres.errors import BundleError
from medres.files import file_digest

CONFIGS: Final = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
METADATA: Final = "configs/metadata.json"


@dataclass(frozen=True)
class Formats:
    """What a bundle's metadata says of its network.

    Attributes:
        image_key: of the image among the inputs.
        input_shape: (C, H, W); a size that is left open, or no size at all, is 1.
        outputs: their names.
    """

    image_key: str
    input_shape: tuple[int, ...]
    outputs: tuple[str, ...]


def read_config(folder: Path) -> tuple[str, ZooConfig]:
    """Name of the config within the bundle, and what it holds.

    Raises:
        BundleError: none, or a damaged one.
    """
    name = next((n for n in CONFIGS if (folder / n).exists()), CONFIGS[0])
    return name, ZooConfig(_read_values(folder, name), str(folder / name))


def _read_values(folder: Path, name: str) -> Mapping[str, Any]:
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


def read_formats(folder: Path) -> Formats:
    """What the metadata says of the network.

    Raises:
        BundleError: metadata of something else than a classifier of 2D images.
    """
    metadata = read_part(folder, METADATA)
    try:
        formats = metadata["network_data_format"]
        (image_key, image), *_ = formats["inputs"].items()
        output, *_ = formats["outputs"].values()
        places = range(int(output["num_channels"]))
        named = {str(k): str(v) for k, v in (output.get("channel_def") or {}).items()}
        shape = [image.get("num_channels", 1), *image["spatial_shape"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"{folder}/configs/metadata.json: network_data_format lacks {error}; it needs inputs "
            "with spatial_shape and outputs with num_channels"
        ) from error
    if len(shape) != 3 or not 1 <= len(places) <= 1000:
        raise BundleError(
            f"{folder}: takes images of {len(shape) - 1} dimensions and gives {len(places)} "
            "outputs; medres judges bundles that classify 2D images"
        )
    return Formats(
        str(image_key),
        tuple(s if isinstance(s, int) and 0 < s <= LARGEST_NUMBER else 1 for s in shape),
        tuple(named.get(str(k), f"output {k}") for k in places),
    )


def trusted_part(folder: Path, name: str, key: str) -> Any:
    """What MONAI's own parser builds of a key of the config; it runs the config as code.

    Raises:
        BundleError: it builds nothing.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(folder / name))
    parser.read_meta(str(folder / METADATA))
    parser["bundle_root"] = str(folder)
    with same_search_path():
        sys.path.insert(1, str(folder))
        try:
            return parser.get_parsed_content(key)
        except Exception as error:  # whatever the bundle's own code raises
            raise BundleError(
                f"{folder / name}: MONAI does not build its {key} ({error})"
            ) from error


def digest_files(folder: Path, names: Sequence[str], *, scripts: bool = False) -> str:
    """SHA-256 over files of a bundle, by name and content; over its Python files too, if asked."""
    code = [p.relative_to(folder).as_posix() for p in folder.rglob("*.py")] if scripts else []
    lines = [f"{name} {file_digest(folder / name)}" for name in sorted({*names, *code})]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

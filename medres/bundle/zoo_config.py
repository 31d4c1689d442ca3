"""Build parts of a bundle's config that others have written, without running any of it as code.

MONAI's own parser calls whatever `_target_` names and evaluates whatever starts with `$`. Here
`_target_` names a class of MONAI's transforms or networks, of torch's layers or of medres' parts,
and nothing else. Of expressions, a reference (`$@name`) and a few constants (`$torch.float32`) are
looked up; every other one is refused, where it is needed.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from monai.data.image_reader import ImageReader
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import nn

from medres.errors import BundleError

PREFIXES: Final = (
    *("monai.transforms.", "monai.networks.nets.", "monai.inferers."),
    *("torch.nn.", "medres.transforms.", "medres.models."),
)
SHORT_NAMES: Final = ("monai.transforms", "monai.networks.nets", "monai.inferers")
"""Where MONAI finds a class that is named without its module."""
KINDS: Final = (Transform, nn.Module, Inferer, ImageReader)
BARRED: Final = re.compile(r"(Rand)?(Save|Write|Lambda|TorchIO|TorchVision|CuCIM|DataStats)(?!FC)")
"""Transforms that write files, call functions by name, or print."""
READERS: Final = frozenset({"ITKReader", "NibabelReader", "PILReader", "PydicomReader"})
"""Of `LoadImaged`, by name. MONAI takes any class or function there; its NumpyReader unpickles."""
CONSTANTS: Final[Mapping[str, Any]] = {
    "torch.float32": torch.float32,
    "torch.float": torch.float32,
    "torch.float64": torch.float64,
    "torch.long": torch.long,
    "torch.int64": torch.int64,
    "torch.uint8": torch.uint8,
    "np.float32": "float32",
    "numpy.float32": "float32",
    "np.uint8": "uint8",
    "True": True,
    "False": False,
    "None": None,
    "monai.utils.CommonKeys.IMAGE": "image",
    "monai.utils.CommonKeys.LABEL": "label",
    "monai.utils.CommonKeys.PRED": "pred",
}
REFERENCE: Final = re.compile(r"@\w+(?:(?:::|#)\w+)*")
LARGEST_NUMBER: Final = 2**16
"""Of an argument: channels, layers, pixels. Keeps a config from asking for all memory there is."""
MOST_NODES: Final = 10_000
IGNORED: Final = ("_target_", "_desc_", "_disabled_")


@dataclass
class ZooConfig:
    """One config, whose parts are built on demand.

    Args:
        values: as the file holds them.
        name: of the file, for messages.
    """

    values: Mapping[str, Any]
    name: str
    _nodes: int = field(default=0, init=False)

    def raw(self, key: str) -> Any:
        """What stands under a key such as `a::b` or `a#0`; None where nothing does."""
        value: Any = self.values
        for step in re.split("::|#", key):
            try:
                value = value[int(step)] if isinstance(value, list) else value[step]
            except (KeyError, IndexError, TypeError, ValueError):
                return None
        return value

    def build(self, key: str) -> Any:
        """The object that a key describes.

        Raises:
            BundleError: no such key, or it needs what is not allowed.
        """
        return self._build(f"@{key}", key, ())

    def _build(self, value: Any, where: str, within: tuple[str, ...]) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES or len(within) > 50:
            raise BundleError(f"{self.name}: {where}: too large or too deep; give a plain config")
        if isinstance(value, str):
            return self._text(value, where, within)
        if isinstance(value, list):
            return [self._build(v, f"{where}::{k}", within) for k, v in enumerate(value)]
        if isinstance(value, dict):
            if "_target_" in value:
                return self._component(value, where, within)
            return {k: self._build(v, f"{where}::{k}", within) for k, v in value.items()}
        if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
            raise BundleError(
                f"{self.name}: {where}: {value} is beyond {LARGEST_NUMBER}, which no layer or "
                "image needs; --trust takes it"
            )
        return value

    def _text(self, text: str, where: str, within: tuple[str, ...]) -> Any:
        expression = text[1:].strip() if text.startswith("$") else None
        if expression is not None and expression in CONSTANTS:
            return CONSTANTS[expression]
        reference = expression if expression is not None else text
        if expression is None and text.startswith("%"):
            reference = f"@{text[1:]}"
        if REFERENCE.fullmatch(reference):
            return self._reference(reference[1:], where, within)
        if expression is not None or text.startswith("%"):
            raise BundleError(
                f"{self.name}: {where}: {text[:80]!r} is an expression, and expressions are not "
                "evaluated; --trust runs the bundle's config as code"
            )
        return text

    def _reference(self, key: str, where: str, within: tuple[str, ...]) -> Any:
        key = key.replace("#", "::")
        if key in within:
            raise BundleError(f"{self.name}: {where}: {key} refers to itself; mend the config")
        value = self.raw(key)
        if value is None:
            raise BundleError(f"{self.name}: {where}: there is no {key} in it; mend the config")
        return self._build(value, key, (*within, key))

    def _component(self, value: dict[str, Any], where: str, within: tuple[str, ...]) -> Any:
        if value.get("_disabled_") in (True, "$True"):
            return None
        kind = self._locate(value["_target_"], where)
        if odd := [k for k in value if k.startswith("_") and k not in IGNORED]:
            raise BundleError(f"{self.name}: {where}: {odd[0]} is not allowed; --trust takes it")
        if (reader := value.get("reader")) is not None and not isinstance(reader, dict):
            self._check_readers(reader, where)
        arguments = {
            k: self._build(v, f"{where}::{k}", within) for k, v in value.items() if k not in IGNORED
        }
        try:
            return kind(**{**arguments, **_without_download(kind)})
        except BundleError:
            raise
        except Exception as error:  # whatever a constructor makes of such arguments
            raise BundleError(
                f"{self.name}: {where}: {kind.__name__} does not take these arguments "
                f"({type(error).__name__}: {error}); mend the config"
            ) from error

    def _check_readers(self, readers: Any, where: str) -> None:
        for reader in readers if isinstance(readers, list) else [readers]:
            if reader not in READERS:
                raise BundleError(
                    f"{self.name}: {where}::reader: {str(reader)[:80]!r} is not allowed; accepted "
                    f"are {', '.join(sorted(READERS))}, and any with --trust"
                )

    def _locate(self, target: Any, where: str) -> type:
        found = _find(target) if isinstance(target, str) else None
        name = getattr(found, "__name__", "")
        if not inspect.isclass(found) or not issubclass(found, KINDS) or BARRED.match(name):
            raise BundleError(
                f"{self.name}: {where}: _target_ {str(target)[:80]!r} is not allowed; accepted "
                f"are transforms, networks and inferers of {', '.join(PREFIXES)} that write no "
                "file and call no function; --trust takes any"
            )
        return found


def _find(target: str) -> Any:
    """What a name stands for, if its module is one of those that are allowed."""
    if "." not in target:
        modules = [importlib.import_module(name) for name in SHORT_NAMES]
        return next((getattr(m, target) for m in modules if hasattr(m, target)), None)
    module, _, name = target.rpartition(".")
    if not target.startswith(PREFIXES):
        return None
    try:  # an attribute of an attribute, such as monai.transforms.io.os.system, is no module
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _without_download(kind: type) -> dict[str, Any]:
    """Arguments by which a network would fetch other weights than the bundle's."""
    parameters = inspect.signature(kind).parameters
    return {
        name: False if isinstance(parameter.default, bool) else None
        for name, parameter in parameters.items()
        if "pretrained" in name
    }

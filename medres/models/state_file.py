"""Read a state dict from a file of unknown origin.

`torch.load(weights_only=True)` runs no code, but it inflates what is compressed, allocates what a
`bytearray` in the pickle asks for, and gives tensors that claim far more elements than they have
(a stride of 0). So the pickle's words are looked through first, and the tensors afterwards.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import torch
from torch import Tensor

from medres.errors import WeightsError

STORAGES: Final = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte")
DTYPES: Final = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
NAMES: Final = frozenset(
    {
        "builtins set",
        "collections Counter",
        "collections OrderedDict",
        "torch Size",
        "torch device",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        *(f"torch {name}Storage" for name in (*STORAGES, "Bool")),
        *(f"torch {name}" for name in DTYPES),
    }
)
"""What checkpoints name. torch's own list has more on it: a `bytearray` of any size, for one."""
INDIRECT_NAMES: Final = frozenset(
    {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
)
"""Operations that name or call a class in another way; torch writes none of them."""
NOT_OPENED: Final = "Files with pickled objects are not opened: they can run code"
PICKLE_BYTES: Final = 2**24
"""Of the pickle that names the tensors: a ResNet-152 has 2**17."""
LEGACY_PICKLES: Final = 5
"""Before PyTorch 1.6: a magic number, a version, the system, the object, the storages' keys."""


def read_state_file(path: Path) -> Any:
    """What `torch.save` has written, if it is made of tensors, containers and plain values.

    Args:
        path: a regular file.

    Raises:
        WeightsError: not a file of `torch.save`, a name that no state dict needs, compressed
            parts, parts that overlap, or a tensor larger than its storage.
    """
    try:
        _check_pickles(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # torch and pickletools raise what zip, pickle and files raise
        raise WeightsError(
            f"{path}: not a file of tensors ({type(error).__name__}); give a state dict as "
            f"torch.save writes it. {NOT_OPENED}"
        ) from error
    for name, tensor in _tensors(content):
        _check_tensor(path, name, tensor)
    return content


def _check_pickles(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            for _ in range(LEGACY_PICKLES):
                _check_pickle(path, stream)
        return
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if packed or sum(part.file_size for part in parts) > path.stat().st_size:
            raise WeightsError(
                f"{path}: holds compressed or overlapping parts, which torch.save never "
                "writes; save the weights again"
            )
        for part in parts:
            if part.filename.endswith(".pkl"):
                with archive.open(part) as stream:
                    _check_pickle(path, stream)


def _check_pickle(path: Path, stream: IO[bytes]) -> None:
    """Refuse a pickle that names what no state dict needs."""
    start = stream.tell()
    for operation, argument, _ in pickletools.genops(stream):
        if stream.tell() - start > PICKLE_BYTES:
            raise WeightsError(
                f"{path}: its pickle is larger than {PICKLE_BYTES} bytes, which no state "
                "dict needs; save the weights alone"
            )
        named = operation.name in INDIRECT_NAMES
        if named or (operation.name == "GLOBAL" and argument not in NAMES):
            shown = argument if operation.name == "GLOBAL" else operation.name
            raise WeightsError(
                f"{path}: its pickle names {str(shown)[:80]!r}, which no state dict needs; save "
                f"the weights alone. {NOT_OPENED}"
            )


def _tensors(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of nested dictionaries, lists and tuples, each container once."""
    waiting, seen = [(name, content)], set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        if not isinstance(value, dict | list | tuple) or id(value) in seen:
            continue
        seen.add(id(value))
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        waiting += [(f"{name}.{key}".lstrip("."), part) for key, part in inner]


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    needed = tensor.numel() * tensor.element_size()
    held = tensor.untyped_storage().nbytes()
    if needed > held or held > path.stat().st_size:
        raise WeightsError(
            f"{path}: tensor {name[:80]} claims {needed} bytes and has {held} in a file of "
            f"{path.stat().st_size}; save the weights again"
        )

"""A disk cache that is never stale: keyed by what files hold and by what is done to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import PersistentDataset
from monai.data.utils import pickle_hashing
from monai.utils.enums import LazyAttr, MetaKeys, SpaceKeys, TraceKeys

import medres
from medres.imaging.read import split_address

# Names in MONAI's metadata. torch refuses to load them, and MONAI then computes everything anew.
MONAI_NAMES = [MetaKeys, SpaceKeys, TraceKeys, LazyAttr]


class ContentPersistentDataset(PersistentDataset):
    """MONAI's `PersistentDataset`, keyed by the content of the files that its items name.

    MONAI's own hashes the path of an image, so that a file that was replaced keeps its old
    pixels, and by default no transform; with `track_meta` its entries cannot be loaded again and
    are computed anew each time, with a warning. Here an entry's name holds a digest of the item,
    of each file that it names, of the deterministic transforms with their arguments, and of
    medres' version. Entries are tensors with their metadata.

    Args:
        data: items, dictionaries; texts and paths in them that name files are followed, members
            such as `x.npz::images` included.
        transform: a `Compose`; what precedes its first random step is kept.
        cache_dir: a folder, made where it is absent.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[..., Any],
        cache_dir: str | Path,
    ) -> None:
        super().__init__(
            data,
            transform,
            cache_dir,
            hash_func=hash_contents,
            hash_transform=hash_transforms,
            track_meta=True,
        )

    def _cachecheck(self, item_transformed: Any) -> Any:
        with torch.serialization.safe_globals(MONAI_NAMES):
            return super()._cachecheck(item_transformed)


def hash_contents(item: Mapping[str, Any]) -> bytes:
    """Digest of an item and of the files that it names, for `PersistentDataset(hash_func=...)`.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(pickle_hashing(item))
    for key in sorted(item, key=str):
        value = item[key]
        path = split_address(value)[0] if isinstance(value, (str, Path)) else None
        if path is not None and path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{key}={content};".encode())
    return digest.hexdigest().encode()


def hash_transforms(transforms: Sequence[Any]) -> bytes:
    """Digest of transforms with their arguments, for `PersistentDataset(hash_transform=...)`.

    Returns:
        64 hexadecimal digits; others for another version of medres.
    """
    digest = hashlib.sha256(pickle_hashing(list(transforms)))
    digest.update(medres.__version__.encode())
    return digest.hexdigest().encode()

"""A disk cache that is never stale: keyed by what files hold and by what is done to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.utils import convert_to_tensor
from monai.utils.enums import LazyAttr, MetaKeys, SpaceKeys, TraceKeys

import medres
from medres.files import written_whole
from medres.imaging.read import split_address

# Names in MONAI's metadata. torch refuses to load them, and MONAI then computes everything anew.
MONAI_NAMES = [MetaKeys, SpaceKeys, TraceKeys, LazyAttr]


class ContentPersistentDataset(PersistentDataset):
    """MONAI's `PersistentDataset`, keyed by the content of the files that its items name.

    MONAI's own hashes the path of an image, so that a file that was replaced keeps its old
    pixels, and by default no transform; with `track_meta` its entries cannot be loaded again and
    are computed anew each time, with a warning. Here an entry's name holds a digest of the item,
    of each file that it names, of the deterministic transforms with their arguments, and of
    medres' version. Entries keep the metadata of images, and leave other tensors as they are, so
    that what is loaded collates with what is new. Entries are written whole or not at all.

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
        )

    def _cachecheck(self, item_transformed: Mapping[str, Any]) -> Any:
        """The item after its deterministic steps: loaded, or computed and written."""
        entry = (
            self.cache_dir / f"{hash_contents(item_transformed).decode()}{self.transform_hash}.pt"
        )
        if entry.is_file():
            with torch.serialization.safe_globals(MONAI_NAMES):
                return torch.load(entry, weights_only=True)
        computed = self._pre_transform(deepcopy(item_transformed))
        plain = {
            key: convert_to_tensor(
                value, convert_numeric=False, track_meta=isinstance(value, MetaTensor)
            )
            for key, value in computed.items()
        }
        with written_whole(entry) as temporary, temporary.open("wb") as stream:
            torch.save(plain, stream)
        return plain


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

"""The training images as a data set whose randomness depends on seed, epoch and image alone.

So an epoch is the same whatever the number of workers, and a run that resumes at an epoch sees
what an undisturbed one sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose
from numpy.random import SeedSequence
from torch.utils.data import Sampler

from medres.data.manifest import Manifest, ManifestRow

FORWARD_BATCH = 16
"""Images a forward pass without training: on a CPU more cost page faults and save no time."""


def as_items(manifest: Manifest, rows: Sequence[ManifestRow]) -> list[dict[str, Any]]:
    """Rows of a manifest as MONAI items.

    Returns:
        One dictionary a row: `image`, an address; `frame`; `label`, (F,) float32 in {0, 1, NaN}
        with NaN for a missing label; `index`, the row's place in `rows`.
    """
    return [
        {
            "image": manifest.address(row),
            "frame": row.frame,
            "label": torch.tensor(row.labels, dtype=torch.float32),
            "index": index,
        }
        for index, row in enumerate(rows)
    ]


class _Seeded:
    """Seeds the chain for each image before it runs."""

    seed: int
    epoch: int = 0
    transform: Compose

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose randomness the next images have."""
        self.epoch = epoch

    def _transform(self, index: int) -> Any:
        state = SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0]
        self.transform.set_random_state(seed=int(state))
        return super()._transform(index)  # type: ignore[misc]


class SeededDataset(_Seeded, Dataset):
    """MONAI's `Dataset`, reading each image anew; see the module."""

    def __init__(self, items: Sequence[dict[str, Any]], transform: Compose, seed: int) -> None:
        self.seed = seed
        super().__init__(items, transform)


class SeededCacheDataset(_Seeded, CacheDataset):
    """MONAI's `CacheDataset`, holding what precedes the first random step; see the module."""

    def __init__(
        self,
        items: Sequence[dict[str, Any]],
        transform: Compose,
        seed: int,
        *,
        progress: bool = False,
    ) -> None:
        self.seed = seed
        # One thread: decoders hold the GIL, and OpenJPEG's binding is not safe in several.
        super().__init__(items, transform, num_workers=1, progress=progress)


class EpochSampler(Sampler[int]):
    """A shuffled order of `size` images that depends on seed and epoch alone."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration has."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        state = SeedSequence((self.seed, self.epoch, 1)).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(state))
        return iter(torch.randperm(self.size, generator=generator).tolist())


def build_dataset(
    items: Sequence[dict[str, Any]],
    transform: Compose,
    *,
    seed: int,
    cache: bool,
    progress: bool = False,
) -> SeededDataset | SeededCacheDataset:
    """A data set of `items`, its deterministic part in memory where `cache` is set."""
    if cache:
        return SeededCacheDataset(items, transform, seed, progress=progress)
    return SeededDataset(items, transform, seed)


def build_loader(
    dataset: Dataset,
    batch_size: int,
    *,
    sampler: Sampler[int] | None = None,
    workers: int = 0,
    drop_last: bool = False,
) -> DataLoader:
    """Batches of a data set; a generator of its own keeps the global one untouched."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        shuffle=False,
        num_workers=workers,
        drop_last=drop_last,
        generator=torch.Generator().manual_seed(0),
        pin_memory=torch.cuda.is_available(),
    )

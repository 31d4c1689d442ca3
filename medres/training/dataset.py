"""The training images as a data set whose randomness depends on seed, epoch and image alone.

So an epoch is the same whatever the number of workers, and a run that resumes in the middle of one
sees what an undisturbed one sees.
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
from medres.data.uncertain_labels import UncertainPolicy, training_targets

FORWARD_BATCH = 16
"""Images a forward pass without training: on a CPU more cost page faults and save no time."""


def as_items(
    manifest: Manifest, rows: Sequence[ManifestRow], *, uncertain: UncertainPolicy | None = None
) -> list[dict[str, Any]]:
    """Rows of a manifest as MONAI items.

    Args:
        manifest: that the rows are of.
        rows: N of them.
        uncertain: policy for uncertain labels, of training images; None leaves them missing.

    Returns:
        One dictionary a row: `image`, an address; `frame`; `label`, (F,) float32 in {0, 1, NaN}
        with NaN for a missing label, or in between for an uncertain one; `index`, the row's place
        in `rows`.
    """
    return [
        {
            "image": manifest.address(row),
            "frame": row.frame,
            "label": torch.tensor(
                row.labels if uncertain is None else training_targets(row, uncertain),
                dtype=torch.float32,
            ),
            "index": index,
        }
        for index, row in enumerate(rows)
    ]


class _Seeded:
    """Seeds the chain for each image before it runs."""

    seed: int
    fixed_views: int = 0
    epoch: int = 0
    transform: Compose

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 1, whose randomness the next images have.

        With K fixed views, epoch K + 1 has that of epoch 1 again, and so on.
        """
        self.epoch = 1 + (epoch - 1) % self.fixed_views if self.fixed_views else epoch

    def _transform(self, index: int) -> Any:
        state = SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0]
        self.transform.set_random_state(seed=int(state))
        return super()._transform(index)  # type: ignore[misc]


class SeededDataset(_Seeded, Dataset):
    """MONAI's `Dataset`, reading each image anew; see the module."""

    def __init__(
        self,
        items: Sequence[dict[str, Any]],
        transform: Compose,
        seed: int,
        *,
        fixed_views: int = 0,
    ) -> None:
        self.seed, self.fixed_views = seed, fixed_views
        super().__init__(items, transform)


class SeededCacheDataset(_Seeded, CacheDataset):
    """MONAI's `CacheDataset`, holding what precedes the first random step; see the module."""

    def __init__(
        self,
        items: Sequence[dict[str, Any]],
        transform: Compose,
        seed: int,
        *,
        fixed_views: int = 0,
        progress: bool = False,
    ) -> None:
        self.seed, self.fixed_views = seed, fixed_views
        # One thread: decoders hold the GIL, and OpenJPEG's binding is not safe in several.
        super().__init__(items, transform, num_workers=1, progress=progress)


class EpochSampler(Sampler[int]):
    """A shuffled order of an epoch's images that depends on seed and epoch alone.

    Of W processes number r takes the images r, r + W, r + 2W, … of that order. So W processes with
    batches of B see in each step the very images that one process with batches of W·B sees.

    Args:
        size: images there are.
        seed: of the order.
        count: of them an epoch has; the rest of the order is left out. None takes all.
        rank: this process's number, from 0.
        processes: how many there are.
    """

    def __init__(
        self, size: int, seed: int, *, count: int | None = None, rank: int = 0, processes: int = 1
    ) -> None:
        self.size, self.seed = size, seed
        self.count = size if count is None else count
        self.rank, self.processes = rank, processes
        self.epoch, self.seen = 0, 0

    def set_epoch(self, epoch: int, seen: int = 0) -> None:
        """Choose the epoch whose order the next iteration has.

        Args:
            epoch: from 1.
            seen: images of it that this process has had already, before it was killed.
        """
        self.epoch, self.seen = epoch, seen

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.processes))

    def __iter__(self) -> Iterator[int]:
        state = SeedSequence((self.seed, self.epoch, 1)).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(state))
        order = torch.randperm(self.size, generator=generator)[: self.count]
        return iter(order[self.rank :: self.processes][self.seen :].tolist())


class ShareSampler(Sampler[int]):
    """The images of a process where all are looked at once, in order: r, r + W, r + 2W, …."""

    def __init__(self, size: int, *, rank: int = 0, processes: int = 1) -> None:
        self.share = range(rank, size, processes)

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)


def build_dataset(
    items: Sequence[dict[str, Any]],
    transform: Compose,
    *,
    seed: int,
    cache: bool,
    fixed_views: int = 0,
    progress: bool = False,
) -> SeededDataset | SeededCacheDataset:
    """A data set of `items`, its deterministic part in memory where `cache` is set."""
    if cache:
        return SeededCacheDataset(
            items, transform, seed, fixed_views=fixed_views, progress=progress
        )
    return SeededDataset(items, transform, seed, fixed_views=fixed_views)


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

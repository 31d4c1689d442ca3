import numpy as np
import pytest
import torch
from PIL import Image

from medres.data.normalization import IntensityStatistics
from medres.training.dataset import EpochSampler, ShareSampler, build_dataset, build_loader
from medres.transforms.augmentation import Augmentation
from medres.transforms.chains import build_train_chain
from medres.transforms.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    "display", 32, "pad", IntensityStatistics(0.0, 1.0, 0.5, 0.25, (0.1, 99.9), 1, 1, 1)
)


@pytest.fixture
def items(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(tmp_path / f"{index}.png")
    return [
        {"image": str(tmp_path / f"{index}.png"), "frame": 0, "label": torch.zeros(1)}
        for index in range(6)
    ]


def images_of(
    items, *, epoch: int, cache: bool, workers: int = 0, fixed_views: int = 0
) -> torch.Tensor:
    chain = build_train_chain(PREPROCESSING, Augmentation(noise=0.5, flip_probability=0.5))
    dataset = build_dataset(items, chain, seed=3, cache=cache, fixed_views=fixed_views)
    dataset.set_epoch(epoch)
    return torch.cat([b["image"] for b in build_loader(dataset, 4, workers=workers)])


def test_augmentation_depends_on_epoch_and_image_not_on_cache(items) -> None:
    first = images_of(items, epoch=1, cache=True)
    assert torch.equal(first, images_of(items, epoch=1, cache=True))
    assert torch.equal(first, images_of(items, epoch=1, cache=False))
    assert not torch.equal(first, images_of(items, epoch=2, cache=True))


@pytest.mark.parametrize("cache", [True, False])
def test_fixed_views_come_round_again(items, cache) -> None:
    views = [images_of(items, epoch=e, cache=cache, fixed_views=2) for e in (1, 2, 3, 4)]
    assert torch.equal(views[2], views[0])
    assert torch.equal(views[3], views[1])
    assert not torch.equal(views[1], views[0])
    assert torch.equal(views[1], images_of(items, epoch=2, cache=cache))  # the first K epochs' own


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 1) == order(1, 1)
    assert sorted(order(1, 1)) == list(range(20))
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_processes_share_each_steps_images() -> None:
    def order(**share: int) -> list[int]:
        sampler = EpochSampler(20, 0, count=16, **share)
        sampler.set_epoch(3)
        assert len(sampler) == len(list(sampler))
        return list(sampler)

    whole, first, second = order(), order(rank=0, processes=2), order(rank=1, processes=2)
    for step in range(4):  # of 4 images together
        shared = {*first[2 * step : 2 * step + 2], *second[2 * step : 2 * step + 2]}
        assert shared == set(whole[4 * step : 4 * step + 4])


def test_order_goes_on_after_the_images_that_were_seen() -> None:
    sampler = EpochSampler(20, 0, count=18, rank=1, processes=2)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.set_epoch(2, seen=4)
    assert list(sampler) == whole[4:]


def test_shares_of_uneven_size_hold_each_image_once() -> None:
    shares = [list(ShareSampler(7, rank=rank, processes=3)) for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert len(ShareSampler(7, rank=2, processes=3)) == 2


def test_loader_leaves_the_global_generator_alone(items) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    images_of(items, epoch=1, cache=True)
    assert torch.equal(before, torch.get_rng_state())

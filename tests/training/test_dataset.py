import numpy as np
import pytest
import torch
from PIL import Image

from medres.data.normalization import IntensityStatistics
from medres.training.dataset import EpochSampler, build_dataset, build_loader
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


def images_of(items, *, epoch: int, cache: bool, workers: int = 0) -> torch.Tensor:
    chain = build_train_chain(PREPROCESSING, Augmentation(noise=0.5, flip_probability=0.5))
    dataset = build_dataset(items, chain, seed=3, cache=cache)
    dataset.set_epoch(epoch)
    return torch.cat([b["image"] for b in build_loader(dataset, 4, workers=workers)])


def test_augmentation_depends_on_epoch_and_image_not_on_cache(items) -> None:
    first = images_of(items, epoch=1, cache=True)
    assert torch.equal(first, images_of(items, epoch=1, cache=True))
    assert torch.equal(first, images_of(items, epoch=1, cache=False))
    assert not torch.equal(first, images_of(items, epoch=2, cache=True))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 1) == order(1, 1)
    assert sorted(order(1, 1)) == list(range(20))
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_loader_leaves_the_global_generator_alone(items) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    images_of(items, epoch=1, cache=True)
    assert torch.equal(before, torch.get_rng_state())

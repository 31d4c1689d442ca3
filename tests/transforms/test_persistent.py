"""Disk caches: used again, and never stale."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.transforms import Compose, RandShiftIntensityd
from radiographs import write_radiograph

import medres
from medres.transforms.geometry import FitGeometryd
from medres.transforms.load import LoadGrayscaled
from medres.transforms.normalize import NormalizeGrayscaled
from medres.transforms.persistent import (
    ContentPersistentDataset,
    hash_contents,
    hash_transforms,
)


def chain(size: int = 16) -> Compose:
    return Compose(
        [
            LoadGrayscaled("image"),
            FitGeometryd("image", size),
            NormalizeGrayscaled("image", 0.0, 1.0, 0.5, 0.25),
        ]
    )


@pytest.fixture
def item(tmp_path: Path) -> dict[str, str]:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20)).astype(np.uint8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME2")
    return {"image": str(tmp_path / "a.dcm")}


def test_an_entry_is_loaded_again_with_its_metadata(tmp_path: Path, item: dict[str, str]) -> None:
    first = ContentPersistentDataset([item], chain(), tmp_path / "cache")[0]["image"]
    (entry,) = (tmp_path / "cache").iterdir()
    written = entry.stat().st_mtime_ns
    again = ContentPersistentDataset([item], chain(), tmp_path / "cache")[0]["image"]
    assert entry.stat().st_mtime_ns == written
    assert isinstance(again, MetaTensor)
    assert torch.equal(again, first)
    assert torch.equal(again.affine, first.affine)
    assert json.loads(again.meta["medres"])["modality"] == "CR"
    assert FitGeometryd("image", 16).inverse({"image": again})["image"].shape == (1, 30, 20)


def test_what_is_loaded_collates_with_what_is_new(tmp_path: Path, item: dict[str, str]) -> None:
    items = [{**item, "label": torch.tensor([float(n)]), "number": n} for n in range(2)]
    dataset = ContentPersistentDataset(items, chain(), tmp_path / "cache")
    dataset[0]
    (batch,) = DataLoader(dataset, batch_size=2)
    assert type(batch["label"]) is torch.Tensor
    assert isinstance(batch["image"], MetaTensor)
    assert batch["number"].tolist() == [0, 1]


def test_another_content_another_chain_and_another_version_are_read_anew(
    tmp_path: Path, item: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    before = ContentPersistentDataset([item], chain(), cache)[0]["image"]
    write_radiograph(Path(item["image"]), np.full((30, 20), 9, np.uint8), "MONOCHROME2")
    after = ContentPersistentDataset([item], chain(), cache)[0]["image"]
    assert not torch.equal(before, after)
    assert ContentPersistentDataset([item], chain(8), cache)[0]["image"].shape == (1, 8, 8)
    assert len([*cache.iterdir()]) == 3
    monkeypatch.setattr(medres, "__version__", "999")
    ContentPersistentDataset([item], chain(), cache)[0]
    assert len([*cache.iterdir()]) == 4


def test_random_steps_are_not_kept(tmp_path: Path, item: dict[str, str]) -> None:
    steps = Compose([*chain().transforms, RandShiftIntensityd("image", offsets=1.0, prob=1.0)])
    dataset = ContentPersistentDataset([item], steps, tmp_path / "cache")
    steps.set_random_state(0)
    one, other = dataset[0]["image"], dataset[0]["image"]
    assert not torch.equal(one, other)
    assert len([*(tmp_path / "cache").iterdir()]) == 1


def test_members_of_archives_are_followed_to_their_file(tmp_path: Path) -> None:
    item = {"image": f"{tmp_path / 'x.npz'}::train_images", "frame": 1}
    np.savez(tmp_path / "x.npz", train_images=np.zeros((2, 4, 4), np.uint8))
    before = hash_contents(item)
    np.savez(tmp_path / "x.npz", train_images=np.ones((2, 4, 4), np.uint8))
    assert hash_contents(item) != before
    assert hash_contents({**item, "frame": 0}) != hash_contents(item)


def test_keys_are_the_same_in_another_process(item: dict[str, str]) -> None:
    script = (
        "import sys; from medres.transforms.persistent import *;"
        "from medres.transforms.load import LoadGrayscaled;"
        "print(hash_transforms([LoadGrayscaled('image', fit_size=8)]).decode(),"
        "hash_contents({'image': sys.argv[1]}).decode())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, item["image"]],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [hash_transforms([LoadGrayscaled("image", fit_size=8)]), hash_contents(item)]
    assert done.stdout.split() == [digest.decode() for digest in expected]


def test_monais_cache_in_memory_holds_the_same(item: dict[str, str]) -> None:
    cached = CacheDataset([item], chain(), progress=False)[0]["image"]
    assert torch.equal(cached, chain()(item)["image"])

"""LoadGrayscaled in a chain, and the same radiograph as JPEG and as DICOM."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, list_data_collate
from monai.transforms import Compose
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from radiographs import write_radiograph

from medres.data.normalization import IntensityStatistics
from medres.errors import UnreadableImageError
from medres.transforms.augmentation import Augmentation
from medres.transforms.chains import build_evaluation_chain, build_train_chain
from medres.transforms.geometry import FitGeometryd
from medres.transforms.load import LoadGrayscaled
from medres.transforms.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    "display", 128, "pad", IntensityStatistics(0.02, 0.95, 0.5, 0.25, (0.1, 99.9), 1, 1, 1)
)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_radiograph_as_jpeg_and_as_dicom_is_one_network_input(
    test_data: Path, tmp_path: Path, photometric: str, syntax: str
) -> None:
    folder = test_data / "data" / "kermany_chest"
    with (folder / "labels.csv").open() as stream:
        files = [row["file"] for row in csv.DictReader(stream)][:600:100]
    chain = build_evaluation_chain(PREPROCESSING)
    for number, file in enumerate(files):
        with Image.open(folder / file) as picture:
            pixels = np.asarray(picture.convert("L"))
        wrapped = tmp_path / f"{number}.dcm"
        write_radiograph(wrapped, pixels, photometric, syntax)
        jpeg = chain({"image": str(folder / file)})["image"]
        dicom = chain({"image": str(wrapped)})["image"]
        assert jpeg.shape == (1, 128, 128)
        assert (jpeg - dicom).abs().max() <= 1e-6


def test_load_gives_rows_before_columns_with_spacing_and_record(tmp_path: Path) -> None:
    pixels = np.arange(15, dtype=np.uint8).reshape(3, 5) * 10
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME2")
    image = LoadGrayscaled("image")({"image": str(tmp_path / "a.dcm")})["image"]
    assert isinstance(image, MetaTensor)
    assert image.dtype == torch.float32
    assert np.allclose(image.numpy()[0], pixels / 255, atol=1e-7)
    assert json.loads(image.meta["medres"])["modality"] == "CR"
    assert image.meta["filename_or_obj"] == str(tmp_path / "a.dcm")


@pytest.mark.parametrize("geometry", ["pad", "crop", "squash"])
@pytest.mark.parametrize(("rows", "columns"), [(90, 70), (20, 41)])
def test_load_at_the_fitted_size_equals_loading_and_fitting(
    tmp_path: Path, geometry: str, rows: int, columns: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, columns)).astype(np.uint8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME2")
    item = {"image": str(tmp_path / "a.dcm")}
    fit = FitGeometryd("image", 32, geometry)
    apart = fit(LoadGrayscaled("image")(item))["image"]
    at_once = fit(LoadGrayscaled("image", fit_size=32, geometry=geometry)(item))["image"]
    assert (at_once - apart).abs().max() < 5e-6
    assert torch.allclose(at_once.affine, apart.affine, atol=1e-12)
    assert at_once.meta["spatial_shape"] == apart.meta["spatial_shape"] == (rows, columns)


def test_load_can_decode_apart_in_every_worker_of_a_data_loader(tmp_path: Path) -> None:
    items = []
    for number in range(6):
        pixels = np.full((4, 4), number, np.uint8)
        pixels[0, 0] = 255
        write_radiograph(tmp_path / f"{number}.dcm", pixels, "MONOCHROME2")
        items.append({"image": str(tmp_path / f"{number}.dcm")})
    load = LoadGrayscaled("image", isolated=True)
    load(items[0])  # its process is not the workers'
    loader = DataLoader(
        Dataset(items, load), num_workers=2, batch_size=1, multiprocessing_context="fork"
    )
    values = [round(float(batch["image"][0, 0, 1, 1]) * 255) for batch in loader]
    assert values == [0, 1, 2, 3, 4, 5]
    copied = pickle.loads(pickle.dumps(load))  # as a worker that is spawned receives it
    assert float(copied(items[3])["image"][0, 1, 1]) * 255 == pytest.approx(3)
    for used in (load, copied):
        assert used.reader is not None
        used.reader.close()


def test_load_takes_the_frame_of_the_item(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([[[0, 255]], [[255, 0]]], dtype=np.uint8))
    item = {"image": f"{tmp_path / 'x.npz'}::a", "frame": 1}
    assert LoadGrayscaled("image")(item)["image"].tolist() == [[[1.0, 0.0]]]


def test_load_says_where_and_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("not an image")
    with pytest.raises(UnreadableImageError, match=r"a\.dcm: .*\[not_dicom\]"):
        LoadGrayscaled("image")({"image": str(tmp_path / "a.dcm")})


def test_chains_pickle_and_augment_by_seed_alone(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30), np.uint8)).save(
        tmp_path / "a.png"
    )
    everything = Augmentation(
        flip_probability=0.5, gamma=0.3, noise=0.1, blur=1.0, erase=0.3, contrast=0.2
    )
    chain = pickle.loads(pickle.dumps(build_train_chain(PREPROCESSING, everything)))
    assert isinstance(chain, Compose)
    item = {"image": str(tmp_path / "a.png")}
    first, second, other = (
        chain.set_random_state(seed=seed)(dict(item))["image"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == (1, 128, 128)
    assert not isinstance(first, MetaTensor)


def test_no_augmentation_is_the_evaluation_chain(tmp_path: Path) -> None:
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(20, 10)).save(tmp_path / "a.png")
    nothing = Augmentation()
    item = {"image": str(tmp_path / "a.png")}
    train = build_train_chain(PREPROCESSING, nothing)(dict(item))["image"]
    assert torch.equal(train, build_evaluation_chain(PREPROCESSING)(dict(item))["image"])


def test_items_of_different_records_collate(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME2")
    Image.fromarray(pixels).save(tmp_path / "b.png")
    load = LoadGrayscaled("image")
    batch = list_data_collate([load({"image": str(tmp_path / n)}) for n in ("a.dcm", "b.png")])
    assert batch["image"].shape == (2, 1, 8, 8)

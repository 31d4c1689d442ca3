"""MedresReader inside MONAI's own loaders."""

import pickle
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor, PydicomReader
from monai.transforms import Compose, EnsureChannelFirstd, LoadImage, LoadImaged, Spacingd
from PIL import Image
from pydicom import dcmread
from radiographs import write_radiograph

from medres.errors import ConfigError, UnreadableImageError
from medres.transforms.geometry import FitGeometryd
from medres.transforms.load import LoadGrayscaled
from medres.transforms.reader import MedresReader

# MONAI's LoadImage says at its construction that it found no GPU decoder.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")

REAL_FILES = (
    "pydicom__CT_small.dcm",
    "pydicom__MR_small.dcm",
    "pydicom__MR_small_RLE.dcm",
    "pydicom__MR_small_padded.dcm",
    "dicom-test-files__CT1_UNC",
    "dicom-test-files__MR4_UNC",
    "dicom-test-files__XA1_RLE",
    "pydicom-data__mlut_18.dcm",
    "pydicom-data__SC_rgb.dcm",
    "pydicom-data__OBXXXX1A.dcm",
)


def write_rectangular(path: Path, **attributes: object) -> Path:
    """Twenty rows of 0.4 mm and forty columns of 0.2 mm: 8 mm by 8 mm."""
    write_radiograph(path, np.arange(800, dtype=np.uint8).reshape(20, 40), "MONOCHROME1")
    dataset = dcmread(path)
    dataset.ImagerPixelSpacing = [0.4, 0.2]
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def write_volume(path: Path) -> Path:
    volume = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([-0.5, 2.0, 3.0, 1.0])), path)
    return path


@pytest.fixture
def addresses(tmp_path: Path) -> list[str]:
    """A radiograph, one with a place in the patient, planes of a volume, a picture, an array."""
    pixels = np.arange(800, dtype=np.uint8).reshape(20, 40)
    placed = {
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
        "ImagePositionPatient": [1, 2, 3],
        "PixelSpacing": [0.3, 0.2],
    }
    Image.fromarray(pixels).save(tmp_path / "c.png")
    np.savez(tmp_path / "d.npz", a=pixels[None])
    volume = write_volume(tmp_path / "e.nii.gz")
    return [
        str(write_rectangular(tmp_path / "a.dcm")),
        str(write_rectangular(tmp_path / "b.dcm", **placed)),
        str(tmp_path / "c.png"),
        f"{tmp_path / 'd.npz'}::a",
        str(volume),
        f"{volume}::coronal",
    ]


def test_reader_in_load_imaged_is_load_grayscaled(addresses: list[str]) -> None:
    load = LoadImaged("image", reader=MedresReader(), ensure_channel_first=True)
    for address in addresses:
        item = {"image": address}
        ours, monai = LoadGrayscaled("image")(item)["image"], load(item)["image"]
        assert torch.equal(ours.as_tensor(), monai.as_tensor())
        assert monai.dtype == torch.float32
        assert torch.equal(ours.affine, monai.affine)
        assert {*ours.meta} == {*monai.meta}
        for key in ("medres", "filename_or_obj", "space"):
            assert ours.meta[key] == monai.meta[key]


def test_reader_takes_frames_and_intensity(tmp_path: Path) -> None:
    address = f"{write_volume(tmp_path / 'v.nii')}::sagittal"
    expected = LoadGrayscaled("image")({"image": address, "frame": 3})["image"]
    image = LoadImage(reader=MedresReader("modality", frame=3))(address)
    assert image.shape == (8, 7)
    assert torch.equal(image.as_tensor(), expected.as_tensor()[0])


def test_image_only_false_gives_the_metadata_too(addresses: list[str]) -> None:
    image, meta = LoadImage(reader=MedresReader(), image_only=False)(addresses[0])
    assert image.shape == (20, 40)
    assert tuple(meta["spatial_shape"]) == (20, 40)
    item = LoadImaged("image", reader=MedresReader(), image_only=False)({"image": addresses[0]})
    assert item["image_meta_dict"]["medres"] == meta["medres"]


def test_reader_by_target_and_by_name(addresses: list[str]) -> None:
    parser = ConfigParser(
        {
            "load": {
                "_target_": "LoadImaged",
                "keys": "image",
                "reader": {"_target_": "medres.transforms.reader.MedresReader"},
            }
        }
    )
    by_target = parser.get_parsed_content("load")({"image": addresses[0]})["image"]
    by_name = LoadImage(reader="medres.transforms.reader.MedresReader", intensity="display")
    assert torch.equal(by_target.as_tensor(), by_name(addresses[0]).as_tensor())


def test_several_files_become_channels(addresses: list[str]) -> None:
    image = LoadImage(reader=MedresReader(), ensure_channel_first=True)(addresses[:3])
    assert image.shape == (3, 20, 40)
    assert image.affine[0, 0] == 0.4


def test_several_files_of_different_shape_are_refused(addresses: list[str]) -> None:
    with pytest.raises(UnreadableImageError, match=r"\(7, 6\) pixels.*first.*\(20, 40\)"):
        LoadImage(reader=MedresReader())([addresses[0], addresses[4]])


def test_refused_file_does_not_fall_to_another_reader(tmp_path: Path) -> None:
    path = write_rectangular(tmp_path / "a.dcm", RescaleSlope=0, RescaleIntercept=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert LoadImage(reader=PydicomReader())(path).shape == (40, 20)  # all zeros
    with pytest.raises(UnreadableImageError, match=r"Rescale Slope.*invalid_header"):
        LoadImage(reader=MedresReader())(path)


def test_reader_knows_files_by_content(addresses: list[str], tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("not an image")
    reader = MedresReader()
    assert reader.verify_suffix(addresses)
    assert reader.verify_suffix(Path(addresses[0]))
    assert not reader.verify_suffix([addresses[0], str(tmp_path / "text.dcm")])
    assert not reader.verify_suffix(tmp_path / "absent.dcm")
    assert MedresReader(legacy_monai=True).verify_suffix(addresses[0])


def test_batches_of_different_files_collate(addresses: list[str]) -> None:
    chain = Compose(
        [LoadImaged("image", reader=MedresReader(), ensure_channel_first=True),
         FitGeometryd("image", 32)]
    )  # fmt: skip
    items = [{"image": address} for address in addresses]
    (batch,) = DataLoader(Dataset(items, chain), batch_size=len(items))
    assert batch["image"].shape == (6, 1, 32, 32)
    assert len(batch["image"].meta["medres"]) == 6


@pytest.mark.parametrize("by_reader", [False, True])
def test_spacing_of_non_square_pixels_and_its_inverse(tmp_path: Path, by_reader: bool) -> None:
    load = LoadGrayscaled("image")
    if by_reader:
        load = Compose([LoadImaged("image", reader=MedresReader()), EnsureChannelFirstd("image")])
    loaded = load({"image": str(write_rectangular(tmp_path / "a.dcm"))})
    spacing = Spacingd("image", pixdim=(0.2, 0.2))
    resampled = spacing(dict(loaded))
    assert isinstance(resampled["image"], MetaTensor)
    # 19 steps of 0.4 mm are 38 of 0.2: 39 rows; columns stay as they are.
    assert resampled["image"].shape == (1, 39, 40)
    assert torch.allclose(resampled["image"][0, ::2], loaded["image"][0], atol=1e-4)
    back = spacing.inverse(resampled)["image"]
    assert back.shape == (1, 20, 40)
    assert torch.allclose(back.affine, loaded["image"].affine)
    chain = Compose([spacing, FitGeometryd("image", 16)])
    assert chain.inverse(chain(loaded))["image"].shape == (1, 20, 40)


@pytest.mark.parametrize("name", REAL_FILES)
@pytest.mark.filterwarnings("ignore")  # MONAI's reader warns of each file without a position
def test_legacy_monai_is_monai_s_own_reader(test_data: Path, name: str) -> None:
    path = test_data / "data" / "dicom" / "files" / name
    expected = LoadImage(reader=PydicomReader())(path)
    image = LoadImage(reader=MedresReader(legacy_monai=True))(path)
    assert torch.equal(image.as_tensor(), expected.as_tensor())
    assert torch.equal(image.affine, expected.affine)
    assert {*image.meta} == {*expected.meta}
    loaded, meta = LoadImage(reader=MedresReader(legacy_monai=True), image_only=False)(path)
    assert torch.equal(loaded.as_tensor(), expected.as_tensor())
    assert tuple(meta["spatial_shape"]) == tuple(expected.meta["spatial_shape"])


def test_affine_is_monai_s_for_axial_slices_without_transposition(test_data: Path) -> None:
    path = test_data / "data" / "dicom" / "files" / "pydicom__CT_small.dcm"
    expected = LoadImage(reader=PydicomReader(swap_ij=False))(path)
    image = LoadImage(reader=MedresReader("modality"))(path)
    assert torch.allclose(image.affine, expected.affine)
    assert torch.equal(image.as_tensor(), expected.as_tensor())


def test_legacy_monai_takes_no_other_argument() -> None:
    with pytest.raises(ConfigError, match="legacy_monai gives what MONAI's own reader gives"):
        MedresReader(frame=1, legacy_monai=True)


def test_reader_pickles(addresses: list[str]) -> None:
    reader = pickle.loads(pickle.dumps(MedresReader("display", voi_index=0)))
    assert LoadImage(reader=reader)(addresses[0]).shape == (20, 40)

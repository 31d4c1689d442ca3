"""A model of random weights on disk, and an archive of everything that archives hold."""

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_records import record_of
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scored_tables import score

from medres.bundle.directory import Model, build_network, load_model, write_bundle, write_weights
from medres.bundle.seen import SeenCases

UID = "1.2.826.0.1.3680043.10.99"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    record = record_of("")
    network = build_network(record)
    sha256 = write_weights(folder, network.state_dict())
    seen = SeenCases(frozenset(), frozenset())
    write_bundle(folder, replace(record, weights_sha256=sha256), seen)
    return folder


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Model:
    return load_model(model_folder)


def radiograph(number: int, study: int, **attributes: object) -> bytes:
    """A small DX file with UIDs of its own, as bytes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = f"{UID}.3.{number}"
    dataset.SeriesInstanceUID = f"{UID}.2.{study}"
    dataset.StudyInstanceUID = f"{UID}.1.{study}"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.Manufacturer = "SIEMENS"
    pixels = np.random.default_rng(number).integers(0, 256, (24, 20)).astype(np.uint8)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = pixels.tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def picture(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def fill_archive(folder: Path) -> None:
    """24 inputs: 16 images to score of 10 studies, 6 to reject, 2 to pass by."""
    deep = folder.joinpath(*"abcdefgh")
    deep.mkdir(parents=True)
    for number in range(6):
        (folder / f"{number}").write_bytes(radiograph(number, number // 2))
    (deep / "caf\udce9 \n.dcm").write_bytes(radiograph(6, 3))
    (folder / "copy.dcm").write_bytes(radiograph(0, 0))  # passed by in the tables
    (folder / ".hidden").write_text("x")
    (folder / "cut.dcm").write_bytes(radiograph(7, 3)[:700])
    (folder / "text.dcm").write_text("no image")
    (folder / "flat.png").write_bytes(picture_of_one_gray())
    np.save(folder / "array.npy", np.random.default_rng(9).integers(0, 255, (2, 16, 16), np.uint8))
    with zipfile.ZipFile(folder / "inner.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../x/8.dcm", radiograph(8, 4))
        file.writestr("9.png", picture(9))
        file.writestr("broken.dcm", b"no image")
        file.writestr("nested.zip", zip_of("a.png", picture(10)))
    for name, mode in (("b.tar", "w"), ("c.tgz", "w:gz")):
        with tarfile.open(folder / name, mode) as tar:
            for number in (11, 12) if name == "b.tar" else (13, 14):
                content = radiograph(number, number)
                info = tarfile.TarInfo(f"/{number}.dcm")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            if name == "b.tar":
                link = tarfile.TarInfo("passwd")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(link)


def picture_of_one_gray() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), 77).save(file, "PNG")
    return file.getvalue()


def zip_of(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture(scope="session")
def archive_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives") / "archive"
    fill_archive(folder)
    return folder


@pytest.fixture
def archive(archive_template: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(archive_template, tmp_path / "archive"))


@pytest.fixture(scope="session")
def whole(archive_template: Path, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    score(archive_template, out, model)
    return out


@pytest.fixture(scope="session")
def make_radiograph() -> Callable[..., bytes]:
    return radiograph

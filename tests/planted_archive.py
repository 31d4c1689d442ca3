"""An archive with a word of its own wherever text can stand, files that are rejected among them.

A word tells where it was planted. Addresses and UIDs may come back in `keys.parquet`, and nowhere
else; what headers, comments, links and tables say beside them may come back nowhere at all.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
from hostile_files import nested
from marked_files import element
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

Make = Callable[..., bytes]
ROOT = "1.2.826.0.1.3680043.10.99"
TEXTS = (
    *("PatientName", "PatientID", "PatientBirthName", "PatientMotherBirthName", "PatientComments"),
    *("AccessionNumber", "StudyID", "StudyDescription", "SeriesDescription", "ProtocolName"),
    *("InstitutionName", "InstitutionAddress", "StationName", "ReferringPhysicianName"),
    *("OperatorsName", "PerformingPhysicianName", "RequestingPhysician", "ImageComments"),
    *("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"),
    *("BodyPartExamined", "ViewPosition", "AcquisitionDeviceProcessingDescription"),
    *("PatientAddress", "OtherPatientIDs", "Allergies", "AdditionalPatientHistory"),
)
BIRTH_DATE = "18770413"
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class Plants:
    """Words, each once; `address` and `uid` are those that lead back to an image."""

    def __init__(self) -> None:
        self.where: dict[str, str] = {BIRTH_DATE: "birth date"}
        self.leading: set[str] = set()

    def text(self, where: str) -> str:
        """A word that is never seen again."""
        word = f"QZX{len(self.where):03d}JKV"
        self.where[word] = where
        return word

    def address(self, where: str) -> str:
        """A word for the name of a file, a folder, a member or an array."""
        word = self.text(where)
        self.leading.add(word)
        return word

    def uid(self, where: str) -> str:
        """A UID."""
        uid = f"{ROOT}.7717{len(self.where):04d}313131"
        self.where[uid] = where
        self.leading.add(uid)
        return uid

    def seen_in(self, content: bytes | str) -> set[str]:
        """The plants that stand in something, in capitals or not."""
        content = (
            content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        )
        lowered = content.lower()
        return {word for word in self.where if word.lower().encode() in lowered}

    def seen_in_file(self, path: Path) -> set[str]:
        """The same of a file; of a table, uncompressed."""
        seen = self.seen_in(path.read_bytes())
        if path.suffix == ".parquet":
            seen |= self.seen_in(str(pq.read_table(path).to_pydict()))
        return seen


def planted_radiograph(plants: Plants, make: Make, number: int, where: str) -> bytes:
    """A radiograph that can be scored, with a word in every text of its header."""
    dataset = dcmread(io.BytesIO(make(number, number)))
    for keyword in TEXTS:
        setattr(dataset, keyword, plants.text(f"{where}: {keyword}"))
    for keyword in UIDS:
        setattr(dataset, keyword, plants.uid(f"{where}: {keyword}"))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ImageType = ["ORIGINAL", "PRIMARY", plants.text(f"{where}: ImageType")]
    dataset.PatientBirthDate = BIRTH_DATE
    block = dataset.private_block(0x0009, plants.text(f"{where}: private creator"), create=True)
    block.add_new(1, "LO", plants.text(f"{where}: private text"))
    block.add_new(2, "PN", plants.text(f"{where}: private name"))
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = plants.text(f"{where}: code"), "99LOCAL"
    item.CodeMeaning = plants.text(f"{where}: code meaning")
    dataset.AnatomicRegionSequence = [item]
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def changed(content: bytes, **attributes: object) -> bytes:
    """A file with other values, in whatever state that leaves it; None deletes."""
    dataset = dcmread(io.BytesIO(content))
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file, implicit_vr=False, little_endian=True)
    return file.getvalue()


def with_syntax(content: bytes, uid: str) -> bytes:
    """A file that says it is of another transfer syntax."""
    at = content.index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    padded = uid.encode() + b"\0" * (len(uid) % 2)
    meta = int.from_bytes(content[140:144], "little") + len(padded) - length
    whole = content[:140] + meta.to_bytes(4, "little") + content[144 : at + 6]
    return whole + len(padded).to_bytes(2, "little") + padded + content[at + 8 + length :]


def planted_picture(plants: Plants, where: str) -> bytes:
    """A PNG with words in its chunks."""
    text = PngInfo()
    text.add_text(plants.text(f"{where}: keyword"), plants.text(f"{where}: text"), zip=True)
    text.add_itxt("XML:com.adobe.xmp", plants.text(f"{where}: XMP"))
    file = io.BytesIO()
    pixels = np.random.default_rng(len(plants.where)).integers(0, 256, (20, 24), np.uint8)
    Image.fromarray(pixels).save(file, "PNG", pnginfo=text)
    return file.getvalue()


def planted_volume(plants: Plants, slices: int) -> bytes:
    """A NIfTI file of many images, so that a run takes a while."""
    voxels = np.random.default_rng(5).integers(0, 200, (12, 12, slices)).astype(np.int16)
    volume = nib.Nifti1Image(voxels, np.eye(4))
    for field in ("descrip", "aux_file", "intent_name", "db_name"):
        volume.header[field] = plants.text(f"NIfTI: {field}").encode()
    return volume.to_bytes()


def refused_radiographs(plants: Plants, make: Make) -> dict[str, tuple[str, bytes]]:
    """Reason and content of what a header or its pixels are refused for."""

    def planted(number: int) -> bytes:
        return planted_radiograph(plants, make, number, f"refused {number}")

    syntax = plants.text("transfer syntax")
    photometric = plants.text("photometric interpretation")
    jpeg = with_syntax(planted(40), "1.2.840.10008.1.2.4.50")
    return {
        "cut": ("truncated", planted(41)[:-200]),
        "photometric": (
            "unsupported_photometric",
            changed(planted(42), PhotometricInterpretation=photometric),
        ),
        "large": ("too_large", changed(planted(43), Rows=65535, Columns=65535)),
        "syntax": ("no_decoder", with_syntax(planted(44), f"1.2.{syntax}")),
        "no_pixels": ("no_pixel_data", changed(planted(45), PixelData=None)),
        "report": (
            "not_an_image",
            changed(planted(46), PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"),
        ),
        "constant": ("constant_image", changed(planted(47), PixelData=bytes(480))),
        "jpeg": ("decode_failed", jpeg),
        "deep": ("invalid_header", nested(1000)),
        "long": (
            "truncated",
            b"".join(
                (
                    planted(48)[:-600],
                    element(0x00290010, "UN", plants.text("cut element").encode()),
                )
            ),
        ),
    }


def tar_of(plants: Plants, contents: dict[str, bytes]) -> bytes:
    """A tar with members, a link and its target."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size, info.uname = len(content), plants.text("tar: owner")
            info.pax_headers = {"comment": plants.text("tar: comment")}
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo(plants.address("tar: link"))
        link.type, link.linkname = tarfile.SYMTYPE, f"/home/{plants.text('tar: target')}"
        tar.addfile(link)
    return file.getvalue()


def zip_of(plants: Plants, contents: dict[str, bytes]) -> bytes:
    """A zip with comments."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.comment = plants.text("zip: member's comment").encode()
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
        archive.comment = plants.text("zip: comment").encode()
    return file.getvalue()


def damage_zip(content: bytes, *, encrypted: bool) -> bytes:
    """Its first member encrypted by its flags, or its directory cut off."""
    if not encrypted:
        return content[: content.rindex(b"PK\x01\x02")]
    whole = bytearray(content)
    whole[6] |= 1
    whole[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(whole)


def fill_planted_folder(folder: Path, plants: Plants, make: Make) -> None:
    """Everything that a folder can hold."""
    patient = folder / plants.address("folder") / plants.address("inner folder")
    patient.mkdir(parents=True)

    def put(what: str, suffix: str, content: bytes) -> Path:
        path = patient / f"{plants.address(what)}{suffix}"
        path.write_bytes(content)
        return path

    radiograph = planted_radiograph(plants, make, 1, "radiograph")
    put("radiograph", ".dcm", radiograph)
    put("copy", "", radiograph)
    put("radiograph, UIDs of text", ".dcm", changed_uids(plants, make))
    put("picture", ".png", planted_picture(plants, "PNG"))
    put("volume", ".nii", planted_volume(plants, 60))
    for what, (_, content) in refused_radiographs(plants, make).items():
        put(f"refused: {what}", ".dcm", content)
    put("text", ".dcm", plants.text("text").encode())
    put("text without suffix", "", plants.text("text").encode() * 20)
    put("empty", ".dcm", b"")
    arrays = {plants.address("array"): np.arange(96, dtype=np.uint8).reshape(2, 8, 6)}
    np.savez(patient / f"{plants.address('npz')}.npz", **arrays)
    objects = np.array([{plants.text("pickle"): 1}])
    np.savez(patient / f"{plants.address('npz of objects')}.npz", **{plants.text("a"): objects})
    inner = zip_of(plants, {plants.text("inner member"): radiograph})
    members = {
        f"../{plants.address('zip: folder')}/{plants.address('zip: member')}": make(60, 60),
        f"{plants.address('zip: refused member')}.dcm": radiograph[:900],
        f"{plants.address('zip: nested')}.zip": inner,
        f".{plants.address('zip: hidden')}": b"x",
    }
    put("zip", ".zip", zip_of(plants, members))
    put("tar", ".tar", tar_of(plants, {plants.address("tar: member"): make(61, 61)}))
    other = {plants.address("zip: member of a bad zip") + ".dcm": make(62, 62)}
    put("encrypted zip", ".zip", damage_zip(zip_of(plants, other), encrypted=True))
    put("damaged zip", ".zip", damage_zip(zip_of(plants, other), encrypted=False))
    put("empty zip", ".zip", zip_of(plants, {}))
    (patient / f".{plants.address('hidden file')}").write_text(plants.text("hidden"))
    (patient / plants.address("link out")).symlink_to(f"/{plants.text('target')}")
    (patient / plants.address("link in")).symlink_to(next(patient.glob("*.png")).name)
    os.mkfifo(patient / plants.address("pipe"))
    name = os.fsdecode(plants.address("name of bytes").encode() + b"\xe9\n.dcm")
    (patient / name).write_bytes(make(63, 63))


def changed_uids(plants: Plants, make: Make) -> bytes:
    """A radiograph with names where UIDs should be."""
    content = make(2, 2)
    dataset = dcmread(io.BytesIO(content))
    for keyword in UIDS:
        uid = str(dataset[keyword].value)
        text = plants.text(f"{keyword} that is none").ljust(len(uid))
        content = content.replace(uid.encode(), text.encode())
    return content


def fill_disc(folder: Path, plants: Plants, make: Make) -> Path:
    """A disc of two images whose DICOMDIR names a third that is lost; returns its path."""
    disc = FileSet()
    stages = [disc._stage["t"]]
    for number in (3, 4, 5):
        dataset = dcmread(io.BytesIO(planted_radiograph(plants, make, number, "disc")))
        dataset.StudyDate, dataset.StudyTime = "20200101", "101112"
        dataset.SeriesNumber = dataset.InstanceNumber = number
        disc.add(dataset)
    disc.write(folder)
    for stage in (*stages, disc._stage["t"]):
        stage.cleanup()  # pydicom leaves them to the collector, which warns
    directory = dcmread(folder / "DICOMDIR")
    images = [r for r in directory.DirectoryRecordSequence if "ReferencedFileID" in r]
    for record in images:
        old = folder.joinpath(*record.ReferencedFileID)
        record.ReferencedFileID = [plants.address("DICOMDIR: reference")]
        old.rename(folder / record.ReferencedFileID)
    (folder / images[-1].ReferencedFileID).unlink()
    directory.save_as(folder / "DICOMDIR")
    return folder / "DICOMDIR"


def write_planted_manifest(folder: Path, plants: Plants, make: Make) -> Path:
    """A table of images that are there, lost, and asked for in frames and parts that are not."""
    folder.mkdir()
    image, array = plants.address("listed"), plants.address("listed array")
    (folder / f"{image}.dcm").write_bytes(planted_radiograph(plants, make, 5, "listed"))
    np.savez(folder / f"{image}.npz", **{array: np.arange(48, dtype=np.uint8).reshape(1, 8, 6)})
    (folder / f"{image}.png").write_bytes(planted_picture(plants, "listed PNG"))
    (folder / f"{image}.nii").write_bytes(planted_volume(plants, 2))
    rows = [
        (f"{image}.dcm", "0", plants.text("manifest: study that is no UID")),
        (f"{image}.dcm", "99", ""),
        (f"{image}.png", "", plants.uid("manifest: study")),
        (f"{image}.npz::{array}", "0", ""),
        (f"{image}.npz::{plants.address('no such array')}", "0", ""),
        (f"{image}.nii::{plants.address('no such plane')}", "0", ""),
        (f"{image}.nii::axial", "1", ""),
        (f"{plants.address('lost')}.dcm", "", ""),
        (f"{image}.png::{plants.address('no such member')}", "", ""),
    ]
    text = f"image,frame,study_instance_uid,patient_id,{plants.text('column')}\n"
    for image, frame, study in rows:
        cells = (image, frame, study, plants.text("patient_id"), plants.text("cell"))
        text += ",".join(cells) + "\n"
    (folder / "manifest.csv").write_text(text)
    return folder / "manifest.csv"

"""Files made to do harm: each refused with its reason, quickly and within a memory budget."""

import gzip
import json
import logging
import os
import random
import struct
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
import zlib

import nibabel as nib
import numpy as np
import pytest
from fuzz_imaging import mutate, read_everything
from fuzz_sources import sources
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.codestream import check_rle, count_tiles
from medres.imaging.limits import LIMITS, check_file, open_bounded
from medres.imaging.read import read_grayscale, read_record

MIB = 2**20
# What reading a small hostile file may take beyond what Python and its libraries take already:
# an inflated DICOM data set, in zlib's growing pieces and whole, and some for its reader.
BUDGET = 4 * LIMITS.inflated_bytes + 256 * MIB
SECONDS = 20

IN_A_SMALL_PROCESS = """
import json, resource, sys, time
from medres.errors import UnreadableImageError
from medres.imaging import arrays, dicom, nifti, raster
from medres.imaging.read import read_grayscale, read_record
try:
    read_grayscale(sys.argv[2])
except UnreadableImageError:
    pass
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = size + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[3:]:
    for read in (read_record, read_grayscale):
        start = time.perf_counter()
        try:
            read(path)
            said = ["read", ""]
        except UnreadableImageError as error:
            said = [error.reason, error.message]
        print(json.dumps([path, read.__name__, *said, time.perf_counter() - start]))
"""


def element(tag, vr, value, length=None):
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    length = len(value) if length is None else length
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    return (
        head
        + (b"\0\0" + struct.pack("<L", length) if long else struct.pack("<H", length))
        + (value)
    )


def file_of(data_set, syntax=b"1.2.840.10008.1.2.1\0"):
    meta = element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    meta += element(0x00020010, b"UI", syntax)
    return (
        bytes(128)
        + b"DICM"
        + element(0x00020000, b"UL", struct.pack("<L", len(meta)))
        + (meta + data_set)
    )


def save_encapsulated(dicom_dataset, path, frames, syntax, **attributes):
    dataset = dicom_dataset(np.array([[1, 2], [3, 4]], np.uint8), **attributes)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    return path


def deflated_bomb(path):
    inflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = inflater.compress(element(0x00091001, b"OB", b"", 0x7FFFFFF0))
    bomb += b"".join(inflater.compress(bytes(64 * MIB)) for _ in range(10)) + inflater.flush()
    path.write_bytes(file_of(bomb, b"1.2.840.10008.1.2.1.99\0\0"[:22]))
    return path


def j2k_header(rows, columns, tile=0, components=1):
    tile = tile or max(rows, columns)
    size = struct.pack(">H8IH", 0, columns, rows, 0, 0, tile, tile, 0, 0, components)
    size += b"\x07\x01\x01" * components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + b"\xff\xd9"


def rle_bomb(mebibytes):
    """One segment that decodes to 64 times its size."""
    return struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * (mebibytes * MIB // 2)


def nested(depth):
    start = element(0x00081140, b"SQ", b"", 0xFFFFFFFF)
    return file_of((start + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth)


def nifti_header(shape, dtype=np.uint8):
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(np.eye(4))
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


def png_chunk(name, content):
    checked = name + content
    return struct.pack(">L", len(content)) + checked + struct.pack(">L", zlib.crc32(checked))


def png(rows, columns, data):
    head = png_chunk(b"IHDR", struct.pack(">LLBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def npy_header(shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode()


def zipped(path, name, content, repeat=1):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(repeat):
            member.write(content)
    return path


def gzipped(path, head, mebibytes):
    with gzip.open(path, "wb") as file:
        file.write(head)
        for _ in range(mebibytes):
            file.write(bytes(MIB))
    return path


def write_bombs(folder, dicom_dataset):
    """Each file with its reason and what is said of it when it is read."""
    huge = folder / "huge.dcm"
    save_encapsulated(
        dicom_dataset,
        huge,
        [bytes(64)],
        RLELossless,
        Rows=65535,
        Columns=65535,
        NumberOfFrames=1000,
    )
    yield huge, "too_large", "65535 x 65535 pixels a frame"
    claim = folder / "500_frames.dcm"
    save_encapsulated(
        dicom_dataset,
        claim,
        [rle_bomb(1)],
        RLELossless,
        Rows=8192,
        Columns=8192,
        NumberOfFrames=500,
    )
    yield claim, "truncated", "holds 1 fragments for the 500 frames"
    frames = folder / "frames.dcm"
    dicom_dataset(np.ones((512, 512), np.uint16), NumberOfFrames=2**31 - 1).save_as(frames)
    yield frames, "truncated", "says 2147483647, but a file of"
    rle = folder / "rle.dcm"
    save_encapsulated(dicom_dataset, rle, [rle_bomb(14)], RLELossless)
    yield rle, "too_large", "an RLE segment decodes to far more than the frame's 2 x 2"
    j2k = folder / "j2k.dcm"
    save_encapsulated(dicom_dataset, j2k, [j2k_header(60000, 60000)], JPEG2000Lossless)
    yield j2k, "invalid_header", "frame is 60000 x 60000 pixels"
    tiles = folder / "tiles.dcm"
    stream = j2k_header(16384, 16384, tile=1)
    save_encapsulated(dicom_dataset, tiles, [stream], JPEG2000Lossless, Rows=16384, Columns=16384)
    yield tiles, "invalid_header", "has 268435456 tiles and 1 components"
    jp2 = folder / "jp2.dcm"
    stream = b"\0\0\0\x0cjP  \r\n\x87\n" + j2k_header(2, 2, components=16000)
    save_encapsulated(dicom_dataset, jp2, [stream], JPEG2000Lossless)
    yield jp2, "invalid_header", "has 1 tiles and 16000 components"
    yield deflated_bomb(folder / "deflated.dcm"), "too_large", "inflates to more than the"
    long = folder / "long.dcm"
    long.write_bytes(file_of(element(0x00100010, b"UN", b"SECRET", 0xFFFFFFF0)))
    yield long, "truncated", "ends before or within Pixel Data"
    deep = folder / "deep.dcm"
    deep.write_bytes(nested(200))
    yield deep, "invalid_header", "the DICOM header cannot be parsed"
    deeper = folder / "deeper.dcm"
    deeper.write_bytes(nested(20_000))
    yield deeper, "invalid_header", "the DICOM header cannot be parsed"
    pieces = folder / "pieces.dcm"
    pieces.write_bytes(
        file_of(b"".join(element(0x00090000 + n, b"UN", b"x") for n in range(2**18)))
    )
    yield pieces, "too_large", "its header takes more than the"
    volume = folder / "volume.nii"
    volume.write_bytes(nifti_header((32767, 32767, 32767)))
    yield volume, "truncated", "fewer voxels than its header promises (35181150961663 bytes)"
    bomb = gzipped(folder / "bomb.nii.gz", nifti_header((16384, 16384, 16)), 64)
    yield bomb, "truncated", "fewer voxels than its header promises"
    array = zipped(folder / "bomb.npz", "a.npy", npy_header((1, 2**31)), 1)
    yield array, "truncated", "takes more than the"
    whole = folder / "whole.npz"
    zipped(whole, "a.npy", npy_header((2**20, 64, 64)) + bytes(MIB), 1)
    yield whole, "truncated", "takes more than the"
    large = folder / "large.png"
    large.write_bytes(png(30000, 30000, zlib.compress(bytes(MIB))))
    yield large, "too_large", "pixels"


def test_bombs_are_refused_within_the_memory_budget(dicom_dataset, tmp_path):
    bombs = {str(path): said for path, *said in write_bombs(tmp_path, dicom_dataset)}
    plain = tmp_path / "plain.dcm"
    dicom_dataset(np.array([[1]], np.uint8)).save_as(plain)
    done = subprocess.run(
        [sys.executable, "-c", IN_A_SMALL_PROCESS, str(BUDGET), str(plain), *bombs],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "SECRET" not in done.stdout
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2 * len(bombs)
    for path, read, reason, message, seconds in lines:
        expected, text = bombs[path]
        assert seconds < SECONDS, (path, read, seconds)
        assert "more memory than there is" not in message, (path, read)
        if read == "read_grayscale":
            assert reason != "read", path
            assert not expected or reason == expected, (path, message)
            assert text in message, (path, message)


def refusal(path, read=read_grayscale):
    with pytest.raises(UnreadableImageError) as caught:
        read(path)
    return caught.value


@pytest.mark.parametrize("read", [read_record, read_grayscale])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "fifo.dcm")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    start = time.perf_counter()
    for name, text in (
        ("fifo.dcm", "is no file but a FIFO, a device or a socket"),
        ("/dev/zero", "is no file but a FIFO, a device or a socket"),
        (".", "is a folder; give the path of one file in it"),
        ("loop", "the path cannot be followed to a file"),
        ("dangling", "there is no such file"),
        ("a" * 5000, "the path cannot be followed to a file"),
        ("a\0b", "the path cannot be followed to a file"),
    ):
        error = refusal(tmp_path / name, read)
        assert error.reason is RejectReason.NOT_FOUND
        assert text in error.message
    assert time.perf_counter() - start < 5


def test_link_to_an_image_is_followed(dicom_dataset, tmp_path):
    dicom_dataset(np.array([[1]], np.uint8)).save_as(tmp_path / "a.dcm")
    (tmp_path / "link").symlink_to(tmp_path / "a.dcm")
    assert read_grayscale(tmp_path / "link").pixels.shape == (1, 1)


def test_larger_file_than_is_read_is_refused_unopened(tmp_path):
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.write(file_of(b""))
        file.truncate(LIMITS.file_bytes + 1)  # takes no room on the disk
    error = refusal(path)
    assert error.reason is RejectReason.TOO_LARGE
    assert "the file has 2147483649 bytes; 2147483648 are read at most" in error.message


def test_what_is_no_image_is_refused(dicom_dataset, tmp_path):
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "text.dcm").write_text("SECRET^NAME\n" * 100)
    (tmp_path / "zeros.dcm").write_bytes(bytes(4096))
    for name, reason in (("empty", "empty_file"), ("text", "not_dicom"), ("zeros", "not_dicom")):
        error = refusal(tmp_path / f"{name}.dcm")
        assert error.reason == reason
        assert "SECRET" not in str(error)


def test_picture_named_like_dicom_is_read_as_the_picture_it_is(tmp_path):
    path = tmp_path / "a.dcm"
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(path, "PNG")
    assert read_grayscale(path).pixels.tolist() == [[0, 1]]


def test_directory_of_dicom_files_is_no_image_and_leads_nowhere(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.array([[1]], np.uint8))
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.add_new(0x00041500, "CS", ["..", "..", "etc", "passwd"])
        dataset.save_as(tmp_path / "DICOMDIR")
    error = refusal(tmp_path / "DICOMDIR")
    assert error.reason is RejectReason.NOT_AN_IMAGE
    assert "passwd" not in str(error)


@pytest.mark.parametrize("at", range(1, 16))
def test_real_file_cut_at_every_sixteenth_gives_no_picture_in_silence(test_data, tmp_path, at):
    whole = sorted((test_data / "data/dicom/files").iterdir())
    cut = tmp_path / "cut.dcm"
    for path in whole[at % 3 :: 3]:
        content = path.read_bytes()
        cut.write_bytes(content[: len(content) * at // 16])
        try:
            full = read_grayscale(path).pixels
        except UnreadableImageError:
            full = None
        try:
            pixels = read_grayscale(cut).pixels
        except UnreadableImageError:
            continue
        # What follows the first frame, or pads it, may be lost without harm to it.
        assert full is not None, path.name
        assert np.array_equal(pixels, full), path.name


def test_tiles_and_components_are_read_from_the_codestream():
    assert count_tiles(j2k_header(100, 64, tile=64)) == (2, 1)
    assert count_tiles(j2k_header(64, 64, components=3)) == (1, 3)
    assert count_tiles(b"\xff\xd8\xff") == (1, 1)
    broken = bytearray(j2k_header(64, 64))
    broken[24:28] = bytes(4)
    assert count_tiles(bytes(broken)) == (0, 1)


def test_rle_is_counted_to_the_limit():
    head = struct.pack("<16L", 1, 64, *[0] * 14)
    literal, run, nothing = b"\x02abc", b"\x81a", b"\x80"
    assert check_rle(head + literal + nothing + run, 131)
    assert not check_rle(head + literal + nothing + run, 130)
    assert check_rle(b"short", 0)


def test_every_way_in_looks_at_the_file_first(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for opening in (check_file, open_bounded):
        with pytest.raises(UnreadableImageError, match="is no file but a FIFO"):
            opening(tmp_path / "fifo")


MARKER = "ZZYZX"
TEXT_VRS = ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"]


def marked_files(dicom_dataset):
    """DICOM files with the marker in every text element there is room for, whole and damaged."""
    from pydicom.datadict import DicomDictionary

    for vr in TEXT_VRS:
        dataset = dicom_dataset(np.array([[1, 2]], np.uint8))
        for tag, (kind, _, _, _, _keyword) in DicomDictionary.items():
            if kind == vr and tag >> 16 not in (0, 2, 0xFFFE) and tag not in dataset:
                dataset.add_new(tag, "LO", MARKER)
        yield dataset


def test_no_text_of_a_file_is_ever_told(dicom_dataset, tmp_path, caplog, capfd):
    rng = random.Random(0)
    path = tmp_path / "a.dcm"
    told = []
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        for dataset in marked_files(dicom_dataset):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset.save_as(path)
            caplog.clear()
            content = path.read_bytes()
            for damaged in (content, *(mutate(rng, content, content) for _ in range(30))):
                path.write_bytes(damaged)
                for read in (read_record, read_grayscale):
                    try:
                        read(path)
                    except UnreadableImageError as error:
                        told += traceback.format_exception(error)
            told += [record.getMessage() for record in caplog.records]
    told += [str(warning.message) for warning in warned]
    told += capfd.readouterr()
    assert told
    assert not [text for text in told if MARKER in text]


def test_meta_information_that_cannot_be_parsed_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(file_of(b"").replace(b"\x02\0\x10\0UI", b"\x02\0\x10\0UY"))
    error = refusal(path)
    assert error.reason is RejectReason.INVALID_HEADER
    path.write_bytes(file_of(b"", b"1.2\\1.3\0"))
    assert refusal(path).reason is RejectReason.INVALID_HEADER


def test_damaged_files_raise_the_documented_error_only(tmp_path):
    rng = random.Random(20260)
    whole = [content for content in sources() if len(content) < 50_000]
    path = tmp_path / "input"
    said = set()
    for _ in range(400):
        path.write_bytes(mutate(rng, rng.choice(whole), rng.choice(whole)))
        said.add(read_everything(path))
    assert "read" in said
    assert len(said) > 5

"""Files made to do harm: each refused with its reason, quickly and within a memory budget."""

import json
import os
import struct
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from hostile_files import (
    file_of,
    j2k_header,
    write_bombs,
    write_honest,
)
from PIL import Image
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEGLSLossless, MediaStorageDirectoryStorage

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


IN_A_MEASURED_PROCESS = """
import sys
from medres.imaging.read import read_grayscale

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmPeak")).split()[1])

read_grayscale(sys.argv[1])
before = peak()
read_grayscale(sys.argv[2])
print(peak() - before)
"""


def test_reading_takes_no_more_memory_than_is_stated(dicom_dataset, tmp_path):
    side = 1500
    small = [path for _, path, _ in write_honest(tmp_path, dicom_dataset, 32)]
    for start, (name, path, each) in zip(
        small, write_honest(tmp_path, dicom_dataset, side), strict=True
    ):
        done = subprocess.run(
            [sys.executable, "-c", IN_A_MEASURED_PROCESS, str(start), str(path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        allowed = each * side**2 + path.stat().st_size + 8 * MIB
        assert int(done.stdout) <= allowed, (name, int(done.stdout) / side**2)


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


def test_meta_information_that_cannot_be_parsed_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(file_of(b"").replace(b"\x02\0\x10\0UI", b"\x02\0\x10\0UY"))
    error = refusal(path)
    assert error.reason is RejectReason.INVALID_HEADER
    path.write_bytes(file_of(b"", b"1.2\\1.3\0"))
    assert refusal(path).reason is RejectReason.INVALID_HEADER


def test_jpeg_ls_without_its_end_is_refused_before_the_decoder_looks_for_it(
    dicom_dataset, tmp_path, monkeypatch
):
    dataset = dicom_dataset(np.arange(4096, dtype=np.uint16).reshape(64, 64))
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    assert stream.rstrip(b"\0").endswith(b"\xff\xd9")
    dataset.PixelData = encapsulate([stream.rstrip(b"\0")[:-2] + b"\xff\x7f"])
    dataset.save_as(tmp_path / "a.dcm")
    monkeypatch.setattr("jpeg_ls.decode_pixel_data", lambda *_, **__: pytest.fail("decoded"))
    error = refusal(tmp_path / "a.dcm")
    assert error.reason is RejectReason.TRUNCATED
    assert "lacks the end of its JPEG-LS stream" in error.message

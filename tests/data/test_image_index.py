"""What an index says of a folder before a job starts on it."""

import numpy as np
import pytest
from PIL import Image
from pydicom import uid as uids
from radiographs import write_tiny_dicom

from medres.data.image_index import index_images, missing_decoders
from medres.errors import ManifestError, RejectReason

MPEG2 = "1.2.840.10008.1.2.4.100"
MPEG2_LACKS = (
    "no installed decoder reads transfer syntax MPEG2 Main Profile / Main Level; transcode the "
    "file first"
)


@pytest.fixture
def mixed(tmp_path):
    write_tiny_dicom(tmp_path / "a.dcm", uids.ExplicitVRLittleEndian)
    write_tiny_dicom(tmp_path / "b.dcm", MPEG2)
    write_tiny_dicom(tmp_path / "c.dcm", MPEG2)
    write_tiny_dicom(tmp_path / "d.dcm", "1.2.840.10008.1.2.4.102")  # H.264
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "e.png")
    (tmp_path / "f.dcm").write_text("text")
    return tmp_path


def test_file_without_decoder_is_rejected_by_its_header(mixed):
    index = index_images(mixed)
    assert [file.name for file in index.images] == ["a.dcm", "e.png"]
    rejected = {file.file: file.reason for file in index.rejected}
    assert rejected == {
        "b.dcm": RejectReason.NO_DECODER,
        "c.dcm": RejectReason.NO_DECODER,
        "d.dcm": RejectReason.NO_DECODER,
        "f.dcm": RejectReason.NOT_DICOM,
    }


def test_missing_decoders_are_counted_by_transfer_syntax(mixed):
    counts = missing_decoders(index_images(mixed).rejected)
    assert [*counts.values()] == [2, 1]
    assert counts[MPEG2_LACKS] == 2


def test_no_missing_decoder_is_none(tmp_path):
    write_tiny_dicom(tmp_path / "a.dcm", uids.ExplicitVRLittleEndian)
    assert missing_decoders(index_images(tmp_path).rejected) == {}


def test_folder_without_a_single_decoder_is_an_error_that_names_the_syntax(tmp_path):
    write_tiny_dicom(tmp_path / "a.dcm", MPEG2)
    with pytest.raises(ManifestError, match=r"none of 1 files .*: no installed"):
        index_images(tmp_path)


def test_pixels_are_not_touched_to_know(mixed, monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("medres.imaging.dicom_pixels.decode_frame", decode)
    assert len(index_images(mixed).images) == 2

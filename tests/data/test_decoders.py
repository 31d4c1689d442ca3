"""A manifest is refused before a job starts where its files cannot be decoded."""

import numpy as np
import pytest
from PIL import Image
from pydicom import uid as uids
from pydicom.pixels import get_decoder
from radiographs import write_tiny_dicom

from medres.data.decoders import check_decoders, describe_lack
from medres.data.manifest import read_manifest
from medres.errors import ManifestError
from medres.imaging.grayscale import ImageRecord

MPEG2 = "1.2.840.10008.1.2.4.100"


@pytest.fixture
def manifest_of(tmp_path):
    """Manifest of files by name, two frames of each."""

    def read(**syntaxes):
        for name, syntax in syntaxes.items():
            write_tiny_dicom(tmp_path / f"{name}.dcm", syntax)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "p.png")
        (tmp_path / "text.dcm").write_text("text")
        names = [*(f"{name}.dcm" for name in syntaxes), "p.png", "text.dcm"]
        lines = [f"{name},{frame},1" for name in names for frame in (0, 1)]
        path = tmp_path / "manifest.csv"
        path.write_text("\n".join(["image,frame,label", *lines]) + "\n")
        return read_manifest(path)

    return read


def test_files_without_decoder_are_named_by_syntax_and_counted_once(manifest_of, monkeypatch):
    monkeypatch.setattr(get_decoder(uids.JPEGLSLossless), "_available", {})
    names = dict.fromkeys("abcd", MPEG2)
    with pytest.raises(ManifestError) as caught:
        check_decoders(manifest_of(**names, e=uids.JPEGLSLossless, f=uids.ExplicitVRLittleEndian))
    assert str(caught.value) == (
        "image files that cannot be decoded: 4 (a.dcm, b.dcm, c.dcm, ...): no installed decoder "
        "reads transfer syntax MPEG2 Main Profile / Main Level; transcode the file first; "
        "1 (e.dcm): no installed decoder reads transfer syntax JPEG-LS Lossless Image Compression; "
        "`pip install pyjpegls` adds it, or transcode the file first"
    )


def test_what_else_is_wrong_is_left_to_the_reader(manifest_of):
    check_decoders(manifest_of(a=uids.ExplicitVRLittleEndian))


def test_pictures_lack_nothing():
    record = ImageRecord(format="raster", rows=1, columns=1, intensity="display", voi="")
    assert describe_lack(record) == ""

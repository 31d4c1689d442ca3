"""Which transfer syntaxes have a decoder here, and what is said about the others."""

import numpy as np
import pytest
from pydicom import uid as uids
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.codecs import (
    describe_missing_decoder,
    find_decoder,
    has_decoder,
    list_syntaxes,
)
from medres.imaging.read import read_grayscale


@pytest.fixture
def without_plugins(monkeypatch):
    """A machine without the decoders of one transfer syntax."""

    def remove(uid):
        monkeypatch.setattr(get_decoder(uid), "_available", {})

    return remove


def test_default_install_reads_everything_but_lossless_and_12_bit_jpeg():
    lacking = {(s.uid, s.package) for s in list_syntaxes() if not s.readable}
    assert lacking <= {
        (uids.JPEGExtended12Bit, "imagecodecs"),
        (uids.JPEGLossless, "imagecodecs"),
        (uids.JPEGLosslessSV1, "imagecodecs"),
    }


def test_extended_jpeg_is_two_rows_one_a_depth(without_plugins):
    get_decoder(uids.JPEGExtended12Bit)
    rows = [s for s in list_syntaxes() if s.uid == uids.JPEGExtended12Bit]
    assert [(s.name, s.package) for s in rows] == [
        ("JPEG Extended (Process 2 and 4), 8 bits", "pillow"),
        ("JPEG Extended (Process 2 and 4), 12 bits", "imagecodecs"),
    ]


def test_pillow_alone_reads_extended_jpeg_of_8_bits_only(monkeypatch):
    decoder = get_decoder(uids.JPEGExtended12Bit)
    monkeypatch.setattr(decoder, "_available", {"pillow": decoder._available["pillow"]})
    assert has_decoder(uids.JPEGExtended12Bit, 8)
    assert not has_decoder(uids.JPEGExtended12Bit, 12)


def test_another_package_s_plugin_counts_for_12_bits(monkeypatch):
    decoder = get_decoder(uids.JPEGExtended12Bit)
    monkeypatch.setattr(decoder, "_available", {"pillow": print, "pylibjpeg": print})
    assert find_decoder(uids.JPEGExtended12Bit, 12) is decoder


@pytest.mark.parametrize(
    "uid", [uids.ImplicitVRLittleEndian, uids.ExplicitVRBigEndian, uids.RLELossless]
)
def test_what_pydicom_decodes_itself_needs_no_package(uid):
    row = next(s for s in list_syntaxes() if s.uid == uid)
    assert (row.readable, row.package) == (True, "")


@pytest.mark.parametrize("uid", ["", "1.2.3.4", "no uid", "1.2.840.10008.1.2.4.100"])
def test_unknown_transfer_syntax_has_no_decoder(uid):
    assert not has_decoder(uid)


@pytest.mark.parametrize(
    ("uid", "bits", "package"),
    [
        (uids.JPEGBaseline8Bit, 8, "pillow"),
        (uids.JPEGExtended12Bit, 8, "pillow"),
        (uids.JPEGExtended12Bit, 12, "imagecodecs"),
        (uids.JPEGLossless, 16, "imagecodecs"),
        (uids.JPEGLSLossless, 12, "pyjpegls"),
        (uids.JPEG2000Lossless, 12, "pylibjpeg-openjpeg"),
        (uids.HTJ2K, 12, "pylibjpeg-openjpeg"),
    ],
)
def test_missing_decoder_is_told_with_the_package_that_adds_it(uid, bits, package):
    assert describe_missing_decoder(uid, bits) == (
        f"no installed decoder reads transfer syntax {uid.name}; `pip install {package}` adds it, "
        "or transcode the file first"
    )


def test_syntax_that_no_package_adds_is_to_be_transcoded_and_never_quoted():
    assert describe_missing_decoder("1.2.3.4") == (
        "no installed decoder reads transfer syntax unregistered; transcode the file first"
    )


def test_refused_file_names_the_package(dicom_dataset, tmp_path, without_plugins):
    without_plugins(uids.JPEGLSLossless)
    dataset = dicom_dataset(np.array([[1]], np.uint16))
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    dataset.file_meta.TransferSyntaxUID = uids.JPEGLSLossless
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    with pytest.raises(UnreadableImageError, match="`pip install pyjpegls` adds it") as caught:
        read_grayscale(tmp_path / "a.dcm")
    assert caught.value.reason is RejectReason.NO_DECODER

"""Data sets without preamble and prefix: read where they are DICOM beyond doubt, else refused."""

import numpy as np
import pytest
from golden_codings import LOSSLESS, code_pixels, write_coded

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom_prefix import has_prefix, is_bare, starts_dicom
from medres.imaging.read import read_grayscale, read_record, sniff_format

PIXELS = np.arange(2 * 40 * 36, dtype=np.uint16).reshape(2, 40, 36) % 4096


@pytest.mark.parametrize("coding", LOSSLESS)
@pytest.mark.parametrize("keep_meta", [True, False], ids=["with meta", "without"])
def test_bare_data_set_gives_the_pixels_of_the_file_that_it_was(
    dicom_dataset, tmp_path, coding, keep_meta
):
    dataset = dicom_dataset(PIXELS, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    write_coded(dataset, code_pixels(coding, PIXELS, 12), tmp_path / "whole.dcm")
    whole = read_grayscale(tmp_path / "whole.dcm", 1)
    content = (tmp_path / "whole.dcm").read_bytes()[132:]
    meta_bytes = 12 + int.from_bytes(content[8:12], "little")
    path = tmp_path / "bare"
    path.write_bytes(content if keep_meta else content[meta_bytes:])
    if not keep_meta and coding not in ("implicit", "explicit", "big-endian"):
        # Nothing says how the pixels are coded: refused, or not even known as DICOM.
        with pytest.raises(UnreadableImageError) as caught:
            read_grayscale(path)
        assert caught.value.reason in (
            *(RejectReason.TRUNCATED, RejectReason.INVALID_HEADER, RejectReason.DECODE_FAILED),
            RejectReason.UNKNOWN_FORMAT,
        )
        return
    assert sniff_format(path) == "dicom"
    bare = read_grayscale(path, 1)
    np.testing.assert_array_equal(bare.pixels, whole.pixels)
    assert read_record(path, 1) == bare.record
    assert (bare.record.rows, bare.record.number_of_frames) == (40, 2)


def element(start, value, vr=b"UI"):
    return start + vr + len(value).to_bytes(2, "little") + value


UID_OF_CR = b"1.2.840.10008.5.1.4.1.1.1\0"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (element(b"\x08\0\x16\0", UID_OF_CR), True),
        (element(b"\x08\0\x05\0", b"ISO_IR 100", b"CS") + UID_OF_CR, True),
        (b"\x08\0\x16\0\x1a\0\0\0" + UID_OF_CR, True),
        (b"\0\x08\0\x16UI\0\x1a" + UID_OF_CR, True),
        (element(b"\x02\0\x10\0", UID_OF_CR), True),
        (element(b"\x08\0\x16\0", b"1.2.826.0.1"), False),  # no UID of DICOM's own
        (element(b"\x10\0\x10\0", UID_OF_CR), False),  # begins with the patient
        (element(b"\x08\0\x60\0", UID_OF_CR), False),
        (b"\x08\0\x16\0\xff\xff\0\0" + UID_OF_CR, False),
        (b"\x08\0\x16\0ZZ\x1a\0" + UID_OF_CR, False),
        (bytes(128) + b"DICM" + UID_OF_CR, False),
        (b"", False),
    ],
)
def test_bare_data_set_is_told_by_its_first_element_and_a_uid(head, expected):
    assert is_bare(head) is expected
    assert starts_dicom(head) is (expected or has_prefix(head))


def test_fragments_that_no_syntax_explains_are_refused_and_not_shown_as_noise(
    dicom_dataset, tmp_path
):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2**16, (1, 40, 36), np.uint16)  # RLE makes more of it than it was
    write_coded(dicom_dataset(noise), code_pixels("rle", noise, 16), tmp_path / "whole.dcm")
    content = (tmp_path / "whole.dcm").read_bytes()[132:]
    (tmp_path / "bare").write_bytes(content[12 + int.from_bytes(content[8:12], "little") :])
    with pytest.raises(
        UnreadableImageError, match="in fragments, but its transfer syntax"
    ) as caught:
        read_grayscale(tmp_path / "bare")
    assert caught.value.reason is RejectReason.INVALID_HEADER

"""Every real DICOM file, against the table of attributes, pydicom's steps and DCMTK's pictures."""

import csv
import logging
import subprocess
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from real_data import real_data_root

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.read import read_grayscale, read_record

NOT_PICTURES = ("Segmentation Storage", "RT Dose Storage", "Parametric Map Storage")
# 12-bit JPEG, JPEG lossless: no decoder among the default plugins, only in the extra `codecs`.
WITH_EXTRA = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70")
REFUSED = {
    "pydicom__MR_truncated.dcm": RejectReason.TRUNCATED,
    "pydicom__JPEG2000-embedded-sequence-delimiter.dcm": RejectReason.INVALID_HEADER,
    "pydicom__meta_missing_tsyntax.dcm": RejectReason.INVALID_HEADER,
    "pydicom__nested_priv_SQ.dcm": RejectReason.INVALID_HEADER,
}


def real_files():
    root = real_data_root()
    if root is None:
        return [pytest.param({}, id="absent")]
    table = root / "data/dicom/attributes.csv"
    with table.open(newline="") as lines:
        return [pytest.param(row, id=Path(row["file"]).name) for row in csv.DictReader(lines)]


def expected_refusal(row):
    if row["sop"] in NOT_PICTURES:
        return RejectReason.NOT_AN_IMAGE
    if row["ts"] in WITH_EXTRA and find_spec("imagecodecs") is None:
        return RejectReason.NO_DECODER
    return REFUSED.get(Path(row["file"]).name)


@pytest.mark.parametrize("row", real_files())
def test_real_file_is_read_as_its_attributes_say_or_refused(test_data, row):
    path = test_data / "data/dicom" / row["file"]
    reason = expected_refusal(row)
    if reason:
        with pytest.raises(UnreadableImageError) as caught:
            read_grayscale(path)
        assert caught.value.reason is reason
        return
    # 12 bits, which nothing else decodes; and a data set without a word of its coding.
    assert not row["err"] or row["ts"] in (*WITH_EXTRA, "")
    image = read_grayscale(path, intensity="modality")
    display = read_grayscale(path, intensity="display")
    shape = (int(row["rows"]), int(row["cols"]))
    assert image.pixels.shape == display.pixels.shape == shape
    assert np.isfinite(image.pixels).all()
    assert 0 <= display.pixels.min() <= display.pixels.max() <= 1
    assert (display.record.rows, display.record.columns) == shape
    record = read_record(path)
    assert record == (image if record.intensity == "modality" else display).record
    assert record.number_of_frames == int(row["frames"] or 1)
    assert (image.padding is not None) == padding_is_seen(row)
    dataset, stored = decode_by_pydicom(path)
    modality = modality_by_steps(dataset, stored)
    np.testing.assert_allclose(image.pixels, modality, rtol=1e-6, atol=2e-4)
    compare_with_pydicom_display(dataset, modality, display)


def padding_is_seen(row):
    """The files whose padding value occurs among their pixels: all of CT scanners' corners."""
    return row["pad"] == "-2000" and float(row["pmin"]) <= -2000


def decode_by_pydicom(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        stored = dataset.pixel_array
    frames = int(dataset.get("NumberOfFrames", 1))
    return dataset, stored[0] if frames > 1 else stored


def modality_by_steps(dataset, stored):
    """Pydicom's modality LUT of pydicom's pixels, or luma."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = pydicom.pixels.apply_color_lut(stored, dataset)
        if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
            stored = stored.byteswap()  # pydicom 3.0.2 takes big endian entries for little
    if stored.ndim == 2:
        return apply_modality_lut(stored, dataset)
    return stored[..., :3] @ np.array([19595, 38470, 7471]) / 65536


def compare_with_pydicom_display(dataset, modality, display):
    """Where the file has a window or VOI LUT: pydicom's, over its own fixed output range."""
    if dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        return
    if "WindowWidth" not in dataset and "VOILUTSequence" not in dataset:
        return
    shown = apply_voi_lut(modality, dataset).astype(np.float64)
    if "VOILUTSequence" in dataset:
        shown /= 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    else:
        bits, signed = dataset.BitsStored, dataset.PixelRepresentation
        ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
        low, high = np.sort(apply_modality_lut(ends, dataset))
        shown = (shown - low) / (high - low)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    if display.padding is not None:
        shown[display.padding] = 0
    np.testing.assert_allclose(display.pixels, shown, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("pydicom__6154", "+Wi"),
        ("dicom-test-files__RG3_JLSL", "+Wi"),
        ("dicom-test-files__RG1_JLSN", "+Wi"),
        ("dicom-test-files__RG2_J2KI", "+Wi"),
        ("rt-utils__ct_1.dcm", "+Wi"),
        ("pydicom-data__vlut_04.dcm", "+Wl"),
    ],
)
def test_display_agrees_with_dcmtk_to_one_gray_level(test_data, program, tmp_path, name, option):
    path = test_data / "data/dicom/files" / name
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress(generate_instance_uid=False)
    dataset.save_as(tmp_path / "a.dcm")
    subprocess.run(
        [
            program("dcm2pnm"),
            option,
            "1",
            "--write-raw-pnm",
            tmp_path / "a.dcm",
            tmp_path / "a.pgm",
        ],
        check=True,
        capture_output=True,
    )
    theirs = np.asarray(Image.open(tmp_path / "a.pgm")).astype(float)
    image = read_grayscale(path, intensity="display")
    ours = image.pixels * 255
    difference = np.abs(ours - theirs)
    if image.padding is not None:
        difference = difference[~image.padding]
    assert difference.max() <= 1.0
    assert np.ptp(theirs) > 20


def test_ct_and_mr_series_are_read_in_units(test_data):
    for folder, modality in (
        ("ct_phantom_philips_S21570_S2010_first16of28", "CT"),
        ("mr_t1_siemens_datalad_mid30of384", "MR"),
    ):
        files = [
            path
            for path in sorted((test_data / "data/series" / folder).iterdir())
            if path.name != "SHA256SUMS"
        ]
        images = [read_grayscale(path) for path in files[:4]]
        assert {image.record.modality for image in images} == {modality}
        assert {image.record.intensity for image in images} == {"modality"}
        assert all(image.record.pixel_spacing_mm for image in images)


def test_nothing_is_logged_about_a_real_file(test_data, caplog):
    with caplog.at_level(logging.DEBUG):
        read_grayscale(test_data / "data/dicom/files/pydicom__MR_small.dcm")
    assert not caplog.records

"""Whatever is stored as DICOM and is no picture says what it is, by the name of its SOP class."""

import numpy as np
import pytest
from pydicom.uid import UID_dictionary

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom import NOT_PICTURES, read_dicom, read_dicom_record

STORAGE = {
    uid: name
    for uid, (name, kind, *_) in UID_dictionary.items()
    if kind == "SOP Class" and name.endswith("Storage")
}
NO_PIXELS = {
    uid: name
    for uid, name in STORAGE.items()
    if "Image Storage" not in name and "Volume Storage" not in name
}


def write(dicom_dataset, folder, sop_class, *leave_out):
    dataset = dicom_dataset(np.array([[1, 2]], np.uint8), SOPClassUID=sop_class)
    for keyword in leave_out:
        delattr(dataset, keyword)
    dataset.save_as(folder / "a.dcm")
    return folder / "a.dcm"


@pytest.mark.parametrize("sop_class", NO_PIXELS)
@pytest.mark.parametrize("leave_out", [("PixelData", "Rows", "Columns"), ("PixelData",)])
def test_object_without_pictures_says_what_it_is(dicom_dataset, tmp_path, sop_class, leave_out):
    path = write(dicom_dataset, tmp_path, sop_class, *leave_out)
    for read in (read_dicom, read_dicom_record):
        with pytest.raises(UnreadableImageError) as caught:
            read(path)
        assert caught.value.reason is RejectReason.NOT_AN_IMAGE
        assert f"its SOP class is {NO_PIXELS[sop_class]}" in caught.value.message


def test_the_kinds_that_hospitals_send_are_among_them():
    for name in (
        *("Basic Text SR", "Comprehensive 3D SR", "Key Object Selection Document", "RT Plan"),
        *("RT Structure Set", "Grayscale Softcopy Presentation State", "12-lead ECG Waveform"),
        *(
            "Encapsulated PDF",
            "Encapsulated CDA",
            "Raw Data",
            "MR Spectroscopy",
            "Hanging Protocol",
        ),
        *("X-Ray Radiation Dose SR", "Spatial Registration", "Segmentation", "RT Dose"),
    ):
        assert f"{name} Storage" in NO_PIXELS.values()


@pytest.mark.parametrize("sop_class", NOT_PICTURES)
def test_computed_values_in_pixel_data_say_what_they_are(dicom_dataset, tmp_path, sop_class):
    path = write(dicom_dataset, tmp_path, sop_class)
    for read in (read_dicom, read_dicom_record):
        with pytest.raises(UnreadableImageError) as caught:
            read(path)
        assert caught.value.reason is RejectReason.NOT_AN_IMAGE
        name = STORAGE.get(sop_class, NOT_PICTURES[sop_class])
        assert f"its SOP class is {name}: computed values" in caught.value.message


@pytest.mark.parametrize("sop_class", sorted(set(STORAGE) - set(NO_PIXELS)))
def test_image_without_its_pixels_is_an_image_still(dicom_dataset, tmp_path, sop_class):
    path = write(dicom_dataset, tmp_path, sop_class, "PixelData")
    with pytest.raises(UnreadableImageError) as caught:
        read_dicom(path)
    assert caught.value.reason is RejectReason.NO_PIXEL_DATA

"""A folder laid out to do harm: nothing is waited for, and nothing outside it is read."""

import os
import socket

import numpy as np
import pytest
from hostile_files import element, file_of
from PIL import Image

from medres.data.image_index import list_images

DIRECTORY = b"1.2.840.10008.1.3.10\0\0"


@pytest.fixture
def folder(tmp_path):
    inside, outside = tmp_path / "archive", tmp_path / "outside"
    for each in (inside, outside):
        each.mkdir()
    picture = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    picture.save(inside / "picture.png")
    picture.save(outside / "secret.png")
    (inside / "link.png").symlink_to(inside / "picture.png")
    (inside / "out.png").symlink_to(outside / "secret.png")
    (inside / "outer").symlink_to(outside)
    (inside / "up").symlink_to("..")
    (inside / "loop").symlink_to(inside / "loop")
    (inside / "dangling").symlink_to(inside / "absent")
    (inside / "zero").symlink_to("/dev/zero")
    os.mkfifo(inside / "fifo.dcm")
    # A DICOMDIR whose record leads out of the folder (PS3.3 F.3: Referenced File ID).
    leads_out = element(0x00041500, b"CS", b"..\\OUTSIDE\\SECRET.PNG")
    item = b"\xfe\xff\x00\xe0" + len(leads_out).to_bytes(4, "little") + leads_out
    records = element(0x00041220, b"SQ", item)
    sop_class = element(0x00080016, b"UI", DIRECTORY)
    (inside / "DICOMDIR").write_bytes(file_of(records + sop_class))
    return inside


def test_hostile_folder_is_listed_without_waiting_and_without_leaving_it(folder):
    index = list_images(folder)
    assert [file.name for file in index.images] == ["link.png", "picture.png"]
    refused = {file.file: file.reason.value for file in index.rejected}
    assert refused == {
        "DICOMDIR": "not_an_image",
        "dangling": "not_found",
        "fifo.dcm": "not_found",
        "loop": "not_found",
        "out.png": "not_found",
        "zero": "not_found",
    }
    said = " ".join(file.message for file in index.rejected)
    assert "SECRET" not in said
    assert "outside the folder" in said


def test_directory_of_files_says_what_it_is_and_its_paths_are_not_followed(folder):
    refused = {file.file: file for file in list_images(folder).rejected}
    assert "Media Storage Directory Storage" in refused["DICOMDIR"].message


def test_socket_is_refused(folder):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        refused = {file.file: file.message for file in list_images(folder).rejected}
    assert refused["s"] == "is no file but a FIFO, a device or a socket"

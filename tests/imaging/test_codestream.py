import io

import numpy as np
import pytest
from PIL import Image

from medres.imaging.codestream import codestream_size


@pytest.mark.parametrize(("format", "options"), [("JPEG", {}), ("JPEG", {"progressive": True})])
def test_size_of_a_jpeg_is_read_from_its_frame_header(format, options):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((3, 17), np.uint8)).save(buffer, format, **options)
    assert codestream_size(buffer.getvalue()) == (3, 17)


def test_size_of_a_jpeg2000_codestream_excludes_its_offset():
    siz = b"\xff\x4f\xff\x51\0\x29\0\0" + b"".join(
        number.to_bytes(4, "big") for number in (117, 63, 100, 60)
    )
    assert codestream_size(siz) == (3, 17)


@pytest.mark.parametrize("frame", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda\0\2", b"RLE or anything"])
def test_size_of_anything_else_is_unknown(frame):
    assert codestream_size(frame) is None

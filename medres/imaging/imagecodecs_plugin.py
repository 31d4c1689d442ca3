"""pydicom decoder plugin for the JPEG processes that the default packages do not decode.

Lossless JPEG (processes 14 and 14 with first-order prediction) and 12-bit JPEG, by libjpeg-turbo
in imagecodecs (BSD), the extra `codecs`. Baseline JPEG stays with Pillow: imagecodecs converts its
colours by itself. `codecs` registers the plugin; nothing else imports this module.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

SYNTAXES = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("imagecodecs>=2026.1.14",))


def is_available(uid: str) -> bool:
    """Whether imagecodecs is installed, for a transfer syntax that this plugin decodes."""
    return uid in SYNTAXES and find_spec("imagecodecs") is not None


def decode_frame(source: bytes, runner: Any) -> bytes:
    """The samples of one frame, little endian, colour by pixel.

    Args:
        source: the codestream.
        runner: pydicom's `DecodeRunner`, told how many bits a sample takes here.

    Raises:
        NotImplementedError: lossy colour, which Pillow decodes.
    """
    from imagecodecs import jpeg8_decode

    color = runner.samples_per_pixel > 1
    if color and runner.transfer_syntax == JPEGExtended12Bit:
        raise NotImplementedError("lossy colour JPEG is Pillow's")
    # From RGB to RGB: no conversion. Lossless JPEG holds the colours that the header names.
    space = "RGB" if color else None
    samples = jpeg8_decode(source, colorspace=space, outcolorspace=space)
    runner.set_option("bits_allocated", 8 * samples.itemsize)
    runner.set_option("planar_configuration", 0)
    little_endian: bytes = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    return little_endian

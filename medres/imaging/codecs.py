"""Which DICOM transfer syntaxes this installation decodes, and which package adds the others.

pydicom's decoder registry is asked, after the plugin of the extra `codecs` is registered in it.
A syntax is told from the file's header alone, so that a job learns what it lacks before it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom import uid as uids
from pydicom.pixels import get_decoder
from pydicom.uid import UID, UID_dictionary

from medres.imaging import imagecodecs_plugin
from medres.imaging.dicom_header import name_uid

# What to install, of packages with a permissive licence; nothing for what pydicom decodes itself.
PACKAGES: dict[str, str] = {
    uids.ImplicitVRLittleEndian: "",
    uids.ExplicitVRLittleEndian: "",
    uids.DeflatedExplicitVRLittleEndian: "",
    uids.ExplicitVRBigEndian: "",
    uids.RLELossless: "",
    uids.JPEGBaseline8Bit: "pillow",
    uids.JPEGExtended12Bit: "imagecodecs",
    uids.JPEGLossless: "imagecodecs",
    uids.JPEGLosslessSV1: "imagecodecs",
    uids.JPEGLSLossless: "pyjpegls",
    uids.JPEGLSNearLossless: "pyjpegls",
    uids.JPEG2000Lossless: "pylibjpeg-openjpeg",
    uids.JPEG2000: "pylibjpeg-openjpeg",
    uids.HTJ2KLossless: "pylibjpeg-openjpeg",
    uids.HTJ2KLosslessRPCL: "pylibjpeg-openjpeg",
    uids.HTJ2K: "pylibjpeg-openjpeg",
}
# Pillow is registered for this syntax, but decodes only its files of 8 bits.
TWELVE_BITS = uids.JPEGExtended12Bit


@dataclass(frozen=True)
class TransferSyntax:
    """How pixels may be stored, and whether they can be decoded here.

    Args:
        uid: the transfer syntax (PS3.6 A).
        name: as registered; with its depth where only that depth is meant.
        readable: an installed plugin decodes it.
        package: to install where it is not readable; empty where pydicom needs none, or where
            medres knows none.
    """

    uid: str
    name: str
    readable: bool
    package: str


def list_syntaxes() -> tuple[TransferSyntax, ...]:
    """Every transfer syntax of still pictures that medres knows a decoder for."""
    return tuple(
        TransferSyntax(
            uid=str(uid),
            name=name_uid(uid) + (f", {bits} bits" if uid == TWELVE_BITS else ""),
            readable=has_decoder(uid, bits),
            package=_package(uid, bits),
        )
        for uid in PACKAGES
        for bits in ((8, 12) if uid == TWELVE_BITS else (8,))
    )


def find_decoder(uid: str, bits_stored: int = 8) -> Any:
    """The registered decoder of a transfer syntax; None where no plugin for it is installed.

    Args:
        uid: of the transfer syntax, as the file says.
        bits_stored: per sample; Pillow decodes JPEG of 8 bits only.
    """
    if uid not in UID_dictionary:  # pydicom would quote it in a warning
        return None
    try:
        decoder = get_decoder(UID(uid))
    except NotImplementedError:
        return None
    if decoder.is_native:
        return decoder
    plugins = set(decoder.available_plugins)
    if uid == TWELVE_BITS and bits_stored > 8:
        plugins.discard("pillow")
    return decoder if plugins else None


def has_decoder(uid: str, bits_stored: int = 8) -> bool:
    """Whether pixels in a transfer syntax can be decoded by this installation."""
    return find_decoder(uid, bits_stored) is not None


def describe_missing_decoder(uid: str, bits_stored: int = 8) -> str:
    """What lacks, and what to do: for errors, equal for all files in one transfer syntax."""
    package = _package(uid, bits_stored)
    adds = f"`pip install {package}` adds it, or transcode" if package else "transcode"
    return f"no installed decoder reads transfer syntax {name_uid(uid)}; {adds} the file first"


def _package(uid: str, bits_stored: int) -> str:
    if uid == TWELVE_BITS and bits_stored <= 8:
        return "pillow"
    return PACKAGES.get(uid, "")


def _register_plugin() -> None:
    """Once a process: pydicom's registry is its own, and another package may have been here."""
    for uid in imagecodecs_plugin.SYNTAXES:
        decoder = get_decoder(uid)
        if not any("imagecodecs" in known for known in decoder.available_plugins):
            decoder.add_plugin("imagecodecs", (imagecodecs_plugin.__name__, "decode_frame"))


_register_plugin()

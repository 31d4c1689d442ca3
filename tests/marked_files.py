"""Files of every format with a marker wherever text can stand: it must never be seen again.

The marker is of letters that no real word, code or base64 of zeros has, and stands alone, within
longer text, and in capitals only. Names of files and of arrays are addresses, and have none.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import nibabel as nib
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.datadict import DicomDictionary, keyword_dict

from medres.imaging.dicom import HEADER_TAGS

MARKER = "ZZYZXQ"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
TEXT_VRS = (
    *("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"),
    *("UR", "UT"),
)
LONG_VRS = ("OB", "OW", "SQ", "UC", "UN", "UR", "UT")
# Without these, or with another text in them, there is no picture to be seen at all.
NEEDED = {"PhotometricInterpretation": "MONOCHROME2", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}


def element(tag: int, vr: str, value: bytes, *, implicit: bool = False, big: bool = False) -> bytes:
    """One element, padded to even length."""
    order = ">" if big else "<"
    value += (b"\0" if vr in ("UI", "OB", "OW", "UN") else b" ") * (len(value) % 2)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<L", len(value)) + value
    if vr in LONG_VRS:
        return head + vr.encode() + b"\0\0" + struct.pack(f"{order}L", len(value)) + value
    return head + vr.encode() + struct.pack(f"{order}H", len(value)) + value


def marked_value(vr: str) -> bytes:
    """Names of three components, several values, or the bare marker: as the VR may have it."""
    return {
        "PN": f"{MARKER}^{MARKER}^^Dr.=x",
        "LO": f"ward of {MARKER}\\{MARKER}",
        "LT": f"seen by {MARKER}.\r\nAlso {MARKER}",
        "CS": f"{MARKER}\\AXIAL",
        "UI": f"1.2.{MARKER}",
    }.get(vr, MARKER).encode()


def sequence(keyword: str, items: list[bytes], *, implicit: bool = False) -> bytes:
    """A sequence of items of undefined length."""
    content = b"".join(
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item + b"\xfe\xff\x0d\xe0\0\0\0\0" for item in items
    )
    return element(keyword_dict[keyword], "SQ", content, implicit=implicit)


def text_elements() -> dict[int, str]:
    """Tag and VR of every text attribute of the dictionary, repeaters and file meta aside."""
    return {
        tag: vr for tag, (vr, *_) in DicomDictionary.items() if vr in TEXT_VRS and tag >> 16 >= 8
    }


def pixel_elements() -> dict[int, tuple[str, bytes]]:
    """A picture of 2 x 2 pixels that can be seen."""
    numbers = {
        **{"SamplesPerPixel": 1, "Rows": 2, "Columns": 2, "BitsAllocated": 8, "BitsStored": 8},
        **{"HighBit": 7, "PixelRepresentation": 0},
    }
    found = {keyword_dict[name]: ("US", struct.pack("<H", n)) for name, n in numbers.items()}
    for keyword, text in NEEDED.items():
        vr = DicomDictionary[keyword_dict[keyword]][0]
        found[keyword_dict[keyword]] = (vr, text.encode())
    return found | {0x7FE00010: ("OB", bytes([0, 85, 170, 255]))}


def dicom_file(elements: dict[int, tuple[str, bytes]], syntax: str = EXPLICIT) -> bytes:
    """A file of these elements, in the order of their tags."""
    implicit = syntax == IMPLICIT
    body = b"".join(
        value if vr == "" else element(tag, vr, value, implicit=implicit)
        for tag, (vr, value) in sorted(elements.items())
    )
    if syntax == DEFLATED:
        deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = deflater.compress(body) + deflater.flush()
    meta = element(0x00020002, "UI", NEEDED["SOPClassUID"].encode())
    meta += element(0x00020003, "UI", marked_value("UI"))
    meta += element(0x00020010, "UI", syntax.encode())
    meta += element(0x00020013, "SH", MARKER.encode())
    meta += element(0x00020016, "AE", MARKER.encode())
    meta += element(0x00020100, "UI", marked_value("UI"))
    meta += element(0x00020102, "OB", MARKER.encode())
    length = element(0x00020000, "UL", struct.pack("<L", len(meta)))
    return MARKER.encode().ljust(128, b"\0") + b"DICM" + length + meta + body


def marked_code(*, implicit: bool = False) -> bytes:
    """A code sequence's item whose every text is the marker."""
    return b"".join(
        element(keyword_dict[keyword], vr, MARKER.encode(), implicit=implicit)
        for keyword, vr in (
            *(("CodeValue", "SH"), ("CodingSchemeDesignator", "SH")),
            *(("CodingSchemeVersion", "SH"), ("CodeMeaning", "LO"), ("LongCodeValue", "UC")),
        )
    )


def marked_dicom() -> Iterator[tuple[str, bytes]]:
    """Name and content: all texts at once, and in sequences, private groups and meta elements."""
    picture = pixel_elements()
    texts = {tag: (vr, marked_value(vr)) for tag, vr in text_elements().items()}
    numeric = {tag for tag, (vr, _) in texts.items() if vr in ("DS", "IS")}
    numeric.add(keyword_dict["VOILUTFunction"])  # a function that is none is refused
    harmless = {tag: value for tag, value in texts.items() if tag not in numeric}
    for name, syntax in (("explicit", EXPLICIT), ("implicit", IMPLICIT), ("deflated", DEFLATED)):
        yield f"all_{name}.dcm", dicom_file({**harmless, **picture}, syntax)
        yield f"numbers_{name}.dcm", dicom_file({**texts, **picture}, syntax)
        implicit = syntax == IMPLICIT
        code = marked_code(implicit=implicit)
        codes = {
            keyword_dict[keyword]: ("", sequence(keyword, [code, code], implicit=implicit))
            for keyword in ("ViewCodeSequence", "AnatomicRegionSequence", "ProcedureCodeSequence")
        }
        nested = code
        for _ in range(5):
            nested = sequence("RequestAttributesSequence", [nested + code], implicit=implicit)
        codes[keyword_dict["RequestAttributesSequence"]] = ("", nested)
        yield f"codes_{name}.dcm", dicom_file({**codes, **picture}, syntax)
        private = {
            0x00090010: ("LO", MARKER.encode()),
            0x00091001: ("LO", MARKER.encode()),
            0x00091002: ("UN", MARKER.encode()),
            0x00091003: ("PN", MARKER.encode()),
            0x7FDF0010: ("LO", MARKER.encode()),
            0x7FDF1001: ("UT", MARKER.encode()),
        }
        yield f"private_{name}.dcm", dicom_file({**private, **picture}, syntax)
    for keyword in NEEDED:
        vr = DicomDictionary[keyword_dict[keyword]][0]
        elements = {**picture, keyword_dict[keyword]: (vr, MARKER.encode())}
        yield f"{keyword}.dcm", dicom_file(elements)
    yield "syntax.dcm", dicom_file(picture, f"1.2.{MARKER}")
    yield "report.dcm", dicom_file({**texts, 0x00080016: ("UI", b"1.2.840.10008.5.1.4.1.1.88.11")})


def one_marked_element() -> Iterator[tuple[str, bytes]]:
    """For each attribute that is read from a header, files with the marker in it."""
    picture = pixel_elements()
    for keyword in HEADER_TAGS:
        for vr in ("LO", "UN", "PN", "DS", "US"):
            value = (vr, marked_value(vr))
            yield f"{keyword}_{vr}.dcm", dicom_file({**picture, keyword_dict[keyword]: value})


def marked_pictures() -> Iterator[tuple[str, bytes]]:
    """PNG, JPEG and TIFF with text chunks, comments, EXIF, XMP and tags."""
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298, 0x9C9B):
        exif[tag] = MARKER
    text = PngInfo()
    text.add_text("Title", MARKER)
    text.add_text(MARKER, MARKER, zip=True)
    text.add_itxt("XML:com.adobe.xmp", MARKER)
    tiff = {0x010E: MARKER, 0x010D: MARKER, 0x013B: MARKER, 0x0131: MARKER, 65000: MARKER}
    options = {
        "png": {"pnginfo": text, "exif": exif},
        "jpg": {"exif": exif, "comment": MARKER.encode(), "icc_profile": MARKER.encode() * 30},
        "tif": {"tiffinfo": tiff},
    }
    for kind, given in options.items():
        file = io.BytesIO()
        name = {"jpg": "JPEG", "tif": "TIFF"}.get(kind, "PNG")
        picture.save(file, name, **given)
        yield f"picture.{kind}", file.getvalue()


def marked_volumes() -> Iterator[tuple[str, bytes]]:
    """NIfTI with the marker in its texts, its extensions, and gzip's name and comment."""
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        volume = kind(voxels, np.eye(4))
        for field in ("descrip", "aux_file", "intent_name"):
            volume.header[field] = MARKER.encode()
        if kind is nib.Nifti1Image:
            volume.header["db_name"], volume.header["data_type"] = MARKER.encode(), MARKER.encode()
        for code in (4, 6):  # XML of AFNI, a comment
            volume.header.extensions.append(nib.nifti1.Nifti1Extension(code, MARKER.encode()))
        whole = volume.to_bytes()
        name = kind.__name__.lower()
        yield f"{name}.nii", whole
        file = io.BytesIO()
        with gzip.GzipFile(filename=MARKER, fileobj=file, mode="wb", mtime=0) as stream:
            stream.write(whole)
        yield f"{name}.nii.gz", file.getvalue()


def marked_arrays() -> Iterator[tuple[str, bytes]]:
    """Arrays of text, of named fields and of objects, and an archive with comments."""
    for name, array in (
        ("text", np.array([[MARKER, MARKER]])),
        ("fields", np.zeros((2, 2), [(MARKER, "u1")])),
        ("pixels", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)),
    ):
        file = io.BytesIO()
        np.save(file, array)
        yield f"{name}.npy", file.getvalue()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as members:
            member = zipfile.ZipInfo("a.npy")
            member.comment = MARKER.encode()
            members.writestr(member, file.getvalue())
            members.comment = MARKER.encode()
        yield f"{name}.npz", archive.getvalue()
    pickled = io.BytesIO()
    np.save(pickled, np.array([{MARKER: MARKER}]), allow_pickle=True)
    yield "objects.npy", pickled.getvalue()
    broken = file.getvalue().replace(b"'descr'", f"'{MARKER}'".encode())
    yield "broken.npy", broken[:8] + struct.pack("<H", len(broken) - 34) + broken[10:]


def marked_files() -> Iterator[tuple[str, bytes]]:
    """All of them."""
    yield from marked_dicom()
    yield from marked_pictures()
    yield from marked_volumes()
    yield from marked_arrays()
    yield "text.txt", f"The patient is {MARKER}.".encode()
    yield "named.dcm", f"The patient is {MARKER}.".encode()

"""Files made to do harm: bombs, and claims that they do not keep; and honest ones beside them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

MIB = 2**20


def element(tag, vr, value, length=None):
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    length = len(value) if length is None else length
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    return (
        head
        + (b"\0\0" + struct.pack("<L", length) if long else struct.pack("<H", length))
        + (value)
    )


def file_of(data_set, syntax=b"1.2.840.10008.1.2.1\0"):
    meta = element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    meta += element(0x00020010, b"UI", syntax)
    return (
        bytes(128)
        + b"DICM"
        + element(0x00020000, b"UL", struct.pack("<L", len(meta)))
        + (meta + data_set)
    )


def save_encapsulated(dicom_dataset, path, frames, syntax, **attributes):
    dataset = dicom_dataset(np.array([[1, 2], [3, 4]], np.uint8), **attributes)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    return path


def deflated_bomb(path):
    inflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = inflater.compress(element(0x00091001, b"OB", b"", 0x7FFFFFF0))
    bomb += b"".join(inflater.compress(bytes(64 * MIB)) for _ in range(10)) + inflater.flush()
    path.write_bytes(file_of(bomb, b"1.2.840.10008.1.2.1.99\0\0"[:22]))
    return path


def j2k_header(rows, columns, tile=0, components=1):
    tile = tile or max(rows, columns)
    size = struct.pack(">H8IH", 0, columns, rows, 0, 0, tile, tile, 0, 0, components)
    size += b"\x07\x01\x01" * components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + b"\xff\xd9"


def rle_bomb(mebibytes):
    """One segment that decodes to 64 times its size."""
    return struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * (mebibytes * MIB // 2)


def nested(depth):
    start = element(0x00081140, b"SQ", b"", 0xFFFFFFFF)
    return file_of((start + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth)


def nifti_header(shape, dtype=np.uint8):
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(np.eye(4))
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


def png_chunk(name, content):
    checked = name + content
    return struct.pack(">L", len(content)) + checked + struct.pack(">L", zlib.crc32(checked))


def png(rows, columns, data):
    head = png_chunk(b"IHDR", struct.pack(">LLBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def npy_header(shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode()


def zipped(path, name, content, repeat=1):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(repeat):
            member.write(content)
    return path


def gzipped(path, head, mebibytes):
    with gzip.open(path, "wb") as file:
        file.write(head)
        for _ in range(mebibytes):
            file.write(bytes(MIB))
    return path


def frames_of_one_pixel(frames):
    """A deflated data set of a few kilobytes that has room for a great many."""
    count = str(frames).encode()
    head = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    head += element(0x00280002, b"US", b"\1\0") + element(0x00280004, b"CS", b"MONOCHROME2 ")
    head += element(0x00280008, b"IS", count + b" " * (len(count) % 2))
    for tag, number in ((0x10, 1), (0x11, 1), (0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0)):
        head += element(0x00280000 + tag, b"US", struct.pack("<H", number))
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflater.compress(head + element(0x7FE00010, b"OB", bytes(2 * MIB)))
    return file_of(packed + deflater.flush(), b"1.2.840.10008.1.2.1.99")


def tiff(directories, rows=8, columns=8):
    """Uncompressed, 8 bits; each directory points to the next, and all to the same 64 bytes."""
    entries = [(256, columns), (257, rows), (258, 8), (259, 1), (262, 1), (273, 8), (278, rows)]
    entries.append((279, 64))
    whole = struct.pack("<H", len(entries))
    whole += b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in entries)
    size, start = len(whole) + 4, 8 + 64
    links = [start + (n + 1) * size if n < directories - 1 else 0 for n in range(directories)]
    chain = b"".join(whole + struct.pack("<L", link) for link in links)
    return b"II*\0" + struct.pack("<L", start) + bytes(range(64)) + chain


def write_pictures():
    """Pictures that claim to be larger, or more, than they are."""
    small = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    made = {}
    for kind in ("JPEG", "BMP"):
        file = io.BytesIO()
        small.save(file, kind)
        made[kind] = file.getvalue()
    at = made["JPEG"].index(b"\xff\xc0") + 5
    jpeg = made["JPEG"][:at] + struct.pack(">HH", 65535, 65535) + made["JPEG"][at + 4 :]
    bmp = made["BMP"][:18] + struct.pack("<ll", 30000, 30000) + made["BMP"][26:]
    whole = png(8, 8, zlib.compress(bytes(72)))
    claim = png_chunk(b"acTL", struct.pack(">LL", 2**31 - 1, 0))
    control = png_chunk(b"fcTL", struct.pack(">LLLLLHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0))
    return {
        "large.png": png(30000, 30000, zlib.compress(bytes(MIB))),
        "large.tif": tiff(1, 30000, 30000),
        "large.jpg": jpeg,
        "large.bmp": bmp,
        "claims.png": whole[:33] + claim + control + whole[33:],
        "chain.tif": tiff(20_000),
    }


def write_bombs(folder, dicom_dataset):
    """Each file with its reason and what is said of it when it is read."""
    huge = folder / "huge.dcm"
    save_encapsulated(
        dicom_dataset,
        huge,
        [bytes(64)],
        RLELossless,
        Rows=65535,
        Columns=65535,
        NumberOfFrames=1000,
    )
    yield huge, "too_large", "65535 x 65535 pixels a frame"
    claim = folder / "500_frames.dcm"
    save_encapsulated(
        dicom_dataset,
        claim,
        [rle_bomb(1)],
        RLELossless,
        Rows=8192,
        Columns=8192,
        NumberOfFrames=500,
    )
    yield claim, "truncated", "holds 1 fragments for the 500 frames"
    frames = folder / "frames.dcm"
    dicom_dataset(np.ones((512, 512), np.uint16), NumberOfFrames=2**31 - 1).save_as(frames)
    yield frames, "truncated", "says 2147483647, but a file of"
    rle = folder / "rle.dcm"
    save_encapsulated(dicom_dataset, rle, [rle_bomb(14)], RLELossless)
    yield rle, "too_large", "an RLE segment decodes to far more than the frame's 2 x 2"
    j2k = folder / "j2k.dcm"
    save_encapsulated(dicom_dataset, j2k, [j2k_header(60000, 60000)], JPEG2000Lossless)
    yield j2k, "invalid_header", "frame is 60000 x 60000 pixels"
    tiles = folder / "tiles.dcm"
    stream = j2k_header(16384, 16384, tile=1)
    save_encapsulated(dicom_dataset, tiles, [stream], JPEG2000Lossless, Rows=16384, Columns=16384)
    yield tiles, "invalid_header", "has 268435456 tiles and 1 components"
    jp2 = folder / "jp2.dcm"
    stream = b"\0\0\0\x0cjP  \r\n\x87\n" + j2k_header(2, 2, components=16000)
    save_encapsulated(dicom_dataset, jp2, [stream], JPEG2000Lossless)
    yield jp2, "invalid_header", "has 1 tiles and 16000 components"
    yield deflated_bomb(folder / "deflated.dcm"), "too_large", "inflates to more than the"
    long = folder / "long.dcm"
    long.write_bytes(file_of(element(0x00100010, b"UN", b"SECRET", 0xFFFFFFF0)))
    yield long, "truncated", "ends before or within Pixel Data"
    deep = folder / "deep.dcm"
    deep.write_bytes(nested(200))
    yield deep, "invalid_header", "the DICOM header cannot be parsed"
    for depth in (1000, 20_000):
        deeper = folder / f"deeper_{depth}.dcm"
        deeper.write_bytes(nested(depth))
        yield deeper, "invalid_header", "the DICOM header cannot be parsed"
    dots = folder / "dots.dcm"
    dots.write_bytes(frames_of_one_pixel(2**22))
    yield dots, "too_large", "4194304 frames; 1048576 are read at most"
    pieces = folder / "pieces.dcm"
    pieces.write_bytes(
        file_of(b"".join(element(0x00090000 + n, b"UN", b"x") for n in range(2**18)))
    )
    yield pieces, "too_large", "its header takes more than the"
    volume = folder / "volume.nii"
    volume.write_bytes(nifti_header((32767, 32767, 32767)))
    yield volume, "truncated", "fewer voxels than its header promises (35181150961663 bytes)"
    bomb = gzipped(folder / "bomb.nii.gz", nifti_header((16384, 16384, 16)), 64)
    yield bomb, "truncated", "fewer voxels than its header promises"
    array = zipped(folder / "bomb.npz", "a.npy", npy_header((1, 2**31)), 1)
    yield array, "truncated", "takes more than the"
    whole = folder / "whole.npz"
    zipped(whole, "a.npy", npy_header((2**20, 64, 64)) + bytes(MIB), 1)
    yield whole, "truncated", "takes more than the"
    many = zipped(folder / "many.npz", "a.npy", npy_header((2**21, 1, 1)) + bytes(MIB), 2)
    yield many, "too_large", "2097152 frames; 1048576 are read at most"
    for name, content in write_pictures().items():
        (folder / name).write_bytes(content)
    for name in ("large.png", "large.tif", "large.jpg", "large.bmp"):
        yield folder / name, "too_large", "pixels"
    yield folder / "claims.png", "truncated", "says that it has 2147483647 pages"
    yield folder / "chain.tif", "too_large", "more than the 16384 pages"


def write_honest(folder, dicom_dataset, side):
    """Black pictures, small where compressed: name, path, and bytes that a pixel may take."""
    pixels = np.zeros((side, side), np.uint16)
    for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian):
        dataset = dicom_dataset(pixels)
        if syntax != DeflatedExplicitVRLittleEndian:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        path = folder / f"{syntax}-{side}.dcm"
        dataset.save_as(path, implicit_vr=False, little_endian=True)
        yield syntax.name, path, 25
    color = np.zeros((side, side, 3), np.uint8)
    path = folder / f"color-{side}.dcm"
    dicom_dataset(color, PhotometricInterpretation="RGB").save_as(path)
    yield "colour", path, 36
    path = folder / f"color-{side}.png"
    Image.fromarray(color).save(path)
    yield "PNG", path, 36
    path = folder / f"slice-{side}.nii"
    nib.save(nib.Nifti1Image(pixels[..., None], np.eye(4)), path)
    yield "NIfTI", path, 25

"""Wounds that know the format: one field of one structure of a picture, volume or array.

Bytes changed at random seldom get past a checksum or a first marker. These change a chunk, a
directory entry, a marker segment, a header's field or an array's type, and mend the checksum.
"""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import zipfile
import zlib

import nibabel as nib

LENGTHS = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7FFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0xFFFFFFF0,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
INTEGERS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 64, 255, 256, 32767, 32768, 65535)
NIFTI_FIELDS = {
    348: nib.Nifti1Header.template_dtype,
    540: nib.Nifti2Header.template_dtype,
}


def mutate_picture(rng: random.Random, content: bytes) -> bytes:
    """The content with one field changed; as it is where its format is not known."""
    if content.startswith(b"\x89PNG"):
        return _mutate_png(rng, content)
    if content.startswith((b"II*\0", b"MM\0*")):
        return _mutate_tiff(rng, content)
    if content.startswith(b"\xff\xd8"):
        return mutate_segments(rng, content)
    if content.startswith(b"BM"):
        return set_number(rng, content, rng.randrange(2, 54), rng.choice((1, 2, 4)), "<")
    if content.startswith(b"\x93NUMPY"):
        return _mutate_npy(rng, content)
    if content.startswith(b"PK"):
        return _mutate_npz(rng, content)
    if content.startswith(b"\x1f\x8b"):
        return gzip.compress(mutate_picture(rng, gzip.decompress(content)), 1, mtime=0)
    return _mutate_nifti(rng, content)


def mutate_segments(rng: random.Random, stream: bytes) -> bytes:
    """A field of one of the marker segments of JPEG, JPEG-LS or JPEG 2000."""
    starts, at = [], 2
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] not in (0x93, 0xD9):
        starts.append(at)
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[starts[-1] + 1] == 0xDA:
            break
    if not starts:
        return stream
    start = rng.choice(starts)
    end = start + 2 + int.from_bytes(stream[start + 2 : start + 4], "big")
    match rng.randrange(6):
        case 0:
            return stream[:start] + stream[end:]
        case 1:
            return stream[:end] + stream[start:end] + stream[end:]
        case 2:
            return stream[: rng.randrange(start, len(stream))]
        case _:
            place = rng.randrange(start + 1, max(min(end, len(stream)), start + 2))
            return set_number(rng, stream, place, rng.choice((1, 2, 4)), ">")


def _mutate_png(rng: random.Random, content: bytes) -> bytes:
    """One chunk, with its checksum."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + length]])
        at += 12 + length
    if not chunks:
        return content
    place = rng.randrange(len(chunks))
    name, data = chunks[place]
    match rng.randrange(6):
        case 0:
            del chunks[place]
        case 1:
            chunks.insert(rng.randrange(len(chunks)), [name, data])
        case 2:
            kinds = (
                b"tEXt",
                b"zTXt",
                b"iTXt",
                b"eXIf",
                b"acTL",
                b"fcTL",
                b"PLTE",
                b"tRNS",
                b"iCCP",
            )
            text = b"k\0" + rng.choice((b"v", zlib.compress(bytes(10**6)), b"\xff" * 9))
            chunks.insert(rng.randrange(1, len(chunks) + 1), [rng.choice(kinds), text])
        case _:
            if data:
                size = rng.choice((1, 4))
                chunks[place][1] = set_number(rng, data, rng.randrange(len(data)), size, ">")
    packed = [
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return content[:8] + b"".join(packed)


def _mutate_tiff(rng: random.Random, content: bytes) -> bytes:
    """One field of one entry of the first directory."""
    order = "<" if content[:2] == b"II" else ">"
    at = struct.unpack_from(order + "L", content, 4)[0]
    if at + 2 > len(content) or rng.random() < 0.05:
        return set_number(rng, content, 4, 4, order)
    count = struct.unpack_from(order + "H", content, at)[0]
    entry = at + 2 + 12 * rng.randrange(max(count, 1))
    offset, size = rng.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 2)))
    if rng.random() < 0.3 and offset == 0:
        return put(
            content, entry, struct.pack(order + "H", rng.choice((256, 257, 258, 259, 277, 317)))
        )
    return set_number(rng, content, entry + offset, size, order)


def _mutate_nifti(rng: random.Random, content: bytes) -> bytes:
    """One number of one field of the header."""
    order = "<" if int.from_bytes(content[:4], "little") in NIFTI_FIELDS else ">"
    size = int.from_bytes(content[:4], "little" if order == "<" else "big")
    fields = NIFTI_FIELDS.get(size)
    if fields is None:
        return content
    kind, offset = fields.fields[rng.choice(fields.names)][:2]
    each = kind.base.itemsize
    at = offset + each * rng.randrange(kind.itemsize // each)
    if kind.base.kind == "f":
        number = rng.choice((0.0, -1.0, 1e-30, 1e38, float("nan"), float("inf"), 3.5, -0.5))
        return put(content, at, struct.pack(order + ("d" if each == 8 else "f"), number))
    return set_number(rng, content, at, each if each in (1, 2, 4, 8) else 1, order)


def _mutate_npy(rng: random.Random, content: bytes) -> bytes:
    """Another type, shape or order in an array's header, as long as before where it fits."""
    size = int.from_bytes(content[8:10], "little")
    text = content[10 : 10 + size]
    kind = rng.choice(
        (
            b"|u1",
            b"<u2",
            b">i4",
            b"<f8",
            b"<f2",
            b"|b1",
            b"|O",
            b"<U9",
            b"<c16",
            b"|V8",
            b"<M8[ns]",
            b"x",
        )
    )
    shape = rng.choice(
        (
            b"()",
            b"(0,)",
            b"(-1, 2)",
            b"(2,)",
            b"(1, 1, 1)",
            b"(2, 3, 4, 3)",
            b"(99999, 99999)",
            b"(1e3, 2)",
            b"(True, 8)",
            b"[1]",
            b"(" * 60,
            b"('a',)",
        )
    )
    match rng.randrange(4):
        case 0:
            text = re.sub(rb"'descr': '[^']*'", b"'descr': '" + kind + b"'", text)
        case 1:
            text = re.sub(rb"'shape': \([^)]*\)", b"'shape': " + shape, text)
        case 2:
            text = text.replace(b"False", rng.choice((b"True", b"None", b"1", b"__import__('os')")))
        case _:
            return set_number(rng, content, rng.randrange(6, 12), 1, "<")
    text = text.rstrip(b" \n").ljust(size - 1) + b"\n"
    return content[:8] + struct.pack("<H", len(text)) + text + content[10 + size :]


def _mutate_npz(rng: random.Random, content: bytes) -> bytes:
    """A member of the archive, or the archive's own records."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return content
    if rng.random() < 0.3 or not members:
        at = content.find(b"PK\x01\x02") + rng.randrange(4, 46)
        return set_number(rng, content, at, rng.choice((1, 2, 4)), "<")
    name = rng.choice([*members])
    members[name] = _mutate_npy(rng, members[name]) if len(members[name]) > 16 else b""
    if rng.random() < 0.2:
        members[rng.choice(("../a.npy", "/a.npy", "a", "a.npy/", "é.npy"))] = members[name]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, data in members.items():
            archive.writestr(zipfile.ZipInfo(each), data)
    return file.getvalue()


def set_number(rng: random.Random, data: bytes, at: int, size: int, order: str) -> bytes:
    number = rng.choice((*INTEGERS, *LENGTHS, rng.randrange(256**size)))
    return put(data, at, (number % 256**size).to_bytes(size, "little" if order == "<" else "big"))


def put(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]

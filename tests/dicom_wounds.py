"""Wounds that know DICOM: one element of a data set, one item or marker of compressed pixels.

The lengths around it are mended, so that the reader gets as far as the element itself.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from picture_wounds import INTEGERS, LENGTHS, mutate_segments, put, set_number

DEFLATED, IMPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2"
LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT")
LONG_VRS += (b"UV",)
ALL_VRS = (*LONG_VRS, b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO")
ALL_VRS += (b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"\0\0", b"ZZ")
UNDEFINED = 0xFFFFFFFF
TEXTS = (
    b"",
    b" ",
    b"\0",
    b"\\",
    b"0",
    b"-1",
    b"1e999",
    b"nan",
    b"inf",
    b"-inf",
    b"1e-320",
    b"1\\2",
)
TEXTS += (b"0\\0", b"65536", b"1.5", b"1" * 400, b"\xff\xfe\xfd", b"=^=", b"MONOCHROME1", b"RGB")
TEXTS += (b"PALETTE COLOR", b"YBR_FULL_422", b"SIGMOID", b"INVERSE", b"ISO 2022 IR 87", b"99999999")


@dataclass(frozen=True)
class Element:
    """Where an element of a data set lies: its header, its value, and the bytes of its length."""

    start: int
    vr: bytes
    length_at: int
    length_bytes: int
    value_at: int
    end: int


def mutate_dicom(rng: random.Random, content: bytes) -> bytes:
    """One element of the data set, or of what compressed pixels are made of."""
    meta = [*walk(content, 132, len(content), implicit=False, only_group=2)]
    if not meta:
        return content
    start = meta[-1].end
    syntax = next(
        (
            content[e.value_at : e.end].rstrip(b"\0 ")
            for e in meta
            if _tag(content, e) == b"\x02\0\x10\0"
        ),
        b"",
    )
    head, body = content[:start], content[start:]
    if syntax == DEFLATED:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, 2**24)
        mutated = _mutate_data_set(rng, inflated, implicit=False)
        deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        return head + deflater.compress(mutated) + deflater.flush()
    if rng.random() < 0.05:
        return _mutate_element(rng, content, rng.choice(meta))
    return head + _mutate_data_set(rng, body, implicit=syntax == IMPLICIT)


def _mutate_data_set(rng: random.Random, body: bytes, *, implicit: bool) -> bytes:
    elements = [*walk(body, 0, len(body), implicit=implicit)]
    if not elements:
        return body
    last = elements[-1]
    fragments = body[last.value_at : last.end]
    if rng.random() < 0.3 and fragments[:4] == b"\xfe\xff\x00\xe0":
        return body[: last.value_at] + _mutate_fragments(rng, fragments) + body[last.end :]
    return _mutate_element(rng, body, rng.choice(elements), rng.choice(elements))


def walk(
    data: bytes, at: int, end: int, *, implicit: bool, only_group: int | None = None, depth: int = 0
) -> Iterator[Element]:
    """The elements of a little endian data set, those inside sequences too, as far as it parses."""
    while at + 8 <= end and depth < 20:
        vr = b"" if implicit else data[at + 4 : at + 6]
        if only_group is not None and struct.unpack_from("<H", data, at)[0] != only_group:
            return
        if data[at : at + 2] == b"\xfe\xff":  # items and delimiters have no VR
            vr, length_at, size = b"", at + 4, 4
        else:
            long = vr in LONG_VRS
            length_at, size = (at + 4, 4) if implicit else (at + 8, 4) if long else (at + 6, 2)
        if length_at + size > end:
            return
        length = int.from_bytes(data[length_at : length_at + size], "little")
        value_at = length_at + size
        nested = data[value_at : value_at + 4] == b"\xfe\xff\x00\xe0" or vr == b"SQ"
        stop = end if length == UNDEFINED else min(value_at + length, end)
        item = data[at : at + 4] == b"\xfe\xff\x00\xe0"
        yield Element(at, vr, length_at, size, value_at, stop)
        pixels = data[at : at + 4] == b"\xe0\x7f\x10\x00"
        if (item or (nested and not pixels)) and length:
            yield from walk(data, value_at, stop, implicit=implicit, depth=depth + 1)
        if length == UNDEFINED:
            return  # what follows was walked as what it holds
        at = stop


def _tag(data: bytes, element: Element) -> bytes:
    return data[element.start : element.start + 4]


def _mutate_element(
    rng: random.Random, data: bytes, element: Element, other: Element | None = None
) -> bytes:
    """Another value, length, VR or tag; the element twice, gone, or another's value in it."""
    other = other or element
    whole = data[element.start : element.end]
    value = data[element.value_at : element.end]
    match rng.randrange(10):
        case 0 | 1 | 2 | 3:
            return _set_value(data, element, _hostile_value(rng, element.vr, value))
        case 4:
            return _set_value(data, element, data[other.value_at : other.end][:4096])
        case 5:
            length = rng.choice(LENGTHS) % 256**element.length_bytes
            return put(data, element.length_at, length.to_bytes(element.length_bytes, "little"))
        case 6 if element.vr:
            return put(data, element.start + 4, rng.choice(ALL_VRS))
        case 7:
            return data[: element.start] + data[element.end :]
        case 8:
            return data[: element.end] + whole[:4096] + data[element.end :]
        case _:
            return put(data, element.start, data[other.start : other.start + 4])


def _set_value(data: bytes, element: Element, value: bytes) -> bytes:
    """The value, and the length to it; its neighbours stay."""
    value += b"\0" * (len(value) % 2)
    length = min(len(value), 256**element.length_bytes - 2)
    size = length.to_bytes(element.length_bytes, "little")
    return data[: element.length_at] + size + value[:length] + data[element.end :]


def _hostile_value(rng: random.Random, vr: bytes, value: bytes) -> bytes:
    number = rng.choice(INTEGERS)
    match rng.randrange(4):
        case 0:
            return rng.choice(TEXTS)
        case 1:
            return b"\\".join(rng.choice(TEXTS) for _ in range(rng.randrange(1, 4)))
        case 2 if vr in (b"FD", b"FL"):
            size = {b"FD": "<d", b"FL": "<f"}[vr]
            return struct.pack(size, rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf"))))
        case 3:
            return value[: rng.randrange(len(value) + 1)]
        case _:
            size = rng.choice((1, 2, 4)) if vr not in (b"US", b"SS") else 2
            words = [number % 256**size, *(rng.choice(INTEGERS) % 256**size for _ in range(2))]
            return b"".join(n.to_bytes(size, "little") for n in words[: rng.choice((1, 1, 1, 3))])


def _mutate_fragments(rng: random.Random, data: bytes) -> bytes:
    """An item's length, a whole item, or the codestream in one."""
    items = [e for e in walk(data, 0, len(data), implicit=False) if _tag(data, e)[2:] == b"\0\xe0"]
    if not items or rng.random() < 0.2:
        return _mutate_element(rng, data, rng.choice(items)) if items else data
    item = rng.choice(items)
    stream = data[item.value_at : item.end]
    if stream.startswith((b"\xff\xd8", b"\xff\x4f")):
        stream = mutate_segments(rng, stream)
    elif len(stream) >= 64:
        stream = set_number(rng, stream, 4 * rng.randrange(16), 4, "<")
    return _set_value(data, item, stream)

"""The outer shell of a DICOM file: its meta information, and a data set that is deflated.

pydicom inflates the whole data set before it reads a single element, whatever it grows to; here it
is inflated to a bounded size first.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any, cast

from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import Tag

from medres.imaging.dicom_prefix import HEAD_BYTES, is_bare
from medres.imaging.limits import LIMITS, BoundedReader, LimitExceededError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


# Float, double float and integer pixel data: where pydicom stops too.
PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)


class InflationError(LimitExceededError):
    """A deflated data set larger than `Limits.inflated_bytes`."""


def read_file_meta(file: BoundedReader) -> FileMetaDataset:
    """The file meta information (PS3.10 7.1); the file is left at the data set's first byte.

    Empty for a data set that has none.

    Raises:
        pydicom.errors.InvalidDicomError: no prefix DICM, nor a bare data set.
        Exception: whatever else pydicom raises for damage.
    """
    bare = is_bare(file.read(HEAD_BYTES))
    file.seek(0)
    if not bare:
        read_preamble(file, force=False)
    meta = FileMetaDataset(
        read_dataset(
            file,
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, _vr, _length: tag >> 16 != 2,
        )
    )
    for keyword in ("TransferSyntaxUID", "MediaStorageSOPClassUID"):  # parsed now, or not at all
        if not isinstance(meta.get(keyword, ""), str):
            raise TypeError(keyword)
    return meta


def read_deflated(
    file: BoundedReader, meta: FileMetaDataset, keywords: list[str] | None, stop: bool
) -> tuple[Dataset, bytes]:
    """The data set of a file in the deflated transfer syntax (PS3.5 A.5), and the next two bytes.

    Args:
        file: at the data set's first byte.
        meta: the file's meta information.
        keywords: the attributes to keep; None for all.
        stop: before the pixel data.

    Raises:
        InflationError: it inflates to more than is read.
        EOFError: it is cut short.
        Exception: whatever zlib and pydicom raise for damage.
    """
    inflated = inflate(file.read())
    memory = BoundedReader(
        cast(io.RawIOBase, io.BytesIO(inflated)), len(inflated), LIMITS.header_reads
    )
    dataset = read_dataset(
        memory,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=_is_pixel_data if stop else None,
        specific_tags=None if keywords is None else [Tag(keyword) for keyword in keywords],
    )
    dataset.file_meta = meta
    return dataset, memory.read(2)


def inflate(content: bytes) -> bytes:
    """Raw deflate (RFC 1951), to a bounded size.

    Raises:
        InflationError: it makes more than `Limits.inflated_bytes`.
        EOFError: it is cut short.
        zlib.error: it is damaged.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(content, LIMITS.inflated_bytes)
    if not inflater.eof and inflater.decompress(inflater.unconsumed_tail, 1):
        raise InflationError
    if not inflater.eof:
        raise EOFError
    return inflated


def _is_pixel_data(tag: Any, _vr: str | None, _length: int) -> bool:
    return tag in PIXEL_DATA

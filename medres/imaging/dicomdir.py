"""The files that a DICOMDIR lists (PS3.10 section 8, PS3.3 annex F): of its own folder alone."""

from __future__ import annotations

import re
from pathlib import Path

from pydicom import dcmread

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom_header import Header, attempt, quiet_pydicom
from medres.imaging.limits import LIMITS, open_bounded
from medres.imaging.refusal import told_alone

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
# PS3.10 8.2 allows A-Z, 0-9 and _, at most 8 a component; what mounts and copies make of that too.
COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
MOST_COMPONENTS = 8


@told_alone
def read_references(path: Path) -> list[tuple[str, ...]]:
    """The components of each Referenced File ID (0004,1500), in the order of the directory.

    A reference that cannot be the path of a file in the DICOMDIR's folder is empty: nothing of
    another place is ever opened.

    Raises:
        UnreadableImageError: no DICOMDIR, or a damaged one.
    """
    with quiet_pydicom(), open_bounded(path, LIMITS.header_reads) as file:
        dataset, _ = attempt(lambda: dcmread(file))
        if dataset is None:
            raise UnreadableImageError(
                RejectReason.INVALID_HEADER, path, "the DICOMDIR cannot be parsed; fetch it again"
            )
        kind = str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
        if kind != MEDIA_STORAGE_DIRECTORY:
            raise UnreadableImageError(RejectReason.NOT_AN_IMAGE, path, "is no DICOMDIR")
        header = Header(dataset, path)
        found = []
        for record in header.items("DirectoryRecordSequence"):
            value = header.value("ReferencedFileID", record)
            if value is not None:
                found.append(_components(value))
        return found


def _components(value: object) -> tuple[str, ...]:
    parts = (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]
    texts = tuple(str(part) for part in parts)
    sound = 0 < len(texts) <= MOST_COMPONENTS and all(map(COMPONENT.fullmatch, texts))
    return texts if sound else ()

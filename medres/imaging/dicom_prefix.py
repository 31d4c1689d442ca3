"""Whether a file is DICOM, by its first bytes: as PS3.10 writes it, or as a bare data set.

A bare one has neither preamble nor the prefix DICM. Old archives and dumps of what came over the
network are full of them. They are told without guessing: by the first element, which is of group 2
or 8 with a low number and a sound length, and by a UID of DICOM's own soon after it.
"""

from __future__ import annotations

PREAMBLE_BYTES = 128
PREFIX = b"DICM"
HEAD_BYTES = 352
DICOM_UIDS = b"1.2.840.10008."
# File meta information, in its one encoding, and the first elements of a data set.
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
LAST_FIRST_ELEMENT = 0x18  # (0008,0018) SOP Instance UID; (0002,0010) Transfer Syntax UID
SHORT_VRS = (b"UL", b"UI", b"CS", b"DA", b"TM", b"SH", b"OB")
LONGEST_FIRST_VALUE = 64


def starts_dicom(head: bytes) -> bool:
    """Whether medres reads the file as DICOM.

    Args:
        head: its first `HEAD_BYTES`, or all it has.
    """
    return has_prefix(head) or is_bare(head)


def has_prefix(head: bytes) -> bool:
    """Whether preamble and prefix stand where PS3.10 7.1 has them."""
    return head[PREAMBLE_BYTES : PREAMBLE_BYTES + len(PREFIX)] == PREFIX


def is_bare(head: bytes) -> bool:
    """Whether it is a data set, with file meta information or without, and nothing before it."""
    if has_prefix(head) or head[:2] not in FIRST_GROUPS or DICOM_UIDS not in head:
        return False
    big = head[:2] == b"\x00\x08"
    if int.from_bytes(head[2:4], "big" if big else "little") > LAST_FIRST_ELEMENT:
        return False
    explicit = head[4:6] in SHORT_VRS
    implicit = not big and int.from_bytes(head[4:8], "little") <= LONGEST_FIRST_VALUE
    return explicit or implicit

"""A line of the journal: readable but for whose image it is, which only the site's secret opens.

A line is eight hexadecimal digits, the CRC-32 of what follows, a blank, and one JSON object. In it
status, reason, scores and hashes stand as they are, an image and a study by their keys as in the
tables. The file's name, the part of it and the UIDs stand in its last field, `sealed`: AES-256-GCM
(NIST SP 800-38D) under a key of HKDF-SHA256 (RFC 5869) from the site's secret, a nonce of 96 random
bits before it, in base64. All of the line before that field is authenticated with it: without the
secret nothing of a line can be changed, nor moved to another, without its counting as damaged.
"""

from __future__ import annotations

import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medres.data.pseudonyms import Keys
from medres.scoring.pictures import address_of

CRC_DIGITS = 8
KEY_BYTES, NONCE_BYTES = 32, 12
PURPOSE = b"medres journal"
SEALED = b',"sealed":"'
"""Begins the last field; within the others' text a quotation mark has a backslash before it."""
END = b'"}'
Entry = dict[str, Any]


class SealedLines:
    """Lines from entries, and entries from lines.

    Args:
        keys: of the site.
    """

    def __init__(self, keys: Keys) -> None:
        key = HKDF(SHA256(), KEY_BYTES, salt=None, info=PURPOSE).derive(keys.secret)
        self._keys, self._cipher = keys, AESGCM(key)

    def write(self, entry: Mapping[str, Any]) -> bytes:
        """The line of a file or an image."""
        told, whose = self._part(entry)
        text = _as_bytes(told).removesuffix(b"}")
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, _as_bytes(whose), text)
        return add_checksum(text + SEALED + b64encode(sealed) + END)

    def read(self, line: bytes) -> Entry | None:
        """The entry of a line; None where the line is damaged, or not of this secret."""
        content = check_line(line) or b""
        text, found, sealed = content.rpartition(SEALED)
        if not found:
            return None
        try:
            code = b64decode(sealed.removesuffix(END), validate=True)
            whose = self._cipher.decrypt(code[:NONCE_BYTES], code[NONCE_BYTES:], text)
        except (InvalidTag, ValueError):
            return None
        return _put_together(json.loads(text + b"}"), json.loads(whose))

    def _part(self, entry: Mapping[str, Any]) -> tuple[Entry, list[Any]]:
        """What everybody may read of an entry, and whose it is."""
        told = dict(entry)
        if "file" not in told:
            name, part = told["image"], told.pop("part")
            told["image"] = self._keys.of(address_of(name, part))
            return told, [name, part]
        name, pictures = told["file"], told.get("pictures", ())
        told["file"] = self._keys.of(name)
        if pictures:
            told["pictures"] = [[self._keys.of(whose[1]), *what] for whose, what in pictures]
        return told, [name, *(whose for whose, _ in pictures)]


def _put_together(told: Entry, whose: Sequence[Any]) -> Entry:
    name, *others = whose
    if "file" not in told:
        return {**told, "image": name, "part": others[0]}
    pictures = [[of, what] for of, (_, *what) in zip(others, told.get("pictures", ()), strict=True)]
    return {**told, "file": name, **({"pictures": pictures} if pictures else {})}


def add_checksum(text: bytes) -> bytes:
    """A line of JSON text."""
    return b"%08x %s\n" % (zlib.crc32(text), text)


def check_line(line: bytes) -> bytes | None:
    """The JSON text of a line; None where the line is damaged."""
    text = line[CRC_DIGITS + 1 : -1]
    sound = line.endswith(b"\n") and line[: CRC_DIGITS + 1] == b"%08x " % zlib.crc32(text)
    return text if sound else None


def _as_bytes(values: Any) -> bytes:
    return json.dumps(values, separators=(",", ":"), allow_nan=False).encode()

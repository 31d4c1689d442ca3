"""Lines of the journal: readable but for whose they are, and sealed against any change."""

import json
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from medres.data.pseudonyms import Keys
from medres.scoring.pictures import Facts, Picture
from medres.scoring.sealed_lines import SealedLines, add_checksum

KEYS = Keys(b"a secret of thirty-two bytes ....")
LINES = SealedLines(KEYS)
STUDY = "1.2.826.0.1.7"
PICTURES = [
    Picture(part, frames, STUDY, "", f"{STUDY}.{part}", KEYS.of_patient("DOE"), Facts("DX"))
    for part, frames in (("axial", range(40)), ("DOE_2", (3, 5)))
]
IMAGE = {"image": "DOE/1.npz", "part": "DOE_2", "frame": 3, "stamp": "5-9", "p": [0.1, 1e-300]}
FILES = [
    {"file": "DOE/1.npz", "stamp": "5-9", "pictures": [p.as_json() for p in PICTURES]},
    {"file": "DOE/2", "stamp": "5-9", "reason": "truncated", "message": 'says ,"sealed":" {}'},
    {"file": "DOE/é \\xe9\n", "stamp": "", "aside": "hidden"},
]
ENTRIES = [IMAGE, *FILES]


def told(line: bytes) -> dict:
    return json.loads(line[9:])


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_comes_back_from_its_line(entry) -> None:
    line = LINES.write(entry)
    assert line.count(b"\n") == 1
    assert LINES.read(line) == json.loads(json.dumps(entry))
    assert SealedLines(Keys(b"a secret of thirty-two bytes ...!")).read(line) is None


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_line_tells_nothing_of_names_and_uids(entry) -> None:
    line = LINES.write(entry)
    assert b"DOE" not in line
    assert STUDY.encode() not in line
    assert b"DOE" not in b64decode(told(line)["sealed"])
    assert LINES.write(entry) != line  # equal entries cannot be told by equal lines


def test_a_line_can_be_read_by_the_keys_of_the_tables() -> None:
    values = told(LINES.write(IMAGE))
    assert values.pop("sealed")
    key = KEYS.of("DOE/1.npz::DOE_2")
    assert values == {"image": key, "frame": 3, "stamp": "5-9", "p": [0.1, 1e-300]}
    values = told(LINES.write(FILES[0]))
    assert values["file"] == KEYS.of("DOE/1.npz")
    study, patient, frames, facts = values["pictures"][0]
    assert (study, patient, frames) == (KEYS.of(STUDY), KEYS.of_patient("DOE"), 40)
    assert facts[0] == "DX"
    assert told(LINES.write(FILES[1]))["reason"] == "truncated"


def test_no_byte_of_a_line_can_be_changed() -> None:
    """Not even with a checksum that fits: whoever changes a score needs the secret."""
    line = LINES.write(IMAGE)
    text = line[9:-1]
    assert LINES.read(add_checksum(text)) == IMAGE
    for place in range(len(text)):
        changed = bytearray(text)
        changed[place] ^= 1
        assert LINES.read(add_checksum(bytes(changed))) is None, place
    damaged = bytearray(line)
    damaged[12] ^= 1
    assert LINES.read(bytes(damaged)) is None
    assert LINES.read(line[:-1]) is None


def test_no_sealed_part_serves_another_line() -> None:
    a, b = (LINES.write({**IMAGE, "p": [p]})[9:-1] for p in (0.1, 0.9))
    field = b',"sealed":"'
    mixed = a.partition(field)[0] + field + b.partition(field)[2]
    assert LINES.read(add_checksum(mixed)) is None


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"image":"x"}', b'{"image":"x","sealed":""}', b'{"a":1,"sealed":"%%"}']
)
def test_a_line_without_a_seal_counts_as_damaged(text) -> None:
    assert LINES.read(add_checksum(text)) is None


def test_the_seal_is_of_the_published_algorithms() -> None:
    """AES-256-GCM by a key of RFC 5869, computed here by its two steps."""
    import hashlib
    import hmac

    extracted = hmac.digest(bytes(32), KEYS.secret, hashlib.sha256)
    key = hmac.digest(extracted, b"medres journal\x01", hashlib.sha256)
    line = LINES.write(IMAGE)
    sealed = b64decode(told(line)["sealed"])
    before = line[9:].partition(b',"sealed"')[0]
    opened = AESGCM(key).decrypt(sealed[:12], sealed[12:], before)
    assert json.loads(opened) == ["DOE/1.npz", "DOE_2"]
    assert b64encode(sealed) in line

"""Stand-ins for identities."""

import hashlib
import hmac
import re

import pytest

from medres.data.pseudonyms import Pseudonyms, read_secret
from medres.errors import ConfigError

SECRET = b"0123456789abcdef"


def test_a_patients_stand_in_is_the_documented_function():
    keyed = hmac.new(SECRET, b"patient\0P1", "sha256").hexdigest()
    assert Pseudonyms(SECRET).patient("P1") == f"p{keyed[:16]}"
    assert (
        Pseudonyms().patient("P1")
        == f"p{hashlib.sha256(b'patient' + bytes(1) + b'P1').hexdigest()[:16]}"
    )


def test_a_studys_stand_in_is_a_uid():
    uid = Pseudonyms(SECRET).study("1.2.3")
    assert re.fullmatch(r"2\.25\.[1-9][0-9]*", uid)
    assert len(uid) <= 64
    assert uid != Pseudonyms(SECRET).study("1.2.4")


def test_a_secret_never_shows():
    assert SECRET.decode() not in repr(Pseudonyms(SECRET))


def test_a_secret_is_read_from_its_file(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    assert read_secret(path) == SECRET


def test_secrets_that_are_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such secret file; make one with `openssl rand"):
        read_secret(tmp_path / "none")
    (tmp_path / "short").write_text("abc")
    with pytest.raises(ConfigError, match="a secret of 3 bytes; it takes 16 at least"):
        read_secret(tmp_path / "short")

"""Stand-ins for patient ids and UIDs in tables: equal for equal, telling nothing by themselves.

A stand-in is HMAC-SHA256 under the site's secret. Without a secret it is plain SHA-256, and whoever
can list the possible ids can find out whose is whose. Either way the table is pseudonymous, not
anonymous: the pictures, their file names and the site's own records still lead to the patient.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from medres.errors import ConfigError

MIN_SECRET_BYTES = 16


@dataclass(frozen=True, repr=False)
class Pseudonyms:
    """The keyed function.

    Args:
        secret: of the site; b"" for none. The same secret gives the same stand-ins.
    """

    secret: bytes = b""

    def patient(self, patient_id: str) -> str:
        """`p` and 16 hexadecimal digits."""
        return f"p{self._digest('patient', patient_id)[:8].hex()}"

    def study(self, study_instance_uid: str) -> str:
        """A UID of the form 2.25.<integer> (PS3.5 B.2), in place of the study's own."""
        return f"2.25.{int.from_bytes(self._digest('study', study_instance_uid)[:16])}"

    @property
    def note(self) -> str:
        """What to say of a table with such stand-ins."""
        if self.secret:
            return "Patient ids and study UIDs are pseudonyms under the site's secret."
        return (
            "Patient ids and study UIDs are pseudonyms without a secret: whoever can guess an id "
            "can recognise it. Give --site-secret FILE where the manifest leaves the site."
        )

    def _digest(self, what: str, name: str) -> bytes:
        message = f"{what}\0{name}".encode()
        if not self.secret:
            return hashlib.sha256(message).digest()
        return hmac.digest(self.secret, message, "sha256")


@dataclass(frozen=True, repr=False)
class Keys:
    """Stand-ins for images and studies: HMAC-SHA256 under the site's secret, 20 digits."""

    secret: bytes

    def of(self, name: str) -> str:
        """The stand-in of a relative path or a UID."""
        return hmac.digest(self.secret, name.encode(), "sha256").hex()[:20]

    def of_patient(self, patient_id: str) -> str:
        """The stand-in of a patient id; "" for none."""
        return self.of(f"patient\0{patient_id}") if patient_id else ""


def read_secret(path: Path) -> bytes:
    """The site's secret from a file, surrounding blanks left out.

    Raises:
        ConfigError: no such file, or a secret that is too short.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such secret file; make one with `openssl rand -hex 32`")
    secret = path.read_bytes().strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"{path}: a secret of {len(secret)} bytes; it takes {MIN_SECRET_BYTES} at least, such "
            "as `openssl rand -hex 32` prints"
        )
    return secret

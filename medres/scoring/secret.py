"""The site's secret for keys: given, or made once and kept beside the results."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from medres.data.pseudonyms import read_secret
from medres.errors import ResultsError

VARIABLE = "MEDRES_SITE_SECRET"
NAME = "site_secret"


def open_secret(out: Path, given: Path | None) -> bytes:
    """The file given, else the one that the environment names, else the results folder's own.

    The folder's own is made if need be, readable by its owner alone; of several processes that
    begin at once, all get the same.

    Raises:
        ConfigError: no such file, or a secret that is too short.
        ResultsError: none can be written into the folder.
    """
    if found := find_secret(out, given):
        return found
    path = out / NAME
    try:
        _make_secret(path)
    except OSError as error:
        raise ResultsError(
            f"{out}: no results can be written there ({error.strerror}); make room, or give a "
            "folder in which you may write"
        ) from error
    return read_secret(path)


def _make_secret(path: Path) -> None:
    out = path.parent
    out.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=out, prefix=f".{NAME}-") as file:  # mode 0600
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, path)
            except FileExistsError:
                pass
            except OSError:  # a file system that knows no second names, such as exFAT
                _copy_secret(Path(file.name), path)


def _copy_secret(made: Path, path: Path) -> None:
    """The same where nobody else has been first; never half of it."""
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, made.read_bytes())
            os.fsync(handle)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(handle)


def find_secret(out: Path, given: Path | None) -> bytes:
    """The same, but none is made: b"" where there is none.

    Raises:
        ConfigError: no such file, or a secret that is too short.
    """
    named = os.environ.get(VARIABLE, "")
    if given is not None or named:
        return read_secret(given or Path(named))
    path = out / NAME
    return read_secret(path) if path.exists() else b""

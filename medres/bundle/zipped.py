"""A model in a zip, as MONAI's model zoo hands them out: unpacked for as long as it is used.

What an archive claims is judged before a byte is written, and what it holds never exceeds that: no
name leads out, no link is made, no file is larger than a model's may be.
"""

from __future__ import annotations

import lzma
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from medres.bundle.parts import WEIGHTS_BYTES
from medres.errors import BundleError

METADATA: Final = "configs/metadata.json"
MOST_FILES: Final = 10_000
"""The model zoo's bundles have 10 to 60."""
MOST_BYTES: Final = 2 * WEIGHTS_BYTES
"""Of all files together: weights, and the same as TorchScript."""
MOST_RATIO: Final = 100
"""Times its own size that a zip of more than `SMALL_BYTES` may hold; weights hardly shrink."""
SMALL_BYTES: Final = 2**30
ENCRYPTED_FLAG: Final = 0x1
PIECE_BYTES: Final = 2**20
DAMAGE = (
    *(EOFError, ValueError, struct.error, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, NotImplementedError),
)


@contextmanager
def model_folder(path: Path) -> Generator[Path, None, None]:
    """The folder of a model; of a zip, one that is unpacked and lasts as long as the block.

    Args:
        path: a folder, which is given back, or a zip of one model.

    Raises:
        BundleError: a zip that is damaged, holds no model or several, or something that a model
            does not have: names that lead out, links, encrypted files, too many bytes.
    """
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="medres-model-") as scratch:
        yield _unpack(path, Path(scratch))


def _unpack(path: Path, scratch: Path) -> Path:
    if not zipfile.is_zipfile(path):
        raise BundleError(f"{path}: is neither a folder nor a zip; give a model's folder, or a zip")
    try:
        with zipfile.ZipFile(path) as archive:
            root, chosen = _choose(path, archive.infolist())
            folder = scratch / (root or path.stem)
            for name, info in chosen.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("xb") as file:
                    _copy(path, source, file, info.file_size)
    except BundleError:
        raise
    except OSError as error:
        raise BundleError(f"{path}: cannot be unpacked to {scratch} ({error.strerror})") from error
    except DAMAGE as error:
        raise BundleError(f"{path}: the zip is damaged or cut short; fetch it again") from error
    return folder


def _choose(path: Path, infos: list[zipfile.ZipInfo]) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """The name of the model's folder ("" where it has none), and its files by their names in it."""
    files = {info.filename: info for info in infos if not info.is_dir()}
    _check_size(path, infos)
    roots = [
        name.removesuffix(METADATA).rstrip("/")
        for name in files
        if name == METADATA or name.endswith(f"/{METADATA}")
    ]
    if len(roots) != 1:
        shown = ", ".join(root or "itself" for root in sorted(roots)[:5])
        raise BundleError(
            f"{path}: holds {f'several models ({shown})' if roots else 'no model'}; give a zip of "
            f"one folder with {METADATA} in it"
        )
    prefix = f"{roots[0]}/" if roots[0] else ""
    chosen: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.is_dir() or not info.filename.startswith(prefix):
            continue
        _check_member(path, info)
        name = info.filename.removeprefix(prefix)
        if name in chosen:
            raise BundleError(f"{path}: holds {name!r} twice; pack it again")
        chosen[name] = info
    return PurePosixPath(roots[0]).name, chosen


def _check_size(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in infos)
    most = min(MOST_BYTES, max(SMALL_BYTES, MOST_RATIO * path.stat().st_size))
    if len(infos) > MOST_FILES or total > most:
        raise BundleError(
            f"{path}: holds {len(infos)} files of {total} bytes; at most {MOST_FILES} of {most} "
            "are unpacked: unpack it yourself, and look"
        )


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(info.filename)
    strange = "\\" in info.filename or ":" in info.filename or "\0" in info.orig_filename
    if parts.is_absolute() or ".." in parts.parts or strange:
        raise BundleError(f"{path}: {info.filename!r} leads out of the model; do not use it")
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BundleError(f"{path}: {info.filename!r} is a link or a device; pack the file itself")
    if info.flag_bits & ENCRYPTED_FLAG:
        raise BundleError(f"{path}: {info.filename!r} is encrypted; unpack it with its password")


def _copy(path: Path, source: IO[bytes], file: IO[bytes], size: int) -> None:
    """At most as many bytes as the directory says; the zip's own checksum tells a difference."""
    copied = 0
    while piece := source.read(PIECE_BYTES):
        copied += len(piece)
        if copied > size:
            raise BundleError(f"{path}: a file in it is larger than it says; do not use it")
        file.write(piece)

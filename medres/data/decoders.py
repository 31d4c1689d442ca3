"""Whether every file of a job can be decoded here, asked of headers before the job starts."""

from __future__ import annotations

from collections import defaultdict

from medres.data.manifest import Manifest
from medres.errors import ManifestError, UnreadableImageError
from medres.imaging.grayscale import ImageRecord
from medres.imaging.read import read_record, sniff_format

SHOWN = 3


def describe_lack(record: ImageRecord) -> str:
    """The decoder that a file lacks and the package that adds it; empty where it lacks none."""
    syntax, bits = record.transfer_syntax_uid, record.bits_stored
    if not syntax:  # no DICOM, or pixels as they are
        return ""
    from medres.imaging.codecs import describe_missing_decoder, has_decoder

    return "" if has_decoder(syntax, bits) else describe_missing_decoder(syntax, bits)


def check_decoders(manifest: Manifest) -> None:
    """Refuse a manifest with files in a transfer syntax that no installed package decodes.

    Only headers of DICOM files are read, 1 to 2 ms each; what else is wrong with a file is said
    when its pixels are read.

    Raises:
        ManifestError: every such transfer syntax, the files in it, and the package that adds it.
    """
    lacks: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(row.image for row in manifest.rows):
        path = manifest.root / name
        try:
            if sniff_format(path) == "dicom":
                lacks[describe_lack(read_record(path))].append(name)
        except (OSError, UnreadableImageError):
            continue
    lacks.pop("", None)
    if lacks:
        each = (f"{len(names)} ({_some(names)}): {lack}" for lack, names in lacks.items())
        raise ManifestError(f"image files that cannot be decoded: {'; '.join(each)}")


def _some(names: list[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])

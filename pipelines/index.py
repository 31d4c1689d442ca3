"""List a folder's images, one row a file, with the reason where a file is none.

    medres index STUDIES --out table.csv

Only headers are read. CT and MR are grouped into series: `slice` is the place of a file's first
image in its stack along the normal of the slices, and gaps, duplicates, tilts, localizers and
mixtures are told. `reason` is a code and `message` the same in words; both are empty where the
file can be read. The table names no patient and holds no UID of an instance; `file` is the path in
the folder, as it is. Exit status 3 where anything was refused.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.shell import exit_status, format_missing_decoders

if TYPE_CHECKING:
    from medres.data.image_index import ImageIndex
    from medres.data.rejected import RejectedFile
    from medres.data.series import SeriesListing, SlicePlace
    from medres.imaging.grayscale import ImageRecord

PROGRAM = "medres index"
REFUSED = 3
COLUMNS = (
    *("file", "format", "modality", "rows", "columns", "frames", "photometric_interpretation"),
    *("bits_stored", "transfer_syntax", "voi", "row_spacing_mm", "column_spacing_mm"),
    *("body_part", "view_position", "laterality", "image_type", "burned_in_annotation"),
    *("series", "stack", "slice", "position_mm", "reason", "message"),
)


@dataclass(frozen=True)
class IndexConfig:
    """What to list, and where to.

    Attributes:
        folder: with images, or one image.
        out: the table, CSV.
    """

    folder: Path
    out: Path


def run(config: IndexConfig) -> int:
    """Write the table and say what is in it; returns the exit status."""
    from medres.data.image_index import list_images
    from medres.data.series import list_series
    from medres.files import write_text
    from pipelines.progress import follow

    index = list_images(
        config.folder,
        leave_out=[config.out],
        follow=lambda files: follow(files, "reading headers"),
    )
    series = list_series(index)
    rows = sorted(tabulate(index, series), key=lambda row: row["file"])
    stream = io.StringIO()
    table = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(config.out, stream.getvalue())
    print("\n".join(format_index(index, series, config.out)))
    return REFUSED if index.rejected else 0


def tabulate(index: ImageIndex, series: SeriesListing) -> Iterator[dict[str, str]]:
    """One row a file, or an array of an `.npz`; a refused file has what its header still says."""
    for file in index.images:
        place = _describe_place(series.places.get((file.name, 0)))
        yield {"file": file.name, **_describe(file.record), **place}
    for refused in index.rejected:
        known = _describe_refused(index.folder, refused)
        reason = {"reason": refused.reason.value, "message": refused.message}
        yield {"file": refused.file, **known, **reason}


def format_index(index: ImageIndex, series: SeriesListing, out: Path) -> list[str]:
    """What was found, in a few lines."""
    frames = sum(file.record.number_of_frames for file in index.images)
    lines = [f"{out}: {len(index.images)} readable, with {frames} images"]
    if series.count:
        lines.append(f"cross-sectional series: {series.count}")
        lines += [f"  {note}" for note in series.notes]
    if index.rejected:
        reasons = Counter(file.reason.value for file in index.rejected).most_common()
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons)
        lines.append(f"refused: {len(index.rejected)} ({counts})")
    return [*lines, *format_missing_decoders(index.rejected)]


def _describe(record: ImageRecord) -> dict[str, str]:
    from medres.imaging.dicom_header import name_uid

    syntax = record.transfer_syntax_uid
    return {
        "format": record.format,
        "modality": record.modality,
        "rows": str(record.rows),
        "columns": str(record.columns),
        "frames": str(record.number_of_frames),
        "photometric_interpretation": record.photometric_interpretation,
        "bits_stored": str(record.bits_stored),
        "transfer_syntax": name_uid(syntax) if syntax else "",
        "voi": record.voi,
        "row_spacing_mm": f"{spacing[0]:g}" if (spacing := record.pixel_spacing_mm) else "",
        "column_spacing_mm": f"{spacing[1]:g}" if spacing else "",
        "body_part": record.body_part,
        "view_position": record.view_position,
        "laterality": record.laterality,
        "image_type": "\\".join(record.image_type),
        "burned_in_annotation": record.burned_in_annotation,
    }


def _describe_place(place: SlicePlace | None) -> dict[str, str]:
    if place is None:
        return {}
    position = "" if place.position_mm is None else f"{place.position_mm:.6g}"
    return {
        "series": str(place.series),
        "stack": "localizer" if place.is_localizer else str(place.stack),
        "slice": str(place.slice),
        "position_mm": position,
    }


def _describe_refused(folder: Path, refused: RejectedFile) -> dict[str, str]:
    """A file that only lacks a decoder has a good header."""
    from medres.errors import RejectReason
    from medres.imaging.read import read_record

    if refused.reason is not RejectReason.NO_DECODER:
        return {}
    return _describe(read_record(folder / refused.file))


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with images, or one image")
    parser.add_argument("--out", type=Path, required=True, metavar="TABLE", help="a CSV file")
    config = IndexConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: run(config))


if __name__ == "__main__":
    sys.exit(main())

"""Where each slice of a CT or MR stands in its series, and what is wrong with the series.

`imaging.study` orders one series; here a folder's are found, numbered, and put into words that
name files and no UIDs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medres.data.image_index import ImageFile, ImageIndex
from medres.imaging.series_notes import CROSS_SECTIONAL
from medres.imaging.slice_record import Note, Slice
from medres.imaging.study import Series, scan_studies


@dataclass(frozen=True)
class SlicePlace:
    """Where a slice stands.

    Args:
        series: number of its series, from 1, in the order of their first files.
        stack: number of its stack in the series, from 1, the largest first; 0 for a localizer.
        slice: place in the stack, from 0, along the normal of the slices.
        position_mm: along that normal; None without positions, and for a localizer.
    """

    series: int
    stack: int
    slice: int
    position_mm: float | None = None

    @property
    def is_localizer(self) -> bool:
        """An overview, no slice of the volume."""
        return self.stack == 0


@dataclass(frozen=True)
class SeriesListing:
    """The cross-sectional series of a folder.

    Args:
        places: of each (file name, frame).
        count: how many series there are.
        notes: what is to be known of them, one line a kind of note, the most frequent first.
    """

    places: Mapping[tuple[str, int], SlicePlace]
    count: int
    notes: tuple[str, ...]

    def in_order(self, name: str, frames: Sequence[int]) -> list[int]:
        """Frames of a file as they lie in the patient; as they are where nothing is known."""

        def place(frame: int) -> tuple[int, int]:
            found = self.places.get((name, frame))
            return (found.stack, found.slice) if found else (0, frame)

        return sorted(frames, key=place)


def list_series(index: ImageIndex) -> SeriesListing:
    """Group the CT, MR, PT and NM files of a folder into series, by Series Instance UID.

    Their headers are read a second time; other images are left alone.
    """
    files = [file for file in index.images if _is_cross_sectional(file)]
    names = {index.folder / file.name: file.name for file in files}
    scan = scan_studies(names)
    every = [series for study in scan.studies for series in study.series]
    places = {
        (names[item.path], item.frame): place
        for number, series in enumerate(every, start=1)
        for item, place in _places(number, series)
    }
    return SeriesListing(places, len(every), _in_words(every))


def _is_cross_sectional(file: ImageFile) -> bool:
    return file.record.format == "dicom" and file.record.modality in CROSS_SECTIONAL


def _places(number: int, series: Series) -> list[tuple[Slice, SlicePlace]]:
    placed = [
        (item, SlicePlace(number, rank, at, stack.positions_mm[at] if stack.positions_mm else None))
        for rank, stack in enumerate(series.stacks, start=1)
        for at, item in enumerate(stack.slices)
    ]
    placed += [(item, SlicePlace(number, 0, at)) for at, item in enumerate(series.localizers)]
    return placed


def _in_words(every: Sequence[Series]) -> tuple[str, ...]:
    """One line a kind of note: in how many series, and what it says of the first."""
    found: dict[str, list[tuple[int, Series, Note]]] = defaultdict(list)
    for number, series in enumerate(every, start=1):
        for note in series.all_notes:
            found[note.kind.value].append((number, series, note))
    lines = []
    for kind, notes in sorted(found.items(), key=lambda item: -len({n for n, _, _ in item[1]})):
        numbers = {number for number, _, _ in notes}
        number, series, note = notes[0]
        which = "the only series" if len(every) == 1 else f"series {number}"
        more = f", and {len(numbers) - 1} more series" if len(numbers) > 1 else ""
        lines.append(f"{kind} in {which} ({series.modality}){more}: {note.message}")
    return tuple(lines)

"""Files into studies, series and ordered slices, by their headers alone.

Study and series are told by their UIDs, never by folders. A series becomes stacks, each of one
orientation, size and pixel spacing; `stack` orders them. Localizers stand apart. What a series is
beside a plain stack is said in its notes, and nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom import read_header
from medres.imaging.dicom_attributes import image_type, modality, pixel_spacing
from medres.imaging.dicom_header import Header, attempt, quiet_pydicom
from medres.imaging.refusal import told_alone
from medres.imaging.series_notes import check_series
from medres.imaging.slice_record import Note, Slice, is_orientation
from medres.imaging.stack import Stack, build_stacks

# Far above any cine run or tomography; a header can claim 2^31.
MOST_FRAMES = 65_536


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series: what one acquisition, reconstruction or export made.

    Args:
        modality: DICOM's code, such as CT.
        stacks: what can be a volume each, the largest first; empty where all are localizers.
        localizers: overview images, by instance number as read.
        notes: on the series as a whole; each stack has its own.
        study_instance_uid: identity, not in the `repr` nor in `as_json`.
        series_instance_uid: identity likewise.
    """

    modality: str
    stacks: tuple[Stack, ...]
    localizers: tuple[Slice, ...] = ()
    notes: tuple[Note, ...] = ()
    study_instance_uid: str = field(default="", repr=False)
    series_instance_uid: str = field(default="", repr=False)

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Every slice but the localizers, stack after stack."""
        return tuple(item for stack in self.stacks for item in stack.slices)

    @property
    def all_notes(self) -> tuple[Note, ...]:
        """The series' notes, then its stacks'."""
        return (*self.notes, *(note for stack in self.stacks for note in stack.notes))

    def as_json(self) -> dict[str, Any]:
        """Numbers and notes, without identity and paths, ready for `json.dumps`."""
        return {
            "modality": self.modality,
            "stacks": [_stack_as_json(stack) for stack in self.stacks],
            "localizers": len(self.localizers),
            "notes": [_note_as_json(note) for note in self.notes],
        }


@dataclass(frozen=True, kw_only=True)
class Study:
    """One examination.

    Args:
        series: in the order in which their first files were given.
        study_instance_uid: identity, not in the `repr`.
    """

    series: tuple[Series, ...]
    study_instance_uid: str = field(default="", repr=False)


@dataclass(frozen=True)
class StudyScan:
    """What a set of files held.

    Args:
        studies: in the order in which their first files were given.
        refused: one error with its reason code for each file that is no DICOM picture.
    """

    studies: tuple[Study, ...]
    refused: tuple[UnreadableImageError, ...] = ()


@dataclass(frozen=True)
class _Member:
    """A slice with the series that it belongs to."""

    item: Slice
    modality: str
    key: tuple[str, str]


def scan_studies(paths: Iterable[str | Path]) -> StudyScan:
    """The studies of a set of files; what is no DICOM picture is told apart, with its reason."""
    members: list[_Member] = []
    refused: list[UnreadableImageError] = []
    for path in paths:
        try:
            members += _read_members(Path(path))
        except UnreadableImageError as error:
            refused.append(error)
    studies: dict[str, list[Series]] = {}
    for series in _build_series(members):
        studies.setdefault(series.study_instance_uid, []).append(series)
    return StudyScan(
        tuple(Study(series=tuple(of), study_instance_uid=uid) for uid, of in studies.items()),
        tuple(refused),
    )


@told_alone
def _read_members(path: Path) -> list[_Member]:
    """One a frame. Folders, pipes and what cannot be opened are refused too."""
    try:
        if not path.is_file():
            raise FileNotFoundError
        with quiet_pydicom():
            header = read_header(path)
            key = (header.text("StudyInstanceUID"), header.text("SeriesInstanceUID"))
            kind = modality(header)
            return [_Member(item, kind, key) for item in _read_slices(header, path)]
    except OSError as error:
        raise UnreadableImageError(
            RejectReason.NOT_FOUND, path, "no such file, or it cannot be opened"
        ) from error


def _read_slices(header: Header, path: Path) -> Iterator[Slice]:
    frames = max(header.integer("NumberOfFrames", 1), 1)
    if frames > MOST_FRAMES:
        raise header.refuse(
            RejectReason.TOO_LARGE, f"{frames} frames; {MOST_FRAMES} are ordered at most"
        )
    for frame in range(frames):
        yield _read_slice(Header(header.dataset, path, frame), path)


def _read_slice(header: Header, path: Path) -> Slice:
    """What one frame says. Damaged geometry counts as absent: it can still be looked at."""
    orientation = _numbers(header, "ImageOrientationPatient", "PlaneOrientationSequence")
    position = _numbers(header, "ImagePositionPatient", "PlanePositionSequence")
    number = _numbers(header, "InstanceNumber", "")
    tilt = _numbers(header, "GantryDetectorTilt", "CTGeometrySequence")
    return Slice(
        path=path,
        frame=header.frame,
        rows=header.integer("Rows"),
        columns=header.integer("Columns"),
        pixel_spacing_mm=pixel_spacing(header)[0],
        instance_number=int(number[0]) if len(number) == 1 else None,
        orientation=orientation if is_orientation(orientation) else None,
        position_mm=position if len(position) == 3 else None,
        gantry_tilt_degrees=tilt[0] if len(tilt) == 1 else None,
        image_type=image_type(header),
        sop_instance_uid=header.text("SOPInstanceUID"),
        frame_of_reference_uid=header.text("FrameOfReferenceUID"),
        patient_id=header.text("PatientID"),
    )


def _numbers(header: Header, keyword: str, group: str) -> tuple[float, ...]:
    """None of them where they are damaged."""
    where = header.group(group) if group else header.dataset
    return tuple(attempt(lambda: header.numbers(keyword, where))[0] or ())


def _build_series(members: Iterable[_Member]) -> tuple[Series, ...]:
    groups: dict[tuple[str, str], list[_Member]] = {}
    for member in members:
        groups.setdefault(member.key, []).append(member)
    return tuple(_one_series(key, group) for key, group in groups.items())


def _one_series(key: tuple[str, str], members: list[_Member]) -> Series:
    every = [member.item for member in members]
    localizers = tuple(item for item in every if item.is_localizer)
    stacks = build_stacks(item for item in every if not item.is_localizer)
    modality = members[0].modality
    return Series(
        modality=modality,
        stacks=stacks,
        localizers=localizers,
        notes=check_series(modality, key[1], stacks, localizers),
        study_instance_uid=key[0],
        series_instance_uid=key[1],
    )


def _stack_as_json(stack: Stack) -> dict[str, Any]:
    first = stack.slices[0]
    return {
        "slices": len(stack.slices),
        "rows": first.rows,
        "columns": first.columns,
        "pixel_spacing_mm": first.pixel_spacing_mm,
        "orientation": first.orientation,
        "order": stack.order,
        "slice_spacing_mm": stack.slice_spacing_mm,
        "tilt_degrees": stack.tilt_degrees,
        "notes": [_note_as_json(note) for note in stack.notes],
    }


def _note_as_json(note: Note) -> dict[str, Any]:
    return {"kind": note.kind.value, "message": note.message, "slices": list(note.slices)}

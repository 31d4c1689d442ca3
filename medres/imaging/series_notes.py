"""What is to be known of a series as a whole before it is used as a volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medres.imaging.slice_record import Note, NoteKind, Slice, same_orientation, same_pixel_spacing
from medres.imaging.stack import Stack

# Whose slices are expected to say where they lie.
CROSS_SECTIONAL = frozenset({"CT", "MR", "PT", "NM"})


def check_series(
    modality: str,
    series_instance_uid: str,
    stacks: Sequence[Stack],
    localizers: Sequence[Slice],
) -> tuple[Note, ...]:
    """Notes on what does not belong together, is mixed, or could not be ordered by position.

    Args:
        modality: DICOM's code; CT, MR, PT and NM are expected to have positions.
        series_instance_uid: for its absence only.
        stacks: of the series.
        localizers: set apart from them.
    """
    slices = [item for stack in stacks for item in stack.slices]
    return (
        *_note_identity(series_instance_uid, [*slices, *localizers]),
        *_note_mixtures(stacks),
        *_note_localizers(len(localizers), len(slices)),
        *_note_order(stacks, modality),
    )


def _note_identity(series_instance_uid: str, slices: list[Slice]) -> Iterator[Note]:
    """Slices that may not belong together at all."""
    if not series_instance_uid:
        yield Note(
            NoteKind.NO_SERIES_UID,
            f"{len(slices)} images without Series Instance UID (0020,000E) stand in one series; "
            "they may belong to several",
        )
    patients = len({item.patient_id for item in slices} - {""})
    if patients > 1:
        message = f"the images name {patients} different patients in Patient ID (0010,0020)"
        yield Note(NoteKind.MIXED_PATIENTS, message)
    named = [(item.sop_instance_uid, item.frame) for item in slices if item.sop_instance_uid]
    if len(set(named)) < len(named):
        yield Note(
            NoteKind.DUPLICATE_INSTANCE,
            f"{len(named) - len(set(named))} images repeat the SOP Instance UID (0008,0018) of "
            "another: the same instance given twice",
        )


def _note_mixtures(stacks: Sequence[Stack]) -> Iterator[Note]:
    firsts = [stack.slices[0] for stack in stacks]
    placed = [item for item in firsts if item.has_geometry]
    references = {item.frame_of_reference_uid for stack in stacks for item in stack.slices}
    references -= {""}
    sizes = sorted({(item.rows, item.columns) for item in firsts})
    for kind, mixed, message in (
        (
            NoteKind.MIXED_ORIENTATION,
            not all(same_orientation(placed[0], item) for item in placed),
            f"slices of different orientation, in {len(stacks)} stacks",
        ),
        (
            NoteKind.MIXED_SIZE,
            len(sizes) > 1,
            "slices of " + ", ".join(f"{rows} x {columns}" for rows, columns in sizes) + " pixels",
        ),
        (
            NoteKind.MIXED_PIXEL_SPACING,
            not all(same_pixel_spacing(firsts[0], item) for item in firsts),
            f"slices of different pixel spacing, in {len(stacks)} stacks",
        ),
        (
            NoteKind.MIXED_FRAME_OF_REFERENCE,
            len(references) > 1,
            f"{len(references)} frames of reference (0020,0052), whose positions do not compare",
        ),
    ):
        if mixed:
            yield Note(kind, message)


def _note_localizers(count: int, others: int) -> Iterator[Note]:
    if count:
        message = f"{count} of {count + others} images are localizers, set apart"
        yield Note(NoteKind.LOCALIZER, message, tuple(range(count)))


def _note_order(stacks: Sequence[Stack], modality: str) -> Iterator[Note]:
    """Where positions could not decide, although they should; and where nothing could."""
    for stack in stacks:
        count = len(stack.slices)
        if count > 1 and modality in CROSS_SECTIONAL and stack.order != "position":
            yield Note(
                NoteKind.NO_POSITION,
                f"{count} slices without a usable Image Position (0020,0032) and Orientation "
                f"(0020,0037): ordered by {stack.order}",
            )
        if stack.order == "file name" and len({item.path for item in stack.slices}) > 1:
            yield Note(
                NoteKind.NO_INSTANCE_NUMBER,
                f"{count} images without position and Instance Number (0020,0013): their order is "
                "that of their file names",
            )

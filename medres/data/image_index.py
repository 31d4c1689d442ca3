"""Every image file under a folder, told by content, and every file that is none, with its reason.

An `.npz` in MedMNIST's layout (`train_images`, `train_labels`, `val_images`, ...) brings its own
labels and splits.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medres.data.decoders import describe_lack
from medres.data.manifest import SPLIT_NAMES
from medres.data.rejected import RejectedFile
from medres.data.table import Table
from medres.errors import ManifestError, RejectReason, UnreadableImageError
from medres.imaging.grayscale import ImageRecord
from medres.imaging.read import LABELS, read_records

IMAGES = "_images"
Follow = Callable[[Iterable[Path]], Iterable[Path]]


@dataclass(frozen=True)
class ImageFile:
    """One file, or one array of an `.npz`, with images of which the header could be read.

    Args:
        name: address relative to the folder.
        record: of its first frame.
    """

    name: str
    record: ImageRecord


@dataclass(frozen=True)
class ImageIndex:
    """What a folder holds.

    Args:
        folder: that the names are relative to.
        images: sorted by name.
        rejected: sorted by name.
        labels: of arrays that bring their own; None where none do.
    """

    folder: Path
    images: tuple[ImageFile, ...]
    rejected: tuple[RejectedFile, ...]
    labels: Table | None


def index_images(
    source: Path, *, leave_out: Iterable[Path] = (), follow: Follow = lambda files: files
) -> ImageIndex:
    """Index a folder of which at least one file is to be an image; see `list_images`.

    Raises:
        ManifestError: no such folder, an empty one, or none of its files is an image.
    """
    index = list_images(source, leave_out=leave_out, follow=follow)
    if not index.images:
        shown = "; ".join(f"{r.file}: {r.message} [{r.reason}]" for r in index.rejected[:3])
        raise ManifestError(f"{source}: none of {len(index.rejected)} files is an image: {shown}")
    return index


def list_images(
    source: Path, *, leave_out: Iterable[Path] = (), follow: Follow = lambda files: files
) -> ImageIndex:
    """Read the header of every file under a folder, and ask whether its pixels can be decoded.

    Hidden files and folders are passed by; links are followed only inside the folder.

    Args:
        source: a folder, or one image file.
        leave_out: files that are not images by agreement, such as the label table.
        follow: wraps the files, for a progress bar.

    Raises:
        ManifestError: no such folder, or an empty one.
    """
    if not source.exists():
        raise ManifestError(f"{source}: no such folder; give one with images, or an .npz file")
    folder = source if source.is_dir() else source.parent
    passed_by = {os.path.realpath(path) for path in leave_out}
    files = [source] if source.is_file() else [*_walk(source)]
    files = [path for path in files if os.path.realpath(path) not in passed_by]
    if not files:
        raise ManifestError(f"{source}: the folder is empty; give one with images")
    images: list[ImageFile] = []
    rejected: list[RejectedFile] = []
    labels: list[dict[str, str]] = []
    for path in follow(files):
        name = path.relative_to(folder).as_posix()
        try:
            _check_link(path, folder)
            found = [*_images_of(path, name)]
        except UnreadableImageError as error:
            rejected.append(RejectedFile(name, error.reason, error.message))
            continue
        images += found
        if found[0].name != name:  # an npz, whose arrays are addressed one by one
            labels += _own_labels(path, found)
    own = Table(source, tuple(dict.fromkeys(c for row in labels for c in row)), tuple(labels))
    return ImageIndex(folder, tuple(images), tuple(rejected), own if labels else None)


def missing_decoders(rejected: Iterable[RejectedFile]) -> dict[str, int]:
    """What lacks for the files without a decoder, with the package that adds it: in how many."""
    messages = (f.message for f in rejected if f.reason is RejectReason.NO_DECODER)
    return dict(Counter(messages).most_common())


def _walk(folder: Path) -> Iterator[Path]:
    """Files in an order that does not depend on the file system."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _check_link(path: Path, folder: Path) -> None:
    # realpath, as resolve raises at a link that leads back to itself.
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.is_relative_to(os.path.realpath(folder)):
        raise UnreadableImageError(
            RejectReason.NOT_FOUND, path, "is a link to a place outside the folder; copy the file"
        )


def _images_of(path: Path, name: str) -> Iterator[ImageFile]:
    for member, record in read_records(path):
        _check_decoder(path, record)
        yield ImageFile(f"{name}::{member}" if member else name, record)


def _check_decoder(path: Path, record: ImageRecord) -> None:
    """Refuse what could not be decoded later, when a job would be hours into its work."""
    lack = describe_lack(record)
    if lack:
        raise UnreadableImageError(RejectReason.NO_DECODER, path, lack)


def _own_labels(path: Path, images: Iterable[ImageFile]) -> Iterator[dict[str, str]]:
    """One label row an item of each array that has labels beside it; the split is in its name."""
    with np.load(path, allow_pickle=False) as archive:
        for image in images:
            part = image.name.rpartition("::")[2].removesuffix(IMAGES)
            if f"{part}{LABELS}" not in archive.files:
                continue
            labels = _label_array(path, f"{part}{LABELS}", archive[f"{part}{LABELS}"])
            if len(labels) != image.record.number_of_frames:
                raise ManifestError(
                    f"{path}: {len(labels)} {part}{LABELS} for {image.record.number_of_frames} "
                    f"images; one row an image is expected"
                )
            count = labels.shape[1]
            columns = ["label"] if count == 1 else [f"label_{index}" for index in range(count)]
            for frame, values in enumerate(labels):
                yield {
                    "image": image.name,
                    "frame": str(frame),
                    "split": SPLIT_NAMES.get(part, ""),
                    **{column: str(int(v)) for column, v in zip(columns, values, strict=True)},
                }


def _label_array(path: Path, name: str, labels: NDArray[np.generic]) -> NDArray[np.generic]:
    """(N, K) integers."""
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "bui":
        raise ManifestError(
            f"{path}: {name} has shape {labels.shape} and type {labels.dtype}; whole numbers of "
            "shape (N,), (N, 1) or, for several findings, (N, K) are expected"
        )
    return labels.reshape(len(labels), -1)

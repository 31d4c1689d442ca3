"""The picture of one image of a scored archive, with its Grad-CAM map, where that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from medres.config import ShownImages
from medres.errors import MedresError
from medres.phantom.synthetic import may_show
from medres.reports.picture_pair import as_jpeg, pair_with_map
from medres.serving.worklist import read_keys

if TYPE_CHECKING:
    from medres.bundle.directory import Model
    from medres.scoring.explanation import Explanation

LONGEST = 512
"""Side of a picture, in pixels."""
QUALITY = 85
WORKING = Lock()
"""One picture at a time: each takes a processor for some tenths of a second."""


@dataclass(frozen=True)
class PictureSource:
    """Where pictures come from, and whose may be shown.

    Attributes:
        allowed: nobody's, the phantom's alone, or all.
        sources: folder that was scored; None for not given.
        model: folder of the model that scored it; None for not given.
    """

    allowed: ShownImages = "none"
    sources: Path | None = None
    model: Path | None = None

    def refusal(self, results: Path) -> str:
        """Why an archive has no pictures, and what to do; "" where it may have some."""
        if self.allowed == "none":
            return "Pixels are not allowed: start with --images synthetic or --images all."
        if self.sources is None or self.model is None:
            return "Pictures need the images and the model: start with --sources and --model."
        if not (results / "keys.parquet").is_file():
            return "keys.parquet is not here, so no image can be found again."
        return ""

    def find(self, results: Path, image_key: str) -> str:
        """The address of an image that may be shown; "" for any other.

        Args:
            results: the archive's folder.
            image_key: of the image.
        """
        if self.refusal(results) or self.sources is None:
            return ""
        address = read_keys(results).get(image_key, "").partition("#")[0]
        name, separator, member = address.partition("::")
        file = (self.sources / name).resolve() if name else Path()
        # A table that somebody has changed must not lead out of what was scored.
        inside = file.is_relative_to(self.sources.resolve())
        if not name or not inside or not file.is_file():
            return ""
        return f"{file}{separator}{member}" if may_show(file, self.allowed) else ""

    def draw(self, address: str, frame: int, finding: str) -> bytes | None:
        """The image and its map side by side as JPEG; None where it cannot be read.

        Args:
            address: as `find` gave it.
            frame: of the file.
            finding: of the model's.
        """
        assert self.model is not None  # `find` gives no address without one
        with WORKING:
            return _draw(str(self.model), address, frame, finding)


@lru_cache(maxsize=64)
def _draw(model: str, address: str, frame: int, finding: str) -> bytes | None:
    from medres.scoring.explanation import explain_image

    try:
        explained = explain_image(_load(model), address, frame=frame, finding=finding)
    except MedresError:
        return None
    return compose(explained)


@lru_cache(maxsize=1)
def _load(folder: str) -> Model:
    from medres.bundle.directory import load_model

    return load_model(Path(folder))


def compose(explained: Explanation) -> bytes:
    """Put an image, and the same with its map, side by side, as JPEG."""
    rows, columns = explained.pixels.shape
    tall = rows * explained.pixel_aspect
    scale = min(1.0, LONGEST / max(tall, columns))
    size = (max(2, round(2 * columns * scale)), max(1, round(tall * scale)))
    return as_jpeg(pair_with_map(explained.pixels, explained.heat), size, QUALITY)


def describe_image(row: Mapping[str, Any]) -> str:
    """What a row of the images' table says of an image: CR, PA, 2048 × 2048."""
    size = f"{row['rows']} × {row['columns']}" if row.get("rows") else ""
    parts = (row.get("modality"), row.get("view_position"), row.get("laterality"), size)
    return ", ".join(str(part) for part in parts if part)

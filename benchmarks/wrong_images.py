"""Images that a chest model is not meant for: its own, spoilt, and others from this machine.

Foreign pictures are cut to their central square first, so that no black border gives them away.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import skimage.data
import sklearn.datasets
import torch
from monai.transforms import Compose
from torch import Tensor

from medres.errors import UnreadableImageError
from medres.imaging.grayscale import ImageRecord
from medres.imaging.read import read_grayscale
from medres.transforms.chains import fitting_steps
from medres.transforms.load import as_meta_tensor
from medres.transforms.preprocessing import Preprocessing

RADIOGRAPHS = ("CR", "DX", "MG", "RG", "XA", "RF")
STEP = 4
"""Every fourth of the ultrasound images is enough."""
SKIMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
"""Of scikit-image's samples those that a camera took."""
Images = tuple[list[ImageRecord], Tensor]


@dataclass(frozen=True)
class Source:
    """Where one image lies.

    Attributes:
        address: as `read_grayscale` takes it.
        part: of the picture: the whole, or one of its quarters.
    """

    address: str
    part: int = 0


def spoilt(images: Tensor, limits: tuple[float, float]) -> Iterator[tuple[str, Tensor]]:
    """Each way in which images (N, 1, S, S) are spoilt, with its name."""
    low, high = limits
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator)
    level = low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator)
    yield "inverted", low + high - images
    yield "turned by 90°", images.rot90(1, (-2, -1))
    yield "turned by 180°", images.rot90(2, (-2, -1))
    yield "turned by 270°", images.rot90(3, (-2, -1))
    yield "flipped top to bottom", images.flip(-2)
    yield "flipped left to right", images.flip(-1)
    yield "with noise of one standard deviation", (images + noise).clamp(low, high)
    yield "noise alone", noise.clamp(low, high)
    yield "blank but for faint noise", (level + 0.01 * noise).clamp(low, high)


def foreign(data: Path) -> Iterator[tuple[str, list[Source]]]:
    """Each kind of other images, with its name; a photograph counts whole and in quarters.

    Args:
        data: holds `busi_ultrasound`, `series` and `dicom`.
    """
    ultrasound = sorted((data / "busi_ultrasound").rglob("*.png"))
    yield "breast ultrasound", [Source(str(path)) for path in ultrasound[::STEP]]
    series = [path for path in sorted((data / "series").rglob("*")) if path.is_file()]
    yield "CT and MR slices", [Source(str(path)) for path in series]
    yield (
        "other radiographs: spine, hip, limbs, breast, vessels",
        _dicom(data, lambda row: row["mod"] in RADIOGRAPHS and row["body"] != "CHEST"),
    )
    yield (
        "chests of adults",
        _dicom(data, lambda row: row["mod"] in RADIOGRAPHS and row["body"] == "CHEST"),
    )
    yield (
        "photographs",
        [Source(str(path), part) for path in photographs() for part in range(5)],
    )


def photographs() -> list[Path]:
    """The sample pictures of scikit-learn, scikit-image and matplotlib."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    taken = [Path(skimage.data.__file__).parent / name for name in SKIMAGE]
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return [*sorted(folder.glob("*.jpg")), *taken, portrait]


def read(sources: list[Source], preprocessing: Preprocessing) -> Images:
    """The records and network inputs (N, 1, S, S) of those that can be read."""
    finish = Compose(fitting_steps(preprocessing))
    records, images = [], []
    for source in sources:
        try:
            image = read_grayscale(source.address, intensity=preprocessing.intensity)
        except UnreadableImageError:
            continue
        tensor = _part(as_meta_tensor(image).as_tensor(), source.part)
        if float(tensor.max() - tensor.min()) > 0:
            records.append(image.record)
            images.append(torch.as_tensor(finish({"image": tensor})["image"]))
    return records, torch.stack(images)


def _part(image: Tensor, part: int) -> Tensor:
    """The central square of an image (1, H, W), or of a quarter of it."""
    if part:
        height, width = image.shape[1] // 2, image.shape[2] // 2
        row, column = divmod(part - 1, 2)
        image = image[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
    side = min(image.shape[1:])
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


def _dicom(data: Path, wanted: Callable[[Mapping[str, str]], bool]) -> list[Source]:
    with (data / "dicom" / "attributes.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if wanted(row)]
    return [Source(str(data / "dicom" / row["file"])) for row in rows]

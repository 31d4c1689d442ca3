"""One image, what the model says of it, and where in it that is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import Compose, EnsureTyped
from numpy.typing import NDArray

from medres.bundle.directory import Model
from medres.errors import ConfigError
from medres.imaging.grayscale import GrayscaleImage
from medres.imaging.isolated import IsolatedReader
from medres.imaging.reader_protocol import ReadRequest
from medres.metrics.three_way import Band
from medres.models.grad_cam import grad_cam
from medres.scoring.predictor import Predictor
from medres.transforms.chains import IMAGE, fitting_steps
from medres.transforms.geometry import unfit_square
from medres.transforms.load import as_meta_tensor


@dataclass(frozen=True)
class Explanation:
    """An image in its own rows and columns, with the map of one finding.

    Attributes:
        pixels: (H, W) as displayed, in [0, 1].
        heat: (H, W) in [0, 1]; see `grad_cam`.
        seen: (H, W), what the network sees of the image: all of it, but for geometry crop.
        finding: that the map is of.
        probability: of the finding in this image, calibrated.
        threshold: of the finding, locked in the model; None where it has none.
        pixel_aspect: height of a pixel over its width.
        band: in which the finding is left undecided, likewise.
    """

    pixels: NDArray[np.float32]
    heat: NDArray[np.float32]
    seen: NDArray[np.bool_]
    finding: str
    probability: float
    threshold: float | None
    pixel_aspect: float
    band: Band | None = None


def explain_image(
    model: Model, address: str, *, frame: int = 0, finding: str | None = None
) -> Explanation:
    """Score one image and draw where the finding is seen. It is decoded in a process apart.

    Args:
        model: a trained model.
        address: of the image: a path, or a path and a member.
        frame: index of a frame, slice or page.
        finding: one of the model's; None takes the most probable.

    Raises:
        ConfigError: no such finding.
        UnreadableImageError: the file is no image to score.
    """
    preprocessing = model.record.preprocessing
    with IsolatedReader() as reader:
        shown = reader.read(ReadRequest(address, frame, "display"))
        read = shown
        if preprocessing.intensity != "display":
            read = reader.read(ReadRequest(address, frame, preprocessing.intensity))
    fit = Compose([*fitting_steps(preprocessing), EnsureTyped(IMAGE, track_meta=False)])
    square = fit({IMAGE: as_meta_tensor(read)})[IMAGE][None]
    scores = Predictor.of_model(model, torch.device("cpu")).score_batch(square)[0]
    index = _index(model.record.findings, finding, int(scores.argmax()))
    shape = (shown.pixels.shape[0], shown.pixels.shape[1])
    heat = unfit_square(grad_cam(model.network, square, index)[0], shape, preprocessing.geometry)
    inside = torch.ones(1, preprocessing.size, preprocessing.size)
    seen = unfit_square(inside, shape, preprocessing.geometry)[0] > 0.5
    name = model.record.findings[index]
    threshold = model.record.thresholds.get(name)
    return Explanation(
        shown.pixels,
        heat[0].numpy(),
        seen.numpy(),
        name,
        float(scores[index]),
        None if threshold is None else threshold.value,
        _aspect(shown),
        model.record.bands.get(name),
    )


def _index(findings: tuple[str, ...], finding: str | None, most_probable: int) -> int:
    if finding is None:
        return most_probable
    if finding not in findings:
        raise ConfigError(
            f"finding: {finding!r} is none of the model's; give one of {', '.join(findings)}"
        )
    return findings.index(finding)


def _aspect(image: GrayscaleImage) -> float:
    row_mm, column_mm = image.record.pixel_spacing_mm or (1.0, 1.0)
    return row_mm / column_mm

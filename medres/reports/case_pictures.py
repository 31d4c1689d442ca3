"""Pictures of cases: the image as the network sees it, and beside it where the network looks.

Small and compressed, 20 to 30 KB each, so that a page stays far below 5 MB. Which images may be
shown at all is decided here, before a pixel is read.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medres.config import ShownImages
from medres.models.grad_cam import grad_cam
from medres.phantom.synthetic import may_show
from medres.reports.cases import KINDS, PER_KIND, ShownCase
from medres.reports.cases_section import CasePicture
from medres.reports.picture_pair import as_jpeg, pair_with_map
from medres.scoring.case_scores import CaseScores, ImageScores
from medres.scoring.predictor import Predictor
from medres.training.dataset import as_items
from medres.transforms.chains import build_evaluation_chain
from medres.transforms.preprocessing import Preprocessing

if TYPE_CHECKING:
    from medres.data.manifest import ManifestRow

MOST_PICTURES = 60
"""On a page: 1.8 MB at most."""
SIDE = 224
QUALITY = 80


def cases_of_a_kind(findings: int) -> int:
    """How many cases of each kind are shown, so that all findings' pictures fit a page."""
    return max(1, min(PER_KIND, MOST_PICTURES // (len(KINDS) * max(findings, 1))))


def draw_case_pictures(
    predictor: Predictor,
    images: ImageScores,
    scores: CaseScores,
    cases: Mapping[str, Sequence[ShownCase]],
    *,
    allowed: ShownImages,
) -> dict[tuple[str, int], CasePicture]:
    """Draw the cases whose image may be shown, by finding and place; at most `MOST_PICTURES`.

    Of a case of several images the one with the highest score is drawn: the strongest that the
    network has to say for the finding.

    Args:
        predictor: that scored them.
        images: the scored images.
        scores: the cases that they were combined to.
        cases: of each finding, in the order of the network's outputs.
        allowed: `synthetic` shows the phantom's images alone, `all` also those of patients.
    """
    pictures: dict[tuple[str, int], CasePicture] = {}
    chain = build_evaluation_chain(predictor.preprocessing)
    for output, (finding, shown) in enumerate(cases.items()):
        for case in shown:
            of_case = scores.images[case.place]
            row = max(of_case, key=lambda k: float(images.y_score[k, output]))
            if len(pictures) == MOST_PICTURES or not _may_show(images, images.rows[row], allowed):
                continue
            (item,) = as_items(images.manifest, [images.rows[row]])
            pixels = chain(item)["image"][None].to(predictor.device)
            heat = grad_cam(predictor.network.to(predictor.device), pixels, output)
            words = f"the highest of {len(of_case)} images" if len(of_case) > 1 else ""
            pictures[finding, case.place] = compose_picture(
                pixels[0, 0].cpu().numpy(), heat[0, 0].cpu().numpy(), predictor.preprocessing, words
            )
    return pictures


def _may_show(images: ImageScores, row: ManifestRow, allowed: ShownImages) -> bool:
    file, _, _ = images.manifest.address(row).partition("::")
    return may_show(Path(file), allowed)


def compose_picture(
    image: NDArray[np.float32],
    heat: NDArray[np.float32],
    preprocessing: Preprocessing,
    words: str = "",
) -> CasePicture:
    """Put an image and its map side by side, as JPEG.

    Args:
        image: (H, W) network input, normalised.
        heat: (H, W) in [0, 1].
        preprocessing: that made the input; the clipped range is shown from black to white.
        words: of the picture.
    """
    fitted = preprocessing.statistics
    gray = (image * fitted.std + fitted.mean - fitted.low) / (fitted.high - fitted.low)
    side = min(SIDE, image.shape[0])
    jpeg = as_jpeg(pair_with_map(gray, heat), (2 * side, side), QUALITY)
    address = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return CasePicture(address, 2 * side, side, words)

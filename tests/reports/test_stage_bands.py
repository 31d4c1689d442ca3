from __future__ import annotations

import re
from xml.etree import ElementTree

from schedules import constant

from medres.reports.stage_bands import draw_bands


def test_bands_stand_from_the_head_down_and_say_what_they_show() -> None:
    bands = draw_bands(constant("gradual", stem="duplicate"), 5)
    assert [(band.stage, band.words) for band in bands] == [
        ("head", "learning rate up to 0.001"),
        ("layer4", "frozen for the first 20%, then learning rate up to 0.0002"),
        ("layer3", "frozen for the first 40%, then learning rate up to 0.0002"),
        ("layer2", "frozen for the first 60%, then learning rate up to 0.0003"),
        ("layer1", "frozen for the first 80%, then learning rate up to 0.0005"),
        ("conv1", "frozen for the first 80%, then learning rate up to 0.0005"),
    ]


def shapes(drawing: str) -> dict[str, str]:
    return {path.get("class"): path.get("d") for path in ElementTree.fromstring(drawing)}


def test_band_opens_where_its_stage_does_and_marks_how_far_the_run_is() -> None:
    bands = {band.stage: shapes(band.drawing) for band in draw_bands(constant("gradual"), 5)}
    opened = bands["layer4"]["open"]
    assert re.match(r"M(\S+) 0H1000V27", opened)[1] == "200.0"  # epoch 2 of 10
    assert bands["layer4"]["moving"].startswith("M200.0 27")
    assert bands["layer4"]["now"] == "M500.0 0V30"
    assert "moving" not in bands["head"]  # it has no batch-norm


def test_band_of_a_stage_that_never_trains_is_all_gray() -> None:
    bands = {band.stage: band for band in draw_bands(constant("linear_probe"), 0)}
    assert bands["layer4"].words == "frozen throughout"
    assert set(shapes(bands["layer4"].drawing)) == {"frozen", "now"}


def test_norms_alone_have_a_colour_of_their_own() -> None:
    bands = {band.stage: band for band in draw_bands(constant("batch_norm_affine"), 0)}
    assert "rate affine" in shapes(bands["layer4"].drawing)
    assert "rate" in shapes(bands["head"].drawing)

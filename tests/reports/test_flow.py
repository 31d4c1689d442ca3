"""Who was in and who was left out, as a diagram and in words."""

from __future__ import annotations

import re
from typing import Any

from medres.reports.flow import FlowStep, draw_flow, flow_steps


def described(svg: str) -> str:
    found = re.search(r"<desc[^>]*>([^<]*)</desc>", svg)
    assert found is not None
    return found[1]


def boxes(svg: str) -> list[tuple[float, ...]]:
    rows = re.findall(
        r'<rect[^>]*x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg
    )
    return [tuple(float(number) for number in row) for row in rows]


def with_flow(evaluation: dict[str, Any]) -> dict[str, Any]:
    evaluation["flow"] = {
        "start": "images of the manifest",
        "n": 1120,
        "excluded": [
            {"why": "equal to an image in another split", "n": 20},
            {"why": "never", "n": 0},
        ],
    }
    evaluation["splits"] |= {
        "train": {"patients": 500, "images": 900},
        "validation": {"patients": 100, "images": 180},
        "notes": ["by patient"],
    }
    return evaluation


def test_flow_steps_follow_the_images_to_those_judged(evaluation: dict[str, Any]) -> None:
    assert flow_steps(with_flow(evaluation)) == (
        FlowStep("images of the manifest", 1120, (("equal to an image in another split", 20),)),
        FlowStep("images fit for use", 1100, (("to train on", 900), ("to validate on", 180))),
        FlowStep("images to judge", 20),
    )


def test_flow_begins_with_the_files_that_were_found(evaluation: dict[str, Any]) -> None:
    flow = with_flow(evaluation)
    reasons = [{"why": "refused: not_dicom", "n": 3}, {"why": "without a label", "n": 2}]
    flow["flow"]["found"] = {"n": 1125, "excluded": reasons}
    first, second, *_ = flow_steps(flow)
    assert first == FlowStep(
        "files found", 1125, (("refused: not_dicom", 3), ("without a label", 2))
    )
    assert second.n == 1120
    assert described(draw_flow(flow, anchor="flow")).startswith(
        "1125 files found. Leaving: 3 refused: not_dicom. Leaving: 2 without a label. 1120 images"
    )


def test_flow_steps_need_a_flow(evaluation: dict[str, Any]) -> None:
    assert flow_steps(evaluation) == ()


def test_flow_parts_by_label_and_by_decision(evaluation: dict[str, Any]) -> None:
    svg = draw_flow(with_flow(evaluation), anchor="flow")
    assert described(svg) == (
        "1120 images of the manifest. Leaving: 20 equal to an image in another split. 1100 images "
        "fit for use. Leaving: 900 to train on. Leaving: 180 to validate on. 20 images to judge. "
        "10 patients judged. 4 with the finding. 3 flagged. 1 missed. 6 without it. 1 flagged. "
        "5 cleared."
    )


def test_flow_counts_those_without_a_label(
    evaluation: dict[str, Any], finding: dict[str, Any]
) -> None:
    finding["n_missing"] = 2
    text = described(draw_flow(evaluation, anchor="flow"))
    assert text.startswith("12 patients judged. Leaving: 2 without a label. 4 with")


def test_flow_of_several_findings_ends_before_the_labels(several: dict[str, Any]) -> None:
    assert described(draw_flow(several, anchor="flow")) == "10 patients judged."


def test_flow_boxes_do_not_overlap_and_lie_inside(evaluation: dict[str, Any]) -> None:
    evaluation = with_flow(evaluation)
    evaluation["flow"]["excluded"] += [
        {"why": f"a long reason number {k}, wrapped", "n": 1} for k in range(5)
    ]
    svg = draw_flow(evaluation, anchor="flow")
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) ([\d.]+)"', svg).groups())  # type: ignore[union-attr]
    found = boxes(svg)
    assert len(found) == 4 + 2 + 4
    for k, (x, y, w, h) in enumerate(found):
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
        for x2, y2, w2, h2 in found[k + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_flow_escapes_what_a_user_named(evaluation: dict[str, Any]) -> None:
    evaluation["flow"] = {"start": "rows of <b>.csv", "n": 10, "excluded": []}
    svg = draw_flow(evaluation, anchor="flow")
    assert "<b>" not in svg
    assert "rows of &lt;b&gt;.csv" in svg


def test_flow_counts_the_undecided_where_there_is_a_band(evaluation: dict[str, Any]) -> None:
    (finding,) = evaluation["findings"].values()
    finding["three_way"] = {
        "counts": {
            "tp": 2, "fp": 0, "tn": 4, "fn": 1, "undecided_positive": 1, "undecided_negative": 2,
        }
    }  # fmt: skip
    svg = draw_flow(with_flow(evaluation), anchor="flow")
    assert described(svg).endswith(
        "4 with the finding. 2 flagged. 1 undecided. 1 missed. 6 without it. 0 flagged. "
        "2 undecided. 4 cleared."
    )

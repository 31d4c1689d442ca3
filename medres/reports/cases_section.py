"""The section of worst mistakes and borderline cases on the evidence page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from medres.reports.cases import KINDS, Kind, ShownCase
from medres.reports.section import Section
from medres.reports.template_environment import template_environment

TITLES: dict[Kind, str] = {
    "missed": "Missed: positives with the lowest scores",
    "false_alarm": "False alarms: negatives with the highest scores",
    "borderline": "Borderline: on the right side of the threshold, but barely",
}
NONE: dict[Kind, str] = {
    "missed": "No positive is below the threshold.",
    "false_alarm": "No negative is above the threshold.",
    "borderline": "Without a threshold no case is borderline.",
}

NO_PICTURES = "No pixels are shown: the option --images says whose may be (none, synthetic, all)."


@dataclass(frozen=True)
class CasePicture:
    """What a case looks like to the network, and where it looks.

    Attributes:
        address: a `data:` address: left the image, right the same with the Grad-CAM map.
        width: in pixels.
        height: in pixels.
        words: which of the case's images it is.
    """

    address: str
    width: int
    height: int
    words: str


Pictures = Mapping[tuple[str, int], CasePicture]
"""By finding and the case's place."""


def cases_section(
    cases: Mapping[str, Sequence[ShownCase]],
    *,
    whose: str,
    pictures: Pictures | None = None,
    no_pictures: str = NO_PICTURES,
) -> Section:
    """Return the section.

    Args:
        cases: of each finding.
        whose: a sentence on where a key leads back to its case.
        pictures: of those that may be shown.
        no_pictures: what to say where there are none.
    """
    findings = [
        (name, [(TITLES[kind], NONE[kind], _of(shown, kind)) for kind in KINDS])
        for name, shown in cases.items()
    ]
    body = (
        template_environment()
        .get_template("evidence/cases.html")
        .render(findings=findings, pictures=pictures or {}, whose=whose, no_pictures=no_pictures)
    )
    style = resources.files("medres.reports") / "templates" / "evidence" / "cases.css"
    title = "Worst mistakes and borderline cases"
    return Section("cases", title, body, style.read_text(encoding="utf-8"))


def _of(cases: Sequence[ShownCase], kind: Kind) -> list[ShownCase]:
    return [case for case in cases if case.kind == kind]

"""Studies scored from Python, one after the other, without a folder of results."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from medres.bundle.directory import Model
from medres.bundle.zipped import model_folder
from medres.data.pseudonyms import Keys
from medres.errors import RejectReason
from medres.scoring.combine import Probabilities
from medres.scoring.guarding import worst_verdict
from medres.scoring.load import load_scorer
from medres.scoring.pictures import Row, address_of
from medres.scoring.run import ScoringRun, Settings, check_settings, room_for_index
from medres.scoring.scorer import Scorer
from medres.scoring.tables import combine_rows

Source = str | PathLike[str]


@dataclass(frozen=True)
class StudyScore:
    """One study of which every chosen image was tried.

    Args:
        study: its UID; where the files name none, the address of the file, with `./` before one
            that could be a UID.
        probabilities: of each finding, in [0, 1].
        images: how many were scored.
        sides: probabilities of the images of each side, R and L, where both were taken.
        guard_reason: why the model's guard takes an image of it for one of another kind; "" where
            it does not, or was not asked. With `Settings(guard="withhold")` such a study has no
            probabilities.
    """

    study: str = field(repr=False)
    probabilities: Mapping[str, float]
    images: int
    sides: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    guard_reason: str = ""


@dataclass(frozen=True)
class Rejected:
    """One image, or a file that is none, that cannot be scored.

    Args:
        image: its address relative to the source.
        frame: of a file with several; None for the whole file.
        reason: one code.
        message: the same in words.
    """

    image: str = field(repr=False)
    frame: int | None
    reason: RejectReason
    message: str


def score_studies(
    model: Model | Scorer | Source,
    sources: Source | Sequence[Source],
    settings: Settings | None = None,
) -> Iterator[StudyScore | Rejected]:
    """Score studies, each given as soon as its last image is done.

    Args:
        model: loaded, or its folder or zip; a bundle of others, too.
        sources: folders, files, archives, DICOMDIR, tables; see `medres.scoring.sources`.
        settings: how; the defaults of `Settings` otherwise.

    Yields:
        Every study with at least one scored image, and every image or file that is rejected.

    Raises:
        ManifestError: a source that is not there.
        BundleError: a model directory that is none.
        ConfigError: a setting that is not accepted.
        ResultsError: no room in the temporary folder.
    """
    settings = settings or Settings()
    check_settings(settings)
    given = [sources] if isinstance(sources, (str, PathLike)) else sources
    places, keys = [Path(source) for source in given], Keys(secrets.token_bytes(32))
    with ExitStack() as stack:
        if isinstance(model, (str, PathLike)):
            model = load_scorer(stack.enter_context(model_folder(Path(model))))
        run = ScoringRun(places, model, settings, keys)
        stack.callback(run.close)
        stack.enter_context(room_for_index())
        run.look()
        yield from (
            Rejected(address, frame, RejectReason(reason), message)
            for address, frame, reason, message in run.index.rejected()
        )
        yield from _by_study(run)


def _by_study(run: ScoringRun) -> Iterator[StudyScore | Rejected]:
    for outcomes in run.score():
        studies: dict[str, None] = {}
        for outcome in outcomes:
            for study in run.index.studies_of(outcome["image"], outcome["part"], outcome["frame"]):
                studies[study] = None
            if outcome["status"] == "rejected":
                address = address_of(outcome["image"], outcome["part"])
                reason = RejectReason(outcome["reason"])
                yield Rejected(address, outcome["frame"], reason, outcome["message"])
        for study in studies:
            rows = [] if run.index.unscored(study) else run.index.study(study)
            if rows:
                yield _study_score(study, rows, run)


def _study_score(study: str, rows: Sequence[Row], run: ScoringRun) -> StudyScore:
    findings = run.record.findings
    different = {(row.sop_uid or row.address, row.frame, row.result["sha256"]): row for row in rows}
    images = [*different.values()]
    reason = worst_verdict(images)["guard_reason"] or ""
    if reason and run.settings.guard == "withhold":
        return StudyScore(study, {}, len(images), guard_reason=reason)
    combined = combine_rows(images, run.settings.combine, run.record.kind)

    def named(values: Probabilities) -> dict[str, float]:
        return dict(zip(findings, values, strict=True))

    sides = {side: named(values) for side, values in combined.sides.items()}
    return StudyScore(study, named(combined.probabilities), len(images), sides, reason)

"""From a manifest to data that a training may use: read, surveyed, split, checked, normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from medres.config import RunConfig
from medres.data.decoders import check_decoders
from medres.data.leakage import check_leakage
from medres.data.manifest import (
    Manifest,
    ManifestRow,
    Split,
    check_classes,
    check_files,
)
from medres.data.rejected import Origin
from medres.data.run_manifest import read_run_manifest, read_run_origin
from medres.data.splits import assign_splits
from medres.data.uncertain_labels import describe_uncertain
from medres.transforms.preprocessing import Preprocessing
from medres.transforms.survey import PixelSurvey, fit_histogram, survey_images

Follow = Callable[[Iterable[ManifestRow], str], Iterable[ManifestRow]]


@dataclass(frozen=True)
class TrainingData:
    """Images that are fit to train on.

    Attributes:
        manifest: with a split in every row, checked for leakage.
        preprocessing: its statistics fitted on the training patients.
        survey: what was found in the pixels.
        notes: what a reader of the results has to know.
        leakage: the counts of the leakage check, as JSON values.
        origin: of the whole manifest, before any image was left out.
    """

    manifest: Manifest
    preprocessing: Preprocessing
    survey: PixelSurvey
    notes: tuple[str, ...]
    leakage: dict[str, Any]
    origin: Origin

    def counts(self) -> dict[str, dict[str, Any]]:
        """Patients, studies, images and positives of each split."""
        return {name: count_cases(self.manifest, self.manifest.split(name)) for name in SPLITS}


SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def count_cases(manifest: Manifest, rows: Iterable[ManifestRow]) -> dict[str, Any]:
    """Patients, studies (None where none is named), images, and images with each finding."""
    rows = tuple(rows)
    return {
        "patients": len({row.patient_id for row in rows}),
        "studies": len({row.study_instance_uid for row in rows} - {""}) or None,
        "images": len(rows),
        "positives": {
            name: sum(row.labels[index] == 1 for row in rows)
            for index, name in enumerate(manifest.schema.findings)
        },
    }


def prepare_training_data(
    config: RunConfig, *, follow: Follow = lambda rows, _: rows
) -> TrainingData:
    """Read and check everything that a run trains, validates and tests on.

    Args:
        config: of the run.
        follow: wraps rows and a word about them, for a progress bar.

    Raises:
        ConfigError: no manifest given.
        ManifestError: the manifest or an image cannot be used.
        LeakageError: a patient, SOP instance or picture stands in two splits.
        NormalizationError: the training images are all alike.
    """
    manifest, survey = survey_run_images(config, follow=follow)
    manifest = assign_splits(manifest, fractions=config.data.fractions, seed=config.data.split_seed)
    return check_and_fit(config, manifest, survey, follow=follow)


def survey_run_images(
    config: RunConfig, *, follow: Follow = lambda rows, _: rows
) -> tuple[Manifest, PixelSurvey]:
    """Read the run's manifest, and every image of it once.

    Raises:
        ConfigError: no manifest given.
        ManifestError: the manifest or an image cannot be used.
    """
    manifest = read_run_manifest(config)
    check_files(manifest)
    check_decoders(manifest)
    survey = survey_images(
        manifest, intensity=config.pixels.intensity, follow=lambda rows: follow(rows, "checking")
    )
    return manifest, survey


def check_and_fit(
    config: RunConfig,
    manifest: Manifest,
    survey: PixelSurvey,
    *,
    follow: Follow = lambda rows, _: rows,
) -> TrainingData:
    """Check a manifest whose every row has a split, and fit the normalisation on its train rows.

    Raises:
        ManifestError: a split without one of the classes.
        LeakageError: a patient, SOP instance or picture stands in two splits.
        NormalizationError: the training images are all alike.
    """
    leakage = check_leakage(
        manifest,
        survey.digests,
        sop_instance_uids=survey.sop_instance_uids,
        on_duplicate=config.data.on_duplicate,
    )
    check_classes(leakage.manifest)
    uncertain = describe_uncertain(leakage.manifest, config.data.uncertain)
    return TrainingData(
        manifest=leakage.manifest,
        preprocessing=_fit_preprocessing(config, leakage.manifest, survey, follow),
        survey=survey,
        notes=(*manifest.notes, *leakage.notes, *uncertain),
        leakage=leakage.as_json(),
        origin=read_run_origin(config),
    )


def _fit_preprocessing(
    config: RunConfig, manifest: Manifest, survey: PixelSurvey, follow: Follow
) -> Preprocessing:
    pixels = config.pixels
    train = manifest.split("train")
    histogram = fit_histogram(
        manifest,
        follow(train, "normalising"),
        intensity=survey.intensity,
        size=pixels.size,
        geometry=pixels.geometry,
    )
    statistics = histogram.statistics(
        percentiles=pixels.clip_percentiles, n_patients=len({row.patient_id for row in train})
    )
    return Preprocessing(survey.intensity, pixels.size, pixels.geometry, statistics)

"""Write the sample data: DICOM radiographs and NIfTI volumes of the phantom, with label tables.

::

    FOLDER/
      studies/p0001/s1/i1.dcm   patient, study, picture; names tell nothing else
      labels.csv                study_instance_uid, opacity, scanner
      volumes/v01.nii.gz        axial slices, feet to head
      volume_labels.csv         image, frame, patient_id, label
      sample.json               what it was made from; written last
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from medres.data.phantom_study import StudyPlan, plan_studies, render_study
from medres.data.sample_dicom import build_dataset, study_instance_uid
from medres.data.sample_volume import render_volume, write_volume
from medres.errors import ConfigError

RECIPE_VERSION = 1
"""Raised whenever the same options give other pixels, so that old copies are made anew."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SampleRecipe:
    """What a sample data set is made from; equal recipes give equal pixels.

    Args:
        patients: of the radiographs; some 1.4 studies and 1.9 pictures each.
        volumes: one patient each.
        seed: of everything drawn.
        opacity_contrast: 1 for the sample; 0 leaves the finding out of the pictures and keeps
            everything else, labels included: what a network then finds is not the finding.
        version: of the code that draws.
    """

    patients: int = 320
    volumes: int = 20
    seed: int = 0
    opacity_contrast: float = 1.0
    version: int = RECIPE_VERSION


@dataclass(frozen=True, kw_only=True)
class SampleDataSet:
    """Where a sample data set lies, and how much it holds."""

    folder: Path
    studies: Path
    labels: Path
    volume_labels: Path
    recipe: SampleRecipe


def sample_data_set(folder: Path, recipe: SampleRecipe) -> SampleDataSet:
    """The paths of a sample data set in a folder, whether written yet or not."""
    return SampleDataSet(
        folder=folder,
        studies=folder / "studies",
        labels=folder / "labels.csv",
        volume_labels=folder / "volume_labels.csv",
        recipe=recipe,
    )


def ensure_sample_data(
    folder: str | Path = Path("sample_data"),
    recipe: SampleRecipe | None = None,
    *,
    progress: Progress | None = None,
) -> SampleDataSet:
    """The sample data set below a folder: as it lies there, or made now.

    It goes to `folder/generated`, under another name until it is complete, so a generation that
    was killed is never taken for a whole set. Studies that lie in `folder/studies` with the
    default recipe's first patients, as in a checkout, are copied instead of computed.

    Args:
        folder: where the sample data lives; made if need be.
        recipe: of the set; the default one without it.
        progress: called with pictures done and pictures in all.

    Raises:
        ConfigError: `folder/generated` holds something that is no sample data set.
    """
    recipe = recipe or SampleRecipe()
    root = Path(folder)
    target = root / "generated"
    found = read_recipe(target)
    if found == recipe:
        return sample_data_set(target, recipe)
    if found is None and target.exists() and any(target.iterdir()):
        raise ConfigError(
            f"{target}: holds files but no sample.json of a sample data set; "
            "move them away, or give another folder"
        )
    root.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="generated.partial-", dir=root))
    try:
        write_sample_data(partial, recipe, progress=progress)
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return sample_data_set(target, recipe)


def read_recipe(folder: Path) -> SampleRecipe | None:
    """The recipe of a complete sample data set, or None where there is none."""
    try:
        values = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
        return SampleRecipe(**values)
    except (OSError, ValueError, TypeError):
        return None


def write_sample_data(
    folder: str | Path, recipe: SampleRecipe | None = None, *, progress: Progress | None = None
) -> SampleDataSet:
    """Write a whole sample data set into a folder, `sample.json` last.

    Args:
        folder: made if need be.
        recipe: of the set; the default one without it.
        progress: called with pictures done and pictures in all.
    """
    recipe = recipe or SampleRecipe()
    paths = sample_data_set(Path(folder), recipe)
    plans = plan_studies(recipe.patients, seed=recipe.seed)
    write_studies(paths.studies, plans, recipe, progress=progress)
    write_labels(paths.labels, plans, recipe.seed)
    _write_volumes(paths, recipe)
    text = json.dumps(dataclasses.asdict(recipe), indent=2)
    (paths.folder / "sample.json").write_text(text + "\n", encoding="utf-8")
    return paths


def write_studies(
    folder: Path,
    plans: Iterable[StudyPlan],
    recipe: SampleRecipe,
    *,
    progress: Progress | None = None,
) -> None:
    """Render planned studies and write their DICOM files below a folder."""
    todo = list(plans)
    total, done = sum(len(plan.views) for plan in todo), 0
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for count in pool.map(lambda plan: _write_study(folder, plan, recipe), todo):
            done += count
            if progress is not None:
                progress(done, total)


def _write_study(folder: Path, plan: StudyPlan, recipe: SampleRecipe) -> int:
    place = folder / f"p{plan.patient + 1:04d}" / f"s{plan.study + 1}"
    place.mkdir(parents=True, exist_ok=True)
    pictures = render_study(plan, seed=recipe.seed, opacity_contrast=recipe.opacity_contrast)
    for number, picture in enumerate(pictures, start=1):
        dataset = build_dataset(picture, number, seed=recipe.seed)
        dataset.save_as(place / f"i{number}.dcm", enforce_file_format=True)
    return len(pictures)


def write_labels(path: Path, plans: Iterable[StudyPlan], seed: int) -> None:
    """Write the label table of planned studies: one row a study."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["study_instance_uid", "opacity", "scanner"])
        for plan in plans:
            table.writerow([study_instance_uid(plan, seed), int(plan.opacity), plan.scanner])


def _write_volumes(paths: SampleDataSet, recipe: SampleRecipe) -> None:
    (paths.folder / "volumes").mkdir(parents=True, exist_ok=True)
    with paths.volume_labels.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "frame", "patient_id", "label"])
        for patient in range(recipe.volumes):
            name = f"volumes/v{patient + 1:02d}.nii.gz"
            hounsfield, labels, affine = render_volume(
                patient, seed=recipe.seed, opacity_contrast=recipe.opacity_contrast
            )
            write_volume(paths.folder / name, hounsfield, affine)
            for frame, label in enumerate(labels):
                table.writerow([name, frame, f"VOLUME-{patient + 1:02d}", int(label)])

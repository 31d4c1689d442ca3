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
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medres.errors import ConfigError
from medres.phantom.sample_dicom import build_dataset, study_instance_uid
from medres.phantom.sample_volume import render_volume, write_volume
from medres.phantom.study import Radiograph, StudyPlan, plan_studies, render_study

RECIPE_VERSION = 1
"""Raised whenever the same options give other pixels, so that old copies are made anew."""

_PARTIAL = "generated.partial-"
_ABANDONED_SECONDS = 3600.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SampleRecipe:
    """What a sample data set is made from; equal recipes give equal pixels.

    Args:
        patients: of the radiographs; some 1.4 studies and 1.9 pictures each.
        studies: only the first so many of theirs; all without it.
        volumes: one patient each.
        seed: of everything drawn.
        opacity_contrast: 1 for the sample; 0 leaves the finding out of the pictures and keeps
            everything else, labels included: what a network then finds is not the finding.
        version: of the code that draws.
    """

    patients: int = 400
    studies: int | None = None
    volumes: int = 60
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
    was killed is never taken for a whole set. Studies that lie in `folder` itself, as a
    checkout's few do, are copied from there where they are of the same recipe.

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
            f"{target}: holds files, but no sample.json of a sample data set; "
            "move them away, or give another folder"
        )
    root.mkdir(parents=True, exist_ok=True)
    with _unfinished(root) as partial:
        write_sample_data(partial, recipe, progress=progress, ready=root)
        if target.exists():
            shutil.rmtree(target)
        partial.replace(target)
    return sample_data_set(target, recipe)


@contextmanager
def _unfinished(root: Path) -> Generator[Path, None, None]:
    """A folder to work in; whatever is left of it afterwards goes, as do those of killed runs."""
    for old in root.glob(f"{_PARTIAL}*"):
        if time.time() - old.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=root))
    partial.chmod(0o755)  # mkdtemp's is private; the set's readers need not be its writer
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_recipe(folder: Path) -> SampleRecipe | None:
    """The recipe of a complete sample data set, or None where there is none."""
    try:
        values = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
        return SampleRecipe(**values)
    except (OSError, ValueError, TypeError):
        return None


def write_sample_data(
    folder: str | Path,
    recipe: SampleRecipe | None = None,
    *,
    progress: Progress | None = None,
    ready: Path | None = None,
) -> SampleDataSet:
    """Write a whole sample data set into a folder, `sample.json` last.

    Args:
        folder: made if need be.
        recipe: of the set; the default one without it.
        progress: called with pictures done and pictures in all.
        ready: folder of another sample data set, whose studies are copied where they are the same.
    """
    recipe = recipe or SampleRecipe()
    paths = sample_data_set(Path(folder), recipe)
    plans = plan_studies(recipe.patients, seed=recipe.seed)[: recipe.studies]
    source = ready / "studies" if ready is not None and _same_pictures(ready, recipe) else None
    total, done = sum(len(plan.views) for plan in plans), 0
    # Threads render, since numpy lets go of the interpreter; this one encodes, since not every
    # encoder bears company (pylibjpeg-openjpeg 2.6.0 crashes the interpreter).
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        try:
            rendered = pool.map(lambda plan: _render_missing(plan, recipe, source), plans)
            for plan, pictures in zip(plans, rendered, strict=True):
                _write_study(paths.studies, plan, recipe, pictures, source)
                done += len(plan.views)
                if progress is not None:
                    progress(done, total)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    _write_labels(paths.labels, plans, recipe.seed)
    _write_volumes(paths, recipe)
    text = json.dumps(dataclasses.asdict(recipe), indent=2)
    (paths.folder / "sample.json").write_text(text + "\n", encoding="utf-8")
    return paths


def _same_pictures(ready: Path, recipe: SampleRecipe) -> bool:
    """Whether two sets agree on every study that both have."""
    found = read_recipe(ready)
    return found is not None and recipe == dataclasses.replace(
        found, patients=recipe.patients, studies=recipe.studies, volumes=recipe.volumes
    )


def _study_folder(plan: StudyPlan) -> Path:
    return Path(f"p{plan.patient + 1:04d}") / f"s{plan.study + 1}"


def _render_missing(
    plan: StudyPlan, recipe: SampleRecipe, source: Path | None
) -> tuple[Radiograph, ...]:
    """A study's pictures, or none where its files only need copying."""
    if source is not None and (source / _study_folder(plan)).is_dir():
        return ()
    return render_study(plan, seed=recipe.seed, opacity_contrast=recipe.opacity_contrast)


def _write_study(
    folder: Path,
    plan: StudyPlan,
    recipe: SampleRecipe,
    pictures: tuple[Radiograph, ...],
    source: Path | None,
) -> None:
    """Write one study's files, or copy them."""
    place = folder / _study_folder(plan)
    if source is not None and not pictures:
        shutil.copytree(source / _study_folder(plan), place, dirs_exist_ok=True)
        return
    place.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start=1):
        dataset = build_dataset(picture, number, seed=recipe.seed)
        dataset.save_as(place / f"i{number}.dcm", enforce_file_format=True)


def _write_labels(path: Path, plans: Iterable[StudyPlan], seed: int) -> None:
    """Write the label table: one row a study, nothing that tells its patient."""
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

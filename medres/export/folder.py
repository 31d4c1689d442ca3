"""Export a model: write each file, run it, keep it only where it agrees with the model.

::

    export/
        model.pt2, model_bf16.pt2         torch.export
        model.onnx, model_int8.onnx       ONNX
        model.xml + model.bin, …          OpenVINO
        parity.npz                        drawn inputs and the model's probabilities
        README.md                         what goes in and comes out, with code
        contract.json                     the same as JSON; written last
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import Compose, EnsureTyped
from numpy.typing import NDArray

import medres
from medres.bundle.directory import Model
from medres.data.manifest import Manifest, ManifestRow
from medres.errors import ConfigError, ExportError
from medres.export.contract import SCHEMA, input_contract, output_contract, readme
from medres.export.formats import (
    Artifact,
    write_onnx,
    write_openvino,
    write_quantized,
    write_torch_export,
)
from medres.export.parity import LIMITS, Parity, measure_parity, worst
from medres.export.program import Precision, trace_program
from medres.export.runtimes import Pixels, Run, open_runs
from medres.export.vectors import draw_images, draw_picture
from medres.files import file_digest, write_json, write_text, written_whole
from medres.training.dataset import FORWARD_BATCH, as_items, build_loader
from medres.transforms.chains import IMAGE, preprocessing_steps

CALIBRATION_IMAGES = 100
"""Images that the ranges of 8-bit activations are taken from; 271 gave no smaller errors."""

Follow = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class RealImages:
    """Images that a model is exported with.

    Attributes:
        manifest: that the rows are of.
        calibration: of the validation split; the ranges of 8-bit activations come from them.
        parity: on which a file is compared with the model, with labels for the AUROC.
        split: that the parity rows are of.
    """

    manifest: Manifest
    calibration: tuple[ManifestRow, ...]
    parity: tuple[ManifestRow, ...]
    split: str


@dataclass(frozen=True)
class Checked:
    """One file, compared with the model in each way of running it.

    Attributes:
        artifact: which file.
        runs: precision, where the images are from, and what was found.
    """

    artifact: Artifact
    runs: tuple[tuple[Precision, str, Parity], ...]

    @property
    def refusal(self) -> str:
        """Why the file is not accepted; empty where it is."""
        reasons = [parity.refusal(precision) for precision, _, parity in self.runs]
        return next((f"{self.artifact.file}: {reason}" for reason in reasons if reason), "")

    def as_json(self, folder: Path) -> dict[str, Any]:
        """Plain JSON values."""
        parts = [folder / name for name in file_parts(self.artifact)]
        return {
            "file": self.artifact.file,
            "format": self.artifact.format,
            "precision": self.artifact.precision,
            "bytes": sum(path.stat().st_size for path in parts),
            "sha256": {path.name: file_digest(path) for path in parts},
            "runs": [
                {
                    "precision": precision,
                    "images_from": origin,
                    "limit": LIMITS[precision],
                    **parity.as_json(),
                }
                for precision, origin, parity in self.runs
            ],
        }


def select_images(manifest: Manifest, most: int = 500) -> RealImages:
    """Validation images to calibrate on, and images to compare on: of the test split, if any.

    Args:
        manifest: the training's, with its splits.
        most: images to compare on, evenly spread over the rows; where there is no test split, those
            of validation that are not calibrated on come first.

    Raises:
        ConfigError: no row is in the validation split.
    """
    validation, test = manifest.split("validation"), manifest.split("test")
    if not validation:
        raise ConfigError(
            "data: no row of the manifest is in the split validation; give the manifest.csv of the "
            "run folder that the model is from"
        )
    calibration = _spread(validation, CALIBRATION_IMAGES)
    taken = set(calibration)
    others = tuple(row for row in validation if row not in taken)
    parity = test or others or validation
    return RealImages(
        manifest, calibration, _spread(parity, most), "test" if test else "validation"
    )


def _spread(rows: Sequence[ManifestRow], most: int) -> tuple[ManifestRow, ...]:
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return tuple(rows[place] for place in places)


def file_parts(artifact: Artifact) -> tuple[str, ...]:
    """The names of a file and of what belongs to it."""
    path = Path(artifact.file)
    return (path.name, path.with_suffix(".bin").name) if path.suffix == ".xml" else (path.name,)


def export_model(
    model: Model,
    out: Path,
    artifacts: Sequence[Artifact],
    images: RealImages | None = None,
    *,
    follow: Follow = lambda batches: batches,
) -> dict[str, Any]:
    """Write a model's files, and what goes in and comes out, into a new folder.

    Args:
        model: a trained model; it stays as it is.
        out: a new folder.
        artifacts: which files; see `asked_artifacts`.
        images: real images to compare on; without them float32 alone is compared, on drawn images.
        follow: wraps the batches, for a progress bar.

    Returns:
        The contract.

    Raises:
        ConfigError: the folder holds something, or bf16 or int8 are asked for without images.
        ExportError: a file disagrees with the model; it is not kept, and the others are.
        MissingDependencyError: a package that a format needs is not installed.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"out: {out} is not empty; give a new folder")
    inexact = sorted({a.precision for a in artifacts} - {"fp32"})
    if inexact and images is None:
        raise ConfigError(
            f"{', '.join(inexact)}: compared on real images alone; give the training's manifest "
            "as data"
        )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".unfinished-") as name:
        folder = Path(name)
        _write_files(folder, model, artifacts, images)
        checked = _check_files(folder, model, artifacts, images, follow)
        accepted = [file for file in checked if not file.refusal]
        for file in accepted:
            for part in file_parts(file.artifact):
                shutil.move(folder / part, out / part)
    contract = _describe(out, model, accepted)
    refused = [file.refusal for file in checked if file.refusal]
    if accepted:
        _write_vectors(out, model)
        write_text(out / "README.md", readme(contract, [file.artifact for file in accepted]))
        write_json(out / "contract.json", contract)
    if refused:
        kept = ", ".join(file.artifact.file for file in accepted) or "none"
        raise ExportError(
            f"{'; '.join(refused)}. Not kept, since a score would depend on where it is computed; "
            f"kept: {kept}"
        )
    return contract


def _describe(out: Path, model: Model, accepted: Sequence[Checked]) -> dict[str, Any]:
    record = model.record
    return {
        "schema": SCHEMA,
        "medres": medres.__version__,
        "intended_use": "research only; not a medical device",
        "model": {
            "network": record.target,
            "weights_sha256": record.weights_sha256,
            "preprocessing": record.preprocessing.digest(),
        },
        "input": input_contract(record.preprocessing),
        "output": output_contract(model),
        "files": [file.as_json(out) for file in accepted],
    }


def _write_files(
    folder: Path, model: Model, artifacts: Sequence[Artifact], images: RealImages | None
) -> None:
    """Every file; OpenVINO's and the 8-bit ones are made from ONNX files, asked for or not."""
    program = trace_program(model)
    sources = {"fp32": folder / "model.onnx", "int8": folder / "model_int8.onnx"}
    wanted = {a.precision for a in artifacts if a.format != "torch-export"}
    if wanted:
        write_onnx(sources["fp32"], program)
    if "int8" in wanted:
        assert images is not None  # export_model has checked
        rows = images.calibration
        calibration = [image for batch, _ in _batches(model, images, rows) for image in batch]
        write_quantized(sources["int8"], sources["fp32"], [image[None] for image in calibration])
    for artifact in artifacts:
        path = folder / artifact.file
        if artifact.format == "openvino":
            write_openvino(path, sources[artifact.precision])
        elif artifact.format == "torch-export":
            bf16 = artifact.precision == "bf16"
            write_torch_export(path, trace_program(model, "bf16") if bf16 else program)


def _check_files(
    folder: Path,
    model: Model,
    artifacts: Sequence[Artifact],
    images: RealImages | None,
    follow: Follow,
) -> list[Checked]:
    """Run every file on drawn images, one by one and together, and on the real ones."""
    opened = [open_runs(folder, artifact) for artifact in artifacts]
    drawn = draw_images(model.record.preprocessing)
    expected = score_reference(model, drawn)
    real = None if images is None else _run_all(model, images, opened, follow)
    checked = []
    for number, (artifact, runs) in enumerate(zip(artifacts, opened, strict=True)):
        found: list[tuple[Precision, str, Parity]] = []
        if "fp32" in runs:
            found.append(("fp32", "drawn", _on_drawn(runs["fp32"], drawn, expected)))
        if real is not None and images is not None:
            found += [(p, images.split, real[number, p]) for p in runs]
        checked.append(Checked(artifact, tuple(found)))
    return checked


def _on_drawn(run: Run, images: Pixels, expected: NDArray[np.float64]) -> Parity:
    together = run(images)
    apart = np.concatenate([run(image[None]) for image in images])
    return worst([measure_parity(expected, found) for found in (together, apart)])


def _run_all(
    model: Model, images: RealImages, opened: Sequence[dict[Precision, Run]], follow: Follow
) -> dict[tuple[int, Precision], Parity]:
    """Every way of running every file on the real images, which are read once."""
    ways = [(number, precision) for number, runs in enumerate(opened) for precision in runs]
    expected, labels = [], []
    found: dict[tuple[int, Precision], list[NDArray[Any]]] = {way: [] for way in ways}
    for batch, label in follow(_batches(model, images, images.parity)):
        expected.append(score_reference(model, batch))
        labels.append(label)
        for number, precision in ways:
            found[number, precision].append(opened[number][precision](batch))
    findings = model.record.findings
    return {
        way: measure_parity(
            np.concatenate(expected), np.concatenate(parts), findings, np.concatenate(labels)
        )
        for way, parts in found.items()
    }


def _batches(
    model: Model, images: RealImages, rows: Sequence[ManifestRow]
) -> Iterator[tuple[Pixels, NDArray[np.float32]]]:
    """Fitted images (B, 1, S, S), not normalised, with labels (B, F)."""
    load = preprocessing_steps(model.record.preprocessing)[:-1]
    chain = Compose([*load, EnsureTyped(IMAGE, track_meta=False)])
    items = as_items(images.manifest, rows)
    for batch in build_loader(Dataset(items, chain), FORWARD_BATCH):
        yield batch[IMAGE].float().numpy(), batch["label"].numpy()


@torch.inference_mode()
def score_reference(model: Model, images: Pixels) -> NDArray[np.float64]:
    """Probabilities (B, F) as `medres score` computes them, of fitted images (B, 1, S, S)."""
    statistics = model.record.preprocessing.statistics
    clipped = torch.from_numpy(images).clamp(statistics.low, statistics.high)
    logits = model.network.eval()((clipped - statistics.mean) / statistics.std)
    scores = model.record.calibration.apply(model.record.kind, logits.double())
    array: NDArray[np.float64] = scores.numpy()
    return array


def _write_vectors(out: Path, model: Model) -> None:
    drawn = draw_images(model.record.preprocessing)
    picture, square = draw_picture(model.record.preprocessing)
    with written_whole(out / "parity.npz") as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            image=drawn,
            probabilities=score_reference(model, drawn).astype(np.float32),
            picture=picture,
            picture_square=square,
        )

"""Run a model's MONAI workflows once, on a few made-up images, away from the model's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medres.bundle.digests import DIGESTS
from medres.bundle.directory import Model
from medres.bundle.parts import read_part
from medres.phantom.sample_dicom import make_uid
from medres.transforms.chains import build_evaluation_chain

SIZE = (96, 80)
"""Rows and columns of a made-up image."""


@dataclass(frozen=True)
class Trial:
    """A model with labelled images to try it on.

    Attributes:
        model: that is tried.
        images: DICOM files of noise.
        data: folder of the images and of their `datalist.json`.
        output: an empty folder.
    """

    model: Model
    images: tuple[Path, ...]
    data: Path
    output: Path

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the model's files by their names."""
        digests: Mapping[str, str] = read_part(self.model.folder, DIGESTS)["sha256"]
        return digests

    def config(self, name: str) -> str:
        """Path of a config, as MONAI's functions take it."""
        return str(self.model.folder / "configs" / f"{name}.json")

    def workflow(self, name: str, kind: str, **overrides: Any) -> Any:
        """A config as MONAI's `ConfigWorkflow`, which `python -m monai.bundle run` makes too."""
        from monai.bundle import ConfigWorkflow

        return ConfigWorkflow(
            config_file=self.config(name),
            workflow_type=kind,
            logging_file=False,  # it would reset this process' own logging
            bundle_root=str(self.model.folder),
            dataset_dir=str(self.data),
            output_dir=str(self.output),
            device="cpu",
            **overrides,
        )

    def run(self, name: str, kind: str, **overrides: Any) -> None:
        """Run a config to its end."""
        workflow = self.workflow(name, kind, **overrides)
        workflow.initialize()
        workflow.run()
        workflow.finalize()

    @torch.inference_mode()
    def largest_difference(self, probabilities: Sequence[Sequence[float]]) -> float:
        """Between probabilities of the images, (N, F), and medres' own."""
        record = self.model.record
        chain = build_evaluation_chain(record.preprocessing)
        inputs = torch.stack([chain({"image": str(p), "frame": 0})["image"] for p in self.images])
        own = record.calibration.apply(record.kind, self.model.network(inputs))
        return float((torch.tensor(probabilities, dtype=own.dtype) - own).abs().max())


def prepare_trial(model: Model, folder: Path) -> Trial:
    """Write images of noise for a model, with every class in each split."""
    record, findings = model.record, model.record.findings
    several = len(findings) if record.kind == "multiclass" else 2
    lists: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "test": []}
    images = []
    for number in range(3 * max(2, several)):
        split, case = [*lists][number % 3], number // 3
        images.append(folder / f"{number:04}.dcm")
        _write_noise(images[-1], number)
        label = [int(case == k) for k in range(several)]
        if record.kind != "multiclass":
            label = [case % 2] * len(findings)
        lists[split].append({"image": images[-1].name, "label": label, "patient_id": str(number)})
    (folder / "datalist.json").write_text(json.dumps(lists), encoding="utf-8")
    return Trial(model, tuple(images), folder, folder / "output")


def _write_noise(path: Path, seed: int) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset, meta = Dataset(), FileMetaDataset()
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = make_uid("medres trial", seed)
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.file_meta, dataset.Modality = meta, "OT"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *SIZE, 1
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    noise = np.random.default_rng(seed).integers(0, 4096, SIZE, np.uint16)
    dataset.PixelData = noise.tobytes()
    dataset.save_as(path, enforce_file_format=True)

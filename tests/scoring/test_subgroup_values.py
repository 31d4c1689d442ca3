from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file

from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.errors import ManifestError
from medres.imaging.subgroup_attributes import ATTRIBUTES, read_subgroup_attribute
from medres.scoring.case_scores import ImageScores
from medres.scoring.subgroup_values import subgroup_values

SCHEMA = LabelSchema("binary", ("opacity",), ("label_opacity",))


def radiograph(path: Path, **changes: str) -> Path:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.PatientSex, dataset.PatientAge = "F", "045Y"
    dataset.InstitutionName, dataset.ViewPosition = "St. Elsewhere", "PA"
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def manifest_of(folder: Path) -> Manifest:
    radiograph(folder / "a.dcm")
    radiograph(folder / "b.dcm", PatientSex="M", PatientAge="081Y")
    (folder / "c.png").write_bytes(b"no header")
    rows = tuple(
        ManifestRow(f"{name}", 0, name, "", None, (0.0,), {"ward": "east"})
        for name in ("a.dcm", "b.dcm", "c.png")
    )
    return Manifest(folder, rows, SCHEMA, patient_ids_given=True)


def test_manifest_columns_and_dicom_headers_make_groups(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    images = ImageScores(manifest, manifest.rows, torch.zeros(3, 1).double())
    values = subgroup_values(manifest, images.combine("patient"), ["ward", "sex", "age", "site"])
    assert values == {
        "ward": ["east", "east", "east"],
        "sex": ["F", "M", ""],
        "age": ["40 to 59", "80 and over", ""],
        "site": ["St. Elsewhere", "St. Elsewhere", ""],
    }


def test_unknown_columns_name_what_there_is(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    images = ImageScores(manifest, manifest.rows, torch.zeros(3, 1).double())
    with pytest.raises(ManifestError, match="no subgroup column 'mood': the manifest has ward"):
        subgroup_values(manifest, images.combine("patient"), ["mood"])


def test_every_attribute_reads_as_text(tmp_path: Path) -> None:
    path = radiograph(tmp_path / "a.dcm", PatientSex="X", ManufacturerModelName="Definium")
    values = {name: read_subgroup_attribute(path, name) for name in ATTRIBUTES}
    assert values["sex"] == ""
    assert values["view"] == "PA"
    assert values["scanner"].endswith(" Definium")
    assert values["modality"] == "CT"

"""`configs/metadata.json`, after MONAI's bundle specification, and the schema that it meets."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord

SCHEMA_URL = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
UNKNOWN = "unknown"
INTENDED_USE = "research only; not a medical device"


def metadata_schema() -> str:
    """JSON schema of the metadata, to verify it without a network."""
    return files("medres.bundle").joinpath("metadata_schema.json").read_text(encoding="utf-8")


def metadata_config(record: ModelRecord) -> dict[str, Any]:
    """What MONAI's tools, MONAI Label and MONAI Deploy read about a model."""
    packages = record.provenance.get("packages", {})
    findings = ", ".join(record.findings)
    several = f"ensemble of {len(record.members)} times " if record.members else ""
    metadata = {
        "schema": SCHEMA_URL,
        "name": f"{several}ResNet-{record.network.depth} for {findings}",
        "version": "0.1.0",
        "changelog": {"0.1.0": "as trained"},
        "monai_version": packages.get("monai") or UNKNOWN,
        "pytorch_version": packages.get("torch") or UNKNOWN,
        "numpy_version": packages.get("numpy") or UNKNOWN,
        "required_packages_version": {
            "medres": record.provenance.get("medres") or UNKNOWN,
            **{
                name: packages[name]
                for name in ("torchvision", "pydicom", "pytorch-ignite")
                if packages.get(name)
            },
        },
        "task": "2D grayscale image classification",
        "description": (
            f"{several}ResNet-{record.network.depth} ({record.network.stem} stem) for {findings}"
        ),
        "authors": "trained with medres",
        "copyright": "that of whoever trained it",
        "data_source": "that of whoever trained it; docs/README.md says what is recorded of it",
        "data_type": "DICOM, NIfTI, PNG, JPEG, TIFF, npz",
        "image_classes": "one gray channel, normalised with the training patients' statistics",
        "label_classes": _classes(record, "a list of {} of 0, 1 or null"),
        "pred_classes": _classes(record, "{} probabilities"),
        "intended_use": INTENDED_USE,
        "references": [],
        **_figures(record),
        "network_data_format": {
            "inputs": {"image": _image_format(record)},
            "outputs": {"pred": _output_format(record, "logits", [])},
            "post_processed_outputs": {"pred": _output_format(record, "probabilities", [0, 1])},
        },
    }
    return {key: _inert(value) for key, value in metadata.items()}


def _inert(value: Any) -> Any:
    """The same in quotes where MONAI would take a text for an expression, a reference, a macro."""
    if isinstance(value, dict):
        return {key: _inert(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_inert(inner) for inner in value]
    return f"'{value}'" if isinstance(value, str) and value.startswith(("$", "@", "%")) else value


def _classes(record: ModelRecord, form: str) -> str:
    how = "exactly one is 1" if record.kind == "multiclass" else "each by itself"
    return f"{form.format(len(record.findings))}, {how}: {', '.join(record.findings)}"


def _figures(record: ModelRecord) -> dict[str, Any]:
    """The figures on test patients, where the record holds them."""
    figures = {
        f"{finding} {name}": figure["value"]
        for finding, named in record.figures.get("findings", {}).items()
        for name, figure in named.items()
        if figure.get("value") is not None
    }
    return {"eval_metrics": figures} if figures else {}


def _image_format(record: ModelRecord) -> dict[str, Any]:
    statistics, size = record.preprocessing.statistics, record.preprocessing.size
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "any",
        "num_channels": 1,
        "spatial_shape": [size, size],
        "dtype": "float32",
        "value_range": [
            (statistics.low - statistics.mean) / statistics.std,
            (statistics.high - statistics.mean) / statistics.std,
        ],
        "is_patch_data": False,
        "channel_def": {"0": "image"},
    }


def _output_format(record: ModelRecord, kind: str, value_range: list[int]) -> dict[str, Any]:
    """Of the network (logits), or after `postprocessing` (probabilities).

    MONAI Deploy's bundle operator makes a class of every output whose type is "probabilities", by
    `int(probability)`: always the first. Called logits, they come out of it as an array.
    """
    return {
        "type": kind,
        "format": "classification",
        "num_channels": len(record.findings),
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": value_range,
        "is_patch_data": False,
        "channel_def": {str(index): name for index, name in enumerate(record.findings)},
    }

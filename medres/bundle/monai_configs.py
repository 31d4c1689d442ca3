"""The model as MONAI's own bundle tools read it: `metadata.json` and `inference.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord


def metadata_config(record: ModelRecord) -> dict[str, Any]:
    """`configs/metadata.json`, after MONAI's bundle specification."""
    packages = record.provenance.get("packages", {})
    size = record.preprocessing.size
    return {
        "schema": (
            "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
            "0.8.1/meta_schema_20240725.json"
        ),
        "version": "0.1.0",
        "changelog": {"0.1.0": "as trained"},
        "monai_version": packages.get("monai") or "",
        "pytorch_version": packages.get("torch") or "",
        "numpy_version": packages.get("numpy") or "",
        "required_packages_version": {"medres": record.provenance.get("medres", "")},
        "task": "2D grayscale image classification",
        "description": (
            f"{'ensemble of ' + str(len(record.members)) + ' times ' if record.members else ''}"
            f"ResNet-{record.network.depth} ({record.network.stem} stem) for "
            f"{', '.join(record.findings)}"
        ),
        "authors": "trained with medres",
        "copyright": "that of whoever trained it",
        "intended_use": "research only; not a medical device",
        "network_data_format": {
            "inputs": {"image": _image_format(record, size)},
            "outputs": {"pred": _output_format(record)},
        },
    }


def _image_format(record: ModelRecord, size: int) -> dict[str, Any]:
    statistics = record.preprocessing.statistics
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


def _output_format(record: ModelRecord) -> dict[str, Any]:
    return {
        "type": "probabilities",
        "format": "classification",
        "num_channels": len(record.findings),
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(index): name for index, name in enumerate(record.findings)},
    }


def inference_config(record: ModelRecord) -> dict[str, Any]:
    """`configs/inference.json`: scores every DICOM file below `dataset_dir` into a CSV."""
    preprocessing, statistics = record.preprocessing, record.preprocessing.statistics
    return {
        "imports": ["$import glob", "$import os", "$import monai.handlers"],
        "bundle_root": ".",
        "output_dir": "$os.path.join(@bundle_root, 'eval')",
        "dataset_dir": "$os.path.join(@bundle_root, 'data')",
        "datalist": (
            "$sorted(glob.glob(os.path.join(@dataset_dir, '**', '*.dcm'), recursive=True))"
        ),
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": record.target,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "medres.transforms.load.LoadGrayscaled",
                    "keys": "image",
                    "intensity": preprocessing.intensity,
                },
                {
                    "_target_": "medres.transforms.geometry.FitGeometryd",
                    "keys": "image",
                    "size": preprocessing.size,
                    "geometry": preprocessing.geometry,
                    "pad_value": statistics.low,
                },
                {
                    "_target_": "medres.transforms.normalize.NormalizeGrayscaled",
                    "keys": "image",
                    "low": statistics.low,
                    "high": statistics.high,
                    "mean": statistics.mean,
                    "std": statistics.std,
                },
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 8},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": _postprocessing(record),
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$os.path.join(@bundle_root, 'models', 'model.pt')",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
            },
            {
                "_target_": "ClassificationSaver",
                "output_dir": "@output_dir",
                "filename": "predictions.csv",
                "batch_transform": "$lambda batch: [item['image'].meta for item in batch]",
                "output_transform": "$monai.handlers.from_engine(['pred'])",
            },
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _postprocessing(record: ModelRecord) -> dict[str, Any]:
    """From logits to calibrated probabilities; MONAI's ScaleIntensity multiplies by 1 + factor."""
    activation = {"softmax": True} if record.kind == "multiclass" else {"sigmoid": True}
    activate = {"_target_": "Activationsd", "keys": "pred", **activation}
    temperature = record.calibration.temperature
    if temperature is None:
        return activate
    (value,) = temperature.values
    scale = {
        "_target_": "ScaleIntensityd",
        "keys": "pred",
        "minv": None,
        "maxv": None,
        "factor": 1 / value - 1,
    }
    return {"_target_": "Compose", "transforms": [scale, activate]}

"""What the model's MONAI workflows share: where things lie, and the parts that they are built of.

Each function gives a piece of a config: a dictionary that MONAI builds, by `_target_`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord

Config = dict[str, Any]


def places(output: str) -> Config:
    """Where the bundle, the images, what is left behind and the weights lie; on which device."""
    return {
        "bundle_root": ".",
        "dataset_dir": "$os.path.join(@bundle_root, 'data')",
        "output_dir": f"$os.path.join(@bundle_root, '{output}')",
        "ckpt_path": "$os.path.join(@bundle_root, 'models', 'model.pt')",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    }


def compose(steps: list[Config]) -> Config:
    """Always a `Compose`: MONAI Label and MONAI Deploy ask it for its `transforms`."""
    return {"_target_": "Compose", "transforms": steps}


def preprocessing_config(record: ModelRecord) -> list[Config]:
    """The steps of `medres.transforms.chains.preprocessing_steps`, spelled out."""
    preprocessing, statistics = record.preprocessing, record.preprocessing.statistics
    return [
        {
            "_target_": "medres.transforms.load.LoadGrayscaled",
            "keys": "image",
            "intensity": preprocessing.intensity,
            "fit_size": preprocessing.size,
            "geometry": preprocessing.geometry,
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
    ]


def postprocessing_config(record: ModelRecord) -> list[Config]:
    """From logits to calibrated probabilities; MONAI's ScaleIntensity multiplies by 1 + factor."""
    activation = {"softmax": True} if record.kind == "multiclass" else {"sigmoid": True}
    activate = {"_target_": "Activationsd", "keys": "pred", **activation}
    temperature = record.calibration.temperature
    if temperature is None:
        return [activate]
    (value,) = temperature.values
    scale = {
        "_target_": "ScaleIntensityd",
        "keys": "pred",
        "minv": None,
        "maxv": None,
        "factor": 1 / value - 1,
    }
    return [scale, activate]


def label_to_tensor() -> Config:
    """A label as a plain tensor."""
    return {"_target_": "EnsureTyped", "keys": "label", "track_meta": False}


def record_reader() -> Config:
    """The model's own record: MONAI would evaluate a finding's name that starts with a dollar."""
    return {"_target_": "medres.bundle.directory.read_record", "folder": "@bundle_root"}


def labelled_dataset(split: str, transform: str) -> Config:
    """The labelled images of one split of a data list."""
    return {
        "_target_": "Dataset",
        "data": {
            "_target_": "medres.data.datalist.read_datalist",
            "path": "@datalist_file",
            "split": split,
            "labels": "$@record.labels",
            "missing_ok": True,
        },
        "transform": transform,
    }


def loader(dataset: str, *, shuffle: bool | str) -> Config:
    """Batches of a data set."""
    return {
        "_target_": "DataLoader",
        "dataset": dataset,
        "batch_size": "@batch_size",
        "shuffle": shuffle,
        "num_workers": "@num_workers",
    }


def evaluator(section: str) -> Config:
    """The engine over the batches of a section, such as `validate::`; "" for the config itself."""
    return {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": f"@{section}dataloader",
        "network": "@network",
        "inferer": f"@{section}inferer",
        "postprocessing": f"@{section}postprocessing",
        "val_handlers": f"@{section}handlers",
    }


def checkpoint_loader() -> Config:
    """Loads the model's weights before an engine starts."""
    return {
        "_target_": "CheckpointLoader",
        "load_path": "@ckpt_path",
        "load_dict": {"model": "@network"},
        "map_location": "@device",
    }


def predictions_saver() -> Config:
    """Writes a row of probabilities an image."""
    return {
        "_target_": "ClassificationSaver",
        "output_dir": "@output_dir",
        "filename": "predictions.csv",
        "batch_transform": "$lambda batch: [item['image'].meta for item in batch]",
        "output_transform": "$monai.handlers.from_engine(['pred'])",
    }


def auroc_handler(record: ModelRecord, *, resamples: int) -> Config:
    """MONAI's key metric; every other figure lies beside it in the engine's state."""
    return {
        "auroc": {
            "_target_": "medres.metrics.monai.EvaluationMetricHandler",
            "metric": {
                "_target_": "medres.metrics.monai.EvaluationMetric",
                "findings": "$@record.findings",
                "kind": record.kind,
                "thresholds": "$dict(@record.thresholds)",
                **({"bands": "$dict(@record.bands)"} if record.bands else {}),
                "resamples": resamples,
            },
        }
    }

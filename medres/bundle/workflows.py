"""The model as MONAI workflows, which `python -m monai.bundle run` runs.

`inference.json` scores images, `evaluate.json` judges the model on labelled ones, `train.json`
fine-tunes it. docs/bundle.md says how to run each, and which keys it takes.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from medres.transforms.augmentation import PRESETS, Augmentation
from medres.transforms.chains import augmentation_arguments

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord

Config = dict[str, Any]

CHECK_ITEMS = "$from medres.data.datalist import check_items"
EVALUATION = (
    "$write_json(Path(@output_dir, 'evaluation.json'), @evaluator.state.metric_details['auroc'])"
)
FINE_TUNED = (
    "$write_fine_tuned(@bundle_root, @output_dir, @train::dataset::data, @validate::dataset::data)"
)

LOGGING = """\
[loggers]
keys=root

[handlers]
keys=console

[formatters]
keys=plain

[logger_root]
level=INFO
handlers=console

[handler_console]
class=StreamHandler
level=INFO
formatter=plain
args=(sys.stdout,)

[formatter_plain]
format=%(asctime)s %(levelname)s %(name)s: %(message)s
"""


def inference_config(record: ModelRecord) -> Config:
    """`configs/inference.json`: scores every image below `dataset_dir` into a table."""
    return {
        "imports": ["$import os", "$import monai.handlers", CHECK_ITEMS],
        **_places("eval"),
        "datalist": {"_target_": "medres.data.datalist.find_images", "folder": "@dataset_dir"},
        "batch_size": 8,
        "num_workers": 0,
        "network_def": record.target,
        "network": "$@network_def.to(@device)",
        "preprocessing": _compose(preprocessing_config(record)),
        "dataset": {
            "_target_": "Dataset",
            "data": {"_target_": "medres.data.datalist.as_items", "images": "@datalist"},
            "transform": "@preprocessing",
        },
        "dataloader": _loader("@dataset", shuffle=False),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": _compose(postprocessing_config(record)),
        "handlers": [_checkpoint_loader(), _predictions()],
        "evaluator": _evaluator(""),
        "initialize": ["$setattr(torch.backends.cudnn, 'benchmark', False)"],
        "run": [
            "$check_items(@dataset::data, @dataset_dir)",
            "$@evaluator.run()",
        ],
    }


def evaluate_config(record: ModelRecord) -> Config:
    """`configs/evaluate.json`: judges the model on one split of a data list."""
    config = inference_config(record)
    config["imports"] += ["$from pathlib import Path", "$from medres.files import write_json"]
    del config["datalist"]
    evaluator = {**config["evaluator"], "key_val_metric": "@key_metric"}
    return {
        **config,
        "datalist_file": "$os.path.join(@dataset_dir, 'datalist.json')",
        "split": "test",
        "preprocessing": _compose([*preprocessing_config(record), _label_to_tensor()]),
        "dataset": _labelled("@split", "@preprocessing"),
        "record": _record(),
        "key_metric": _auroc(record, resamples=2000),
        "evaluator": evaluator,
        "run": [
            "$check_items(@dataset::data, @datalist_file)",
            "$@evaluator.run()",
            EVALUATION,
        ],
    }


def train_config(record: ModelRecord) -> Config:
    """`configs/train.json`: fine-tunes the model; leaves a model directory of its own."""
    return {
        "imports": [
            "$import os",
            "$import monai.handlers",
            CHECK_ITEMS,
            "$from medres.bundle.fine_tuned import write_fine_tuned",
        ],
        **_places("fine_tuned"),
        "datalist_file": "$os.path.join(@dataset_dir, 'datalist.json')",
        "seed": 0,
        "epochs": 10,
        "batch_size": 16,
        "num_workers": 0,
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "val_interval": 1,
        "record": _record(),
        **({"preset": "discriminative"} if not record.members else {}),
        "network_def": _trainable(record),
        "network": "$@network_def.to(@device)",
        "loss": {"_target_": "medres.training.losses.ClassificationLoss", "kind": record.kind},
        **_optimization(record),
        "train": _train_section(record),
        "validate": _validate_section(record),
        "initialize": ["$monai.utils.set_determinism(seed=@seed)"],
        "run": [
            "$check_items(@train::dataset::data, @datalist_file)",
            "$check_items(@validate::dataset::data, @datalist_file)",
            "$@train::trainer.run()",
        ],
        "finalize": [FINE_TUNED],
    }


def _places(output: str) -> Config:
    return {
        "bundle_root": ".",
        "dataset_dir": "$os.path.join(@bundle_root, 'data')",
        "output_dir": f"$os.path.join(@bundle_root, '{output}')",
        "ckpt_path": "$os.path.join(@bundle_root, 'models', 'model.pt')",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    }


def _compose(steps: list[Config]) -> Config:
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


def _label_to_tensor() -> Config:
    return {"_target_": "EnsureTyped", "keys": "label", "track_meta": False}


def _record() -> Config:
    """The model's own record: MONAI would evaluate a finding's name that starts with a dollar."""
    return {"_target_": "medres.bundle.directory.read_record", "folder": "@bundle_root"}


def _labelled(split: str, transform: str) -> Config:
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


def _loader(dataset: str, *, shuffle: bool | str) -> Config:
    return {
        "_target_": "DataLoader",
        "dataset": dataset,
        "batch_size": "@batch_size",
        "shuffle": shuffle,
        "num_workers": "@num_workers",
    }


def _evaluator(section: str) -> Config:
    return {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": f"@{section}dataloader",
        "network": "@network",
        "inferer": f"@{section}inferer",
        "postprocessing": f"@{section}postprocessing",
        "val_handlers": f"@{section}handlers",
    }


def _checkpoint_loader() -> Config:
    return {
        "_target_": "CheckpointLoader",
        "load_path": "@ckpt_path",
        "load_dict": {"model": "@network"},
        "map_location": "@device",
    }


def _predictions() -> Config:
    return {
        "_target_": "ClassificationSaver",
        "output_dir": "@output_dir",
        "filename": "predictions.csv",
        "batch_transform": "$lambda batch: [item['image'].meta for item in batch]",
        "output_transform": "$monai.handlers.from_engine(['pred'])",
    }


def _auroc(record: ModelRecord, *, resamples: int) -> Config:
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


def _trainable(record: ModelRecord) -> Config:
    """The network with batch-norm held: a few new images say too little of its statistics."""
    target = record.target
    if not record.members:
        return {**target, "batch_norm": "eval"}
    return {**target, "members": [{**m, "batch_norm": "eval"} for m in target["members"]]}


def _optimization(record: ModelRecord) -> Config:
    if record.members:
        return {
            "optimizer": {
                "_target_": "torch.optim.AdamW",
                "params": "$@network.parameters()",
                "lr": "@learning_rate",
                "weight_decay": "@weight_decay",
            }
        }
    return {
        "optimizer": {
            "_target_": "medres.training.optimizer.build_optimizer",
            "network": "@network",
            "weight_decay": "@weight_decay",
        },
        "schedule": {
            "_target_": "medres.training.presets.build_schedule",
            "preset": "@preset",
            "epochs": "@epochs",
            "steps_per_epoch": "$max(1, len(@train::dataloader))",
            "base_learning_rate": "@learning_rate",
            "warmup_epochs": 0.5,
            "frozen_epochs": 1,
            "batch_norm": "eval",
            "stem": record.network.stem,
        },
    }


def _train_section(record: ModelRecord) -> Config:
    handlers = [
        _checkpoint_loader(),
        {
            "_target_": "ValidationHandler",
            "validator": "@validate::evaluator",
            "epoch_level": True,
            "interval": "@val_interval",
        },
        {
            "_target_": "StatsHandler",
            "tag_name": "train_loss",
            "output_transform": "$monai.handlers.from_engine(['loss'], first=True)",
        },
    ]
    if not record.members:
        schedule = {
            "_target_": "medres.training.schedule_handler.ScheduleHandler",
            "schedule": "@schedule",
            "network": "@network",
            "optimizer": "@optimizer",
        }
        handlers.insert(1, schedule)
    return {
        "preprocessing": _compose(
            [*preprocessing_config(record), _label_to_tensor(), *_augmentation_config(record)]
        ),
        "dataset": _labelled("train", "@train::preprocessing"),
        "dataloader": _loader("@train::dataset", shuffle="$bool(@train::dataset::data)"),
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": handlers,
        "trainer": {
            "_target_": "SupervisedTrainer",
            "max_epochs": "@epochs",
            "device": "@device",
            "train_data_loader": "@train::dataloader",
            "network": "@network",
            "optimizer": "@optimizer",
            "loss_function": "@loss",
            "inferer": "@train::inferer",
            "train_handlers": "@train::handlers",
        },
    }


def _augmentation_config(record: ModelRecord) -> list[Config]:
    """The random steps that the model was trained with; general ones where none are recorded."""
    recorded = record.training.get("augmentation")
    amounts = PRESETS["general"]
    if recorded:
        amounts = Augmentation(**{f.name: float(recorded[f.name]) for f in fields(Augmentation)})
    steps = augmentation_arguments(amounts, record.preprocessing.size)
    return [{"_target_": step.__name__, "keys": "image", **options} for step, options in steps]


def _validate_section(record: ModelRecord) -> Config:
    return {
        "preprocessing": _compose([*preprocessing_config(record), _label_to_tensor()]),
        "dataset": _labelled("validation", "@validate::preprocessing"),
        "dataloader": _loader("@validate::dataset", shuffle=False),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": _compose(postprocessing_config(record)),
        "key_metric": _auroc(record, resamples=200),
        "handlers": [
            {"_target_": "StatsHandler", "iteration_log": False},
            {
                "_target_": "CheckpointSaver",
                "save_dir": "@output_dir",
                "save_dict": {"model": "@network"},
                "save_key_metric": True,
                "key_metric_filename": "best.pt",
            },
        ],
        "evaluator": {**_evaluator("validate::"), "key_val_metric": "@validate::key_metric"},
    }

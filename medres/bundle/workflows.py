"""The model as MONAI workflows, which `python -m monai.bundle run` runs.

`inference.json` scores images, `evaluate.json` judges the model on labelled ones, `train.json`
fine-tunes it. docs/bundle.md says how to run each, and which keys it takes.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from medres.bundle.workflow_parts import (
    Config,
    auroc_handler,
    checkpoint_loader,
    compose,
    evaluator,
    label_to_tensor,
    labelled_dataset,
    loader,
    places,
    postprocessing_config,
    predictions_saver,
    preprocessing_config,
    record_reader,
)
from medres.transforms.augmentation import PRESETS, Augmentation
from medres.transforms.chains import augmentation_arguments

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord

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
        **places("eval"),
        "datalist": {"_target_": "medres.data.datalist.find_images", "folder": "@dataset_dir"},
        "batch_size": 8,
        "num_workers": 0,
        "network_def": record.target,
        "network": "$@network_def.to(@device)",
        "preprocessing": compose(preprocessing_config(record)),
        "dataset": {
            "_target_": "Dataset",
            "data": {"_target_": "medres.data.datalist.as_items", "images": "@datalist"},
            "transform": "@preprocessing",
        },
        "dataloader": loader("@dataset", shuffle=False),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": compose(postprocessing_config(record)),
        "handlers": [checkpoint_loader(), predictions_saver()],
        "evaluator": evaluator(""),
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
        "preprocessing": compose([*preprocessing_config(record), label_to_tensor()]),
        "dataset": labelled_dataset("@split", "@preprocessing"),
        "record": record_reader(),
        "key_metric": auroc_handler(record, resamples=2000),
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
        **places("fine_tuned"),
        "datalist_file": "$os.path.join(@dataset_dir, 'datalist.json')",
        "seed": 0,
        "epochs": 10,
        "batch_size": 16,
        "num_workers": 0,
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "val_interval": 1,
        "record": record_reader(),
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
        checkpoint_loader(),
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
        "preprocessing": compose(
            [*preprocessing_config(record), label_to_tensor(), *_augmentation_config(record)]
        ),
        "dataset": labelled_dataset("train", "@train::preprocessing"),
        "dataloader": loader("@train::dataset", shuffle="$bool(@train::dataset::data)"),
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
        "preprocessing": compose([*preprocessing_config(record), label_to_tensor()]),
        "dataset": labelled_dataset("validation", "@validate::preprocessing"),
        "dataloader": loader("@validate::dataset", shuffle=False),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": compose(postprocessing_config(record)),
        "key_metric": auroc_handler(record, resamples=200),
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
        "evaluator": {**evaluator("validate::"), "key_val_metric": "@validate::key_metric"},
    }

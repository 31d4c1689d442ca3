"""A training of milliseconds through the real trainer: a tiny staged network on tensors."""

from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset
from torch import Tensor, nn

from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGES
from medres.training.dataset import EpochSampler, ShareSampler, build_loader
from medres.training.feature_plan import ImageCounts, Room, plan_features
from medres.training.features import FeatureCache, FeatureLoader, ValidationFeatureLoader
from medres.training.plan import TrainingPlan
from medres.training.precision import AUTOCAST
from medres.training.presets import build_schedule
from medres.training.trainer import TrainingRun

STEPS, BATCH, VALIDATION = 3, 4, 7


class TinyBackbone(nn.Module):
    """torchvision's names, eight channels, one block a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number in range(1, 5):
            block = nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
            )
            setattr(self, f"layer{number}", block)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def tiny_network(seed: int = 0) -> GrayscaleResNet:
    """A `GrayscaleResNet` with an adapter before a tiny backbone; statistics not 0 and 1."""
    torch.manual_seed(seed)
    network = GrayscaleResNet(18, "adapter")
    network.backbone = TinyBackbone()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.to(memory_format=torch.channels_last)


def tensors(count: int, seed: int) -> list[dict[str, Tensor]]:
    """Gray noise with labels that the brightness tells."""
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.tensor([float(index % 2)]) for index in range(count)]
    return [
        {"image": torch.randn(1, 32, 32, generator=generator) + label, "label": label}
        for label in labels
    ]


def build_run(
    folder: Path,
    preset: str = "gradual",
    *,
    epochs: int = 5,
    batch_norm: str = "eval",
    batch_size: int = BATCH,
    accumulate: int = 1,
    rank: int = 0,
    processes: int = 1,
    frozen_epochs: float = 1,
    adapter_frozen_steps: int = 0,
    **plan: Any,
) -> TrainingRun:
    """A run of `epochs` x 3 steps on 12 images a step, whoever shares them; a phase an epoch."""
    network = tiny_network()
    images = STEPS * batch_size * accumulate * processes
    share = {"rank": rank, "processes": processes}
    training, validation = tensors(images + 5, 1), tensors(VALIDATION, 2)
    sampler = EpochSampler(images + 5, 0, count=images, **share)
    schedule = build_schedule(
        preset,
        epochs=epochs,
        steps_per_epoch=STEPS,
        frozen_epochs=frozen_epochs,
        adapter_frozen_steps=adapter_frozen_steps,
        warmup_epochs=0,
        batch_norm=batch_norm,
        stem="adapter",
        base_learning_rate=0.02,
    )
    defaults: dict[str, Any] = {"kind": "binary", "fingerprint": "small"}
    return TrainingRun(
        network,
        build_loader(Dataset(training), batch_size, sampler=sampler),
        build_loader(Dataset(validation), 4, sampler=ShareSampler(VALIDATION, **share)),
        TrainingPlan(
            schedule=schedule,
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            **{**defaults, **plan},
        ),
        folder,
        device=torch.device("cpu"),
        show=False,
    )


def train_from_features(run: TrainingRun, *, memory: int = 2**30, views: int = 1) -> FeatureCache:
    """Let a run keep the features of its frozen stages, in a file where memory is too little."""
    counts = ImageCounts(len(run.train_loader.dataset), VALIDATION, views)
    values = dict.fromkeys(STAGES, 1)  # a size for the plan alone
    plan = plan_features(run.plan.schedule, counts, values, Room(memory, 2**30), value_bytes=4)
    cache = FeatureCache(
        run.network,
        plan,
        run.folder,
        device=run.device,
        autocast=AUTOCAST.get(run.plan.precision),
        accumulate=run.plan.accumulate,
    )
    run.trainer.data_loader = FeatureLoader(run.train_loader, cache)
    run.evaluator.data_loader = ValidationFeatureLoader(run.validation_loader, cache)
    cache.attach(run.trainer)
    return cache


def final_state(run: TrainingRun) -> dict[str, Any]:
    """All that must be equal where two runs are the same one, but for the speed."""
    state = torch.load(run.last, weights_only=True)
    history = [{**record, "images_per_second": 0.0} for record in state["history"]]
    display = {**state["display"], "seconds": 0.0}
    return {**state, "history": history, "display": display}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of a nested state by its path."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {prefix: value}
    return {k: v for name, inner in items for k, v in flat(inner, f"{prefix}/{name}").items()}


def differences(first: Any, second: Any) -> list[str]:
    """Paths at which two states differ by a bit."""
    a, b = flat(first), flat(second)
    return [
        path
        for path in a.keys() | b.keys()
        if path not in a
        or path not in b
        or not (
            torch.equal(a[path], b[path]) if isinstance(a[path], Tensor) else a[path] == b[path]
        )
    ]

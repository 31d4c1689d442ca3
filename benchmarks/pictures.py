"""The pictures of docs/stems_and_schedules.md, from real trainings on the sample radiographs.

    python -m benchmarks.pictures --out docs/pictures      # 2 minutes on one core

A ResNet-18 is pretrained from random weights on scanner A, since no ImageNet weights come with the
project, and then meets scanner B: through every stem, through the usual recipe as it is found
written (`usual_recipe`), and through medres. The figures are printed as well (`figures.json`).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import usual_recipe
from benchmarks.picture_pages import draw_all
from medres.data.manifest import Split, read_manifest, select_rows
from medres.data.splits import assign_splits
from medres.metrics.ranking import auroc
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGE_MODULES, STAGES
from medres.training.dataset import as_items
from medres.training.optimizer import apply_schedule, build_optimizer
from medres.training.presets import build_schedule
from medres.training.range_test import find_learning_rate
from medres.transforms.chains import build_evaluation_chain
from medres.transforms.preprocessing import Preprocessing
from medres.transforms.survey import fit_histogram

SIZE, BATCH = 48, 32
LARGE = 192
PRETRAINING_EPOCHS, EPOCHS, FROZEN_EPOCHS = 8, 6, 3
STARTS: tuple[tuple[Any, Any], ...] = (
    ("duplicate", "equal"),
    ("port", "sum"),
    ("port", "mean"),
    ("port", "luma"),
    ("port", "imagenet"),
    ("adapter", "ones"),
    ("adapter", "third"),
    ("adapter", "imagenet"),
    ("port", "bare_mean"),
    ("adapter", "bare_third"),
)
SHOWN_STARTS: tuple[tuple[Any, Any], ...] = (
    ("duplicate", "equal"),
    ("port", "sum"),
    ("adapter", "imagenet"),
    ("port", "bare_mean"),
)
LAYERS = {
    "conv1": "backbone.bn1",
    "layer1": "backbone.layer1",
    "layer2": "backbone.layer2",
    "layer3": "backbone.layer3",
    "layer4": "backbone.layer4",
    "logits": "backbone.fc",
}
"""Where activations are looked at; conv1's after its batch-norm."""


@dataclass(frozen=True)
class Images:
    """One scanner's images, read once.

    Args:
        train: images (N, 1, H, W) and labels (N, 1).
        validation: the same.
        large: (1, 1, H, W), one image in more detail.
        display: mean and standard deviation of the training pixels in [0, 1].
    """

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    large: Tensor
    display: tuple[float, float]


@dataclass
class Course:
    """What a training did, epoch by epoch; epoch 0 is before it.

    Attributes:
        moved: of each stage: the distance of its weights from where they began, relative to their
            own length.
        drifted: of each stage: the same of batch-norm's running means, in standard deviations.
        loss: on validation.
        auroc: on validation.
    """

    moved: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STAGES})
    drifted: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STAGES})
    loss: list[float] = field(default_factory=list)
    auroc: list[float] = field(default_factory=list)


def load_images(manifest: Path, scanner: str) -> Images:
    """Read, normalise and resize one scanner's images, as a training does."""
    rows = select_rows(read_manifest(manifest), (f"scanner={scanner}",))
    rows = assign_splits(rows)
    train = rows.split("train")
    histogram = fit_histogram(rows, train, intensity="display", size=SIZE, geometry="pad")
    statistics = histogram.statistics(n_patients=len({row.patient_id for row in train}))
    preprocessing = Preprocessing("display", SIZE, "pad", statistics)
    chain = build_evaluation_chain(preprocessing)

    def load(split: Split) -> tuple[Tensor, Tensor]:
        items = as_items(rows, rows.split(split))
        images = [torch.as_tensor(chain(item)["image"]).as_subclass(Tensor) for item in items]
        return torch.stack(images), torch.stack([item["label"] for item in items])

    detailed = build_evaluation_chain(dataclasses.replace(preprocessing, size=LARGE))
    large = torch.as_tensor(detailed(as_items(rows, train[:1])[0])["image"]).as_subclass(Tensor)
    return Images(
        load("train"), load("validation"), large[None], preprocessing.display_statistics()
    )


def batches(images: tuple[Tensor, Tensor], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled whole batches of an epoch; the same for every training."""
    order = torch.randperm(len(images[0]), generator=torch.Generator().manual_seed(epoch))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        yield images[0][chosen], images[1][chosen]


def pretrain(images: Images) -> dict[str, Tensor]:
    """An RGB ResNet-18's state dict, trained on the gray image in three equal channels."""
    torch.manual_seed(0)
    network = GrayscaleResNet(18, "duplicate")
    optimizer, steps = build_optimizer(network, 0.01), len(images.train[0]) // BATCH
    schedule = build_schedule("full", epochs=PRETRAINING_EPOCHS, steps_per_epoch=steps)
    train(network, optimizer, images, schedule, PRETRAINING_EPOCHS)
    return {k.removeprefix("backbone."): v for k, v in network.state_dict().items()}


def train(
    network: GrayscaleResNet,
    optimizer: torch.optim.Optimizer,
    images: Images,
    schedule: Any,
    epochs: int,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """The plain loop of the documentation."""
    loss, step = nn.BCEWithLogitsLoss(), 0
    for epoch in range(epochs):
        for image, label in batches(images.train, epoch):
            apply_schedule(network, optimizer, schedule, step)
            optimizer.zero_grad()
            loss(network.train()(image), label).backward()
            optimizer.step()
            step += 1
        after_epoch()


def run_medres(state: dict[str, Tensor], images: Images) -> Course:
    """The recipe's schedule A with medres."""
    network = load(GrayscaleResNet(18, "adapter"), state)
    give_new_head(network.backbone)
    course, look = watch(network, "", images)
    schedule = build_schedule(
        "freeze_then_finetune",
        epochs=EPOCHS,
        steps_per_epoch=len(images.train[0]) // BATCH,
        frozen_epochs=FROZEN_EPOCHS,
        stem="adapter",
    )
    optimizer = build_optimizer(network, 1e-4, name="adam")
    train(network, optimizer, images, schedule, EPOCHS, look)
    return course


def run_as_written(state: dict[str, Tensor], images: Images) -> Course:
    """The recipe as it is found written, in train mode throughout as loops usually are."""
    network = usual_recipe.build_network(state, 1)
    give_new_head(network[1])
    course, look = watch(network, "as written", images)
    loss = nn.BCEWithLogitsLoss()
    optimizer = usual_recipe.first_phase(network)
    for epoch in range(EPOCHS):
        if epoch == FROZEN_EPOCHS:
            optimizer = usual_recipe.second_phase(network)
        network.train()
        for image, label in batches(images.train, epoch):
            optimizer.zero_grad()
            loss(network(image), label).backward()
            optimizer.step()
        look()
    return course


def give_new_head(backbone: Any) -> None:
    """The same random head, whoever asks."""
    torch.manual_seed(1)
    backbone.fc = nn.Linear(backbone.fc.in_features, 1)


def watch(network: nn.Module, naming: str, images: Images) -> tuple[Course, Callable[[], None]]:
    """A course that begins now, and what to call after each epoch."""
    course, first = Course(), copy.deepcopy(network.state_dict())
    stage_of = {key: _stage(key, naming) for key in first}

    def look() -> None:
        now = network.state_dict()
        learned = dict(network.named_parameters())
        for stage in STAGES:
            keys = [key for key in first if stage_of[key] == stage]
            weights = [key for key in keys if key in learned]
            means = [key for key in keys if key.endswith("running_mean")]
            course.moved[stage].append(_distance(now, first, weights))
            course.drifted[stage].append(_drift(now, first, means))
        loss, area = judge(network, images)
        course.loss.append(loss)
        course.auroc.append(area)

    look()
    return course, look


def _stage(key: str, naming: str) -> str:
    """The stage of a tensor, in medres' network or in the recipe's."""
    if naming:
        key = "stem" + key[1:] if key.startswith("0.") else "backbone" + key[1:]
    prefixes = ((stage, prefix) for stage in STAGES for prefix in STAGE_MODULES[stage])
    return next(stage for stage, prefix in prefixes if key.startswith(f"{prefix}."))


def _distance(now: dict[str, Tensor], first: dict[str, Tensor], keys: Sequence[str]) -> float:
    moved = sum(float((now[key] - first[key]).square().sum()) for key in keys)
    length = sum(float(first[key].square().sum()) for key in keys)
    return float((moved / length) ** 0.5) if length else 0.0


def _drift(now: dict[str, Tensor], first: dict[str, Tensor], keys: Sequence[str]) -> float:
    """Root mean square over channels of a running mean's shift, in its first deviation."""
    shifts = []
    for key in keys:
        variance = first[key.replace("running_mean", "running_var")]
        shifts.append((now[key] - first[key]).square() / (variance + 1e-5))
    return float(torch.cat(shifts).mean().sqrt()) if shifts else 0.0


@torch.no_grad()
def judge(network: nn.Module, images: Images) -> tuple[float, float]:
    """Loss and AUROC on validation."""
    training = network.training
    logits = network.eval()(images.validation[0])
    network.train(training)
    label = images.validation[1]
    loss = nn.functional.binary_cross_entropy_with_logits(logits, label)
    return float(loss), auroc(label[:, 0], logits[:, 0]).value


def load(network: GrayscaleResNet, state: dict[str, Tensor]) -> GrayscaleResNet:
    """Give a network an RGB network's weights, through its stem, with a fresh head."""
    start = network.stem_start
    own = {f"backbone.{k}": v for k, v in state.items() if not k.startswith("fc.")}
    own["backbone.conv1.weight"] = start.kernels(state["conv1.weight"]).float()
    network.load_state_dict(own, strict=False)
    return network


@torch.no_grad()
def activations(
    state: dict[str, Tensor], images: Images, *, evaluate: bool
) -> dict[str, dict[str, float]]:
    """Standard deviation of each layer's output at step 0, relative to `duplicate`, by stem."""
    image, found = images.train[0][:BATCH], {}
    for stem, init in STARTS:
        network = start_network(stem, init, state, images).train(not evaluate)
        seen: dict[str, float] = {}
        for name, layer in LAYERS.items():
            network.get_submodule(layer).register_forward_hook(_keep(seen, name))
        network(image)
        found[f"{stem} {init}"] = seen
    reference = found["duplicate equal"]
    return {k: {n: v / reference[n] for n, v in seen.items()} for k, seen in found.items()}


def _keep(seen: dict[str, float], name: str) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen[name] = float(output.std())

    return hook


def start_network(
    stem: Any, init: Any, state: dict[str, Tensor], images: Images
) -> GrayscaleResNet:
    """A network before training, its head that of the pretrained one."""
    mean, std = images.display if init == "imagenet" else (None, None)
    network = GrayscaleResNet(18, stem, stem_init=init, display_mean=mean, display_std=std)
    load(network, state)
    network.load_state_dict(
        {f"backbone.fc.{name}": state[f"fc.{name}"] for name in ("weight", "bias")}, strict=False
    )
    return network


@torch.no_grad()
def feature_maps(state: dict[str, Tensor], images: Images) -> dict[str, Tensor]:
    """One radiograph, and what four stems make of it behind conv1, bn1 and its ReLU."""
    image = images.large
    maps = {"image": image[0, 0]}
    for stem, init in SHOWN_STARTS:
        network = start_network(stem, init, state, images).eval()
        backbone: Any = network.backbone
        features = backbone.relu(backbone.bn1(backbone.conv1(network.stem(image))))
        maps[f"{stem} {init}"] = features[0]
    return maps


def sweep(state: dict[str, Tensor], images: Images) -> dict[str, Any]:
    """A learning-rate range test."""
    torch.manual_seed(2)
    network = load(GrayscaleResNet(18, "adapter"), state)
    steps = len(images.train[0]) // BATCH
    schedule = build_schedule("discriminative", epochs=4, steps_per_epoch=steps, stem="adapter")
    endless = (batch for epoch in range(100) for batch in batches(images.train, epoch))
    return find_learning_rate(
        network, endless, nn.BCEWithLogitsLoss(), schedule, steps=50, low=1e-6, high=3.0
    ).as_json()


def measure(manifest: Path) -> dict[str, Any]:
    """Everything that the pictures show."""
    scanner_a, scanner_b = load_images(manifest, "A"), load_images(manifest, "B")
    print(f"pretraining on {len(scanner_a.train[0])} images of scanner A", file=sys.stderr)
    state = pretrain(scanner_a)
    typo = usual_recipe.build_network(state, 1)[1]
    as_written, ours = run_as_written(state, scanner_b), run_medres(state, scanner_b)
    return {
        "trainable_after_the_typo": usual_recipe.freeze_with_the_typo(typo),
        "tensors": len(list(typo.parameters())),
        "images": {"A": len(scanner_a.train[0]), "B": len(scanner_b.train[0])},
        "validation_b": len(scanner_b.validation[0]),
        "as_written": vars(as_written),
        "medres": vars(ours),
        "step0_eval": activations(state, scanner_b, evaluate=True),
        "step0_train": activations(state, scanner_b, evaluate=False),
        "range": sweep(state, scanner_b),
        "maps": {name: values.tolist() for name, values in feature_maps(state, scanner_b).items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--manifest", type=Path, default=Path("sample_data/manifest.csv"))
    options = parser.parse_args(argv)
    from pipelines.sample import make_sample_manifest

    make_sample_manifest(options.manifest)
    figures = measure(options.manifest)
    draw_all(figures, options.out)
    del figures["maps"]
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

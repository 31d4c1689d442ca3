"""Fold a model's stem into its first convolution, exactly or not at all.

    medres fold runs/mine/model --out runs/mine/folded

The new model takes the same images and gives the same scores, without an adapter or three equal
channels before conv1. Where ImageNet's normalisation or an adapter's bias makes one channel
inexact at the image's border, conv1 takes two: the image, and ones. Logits and conv1's output are
compared before anything is written; a model that would differ is refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medres.errors import ConfigError
from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.bundle.directory import Model
    from medres.bundle.record import ModelRecord

PROGRAM = "medres fold"


@dataclass(frozen=True)
class FoldConfig:
    """Which model, and where to.

    Attributes:
        model: a model directory, as training leaves it.
        out: a new model directory.
    """

    model: Path
    out: Path


def run(config: FoldConfig) -> ModelRecord:
    """Fold, compare and write; returns the new model's record."""
    from medres.bundle.directory import load_model, write_bundle, write_weights
    from medres.guard.storage import write_guard

    if config.out.exists():
        raise ConfigError(f"--out: {config.out} exists already; give a new folder")
    folded = fold_model(load_model(config.model))
    digest = write_weights(config.out, folded.network.state_dict())
    record = replace(folded.record, weights_sha256=digest)
    write_guard(config.out, folded.guard, digest)
    write_bundle(config.out, record, folded.seen)
    return record


def fold_model(model: Model) -> Model:
    """The same model with its stem, or those of an ensemble's members, in conv1."""
    from torch import nn

    from medres.bundle.record import NetworkRecord
    from medres.models.ensemble import ResNetEnsemble
    from medres.models.fold import fold_stem
    from medres.models.resnet import GrayscaleResNet

    network = model.network
    parts = network.members if isinstance(network, ResNetEnsemble) else [network]
    folded = [fold_stem(part) for part in parts if isinstance(part, GrayscaleResNet)]
    records = tuple(NetworkRecord(**part.arguments()) for part in folded)
    note = f"The stem ({model.record.network.stem}) was folded into conv1 after training."
    training = {**model.record.training, "notes": [*model.record.training.get("notes", ()), note]}
    record = replace(model.record, network=records[0], training=training)
    if isinstance(network, ResNetEnsemble):
        network.members = nn.ModuleList(folded)
        return replace(model, record=replace(record, members=records))
    return replace(model, record=record, network=folded[0])


def describe(config: FoldConfig) -> None:
    """Fold, and say what came out."""
    record = run(config)
    channels = "two channels, the image and ones" if record.network.display_std else "one channel"
    print(f"folded: conv1 takes {channels}\nmodel   {config.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model directory")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    config = FoldConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: describe(config))


if __name__ == "__main__":
    sys.exit(main())

"""A model of any kind by its folder, as a run takes it."""

from __future__ import annotations

from pathlib import Path

from medres.bundle.directory import load_model
from medres.bundle.zoo import is_zoo_bundle, load_zoo_bundle
from medres.scoring.scorer import OwnScorer, Scorer
from medres.scoring.zoo import ZooScorer


def load_scorer(folder: Path, *, trust: bool = False) -> Scorer:
    """A model of medres, or a bundle of others.

    Args:
        folder: of the model.
        trust: run the config of a bundle of others as code.

    Raises:
        BundleError: neither, or a damaged one.
    """
    if is_zoo_bundle(folder):
        return ZooScorer(load_zoo_bundle(folder, trust=trust))
    return OwnScorer(load_model(folder))

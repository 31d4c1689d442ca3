"""How well the guard tells other images from a model's own, and how often it is wrong.

    medres train --config pipelines/configs/kermany.yaml --data.manifest kermany.csv
    medres demo
    python -m benchmarks.guard runs/kermany runs/demo --data DATA --out docs/guard.md

For each run folder: its own test images, which took no part in fit and calibration; the same images
spoilt; and other images that lie under --data. AUROC is that of the distance, own test images
against the others, headers left aside; what is flagged is given by images alone, and with headers.
False alarms depend on who is in validation and who in test, so they are also given over 1,000
other halves of the same patients. Expect every AUROC above .99 but for left-right flips (.98).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from monai.data import Dataset
from torch import Tensor

from benchmarks.results import seen_on, show_section
from benchmarks.wrong_images import foreign, read, spoilt
from medres.bundle.directory import Model, load_model
from medres.data.manifest import Manifest, read_manifest
from medres.guard.guard import Guard, Verdict
from medres.guard.measurements import Measurements, measuring
from medres.imaging.grayscale import ImageRecord
from medres.imaging.read import read_record
from medres.metrics.intervals import wilson
from medres.metrics.ranking import auroc
from medres.training.dataset import as_items, build_loader
from medres.transforms.chains import build_evaluation_chain

BATCH = 16
HALVES = 1000
HEADING = "## What was measured"


@dataclass(frozen=True)
class Row:
    """One kind of images.

    Attributes:
        kind: in words.
        images: how many.
        auroc: of the distance, with its interval, as text.
        by_image: share flagged, headers left aside.
        by_all: share flagged, headers counted.
        reasons: the most frequent ones.
    """

    kind: str
    images: int
    auroc: str
    by_image: float
    by_all: float
    reasons: str


@torch.inference_mode()
def measure(model: Model, images: Tensor) -> Measurements:
    """What the guard looks at in images (N, 1, S, S)."""
    assert model.guard is not None
    parts = []
    with measuring(model.network, model.guard.limits) as measured:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            model.network(batch)
            parts.append(measured(batch))
    return Measurements.cat(parts)


def own_images(model: Model, manifest: Manifest, split: str) -> tuple[list[ImageRecord], Tensor]:
    """Records and network inputs of a split."""
    rows = [row for row in manifest.rows if row.split == split]
    dataset = Dataset(as_items(manifest, rows), build_evaluation_chain(model.record.preprocessing))
    images = torch.cat([batch["image"] for batch in build_loader(dataset, BATCH)])
    return [read_record(manifest.address(row), row.frame) for row in rows], images


def compare(
    guard: Guard, own: Tensor, kind: str, records: Sequence[ImageRecord], measured: Measurements
) -> Row:
    """One row: another kind of images against the distances (N,) of the model's own."""
    distances = guard.scores(measured).max(dim=1).values
    verdicts = guard.check(records, measured)
    figure = auroc(
        torch.cat([torch.zeros(len(own)), torch.ones(len(distances))]),
        torch.cat([own, distances]),
    )
    assert guard.false_alarms is not None
    reasons = Counter(verdict.reason for verdict in verdicts if verdict.flagged)
    return Row(
        kind,
        len(distances),
        f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})",
        float((distances > guard.false_alarms.threshold).double().mean()),
        _share(verdicts),
        ", ".join(name for name, _ in reasons.most_common(2)),
    )


def _share(verdicts: Sequence[Verdict]) -> float:
    return sum(verdict.flagged for verdict in verdicts) / len(verdicts)


def false_alarms_over_halves(
    guard: Guard, distances: Tensor, patients: Sequence[str], size: int
) -> Tensor:
    """(1000,) shares of images flagged where other patients calibrate and the rest is tested on."""
    assert guard.false_alarms is not None
    names = sorted(set(patients))
    place = {name: index for index, name in enumerate(names)}
    of = torch.tensor([place[patient] for patient in patients])
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(HALVES):
        chosen = torch.zeros(len(names), dtype=torch.bool)
        chosen[torch.randperm(len(names), generator=generator)[:size]] = True
        known = chosen[of]
        drawn = replace(guard.false_alarms, distances=distances[known].sort().values)
        shares.append((distances[~known] > drawn.threshold).double().mean())
    return torch.stack(shares)


def judge(run: Path, data: Path) -> str:
    """The Markdown of one run folder."""
    model, manifest = load_model(run / "model"), read_manifest(run / "manifest.csv")
    guard = model.guard
    if guard is None or guard.false_alarms is None:
        raise SystemExit(f"{run}: its model has no guard; train it with guard.fit true")
    records, images = own_images(model, manifest, "test")
    _, validation = own_images(model, manifest, "validation")
    measured = measure(model, images)
    own = guard.scores(measured).max(dim=1).values
    rows = [
        compare(guard, own, kind, records, measure(model, wrong))
        for kind, wrong in spoilt(images, guard.limits)
    ]
    for kind, sources in foreign(data):
        found, wrong = read(sources, model.record.preprocessing)
        rows.append(compare(guard, own, kind, found, measure(model, wrong)))
    both = torch.cat([guard.scores(measure(model, validation)).max(dim=1).values, own])
    patients = [r.patient_id for s in ("validation", "test") for r in manifest.rows if r.split == s]
    halves = false_alarms_over_halves(guard, both, patients, guard.false_alarms.patients)
    verdicts = guard.check(records, measured)
    return format_run(model, len(set(patients)), verdicts, halves, rows)


def format_run(
    model: Model, patients: int, verdicts: Sequence[Verdict], halves: Tensor, rows: Sequence[Row]
) -> str:
    """One run as Markdown."""
    assert model.guard is not None
    assert model.guard.false_alarms is not None
    alarms, record = model.guard.false_alarms, model.record
    flagged = sum(verdict.flagged for verdict in verdicts)
    bounds = wilson(flagged, len(verdicts))
    low, middle, high = halves.quantile(torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64))
    sentences = (
        f"Asked for {alarms.asked:.1%} false alarms, promised {alarms.promised:.1%} by "
        f"{len(alarms.distances)} validation images. Of {len(verdicts)} test images {flagged} were "
        f"flagged: {flagged / len(verdicts):.1%} (Wilson {bounds.low:.1%}–{bounds.high:.1%}). Over "
        f"{HALVES} other halves of the {patients} patients of validation and test: mean "
        f"{float(halves.mean()):.2%}, median {float(middle):.1%}, 95 % of them "
        f"{float(low):.1%}–{float(high):.1%}."
    )
    table = "\n".join(
        f"| {r.kind} | {r.images} | {r.auroc} | {r.by_image:.1%} | {r.by_all:.1%} | {r.reasons} |"
        for r in rows
    )
    return f"""### {", ".join(record.findings)}: ResNet-{record.network.depth}, \
{record.preprocessing.size} pixels, from {record.training["initial_weights"]}

{sentences}

| images | n | AUROC of the distance | flagged by image | with header | reasons |
|---|---|---|---|---|---|
{table}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--out", type=Path, help="Markdown file to put the section into")
    options = parser.parse_args(argv)
    parts = [judge(run, options.data) for run in options.runs]
    section = "\n".join(
        [
            HEADING,
            "",
            f"`python -m benchmarks.guard`, {seen_on(('medres', 'torch', 'monai'))}",
            "",
            *parts,
        ]
    )
    show_section(section, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

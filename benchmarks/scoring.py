"""Scoring an archive end to end: medres against MONAI's usual script, and against its own parts.

    python -m benchmarks.scoring                               # some minutes on two idle cores
    python -m benchmarks.scoring --out benchmarks/RESULTS.md
    python -m benchmarks.scoring --memory --out benchmarks/RESULTS.md   # 400 and 40,000 images

Radiographs of 2048 x 2048 pixels, 12 bits, uncompressed, and a ResNet-18 at 224 x 224. The usual
script is `LoadImaged`, `ScaleIntensityRanged`, `Resized` in a `DataLoader`, whichever number of
workers is best for it, and the network in a loop. medres does all of `medres score`: headers, plan,
journal, tables. All take turns in one process. Expect medres at 3 times the script
in fp32 and at more than 4 in bf16, and at .8 of what reading alone and the network alone, one after
the other, would allow.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.reading import BITS, SIZE, radiograph_pixels, write_radiograph
from benchmarks.results import seen_on, show_section

if TYPE_CHECKING:
    from medres.bundle.directory import Model

IMAGES, ROUNDS, BATCH = 768, 3, 16
USUAL_IMAGES = 96  # for the script, which has less of a start
FILES = 24  # of different pictures, 200 MB; the others are links to them
WORKERS = (0, 1, 2)
PACKAGES = ("medres", "monai", "torch", "pydicom")
MEMORY_COUNTS, SMALL_SIDE = (400, 40_000), 32
USUAL = "MONAI, {} workers"


def build_model(folder: Path, size: int) -> Path:
    """A model directory of random weights."""
    from dataclasses import replace

    from medres.bundle.directory import build_network, write_bundle, write_weights
    from medres.bundle.record import ModelRecord, NetworkRecord
    from medres.bundle.seen import SeenCases
    from medres.data.labels import LabelSchema
    from medres.data.normalization import IntensityStatistics
    from medres.transforms.preprocessing import Preprocessing

    statistics_ = IntensityStatistics(0.0, 1.0, 0.5, 0.25, (0.1, 99.9), 10, 5, 1000)
    record = ModelRecord(
        network=NetworkRecord(18, "port", 1),
        labels=LabelSchema("binary", ("finding",), ("label",)),
        preprocessing=Preprocessing("display", size, "pad", statistics_),
        unit="study",
        thresholds={},
        weights_sha256="",
        training={"initial_weights": "random weights", "splits": {}, "notes": []},
        provenance={"medres": "0", "packages": {}},
    )
    sha256 = write_weights(folder, build_network(record).state_dict())
    record = replace(record, weights_sha256=sha256)
    write_bundle(folder, record, SeenCases(frozenset(), frozenset()))
    return folder


def score_with_medres(model: Model, archive: Path, precision: str) -> None:
    """All of `medres score` but the imports."""
    from medres.data.pseudonyms import Keys
    from medres.scoring.run import Settings, open_run

    settings = Settings(batch_size=BATCH, precision=precision)  # type: ignore[arg-type]
    with (
        tempfile.TemporaryDirectory() as out,
        open_run(Path(out), [archive], model, settings, Keys(b"secret")) as run,
    ):
        run.look()
        for _ in run.score():
            pass
        run.write(Path(out))


def read_alone(model: Model, archive: Path) -> None:
    """Files to network inputs, by the readers that medres has."""
    from medres.imaging.isolated import IsolatedReader
    from medres.imaging.reader_pool import ReaderPool
    from medres.imaging.reader_protocol import ReadRequest
    from medres.imaging.resampling import Fit

    preprocessing = model.record.preprocessing
    fit = Fit(preprocessing.size, preprocessing.geometry)
    requests = (
        (path, ReadRequest(str(path), intensity=preprocessing.intensity, fit=fit))
        for path in sorted(archive.iterdir())
    )
    with ReaderPool() as readers:
        for _ in readers.read_as_done(IsolatedReader.read_input, requests, ahead=2 * BATCH):
            pass


def compute_alone(model: Model, precision: str) -> None:
    """The network on inputs that are there already, as medres runs it."""
    from dataclasses import replace

    import torch

    from medres.models.folded_norm import fold_batch_norm
    from medres.scoring.predictor import Predictor
    from medres.scoring.streams import Streams

    predictor = replace(
        Predictor.of_model(model, torch.device("cpu")),
        network=fold_batch_norm(model.network),
        precision=precision,  # type: ignore[arg-type]
    )
    batch = torch.randn(BATCH, 1, SIZE, SIZE)
    for _ in Streams(predictor).map(Predictor.score_batch, [batch] * (IMAGES // BATCH)):
        pass


def score_with_monai(model: Model, archive: Path, workers: int) -> None:
    """The usual script."""
    import torch
    from monai.data import DataLoader, Dataset, PydicomReader
    from monai.transforms import Compose, LoadImaged, Resized, ScaleIntensityRanged

    chain = Compose(
        [
            LoadImaged("image", PydicomReader(), ensure_channel_first=True),
            ScaleIntensityRanged("image", 0, 2**BITS - 1, 0.0, 1.0, clip=True),
            Resized("image", (SIZE, SIZE)),
        ]
    )
    items = [{"image": str(path)} for path in sorted(archive.iterdir())[:USUAL_IMAGES]]
    loader = DataLoader(Dataset(items, chain), batch_size=BATCH, num_workers=workers)
    with torch.inference_mode():
        for batch in loader:
            model.network(batch["image"].as_tensor()).sigmoid()


def measure(model: Model, archive: Path) -> dict[str, float]:
    """Median seconds an image of each, all in turns."""
    contestants: dict[str, Callable[[], None]] = {
        "medres, fp32": lambda: score_with_medres(model, archive, "fp32"),
        "medres, bf16": lambda: score_with_medres(model, archive, "bf16"),
        "reading alone": lambda: read_alone(model, archive),
        "network alone, fp32": lambda: compute_alone(model, "fp32"),
        "network alone, bf16": lambda: compute_alone(model, "bf16"),
        **{
            USUAL.format(count): lambda count=count: score_with_monai(model, archive, count)  # type: ignore[misc]
            for count in WORKERS
        },
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            images = USUAL_IMAGES if name.startswith("MONAI") else IMAGES
            seconds[name].append((time.perf_counter() - start) / images)
    return {name: statistics.median(values) for name, values in seconds.items()}


def first_result(model: Model, archive: Path) -> float:
    """Seconds from the start of a run, imports done, to the first batch that is on the disk."""
    from medres.data.pseudonyms import Keys
    from medres.scoring.run import Settings, open_run

    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as out,
        open_run(Path(out), [archive], model, Settings(), Keys(b"secret")) as run,
    ):
        run.look()
        run.plan()
        next(run.score())
    return time.perf_counter() - start


def as_section(seconds: Mapping[str, float], first: float) -> str:
    """Markdown for RESULTS.md."""
    import torch

    threads = torch.get_num_threads()
    usual = min(value for name, value in seconds.items() if name.startswith("MONAI"))
    lines = ["| | images/s | times MONAI's best | of its bound |", "|---|---|---|---|"]
    for name, value in seconds.items():
        share = ""
        if name.startswith("medres"):
            network = seconds[f"network alone, {name[-4:]}"]
            share = f"{(seconds['reading alone'] + network) / value:.2f}"
        lines.append(f"| {name} | {1 / value:.1f} | {usual / value:.2f} | {share} |")
    return (
        "## Scoring an archive\n\n"
        f"`python -m benchmarks.scoring`: {IMAGES} radiographs of 2048 x 2048, ResNet-18 at {SIZE}"
        f",\nmedians of {ROUNDS} turns. The bound is reading alone and the network alone, one "
        f"after the other.\nFirst batch on the disk after {first:.1f} s. Threads of the network: "
        f"{threads}.\n{seen_on(PACKAGES, threads=threads)}\n\n" + "\n".join(lines) + "\n"
    )


def measure_memory(folder: Path) -> dict[int, dict[str, float]]:
    """Peak memory of `medres score` on so many small pictures, in a process of its own each."""
    from PIL import Image

    model = build_model(folder / "model", SMALL_SIDE)
    found = {}
    for count in MEMORY_COUNTS:
        archive = folder / str(count)
        archive.mkdir()
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, (28, 28)).astype(np.uint8)
            Image.fromarray(pixels).save(archive / f"{number:05}.png")
        program = [sys.executable, "-m", "benchmarks.scoring", "--one", str(archive), str(model)]
        printed = subprocess.run(program, check=True, capture_output=True, text=True).stdout
        found[count] = json.loads(printed.splitlines()[-1])
    return found


def score_one(archive: Path, model: Path) -> None:
    """Score one archive and print the peak memory of this process, in MB."""
    import resource

    from medres.bundle.directory import load_model

    start = time.perf_counter()
    score_with_medres(load_model(model), archive, "fp32")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux has kilobytes
    print(json.dumps({"process": peak, "seconds": seconds}))


def memory_section(found: Mapping[int, Mapping[str, float]]) -> str:
    """Markdown for RESULTS.md."""
    lines = ["| images | peak of the process, MB | s |", "|---|---|---|"]
    lines += [f"| {n} | {m['process']:.0f} | {m['seconds']:.0f} |" for n, m in found.items()]
    few, many = (found[count]["process"] for count in MEMORY_COUNTS)
    return (
        "## Memory of scoring\n\n"
        f"`python -m benchmarks.scoring --memory`: pictures of 28 x 28, ResNet-18 at {SMALL_SIDE}; "
        f"{many / few:.2f} times the memory\nfor {MEMORY_COUNTS[1] // MEMORY_COUNTS[0]} times the "
        f"images.\n{seen_on(PACKAGES)}\n\n" + "\n".join(lines) + "\n"
    )


def run(options: argparse.Namespace) -> str:
    """Measure; returns the section."""
    from medres.bundle.directory import load_model

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.memory:
            return memory_section(measure_memory(folder))
        model = load_model(build_model(folder / "model", SIZE))
        archive = folder / "archive"
        archive.mkdir()
        for number in range(IMAGES):
            path = archive / f"{number:03}.dcm"
            if number < FILES:
                write_radiograph(path, radiograph_pixels(number))
            else:
                path.hardlink_to(archive / f"{number % FILES:03}.dcm")
        first = first_result(model, archive)
        return as_section(measure(model, archive), first)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="RESULTS.md, whose section is replaced")
    parser.add_argument("--memory", action="store_true", help="measure memory in place of speed")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    if options.one:
        score_one(*options.one)
        return 0
    section: Any = run(options)
    show_section(section, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

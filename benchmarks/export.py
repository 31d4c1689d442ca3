"""How large and how fast are exported files? One image at a time, all of them in turns.

    python -m benchmarks.export                                # prints the table
    python -m benchmarks.export --out benchmarks/RESULTS.md    # and puts it into a file

A ResNet-18 at 224, from random weights with statistics of what passes through it, since neither
size nor time depends on the weights. Each turn runs every file once on the same image, in one
process and one thread, so that whatever else the machine does burdens all alike. How far a file may
be from its model is for `medres export` to judge, on real images.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.results import seen_on, show_section
from medres.bundle.directory import Model, build_network
from medres.bundle.record import ModelRecord, NetworkRecord
from medres.bundle.seen import SeenCases
from medres.data.labels import LabelSchema
from medres.data.normalization import IntensityStatistics
from medres.export.folder import file_parts, score_reference
from medres.export.formats import (
    Artifact,
    asked_artifacts,
    write_onnx,
    write_openvino,
    write_quantized,
    write_torch_export,
)
from medres.export.program import trace_program
from medres.export.runtimes import Pixels, open_runs
from medres.export.vectors import draw_images
from medres.transforms.preprocessing import Preprocessing

PACKAGES = ("medres", "torch", "onnxruntime", "openvino")
EAGER = "medres (PyTorch, eager)"


def random_model(depth: int, size: int) -> Model:
    """A model with random weights and the running statistics that drawn images leave."""
    torch.manual_seed(0)
    statistics_ = IntensityStatistics(0.0, 1.0, 0.5, 0.25, (0.1, 99.9), 1, 1, 1)
    record = ModelRecord(
        network=NetworkRecord(depth, "port", 1),  # type: ignore[arg-type]
        labels=LabelSchema("binary", ("finding",), ("label",)),
        preprocessing=Preprocessing("display", size, "pad", statistics_),
        unit="image",
        thresholds={},
        weights_sha256="",
        training={},
        provenance={},
    )
    network = build_network(record)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average
    with torch.no_grad():
        network.train()((torch.from_numpy(draw_images(record.preprocessing)) - 0.5) / 0.25)
    return Model(record, network.eval(), SeenCases(frozenset(), frozenset()), Path())


def write_all(folder: Path, model: Model) -> dict[str, Artifact]:
    """Every file, by its name."""
    program, onnx, eight = trace_program(model), folder / "model.onnx", folder / "model_int8.onnx"
    images = draw_images(model.record.preprocessing)
    write_torch_export(folder / "model.pt2", program)
    write_torch_export(folder / "model_bf16.pt2", trace_program(model, "bf16"))
    write_onnx(onnx, program)
    write_quantized(eight, onnx, [image[None] for image in images])
    write_openvino(folder / "model.xml", onnx)
    write_openvino(folder / "model_int8.xml", eight)
    files = asked_artifacts(("torch-export", "onnx", "openvino"), bf16=True, int8=True)
    return {artifact.file: artifact for artifact in files}


def measure(
    ways: dict[str, Callable[[Pixels], object]], image: Pixels, turns: int
) -> dict[str, list[float]]:
    """Milliseconds of every way, each turn one after the other; the first three turns warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 3):
        for name, run in ways.items():
            start = time.perf_counter()
            run(image)
            if turn >= 3:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def report(times: dict[str, list[float]], sizes: dict[str, float], setting: str) -> str:
    """A section of RESULTS.md."""
    base = statistics.median(times[EAGER])
    rows = []
    for name, own in times.items():
        median = statistics.median(own)
        size = f"{sizes[name]:.1f}" if name in sizes else ""
        rows.append(f"| {name} | {size} | {median:.1f} | {min(own):.1f} | {base / median:.1f} |")
    return "\n".join(
        [
            "## Exported files",
            "",
            "    python -m benchmarks.export --out benchmarks/RESULTS.md",
            "",
            setting,
            "",
            "| file, computed in | MB | median, ms | fastest, ms | times as fast as eager |",
            "|---|--:|--:|--:|--:|",
            *rows,
            "",
            seen_on(PACKAGES, threads=1),
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="put the table into this file too")
    parser.add_argument("--depth", type=int, default=18, help="of the ResNet (default 18)")
    parser.add_argument("--size", type=int, default=224, help="of its input (default 224)")
    parser.add_argument("--turns", type=int, default=50, help="(default 50)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = random_model(arguments.depth, arguments.size)
    ways: dict[str, Callable[[Pixels], object]] = {
        EAGER: lambda image: score_reference(model, image)
    }
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, artifact in write_all(folder, model).items():
            size = sum((folder / part).stat().st_size for part in file_parts(artifact)) / 1e6
            for precision, run in open_runs(folder, artifact, threads=1).items():
                ways[f"`{file}`, {precision}"] = run
                sizes[f"`{file}`, {precision}"] = size
        image = draw_images(model.record.preprocessing)[3:4]
        times = measure(ways, np.ascontiguousarray(image), arguments.turns)
    setting = (
        f"ResNet-{arguments.depth}, one image of {arguments.size} x {arguments.size} at a time, "
        f"{arguments.turns} turns, one process and\none thread; in each turn every file runs once."
    )
    text = report(times, sizes, setting)
    show_section(text, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run an exported file as its users will."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from medres.export.formats import Artifact, require
from medres.export.program import INPUT, Precision

Pixels: TypeAlias = NDArray[np.float32]
Run = Callable[[Pixels], Pixels]
"""Probabilities (B, F) of images (B, 1, S, S)."""


def open_runs(folder: Path, artifact: Artifact, threads: int | None = None) -> dict[Precision, Run]:
    """Every way in which a file may compute on this machine's CPU, by its precision.

    OpenVINO computes a float32 file in bfloat16 where the CPU can, unless it is told otherwise: so
    both ways are run.

    Args:
        folder: that the file lies in.
        artifact: which file.
        threads: to compute with; None takes the runtime's default. torch takes the process' own.
    """
    path = folder / artifact.file
    if artifact.format == "torch-export":
        return {artifact.precision: run_torch_export(path)}
    if artifact.format == "onnx":
        return {artifact.precision: run_onnx(path, threads)}
    if artifact.precision == "int8":
        return {"int8": run_openvino(path, threads=threads)}
    runs: dict[Precision, Run] = {"fp32": run_openvino(path, "f32", threads)}
    if "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        runs["bf16"] = run_openvino(path, "bf16", threads)
    return runs


def run_torch_export(path: Path) -> Run:
    """A `.pt2` file in this process."""
    program = torch.export.load(path).module()

    def run(images: Pixels) -> Pixels:
        with torch.inference_mode():
            found: Pixels = program(torch.from_numpy(images)).numpy()
        return found

    return run


def run_onnx(path: Path, threads: int | None = None) -> Run:
    """An ONNX file in onnxruntime on the CPU."""
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Pixels) -> Pixels:
        found: Pixels = session.run(None, {INPUT: images})[0]
        return found

    return run


@functools.cache
def openvino_core() -> Any:
    """OpenVINO's `Core`, one a process.

    Each puts signals on a stack of its own, and on its end gives back the one that it found. Of two
    that end in the order in which they began, the second gives back the first's, which is gone: the
    next signal (an interrupt, the end of a child) would end the process with SIGSEGV.
    """
    return require("openvino").Core()


def run_openvino(path: Path, precision: str | None = None, threads: int | None = None) -> Run:
    """An OpenVINO (or ONNX) file in OpenVINO on the CPU.

    Args:
        path: `.xml`.
        precision: f32 or bf16; None leaves it to OpenVINO.
        threads: to compute with; None leaves it to OpenVINO.
    """
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino_core().compile_model(path, "CPU", settings)

    def run(images: Pixels) -> Pixels:
        return np.array(compiled(images)[0])  # a copy: the next call writes into the same memory

    return run

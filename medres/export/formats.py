"""Write a program as a file of each format."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from medres.contained import quiet_logs, same_search_path
from medres.errors import ConfigError, MissingDependencyError
from medres.export.program import INPUT, OUTPUT, Precision

Format = Literal["torch-export", "onnx", "openvino"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {"torch-export": ".pt2", "onnx": ".onnx", "openvino": ".xml"}
EXTRAS: dict[str, str] = {
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "openvino": "openvino",
}
"""The extra of medres that brings a package."""


@dataclass(frozen=True)
class Artifact:
    """One file to write.

    Attributes:
        format: of the file.
        precision: fp32; bf16 for torch-export; int8 for onnx and openvino.
    """

    format: Format
    precision: Precision = "fp32"

    @property
    def file(self) -> str:
        """Its name; an OpenVINO file has its weights beside it, in `.bin`."""
        stem = "model" if self.precision == "fp32" else f"model_{self.precision}"
        return stem + SUFFIXES[self.format]


def asked_artifacts(
    formats: Sequence[str], *, bf16: bool = False, int8: bool = False
) -> tuple[Artifact, ...]:
    """The files that a choice of formats and precisions stands for.

    Args:
        formats: some of `FORMATS`.
        bf16: a torch.export program in bfloat16 too.
        int8: an 8-bit file too, of each of onnx and openvino that is asked for.

    Raises:
        ConfigError: an unknown format, none, or a precision that none of them has.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(
            f"formats: {', '.join(map(repr, unknown)) or 'none'} given; give some of "
            f"{', '.join(FORMATS)}"
        )
    chosen = [known for known in FORMATS if known in formats]
    eight = [known for known in chosen if known != "torch-export"]
    if bf16 and "torch-export" not in chosen:
        raise ConfigError("bf16: is written as a torch.export program; add torch-export to formats")
    if int8 and not eight:
        raise ConfigError("int8: is written as onnx or openvino; add one to formats")
    return (
        *(Artifact(known) for known in chosen),
        *((Artifact("torch-export", "bf16"),) if bf16 else ()),
        *(Artifact(known, "int8") for known in eight if int8),
    )


def require(package: str) -> Any:
    """Import an optional package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"export: needs the package {package}, which is not installed; "
            f'install it with: pip install "medres[{EXTRAS[package]}]"'
        ) from error


def write_torch_export(path: Path, program: ExportedProgram) -> None:
    """Write a `.pt2` file, which `torch.export.load` reads."""
    torch.export.save(program, path)


def write_onnx(path: Path, program: ExportedProgram) -> None:
    """Write one ONNX file, its weights inside."""
    require("onnx")
    require("onnxscript")
    with quiet_logs():
        exported: Any = torch.onnx.export(
            program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
        )
        exported.save(path, external_data=False)


def write_quantized(path: Path, source: Path, images: Sequence[NDArray[np.float32]]) -> None:
    """Write an ONNX file most of whose convolutions compute in 8 bits.

    Weights in signed 8 bits a channel, activations in unsigned 8 bits with the range that they
    have on the images; as QuantizeLinear and DequantizeLinear, which OpenVINO reads too. What is
    larger than an eighth of the image, conv1 and layer1, and the sums between blocks and the head
    stay in float32: 1.4 % of a ResNet-18's weights, and half of the error (docs/export.md).

    Args:
        path: to write.
        source: the same program in float32, ONNX.
        images: (1, 1, S, S) each, validation images as the program takes them.
    """
    require("onnxruntime")
    with same_search_path():
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):
        """Hands out one image after the other."""

        def __init__(self) -> None:
            self.left: Iterator[NDArray[np.float32]] = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self.left, None)
            return None if image is None else {INPUT: image}

    with quiet_logs(), tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(path),
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_large_convolutions(prepared),
        )


def _large_convolutions(path: Path) -> list[str]:
    """Names of the convolutions whose output is larger than an eighth of the image."""
    graph = require("onnx").load(path).graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info)
    }
    size = shapes[INPUT][2]
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return [node.name for node in convolutions if 8 * shapes[node.output[0]][2] > size]


def write_openvino(path: Path, source: Path) -> None:
    """Write an OpenVINO file, `.xml` with its `.bin`, from an ONNX file; float32 stays float32."""
    openvino = require("openvino")
    openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=False)

"""What goes into an exported program and what comes out: `contract.json`, and a page for people."""

from __future__ import annotations

from typing import Any

from medres.bundle.directory import Model
from medres.export.formats import Artifact
from medres.export.program import INPUT, OUTPUT
from medres.transforms.preprocessing import Preprocessing

SCHEMA = "medres.export/1"

UNITS = {
    "display": (
        "as a workstation displays the image: modality LUT or rescale, then window or VOI LUT, "
        "MONOCHROME1 inverted; 0 is black, 1 is white; an 8-bit gray picture divided by 255"
    ),
    "modality": (
        "modality units: stored values after the modality LUT or rescale, without a window "
        "(Hounsfield units for CT)"
    ),
}
PLACED = {
    "pad": (
        "resized so that the longer side is S, both sides rounded; put in the middle of the "
        "square, (S - side) // 2 rows above and columns to the left; the rest is fill"
    ),
    "crop": (
        "resized so that the shorter side is S, both sides rounded; what lies outside the square "
        "in the middle, from (side - S + 1) // 2 on, is cut off"
    ),
    "squash": "resized to S × S, whatever the aspect ratio",
}


def input_contract(preprocessing: Preprocessing) -> dict[str, Any]:
    """The program's input, as JSON values."""
    statistics = preprocessing.statistics
    return {
        "name": INPUT,
        "dtype": "float32",
        "shape": ["batch", 1, preprocessing.size, preprocessing.size],
        "axes": ["image", "channel", "row", "column"],
        "intensity": preprocessing.intensity,
        "units": UNITS.get(preprocessing.intensity, "by modality: display or modality units"),
        "value_range": [0.0, 1.0] if preprocessing.intensity == "display" else None,
        "geometry": {
            "name": preprocessing.geometry,
            "placed": PLACED[preprocessing.geometry],
            "resampling": "bilinear, averaging where it shrinks (a triangle as wide as the step)",
            "fill": statistics.low,
        },
        "normalised_inside": {
            "clip": [statistics.low, statistics.high],
            "subtract": statistics.mean,
            "divide_by": statistics.std,
        },
    }


def output_contract(model: Model) -> dict[str, Any]:
    """The program's output, as JSON values."""
    record = model.record
    temperature = record.calibration.temperature
    return {
        "name": OUTPUT,
        "dtype": "float32",
        "shape": ["batch", len(record.findings)],
        "value_range": [0.0, 1.0],
        "findings": list(record.findings),
        "kind": record.kind,
        "activation": "softmax" if record.kind == "multiclass" else "sigmoid",
        "temperature_inside": None if temperature is None else list(temperature.values),
        "thresholds": {name: t.as_json() for name, t in record.thresholds.items()},
        "positive": "probability >= threshold",
        **_bands(model),
        "threshold_unit": record.unit,
    }


def _bands(model: Model) -> dict[str, Any]:
    """The model's indeterminate bands, where it has some."""
    bands = {name: band.as_json() for name, band in model.record.bands.items()}
    if not bands:
        return {}
    return {"bands": bands, "indeterminate": "lower <= probability < upper"}


def readme(contract: dict[str, Any], artifacts: list[Artifact]) -> str:
    """The same for people, with code that runs where medres is not installed."""
    given, result, model = contract["input"], contract["output"], contract["model"]
    size, geometry = given["shape"][2], given["geometry"]
    low, high = given["normalised_inside"]["clip"]
    thresholds = "\n".join(
        f"| {name} | {t['value']:.6g} | {t['rule']} |" for name, t in result["thresholds"].items()
    )
    return f"""# {", ".join(result["findings"])}: an exported classifier

**For research only; not a medical device.** Written by medres {contract["medres"]} from the model
with weights `{model["weights_sha256"][:16]}` and preprocessing `{model["preprocessing"][:16]}`.
The same as JSON: `contract.json`.

## Files
Each was run before it was accepted, and its probabilities compared with the model's.

| file | computed in | on | images | largest difference | largest AUROC change |
|---|---|---|---|---|---|
{_files(contract)}

## Input: `{INPUT}`
float32, (B, 1, {size}, {size}), any B from 1 on; rows before columns. **Not normalised**: the
program clips to [{low:.6g}, {high:.6g}], subtracts the mean and divides by the standard deviation
itself.

- Values: {given["units"]}.
- Geometry `{geometry["name"]}`, S = {size}: {geometry["placed"]}. Fill: {geometry["fill"]:.6g}.
- Resampling: {geometry["resampling"]}.

```python
{_fit_code(given)}
```

`medres show FILE --intensity {given["intensity"]} --out pixels.npy` writes such pixels of a DICOM,
NIfTI or picture file.

## Output: `{OUTPUT}`
float32, (B, {len(result["findings"])}), {_described(result)}. In order:
{", ".join(result["findings"])}.

| finding | positive from | chosen as |
|---|---|---|
{thresholds}
{_band_table(result)}
A case is one {result["threshold_unit"]}: of several images the mean is taken for a study, of
several studies the maximum for a patient.

## Run it
{_run_code(artifacts)}
## Check it
`parity.npz` holds drawn images and what the model says of them, and a picture with its square:

```python
vectors = np.load("parity.npz")
assert np.abs(run(vectors["image"]) - vectors["probabilities"]).max() <= 1e-4  # a float32 file
assert np.abs(fit(vectors["picture"]) - vectors["picture_square"]).max() <= 1e-5 * {high - low:.6g}
```
"""


def _band_table(result: dict[str, Any]) -> str:
    if "bands" not in result:
        return ""
    rows = "\n".join(
        f"| {name} | {b['lower']['value']:.6g} | {b['upper']['value']:.6g} | {b['lower']['rule']}; "
        f"{b['upper']['rule']} |"
        for name, b in result["bands"].items()
    )
    return f"""
With the model's band there are three decisions instead: negative below, indeterminate within,
positive from its upper end on.

| finding | indeterminate from | to below | chosen as |
|---|---|---|---|
{rows}
"""


def _files(contract: dict[str, Any]) -> str:
    rows = []
    for file in contract["files"]:
        for run in file["runs"]:
            changes = [abs(a["model"] - a["file"]) for a in run["auroc"].values()]
            rows.append(
                f"| `{file['file']}` ({file['bytes'] / 1e6:.1f} MB) | {run['precision']} "
                f"| {run['images_from']} | {run['images']} | {run['largest_difference']:.1e} "
                f"| {f'{max(changes):.5f}' if changes else 'not measured'} |"
            )
    return "\n".join(rows)


def _described(result: dict[str, Any]) -> str:
    activation = "softmax over the classes" if result["kind"] == "multiclass" else "sigmoid each"
    tempered = result["temperature_inside"]
    inside = f"temperature {', '.join(f'{t:.4g}' for t in tempered)} inside" if tempered else ""
    return f"calibrated probabilities ({activation}{', ' + inside if inside else ''})"


def _fit_code(given: dict[str, Any]) -> str:
    """Python that brings pixels (H, W) to the program's input, with NumPy and Pillow alone."""
    size, name = given["shape"][2], given["geometry"]["name"]
    side = {"pad": "max", "crop": "min"}.get(name)
    rows = (
        f"rows = columns = {size}"
        if side is None
        else f"scale = {size} / {side}(pixels.shape)\n"
        "    rows, columns = (max(1, round(side * scale)) for side in pixels.shape)"
    )
    return f'''import numpy as np
from PIL import Image


def fit(pixels):
    """(H, W) float32 to (1, 1, {size}, {size})."""
    {rows}
    resized = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR)
    square = np.full(({size}, {size}), {given["geometry"]["fill"]!r}, np.float32)
    top, left = ({size} - rows) // 2, ({size} - columns) // 2
    inside = np.asarray(resized)[max(0, -top) :, max(0, -left) :][:{size}, :{size}]
    bottom, right = max(0, top) + inside.shape[0], max(0, left) + inside.shape[1]
    square[max(0, top) : bottom, max(0, left) : right] = inside
    return square[None, None]'''


RUN_CODE = {
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("{file}")
run = lambda square: session.run(None, {{"image": square}})[0]""",
    "torch-export": """import torch

program = torch.export.load("{file}").module()
run = lambda square: program(torch.from_numpy(square)).numpy()""",
    "openvino": """import openvino

# Without the hint OpenVINO computes in bfloat16 where the CPU can.
compiled = openvino.Core().compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
run = lambda square: compiled(square)[0]""",
}


def _run_code(artifacts: list[Artifact]) -> str:
    blocks = [
        f"```python\n{RUN_CODE[artifact.format].format(file=artifact.file)}\n"
        'probabilities = run(fit(np.load("pixels.npy")))\n```\n'
        for artifact in artifacts
        if artifact.precision == "fp32"
    ]
    others = [f"`{a.file}`" for a in artifacts if a.precision != "fp32"]
    return "\n".join(blocks) + (f"\nIn the same way: {', '.join(others)}.\n" if others else "")

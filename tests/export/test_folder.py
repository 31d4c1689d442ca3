"""A whole export: files that agree with their model and run where medres, or torch, is not."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medres.bundle.directory import Model
from medres.data.manifest import Manifest
from medres.errors import ConfigError, ExportError, MissingDependencyError
from medres.export import folder as export_folder
from medres.export.contract import input_contract, output_contract, readme
from medres.export.folder import export_model, score_reference, select_images
from medres.export.formats import Artifact, asked_artifacts
from medres.export.runtimes import Pixels, Run, open_runs
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.scoring.predictor import Predictor

EVERYTHING = asked_artifacts(("onnx", "torch-export", "openvino"), bf16=True, int8=True)
FLOAT32 = asked_artifacts(("onnx", "torch-export"))


@pytest.fixture(scope="module")
def exported(
    probed: Model, split_pictures: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("export") / "all"
    export_model(probed, out, EVERYTHING, select_images(split_pictures))
    return out


def contract_of(folder: Path) -> dict:
    return json.loads((folder / "contract.json").read_text())


def test_an_export_holds_every_file_and_what_it_was_compared_on(exported: Path) -> None:
    files = contract_of(exported)["files"]
    assert [file["file"] for file in files] == [
        "model.pt2",
        "model.onnx",
        "model.xml",
        "model_bf16.pt2",
        "model_int8.onnx",
        "model_int8.xml",
    ]
    assert {path.name for path in exported.iterdir()} == {
        *(file["file"] for file in files),
        *("model.bin", "model_int8.bin", "parity.npz", "README.md", "contract.json"),
    }
    for file in files:
        assert [way["precision"] for way in file["runs"]][-1] in ("fp32", "bf16", "int8")
        for way in file["runs"]:
            assert way["largest_difference"] <= way["limit"]
            if way["images_from"] == "test":
                assert way["images"] == 16
                assert way["auroc"].keys() == {"opacity"}
    sizes = {file["file"]: file["bytes"] for file in files}
    assert sizes["model_bf16.pt2"] < 0.55 * sizes["model.pt2"]
    assert sizes["model_int8.onnx"] < 0.3 * sizes["model.onnx"]
    assert sizes["model_int8.xml"] < 0.3 * sizes["model.xml"]
    # Where onnxruntime looks for modules called `metrics` or `models`, nobody else shall.
    assert not [path for path in sys.path if path.endswith("transformers")]


def test_the_contract_says_what_goes_in_and_comes_out(exported: Path) -> None:
    contract = contract_of(exported)
    given, result = contract["input"], contract["output"]
    assert given["shape"] == ["batch", 1, 64, 64]
    assert given["value_range"] == [0, 1]
    assert given["geometry"]["name"] == "pad"
    assert given["normalised_inside"] == {"clip": [0, 1], "subtract": 0.4, "divide_by": 0.2}
    assert result["findings"] == ["opacity"]
    assert result["temperature_inside"] == [2]
    assert result["thresholds"]["opacity"]["value"] == 0.25
    assert contract["intended_use"] == "research only; not a medical device"
    assert "bands" not in result


def test_the_contract_and_its_page_carry_a_band(probed: Model) -> None:
    band = Band(Threshold(0.125, "low on validation", 30), Threshold(0.625, "high on it", 30))
    record = replace(probed.record, bands={"opacity": band})
    result = output_contract(replace(probed, record=record))
    assert result["bands"] == {"opacity": band.as_json()}
    assert result["indeterminate"] == "lower <= probability < upper"
    contract = {
        "medres": "0",
        "input": input_contract(probed.record.preprocessing),
        "output": result,
        "model": {"weights_sha256": "ab" * 32, "preprocessing": "cd" * 32},
        "files": [],
    }
    page = readme(contract, [])
    assert "| opacity | 0.125 | 0.625 | low on validation; high on it |" in page
    del result["bands"]
    assert "indeterminate" not in readme(contract, [])


def test_the_reference_is_what_medres_scores(probed: Model, exported: Path) -> None:
    vectors = np.load(exported / "parity.npz")
    assert vectors["image"].shape == (8, 1, 64, 64)
    assert vectors["image"].min() < 0 < 1 < vectors["image"].max()  # what lies outside is clipped
    normalised = (torch.from_numpy(vectors["image"]).clamp(0, 1) - 0.4) / 0.2
    predictor = Predictor.of_model(probed, torch.device("cpu"))
    expected = predictor.score_batch(normalised).numpy()
    assert np.allclose(vectors["probabilities"], expected, atol=1e-6)
    assert np.allclose(score_reference(probed, vectors["image"]), expected, atol=1e-6)


RUNS_WITHOUT = {
    "onnx": ["torch", "torchvision", "monai", "medres"],
    "torch-export": ["monai", "torchvision", "medres"],
    "openvino": ["torch", "torchvision", "monai", "medres", "onnxruntime"],
}


@pytest.mark.parametrize("runtime", RUNS_WITHOUT)
def test_the_code_of_the_readme_runs_where_medres_is_not_installed(
    runtime: str, exported: Path
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    order = ["torch-export", "onnx", "openvino"]
    script = "\n".join(
        [
            "import sys",
            *(f"sys.modules[{name!r}] = None" for name in RUNS_WITHOUT[runtime]),
            blocks[0],
            "np.save('pixels.npy', np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30))",
            blocks[1 + order.index(runtime)],
            "assert probabilities.shape == (1, 1)",
            blocks[-1],
            f"assert not any(sys.modules.get(n) for n in {RUNS_WITHOUT[runtime]!r})",
            "print('agreed')",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        check=False,
        cwd=exported,
        capture_output=True,
        text=True,
    )
    (exported / "pixels.npy").unlink(missing_ok=True)
    assert done.stdout == "agreed\n", done.stderr


def test_a_signal_after_openvino_files_were_run_does_not_end_the_process(exported: Path) -> None:
    script = """
import gc, signal, sys
from pathlib import Path
from medres.export.formats import Artifact
from medres.export.runtimes import open_runs
opened = [open_runs(Path(sys.argv[1]), Artifact("openvino", p)) for p in ("fp32", "int8")]
while opened:
    del opened[0]  # in the order in which they were opened
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("interrupted"))
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(exported)], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_an_ensemble_is_exported_with_its_members_temperatures(
    ensemble: Model, tmp_path: Path
) -> None:
    contract = export_model(ensemble, tmp_path / "out", FLOAT32)
    assert contract["output"]["activation"] == "softmax"
    images = np.load(tmp_path / "out" / "parity.npz")["image"]
    expected = score_reference(ensemble, images)
    assert expected.shape == (8, 3)
    for artifact in FLOAT32:
        run = open_runs(tmp_path / "out", artifact)["fp32"]
        assert np.abs(run(images) - expected).max() < 1e-5
        assert np.abs(run(images[:3]) - expected[:3]).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "stem", "init"),
    [
        *((18, "duplicate", init) for init in ("equal", "imagenet")),
        *((18, "port", init) for init in ("sum", "luma", "imagenet")),
        *((18, "adapter", init) for init in ("ones", "third")),
        *((depth, "port", "auto") for depth in (34, 50, 101, 152)),
    ],
)
def test_every_stem_and_depth_is_exported(
    depth: int, stem: str, init: str, build: Callable[..., Model], tmp_path: Path
) -> None:
    for file in export_model(build(depth, stem, init), tmp_path / "out", FLOAT32)["files"]:
        # Depth amplifies rounding: 5.1e-5 was seen through 152 random layers.
        assert file["runs"][0]["largest_difference"] < (1e-5 if depth < 101 else 1e-4)


@pytest.mark.parametrize("geometry", ["crop", "squash"])
def test_the_readmes_geometry_is_the_models(
    geometry: str, build: Callable[..., Model], tmp_path: Path
) -> None:
    model = build(18, "port", "auto", geometry)
    export_model(model, tmp_path / "out", (Artifact("torch-export"),))
    text = (tmp_path / "out" / "README.md").read_text()
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    vectors = np.load(tmp_path / "out" / "parity.npz")
    assert np.abs(names["fit"](vectors["picture"]) - vectors["picture_square"]).max() < 1e-5


def test_the_model_stays_as_it_was(build: Callable[..., Model], tmp_path: Path) -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    artifacts = (Artifact("torch-export"), Artifact("torch-export", "bf16"))
    with pytest.raises(ConfigError, match="bf16: compared on real images alone; give the training"):
        export_model(model, tmp_path / "out", artifacts)
    export_model(model, tmp_path / "out", artifacts[:1])
    assert all(parameter.requires_grad for parameter in model.network.parameters())
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name])


# --- refusals --------------------------------------------------------------------------------


def off_by(amount: float, run: Run) -> Run:
    def moved(images: Pixels) -> Pixels:
        return (run(images) + amount).astype(np.float32)

    return moved


def test_a_file_that_disagrees_is_refused_and_not_kept(
    build: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_damaged(folder: Path, artifact: Artifact) -> dict:
        runs = open_runs(folder, artifact)
        amount = 2e-4 if artifact.format == "onnx" else 0.0
        return {precision: off_by(amount, run) for precision, run in runs.items()}

    monkeypatch.setattr(export_folder, "open_runs", open_damaged)
    with pytest.raises(
        ExportError,
        match=r"model\.onnx: a probability differs by 0\.0002 from the model's on 8 images; fp32 "
        r"may differ by 0\.0001\. Not kept, .* kept: model\.pt2",
    ):
        export_model(build(), tmp_path / "out", FLOAT32)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.pt2", "parity.npz", "README.md", "contract.json"}
    assert "model.onnx" not in (tmp_path / "out" / "README.md").read_text()


def test_where_all_is_refused_nothing_is_left(
    build: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = off_by(float("nan"), lambda images: np.zeros((len(images), 1), np.float32))
    monkeypatch.setattr(export_folder, "open_runs", lambda *_: {"fp32": nan})
    with pytest.raises(ExportError, match=r"model\.pt2: a probability differs by inf .* kept: no"):
        export_model(build(), tmp_path / "out", (Artifact("torch-export"),))
    assert not list((tmp_path / "out").iterdir())


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    probed: Model, split_pictures: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="is not empty; give a new folder"):
        export_model(probed, tmp_path, FLOAT32)
    rows = tuple(row for row in split_pictures.rows if row.split != "validation")
    with pytest.raises(ConfigError, match="no row of the manifest is in the split validation; gi"):
        select_images(replace(split_pictures, rows=rows))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        MissingDependencyError,
        match=r'needs the package onnxscript, which .* pip install "medres\[export\]"',
    ):
        export_model(probed, tmp_path / "out", (Artifact("onnx"),))


def test_images_are_spread_and_never_both_calibrated_and_compared_on(
    split_pictures: Manifest,
) -> None:
    chosen = select_images(split_pictures, most=5)
    assert chosen.split == "test"
    assert len(chosen.parity) == 5
    assert {row.split for row in chosen.calibration} == {"validation"}
    rows = tuple(
        replace(row, split="validation", image=f"{n}-{row.image}")
        for n in range(3)
        for row in split_pictures.rows
    )
    chosen = select_images(replace(split_pictures, rows=rows))
    assert chosen.split == "validation"
    assert (len(chosen.calibration), len(chosen.parity)) == (100, 80)
    assert not set(chosen.calibration) & set(chosen.parity)

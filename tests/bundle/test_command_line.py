"""MONAI's own command line on a model, as docs/bundle.md says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from radiographs import write_radiograph

import medres
from medres.bundle.directory import load_model
from medres.scoring.predictor import Predictor

PAGE = (Path(medres.__file__).parents[1] / "docs" / "bundle.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m monai\.bundle ((?:.*\\\n)*.*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    lists = {"training": [], "validation": [], "test": []}
    rows = ["image,label"]
    for k in range(12):
        pixels = np.random.default_rng(k).integers(0, 200, (40, 30)) + 50 * (k // 3 % 2)
        write_radiograph(folder / f"{k}.dcm", pixels.astype(np.uint8), "MONOCHROME1")
        item = {"image": f"{k}.dcm", "label": k // 3 % 2, "patient_id": f"p{k}"}
        lists[[*lists][k % 3]].append(item)
        rows.append(f"{k}.dcm,{k // 3 % 2}")
    (folder / "datalist.json").write_text(json.dumps(lists))
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def monai(model: Path, words: str, data: Path) -> None:
    """One command of the page, in the model's folder, without a network."""
    for place in ("/data/studies", "/data/labelled", "/data/new"):
        words = words.replace(place, str(data))
    words = words.replace("manifest.csv", str(data / "manifest.csv")).replace("\\\n", " ")
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", *words.split()],
        cwd=model,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "no_proxy": "", "HOME": str(model)},
    )
    assert done.returncode == 0, f"{words}\n{done.stderr[-3000:]}"


def command(*words: str) -> str:
    (found,) = (c for c in COMMANDS if all(word in c for word in words))
    return found


@pytest.mark.slow
def test_monai_scores_judges_and_fine_tunes_a_model(model_copy, data):
    model = load_model(model_copy)
    monai(model_copy, command("run", "inference.json --dataset_dir"), data)
    lines = (model_copy / "eval" / "predictions.csv").read_text().split()
    found = {Path(line.split(",")[0]).name: float(line.split(",")[1]) for line in lines}
    items = [{"image": str(data / name), "frame": 0} for name in found]
    expected = Predictor.of_model(model, torch.device("cpu")).predict(items)[:, 0]
    assert len(found) == 12
    np.testing.assert_allclose([*found.values()], expected.tolist(), atol=1e-5)

    monai(model_copy, command("evaluate.json", "--dataset_dir"), data)
    evaluation = json.loads((model_copy / "eval" / "evaluation.json").read_text())
    assert evaluation["findings"]["opacity"]["n"] == 4
    assert evaluation["findings"]["opacity"]["threshold"]["value"] == 0.25
    monai(model_copy, command("evaluate.json", "--split all"), data)
    evaluation = json.loads((model_copy / "eval" / "evaluation.json").read_text())
    assert evaluation["findings"]["opacity"]["n"] == 12

    monai(model_copy, command("train.json").replace("--epochs 10", "--epochs 2"), data)
    tuned = load_model(model_copy / "fine_tuned" / "model")
    assert tuned.record.weights_sha256 != model.record.weights_sha256
    assert tuned.record.thresholds == {}
    assert tuned.seen.has_patient("p0")
    assert tuned.seen.has_patient("p1")
    assert not tuned.seen.has_patient("p2")
    assert tuned.seen.has_patient("patient-1")
    monai(model_copy, command("--bundle_root fine_tuned/model"), data)
    assert (model_copy / "fine_tuned" / "model" / "eval" / "predictions.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["verify_metadata", "verify_net_in_out", "onnx_export"])
def test_monais_own_checks_pass(model_copy, data, verb):
    monai(model_copy, command(verb), data)
    assert verb != "onnx_export" or (model_copy / "model.onnx").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.load`:FutureWarning")
def test_monai_exports_torchscript(model_copy, data):
    monai(model_copy, command("ckpt_export"), data)
    assert torch.jit.load(model_copy / "model.ts")(torch.zeros(1, 1, 64, 64)).shape == (1, 1)

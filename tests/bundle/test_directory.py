import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_records import record_of
from PIL import Image

from medres.bundle.directory import load_model, write_bundle, write_weights
from medres.bundle.record import NetworkRecord
from medres.bundle.seen import SeenCases
from medres.errors import BundleError, PreprocessingMismatchError
from medres.models.resnet import GrayscaleResNet
from medres.scoring.predictor import Predictor
from medres.training.calibrate import NOT_CALIBRATED

SEEN = SeenCases.of(["patient-1"], ["ab" * 32])


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, GrayscaleResNet]:
    torch.manual_seed(0)
    network = GrayscaleResNet(18, "port", 1).eval()
    folder = tmp_path_factory.mktemp("bundle") / "model"
    write_bundle(folder, record_of(write_weights(folder, network.state_dict())), SEEN)
    return folder, network


@pytest.fixture
def model(written, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written[0], tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | changes))


def test_model_reads_back_as_it_was_written(written) -> None:
    folder, network = written
    model = load_model(folder)
    image = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.network(image), network(image))
    assert not model.network.training
    assert model.record == record_of(model.record.weights_sha256)
    assert model.seen.has_patient("patient-1")
    assert not model.seen.has_patient("patient-2")
    assert model.seen.has_pixels("ab" * 32)


@pytest.mark.parametrize(
    ("stem", "init"),
    [
        ("duplicate", "equal"),
        ("duplicate", "imagenet"),
        ("port", "luma"),
        ("port", "imagenet"),
        ("adapter", "third"),
        ("adapter", "imagenet"),
    ],
)
def test_model_of_every_stem_reads_back_and_builds_from_its_monai_config(stem, init, tmp_path):
    statistics = {"display_mean": 0.4, "display_std": 0.2} if init == "imagenet" else {}
    network = GrayscaleResNet(18, stem, 1, stem_init=init, **statistics).eval()
    for tensor in network.stem.state_dict().values():
        tensor.add_(0.01)  # as training or another data set would leave it
    record = dataclasses.replace(
        record_of(write_weights(tmp_path, network.state_dict())),
        network=NetworkRecord(**network.arguments()),
    )
    write_bundle(tmp_path, record, SEEN)
    model = load_model(tmp_path)
    assert model.record.network == record.network
    definition = json.loads((tmp_path / "configs" / "inference.json").read_text())["network_def"]
    assert definition.pop("_target_") == "medres.models.resnet.GrayscaleResNet"
    from_monai = GrayscaleResNet(**definition).eval()
    from_monai.load_state_dict(torch.load(tmp_path / "models" / "model.pt", weights_only=True))
    image = torch.randn(1, 1, 40, 32)
    with torch.no_grad():
        assert torch.equal(model.network(image), network(image))
        assert torch.equal(from_monai(image), network(image))


def test_model_from_before_stems_had_starts_is_read(written, model) -> None:
    record = json.loads((model / "configs" / "medres.json").read_text())
    del record["network"]["stem_init"]
    edit(model / "configs" / "medres.json", network=record["network"])
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_model(model).network(image), written[1](image))


def test_seen_cases_do_not_name_patients(written) -> None:
    assert "patient-1" not in (written[0] / "configs" / "seen.json").read_text()


def test_layout_is_that_of_a_monai_bundle(written) -> None:
    folder, _ = written
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "LICENSE",
        "configs/digests.json",
        "configs/evaluate.json",
        "configs/inference.json",
        "configs/logging.conf",
        "configs/medres.json",
        "configs/metadata.json",
        "configs/metadata_schema.json",
        "configs/seen.json",
        "configs/train.json",
        "docs/README.md",
        "models/model.pt",
    }
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    required = "version monai_version pytorch_version numpy_version required_packages_version"
    for (
        key
    ) in f"{required} task description authors copyright network_data_format changelog".split():
        assert key in metadata
    card = (folder / "docs" / "README.md").read_text()
    assert "random weights" in card
    assert "| opacity | 0.25 |" in card


def test_monai_runs_the_bundle_and_gives_the_same_probability(written, model, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60), np.uint8)
    (model / "data").mkdir()
    Image.fromarray(pixels).save(model / "data" / "a.png")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "monai.bundle", "run"),
            *("--config_file", "configs/inference.json", "--bundle_root", str(model)),
            *("--datalist", f"['{model / 'data' / 'a.png'}']", "--device", "cpu"),
        ],
        cwd=model,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    predictions = (model / "eval" / "predictions.csv").read_text().strip().split(",")
    image = torch.from_numpy(pixels.astype(np.float32) / 255)[None, None]
    resized = torch.nn.functional.interpolate(
        image, (64, 48), mode="bilinear", antialias=True, align_corners=False
    )
    padded = torch.nn.functional.pad(resized, (8, 8, 0, 0))
    with torch.no_grad():
        logit = written[1]((padded - 0.4) / 0.2)
    expected = (logit / 2.0).sigmoid().item()  # 2: the model's temperature
    assert float(predictions[-1]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no such model directory"),
        (lambda m: (m / "configs/medres.json").unlink(), r"lacks configs/medres\.json"),
        (lambda m: (m / "configs/medres.json").write_text("{"), "not JSON"),
        (lambda m: (m / "configs/medres.json").write_text("[]"), "expects a JSON object"),
        (lambda m: edit(m / "configs/medres.json", schema="other/1"), "schema 'other/1'"),
        (lambda m: edit(m / "configs/medres.json", unit=None, labels={}), "record is incomplete"),
        (
            lambda m: edit(
                m / "configs/medres.json",
                calibration={
                    "temperature": {"values": [-1], "activation": "sigmoid", "n": 1},
                    "reason": "",
                    "validation": {},
                },
            ),
            r"calibration is damaged \(temperatures \[-1.0\]; each is a number above 0\)",
        ),
        (lambda m: (m / "models/model.pt").unlink(), r"lacks models/model\.pt"),
        (lambda m: (m / "models/model.pt").write_bytes(b"x"), "were changed after training"),
        (
            lambda m: edit(
                m / "configs/medres.json",
                network={"depth": 19, "stem": "port", "num_outputs": 1},
            ),
            "a network that this medres does not build .depth: 19 is not accepted; give one of 18",
        ),
        (
            lambda m: edit(
                m / "configs/medres.json",
                network={"depth": 18, "stem": "port", "num_outputs": 1, "stem_init": "ones"},
            ),
            "stem_init: 'ones' is not accepted with stem 'port'; give one of sum, mean, .*restore",
        ),
        (
            lambda m: edit(m / "configs/medres.json", network={"depth": 18, "stem": "port"}),
            "record is incomplete .*num_outputs",
        ),
        (
            lambda m: edit(
                m / "configs/medres.json",
                network={"depth": 34, "stem": "port", "num_outputs": 1},
            ),
            "is of another architecture than its record",
        ),
    ],
)
def test_damaged_model_is_refused_with_what_to_do(model: Path, damage, message: str) -> None:
    damage(model)
    with pytest.raises(BundleError, match=message):
        load_model(model)


def test_changed_preprocessing_is_refused(model: Path) -> None:
    path = model / "configs" / "medres.json"
    values = json.loads(path.read_text())
    values["preprocessing"]["geometry"] = "crop"
    path.write_text(json.dumps(values))
    with pytest.raises(PreprocessingMismatchError, match="does not match its digest"):
        load_model(model)


def test_weights_that_hide_code_are_not_run(model: Path) -> None:
    class Exploit:
        def __reduce__(self):
            return (Path.touch, (model / "exploited",))

    torch.save({"backbone.conv1.weight": Exploit()}, model / "models" / "model.pt")
    from medres.files import file_digest

    edit(model / "configs/medres.json", weights_sha256=file_digest(model / "models" / "model.pt"))
    with pytest.raises(BundleError, match="not a state dict"):
        load_model(model)
    assert not (model / "exploited").exists()


def test_equal_weights_have_equal_digests(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(1, 2, 3, 1)}
    nhwc = {"a": state["a"].clone(memory_format=torch.channels_last)}
    assert write_weights(tmp_path / "one", state) == write_weights(tmp_path / "two", nhwc)


def test_predictor_of_a_model_divides_by_its_temperature(model: Path) -> None:
    loaded = load_model(model)
    predictor = Predictor.of_model(loaded, torch.device("cpu"))
    images = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        logits = loaded.network(images).double()
    torch.testing.assert_close(predictor.score_batch(images), (logits / 2).sigmoid())
    assert "divided by the temperature 2, fitted on 30" in (model / "docs/README.md").read_text()


def test_model_from_before_temperature_scaling_gives_the_networks_probabilities(
    model: Path,
) -> None:
    path = model / "configs" / "medres.json"
    values = json.loads(path.read_text())
    del values["calibration"]
    path.write_text(json.dumps(values))
    assert load_model(model).record.calibration == NOT_CALIBRATED

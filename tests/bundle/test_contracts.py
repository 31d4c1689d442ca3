"""What MONAI's workflows, MONAI Label and MONAI Deploy ask of a bundle, without the latter two.

The loaders below do what theirs do with a directory: monailabel/tasks/infer/bundle.py, .../train/
bundle.py and monai/deploy/operators/monai_bundle_inference_operator.py, as of 2025.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import decollate_batch
from monai.inferers import Inferer
from monai.transforms import Compose, MapTransform
from radiographs import write_radiograph

from medres.bundle.directory import load_model
from medres.scoring.predictor import Predictor

CPU = torch.device("cpu")


@pytest.fixture
def radiograph(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60)).astype(np.uint8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME1")
    return tmp_path / "a.dcm"


@pytest.fixture
def expected(written_model, radiograph) -> float:
    predictor = Predictor.of_model(load_model(written_model), CPU)
    return predictor.predict([{"image": str(radiograph), "frame": 0}]).item()


@pytest.mark.parametrize(
    ("name", "kind"), [("inference", "infer"), ("evaluate", "infer"), ("train", "train")]
)
def test_workflow_has_every_property_before_there_is_data(model_copy, name, kind):
    config = str(model_copy / "configs" / f"{name}.json")
    workflow = ConfigWorkflow(
        config, workflow_type=kind, logging_file=False, bundle_root=str(model_copy)
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_metadata_holds_what_monais_own_schema_requires(written_model):
    metadata = json.loads((written_model / "configs" / "metadata.json").read_text())
    texts = "schema version monai_version pytorch_version numpy_version task description authors"
    for key in [*texts.split(), "copyright"]:
        assert isinstance(metadata[key], str)
        assert metadata[key]
    assert isinstance(metadata["required_packages_version"], dict)
    assert "optional_packages_version" not in metadata  # MONAI renames it, over the other
    for side in ("inputs", "outputs", "post_processed_outputs"):
        for tensor in metadata["network_data_format"][side].values():
            assert {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"} <= {
                *tensor
            }
    assert metadata["version"] in metadata["changelog"]


def test_monai_label_infers_as_medres_does(written_model, radiograph, expected):
    parser = ConfigParser()
    parser.read_config(str(written_model / "configs" / "inference.json"))
    parser.config.update({"bundle_root": str(written_model), "use_click": False})
    network = parser.get_parsed_content("network_def", instantiate=True)
    metadata = json.loads((written_model / "configs" / "metadata.json").read_text())
    key_image, image = next(iter(metadata["network_data_format"]["inputs"].items()))
    key_pred, pred = next(iter(metadata["network_data_format"]["outputs"].items()))
    assert {v.lower(): int(k) for k, v in pred["channel_def"].items()} == {"opacity": 0}
    assert len(image["spatial_shape"]) == 2
    assert "classification" in written_model.name  # by which Label tells the task
    weights = [p.name for p in (written_model / "models").glob("*.pt")]
    assert weights == ["model.pt"]  # Label offers them all

    data = {"image": str(radiograph), "image_path": str(radiograph), "model": "m", "device": "cpu"}
    for step in parser.get_parsed_content("preprocessing", instantiate=True).transforms:
        data = step(data)
    inferer = parser.get_parsed_content("inferer", instantiate=True)
    assert isinstance(inferer, Inferer)
    checkpoint = torch.load(written_model / "models" / "model.pt", map_location=CPU)
    network.load_state_dict(checkpoint.get("model", checkpoint), strict=True)
    with torch.no_grad():
        outputs = inferer(data[key_image][None], network.eval())
    data[key_pred] = decollate_batch(outputs)[0]
    post = parser.get_parsed_content("postprocessing", instantiate=True)
    assert isinstance(post, Compose)
    for step in post.transforms:
        data = step(data)
    (score,) = data[key_pred]  # as ClassificationWriter goes through them
    assert float(score) == pytest.approx(expected, abs=1e-6)


def test_monai_label_can_override_the_training(model_copy):
    parser = ConfigParser()
    parser.read_config(str(model_copy / "configs" / "train.json"))
    handlers = parser.get("train#handlers")
    assert [h for h in handlers if h.get("_target_") == "CheckpointLoader"]
    overrides = {
        "bundle_root": str(model_copy),
        "train#trainer#max_epochs": 1,
        "train#dataset#data": [{"image": "a.dcm", "label": [1]}],
        "validate#dataset#data": [{"image": "b.dcm", "label": [0]}],
        "device": "cpu",
        "train#handlers": handlers,
    }
    for key, value in overrides.items():
        parser.set(value, key)
    trainer = parser.get_parsed_content("train#trainer")
    assert trainer.state.max_epochs == 1
    assert trainer.data_loader.dataset.data == [{"image": "a.dcm", "label": [1]}]


def test_monai_deploy_infers_as_medres_does(written_model, radiograph, expected):
    parser = ConfigParser()
    parser.read_meta(json.loads((written_model / "configs" / "metadata.json").read_text()))
    parser.read_config([written_model / "configs" / "inference.json"])
    parser.parse()
    outputs = parser["_meta_"]["network_data_format"]["outputs"]
    parser.get_parsed_content("device")
    chains = [parser.get_parsed_content(name) for name in ("preprocessing", "postprocessing")]
    for chain in chains:  # what loads and saves is left out by its name
        names = [type(step).__name__ for step in chain.transforms]
        assert not any(part in name for name in names for part in ("LoadImage", "SaveImage"))
        assert isinstance(chain.transforms[0], MapTransform)
    network = parser.get_parsed_content("network").to(CPU)
    state = torch.load(written_model / "models" / "model.pt", map_location=CPU)
    assert not isinstance(state.get("state_dict"), dict)
    network.load_state_dict(state.get("model", state), strict=True)
    inputs = chains[0]({"image": str(radiograph)})
    inferer = parser.get_parsed_content("inferer")
    with torch.no_grad():
        result = inferer(inputs=inputs["image"][None], network=network.eval())
    # Deploy keeps the batch of one; of an output called "probabilities" it would make a class
    # number by int(), so that ours has another name and comes out as it is.
    assert outputs["pred"]["type"] != "probabilities"
    score = chains[1]({"pred": result, **inputs})["pred"]
    assert float(score.flatten()[0]) == pytest.approx(expected, abs=1e-6)

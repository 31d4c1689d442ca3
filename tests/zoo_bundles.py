"""Bundles in the forms of MONAI's model zoo, with random weights of the right shape."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.networks.nets import DenseNet, SEResNet50, TorchVisionFCModel

from medres.bundle.zoo import ZooModel


def metadata(name: str, channels: int, size: int, outputs: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "version": "0.1.6",
        "network_data_format": {
            "inputs": {
                "image": {"type": "image", "num_channels": channels, "spatial_shape": [size, size]}
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "num_channels": len(outputs),
                    "channel_def": {str(k): label for k, label in enumerate(outputs)},
                }
            },
        },
    }


# As breast_density_classification: RGB pictures, short names, sigmoid over four classes.
DENSITY = {
    "import": ["$import glob", "$import os", "$import torchvision"],
    "bundle_root": ".",
    "model_dir": "$@bundle_root + '/models'",
    "data": {
        "_target_": "scripts.createList.CreateImageLabelList",
        "filename": "./configs/sample_image_data.json",
    },
    "test_imagelist": "$@data.create_dataset('Test')[0]",
    "dataset": {"_target_": "CacheDataset", "data": "$[1]", "transform": "@preprocessing"},
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {
        "_target_": "TorchVisionFCModel",
        "model_name": "resnet18",
        "num_classes": 4,
        "pool": None,
        "use_conv": False,
        "bias": True,
        "pretrained": True,
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": 2},
            {"_target_": "ScaleIntensityd", "keys": "image", "minv": 0.0, "maxv": 1.0},
            {"_target_": "Resized", "keys": "image", "spatial_size": [64, 64]},
        ],
    },
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}],
    },
}

# As endoscopic_inbody_classification: references, a dtype, argmax of the raw output.
INBODY = {
    "imports": ["$import json", "$import os"],
    "image_key": "image",
    "test_fp": "$open(@test_json,'r', encoding='utf8')",
    "network_def": {
        "_target_": "SEResNet50",
        "spatial_dims": 2,
        "in_channels": 3,
        "num_classes": 2,
    },
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "@image_key", "image_only": False},
            {"_target_": "EnsureChannelFirstd", "keys": "@image_key", "channel_dim": -1},
            {
                "_target_": "Resized",
                "keys": "@image_key",
                "spatial_size": [64, 64],
                "mode": "bilinear",
            },
            {"_target_": "CastToTyped", "dtype": "$torch.float32", "keys": "@image_key"},
            {
                "_target_": "NormalizeIntensityd",
                "nonzero": True,
                "channel_wise": True,
                "keys": "@image_key",
            },
            {"_target_": "EnsureTyped", "keys": "@image_key"},
        ],
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "AsDiscreted", "argmax": True, "to_onehot": 2, "keys": ["pred"]},
            {
                "_target_": "SaveClassificationd",
                "keys": "pred",
                "meta_keys": "$@image_key + '_meta_dict'",
                "output_dir": "@output_dir",
            },
        ],
    },
}

# As classification_template: YAML, constants of MONAI, a list of transforms by reference.
TEMPLATE = """
imports:
- $import os
image: $monai.utils.CommonKeys.IMAGE
pred: $monai.utils.CommonKeys.PRED
num_classes: 4
network_def:
  _target_: monai.networks.nets.DenseNet
  spatial_dims: 2
  in_channels: 1
  out_channels: '@num_classes'
  init_features: 8
  growth_rate: 4
  block_config: [2, 2]
network: $@network_def.to(@device)
transforms:
- _target_: LoadImaged
  keys: '@image'
- _target_: EnsureChannelFirstd
  keys: '@image'
- _target_: ScaleIntensityd
  keys: '@image'
preprocessing:
  _target_: Compose
  transforms: $@transforms
postprocessing:
  _target_: Compose
  transforms:
  - _target_: Activationsd
    keys: '@pred'
    softmax: true
  - _target_: AsDiscreted
    keys: ['@pred', '@label']
    argmax: [true, false]
"""

SHAPES = ["background", "circle", "triangle", "rectangle"]


def write_bundle(folder: Path, config: Any, about: dict[str, Any], state: Any) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    if isinstance(config, str):
        (folder / "configs" / "inference.yaml").write_text(config)
    else:
        (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps(about))
    torch.save(state, folder / "models" / "model.pt")
    return folder


def density(folder: Path) -> Path:
    torch.manual_seed(0)
    network = TorchVisionFCModel("resnet18", num_classes=4, pool=None, pretrained=False)
    about = metadata("Breast density classification", 3, 64, ["A", "B", "C", "D"])
    return write_bundle(folder, DENSITY, about, network.state_dict())


def inbody(folder: Path) -> Path:
    torch.manual_seed(0)
    network = SEResNet50(spatial_dims=2, in_channels=3, num_classes=2)
    about = metadata("Endoscopic inbody classification", 3, 64, ["in body", "out body"])
    return write_bundle(folder, INBODY, about, {"model": network.state_dict()})


def template(folder: Path) -> Path:
    torch.manual_seed(0)
    network = DenseNet(2, 1, 4, init_features=8, growth_rate=4, block_config=(2, 2))
    about = metadata("Classification Template", 1, 64, SHAPES)
    return write_bundle(folder, TEMPLATE, about, network.state_dict())


def edit(folder: Path, change: Any) -> Path:
    """Change the config of a bundle in place; `change` takes its values."""
    path = folder / "configs" / "inference.json"
    if not path.exists():
        values = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
        (folder / "configs" / "inference.yaml").unlink()
    else:
        values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return folder


CRASH, HANG, NOTHING = 77, 78, 79


def disturb(x: Any) -> Any:
    """The step of a trusted bundle's chain that some pictures are the end of."""
    if x.max() == CRASH:
        os.abort()
    if x.max() == HANG:
        time.sleep(1000)
    return x * float("nan") if x.max() == NOTHING else x


def disturbed(bundle: Path, folder: Path) -> Path:
    """A copy of the template with that step, which is code."""
    shutil.copytree(bundle, folder)
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").touch()
    step = {"_target_": "Lambdad", "keys": "image", "func": "$@disturb"}

    def change(values: Any) -> None:
        values["imports"] += ["$from tests.zoo_bundles import disturb"]
        values["disturb"] = "$disturb"
        values["transforms"].insert(2, step)

    return edit(folder, change)


def scores_of(model: ZooModel, path: Path) -> list[float]:
    """Probabilities of one image, alone and in this process."""
    pixels = torch.from_numpy(model.chain.apply(str(path)))
    return model.predict(pixels[None], torch.device("cpu"))[0].tolist()

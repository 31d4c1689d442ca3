import copy
import itertools
import json

import pytest
import torch
from monai.networks.utils import eval_mode
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGES


def norms_in_training(network: nn.Module) -> set[str]:
    return {
        name
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.training
    }


def test_resnet_gives_one_logit_for_each_finding():
    assert GrayscaleResNet(18, "port", 5).eval()(torch.rand(2, 1, 40, 32)).shape == (2, 5)


def test_resnet_is_built_from_json_arguments():
    arguments = json.loads(
        '{"depth": 18, "stem": "adapter", "num_outputs": 2, "stem_init": "imagenet", '
        '"display_mean": 0.5, "display_std": 0.2}'
    )
    assert GrayscaleResNet(**arguments).arguments() == arguments


def test_resnets_arguments_name_what_auto_came_to():
    assert GrayscaleResNet(18, "port", 2).arguments() == {
        "depth": 18,
        "stem": "port",
        "num_outputs": 2,
        "stem_init": "sum",
    }


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 32, 32), (32, 32)])
def test_resnet_refuses_images_of_another_shape(shape):
    with pytest.raises(ConfigError, match=r"expects images \(B, 1, H, W\), found .*one gray chan"):
        GrayscaleResNet()(torch.rand(shape))


def test_resnet_refuses_integer_images():
    with pytest.raises(ConfigError, match=r"floating point images, found torch.uint8"):
        GrayscaleResNet()(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"depth": 20}, "depth: 20 is not accepted; give one of 18, 34, 50, 101, 152"),
        ({"num_outputs": 0}, "num_outputs: 0 is not accepted; give at least 1"),
        ({"batch_norm": "frozen"}, "batch_norm: 'frozen' is not accepted; give 'train' or 'eval'"),
    ],
)
def test_resnet_refuses_impossible_arguments(arguments, text):
    with pytest.raises(ConfigError, match=text):
        GrayscaleResNet(**arguments)


def test_batch_norm_eval_survives_train_and_eval_mode():
    network = GrayscaleResNet(18)
    network.set_batch_norm_eval(["conv1", "layer2"])
    expected = {
        name
        for name in norms_in_training(GrayscaleResNet(18))
        if not name.startswith(("backbone.bn1", "backbone.layer2"))
    }
    assert norms_in_training(network) == expected
    for _ in range(3):
        network.train()
        assert norms_in_training(network) == expected
        with eval_mode(network):
            assert norms_in_training(network) == set()
        assert norms_in_training(network) == expected
        network.eval()
        assert norms_in_training(network) == set()
        network.train().train()
        assert norms_in_training(network) == expected


def test_batch_norm_eval_holds_the_norm_of_the_shortcut():
    network = GrayscaleResNet(18)
    network.set_batch_norm_eval(["layer3"])
    assert not network.backbone.layer3[0].downsample[1].training
    assert network.backbone.layer4[0].downsample[1].training


def test_batch_norm_policy_is_lifted_again():
    network = GrayscaleResNet(18, batch_norm="eval")
    assert norms_in_training(network) == set()
    network.set_batch_norm_eval([])
    assert network.batch_norm_eval == frozenset()
    assert len(norms_in_training(network)) == 20


def test_batch_norm_policy_set_in_evaluation_acts_from_the_next_train():
    network = GrayscaleResNet(18).eval()
    network.set_batch_norm_eval(STAGES)
    assert not network.training
    assert norms_in_training(network.train()) == set()


def test_batch_norm_eval_keeps_running_statistics_and_trains_affine_weights():
    network = GrayscaleResNet(18)
    network.set_batch_norm_eval(["conv1", "layer1"])
    before = {name: b.clone() for name, b in network.named_buffers()}
    network.train()(torch.randn(4, 1, 32, 32)).sum().backward()
    held = ("backbone.bn1", "backbone.layer1")
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name]) == name.startswith(held), name
    assert network.backbone.bn1.weight.grad is not None


def test_batch_norm_policy_survives_copy_wrapper_sync_and_compile():
    network = GrayscaleResNet(18)
    network.set_batch_norm_eval(STAGES)
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in synchronized.modules())
    wrapped = nn.ModuleDict({"module": copy.deepcopy(network)})  # as DDP calls it
    compiled = torch.compile(copy.deepcopy(network), backend="eager")
    for copied in (copy.deepcopy(network), wrapped, synchronized, compiled):
        copied.eval()
        copied.train()
        assert norms_in_training(copied) == set()


def test_batch_norm_policy_for_an_unknown_stage_is_refused():
    with pytest.raises(ConfigError, match="stage: 'layer5' is not accepted; give some of adapter"):
        GrayscaleResNet().set_batch_norm_eval(["layer5"])


STARTS = [
    {"stem": "duplicate"},
    {"stem": "port"},
    {"stem": "adapter"},
    *(
        {"stem": stem, "stem_init": "imagenet", "display_mean": 0.5, "display_std": 0.2}
        for stem in ("duplicate", "port", "adapter")
    ),
]


@pytest.mark.parametrize("arguments", STARTS)
def test_resnet_exports(arguments):
    network = GrayscaleResNet(18, **arguments).eval()
    image = torch.rand(1, 1, 32, 32)
    exported = torch.export.export(network, (image,)).module()
    torch.testing.assert_close(exported(image), network(image))


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("arguments", STARTS[2:])
def test_resnet_scripts_as_monai_bundles_export_it(arguments, tmp_path):
    network = GrayscaleResNet(18, **arguments).eval()
    image = torch.rand(1, 1, 32, 32)
    path = tmp_path / "network.ts"
    torch.jit.save(torch.jit.script(network), path)
    torch.testing.assert_close(torch.jit.load(path)(image), network(image))


def test_resnet_keeps_the_names_that_checkpoints_hold():
    names = [n for n, _ in GrayscaleResNet(18, "adapter").named_parameters()]
    tops = [key for key, _ in itertools.groupby(".".join(n.split(".")[:2]) for n in names)]
    assert tops == [
        "stem.conv",
        "backbone.conv1",
        "backbone.bn1",
        "backbone.layer1",
        "backbone.layer2",
        "backbone.layer3",
        "backbone.layer4",
        "backbone.fc",
    ]

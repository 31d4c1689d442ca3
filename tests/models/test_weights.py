import hashlib
import json
import shutil
import urllib.error

import pytest
import torch

from medres.errors import WeightsError
from medres.models.resnet import GrayscaleResNet
from medres.models.weights import load_weights

STEMS = ("duplicate", "port", "adapter")


def image() -> torch.Tensor:
    return torch.randn(2, 1, 40, 33, generator=torch.Generator().manual_seed(1))


def save(tmp_path, content, name="weights.pth"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize(
    ("depth", "stem"), [(18, "duplicate"), (18, "port"), (18, "adapter"), (50, "port")]
)
def test_rgb_weights_give_every_stem_the_rgb_networks_function(depth, stem, tmp_path, rgb_network):
    reference = rgb_network(depth, num_outputs=3).double()
    path = save(tmp_path, reference.state_dict())
    network = GrayscaleResNet(depth, stem, 3).double().eval()
    record = load_weights(network, path)
    with torch.no_grad():
        expected = reference(image().double().repeat(1, 3, 1, 1))
        found = network(image().double())
    assert (found - expected).abs().max() / expected.abs().max() < 1e-10
    assert (record.trained, record.left_out, record.notes) == (True, (), ())


def test_record_says_what_was_loaded(tmp_path, rgb_network):
    path = save(tmp_path, rgb_network(18).state_dict())
    record = load_weights(GrayscaleResNet(18, "port", 3), str(path))
    assert record.source == "weights.pth"
    assert record.description == "weights from weights.pth"
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads(json.dumps(record.as_json()))["trained"] is True


def test_none_leaves_random_weights():
    network = GrayscaleResNet(18)
    before = [p.clone() for p in network.parameters()]
    record = load_weights(network, "none")
    assert (record.trained, record.sha256, record.description) == (False, "", "random weights")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_head_of_another_size_stays_fresh_and_is_recorded(tmp_path, rgb_network):
    path = save(tmp_path, rgb_network(18, num_outputs=1000).state_dict())
    network = GrayscaleResNet(18, "duplicate", 2)
    head = network.backbone.fc.weight.clone()
    record = load_weights(network, path)
    assert torch.equal(network.backbone.fc.weight, head)
    assert record.left_out == ("fc.weight", "fc.bias")
    assert record.notes == ("the head is new, since weights.pth has none of 2 outputs",)


def test_weights_without_a_head_leave_it_fresh(tmp_path, rgb_network):
    state = {k: v for k, v in rgb_network(18).state_dict().items() if not k.startswith("fc.")}
    record = load_weights(GrayscaleResNet(18, "port", 3), save(tmp_path, state))
    assert record.left_out == ("fc.weight", "fc.bias")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "best_accuracy": torch.tensor(70.0)},
        lambda s: {"model": s, "epoch": 3},
        lambda s: {"state_dict": {"model": s}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {f"backbone.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"model.module.{k}": v for k, v in s.items()}},
        lambda s: {k if k.startswith("fc") else f"backbone.{k}": v for k, v in s.items()},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    ],
)
def test_wrapped_and_prefixed_weights_load_alike(wrap, tmp_path, rgb_network):
    reference = rgb_network(18)
    network = GrayscaleResNet(18, "duplicate", 3).eval()
    load_weights(network, save(tmp_path, wrap(reference.state_dict())))
    with torch.no_grad():
        assert torch.equal(network(image()), reference(image().repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("target", STEMS)
@pytest.mark.parametrize("source", STEMS)
def test_weights_trained_with_one_stem_keep_their_function_in_another(
    source, target, tmp_path, with_random_norms
):
    trained = with_random_norms(GrayscaleResNet(18, source, 3).double())
    if source == "adapter":
        with torch.no_grad():
            trained.stem.conv.weight.copy_(torch.tensor([0.8, 1.3, -0.4]).view(3, 1, 1, 1))
    path = save(tmp_path, {"network": trained.state_dict(), "epoch": 4})
    network = GrayscaleResNet(18, target, 3).double().eval()
    load_weights(network, path)
    with torch.no_grad():
        expected = trained(image().double())
        assert (network(image().double()) - expected).abs().max() / expected.abs().max() < 1e-10


def test_ones_adapter_loads_into_an_imagenet_adapter_with_a_zero_bias(tmp_path, with_random_norms):
    trained = with_random_norms(GrayscaleResNet(18, "adapter", 3))
    network = GrayscaleResNet(
        18, "adapter", 3, adapter_init="imagenet", adapter_mean=0.5, adapter_std=0.2
    ).eval()
    load_weights(network, save(tmp_path, trained.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(network(image()), trained(image()))


def test_adapter_with_a_bias_is_not_folded_into_another_stem(tmp_path):
    trained = GrayscaleResNet(
        18, "adapter", 3, adapter_init="imagenet", adapter_mean=0.5, adapter_std=0.2
    )
    with pytest.raises(WeightsError, match=r"adapter has a bias.*; give stem 'adapter' with"):
        load_weights(GrayscaleResNet(18, "port", 3), save(tmp_path, trained.state_dict()))


def test_one_channel_weights_do_not_fit_an_imagenet_adapter(tmp_path):
    network = GrayscaleResNet(
        18, "adapter", 3, adapter_init="imagenet", adapter_mean=0.5, adapter_std=0.2
    )
    path = save(tmp_path, GrayscaleResNet(18, "port", 3).state_dict())
    with pytest.raises(
        WeightsError, match=r"was trained on one channel.*; give adapter_init 'ones'"
    ):
        load_weights(network, path)


def test_weights_of_another_depth_are_refused_by_name(tmp_path, rgb_network):
    path = save(tmp_path, rgb_network(50).state_dict())
    network = GrayscaleResNet(18, "duplicate", 3)
    before = network.state_dict()["backbone.layer1.0.bn1.weight"].clone()
    with pytest.raises(WeightsError) as caught:
        load_weights(network, path)
    text = str(caught.value)
    assert "this looks like a resnet50, the config asks for resnet18: set model.depth to 50" in text
    assert "layer1.0.conv1.weight expected (64, 64, 3, 3), found (64, 64, 1, 1)" in text
    assert "unexpected: layer1.0.conv3.weight" in text
    assert "more" in text
    assert torch.equal(network.state_dict()["backbone.layer1.0.bn1.weight"], before)


def test_weights_that_lack_tensors_are_refused_by_name(tmp_path, rgb_network):
    state = rgb_network(18).state_dict()
    del state["layer2.0.downsample.1.bias"]
    state["layer2.0.attention.weight"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        load_weights(GrayscaleResNet(18, "port", 3), save(tmp_path, state))
    assert "missing: layer2.0.downsample.1.bias\n" in str(caught.value)
    assert "unexpected: layer2.0.attention.weight" in str(caught.value)
    assert "a variant of resnet18" in str(caught.value)


def test_weights_of_no_resnet_are_refused(tmp_path):
    with pytest.raises(
        WeightsError, match=r"does not fit a resnet18 .*; give weights of that netw"
    ):
        load_weights(GrayscaleResNet(18), save(tmp_path, {"linear.weight": torch.zeros(2, 2)}))


def test_weights_that_are_not_finite_are_refused(tmp_path, rgb_network):
    state = rgb_network(18).state_dict()
    state["layer3.1.conv2.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(
        WeightsError, match=r"not finite\n  in: layer3.1.conv2.weight; give weights"
    ):
        load_weights(GrayscaleResNet(18, "duplicate", 3), save(tmp_path, state))


def test_two_networks_in_one_file_are_refused(tmp_path, rgb_network):
    state = rgb_network(18).state_dict()
    both = {**state, **{f"module.{k}": v for k, v in state.items()}}
    with pytest.raises(WeightsError, match=r"holds conv1.weight twice, under different prefixes"):
        load_weights(GrayscaleResNet(18), save(tmp_path, both))


def test_file_without_a_state_dict_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="holds no state dict; give one, alone or under one of"):
        load_weights(GrayscaleResNet(18), save(tmp_path, {"epoch": 3, "model": {"name": "a"}}))
    with pytest.raises(WeightsError, match="holds no state dict"):
        load_weights(GrayscaleResNet(18), save(tmp_path, [1, 2]))


def test_file_that_is_not_of_tensors_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("not a checkpoint")
    with pytest.raises(WeightsError, match=r"not a file of tensors \(.*; give a state dict as"):
        load_weights(GrayscaleResNet(18), path)


def test_pickled_objects_are_not_opened(tmp_path):
    path = save(tmp_path, GrayscaleResNet(18))
    with pytest.raises(WeightsError, match="pickled objects are not opened: they can run code"):
        load_weights(GrayscaleResNet(18), path)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such weights file; give imagenet, none, or a file"):
        load_weights(GrayscaleResNet(18), tmp_path / "absent.pth")


def test_digest_in_the_name_is_checked(tmp_path, rgb_network):
    path = save(tmp_path, rgb_network(18).state_dict())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    right = shutil.copy(path, tmp_path / f"resnet18-{digest}.pth")
    assert load_weights(GrayscaleResNet(18), right).sha256 == digest
    wrong = shutil.copy(path, tmp_path / "resnet18-f37072fd.pth")
    with pytest.raises(
        WeightsError, match=rf"begins with f37072fd, found {digest[:8]}; the file is"
    ):
        load_weights(GrayscaleResNet(18), wrong)


def test_date_in_the_name_is_no_digest(tmp_path, rgb_network):
    path = save(tmp_path, rgb_network(18).state_dict(), "chest-20240131.pth")
    assert load_weights(GrayscaleResNet(18), path).trained


def test_imagenet_weights_that_cannot_be_had_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def unreachable(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(WeightsError) as caught:
        load_weights(GrayscaleResNet(50), "imagenet")
    text = str(caught.value)
    for part in (
        "resnet50-0676ba61.pth could not be downloaded",
        "no route to host",
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "SHA-256 begins with 0676ba61",
        "--model.weights /path/resnet50-0676ba61.pth",
        "--model.weights none",
    ):
        assert part in text


def test_imagenet_weights_are_fetched_by_torch_hub_with_their_digest(
    tmp_path, monkeypatch, rgb_network
):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = {}

    def fetch(url, **options):
        asked.update(options, url=url)
        (tmp_path / "checkpoints").mkdir()
        torch.save(rgb_network(18).state_dict(), tmp_path / "checkpoints" / url.split("/")[-1])

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    # A file of our own cannot have torchvision's digest, so this ends in the check of it.
    with pytest.raises(WeightsError, match="SHA-256 begins with f37072fd, found"):
        load_weights(GrayscaleResNet(18), "imagenet")
    assert asked["url"] == "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True


def test_imagenet_weights_in_torch_hubs_folder_need_no_network(tmp_path, monkeypatch, rgb_network):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    monkeypatch.setattr("medres.models.weights.file_digest", lambda path: "f37072fd" + 56 * "0")
    (tmp_path / "checkpoints").mkdir()
    save(tmp_path / "checkpoints", rgb_network(18, 1000).state_dict(), "resnet18-f37072fd.pth")
    record = load_weights(GrayscaleResNet(18), "imagenet")
    assert record.source == "imagenet"
    assert record.description == "torchvision resnet18 IMAGENET1K_V1 (resnet18-f37072fd.pth)"
    assert record.left_out == ("fc.weight", "fc.bias")
    assert record.notes == ()

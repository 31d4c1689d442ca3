import hashlib
import json
import shutil
import threading
import urllib.error
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision

from medres.errors import WeightsError
from medres.models.resnet import GrayscaleResNet
from medres.models.weights import load_state, load_weights

STEMS = ("duplicate", "port", "adapter")


def image() -> torch.Tensor:
    return torch.randn(2, 1, 40, 33, generator=torch.Generator().manual_seed(1))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Exploit:
    """Unpickled, it touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


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


def test_head_of_several_layers_stays_out(rgb_network):
    state = rgb_network(18).state_dict()
    state["fc.1.weight"], state["fc.1.bias"] = state.pop("fc.weight"), state.pop("fc.bias")
    record = load_state(GrayscaleResNet(18, "port", 3), state)
    assert record.left_out == ("fc.weight", "fc.bias")


def test_head_of_another_width_is_refused(rgb_network):
    state = rgb_network(18).state_dict()
    state["fc.weight"] = torch.zeros(3, 2048)
    with pytest.raises(WeightsError, match=r"fc.weight expected \(3, 512\), found \(3, 2048\)"):
        load_state(GrayscaleResNet(18, "port", 3), state)


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
        lambda s: {f"encoder.{k}": v for k, v in s.items()},
        lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
        lambda s: {"network": {f"_orig_mod.backbone.{k}": v for k, v in s.items()}},
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
    source, target, tmp_path, as_if_trained
):
    trained = as_if_trained(GrayscaleResNet(18, source, 3).double())
    if source == "adapter":
        with torch.no_grad():
            trained.stem.conv.weight.copy_(torch.tensor([0.8, 1.3, -0.4]).view(3, 1, 1, 1))
    path = save(tmp_path, {"network": trained.state_dict(), "epoch": 4})
    network = GrayscaleResNet(18, target, 3).double().eval()
    load_weights(network, path)
    with torch.no_grad():
        expected = trained(image().double())
        assert (network(image().double()) - expected).abs().max() / expected.abs().max() < 1e-10


def imagenet_network(stem: str) -> GrayscaleResNet:
    return GrayscaleResNet(
        18, stem, 3, stem_init="imagenet", display_mean=0.5, display_std=0.2
    ).eval()


def test_ones_adapter_loads_into_an_imagenet_adapter_with_a_zero_bias(tmp_path, as_if_trained):
    trained = as_if_trained(GrayscaleResNet(18, "adapter", 3))
    network = imagenet_network("adapter")
    load_weights(network, save(tmp_path, trained.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(network(image()), trained(image()))


@pytest.mark.parametrize("target", STEMS)
@pytest.mark.parametrize("source", ["duplicate", "adapter"])
def test_imagenet_normalisation_keeps_its_function_in_every_imagenet_stem(
    source, target, as_if_trained
):
    trained = as_if_trained(imagenet_network(source).double())
    network = imagenet_network(target).double()
    load_state(network, trained.state_dict())
    with torch.no_grad():
        expected = trained(image().double())
        assert (network(image().double()) - expected).abs().max() / expected.abs().max() < 1e-10


def test_adapter_with_a_bias_is_not_folded_into_another_stem(tmp_path):
    path = save(tmp_path, imagenet_network("adapter").state_dict())
    with pytest.raises(WeightsError, match=r"weights.pth: stem 'port', .* adapter's bias .*; give"):
        load_weights(GrayscaleResNet(18, "port", 3), path)


def test_channel_of_ones_is_not_spread_over_three_channels():
    with pytest.raises(WeightsError, match=r"state dict: stem: conv1 takes a channel of ones"):
        load_state(imagenet_network("adapter"), imagenet_network("port").state_dict())


@pytest.mark.parametrize("stem", STEMS)
def test_one_channel_weights_do_not_fit_imagenets_normalisation(stem):
    with pytest.raises(WeightsError, match=r"takes one gray channel.*leave model.stem_init at"):
        load_state(imagenet_network(stem), GrayscaleResNet(18, "port", 3).state_dict())


def test_gray_weights_keep_their_function_whatever_the_start(as_if_trained):
    trained = as_if_trained(GrayscaleResNet(18, "port", 3).double())
    for stem, init in (("port", "luma"), ("port", "bare_mean"), ("adapter", "third")):
        network = GrayscaleResNet(18, stem, 3, stem_init=init).double().eval()
        assert load_state(network, trained.state_dict()).notes == ()
        with torch.no_grad():
            expected = trained(image().double())
            error = (network(image().double()) - expected).abs().max() / expected.abs().max()
        assert error < 1e-10


def test_float32_weights_start_a_float64_network_exactly(rgb_network):
    """Sums of float32 kernels are not rounded to float32 where the network is finer."""
    reference = rgb_network(18)
    for stem, init in (("port", "sum"), ("adapter", "third")):
        network = GrayscaleResNet(18, stem, 3, stem_init=init).double().eval()
        load_state(network, reference.state_dict())
        with torch.no_grad():
            expected = reference.double()(image().double().repeat(1, 3, 1, 1))
            found = network(image().double())
        assert (found - expected).abs().max() / expected.abs().max() < 1e-10


@pytest.mark.parametrize(
    ("stem", "init", "better"),
    [
        ("port", "bare_mean", "sum"),
        ("port", "bare_luma", "luma"),
        ("adapter", "bare_third", "third"),
    ],
)
def test_stem_that_shrinks_the_image_is_warned_about_and_noted(stem, init, better, tmp_path):
    network = GrayscaleResNet(18, stem, 3, stem_init=init)
    path = save(tmp_path, GrayscaleResNet(18, "duplicate", 3).state_dict())
    for weights in (path, "none"):
        with pytest.warns(UserWarning, match="a third of the image's contrast") as caught:
            record = load_weights(network, weights)
        assert record.notes == (str(caught[0].message),)
        assert f"stem {stem} with stem_init {init}" in record.notes[0]
        assert f"stem_init {better} keeps the scale" in record.notes[0]


def test_timm_gray_weights_keep_their_function(rgb_network, as_if_trained):
    """timm builds in_chans=1 with the summed kernels, and names everything as torchvision does."""
    state = rgb_network(18).state_dict()
    state["conv1.weight"] = state["conv1.weight"].sum(dim=1, keepdim=True)
    for stem in STEMS:
        network = GrayscaleResNet(18, stem, 3).eval()
        load_state(network, state)
        with torch.no_grad():
            expected = rgb_network(18)(image().repeat(1, 3, 1, 1))
            torch.testing.assert_close(network(image()), expected, rtol=1e-4, atol=1e-4)


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
    assert "missing: layer2.0.downsample.1.bias (128,)\n" in str(caught.value)
    assert "unexpected: layer2.0.attention.weight (3,)" in str(caught.value)
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


def test_pickle_that_would_run_code_does_not(tmp_path):
    path = save(tmp_path, {"conv1.weight": Exploit(tmp_path / "exploited")})
    with pytest.raises(WeightsError, match="pickled objects are not opened: they can run code"):
        load_weights(GrayscaleResNet(18), path)
    assert not (tmp_path / "exploited").exists()


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


@pytest.fixture
def download(tmp_path, monkeypatch, rgb_network):
    """torchvision's file as a server of this machine has it, named by a digest."""
    served, hub = tmp_path / "served", tmp_path / "hub"
    served.mkdir()
    path = save(served, rgb_network(18, 1000).state_dict())
    handler = partial(QuietHandler, directory=str(served))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))

    def serve(digest: str) -> Path:
        named = path.rename(served / f"resnet18-{digest}.pth")
        url = f"http://127.0.0.1:{server.server_port}/{named.name}"
        members = {"IMAGENET1K_V1": SimpleNamespace(url=url)}
        monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: members)
        return hub / "checkpoints" / named.name

    yield serve, hashlib.sha256(path.read_bytes()).hexdigest()
    server.shutdown()
    server.server_close()


def test_imagenet_weights_are_downloaded_once_and_checked(download, rgb_network):
    serve, digest = download
    kept = serve(digest[:16])
    network = GrayscaleResNet(18, "port", 1000).eval()
    record = load_weights(network, "imagenet")
    assert record.sha256 == digest
    assert kept.exists()
    with torch.no_grad():
        expected = rgb_network(18, 1000)(image().repeat(1, 3, 1, 1))
        torch.testing.assert_close(network(image()), expected, rtol=1e-4, atol=1e-4)


def test_damaged_download_is_refused_and_not_kept(download):
    serve, _ = download
    kept = serve("00abcdef")
    with pytest.raises(WeightsError, match=r"could not be downloaded \(RuntimeError: invalid hash"):
        load_weights(GrayscaleResNet(18), "imagenet")
    assert not kept.exists()


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

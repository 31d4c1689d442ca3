import csv
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
import zoo_bundles
from monai.bundle import ConfigParser
from PIL import Image
from radiographs import write_radiograph

from medres.bundle.zoo import is_zoo_bundle, load_zoo_bundle
from medres.bundle.zoo_chain import check_address
from medres.errors import BundleError, UnreadableImageError
from pipelines import evaluate

# What MONAI says of its own readers: no GPU, no orientation.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader", "ignore:PydicomReader")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    make = {"density": zoo_bundles.density, "inbody": zoo_bundles.inbody}
    make["template"] = zoo_bundles.template
    return {name: build(folder / name) for name, build in make.items()}


@pytest.fixture
def template(bundles, tmp_path):
    """A copy that a test may damage, its config as JSON."""
    copy = shutil.copytree(bundles["template"], tmp_path / "bundle")
    return zoo_bundles.edit(copy, lambda values: None)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png")
    return tmp_path / "rgb.png", tmp_path / "gray.png"


@pytest.mark.parametrize("name", ["density", "inbody", "template"])
def test_scores_are_those_of_monais_own_parser(bundles, picture, name):
    folder = bundles[name]
    path = picture[name == "template"]
    parser = ConfigParser()
    parser.read_config(next(str(p) for p in (folder / "configs").glob("inference.*")))
    if name == "density":
        parser["network_def"]["pretrained"] = False  # would ask the network for weights
    state = torch.load(folder / "models" / "model.pt", weights_only=True)
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(state.get("model", state))
    image = parser.get_parsed_content("preprocessing")({"image": str(path)})["image"]
    with torch.no_grad():
        output = network(image[None].as_tensor().float()).double()
    expected = output.sigmoid()[0] if name == "density" else output.softmax(1)[0]
    model = load_zoo_bundle(folder)
    expected = expected[1:] if name == "inbody" else expected
    found = zoo_bundles.scores_of(model, path)
    np.testing.assert_allclose(found, expected.tolist(), atol=1e-12)


def test_outputs_become_findings(bundles):
    schemas = {name: load_zoo_bundle(folder).labels for name, folder in bundles.items()}
    assert (schemas["density"].kind, schemas["density"].findings) == (
        "multilabel",
        ("A", "B", "C", "D"),
    )
    assert (schemas["inbody"].kind, schemas["inbody"].findings) == ("binary", ("out body",))
    assert schemas["template"].kind == "multiclass"


def test_only_bundles_of_others_are_taken_for_such(bundles, written_model, tmp_path):
    assert all(is_zoo_bundle(folder) for folder in bundles.values())
    assert not is_zoo_bundle(written_model)
    assert not is_zoo_bundle(tmp_path)


def test_bundle_of_others_is_evaluated_and_unreadable_images_cost_no_other(
    bundles, tmp_path, capsys
):
    lines = ["image,frame,patient_id,label,site"]
    for k in range(20):
        pixels = np.random.default_rng(k).integers(0, 256, (64, 64)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        lines.append(f"{k}.png,0,p{k},{zoo_bundles.SHAPES[k % 4]},{'AB'[k % 2]}")
    lines.append("0.png,1,p0,background,A")
    content = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "5.png").write_text("no picture")
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(tmp_path / "6.png")
    (tmp_path / "labelled.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    zipped = shutil.make_archive(str(tmp_path / "shapes"), "zip", bundles["template"])
    options = ["--out", out, "--device", "cpu", "--workers", "1", "--subgroup", "site"]
    assert evaluate.main([*map(str, [zipped, tmp_path / "labelled.csv", *options])]) == 0
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert [*evaluation["findings"]] == zoo_bundles.SHAPES
    assert evaluation["model"]["weights"] == "Classification Template 0.1.6"
    assert any("is not recorded" in note for note in evaluation["notes"])
    assert evaluation["notes"][0].startswith("The bundle could not score 4 images, left out of")
    assert evaluation["n"] == {"patients": 17, "studies": None, "images": 17}
    assert evaluation["flow"] == {
        "start": "images of the manifest, in 20 files",
        "n": 21,
        "excluded": [
            {"why": "not asked for (--split, --where)", "n": 0},
            {"why": "refused: decode_failed", "n": 1},
            {"why": "refused: unknown_format", "n": 1},
            {"why": "refused: constant_image", "n": 1},
            {"why": "refused: frame_out_of_range", "n": 1},
        ],
    }
    rejected = (out / "predictions.csv.rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in rejected] == ["3.png", "5.png", "6.png", "0.png"]
    with (out / "predictions.csv").open() as table:
        rows = {row["image"]: row for row in csv.DictReader(table)}
    assert [*rows] == [f"{k}.png" for k in range(20) if k not in (3, 5, 6)]
    expected = zoo_bundles.scores_of(load_zoo_bundle(bundles["template"]), tmp_path / "4.png")
    found = [float(rows["4.png"][f"{shape}_score"]) for shape in zoo_bundles.SHAPES]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (out / "evaluation.html").exists()
    told = capsys.readouterr().out
    assert "AUROC" in told
    assert (
        "not scored: 1 decode_failed, 1 unknown_format, 1 constant_image, 1 frame_out_of_range "
        "(3.png, 5.png, 6.png, ...); listed in predictions.csv.rejected.jsonl"
    ) in told


HOSTILE = [
    ("network_def", {"_target_": "os.system", "command": "touch {ran}"}, "'os.system' is not allo"),
    ("network_def", "$__import__('os').system('touch {ran}')", "is an expression, and express"),
    ("network_def", {"_target_": "subprocess.Popen", "args": "touch {ran}"}, "is not allowed"),
    ("network_def", {"_target_": "builtins.eval", "source": "1"}, "is not allowed"),
    ("network_def", {"_target_": "monai.transforms.io.array.os.system"}, "is not allowed"),
    ("network_def", {"_target_": "monai.transforms.utils.optional_import"}, "is not allowed"),
    ("network_def", {"_target_": "torch.nn.modules.module.torch.load"}, "is not allowed"),
    ("network_def", {"_target_": "scripts.net.Net"}, "is not allowed"),
    ("network_def", {"_target_": "DenseNet", "_mode_": "debug"}, "_mode_ is not allowed"),
    ("network_def", {"_target_": "DenseNet", "_requires_": "$1"}, "_requires_ is not allowed"),
    ("network_def", {"_target_": "DenseNet", "block_config": [10**9]}, "beyond 65536"),
    ("network_def", {"_target_": "DenseNet", "unknown": 1}, "DenseNet does not take these"),
    ("network_def", "%/etc/passwd", "is an expression"),
    ("network_def", "@network_def", "network_def refers to itself"),
    ("network_def", "@nothing", "there is no nothing in it"),
    ("network_def", [1], "network_def is list; a network is expected"),
    ("preprocessing", {"_target_": "Identity"}, "preprocessing is Identity; a Compose is exp"),
]
STEPS = [
    ({"_target_": "LoadImaged", "keys": "image", "reader": "os.system"}, "'os.system' is not all"),
    ({"_target_": "LoadImaged", "keys": "image", "reader": "NumpyReader"}, "reader: 'NumpyReader'"),
    ({"_target_": "LoadImaged", "keys": "image", "reader": ["PILReader", "x.Y"]}, "'x.Y' is not"),
    ({"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x"}, "'Lambdad' is not allowed"),
    ({"_target_": "SaveImaged", "keys": "image", "output_dir": "/"}, "is not allowed"),
    ({"_target_": "WriteFileMappingd", "keys": "image"}, "'WriteFileMappingd' is not allowed"),
    ({"_target_": "CastToTyped", "keys": "image", "dtype": "$exit()"}, "is an expression"),
]


@pytest.mark.parametrize(("key", "value", "message"), HOSTILE)
def test_hostile_config_is_refused(template, tmp_path, key, value, message):
    ran = tmp_path / "ran"
    written = json.loads(json.dumps(value).replace("{ran}", str(ran)))
    zoo_bundles.edit(template, lambda values: values.update({key: written}))
    with pytest.raises(BundleError, match=message):
        load_zoo_bundle(template)
    assert not ran.exists()


@pytest.mark.parametrize(("step", "message"), STEPS)
def test_hostile_step_is_refused(template, step, message):
    zoo_bundles.edit(template, lambda values: values["transforms"].append(step))
    with pytest.raises(BundleError, match=message):
        load_zoo_bundle(template)


def test_network_that_asks_for_all_memory_is_refused(template):
    large = {"_target_": "torch.nn.Linear", "in_features": 65536, "out_features": 65536}
    zoo_bundles.edit(template, lambda values: values.update(network_def=large))
    with pytest.raises(BundleError, match="has 4295032832 numbers, and the weights have 4119;"):
        load_zoo_bundle(template)


def test_config_without_end_is_refused(template):
    doubled = {f"a{k}": [f"@a{k + 1}"] * 10 for k in range(10)} | {"a10": 1}
    zoo_bundles.edit(template, lambda values: values.update(doubled, network_def="@a0"))
    with pytest.raises(BundleError, match="too large or too deep"):
        load_zoo_bundle(template)


def test_checkpoint_that_hides_code_is_refused(template, tmp_path):
    class Exploit:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"a": Exploit()}, template / "models" / "model.pt")
    with pytest.raises(BundleError, match=r"its pickle names '.* system'"):
        load_zoo_bundle(template)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused(template):
    torch.save({"weight": torch.zeros(2**16)}, template / "models" / "model.pt")
    with pytest.raises(BundleError, match="are not those of network_def"):
        load_zoo_bundle(template)


@pytest.mark.parametrize("content", [[1], {"model": 3}])
def test_weights_that_are_no_tensors_are_refused(template, content):
    torch.save(content, template / "models" / "model.pt")
    with pytest.raises(BundleError, match="not a state dict"):
        load_zoo_bundle(template)


def test_link_out_of_the_bundle_is_refused(template, tmp_path):
    (template / "models" / "model.pt").rename(tmp_path / "model.pt")
    (template / "models" / "model.pt").symlink_to(tmp_path / "model.pt")
    with pytest.raises(BundleError, match="is a link to a place outside the model"):
        load_zoo_bundle(template)


def test_dicom_file_that_is_a_pickle_too_is_not_unpickled(template, tmp_path):
    class Exploit:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    pixels = np.zeros((64, 64), np.uint8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME2")
    content = (tmp_path / "a.dcm").read_bytes()
    preamble = pickle.dumps(Exploit()).ljust(128, b"\0")
    assert len(preamble) == 128
    broken = preamble + content[128:-2000]  # pydicom fails on it, and MONAI tries the next reader
    (tmp_path / "a.dcm").write_bytes(broken)
    reader = {"_target_": "LoadImaged", "keys": "image", "reader": "PydicomReader"}
    zoo_bundles.edit(template, lambda values: values["transforms"].__setitem__(0, reader))
    with pytest.raises(UnreadableImageError):
        load_zoo_bundle(template).chain.apply(str(tmp_path / "a.dcm"))
    assert not (tmp_path / "ran").exists()


def test_arrays_are_not_given_to_readers_that_unpickle(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    with pytest.raises(UnreadableImageError, match="neither DICOM, NIfTI nor a picture"):
        check_address(str(tmp_path / "a.npy"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_trusted_bundle_runs_its_own_code(template):
    (template / "scripts").mkdir()
    (template / "scripts" / "__init__.py").touch()
    (template / "scripts" / "net.py").write_text("from monai.networks.nets import DenseNet as Net")

    def change(values):
        values["network_def"]["_target_"] = "scripts.net.Net"
        values["network_def"]["in_channels"] = "$1 + 0"

    zoo_bundles.edit(template, change)
    with pytest.raises(BundleError, match=r"'scripts.net.Net' is not allowed"):
        load_zoo_bundle(template)
    assert load_zoo_bundle(template, trust=True).labels.kind == "multiclass"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("network_data_format"), "network_data_format lacks 'network_data_format'"),
        (
            lambda m: m["network_data_format"]["inputs"]["image"].update(spatial_shape=[1, 2, 3]),
            "takes images of 3 dimensions",
        ),
        (
            lambda m: m["network_data_format"]["outputs"]["pred"].update(num_channels=10**9),
            "gives 1000000000 outputs",
        ),
    ],
)
def test_metadata_that_describes_no_2d_classifier_is_refused(template, change, message):
    path = template / "configs" / "metadata.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(BundleError, match=message):
        load_zoo_bundle(template)


def test_bundle_that_does_not_say_what_its_output_is_is_refused(template):
    zoo_bundles.edit(template, lambda values: values.pop("postprocessing"))
    with pytest.raises(BundleError, match="does not say what makes probabilities of the output"):
        load_zoo_bundle(template)


def test_network_with_fewer_outputs_than_named_is_refused(template, picture):
    path = template / "configs" / "metadata.json"
    values = json.loads(path.read_text())
    values["network_data_format"]["outputs"]["pred"]["num_channels"] = 7
    path.write_text(json.dumps(values))
    with pytest.raises(
        BundleError, match=r"gives \(1, 4\) for one image, and its metadata names 7"
    ):
        zoo_bundles.scores_of(load_zoo_bundle(template), picture[1])

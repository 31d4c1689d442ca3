import json

import pytest
import torch
from model_records import record_of

from medres.bundle.digests import write_digests
from medres.bundle.directory import write_bundle, write_weights
from medres.bundle.ensemble import write_ensemble
from medres.bundle.seen import SeenCases
from medres.bundle.verify import MONAI_CHECKS, verify_model
from medres.models.resnet import GrayscaleResNet
from pipelines import verify

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:onnxscript")


def outcomes(folder, **options):
    return {check.name: check for check in verify_model(folder, **options)}


def edited(path, **changes):
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | changes))


@pytest.mark.slow
def test_model_passes_every_check(written_model):
    found = outcomes(written_model)
    assert {*found} == {"files", "record and weights", "configs", *MONAI_CHECKS}
    assert {check.outcome for check in found.values()} == {"passed"}
    assert found["run inference"].detail.endswith(
        "largest difference to medres' own probabilities 0"
    )
    assert {p.name for p in written_model.iterdir()} == {"LICENSE", "configs", "docs", "models"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_models_of_several_findings_pass_too(kind, tmp_path):
    import dataclasses

    from medres.bundle.record import NetworkRecord
    from medres.data.labels import LabelSchema
    from medres.training.calibrate import NOT_CALIBRATED

    names = ("$nothing", "@none", "%no")  # which MONAI would evaluate, look up and read
    network = GrayscaleResNet(18, "adapter", 3).eval()
    record = dataclasses.replace(
        record_of(write_weights(tmp_path, network.state_dict())),
        network=NetworkRecord(18, "adapter", 3),
        labels=LabelSchema(kind, names, ("label",) if kind == "multiclass" else names),
        thresholds={},
        calibration=NOT_CALIBRATED,
    )
    write_bundle(tmp_path, record, SeenCases.of([], []))
    assert {check.outcome for check in verify_model(tmp_path)} == {"passed"}


@pytest.mark.slow
def test_ensemble_passes_too(written_model, tmp_path):
    from medres.bundle.directory import load_model

    models = [load_model(written_model)] * 2
    write_ensemble(tmp_path, models, models[0].record.thresholds, {}, models[0].record.provenance)
    assert {check.outcome for check in verify_model(tmp_path)} == {"passed"}


def test_changed_file_is_found_and_monais_tools_do_not_run(model_copy):
    with (model_copy / "docs" / "README.md").open("a") as card:
        card.write("better than any radiologist")
    found = outcomes(model_copy)
    assert found["files"].detail == (
        "changed: docs/README.md; restore the files, or write the model again"
    )
    assert found["record and weights"].outcome == "passed"
    assert found["run train"].outcome == "not run"
    assert "--trust runs them" in found["run train"].detail


def test_hostile_config_with_its_own_digest_is_not_run(model_copy):
    hostile = f"$__import__('os').system('touch {model_copy}/ran')"
    edited(model_copy / "configs" / "inference.json", imports=[hostile], network_def=hostile)
    write_digests(model_copy)
    found = outcomes(model_copy)
    assert found["files"].outcome == "passed"
    assert found["configs"].outcome == "failed"
    assert found["configs"].detail.startswith("configs/inference.json: not what this medres writes")
    assert all(found[name].outcome == "not run" for name in MONAI_CHECKS)
    assert not (model_copy / "ran").exists()


def test_code_beside_the_configs_is_found_and_not_run(model_copy):
    (model_copy / "glob.py").write_text("raise SystemExit")
    found = outcomes(model_copy)
    assert found["files"].detail.startswith("added: glob.py")
    assert found["properties"].outcome == "not run"


def test_model_that_cannot_be_loaded_fails_that_check(model_copy):
    (model_copy / "models" / "model.pt").write_bytes(b"x")
    found = outcomes(model_copy)
    assert found["files"].detail.startswith("changed: models/model.pt")
    assert found["record and weights"].outcome == "failed"
    assert found["run train"].detail == "the model cannot be loaded"


def test_program_prints_each_answer_and_fails_with_one(model_copy, capsys):
    (model_copy / "LICENSE").unlink()
    assert verify.main([str(model_copy)]) == 1
    printed = capsys.readouterr().out
    assert "failed   files                missing: LICENSE" in printed
    assert "SHA-256 of configs/digests.json, for your own records: " in printed


def test_program_compares_the_digest_that_was_noted(model_copy, capsys):
    (model_copy / "eval.py").touch()  # keeps MONAI's tools from running, which takes its time
    assert verify.main([str(model_copy), "--sha256", "0123456789"]) == 1
    assert "failed   digest               expected 0123456789, found " in capsys.readouterr().out


def test_program_says_what_is_no_model(tmp_path, capsys):
    assert verify.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(
        f"failed   files                {tmp_path}: lacks configs/digests.json"
    )
    assert "failed   record and weights" in printed


def test_weights_changed_with_all_digests_are_another_model(model_copy):
    network = GrayscaleResNet(18, "port", 1)
    torch.nn.init.zeros_(network.backbone.fc.weight)
    write_weights(model_copy, network.state_dict())
    write_digests(model_copy)
    found = outcomes(model_copy)
    assert found["files"].outcome == "passed"
    assert "the weights were changed after training" in found["record and weights"].detail

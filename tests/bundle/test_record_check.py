import json
import shutil

import pytest
import torch

from medres.bundle.directory import load_model, read_record
from medres.errors import BundleError


def changed(model, **parts):
    """Set values of the record by their path, such as network__depth."""
    path = model / "configs" / "medres.json"
    values = json.loads(path.read_text())
    for names, value in parts.items():
        *outer, last = names.split("__")
        place = values
        for name in outer:
            place = place[name]
        place[last] = value
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"network__depth": "$__import__('os')"}, r"network\.depth: .* it takes a whole number"),
        ({"network__depth": True}, r"network\.depth: 'True' is not accepted"),
        ({"network__num_outputs": 10**12}, r"network\.num_outputs: '1000000000000' .* takes 1, on"),
        ({"network__stem": ["port"]}, r"network\.stem: .* it takes one of duplicate, port, adap"),
        ({"network__stem": "$exit()"}, r"network\.stem: '\$exit\(\)' is not accepted"),
        ({"network__display_mean": "$exit()"}, r"network\.display_mean: .* a finite number from 0"),
        ({"labels__kind": "ordinal"}, r"labels\.kind: .* one of binary, multilabel, multiclass"),
        ({"labels__findings": []}, r"labels\.findings: '0' is not accepted; it takes 1 to 1000"),
        ({"labels__findings": ["a", "a"]}, r"labels\.findings: '2' is not accepted"),
        ({"labels__findings": [3]}, r"labels\.findings: '3' is not accepted; it takes names"),
        ({"unit": "$exit()"}, "unit: .* it takes one of patient, study, image"),
        ({"thresholds__other": {"value": 1, "rule": "", "n": 1}}, "thresholds: 'other' is not"),
        ({"training": []}, "training: .* it takes an object"),
        ({"training__augmentation": {"noise": "$exit()"}}, r"training\.augmentation\.noise: "),
        ({"training__augmentation": 3}, r"training\.augmentation: '3' is not accepted"),
        ({"figures": 3}, "figures: '3' is not accepted; it takes an object"),
        ({"members": [{"depth": 18, "stem": "port", "num_outputs": 1}] * 101}, "at most 100"),
    ],
)
def test_value_of_another_kind_is_refused_before_anything_is_built(model_copy, parts, message):
    changed(model_copy, **parts)
    with pytest.raises(BundleError, match=f"the model's record: .*{message}"):
        load_model(model_copy)


@pytest.mark.parametrize("size", [10**9, "64 or so"])
def test_preprocessing_beyond_reason_is_refused(written_model, size):
    import dataclasses

    from medres.bundle.record_check import check_record

    record = read_record(written_model)
    preprocessing = dataclasses.replace(record.preprocessing, size=size)
    with pytest.raises(
        BundleError, match=r"preprocessing\.size: .* a finite number from 1 to 4096"
    ):
        check_record(dataclasses.replace(record, preprocessing=preprocessing))


def test_statistics_that_normalise_nothing_are_refused(written_model):
    import dataclasses

    from medres.bundle.record_check import check_record

    record = read_record(written_model)
    statistics = dataclasses.replace(record.preprocessing.statistics, std=0.0)
    preprocessing = dataclasses.replace(record.preprocessing, statistics=statistics)
    with pytest.raises(BundleError, match=r"std 0.0.* it takes low below high, and std above 0"):
        check_record(dataclasses.replace(record, preprocessing=preprocessing))


def test_parts_that_another_version_has_written_are_kept_and_told_of(model_copy, tmp_path):
    changed(model_copy, nodules={"a": 1})
    with pytest.warns(UserWarning, match="has written nodules into this model; this one does not"):
        model = load_model(model_copy)
    assert model.record.as_json()["nodules"] == {"a": 1}


def test_members_that_the_weights_do_not_hold_are_not_built(model_copy):
    changed(model_copy, members=[{"depth": 152, "stem": "port", "num_outputs": 1}] * 100)
    with pytest.raises(BundleError, match="the model is of another architecture than its record"):
        load_model(model_copy)


def test_link_in_place_of_the_weights_is_refused(model_copy, tmp_path):
    shutil.move(model_copy / "models" / "model.pt", tmp_path / "elsewhere.pt")
    (model_copy / "models" / "model.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(BundleError, match="is a link to a place outside the model"):
        load_model(model_copy)


@pytest.mark.parametrize("content", ["[]", '{"patients": 3, "pixels": []}', "{}"])
def test_cases_seen_that_are_no_lists_are_refused(model_copy, content):
    (model_copy / "configs" / "seen.json").write_text(content)
    with pytest.raises(BundleError, match=r"seen\.json: expects"):
        load_model(model_copy)


def test_weights_that_are_no_tensors_are_refused(model_copy):
    from medres.files import file_digest

    path = model_copy / "models" / "model.pt"
    torch.save({"a": [1]}, path)
    changed(model_copy, weights_sha256=file_digest(path))
    with pytest.raises(BundleError, match="not a state dict, which holds tensors by name"):
        load_model(model_copy)

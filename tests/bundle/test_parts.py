import os

import pytest

from medres.bundle.parts import part, read_part
from medres.errors import BundleError


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "medres.json").write_text('{"a": 1}')
    (tmp_path / "outside.json").write_text('{"secret": 1}')
    return folder


def test_part_inside_the_model_is_opened(model):
    assert part(model, "configs/medres.json") == model / "configs" / "medres.json"
    assert read_part(model, "configs/medres.json") == {"a": 1}


@pytest.mark.parametrize("name", ["../outside.json", "configs/../../outside.json", "/etc/passwd"])
def test_name_that_leads_out_is_refused(model, name):
    with pytest.raises(BundleError, match="leads out of the model; give a name inside it"):
        part(model, name)


def test_backslashes_do_not_lead_out(model):
    with pytest.raises(BundleError, match="leads out of the model"):
        part(model, "..\\outside.json")


def test_link_out_of_the_model_is_refused(model):
    (model / "configs" / "seen.json").symlink_to(model.parent / "outside.json")
    with pytest.raises(BundleError, match=r"seen\.json: is a link to a place outside the model"):
        read_part(model, "configs/seen.json")


def test_folder_that_is_a_link_out_is_refused(model, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.pt").touch()
    (model / "models").symlink_to(tmp_path / "other")
    with pytest.raises(BundleError, match="is a link to a place outside the model"):
        part(model, "models/model.pt")


def test_link_inside_the_model_is_followed(model):
    (model / "configs" / "seen.json").symlink_to("medres.json")
    assert read_part(model, "configs/seen.json") == {"a": 1}


def test_model_that_is_reached_by_a_link_is_read(model, tmp_path):
    (tmp_path / "newest").symlink_to(model)
    assert read_part(tmp_path / "newest", "configs/medres.json") == {"a": 1}


def test_pipe_is_not_waited_for(model):
    os.mkfifo(model / "configs" / "seen.json")
    with pytest.raises(BundleError, match=r"seen\.json: is no regular file; restore it"):
        read_part(model, "configs/seen.json")


def test_part_that_is_too_large_is_refused(model):
    with pytest.raises(BundleError, match="has 8 bytes, and at most 7 are read; restore it"):
        part(model, "configs/medres.json", limit=7)


def test_nesting_without_end_is_not_json(model):
    (model / "configs" / "medres.json").write_text("[" * 100_000)
    with pytest.raises(BundleError, match="not JSON; restore the file or train again"):
        read_part(model, "configs/medres.json")

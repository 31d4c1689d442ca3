import json

import pytest

from medres.bundle.digests import DIGESTS, compare_digests, write_digests
from medres.errors import BundleError
from medres.files import file_digest


def recorded(folder):
    return json.loads((folder / DIGESTS).read_text())


def test_every_file_of_a_model_has_its_digest(written_model):
    digests = recorded(written_model)["sha256"]
    files = {p.relative_to(written_model).as_posix() for p in written_model.rglob("*.*")}
    assert {*digests} == (files - {DIGESTS}) | {"LICENSE"}
    assert digests["models/model.pt"] == file_digest(written_model / "models" / "model.pt")
    assert not compare_digests(written_model, recorded(written_model))


@pytest.mark.parametrize("name", ["LICENSE", "configs/train.json", "models/model.pt"])
def test_changed_file_is_named(model_copy, name):
    with (model_copy / name).open("ab") as stream:
        stream.write(b" ")
    assert str(compare_digests(model_copy, recorded(model_copy))) == f"changed: {name}"


def test_missing_and_added_files_are_named(model_copy):
    (model_copy / "docs" / "README.md").unlink()
    (model_copy / "scripts").mkdir()
    (model_copy / "scripts" / "__init__.py").touch()
    found = compare_digests(model_copy, recorded(model_copy))
    assert str(found) == "missing: docs/README.md; added: scripts/__init__.py"


def test_what_the_workflows_write_and_read_is_no_part_of_the_model(model_copy):
    for name in ("eval", "data", "fine_tuned"):
        (model_copy / name).mkdir()
        (model_copy / name / "a.csv").touch()
    assert not compare_digests(model_copy, recorded(model_copy))


def test_link_in_place_of_a_file_is_a_change(model_copy, tmp_path):
    target = tmp_path / "LICENSE"
    (model_copy / "LICENSE").rename(target)
    (model_copy / "LICENSE").symlink_to(target)
    (model_copy / "more").symlink_to(tmp_path)
    found = compare_digests(model_copy, recorded(model_copy))
    assert str(found) == "changed: LICENSE; added: more"


def test_digests_written_anew_are_the_files_own(model_copy):
    (model_copy / "LICENSE").write_text("CC0")
    write_digests(model_copy)
    assert not compare_digests(model_copy, recorded(model_copy))


@pytest.mark.parametrize("values", [{}, {"schema": "medres.digests/1", "sha256": []}])
def test_other_record_of_digests_is_refused(written_model, values):
    with pytest.raises(BundleError, match=r"schema .*, expected 'medres\.digests/1' with a digest"):
        compare_digests(written_model, values)

import json
from pathlib import Path

import guarded_model
import pytest
import torch

from medres.errors import BundleError
from medres.files import file_digest
from medres.guard.storage import read_guard, write_guard

WEIGHTS = "ab" * 32


@pytest.fixture(scope="module")
def network():
    return guarded_model.build_network()


@pytest.fixture(scope="module")
def guard(network):
    return guarded_model.fit_guard(network, train=40, validation=40)


@pytest.fixture
def folder(guard, tmp_path: Path) -> Path:
    write_guard(tmp_path, guard, WEIGHTS)
    return tmp_path


def test_guard_reads_back_as_it_was_written(guard, network, folder) -> None:
    again = read_guard(folder, WEIGHTS)
    measured = guarded_model.measure(network, guarded_model.anatomy(8, 5))
    records = [guarded_model.record(modality=m) for m in ("CR", "US") * 4]
    assert again.check(records, measured) == guard.check(records, measured)
    assert again.headers == guard.headers
    assert again.limits == guard.limits
    assert again.false_alarms.as_json() == guard.false_alarms.as_json()


def test_record_says_the_rate_for_people(folder) -> None:
    values = json.loads((folder / "configs" / "guard.json").read_text())
    assert values["false_alarms"]["validation_images"] == 40
    assert values["false_alarms"]["promised"] == pytest.approx(1 / 41)
    assert values["headers"]["values"]["modality"] == {"CR/DX": 40}


def test_model_without_a_guard_is_one(guard, folder, tmp_path) -> None:
    assert read_guard(tmp_path / "none", WEIGHTS) is None
    write_guard(folder, None, WEIGHTS)
    assert read_guard(folder, WEIGHTS) is None
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_equal_guards_have_equal_digests(guard, folder, tmp_path) -> None:
    write_guard(tmp_path / "again", guard, WEIGHTS)
    one, two = (f / "configs" / "guard.pt" for f in (folder, tmp_path / "again"))
    assert file_digest(one) == file_digest(two)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "configs" / "guard.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_tensors(folder: Path, change) -> None:
    path = folder / "configs" / "guard.pt"
    tensors = torch.load(path, weights_only=True)
    torch.save(change(tensors), path)
    edit(folder, tensors_sha256=file_digest(path))


class Exploit:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: edit(f, schema="medres.guard/9"), "schema 'medres.guard/9', expected"),
        (lambda f: edit(f, weights_sha256="cd"), "was fitted with other weights than the model's"),
        (lambda f: (f / "configs/guard.pt").unlink(), r"guard\.pt: missing; restore the file"),
        (lambda f: (f / "configs/guard.pt").write_bytes(b"x"), "was changed after training"),
        (lambda f: (f / "configs/guard.json").write_text("{"), "the guard is damaged; restore"),
        (lambda f: edit(f, headers={}), "the guard is damaged"),
        (lambda f: edit(f, limits=[1]), "the guard is damaged"),
        (lambda f: replace_tensors(f, lambda t: {"a": Exploit()}), "holds no plain tensors"),
        (
            lambda f: replace_tensors(f, lambda t: {**t, "unit": t["unit"] * torch.nan}),
            "holds values that are not finite float64",
        ),
        (
            lambda f: replace_tensors(
                f, lambda t: {n: v for n, v in t.items() if n[:5] != "layer"}
            ),
            "parts pixels, outline, expected pixels, outline, layer1, ",
        ),
    ],
)
def test_damaged_guard_is_refused_with_what_to_do(folder, damage, message) -> None:
    damage(folder)
    with pytest.raises(BundleError, match=message):
        read_guard(folder, WEIGHTS)

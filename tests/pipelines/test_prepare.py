"""The verb: its words, its exit status, and what it does not import."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipelines import prepare


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for index in range(4):
        Image.fromarray(np.full((4, 4), index, np.uint8)).save(source / f"{index}.png")
    (source / "notes.dcm").write_text("text")
    (tmp_path / "labels.csv").write_text(
        "file,patient_id,dx\n0.png,A,sick\n1.png,A,well\n2.png,B,\ngone.png,C,well\n"
    )
    return tmp_path


def call(folder, *more):
    arguments = [folder / "in", "--labels", folder / "labels.csv", "--out", folder / "m.csv", *more]
    return prepare.main([str(argument) for argument in arguments])


def test_a_manifest_is_written_and_told_about(folder, capsys):
    assert call(folder, "--findings", "dx", "--positive", "sick") == 0
    told = capsys.readouterr().out
    assert f"{folder}/m.csv: 3 images, 2 patients" in told
    assert "  sick: 1 positive, 1 negative, 1 missing" in told
    assert "no images: 1 not_dicom (notes.dcm); listed in m.csv.rejected.jsonl" in told
    assert "without label, left out: 1 (3.png)" in told
    assert "label rows without an image, by file: 1 (row 5)" in told
    assert "note: Patient ids and study UIDs are pseudonyms without a secret" in told
    assert f"next: medres train --data.manifest {folder}/m.csv --out runs/first" in told
    assert (folder / "m.csv").read_text().splitlines()[0] == "image,frame,patient_id,label_sick"


def test_a_secret_is_taken_from_its_file(folder, capsys):
    (folder / "secret").write_text("0123456789abcdef")
    options = ["--findings", "dx", "--positive", "sick", "--site-secret", folder / "secret"]
    assert call(folder, *options) == 0
    assert "under the site's secret" in capsys.readouterr().out


def test_identifiers_are_kept_on_request(folder):
    assert call(folder, "--findings", "dx", "--positive", "sick", "--keep-identifiers") == 0
    assert ",A," in (folder / "m.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--findings", "dx"], "has the values 'sick' and 'well'; say which one is the finding"),
        (["--findings", "dxx"], "label column 'dxx' does not exist; did you mean 'dx'?"),
        (["--site-secret", "none"], "none: no such secret file"),
    ],
)
def test_mistakes_have_a_message_and_a_status_and_leave_nothing(folder, capsys, options, message):
    before = sorted(folder.rglob("*"))
    assert call(folder, *options) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("medres prepare: ")
    assert message in told.err
    assert sorted(folder.rglob("*")) == before


def test_an_npz_needs_no_table(tmp_path, capsys):
    labels = {"train_labels": np.array([0, 1]), "test_labels": np.array([0, 1])}
    pixels = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "x.npz", train_images=pixels, test_images=pixels, **labels)
    assert prepare.main([str(tmp_path / "x.npz"), "--out", str(tmp_path / "m.csv")]) == 0
    told = capsys.readouterr().out
    assert "4 images (2 train, 2 test), patients unknown" in told
    assert "note: The manifest has no patient ids" in told


@pytest.mark.parametrize("arguments", [["--help"], ["no_such_folder", "--out", "m.csv"]])
def test_neither_help_nor_preparing_imports_torch(arguments, tmp_path):
    script = (
        "import sys\n"
        "from pipelines import prepare\n"
        "try:\n"
        f"    prepare.main({arguments!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(sorted({'torch', 'monai', 'pandas', 'matplotlib'} & sys.modules.keys()))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert told.stdout.splitlines()[-1] == "[]"

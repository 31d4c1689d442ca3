"""From folders and label tables to manifests: joins, identities, rejected files, real data."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medres.data.manifest import check_files, read_manifest
from medres.data.prepare import PrepareOptions, prepare_manifest
from medres.data.pseudonyms import Pseudonyms
from medres.data.rejected import count_reasons, rejected_path
from medres.errors import ManifestError
from medres.imaging.read import read_grayscale


def write_dicom(path, *, patient="P1", study="1.2.3", instance="1.2.3.4", frames=1):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID = instance, study
    dataset.SeriesInstanceUID, dataset.PatientID, dataset.Modality = f"{study}.1", patient, "DX"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 3, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = bytes(range(6)) * frames
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_png(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5), value, np.uint8)).save(path)


def table(tmp_path, text, name="labels.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        write_png(folder / name)
    return folder


@pytest.fixture
def studies(tmp_path):
    """Two patients; the first has two studies, one of these two images."""
    folder = tmp_path / "in"
    write_dicom(folder / "1.dcm", patient="P1", study="1.1", instance="1.1.1")
    write_dicom(folder / "2.dcm", patient="P1", study="1.1", instance="1.1.2")
    write_dicom(folder / "3", patient="P1", study="1.2", instance="1.2.1")
    write_dicom(folder / "deep" / "4.dcm", patient="P2", study="1.3", instance="1.3.1")
    return folder


def prepare(folder, labels, tmp_path, **options):
    return prepare_manifest(
        folder, labels, out=tmp_path / "out" / "m.csv", options=PrepareOptions(**options)
    )


def images_and_labels(prepared):
    return {row.image.removeprefix("../in/"): row.labels[0] for row in prepared.manifest.rows}


@pytest.mark.parametrize("column", ["image", "file", "path", "File Name", "image_path"])
@pytest.mark.parametrize("prefix", ["", "./", "in/", "somewhere/else/"])
def test_labels_are_joined_by_path_or_by_a_file_name_of_its_own(pictures, tmp_path, column, prefix):
    labels = table(tmp_path, f"{column},label\n{prefix}a/1.png,0\n{prefix}b\\3.png,1\n")
    prepared = prepare(pictures, labels, tmp_path)
    assert images_and_labels(prepared) == {"a/1.png": 0, "b/3.png": 1}
    assert prepared.unlabelled == ("a/2.png",)
    assert prepared.rows_without_image == ()
    check_files(prepared.manifest)


def test_a_file_name_that_two_folders_share_is_not_guessed(pictures, tmp_path):
    write_png(pictures / "b" / "1.png")
    labels = table(tmp_path, "file,label\n1.png,0\n3.png,1\n")
    prepared = prepare(pictures, labels, tmp_path)
    assert images_and_labels(prepared) == {"b/3.png": 1}
    assert prepared.rows_without_image == (2,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "sop_instance_uid,label\n1.1.1,1\n1.1.2,0\n1.3.1,1\n",
            {"1.dcm": 1, "2.dcm": 0, "deep/4.dcm": 1},
        ),
        ("StudyInstanceUID,label\n1.1,1\n1.2,0\n", {"1.dcm": 1, "2.dcm": 1, "3": 0}),
        (
            "PatientID,label\nP1,1\nP2,0\n",
            {"1.dcm": 1, "2.dcm": 1, "3": 1, "deep/4.dcm": 0},
        ),
        (
            "image,study_instance_uid,label\nx,1.1,1\ny,1.3,0\n",
            {"1.dcm": 1, "2.dcm": 1, "deep/4.dcm": 0},
        ),
    ],
)
def test_labels_are_joined_by_what_the_header_says(studies, tmp_path, text, expected):
    prepared = prepare(studies, table(tmp_path, text), tmp_path)
    assert images_and_labels(prepared) == expected


def test_patients_and_studies_come_from_the_header_as_pseudonyms(studies, tmp_path):
    labels = table(tmp_path, "file,label\n1.dcm,1\n2.dcm,1\n3,0\ndeep/4.dcm,0\n")
    prepared = prepare(studies, labels, tmp_path)
    rows = prepared.manifest.rows
    assert prepared.manifest.patient_ids_given
    assert rows[0].patient_id == rows[2].patient_id == Pseudonyms().patient("P1")
    assert rows[3].patient_id == Pseudonyms().patient("P2")
    assert [row.study_instance_uid for row in rows] == [
        Pseudonyms().study(uid) for uid in ("1.1", "1.1", "1.2", "1.3")
    ]
    assert any("pseudonyms without a secret" in note for note in prepared.notes)


def test_a_site_secret_changes_every_pseudonym_and_the_warning(studies, tmp_path):
    labels = table(tmp_path, "file,label\n1.dcm,1\n3,0\n")
    plain = prepare(studies, labels, tmp_path).manifest.rows[0]
    prepared = prepare(studies, labels, tmp_path, pseudonyms=Pseudonyms(b"0" * 16))
    keyed = prepared.manifest.rows[0]
    assert plain.patient_id != keyed.patient_id
    assert plain.study_instance_uid != keyed.study_instance_uid
    assert "Patient ids and study UIDs are pseudonyms under the site's secret." in prepared.notes


def test_identifiers_are_kept_on_request(studies, tmp_path):
    labels = table(tmp_path, "SOPInstanceUID,PatientName,label\n1.1.1,Doe,1\n1.3.1,Roe,0\n")
    row = prepare(studies, labels, tmp_path, pseudonyms=None).manifest.rows[0]
    assert (row.patient_id, row.study_instance_uid) == ("P1", "1.1")
    assert row.groups == {"PatientName": "Doe"}


def test_nothing_that_identifies_a_patient_reaches_the_manifest(studies, tmp_path):
    labels = table(
        tmp_path,
        "SOPInstanceUID,StudyInstanceUID,PatientID,Patient Name,AccessionNumber,sex,label\n"
        "1.1.1,1.1,SECRET1,SECRET2,SECRET3,F,1\n1.3.1,1.3,SECRET4,SECRET5,SECRET6,M,0\n",
    )
    prepared = prepare(studies, labels, tmp_path)
    text = (tmp_path / "out" / "m.csv").read_text()
    assert "SECRET" not in text
    assert "1.1.1" not in text
    assert "P1" not in text
    assert text.startswith("image,frame,patient_id,study_instance_uid,label,sex\n")
    assert "were left out: AccessionNumber, Patient Name." in prepared.notes[0]


def test_the_tables_patients_win_over_the_headers(studies, tmp_path):
    labels = table(tmp_path, "file,who,label\n1.dcm,A,1\n2.dcm,B,0\n")
    prepared = prepare(studies, labels, tmp_path, patient_column="who")
    assert [row.patient_id for row in prepared.manifest.rows] == [
        Pseudonyms().patient(name) for name in "AB"
    ]
    assert prepared.manifest.rows[0].groups == {}


def test_images_without_a_patient_id_fall_back_on_their_study_and_it_is_said(studies, tmp_path):
    write_dicom(studies / "5.dcm", patient="", study="1.9", instance="1.9.1")
    labels = table(tmp_path, "file,label\n1.dcm,1\n5.dcm,0\n")
    prepared = prepare(studies, labels, tmp_path)
    assert prepared.manifest.rows[1].patient_id == Pseudonyms().patient("1.9")
    assert "1 of 2 images have no patient id" in prepared.notes[0]


def test_pictures_among_dicom_files_need_a_patient_id(studies, tmp_path):
    write_png(studies / "5.png")
    labels = table(tmp_path, "file,label\n1.dcm,1\n5.png,0\n")
    with pytest.raises(
        ManifestError, match=r"1 of 2 images have neither .*: \.\./in/5\.png; add a col"
    ):
        prepare(studies, labels, tmp_path)


def test_frames_are_all_taken_or_the_first(tmp_path):
    write_dicom(tmp_path / "in" / "1.dcm", frames=3)
    write_dicom(tmp_path / "in" / "2.dcm", instance="1.9", frames=2)
    labels = table(tmp_path, "file,label\n1.dcm,1\n2.dcm,0\n")
    rows = prepare(tmp_path / "in", labels, tmp_path).manifest.rows
    assert [row.frame for row in rows] == [0, 1, 2, 0, 1]
    rows = prepare(tmp_path / "in", labels, tmp_path, frames="first").manifest.rows
    assert [row.frame for row in rows] == [0, 0]


@pytest.fixture
def volume(tmp_path):
    path = tmp_path / "in" / "v.nii.gz"
    path.parent.mkdir()
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    nibabel.save(image, path)
    return path.parent


def test_slices_are_labelled_one_by_one_in_the_plane_that_the_table_names(volume, tmp_path):
    text = "image,slice,label\nv.nii.gz::coronal,3,1\nv.nii.gz::coronal,0,0\nv.nii.gz,4,1\n"
    rows = prepare(volume, table(tmp_path, text), tmp_path).manifest.rows
    assert [(row.image, row.frame, row.labels) for row in rows] == [
        ("../in/v.nii.gz", 4, (1.0,)),
        ("../in/v.nii.gz::coronal", 0, (0.0,)),
        ("../in/v.nii.gz::coronal", 3, (1.0,)),
    ]
    assert {row.patient_id for row in rows} == {"../in/v.nii.gz"}


def test_a_volume_labelled_as_one_gives_all_its_slices(volume, tmp_path):
    shutil.copy(volume / "v.nii.gz", volume / "w.nii.gz")
    labels = table(tmp_path, "image,label\nv.nii.gz,1\nw.nii.gz::sagittal,0\n")
    rows = prepare(volume, labels, tmp_path).manifest.rows
    assert [row.labels[0] for row in rows] == [1.0] * 5 + [0.0] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,frame,label\nv.nii.gz,5,1\nv.nii.gz,0,0\n",
            "row 2 labels frame 5 of v.nii.gz, whi",
        ),
        ("image,frame,label\nv.nii.gz::coronal,4,1\nv.nii.gz,0,0\n", "row 2 labels frame 4 of"),
        (
            "image,frame,label\nv.nii.gz,x,1\nv.nii.gz,0,0\n",
            "column 'frame': no number; accepted",
        ),
        (
            "image,frame,label\nv.nii.gz,1,1\nv.nii.gz,1,0\n",
            "rows 2 and 3 label the same image, v.",
        ),
        ("image,frame,label\nv.nii.gz,1,1\nv.nii.gz,,0\n", "rows 2 and 3 label the same image, v."),
    ],
)
def test_frames_that_cannot_be_meant_are_refused(volume, tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        prepare(volume, table(tmp_path, text), tmp_path)


def write_npz(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


PIXELS = np.zeros((3, 4, 4), np.uint8)


def test_an_npz_brings_its_labels_and_splits(tmp_path):
    source = write_npz(
        tmp_path / "in" / "x.npz",
        train_images=PIXELS,
        train_labels=np.array([[0], [1], [1]]),
        val_images=PIXELS[:2],
        val_labels=np.array([1, 0]),
    )
    prepared = prepare(source, None, tmp_path)
    assert [(row.image, row.frame, row.split, row.labels) for row in prepared.manifest.rows] == [
        ("../in/x.npz::train_images", 0, "train", (0.0,)),
        ("../in/x.npz::train_images", 1, "train", (1.0,)),
        ("../in/x.npz::train_images", 2, "train", (1.0,)),
        ("../in/x.npz::val_images", 0, "validation", (1.0,)),
        ("../in/x.npz::val_images", 1, "validation", (0.0,)),
    ]
    assert not prepared.manifest.patient_ids_given


def test_an_npz_with_several_labels_an_image_is_multilabel(tmp_path):
    labels = np.array([[0, 1], [1, 0], [1, 1]])
    source = write_npz(tmp_path / "x.npz", train_images=PIXELS, train_labels=labels)
    manifest = prepare(source, None, tmp_path).manifest
    assert (manifest.schema.kind, manifest.schema.findings) == ("multilabel", ("0", "1"))
    assert manifest.rows[1].labels == (1.0, 0.0)


def test_an_npz_whose_zero_is_the_finding_can_be_said(tmp_path):
    source = write_npz(tmp_path / "x.npz", train_images=PIXELS, train_labels=np.array([0, 1, 1]))
    manifest = prepare(source, None, tmp_path, positive="0").manifest
    assert manifest.schema.findings == ("label=0",)
    assert [row.labels[0] for row in manifest.rows] == [1, 0, 0]


def test_an_npz_may_be_labelled_by_a_table(tmp_path):
    write_npz(tmp_path / "in" / "x.npz", images=PIXELS)
    labels = table(tmp_path, "image,frame,label\nx.npz::images,0,1\nx.npz::images,2,0\n")
    rows = prepare(tmp_path / "in", labels, tmp_path).manifest.rows
    assert [(row.frame, row.labels[0]) for row in rows] == [(0, 1), (2, 0)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), "2 train_labels for 3 images; one row an image is expected"),
        (np.array([0.5, 1, 1]), r"train_labels has shape \(3,\) and type float64; whole numbers"),
        (np.zeros((3, 1, 1), int), r"train_labels has shape \(3, 1, 1\)"),
    ],
)
def test_arrays_that_are_no_labels_are_refused(tmp_path, labels, message):
    source = write_npz(tmp_path / "x.npz", train_images=PIXELS, train_labels=labels)
    with pytest.raises(ManifestError, match=message):
        prepare(source, None, tmp_path)


def test_files_that_are_no_images_are_listed_with_their_reason(pictures, tmp_path):
    (pictures / "notes.dcm").write_text("not a DICOM file")
    (pictures / "empty.png").touch()
    (pictures / ".hidden").write_text("passed by")
    np.savez(pictures / "labels_only.npz", train_labels=np.zeros(3))
    labels = table(pictures, "file,label\na/1.png,0\nb/3.png,1\n")
    prepared = prepare(pictures, labels, tmp_path)
    assert count_reasons(prepared.rejected) == {"empty_file": 1, "not_an_image": 1, "not_dicom": 1}
    path = rejected_path(tmp_path / "out" / "m.csv")
    assert path.name == "m.csv.rejected.jsonl"
    listed = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["file"], line["reason"]) for line in listed] == [
        ("empty.png", "empty_file"),
        ("labels_only.npz", "not_an_image"),
        ("notes.dcm", "not_dicom"),
        ("a/2.png", "no_label"),
    ]
    for name in ("notes.dcm", "empty.png", "labels_only.npz"):
        (pictures / name).unlink()
    labels = table(pictures, "file,label\na/1.png,0\na/2.png,1\nb/3.png,1\n")
    prepare(pictures, labels, tmp_path)
    assert not path.exists()


def test_a_file_is_left_out_only_where_all_of_it_is(tmp_path):
    np.savez(tmp_path / "x.npz", a=PIXELS, b=PIXELS)
    labels = table(tmp_path, "image,frame,label\nx.npz::a,0,1\nx.npz::a,1,0\n")
    prepared = prepare(tmp_path / "x.npz", labels, tmp_path)
    assert prepared.unlabelled == ("x.npz::b",)
    assert not rejected_path(tmp_path / "out" / "m.csv").exists()


def test_links_are_followed_inside_the_folder_only(pictures, tmp_path):
    write_png(tmp_path / "outside.png")
    (pictures / "in.png").symlink_to(pictures / "a" / "1.png")
    (pictures / "out.png").symlink_to(tmp_path / "outside.png")
    labels = table(tmp_path, "file,label\nin.png,0\nb/3.png,1\nout.png,1\n")
    prepared = prepare(pictures, labels, tmp_path)
    assert images_and_labels(prepared) == {"in.png": 0, "b/3.png": 1}
    assert [(file.file, file.reason) for file in prepared.rejected] == [("out.png", "not_found")]


def test_only_labels_of_images_that_are_there_decide_on_the_kind(pictures, tmp_path):
    labels = table(tmp_path, "file,label\na/1.png,x\nb/3.png,y\nnone.png,z\n")
    prepared = prepare(pictures, labels, tmp_path, positive="y")
    assert prepared.manifest.schema.kind == "binary"
    assert prepared.rows_without_image == (4,)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("id,label\n1,0\n", {}, "no column says which image a row labels; accepted are image"),
        (
            "file,label\nx.png,0\n",
            {},
            "none of its 1 rows fits any of the 3 images under .*, by fil",
        ),
        (
            "file,label\nx.png,0\n",
            {},
            r"The table says 'x.png', the folder has 'a/1.png'\. Accepted",
        ),
        ("file,label\na/1.png,0\n1.png,1\n", {}, "rows 2 and 3 label the same image, a/1.png; kee"),
        (
            "file,label\na/1.png,0\n",
            {"findings": ["lable"]},
            "'lable' does not exist; did you mean",
        ),
        ("file,dx\na/1.png,0\n", {}, "no label column; name yours with `findings`"),
        ("file,label\na/1.png,x\nb/3.png,y\n", {}, "has the values 'x' and 'y'; say which one is"),
        ("file,label\na/1.png,0\nb/3.png,maybe\n", {}, "row 3: 'maybe' stands among numbers"),
        (
            "file,label\na/1.png,0\n",
            {"patient_column": "who"},
            "no patient column 'who'; the colum",
        ),
        (
            "file,patient_id,label\na/1.png,,0\nb/3.png,P,1\n",
            {},
            "no patient_id in row 2, while ot",
        ),
        ("file,split,label\na/1.png,dev,0\nb/3.png,,1\n", {}, "row 2, column 'split': 'dev'"),
    ],
)
def test_tables_that_do_not_fit_are_refused_and_nothing_is_written(
    pictures, tmp_path, text, options, message
):
    with pytest.raises(ManifestError, match=message):
        prepare(pictures, table(tmp_path, text), tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_no_message_names_a_patient_or_a_study(studies, tmp_path):
    labels = table(tmp_path, "study_instance_uid,patient_id,label\n9.9.9,Doe,1\n")
    with pytest.raises(ManifestError) as caught:
        prepare(studies, labels, tmp_path)
    assert "9.9.9" not in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_folders_without_images_are_refused(tmp_path):
    labels = table(tmp_path, "file,label\na,1\n")
    with pytest.raises(ManifestError, match="none: no such folder; give one with images"):
        prepare(tmp_path / "none", labels, tmp_path)
    (tmp_path / "in").mkdir()
    with pytest.raises(ManifestError, match="in: the folder is empty; give one with images"):
        prepare(tmp_path / "in", labels, tmp_path)
    (tmp_path / "in" / "a.dcm").write_text("text")
    message = r"none of 1 files is an image: a\.dcm: .*lacks the prefix DICM .*\[not_dicom\]"
    with pytest.raises(ManifestError, match=message):
        prepare(tmp_path / "in", labels, tmp_path)
    assert not (tmp_path / "out").exists()


def test_images_without_labels_need_a_table(pictures, tmp_path):
    with pytest.raises(ManifestError, match="the images bring no labels; give a table of them"):
        prepare(pictures, None, tmp_path)


def test_preparing_twice_gives_the_same_bytes_in_csv_and_the_same_rows_in_parquet(
    pictures, tmp_path
):
    labels = table(tmp_path, "file,patient_id,label\nb/3.png,B,1\na/1.png,A,0\n")
    first = prepare(pictures, labels, tmp_path)
    text = (tmp_path / "out" / "m.csv").read_bytes()
    prepare(pictures, labels, tmp_path)
    assert (tmp_path / "out" / "m.csv").read_bytes() == text
    prepare_manifest(pictures, labels, out=tmp_path / "out" / "m.parquet")
    assert read_manifest(tmp_path / "out" / "m.parquet").rows == first.manifest.rows


def test_kermanys_table_just_works(test_data, tmp_path):
    folder = test_data / "data" / "kermany_chest"
    options = {"findings": ["label"], "positive": "PNEUMONIA"}
    prepared = prepare(folder, folder / "labels.csv", tmp_path, **options)
    manifest = prepared.manifest
    assert manifest.schema.findings == ("PNEUMONIA",)
    assert sum(row.labels[0] for row in manifest.rows) == 766
    assert len(manifest.rows) == 1347
    assert len({row.patient_id for row in manifest.rows}) == 741
    assert {"subtype", "original_width"} <= manifest.rows[0].groups.keys()
    assert len(prepared.unlabelled) == 25
    assert all(name.startswith("fullres/") for name in prepared.unlabelled)
    check_files(manifest)


def test_busis_table_just_works(test_data, tmp_path):
    folder = test_data / "data" / "busi_ultrasound"
    options = {"findings": ["label2"], "positive": "malignant"}
    manifest = prepare(folder, folder / "labels.csv", tmp_path, **options).manifest
    assert manifest.schema.findings == ("malignant",)
    assert sum(row.labels[0] for row in manifest.rows) == 105
    assert {row.groups["label3"] for row in manifest.rows} == {"benign", "malignant", "normal"}
    assert not manifest.patient_ids_given
    classes = prepare(folder, folder / "labels.csv", tmp_path, findings=["label3"]).manifest
    assert classes.schema.findings == ("benign", "malignant", "normal")


def test_pneumonia_mnist_just_works(test_data, tmp_path):
    source = test_data / "data" / "pneumoniamnist" / "pneumoniamnist_rebuilt.npz"
    manifest = prepare(source, None, tmp_path).manifest
    sizes = [len(manifest.split(split)) for split in ("train", "validation", "test")]
    assert sizes == [4708, 524, 624]
    row = manifest.split("test")[7]
    assert read_grayscale(manifest.address(row), row.frame).pixels.shape == (28, 28)


def test_every_dicom_file_is_either_in_the_manifest_or_rejected(test_data, tmp_path):
    folder = test_data / "data" / "dicom"
    with (folder / "attributes.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    text = "".join(f"{name},{index % 2},{index}\n" for index, name in enumerate(names))
    labels = table(tmp_path, f"file,label,who\n{text}")
    prepared = prepare(folder, labels, tmp_path, frames="first", patient_column="who")
    images = {row.image for row in prepared.manifest.rows}
    rejected = {file.file for file in prepared.rejected}
    assert len(images) + len(rejected & set(names)) == len(names)
    assert len(images) > 100


def test_uncertain_labels_are_kept_as_such_where_their_cell_is_named(tmp_path, pictures):
    labels = table(tmp_path, "image,label_a,label_b\na/1.png,1,u\na/2.png,0,1\nb/3.png,u,0\n")
    out = tmp_path / "m.csv"
    made = prepare_manifest(pictures, labels, out=out, options=PrepareOptions(uncertain="u"))
    assert [row.uncertain for row in made.manifest.rows] == [(1,), (), (0,)]
    with out.open() as stream:
        cells = [(row["label_a"], row["label_b"]) for row in csv.DictReader(stream)]
    assert cells == [("1", "-1"), ("0", "1"), ("-1", "0")]
    with pytest.raises(ManifestError, match=r"'u' is no label; accepted are 0, 1 and the empty"):
        prepare_manifest(pictures, labels, out=tmp_path / "n.csv")

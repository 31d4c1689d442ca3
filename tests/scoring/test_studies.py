"""From Python: studies come as they are done, and what is rejected comes too."""

from pathlib import Path

import pytest

from medres.bundle.directory import Model
from medres.errors import ManifestError, RejectReason
from medres.scoring.run import Settings
from medres.scoring.studies import Rejected, StudyScore, score_studies


def test_every_study_and_every_refusal_is_given_once(archive_template: Path, model: Model) -> None:
    found = list(score_studies(model, archive_template, Settings(batch_size=4, workers=2)))
    studies = [item for item in found if isinstance(item, StudyScore)]
    rejected = [item for item in found if isinstance(item, Rejected)]
    assert len({item.study for item in studies}) == len(studies) == 12
    assert sum(item.images for item in studies) == 15
    assert all(0 < item.probabilities["opacity"] < 1 for item in studies)
    assert sorted(item.reason for item in rejected) == [
        "constant_image",
        "nested_archive",
        "not_dicom",
        "not_dicom",
        "not_found",
        "truncated",
    ]
    assert "1.2.826" not in repr(studies)


def test_a_model_is_given_by_its_folder_too(archive_template: Path, model_folder: Path) -> None:
    (only,) = score_studies(str(model_folder), [archive_template / "0"], Settings(batch_size=1))
    assert isinstance(only, StudyScore)
    assert only.images == 1


def test_a_source_that_is_not_there_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or folder"):
        list(score_studies(model, tmp_path / "absent"))


def test_what_python_prints_of_a_rejected_file_names_it_not() -> None:
    shown = repr(Rejected("DOE/1.dcm", None, RejectReason.TRUNCATED, "ends early"))
    assert "DOE" not in shown
    assert "truncated" in shown

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from medres.phantom.sample import SampleRecipe
from medres.phantom.synthetic import is_synthetic


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "sample.json").write_text(json.dumps(asdict(SampleRecipe())))
    return tmp_path


@pytest.mark.parametrize("name", ["studies/p0001/s1/i1.dcm", "volumes/v01.nii.gz"])
def test_image_of_a_sample_data_set_is_synthetic(sample: Path, name: str) -> None:
    assert is_synthetic(sample / name)


@pytest.mark.parametrize(
    "name",
    [
        "studies/p0001/s1/mine.dcm",
        "studies/p0001/i1.dcm",
        "mine.png",
        "studies/p0001/s1/../../../mine.dcm",
        "more/studies/p0001/s1/i1.dcm",
    ],
)
def test_any_other_file_in_its_folder_is_not(sample: Path, name: str) -> None:
    assert not is_synthetic(sample / name)


def test_image_without_a_recipe_above_it_is_not(tmp_path: Path) -> None:
    assert not is_synthetic(tmp_path / "studies/p0001/s1/i1.dcm")
    (tmp_path / "sample.json").write_text('{"patients": 1, "made_by": "somebody else"}')
    assert not is_synthetic(tmp_path / "studies/p0001/s1/i1.dcm")


def test_link_to_a_sample_image_is_what_it_leads_to(sample: Path, tmp_path: Path) -> None:
    target = sample / "studies/p0001/s1/i1.dcm"
    target.parent.mkdir(parents=True)
    target.touch()
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "mine.dcm").symlink_to(target)
    assert is_synthetic(outside / "mine.dcm")
    real = outside / "real.dcm"
    real.touch()
    (sample / "studies/p0002/s1").mkdir(parents=True)
    (sample / "studies/p0002/s1/i1.dcm").symlink_to(real)
    assert not is_synthetic(sample / "studies/p0002/s1/i1.dcm")

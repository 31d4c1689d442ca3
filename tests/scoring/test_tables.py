"""The columns of the tables, whatever a model's findings are called."""

from dataclasses import replace
from pathlib import Path

import pytest
from model_records import record_of

from medres.data.labels import LabelSchema
from medres.data.pseudonyms import Keys
from medres.data.table import read_table
from medres.scoring.index import Index
from medres.scoring.pictures import Facts, Picture
from medres.scoring.tables import Tables, column_of


@pytest.mark.parametrize(
    ("finding", "column"),
    [
        ("effusion", "effusion"),
        ("modality", "finding_modality"),
        ("effusion_left", "finding_effusion_left"),
        ("effusion_positive", "finding_effusion_positive"),
        ("finding_modality", "finding_finding_modality"),
        ("left", "left"),
    ],
)
def test_a_finding_has_a_column_of_its_own(finding: str, column: str) -> None:
    assert column_of(finding) == column


@pytest.mark.parametrize("turn", [1, -1])
def test_a_finding_of_a_side_and_a_side_of_a_finding_keep_apart(tmp_path: Path, turn: int) -> None:
    keys = Keys(b"a secret of thirty-two bytes ....")
    index = Index(keys)
    for side, p in (("R", 0.25), ("L", 0.75)):
        facts = Facts("MG", laterality=side)
        picture = Picture("", range(1), "1.2", "", "", "", facts)
        index.add({"file": side, "stamp": "1", "pictures": [picture.as_json()]})
        image = {"image": side, "part": "", "frame": 0, "stamp": "1", "sha256": "0"}
        index.record({**image, "status": "scored", "p": [p, 0.125][::turn]})
    labels = LabelSchema("multilabel", ("mass", "mass_left")[::turn], ("x", "y"))
    Tables(index, replace(record_of(""), labels=labels), keys).write(tmp_path)
    (study,) = read_table(tmp_path / "studies.csv").rows
    assert (study["mass"], study["mass_left"], study["mass_right"]) == ("0.75", "0.75", "0.25")
    assert study["finding_mass_left"] == "0.125"

"""Uncertain labels: targets in training, and never a truth to be judged by."""

import math
from pathlib import Path

import pytest

from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow, read_manifest, write_manifest
from medres.data.uncertain_labels import describe_uncertain, training_targets
from medres.errors import ConfigError, ManifestError

NAN = math.nan
TABLE = "image,label_a,label_b\nx.png,1,-1\ny.png,0,0\nz.png,,1\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "m.csv").write_text(TABLE)
    return read_manifest(tmp_path / "m.csv", uncertain="-1")


@pytest.mark.parametrize(
    ("policy", "target"),
    [
        ("ignore", NAN),
        ("ones", 1.0),
        ("zeros", 0.0),
        ("ones_smoothed", 0.70),  # the mean of U(.55, .85)
        ("zeros_smoothed", 0.15),  # the mean of U(0, .3)
    ],
)
def test_target_of_an_uncertain_label(manifest: Manifest, policy: str, target: float) -> None:
    first, second, third = (training_targets(row, policy) for row in manifest.rows)
    assert first == (1.0, pytest.approx(target, nan_ok=True))
    assert second == (0.0, 0.0)
    assert math.isnan(third[0])  # missing stays missing, whatever the policy
    assert third[1] == 1.0


def test_the_label_itself_stays_unknown(manifest: Manifest) -> None:
    assert math.isnan(manifest.rows[0].labels[1])
    assert [row.uncertain for row in manifest.rows] == [(1,), (), ()]


def test_written_and_read_again_it_is_still_uncertain(manifest: Manifest, tmp_path: Path) -> None:
    write_manifest(manifest, tmp_path / "again.csv")
    again = read_manifest(tmp_path / "again.csv", uncertain="-1")
    assert [row.uncertain for row in again.rows] == [(1,), (), ()]
    with pytest.raises(ManifestError, match=r"row 2, column 'label_b': '-1' is no label"):
        read_manifest(tmp_path / "again.csv")


def test_a_policy_is_needed_where_there_are_uncertain_labels(manifest: Manifest) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.uncertain: 'refuse', and there are uncertain lab"
    ):
        training_targets(manifest.rows[0], "refuse")
    assert training_targets(manifest.rows[1], "refuse") == (0.0, 0.0)


def test_the_report_says_what_became_of_them(manifest: Manifest) -> None:
    (note,) = describe_uncertain(manifest, "ones_smoothed")
    assert note == (
        "Uncertain labels (b 1) were taken for 0.7 in training (policy ones_smoothed), and left "
        "out of validation and test."
    )
    assert "(b 1) were left out in training" in describe_uncertain(manifest, "ignore")[0]


def test_of_classes_that_exclude_one_another_none_can_be_taken() -> None:
    schema = LabelSchema("multiclass", ("a", "b", "c"), ("label",), (), "-1")
    manifest = Manifest(Path(), (ManifestRow("x", 0, "p", "", None, (NAN,) * 3),), schema, True)
    assert describe_uncertain(manifest, "ignore") == ()
    with pytest.raises(ConfigError, match=r"data\.uncertain: 'ones' is for findings with 0 and 1"):
        describe_uncertain(manifest, "ones")

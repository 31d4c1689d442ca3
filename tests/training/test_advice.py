from dataclasses import replace

import pytest

from medres.config import ModelConfig, PixelsConfig, RunConfig
from medres.data.manifest import read_manifest
from medres.data.splits import assign_splits
from medres.training.advice import DataFacts, advise, gather_facts

XRAYS = DataFacts(images=5_000, rarer=900, findings=1, modality="DX", longer_side=700)


def advice(config=None, **changes):
    return advise(replace(XRAYS, **changes), config or RunConfig())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("discriminative", "duplicate", "moderate", "some")),
        ({"images": 499}, ("gradual", "duplicate", "small", "some")),
        ({"images": 500}, ("freeze_then_finetune", "duplicate", "small", "some")),
        ({"rarer": 199}, ("freeze_then_finetune", "duplicate", "small", "some")),
        ({"modality": "MR"}, ("freeze_then_finetune", "adapter", "moderate", "big")),
        ({"modality": "NIfTI", "images": 300}, ("gradual", "adapter", "small", "big")),
        ({"images": 60_000, "rarer": 2_000}, ("full", "duplicate", "plenty", "some")),
        (
            {"images": 60_000, "rarer": 1_999},
            ("discriminative", "duplicate", "moderate", "some"),
        ),
        ({"modality": ""}, ("discriminative", "duplicate", "moderate", "some")),
    ],
)
def test_advice_follows_size_and_shift(changes, expected):
    given = advice(**changes)
    assert (given.preset, given.stem, given.size, given.shift) == expected


def test_random_weights_are_advised_to_train_in_full():
    given = advice(RunConfig(model=ModelConfig(weights="none")), modality="MR")
    assert given.preset == "full"
    assert any("random weights: nothing is worth freezing" in reason for reason in given.reasons)


def test_reasons_name_figures_and_what_is_assumed():
    text = advice(modality="").format()
    assert text.startswith("advice: preset discriminative, stem duplicate\n")
    assert "5,000 training images, 900 of the rarest class (moderate: little is below 2,000" in text
    assert "assumed: the files name no modality" in text
    assert "try surgical" in advice(modality="CT").format()


def test_resnet_18_is_called_wrong_for_fine_detail_and_for_many_findings():
    assert advice(longer_side=895).cautions == ()
    (fine,) = advice(longer_side=2_048).cautions
    assert fine.startswith("a pixel of the input (224) covers 9 of the file's (2048)")
    (light,) = advice(images=80_000, rarer=2_500, findings=14).cautions
    assert light.startswith("ResNet-18 is light for 14 findings and plenty of data")


def test_deep_network_is_called_wrong_for_little_data():
    config = RunConfig(model=ModelConfig(depth=50))
    (deep,) = advice(config, images=400).cautions
    assert deep.startswith("ResNet-50 is deep for so little data: compare model.depth 18")
    assert advice(config).cautions == ()


def test_larger_input_answers_the_caution():
    config = RunConfig(pixels=PixelsConfig(size=640))
    assert advice(config, longer_side=2_048).cautions == ()


def test_facts_are_counted_from_the_training_split_and_its_headers(pictures):
    manifest = assign_splits(read_manifest(pictures))
    facts = gather_facts(manifest)
    train = manifest.split("train")
    positives = sum(row.labels[0] for row in train)
    assert facts.images == len(train)
    assert facts.rarer == min(positives, len(train) - positives)
    assert (facts.findings, facts.modality) == (1, "")
    assert 0 < facts.longer_side < 500


def test_unreadable_headers_leave_the_shift_assumed(pictures, tmp_path):
    moved = tmp_path / "manifest.csv"
    moved.write_text(pictures.read_text())
    facts = gather_facts(assign_splits(read_manifest(moved)))
    assert (facts.modality, facts.longer_side) == ("", 0)

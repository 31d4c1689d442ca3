"""Which random changes suit which modality, and that no side is flipped unasked."""

import dataclasses

import pytest
import torch

from medres.config import AugmentationConfig
from medres.errors import ConfigError
from medres.transforms.augmentation import PRESETS, Augmentation, resolve_augmentation
from medres.transforms.chains import augmentation_steps


@pytest.mark.parametrize(
    ("modalities", "preset", "reason"),
    [
        ({"DX": 5, "CR": 2}, "radiograph", "modality CR, DX"),
        ({"MG": 4}, "mammogram", "modality MG"),
        ({"US": 4}, "ultrasound", "modality US"),
        ({"CT": 9}, "ct", "modality CT"),
        ({"MR": 9}, "mr", "modality MR"),
        ({"": 9}, "general", "the images name no modality"),
        ({"OPT": 1}, "general", "modality OPT"),
        ({"CT": 3, "US": 3}, "general", "images of several kinds: CT, US"),
        ({"US": 3, "": 3}, "general", "images of several kinds: US"),
    ],
)
def test_preset_follows_the_modality_and_says_why(modalities, preset, reason):
    found = resolve_augmentation(AugmentationConfig(), modalities)
    assert (found.preset, found.reason) == (preset, reason)
    assert found.amounts == PRESETS[preset]
    assert str(found).startswith(f"augmentation {preset} ({reason}): rotate degrees ")


def test_a_named_preset_beats_the_modality_and_an_amount_beats_the_preset():
    asked = AugmentationConfig(preset="ultrasound", noise=0.3, gamma=0)
    found = resolve_augmentation(asked, {"": 4})
    assert (found.preset, found.reason) == ("ultrasound", "as configured")
    assert found.amounts == dataclasses.replace(PRESETS["ultrasound"], noise=0.3, gamma=0)
    assert found.as_json()["noise"] == 0.3


@pytest.mark.parametrize("preset", ["general", "radiograph", "ct", "mr"])
def test_no_preset_for_bodies_with_a_side_flips(preset):
    assert PRESETS[preset].flip_probability == 0


@pytest.mark.parametrize("modality", ["DX", "CR", "CT", "MR"])
def test_a_preset_that_flips_does_not_where_the_side_matters_and_says_so(modality):
    found = resolve_augmentation(AugmentationConfig(preset="ultrasound"), {modality: 3})
    assert found.amounts == dataclasses.replace(PRESETS["ultrasound"], flip_probability=0)
    (note,) = found.notes
    assert (
        f"No image is flipped, though the augmentation preset ultrasound would: there are "
        f"{modality} images" in note
    )


def test_a_flip_that_is_asked_for_by_name_is_done_and_announced():
    found = resolve_augmentation(AugmentationConfig(flip_probability=0.5), {"DX": 3})
    assert found.amounts.flip_probability == 0.5
    assert "no finding that has a side can be learned" in found.notes[0]
    assert resolve_augmentation(AugmentationConfig(flip_probability=0.5), {"US": 3}).notes == ()


def test_none_changes_nothing():
    found = resolve_augmentation(AugmentationConfig(preset="none"), {"DX": 3})
    assert found.amounts == Augmentation()
    assert not found.amounts.is_random
    assert augmentation_steps(found.amounts, 32) == []
    assert str(found) == "augmentation none (as configured): no change"
    assert all(PRESETS[name].is_random for name in PRESETS if name != "none")


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_every_preset_runs_and_is_repeatable(preset):
    from monai.transforms import Compose

    image = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    chain = Compose(augmentation_steps(PRESETS[preset], 24))
    first, again, other = (
        chain.set_random_state(seed)({"image": image.clone()})["image"] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (1, 24, 24)
    assert first.isfinite().all()


def test_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match="'xray' is not accepted; give one of auto, none, gene"):
        resolve_augmentation(AugmentationConfig(preset="xray"), {})

import pytest

from medres.config import ImageRuleConfig
from medres.data.image_rule import EVERY_IMAGE, ImageKind, ImageRule

CHEST = ImageKind("DX", "CHEST", "PA", ("ORIGINAL", "PRIMARY"))
RULE = ImageRule.learn([CHEST, ImageKind("CR", "CHEST", "AP", ("DERIVED", "PRIMARY"))])


def test_a_rule_accepts_what_it_was_learned_from() -> None:
    assert RULE.modalities == ("CR", "DX")
    assert RULE.body_parts == ("CHEST",)
    assert RULE.view_positions == ("AP", "PA")
    assert RULE.refuse(CHEST) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"modality": "CT"}, "modality CT"),
        ({"body_part": "HAND"}, "body part HAND"),
        ({"view_position": "LL"}, "view LL"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "image type LOCALIZER"),
        ({"image_type": ("DERIVED", "SECONDARY")}, "image type SECONDARY"),
        ({"modality": "", "body_part": "", "view_position": "", "image_type": ()}, ""),
    ],
)
def test_what_differs_is_named_and_what_is_not_said_is_accepted(change, why) -> None:
    assert RULE.refuse(CHEST._replace(**change)) == why


def test_what_is_stated_replaces_a_part_and_leaves_the_others() -> None:
    asked = ImageRuleConfig(modality=("dx",), body_part=("any",), leave_out=("SCOUT",))
    assert RULE.stating(asked) == ImageRule(("DX",), (), ("AP", "PA"), ("SCOUT",))
    assert RULE.stating(ImageRuleConfig()) == RULE


def test_a_stated_rule_that_leaves_training_images_out_is_noted() -> None:
    kinds = [CHEST, CHEST._replace(modality="CR"), CHEST._replace(modality="CR"), ImageKind()]
    (note,) = ImageRule(("DX",)).notes_on(kinds)
    assert note == (
        "The stated image rule leaves out 2 of 4 training images when an archive is scored: 2 "
        "modality CR."
    )
    assert ImageRule.learn(kinds).notes_on(kinds) == []


def test_an_ensemble_takes_what_one_of_its_members_takes() -> None:
    first = ImageRule(("DX",), ("CHEST",), ("PA",), ("SCOUT", "LABEL"))
    second = ImageRule(("CR", "DX"), ("CHEST",), (), ("LABEL", "SCOUT", "SECONDARY"))
    assert ImageRule.of_any([first, second]) == ImageRule(
        ("DX", "CR"), ("CHEST",), (), ("SCOUT", "LABEL")
    )
    assert ImageRule.of_any([first, first]) == first
    assert ImageRule.of_any([first, EVERY_IMAGE]) == EVERY_IMAGE


def test_pictures_teach_to_leave_overviews_out_alone() -> None:
    rule = ImageRule.learn([ImageKind()])
    assert rule.refuse(CHEST._replace(image_type=("DERIVED", "SECONDARY"))) == ""
    assert rule.refuse(CHEST._replace(image_type=("ORIGINAL", "PRIMARY", "SCOUT"))) == (
        "image type SCOUT"
    )
    assert rule.modalities == ()


def test_a_value_that_some_training_images_lack_is_not_asked_for() -> None:
    rule = ImageRule.learn([CHEST, CHEST._replace(view_position="")])
    assert rule.view_positions == ()
    assert rule.body_parts == ("CHEST",)


def test_a_rule_returns_from_json_and_says_itself() -> None:
    assert ImageRule.from_json(RULE.as_json()) == RULE
    assert ImageRule.from_json({}) == EVERY_IMAGE
    assert EVERY_IMAGE.in_words == "every image"
    assert RULE.in_words.startswith("modality CR or DX; body part CHEST; view AP or PA; image type")


@pytest.mark.parametrize("values", [{"modality": []}, {"modalities": "DX"}, {"leave_out": [1]}])
def test_a_damaged_rule_is_refused(values) -> None:
    with pytest.raises(TypeError, match="image_rule"):
        ImageRule.from_json(values)

import guarded_model
import pytest

from medres.guard.headers import KnownHeaders


def of(*values: dict[str, str], most: float = 0.5) -> KnownHeaders:
    records = [guarded_model.record(**v) for v in values]
    return KnownHeaders.of(records, [f"p{k}" for k in range(len(values))], most)


CHEST = {"modality": "CR", "body_part": "CHEST", "view_position": "PA"}
KNOWN = of(*[CHEST] * 10)


@pytest.mark.parametrize(
    ("changes", "mismatch"),
    [
        ({}, ""),
        ({"modality": "US"}, "modality"),
        ({"modality": "DX"}, ""),  # the same examination on another detector
        ({"modality": "RG"}, ""),
        ({"modality": ""}, ""),
        ({"body_part": "HAND"}, "body_part"),
        ({"body_part": ""}, ""),
        ({"view_position": "LL"}, "view_position"),
        ({"photometric_interpretation": "MONOCHROME1"}, ""),  # read in one polarity
        ({"photometric_interpretation": "RGB"}, "photometric"),
        ({"photometric_interpretation": "RGB", "format": "raster"}, ""),
        ({"modality": "US", "body_part": "HAND"}, "modality"),
    ],
)
def test_header_is_held_against_the_training_images(changes, mismatch) -> None:
    assert KNOWN.mismatch(guarded_model.record(**{**CHEST, **changes})) == mismatch


def test_what_no_training_image_names_is_not_checked() -> None:
    known = of(*[{"modality": "CR"}] * 4)
    assert known.unchecked == {
        "body_part": "no image names one",
        "view_position": "no image names one",
    }
    assert known.mismatch(guarded_model.record(modality="CR", body_part="HAND")) == ""


def test_false_alarms_are_the_share_of_patients_alone_with_a_value() -> None:
    # 1 of 10 patients has the only lateral view: the next one has a new view about as often.
    known = of(*[CHEST] * 9, {**CHEST, "view_position": "LL"}, most=0.2)
    assert known.false_alarms == pytest.approx(0.1)
    assert known.values["view_position"] == {"LL": 1, "PA": 9}
    assert known.values["photometric"] == {"grayscale": 10}
    just_so = of(*[CHEST] * 9, {**CHEST, "view_position": "LL"}, most=0.1)
    assert just_so.values == known.values


def test_attribute_with_too_many_rare_values_is_not_checked() -> None:
    rare = [{**CHEST, "view_position": view} for view in ("LL", "RL", "AP")]
    known = of(*[CHEST] * 9, *rare, most=0.2)
    assert known.false_alarms == 0
    assert known.values.keys() == {"modality", "body_part", "photometric"}  # which have none rare
    assert (
        known.unchecked["view_position"] == "values of one patient alone are too frequent (25.0%)"
    )
    assert known.mismatch(guarded_model.record(**{**CHEST, "view_position": "ZZ"})) == ""


def test_a_value_that_one_patient_has_in_many_images_is_still_rare() -> None:
    records = [guarded_model.record(modality=m) for m in ("CR", "CR", "MR", "MR", "MR")]
    known = KnownHeaders.of(records, ["a", "b", "c", "c", "c"], most=0.5)
    assert known.values["modality"] == {"CR/DX": 2, "MR": 1}
    assert known.false_alarms == pytest.approx(1 / 3)


def test_headers_read_back_from_json() -> None:
    assert KnownHeaders.from_json(KNOWN.as_json()) == KNOWN

import dataclasses
import json

import pytest

from medres.data.normalization import IntensityStatistics
from medres.errors import BundleError, PreprocessingMismatchError
from medres.transforms.preprocessing import Preprocessing

STATISTICS = IntensityStatistics(0.01, 0.99, 0.5, 0.2, (0.1, 99.9), 10, 5, 1000)
RECORD = Preprocessing("display", 128, "pad", STATISTICS)


def test_record_reads_back_from_json_as_itself() -> None:
    assert Preprocessing.from_json(json.loads(json.dumps(RECORD.as_json()))) == RECORD


@pytest.mark.parametrize(
    "change",
    [
        {"intensity": "modality"},
        {"size": 129},
        {"geometry": "crop"},
        {"statistics": dataclasses.replace(STATISTICS, mean=0.5000001)},
        {"statistics": dataclasses.replace(STATISTICS, low=0.0)},
    ],
)
def test_digest_changes_with_whatever_changes_an_input(change) -> None:
    assert dataclasses.replace(RECORD, **change).digest() != RECORD.digest()


def test_digest_does_not_depend_on_how_many_images_were_counted() -> None:
    more = dataclasses.replace(STATISTICS, n_images=11)
    assert dataclasses.replace(RECORD, statistics=more).digest() == RECORD.digest()


def test_changed_record_is_refused() -> None:
    values = RECORD.as_json() | {"size": 64}
    with pytest.raises(PreprocessingMismatchError, match="does not match its digest"):
        Preprocessing.from_json(values)


def test_record_of_another_pixel_path_is_refused() -> None:
    values = RECORD.as_json() | {"version": 99}
    with pytest.raises(PreprocessingMismatchError, match="version 99, this medres"):
        Preprocessing.from_json(values)


def test_incomplete_record_is_refused() -> None:
    values = RECORD.as_json()
    del values["geometry"]
    with pytest.raises(BundleError, match="lacks 'geometry'"):
        Preprocessing.from_json(values)


def test_display_statistics_are_those_of_the_fitted_pixels() -> None:
    assert RECORD.display_statistics() == (0.5, 0.2)


def test_display_statistics_of_modality_units_map_the_clipped_range_to_0_1() -> None:
    hounsfield = dataclasses.replace(STATISTICS, low=-1000.0, high=1000.0, mean=-500.0, std=400.0)
    record = dataclasses.replace(RECORD, intensity="modality", statistics=hounsfield)
    assert record.display_statistics() == (0.25, 0.2)

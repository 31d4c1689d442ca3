from __future__ import annotations

import numpy as np
import pytest

from medres.metrics.age_bands import age_bands, age_in_years


def test_ages_come_from_numbers_and_dicom_strings():
    assert age_in_years("045Y") == 45
    assert age_in_years("018M") == 1.5
    assert age_in_years("010W") == pytest.approx(0.1916, abs=1e-3)
    assert age_in_years(" 63.5 ") == 63.5
    assert np.isnan([age_in_years(a) for a in ("", "old", -1, 200, None)]).all()
    assert age_bands(["017Y", 18, 39.9, "040Y", 79, 80, "", "100"]) == [
        "under 18", "18 to 39", "18 to 39", "40 to 59", "60 to 79", "80 and over", "",
        "80 and over",
    ]  # fmt: skip

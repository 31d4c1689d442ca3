import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from medres.reports.range_picture import save_range_picture
from medres.training.range_test import read_sweep, sweep_rates

RATES = sweep_rates(1e-6, 1.0, 40)
LOSSES = [0.7 if step < 15 else 0.7 - 0.02 * (step - 15) for step in range(30)] + [0.6, 0.9] * 5


@pytest.mark.parametrize("falls", [True, False])
def test_picture_is_small_and_the_same_each_time(falls: bool, tmp_path: Path) -> None:
    found = read_sweep(RATES, LOSSES if falls else [0.7] * 40)
    assert (found.suggestion is not None) == falls
    for name in ("a.png", "b.png"):
        save_range_picture(dataclasses.replace(found), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size < 60_000
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (704, 374)

import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medres.transforms.geometry import FitGeometryd, fit_square, resize


def test_pad_shows_all_of_the_image_between_black_bars() -> None:
    image = torch.ones(1, 20, 40)
    fitted = fit_square(image, 40, "pad", pad_value=-3.0)
    assert fitted.shape == (1, 40, 40)
    assert torch.equal(fitted[:, 10:30], torch.ones(1, 20, 40))
    assert (fitted[:, :10] == -3).all()
    assert (fitted[:, 30:] == -3).all()


def test_crop_takes_the_centre() -> None:
    image = torch.arange(40.0).expand(1, 20, 40)
    assert torch.equal(fit_square(image, 20, "crop", 0.0)[0, 0], torch.arange(10.0, 30.0))


def test_resize_averages_where_it_shrinks_and_keeps_equal_sizes_bit_for_bit() -> None:
    checkerboard = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    shrunk = resize(checkerboard[None].float(), 8, 8)
    assert torch.allclose(shrunk[:, 1:-1, 1:-1], torch.full((1, 6, 6), 0.5), atol=1e-3)
    image = torch.rand(1, 7, 9)
    assert resize(image, 7, 9) is image


def test_affine_follows_the_pixels() -> None:
    # A point of the image keeps its place in mm: the centre stays the centre.
    image = MetaTensor(torch.rand(1, 50, 100), affine=torch.diag(torch.tensor([0.2, 0.1, 1, 1.0])))
    fitted = FitGeometryd("image", 80, "pad")({"image": image})["image"]
    before = image.affine @ torch.tensor([24.5, 49.5, 0, 1], dtype=torch.float64)
    after = fitted.affine @ torch.tensor([39.5, 39.5, 0, 1], dtype=torch.float64)
    assert torch.allclose(before, after)


@pytest.mark.parametrize("geometry", ["pad", "squash"])
def test_inverse_gives_rows_columns_affine_and_a_smooth_image_back(geometry) -> None:
    rows, columns = np.meshgrid(np.linspace(0, 3, 60), np.linspace(0, 2, 45), indexing="ij")
    image = MetaTensor(torch.from_numpy(np.sin(rows) + columns)[None].float())
    fit = FitGeometryd("image", 96, geometry)
    fitted = fit({"image": image})
    assert len(fitted["image"].applied_operations) == 1
    back = fit.inverse(fitted)["image"]
    assert back.shape == image.shape
    assert torch.allclose(back.affine, image.affine)
    assert not back.applied_operations
    assert (back - image).abs().max() < 0.05


def test_inverse_of_crop_fills_what_was_cut_off() -> None:
    image = MetaTensor(torch.ones(1, 20, 40))
    fit = FitGeometryd("image", 20, "crop", pad_value=-1.0)
    back = fit.inverse(fit({"image": image}))["image"]
    assert back.shape == (1, 20, 40)
    assert (back[..., 10:30] == 1).all()
    assert (back[..., :10] == -1).all()


def test_fit_pickles_and_passes_by_missing_keys() -> None:
    fit = pickle.loads(pickle.dumps(FitGeometryd("image", 32, allow_missing_keys=True)))
    assert fit({"other": 1}) == {"other": 1}

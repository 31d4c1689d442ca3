from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medres.phantom.detector import (
    Exposure,
    expose,
    expose_open,
    gaussian_blur,
    lung_mottle,
)

PLAIN = Exposure(
    photons=1e5, scatter_to_primary=0.0, blur_pixels=0.1, mottle=0.0, edge=0.0, response="log"
)


def test_reading_is_the_line_integral() -> None:
    truth = np.full((64, 64), 2.0)
    reading = expose(truth, np.zeros_like(truth), PLAIN, np.random.default_rng(0))
    assert reading.mean() == pytest.approx(2.0, abs=0.002)


def test_noise_is_poisson() -> None:
    truth = np.full((128, 128), 3.0)
    reading = expose(truth, np.zeros_like(truth), PLAIN, np.random.default_rng(0))
    assert reading.std() == pytest.approx(1 / np.sqrt(1e5 * np.exp(-3.0)), rel=0.03)


def test_scatter_lowers_contrast() -> None:
    truth = np.zeros((64, 64))
    truth[:, 32:] = 2.0
    air = np.zeros_like(truth)
    rng = np.random.default_rng
    scattered = dataclasses.replace(PLAIN, scatter_to_primary=0.4)
    clean, hazy = (expose(truth, air, how, rng(0)) for how in (PLAIN, scattered))
    assert hazy[:, 40].mean() - hazy[:, 24].mean() < clean[:, 40].mean() - clean[:, 24].mean()


def test_root_response_rises_with_attenuation_too() -> None:
    root = dataclasses.replace(PLAIN, response="root")
    truth = np.repeat([[0.0, 1.0, 2.0, 4.0]], 8, axis=0)
    reading = expose(truth, np.zeros_like(truth), root, np.random.default_rng(0)).mean(axis=0)
    assert (np.diff(reading) > 0.3).all()
    assert reading[0] == pytest.approx(expose_open(root), abs=0.01)


def test_dose_shifts_the_reading_of_a_calibrated_detector() -> None:
    truth = np.full((32, 32), 1.0)
    twice = dataclasses.replace(PLAIN, photons=2e5, open_photons=1e5)
    reading = expose(truth, np.zeros_like(truth), twice, np.random.default_rng(0))
    assert reading.mean() == pytest.approx(1.0 - np.log(2), abs=0.003)


def test_blur_keeps_a_constant_and_the_edges() -> None:
    np.testing.assert_allclose(gaussian_blur(np.full((9, 7), 3.0), 4.0), 3.0)


def test_blur_of_a_point_is_a_gaussian() -> None:
    point = np.zeros((41, 31))
    point[20, 15] = 1.0
    blurred = gaussian_blur(point, 2.0)
    assert blurred[20, 15] / blurred[20, 17] == pytest.approx(np.exp(0.5))
    assert blurred[20, 15] / blurred[22, 15] == pytest.approx(np.exp(0.5))


def test_mottle_is_coarse_rather_than_white() -> None:
    structure = lung_mottle((96, 80), np.random.default_rng(0))
    assert structure.std() == pytest.approx(1.0)
    assert structure.mean() == pytest.approx(0.0, abs=1e-9)
    assert np.mean(structure[1:] * structure[:-1]) > 0.8

"""From a projected chest to the stored values of a radiograph.

Beer-Lambert, scatter, the detector's blur, Poisson noise, then what a console does: logarithm or
root, harmonisation and edge enhancement, ranging, quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medres.phantom.ellipsoids import Floats


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How one picture is taken.

    Args:
        photons: that an open pixel would count; some 2e5 at 1.5 mm and 2.5 µGy after detection.
        scatter_to_primary: behind the grid; .1 to .6 in a chest (Chotas & Ravin,
            Radiology 177 (1990) 353).
        blur_pixels: standard deviation of the detector's blur.
        mottle: relative strength of the structure of small airways and vessels in the lungs.
        edge: gain of unsharp masking.
        response: log, or the fifth root of the exposure, which some plate readers store.
        open_photons: that the reading is relative to; `photons` where 0.
    """

    photons: float
    scatter_to_primary: float
    blur_pixels: float
    mottle: float
    edge: float
    response: Literal["log", "root"]
    open_photons: float = 0.0


def gaussian_blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur that does not darken the edges; sigma in pixels."""
    result = image
    for size in image.shape:
        distance = np.subtract.outer(np.arange(size), np.arange(size))
        kernel = np.exp(-0.5 * (distance / sigma) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        result = (kernel @ result).T
    return result


def lung_mottle(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Random structure with the falling spectrum of anatomy, zero mean, unit deviation.

    The power of chest anatomy falls with about the third power of frequency (Samei et al.,
    Med Phys 26 (1999) 446); below one cycle in 40 pixels it is level here, since the phantom's
    own organs make the coarse structure.
    """
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    spectrum *= np.maximum(frequency, 1 / 40) ** -1.5
    spectrum[0, 0] = 0.0
    structure = np.fft.irfft2(spectrum, s=shape)
    return np.asarray(structure / structure.std())


def expose(
    attenuation: Floats, air: Floats, exposure: Exposure, rng: np.random.Generator
) -> Floats:
    """What the detector reads, on a scale where higher = more attenuation.

    Args:
        attenuation: (H, W), line integrals.
        air: (H, W), mm of lung, which carries the mottle.
        exposure: how the picture is taken.
        rng: of mottle and noise.

    Returns:
        (H, W): minus the natural logarithm of the exposure relative to an open pixel, or for
        "root" minus six times its fifth root (as steep as the logarithm behind a chest), with
        edges enhanced.
    """
    grain = lung_mottle(attenuation.shape, rng) * exposure.mottle
    primary = np.exp(-(attenuation + grain * np.minimum(air, 160.0) / 160.0))
    scatter = exposure.scatter_to_primary * gaussian_blur(primary, 22.0)
    expected = exposure.photons * gaussian_blur(primary + scatter, exposure.blur_pixels)
    counts = rng.poisson(expected).astype(np.float64)
    relative = np.maximum(counts, 1.0) / (exposure.open_photons or exposure.photons)
    value = _respond(relative, exposure)
    return value + exposure.edge * (value - gaussian_blur(value, 5.0))


def expose_open(exposure: Exposure) -> float:
    """What the detector reads beside the patient, at the exposure that it is calibrated to."""
    return float(_respond(np.ones(()), exposure))


def _respond(relative: Floats, exposure: Exposure) -> Floats:
    return -np.log(relative) if exposure.response == "log" else -6.0 * relative**0.2

"""Whole studies of synthetic patients: who, when, on which scanner, with which finding.

Two scanners stand for two hospitals. They differ in all that a network could mistake for a
finding: matrix, response, bits, polarity, noise, blur, processing. Scanner, exposure, anatomy and
number of views are drawn without regard to the finding; every study, positive or not, draws where
its opacities would be, so that the same seed without them gives the same pictures less only them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medres.phantom.anatomy import ChestAnatomy, build_anatomy
from medres.phantom.detector import Exposure, expose, expose_open
from medres.phantom.ellipsoids import Bools, Floats
from medres.phantom.projection import (
    Box,
    Detector,
    Pose,
    View,
    aim_beam,
    draw_opacities,
    project_chest,
)

Voi = Literal["window", "two windows", "sigmoid", "lut", "rescaled window", "none"]
Encoding = Literal["explicit", "jpeg-ls", "jpeg-2000", "rle"]
ENCODINGS: tuple[Encoding, ...] = ("explicit", "jpeg-ls", "jpeg-2000", "rle")
_LETTERS = {
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
}


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """One make of radiography system.

    Args:
        name: as in the label table.
        modality: DX or CR.
        model: for Manufacturer's Model Name.
        photometric_interpretation: MONOCHROME2, or MONOCHROME1 where more is darker.
        bits_stored: of each pixel, of 16 allocated.
        detector: matrix and spacing.
        exposure: what it aims at; each picture varies around it.
        floor: the reading that is stored as 0; what is below clips, as beside the patient.
        levels: stored values for one unit of the detector's reading.
        vois: what its pictures carry to be displayed by, and how often.
    """

    name: Literal["A", "B"]
    modality: Literal["DX", "CR"]
    model: str
    photometric_interpretation: Literal["MONOCHROME1", "MONOCHROME2"]
    bits_stored: int
    detector: Detector
    exposure: Exposure
    floor: float
    levels: float
    vois: tuple[tuple[Voi, float], ...]


SCANNERS: dict[str, Scanner] = {
    "A": Scanner(
        name="A",
        modality="DX",
        model="PHANTOM-DX A",
        photometric_interpretation="MONOCHROME2",
        bits_stored=12,
        detector=Detector(rows=224, columns=224, spacing_mm=1.8),
        exposure=Exposure(
            photons=2.5e5,
            scatter_to_primary=0.22,
            blur_pixels=0.55,
            mottle=0.03,
            edge=0.6,
            response="log",
        ),
        floor=-0.5,
        levels=420.0,
        vois=(("window", 0.5), ("two windows", 0.15), ("sigmoid", 0.15), ("lut", 0.2)),
    ),
    "B": Scanner(
        name="B",
        modality="CR",
        model="PHANTOM-CR B",
        photometric_interpretation="MONOCHROME1",
        bits_stored=10,
        detector=Detector(rows=256, columns=208, spacing_mm=1.68),
        exposure=Exposure(
            photons=9e4,
            scatter_to_primary=0.30,
            blur_pixels=0.9,
            mottle=0.03,
            edge=0.3,
            response="root",
        ),
        floor=-5.4,
        levels=250.0,
        vois=(("window", 0.6), ("rescaled window", 0.2), ("none", 0.2)),
    ),
}


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """One study to be rendered.

    Args:
        patient: number of the patient in the set, from 0.
        study: number of the study of that patient, from 0.
        scanner: A or B, the same for all of a patient's studies.
        opacity: whether the study shows the finding.
        views: frontal, and lateral where there are two.
        voi: what the pictures carry to be displayed by.
        encoding: how the files are compressed.
        days: after the first day of the set.
    """

    patient: int
    study: int
    scanner: Literal["A", "B"]
    opacity: bool
    views: tuple[View, ...]
    voi: Voi
    encoding: Encoding
    days: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Radiograph:
    """One rendered picture with its truth.

    Args:
        plan: whose, and of which study.
        view: PA or LL (left lateral).
        anatomy: of the patient.
        stored: (H, W) unsigned integers of the scanner's bits, in its polarity.
        window: stored values that the console shows as black and white, low before high.
        lung_mask: (H, W), lung fields as seen.
        heart_mask: (H, W), the heart's shadow.
        opacity_mask: (H, W), empty where the study shows none.
        opacity_boxes: (row, column, row, column), ends exclusive, one for each opacity.
    """

    plan: StudyPlan
    view: View
    anatomy: ChestAnatomy
    stored: NDArray[np.uint16]
    window: tuple[float, float]
    lung_mask: Bools
    heart_mask: Bools
    opacity_mask: Bools
    opacity_boxes: tuple[Box, ...]


def plan_studies(patients: int, *, seed: int = 0) -> tuple[StudyPlan, ...]:
    """All studies of a set, in the order of patients.

    Every run of four patients holds each pair of scanner and finding once, in random order, so
    any number of first patients gives a balanced set; and how many studies or views a patient
    has says nothing about the finding.
    """
    plans: list[StudyPlan] = []
    for block in range(0, patients, 4):
        order = np.random.default_rng([seed, block, 0xB10C]).permutation(4)
        for offset in range(min(4, patients - block)):
            scanner: Literal["A", "B"] = "A" if order[offset] < 2 else "B"
            plans += _plan_patient(block + offset, scanner, bool(order[offset] % 2), seed)
    return tuple(plans)


def _plan_patient(
    patient: int, scanner: Literal["A", "B"], opacity: bool, seed: int
) -> list[StudyPlan]:
    """A patient's studies; of one with opacities at least one shows them, perhaps others too."""
    rng = np.random.default_rng([seed, patient, 0x57D7])
    vois, shares = zip(*SCANNERS[scanner].vois, strict=True)
    plans, days = [], int(rng.integers(0, 700))
    count = int(rng.choice([1, 2, 3], p=[0.7, 0.22, 0.08]))
    certain = int(rng.integers(count))
    for study in range(count):
        plans.append(
            StudyPlan(
                patient=patient,
                study=study,
                scanner=scanner,
                opacity=opacity and (bool(rng.random() < 0.5) or study == certain),
                views=("PA", "LL") if rng.random() < 0.25 else ("PA",),
                voi=vois[int(rng.choice(len(vois), p=shares))],
                encoding=ENCODINGS[int(rng.integers(len(ENCODINGS)))],
                days=days,
            )
        )
        days += int(rng.integers(20, 300))
    return plans


def render_study(
    plan: StudyPlan, *, seed: int = 0, opacity_contrast: float = 1.0
) -> tuple[Radiograph, ...]:
    """Every picture of a study, with its truth.

    Args:
        plan: of `plan_studies` with the same seed.
        seed: of the set.
        opacity_contrast: multiplies the opacities' attenuation; 0 leaves them out and nothing
            else changes.
    """
    anatomy = build_anatomy(plan.patient, seed=seed)
    where = np.random.default_rng([seed, plan.patient, plan.study, 0x0FAC])
    opacities = draw_opacities(anatomy, where, contrast=opacity_contrast)
    shown = opacities if plan.opacity and opacity_contrast > 0 else ()
    pictures = []
    for number, view in enumerate(plan.views):
        rng = np.random.default_rng([seed, plan.patient, plan.study, number, 0x9A5E])
        scanner = SCANNERS[plan.scanner]
        pose = Pose(
            turn_degrees=float(rng.normal(0, 2.0)),
            tilt_degrees=float(rng.normal(0, 1.5)),
            shift_mm=(float(rng.normal(0, 7)), float(rng.normal(0, 8))),
        )
        truth = project_chest(anatomy, view, aim_beam(view, scanner.detector, pose), shown)
        reading = expose(truth.attenuation, truth.air, _vary(scanner.exposure, rng), rng)
        field = _collimate(reading.shape, rng)
        window = _range(reading, scanner.exposure, rng)
        reading = _mark(reading, view, window[1], rng)
        reading[~field] = -np.inf
        stored, window = _quantise(reading, window, scanner)
        pictures.append(
            Radiograph(
                plan=plan,
                view=view,
                anatomy=anatomy,
                stored=stored,
                window=window,
                lung_mask=truth.lung_mask & field,
                heart_mask=truth.heart_mask & field,
                opacity_mask=truth.opacity_mask & field,
                opacity_boxes=truth.opacity_boxes,
            )
        )
    return tuple(pictures)


def _vary(aim: Exposure, rng: np.random.Generator) -> Exposure:
    """One picture's exposure: dose, grid and processing differ a little every time."""
    return Exposure(
        photons=aim.photons * float(np.exp(rng.normal(0, 0.3))),
        scatter_to_primary=aim.scatter_to_primary * float(rng.uniform(0.75, 1.3)),
        blur_pixels=aim.blur_pixels * float(rng.uniform(0.85, 1.2)),
        mottle=aim.mottle * float(rng.uniform(0.6, 1.4)),
        edge=aim.edge * float(rng.uniform(0.7, 1.3)),
        response=aim.response,
        open_photons=aim.photons,
    )


def _collimate(shape: tuple[int, ...], rng: np.random.Generator) -> Bools:
    """(H, W), the field that the collimator leaves open."""
    field = np.zeros(shape, dtype=np.bool_)
    top, bottom, left, right = (int(max(0.0, rng.normal(2, 4))) for _ in range(4))
    field[top : shape[0] - bottom, left : shape[1] - right] = True
    return field


def _range(values: Floats, exposure: Exposure, rng: np.random.Generator) -> tuple[float, float]:
    """What the console shows as black and white, found from the middle of the patient's shadow."""
    H, W = values.shape
    middle = values[H // 8 : 3 * H // 4, W // 6 : 5 * W // 6]
    open_beam = expose_open(exposure)
    body = middle[middle > open_beam + 0.12 * (middle.max() - open_beam)]
    low, high = np.percentile(body, [1.0, 98.0])
    span = high - low
    return (
        float(low - span * rng.uniform(0.05, 0.13)),
        float(high + span * rng.uniform(0.05, 0.15)),
    )


def _mark(reading: Floats, view: View, white: float, rng: np.random.Generator) -> Floats:
    """Lay a lead letter on the picture: the side, as radiographers do."""
    letter = "R" if view == "PA" and rng.random() < 0.4 else "L"
    pattern = np.array([[bit == "1" for bit in row] for row in _LETTERS[letter]])
    lead = np.kron(pattern, np.ones((2, 2), dtype=np.bool_))
    row = int(rng.integers(12, 40))
    column = int(rng.integers(10, 20))
    if letter == "L" and view == "PA":
        column = reading.shape[1] - column - lead.shape[1]
    marked = reading.copy()
    area = marked[row : row + lead.shape[0], column : column + lead.shape[1]]
    area[lead] = np.maximum(area[lead], white)
    return marked


def _quantise(
    reading: Floats, window: tuple[float, float], scanner: Scanner
) -> tuple[NDArray[np.uint16], tuple[float, float]]:
    """Stored values, and the window in them, in the scanner's polarity."""
    top = 2**scanner.bits_stored - 1
    stored = np.clip(np.rint((reading - scanner.floor) * scanner.levels), 0, top)
    low, high = ((edge - scanner.floor) * scanner.levels for edge in window)
    if scanner.photometric_interpretation == "MONOCHROME1":
        stored, low, high = top - stored, top - high, top - low
    return stored.astype(np.uint16), (round(low, 1), round(high, 1))

"""The analytic chest of one synthetic patient: every organ a set of ellipsoids.

Sizes follow an adult: lungs some 26 cm high, a chest 28 to 34 cm wide inside the ribs, a heart of
.42 to .55 of that width, 12 pairs of ribs. Each patient has a habitus, sex, lung and heart size,
rib positions, asymmetry and vessel tree of their own, all drawn from (seed, patient) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medres.phantom.ellipsoids import Ellipsoids, Floats, ellipsoid, join, rotation
from medres.phantom.habitus import AIR, LUNG, MUSCLE, Habitus, draw_habitus
from medres.phantom.skeleton import build_skeleton


@dataclass(frozen=True, eq=False)
class SoftTissue:
    """Muscle, and the skin with all the fat beneath it; each the union of its ellipsoids."""

    skin: Ellipsoids
    muscle: Ellipsoids


@dataclass(frozen=True, eq=False, kw_only=True)
class ChestAnatomy:
    """One synthetic patient.

    Args:
        patient: number of the patient in its set, from 0.
        sex: "F" or "M".
        age: years.
        trunk: of muscle and fat, with neck and shoulders.
        arms: with the weights of `arm_bones`; a lateral view is taken without them.
        arm_bones: weights are differences to muscle.
        lungs: two, right first, before anything displaces them.
        displacing: what has the lungs' place where it meets them: heart, vessels, diaphragm.
        heart: part of `displacing`.
        airways: trachea, main bronchi and the stomach's bubble; weights are negative.
        bones: weights are differences to muscle.
        vessels: of the lungs; weights are differences to lung.
    """

    patient: int
    sex: Literal["F", "M"]
    age: int
    trunk: SoftTissue
    arms: SoftTissue
    arm_bones: Ellipsoids
    lungs: Ellipsoids
    displacing: Ellipsoids
    heart: Ellipsoids
    airways: Ellipsoids
    bones: Ellipsoids
    vessels: Ellipsoids


def build_anatomy(patient: int, *, seed: int = 0) -> ChestAnatomy:
    """The chest of one patient, the same at every call.

    Args:
        patient: number in the set, from 0.
        seed: of the set.
    """
    rng = np.random.default_rng([seed, patient, 0xC4E57])
    habitus = draw_habitus(rng)
    lungs = _lungs(habitus, rng)
    heart = _heart(habitus, rng)
    displacing = join([heart, _great_vessels(habitus, rng), _diaphragm(habitus, rng)])
    tilt = rotation(1, habitus.lean)
    bones, arm_bones = build_skeleton(habitus, rng)
    return ChestAnatomy(
        patient=patient,
        sex=habitus.sex,
        age=habitus.age,
        trunk=_turned_soft(_trunk(habitus, rng), tilt),
        arms=_turned_soft(_arms(habitus, rng), tilt),
        arm_bones=_turned(arm_bones, tilt),
        lungs=_turned(lungs, tilt),
        displacing=_turned(displacing, tilt),
        heart=_turned(heart, tilt),
        airways=_turned(_airways(habitus, rng), tilt),
        bones=_turned(bones, tilt),
        vessels=_turned(_vessels(habitus, lungs, displacing, rng), tilt),
    )


def _turned_soft(part: SoftTissue, matrix: Floats) -> SoftTissue:
    return SoftTissue(_turned(part.skin, matrix), _turned(part.muscle, matrix))


def _turned(part: Ellipsoids, matrix: Floats) -> Ellipsoids:
    return Ellipsoids(part.centers @ matrix.T, part.shapes @ matrix.T, part.weights)


def _trunk(habitus: Habitus, rng: np.random.Generator) -> SoftTissue:
    """Chest, neck, the slope of the shoulders, breasts."""
    w, d, t = habitus.wide, habitus.deep, habitus.tall
    solids = [
        ellipsoid((0, 2, -165 * t), (158 * w, 106 * d, 400 * t)),
        ellipsoid((0, 14, 190 * t), (56 * w, 58 * d, 100)),
        ellipsoid((0, 22, 128 * t), (110 * w, 44 * d, 52 * t)),
    ]
    for side in (-1, 1):
        solids.append(
            ellipsoid(
                (side * 96 * w, 20, 88 * t),
                np.array([88, 46, 44]) * w,
                rotation(1, side * rng.normal(17, 3)),
            )
        )
        solids.append(
            ellipsoid(
                (side * 118 * w, -12, 40 * t), np.array([38, 74, 66]) * w, rotation(1, side * 12)
            )
        )
    muscle = join(solids)
    breasts = []
    if habitus.sex == "F":
        size = float(np.clip(rng.normal(0.8, 0.15), 0.5, 1.2)) * (0.8 + habitus.fat / 80)
        breasts = [
            ellipsoid(
                (side * rng.normal(80, 4) * w, -84 * d - habitus.fat, rng.normal(-72, 9) * t),
                np.array([66, 30, 60]) * size,
            )
            for side in (-1, 1)
        ]
    return SoftTissue(join([_fattened(muscle, habitus.fat), *breasts]), muscle)


def _arms(habitus: Habitus, rng: np.random.Generator) -> SoftTissue:
    """Upper arms, turned away from the chest; raised and out of the field in a lateral view."""
    w, t = habitus.wide, habitus.tall
    muscle = join(
        [
            ellipsoid(
                (side * 178 * w, 22, 48 * t),
                np.array([40, 44, 112]) * w,
                rotation(1, side * rng.normal(-22, 5)),
            )
            for side in (-1, 1)
        ]
    )
    return SoftTissue(_fattened(muscle, 0.6 * habitus.fat), muscle)


def _fattened(solids: Ellipsoids, fat_mm: float) -> Ellipsoids:
    """The same ellipsoids with a layer around them."""
    lengths = np.linalg.norm(solids.shapes, axis=2, keepdims=True)
    grown = solids.shapes / lengths / (1.0 / lengths + fat_mm)
    return Ellipsoids(solids.centers, grown, solids.weights)


def _lungs(habitus: Habitus, rng: np.random.Generator) -> Ellipsoids:
    """Two leaning ellipsoids, apex towards the middle; the diaphragm cuts their lower third."""
    lungs = []
    for side in (-1, 1):
        half = np.array([66 * habitus.wide, 90 * habitus.deep, 165 * habitus.tall])
        half *= rng.normal(1.0, 0.02, 3)
        center = (side * 69 * habitus.wide, 8 * habitus.deep, -36 * habitus.tall)
        lungs.append(ellipsoid(center, half, rotation(1, side * rng.normal(7.0, 1.0))))
    return join(lungs)


def _heart(habitus: Habitus, rng: np.random.Generator) -> Ellipsoids:
    """Left ventricle, lying obliquely, and the right heart's border."""
    size, t = habitus.heart * habitus.wide, habitus.tall
    axes = rotation(2, rng.normal(-25, 5)) @ rotation(1, rng.normal(32, 7))
    left = ellipsoid(
        (27 * size, -24 * habitus.deep, -62 * t), np.array([72, 50, 53]) * size, axes.T
    )
    right = ellipsoid((-14 * size, -26, -54 * t), np.array([37, 40, 50]) * size)
    apex = ellipsoid((8 * size, -20, -84 * t), np.array([60, 46, 36]) * size)
    return join([left, right, apex])


def _great_vessels(habitus: Habitus, rng: np.random.Generator) -> Ellipsoids:
    """Mediastinum, aorta with its knob, superior vena cava, pulmonary trunk, hila, paraspinal."""
    w, d, t = habitus.wide, habitus.deep, habitus.tall
    old = (habitus.age - 22) / 66  # the aorta widens and unfolds with age
    knob = 17 + 6 * old + rng.normal(0, 1.5)
    return join(
        [
            ellipsoid((0, -8, 25 * t), (25 * w, 50 * d, 150 * t)),
            ellipsoid((-2, 66 * d, -10 * t), (27 * w, 36 * d, 330 * t)),
            ellipsoid((-17 * w, -14, 42 * t), (17 + 4 * old, 21, 78 * t)),
            ellipsoid((21 * w + 5 * old, 12, 58 * t), (knob, knob + 4, knob + 2)),
            ellipsoid((19 * w + 6 * old, 44 * d, -30 * t), (12 + 3 * old, 13 + 3 * old, 120 * t)),
            ellipsoid((25 * w, -18, 20 * t), (19 + rng.normal(0, 2), 20, 24)),
            ellipsoid((-30 * w, 4, 2 * t), (12, 15, 22 + rng.normal(0, 2)), rotation(1, 18)),
            ellipsoid((32 * w, 6, 12 * t), (11, 14, 19 + rng.normal(0, 2)), rotation(1, -22)),
        ]
    )


def _diaphragm(habitus: Habitus, rng: np.random.Generator) -> Ellipsoids:
    """Two domes of muscle, with all that lies below them; the right one stands higher."""
    domes = []
    for side in (-1, 1):
        top = -92 * habitus.tall + habitus.domes + (habitus.uneven if side < 0 else 0.0)
        half = np.array([73 * habitus.wide, 97 * habitus.deep, 112.0]) * rng.normal(1.0, 0.025, 3)
        domes.append(ellipsoid((side * 73 * habitus.wide, -12 * habitus.deep, top - half[2]), half))
    return join(domes)


def _airways(habitus: Habitus, rng: np.random.Generator) -> Ellipsoids:
    """Trachea and main bronchi, and the bubble of air in the stomach."""
    w, t = habitus.wide, habitus.tall
    air = AIR - MUSCLE
    bend = rng.normal(2.5, 2)
    left_dome = -92 * t + habitus.domes
    bubble = rng.uniform(12, 30)
    return join(
        [
            ellipsoid((-bend, 14, 112 * t), (8.5 * w, 8 * w, 82 * t), rotation(1, 1.5), weight=air),
            ellipsoid((-19 * w, 16, 20 * t), (6.5, 6.5, 27), rotation(1, 38), weight=air),
            ellipsoid((22 * w, 18, 22 * t), (5.5, 5.5, 29), rotation(1, -52), weight=air),
            ellipsoid(
                (62 * w + rng.normal(0, 9), -18, left_dome - 14 - 0.5 * bubble),
                (bubble * 1.25, bubble * 1.3, 0.5 * bubble),
                weight=0.85 * air,
            ),
        ]
    )


def _vessels(
    habitus: Habitus, lungs: Ellipsoids, displacing: Ellipsoids, rng: np.random.Generator
) -> Ellipsoids:
    """A branching tree in each lung, from the hilum, thinner with every branch."""
    parts = []
    for lung, side in enumerate((-1, 1)):
        hilum = np.array(
            [side * 34 * habitus.wide, 8.0, (2.0 if side < 0 else 10.0) * habitus.tall]
        )
        fan = np.deg2rad(np.linspace(-78, 80, 11) + rng.normal(0, 6, 11))
        forward = rng.uniform(-0.75, 0.75, 11)
        headings = np.stack([side * np.cos(fan), forward, np.sin(fan)], axis=1)
        radius = rng.uniform(2.2, 3.4, 11)
        starts = np.tile(hilum, (11, 1))
        for _ in range(5):
            parts.append(_branches(starts, headings, radius, lungs[lung : lung + 1], rng))
            starts, headings, radius = _fork(parts[-1], headings, radius, rng)
    tree = join(parts)
    in_lung = ~displacing.contain(tree.centers).any(axis=0)
    return Ellipsoids(tree.centers, tree.shapes, tree.weights * in_lung)


def _branches(
    starts: Floats, headings: Floats, radius: Floats, lung: Ellipsoids, rng: np.random.Generator
) -> Ellipsoids:
    """One generation of segments; those that would leave the lung become thin."""
    along = headings / np.linalg.norm(headings, axis=1, keepdims=True)
    length = (7.5 * radius**0.6 + 9.0) * rng.uniform(0.8, 1.25, len(radius))
    centers = starts + 0.5 * length[:, None] * along
    across = np.cross(along, [0.31, 0.87, 0.38])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    third = np.cross(along, across)
    ends = centers + 0.5 * length[:, None] * along
    inside = lung.scaled(0.95).contain(ends)[0]
    shapes = np.stack(
        [along / (0.62 * length[:, None]), across / radius[:, None], third / radius[:, None]],
        axis=1,
    )
    return Ellipsoids(centers, shapes, (MUSCLE - LUNG) * inside)


def _fork(
    parent: Ellipsoids, headings: Floats, radius: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Two children of each segment; Murray's law (PNAS 12 (1926) 207): r³ is shared."""
    along = headings / np.linalg.norm(headings, axis=1, keepdims=True)
    half = 0.81 / np.linalg.norm(parent.shapes[:, 0], axis=1)
    ends = parent.centers + half[:, None] * along
    share = rng.uniform(0.35, 0.65, len(radius))
    turns = rng.normal(0.0, 0.42, (2, *along.shape))
    children = np.concatenate([along + turns[0], along + turns[1]])
    thinner = np.concatenate([radius * share ** (1 / 3), radius * (1 - share) ** (1 / 3)])
    return np.concatenate([ends, ends]), children, np.maximum(thinner, 0.7)

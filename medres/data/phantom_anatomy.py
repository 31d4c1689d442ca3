"""The analytic chest of one synthetic patient: every organ a set of ellipsoids.

Sizes follow an adult: lungs some 26 cm high, a chest 28 to 34 cm wide inside the ribs, a heart of
.42 to .55 of that width, 12 pairs of ribs. Each patient has a habitus, sex, lung and heart size,
rib positions, asymmetry and vessel tree of their own, all drawn from (seed, patient) alone.

Attenuation is monoenergetic at 60 keV, near the effective energy of a 120 kV chest beam behind a
patient: mass coefficients of NIST (Hubbell & Seltzer, NISTIR 5632, tables 3 and 4; ICRU-44
tissues) times density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medres.data.ellipsoids import Ellipsoids, Floats, ellipsoid, join, rotation

# cm²/g at 60 keV × g/cm³ ÷ 10 mm/cm
MUSCLE = 0.2048 * 1.05 / 10  # per mm
FAT = 0.1974 * 0.95 / 10
LUNG = 0.2053 * 0.26 / 10  # inflated
BONE = 0.3148 * 1.92 / 10  # cortical
MARROW = 0.2048 * 1.18 / 10  # spongy bone with its marrow, muscle's mass coefficient
AIR = 0.0

TUBE_OVERLAP = 1.9  # half-length of a bone's ellipsoids, in steps: enough to show no beads


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
        height_mm: of the lungs at full inspiration; scale of everything else.
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
    height_mm: float
    trunk: SoftTissue
    arms: SoftTissue
    arm_bones: Ellipsoids
    lungs: Ellipsoids
    displacing: Ellipsoids
    heart: Ellipsoids
    airways: Ellipsoids
    bones: Ellipsoids
    vessels: Ellipsoids


@dataclass(frozen=True, kw_only=True)
class _Build:
    """What a patient's organs have in common: drawn once, used by all of them."""

    sex: Literal["F", "M"]
    age: int
    wide: float  # relative size, left-right
    deep: float  # front-back
    tall: float  # head-feet
    fat: float  # mm under the skin
    heart: float  # relative size
    lean: float  # degrees, scoliosis-like tilt of the trunk
    uneven: float  # mm that the right dome stands higher
    domes: float  # mm, height of both domes


def _draw_build(rng: np.random.Generator) -> _Build:
    female = bool(rng.random() < 0.5)
    size = rng.normal(0.96 if female else 1.03, 0.035)
    return _Build(
        sex="F" if female else "M",
        age=int(rng.integers(22, 88)),
        wide=float(size * rng.normal(1.0, 0.03)),
        deep=float(size * rng.normal(1.0, 0.06)),
        tall=float(size * rng.normal(1.0, 0.04)),
        fat=float(np.clip(rng.gamma(4.0, 4.0) + 4.0, 5.0, 40.0)),
        heart=float(np.clip(rng.normal(1.0, 0.09), 0.82, 1.25)),
        lean=float(rng.normal(0.0, 1.3)),
        uneven=float(rng.normal(11.0, 5.0)),
        domes=float(rng.normal(0.0, 9.0)),
    )


def build_anatomy(patient: int, *, seed: int = 0) -> ChestAnatomy:
    """The chest of one patient, the same at every call.

    Args:
        patient: number in the set, from 0.
        seed: of the set.
    """
    rng = np.random.default_rng([seed, patient, 0xC4E57])
    build = _draw_build(rng)
    lungs = _lungs(build, rng)
    heart = _heart(build, rng)
    displacing = join([heart, _great_vessels(build, rng), _diaphragm(build, rng)])
    tilt = rotation(1, build.lean)
    bones, arm_bones = _bones(build, rng)
    return ChestAnatomy(
        patient=patient,
        sex=build.sex,
        age=build.age,
        height_mm=265.0 * build.tall,
        trunk=_turned_soft(_trunk(build, rng), tilt),
        arms=_turned_soft(_arms(build, rng), tilt),
        arm_bones=_turned(arm_bones, tilt),
        lungs=_turned(lungs, tilt),
        displacing=_turned(displacing, tilt),
        heart=_turned(heart, tilt),
        airways=_turned(_airways(build, rng), tilt),
        bones=_turned(bones, tilt),
        vessels=_turned(_vessels(build, lungs, displacing, rng), tilt),
    )


def _turned_soft(part: SoftTissue, matrix: Floats) -> SoftTissue:
    return SoftTissue(_turned(part.skin, matrix), _turned(part.muscle, matrix))


def _turned(part: Ellipsoids, matrix: Floats) -> Ellipsoids:
    return Ellipsoids(part.centers @ matrix.T, part.shapes @ matrix.T, part.weights)


def _trunk(build: _Build, rng: np.random.Generator) -> SoftTissue:
    """Chest, neck, the slope of the shoulders, breasts."""
    w, d, t = build.wide, build.deep, build.tall
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
    if build.sex == "F":
        size = float(np.clip(rng.normal(1.0, 0.2), 0.6, 1.5)) * (0.8 + build.fat / 80)
        breasts = [
            ellipsoid(
                (side * rng.normal(80, 4) * w, -84 * d - build.fat, rng.normal(-72, 9) * t),
                np.array([62, 36, 56]) * size,
            )
            for side in (-1, 1)
        ]
    return SoftTissue(join([_fattened(muscle, build.fat), *breasts]), muscle)


def _arms(build: _Build, rng: np.random.Generator) -> SoftTissue:
    """Upper arms, turned away from the chest; raised and out of the field in a lateral view."""
    w, t = build.wide, build.tall
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
    return SoftTissue(_fattened(muscle, 0.6 * build.fat), muscle)


def _fattened(solids: Ellipsoids, fat_mm: float) -> Ellipsoids:
    """The same ellipsoids with a layer around them."""
    lengths = np.linalg.norm(solids.shapes, axis=2, keepdims=True)
    grown = solids.shapes / lengths / (1.0 / lengths + fat_mm)
    return Ellipsoids(solids.centers, grown, solids.weights)


def _lungs(build: _Build, rng: np.random.Generator) -> Ellipsoids:
    """Two leaning ellipsoids, apex towards the middle; the diaphragm cuts their lower third."""
    lungs = []
    for side in (-1, 1):
        half = np.array([66 * build.wide, 90 * build.deep, 165 * build.tall])
        half *= rng.normal(1.0, 0.02, 3)
        center = (side * 69 * build.wide, 8 * build.deep, -36 * build.tall)
        lungs.append(ellipsoid(center, half, rotation(1, side * rng.normal(7.0, 1.0))))
    return join(lungs)


def _heart(build: _Build, rng: np.random.Generator) -> Ellipsoids:
    """Left ventricle, lying obliquely, and the right heart's border."""
    size, t = build.heart * build.wide, build.tall
    axes = rotation(2, rng.normal(-25, 5)) @ rotation(1, rng.normal(32, 7))
    left = ellipsoid((27 * size, -24 * build.deep, -62 * t), np.array([72, 50, 53]) * size, axes.T)
    right = ellipsoid((-14 * size, -26, -54 * t), np.array([37, 40, 50]) * size)
    apex = ellipsoid((8 * size, -20, -84 * t), np.array([60, 46, 36]) * size)
    return join([left, right, apex])


def _great_vessels(build: _Build, rng: np.random.Generator) -> Ellipsoids:
    """Mediastinum, aorta with its knob, superior vena cava, pulmonary trunk, hila, paraspinal."""
    w, d, t = build.wide, build.deep, build.tall
    old = (build.age - 22) / 66  # the aorta widens and unfolds with age
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


def _diaphragm(build: _Build, rng: np.random.Generator) -> Ellipsoids:
    """Two domes of muscle, with all that lies below them; the right one stands higher."""
    domes = []
    for side in (-1, 1):
        top = -92 * build.tall + build.domes + (build.uneven if side < 0 else 0.0)
        half = np.array([73 * build.wide, 97 * build.deep, 112.0]) * rng.normal(1.0, 0.025, 3)
        domes.append(ellipsoid((side * 73 * build.wide, -12 * build.deep, top - half[2]), half))
    return join(domes)


def _airways(build: _Build, rng: np.random.Generator) -> Ellipsoids:
    """Trachea and main bronchi, and the bubble of air in the stomach."""
    w, t = build.wide, build.tall
    air = AIR - MUSCLE
    bend = rng.normal(2.5, 2)
    left_dome = -92 * t + build.domes
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


def _tube(
    points: Floats,
    outward: Floats,
    height: Floats,
    depth: Floats,
    *,
    core: float = 0.68,
    weight: float = BONE - MUSCLE,
    hollow: float = 0.72,
) -> Ellipsoids:
    """A long bone as a chain of overlapping ellipsoids, hard outside and spongy inside.

    Args:
        points: (N, 3), mm, along the bone.
        outward: (N, 3), roughly across the bone's thin side.
        height: (N,), mm, half the broad side.
        depth: (N,), mm, half the thin side.
        core: size of the spongy core, relative to the whole.
        weight: of the cortex, per mm.
        hollow: share of the weight that the core lacks.
    """
    along = np.gradient(points, axis=0)
    step = np.linalg.norm(along, axis=1, keepdims=True)
    along = along / step
    thin = outward - (outward * along).sum(axis=1, keepdims=True) * along
    thin /= np.linalg.norm(thin, axis=1, keepdims=True)
    broad = np.cross(along, thin)
    half = TUBE_OVERLAP * step[:, 0]
    shapes = np.stack(
        [along / half[:, None], thin / depth[:, None], broad / height[:, None]], axis=1
    )
    # N chords of half-length k steps overlap 2 k / (4/3) times on average over the cross-section.
    share = np.full(len(points), weight / (2 * TUBE_OVERLAP))
    outer = Ellipsoids(points, shapes, share)
    scale = np.array([1.0, 1 / core, 1 / core])[:, None]
    return join([outer, Ellipsoids(points, shapes * scale, -hollow * share)])


def _bones(build: _Build, rng: np.random.Generator) -> tuple[Ellipsoids, Ellipsoids]:
    """Those of the trunk and those that move with the arms."""
    spacing = 22.4 * build.tall * rng.normal(1.0, 0.02)
    tops = 126 * build.tall + rng.normal(0, 4) - spacing * np.arange(12)
    parts, arms = [_spine(build, tops, spacing), _sternum(build)], []
    for side in (-1, 1):
        parts += [
            _rib(build, k, float(top) + rng.normal(0, 2), side, rng) for k, top in enumerate(tops)
        ]
        parts.append(_clavicle(build, side, rng))
        blade, humerus = _shoulder(build, side, rng)
        parts.append(blade)
        arms.append(humerus)
    tone = max(rng.normal(1.3, 0.14) * (1.12 - 0.25 * (build.age - 22) / 66), 0.6)
    return join(parts).scaled(1.0, tone), join(arms).scaled(1.0, tone)


def _spine(build: _Build, tops: Floats, spacing: float) -> Ellipsoids:
    """Bodies, arches and spinous processes, from C6 to L3."""
    parts, bone = [], BONE - MUSCLE
    levels = float(tops[0]) - spacing * np.arange(-3, 16)
    for index, z in enumerate(levels):
        grow = 0.80 + 0.025 * index
        y = 66 * build.deep - 14 * np.cos((z + 10) / 150) * build.deep + 8
        for x in (-7.5 * grow, 7.5 * grow):  # two, for a body with flat end plates
            parts.append(
                ellipsoid((x, y, z), np.array([12.5, 17, 10.6]) * grow, weight=0.16 * bone)
            )
        parts.append(ellipsoid((0, y, z), np.array([21, 17, 10.9]) * grow, weight=0.10 * bone))
        parts.append(ellipsoid((0, y + 38 * grow, z - 9), (2.6, 16, 8), weight=0.28 * bone))
        for side in (-1, 1):
            parts += [
                ellipsoid(
                    (side * 11 * grow, y + 19 * grow, z + 2), (3.6, 8, 5.2), weight=0.42 * bone
                ),
                ellipsoid(
                    (side * 24 * grow, y + 27 * grow, z + 2),
                    (14, 5, 4.2),
                    rotation(1, -side * 10),
                    weight=0.26 * bone,
                ),
            ]
    return join(parts)


def _cage(build: _Build, z: Floats) -> tuple[Floats, Floats]:
    """Half-width and half-depth of the rib cage at height z, mm: just outside the lungs."""
    up = np.clip((z + 36 * build.tall) / (172 * build.tall), 0.0, 0.985)
    bow = np.sqrt(1.0 - up**2)
    lean = 69 - 0.12 * np.maximum(z, -60)
    return (lean + 68 * bow) * build.wide + 5, 92 * bow * build.deep + 6


def _rib(build: _Build, index: int, top: float, side: int, rng: np.random.Generator) -> Ellipsoids:
    """One rib, from its vertebra round the side to its cartilage."""
    last = (118, 140, 148, 150, 150, 148, 146, 140, 130, 116, 82, 52)[index]
    drop = (34, 52, 66, 76, 84, 92, 98, 102, 100, 96, 90, 84)[index] * build.tall
    angle = np.deg2rad(np.linspace(6, last + rng.normal(0, 3), 8 + last // 6))
    z = top - drop * (0.5 - 0.5 * np.cos(angle)) ** rng.normal(0.95, 0.05)
    half_width, half_depth = _cage(build, z)
    points = np.stack(
        [
            side * half_width * np.sin(angle) ** 0.86,
            8 * build.deep + half_depth * np.cos(angle),
            z,
        ],
        axis=1,
    )
    outward = np.stack([side * np.sin(angle), np.cos(angle), np.full_like(angle, 0.12)], axis=1)
    broad = (6.2 if 0 < index < 10 else 5.0) * build.tall * (1 + 0.22 * np.sin(angle - 0.6))
    return _tube(points, outward, broad, np.full_like(angle, 3.6))


def _clavicle(build: _Build, side: int, rng: np.random.Generator) -> Ellipsoids:
    s = np.linspace(0, 1, 26)
    rise = rng.normal(22, 8)
    points = np.stack(
        [
            side * (17 + 138 * s) * build.wide,
            (-62 + 70 * s + 10 * np.sin(2 * np.pi * s)) * build.deep,
            (90 + rise * s + 7 * np.sin(2 * np.pi * s)) * build.tall,
        ],
        axis=1,
    )
    broad = 6.5 + 2.5 * np.abs(2 * s - 1) ** 2
    return _tube(points, np.tile([0.0, 1.0, 0.4], (26, 1)), broad, 0.85 * broad)


def _shoulder(build: _Build, side: int, rng: np.random.Generator) -> tuple[Ellipsoids, Ellipsoids]:
    """Scapula, turned out of the lung; then head and shaft of the humerus."""
    w, t, bone = build.wide, build.tall, BONE - MUSCLE
    x = side * (148 * w + rng.normal(0, 5))
    s = np.linspace(0, 1, 16)
    back = np.full(16, 72.0 * build.deep)
    edge = np.stack([x + side * (14 - 22 * s), back, (84 - 128 * s) * t], axis=1)
    spine = np.stack([x + side * (-40 + 62 * s), back + 10 - 26 * s, (72 + 34 * s) * t], axis=1)
    outward = np.tile([side * 0.6, 0.8, 0.0], (16, 1))
    plate = ellipsoid(
        (x - side * 12, 74 * build.deep, 34 * t),
        (24, 3.0, 64 * t),
        rotation(2, side * 38) @ rotation(1, side * 13),
        weight=0.24 * bone,
    )
    thick = np.full(16, 4.2)
    blade = join(
        [
            plate,
            _tube(edge, outward, thick, thick, weight=0.5 * bone),
            _tube(spine, outward, thick, thick, weight=0.42 * bone),
        ]
    )
    humerus = join(
        [
            ellipsoid((x + side * 26, 30, 90 * t), np.array([23, 22, 24]) * w, weight=0.26 * bone),
            ellipsoid(
                (x + side * 38, 30, 0), (11, 11, 95), rotation(1, side * -14), weight=0.36 * bone
            ),
        ]
    )
    return blade, humerus


def _sternum(build: _Build) -> Ellipsoids:
    s = np.linspace(0, 1, 20)
    points = np.stack(
        [np.zeros(20), (-66 - 34 * s**0.8) * build.deep, (84 - 175 * s) * build.tall], axis=1
    )
    return _tube(
        points,
        np.tile([0.0, 1.0, 0.2], (20, 1)),
        19 - 6 * s,
        np.full(20, 5.0),
        weight=0.45 * (BONE - MUSCLE),
    )


def _vessels(
    build: _Build, lungs: Ellipsoids, displacing: Ellipsoids, rng: np.random.Generator
) -> Ellipsoids:
    """A branching tree in each lung, from the hilum, thinner with every branch."""
    parts = []
    for lung, side in enumerate((-1, 1)):
        hilum = np.array([side * 34 * build.wide, 8.0, (2.0 if side < 0 else 10.0) * build.tall])
        fan = np.deg2rad(np.linspace(-78, 80, 11) + rng.normal(0, 6, 11))
        forward = rng.uniform(-0.75, 0.75, 11)
        headings = np.stack([side * np.cos(fan), forward, np.sin(fan)], axis=1)
        radius = rng.uniform(2.6, 4.0, 11)
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

"""The bones of the analytic chest: chains of ellipsoids, hard outside and spongy inside."""

from __future__ import annotations

import numpy as np

from medres.phantom.ellipsoids import Ellipsoids, Floats, ellipsoid, join, rotation
from medres.phantom.habitus import BONE, MUSCLE, Habitus

TUBE_OVERLAP = 1.9  # half-length of a bone's ellipsoids, in steps: enough to show no beads


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
    # On the axis 2 k of them overlap, and together weigh what one solid bone would.
    share = np.full(len(points), weight / (2 * TUBE_OVERLAP))
    outer = Ellipsoids(points, shapes, share)
    scale = np.array([1.0, 1 / core, 1 / core])[:, None]
    return join([outer, Ellipsoids(points, shapes * scale, -hollow * share)])


def build_skeleton(habitus: Habitus, rng: np.random.Generator) -> tuple[Ellipsoids, Ellipsoids]:
    """Those of the trunk and those that move with the arms."""
    spacing = 22.4 * habitus.tall * float(rng.normal(1.0, 0.02))
    tops: Floats = 126 * habitus.tall + rng.normal(0, 4) - spacing * np.arange(12.0)
    parts, arms = [_spine(habitus, tops, spacing), _sternum(habitus)], []
    for side in (-1, 1):
        parts += [
            _rib(habitus, k, float(top) + rng.normal(0, 2), side, rng) for k, top in enumerate(tops)
        ]
        parts.append(_clavicle(habitus, side, rng))
        blade, humerus = _shoulder(habitus, side, rng)
        parts.append(blade)
        arms.append(humerus)
    tone = max(rng.normal(1.2, 0.12) * (1.12 - 0.25 * (habitus.age - 22) / 66), 0.6)
    return join(parts).scaled(1.0, tone), join(arms).scaled(1.0, tone)


def _spine(habitus: Habitus, tops: Floats, spacing: float) -> Ellipsoids:
    """Bodies, arches and spinous processes, from C6 to L3."""
    parts, bone = [], BONE - MUSCLE
    levels = float(tops[0]) - spacing * np.arange(-3, 16)
    for index, z in enumerate(levels):
        grow = 0.80 + 0.025 * index
        y = 66 * habitus.deep - 14 * np.cos((z + 10) / 150) * habitus.deep + 8
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


def _cage(habitus: Habitus, z: Floats) -> tuple[Floats, Floats]:
    """Half-width and half-depth of the rib cage at height z, mm: just outside the lungs."""
    up = np.clip((z + 36 * habitus.tall) / (172 * habitus.tall), 0.0, 0.985)
    bow = np.sqrt(1.0 - up**2)
    lean = 69 - 0.12 * np.maximum(z, -60)
    return (lean + 68 * bow) * habitus.wide + 5, 92 * bow * habitus.deep + 6


def _rib(
    habitus: Habitus, index: int, top: float, side: int, rng: np.random.Generator
) -> Ellipsoids:
    """One rib, from its vertebra round the side to its cartilage."""
    last = (118, 140, 148, 150, 150, 148, 146, 140, 130, 116, 82, 52)[index]
    drop = (34, 52, 66, 76, 84, 92, 98, 102, 100, 96, 90, 84)[index] * habitus.tall
    angle = np.deg2rad(np.linspace(6, last + rng.normal(0, 3), 8 + last // 6))
    z = top - drop * (0.5 - 0.5 * np.cos(angle)) ** rng.normal(0.95, 0.05)
    half_width, half_depth = _cage(habitus, z)
    points = np.stack(
        [
            side * half_width * np.sin(angle) ** 0.86,
            8 * habitus.deep + half_depth * np.cos(angle),
            z,
        ],
        axis=1,
    )
    outward = np.stack([side * np.sin(angle), np.cos(angle), np.full_like(angle, 0.12)], axis=1)
    broad = (6.2 if 0 < index < 10 else 5.0) * habitus.tall * (1 + 0.22 * np.sin(angle - 0.6))
    return _tube(points, outward, broad, np.full_like(angle, 3.6))


def _clavicle(habitus: Habitus, side: int, rng: np.random.Generator) -> Ellipsoids:
    s = np.linspace(0, 1, 26)
    rise = rng.normal(22, 8)
    points = np.stack(
        [
            side * (17 + 138 * s) * habitus.wide,
            (-62 + 70 * s + 10 * np.sin(2 * np.pi * s)) * habitus.deep,
            (90 + rise * s + 7 * np.sin(2 * np.pi * s)) * habitus.tall,
        ],
        axis=1,
    )
    broad = 6.5 + 2.5 * np.abs(2 * s - 1) ** 2
    return _tube(points, np.tile([0.0, 1.0, 0.4], (26, 1)), broad, 0.85 * broad)


def _shoulder(
    habitus: Habitus, side: int, rng: np.random.Generator
) -> tuple[Ellipsoids, Ellipsoids]:
    """Scapula, turned out of the lung; then head and shaft of the humerus."""
    w, t, bone = habitus.wide, habitus.tall, BONE - MUSCLE
    x = side * (148 * w + rng.normal(0, 5))
    s = np.linspace(0, 1, 16)
    back = np.full(16, 72.0 * habitus.deep)
    edge = np.stack([x + side * (14 - 22 * s), back, (84 - 128 * s) * t], axis=1)
    spine = np.stack([x + side * (-40 + 62 * s), back + 10 - 26 * s, (72 + 34 * s) * t], axis=1)
    outward = np.tile([side * 0.6, 0.8, 0.0], (16, 1))
    plate = ellipsoid(
        (x - side * 12, 74 * habitus.deep, 34 * t),
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


def _sternum(habitus: Habitus) -> Ellipsoids:
    s = np.linspace(0, 1, 20)
    points = np.stack(
        [np.zeros(20), (-66 - 34 * s**0.8) * habitus.deep, (84 - 175 * s) * habitus.tall], axis=1
    )
    return _tube(
        points,
        np.tile([0.0, 1.0, 0.2], (20, 1)),
        19 - 6 * s,
        np.full(20, 5.0),
        weight=0.45 * (BONE - MUSCLE),
    )

"""Ellipsoids, and how far an X-ray travels through each of them, in closed form.

A ray from the source `s` to a detector point is `p(t) = s + t d`, with t = 0 at the source and
t = 1 at the detector. An ellipsoid is `|A (p - c)| <= 1`. Both together are a quadratic in t: its
discriminant says whether the ray hits, its two roots where it enters and leaves. So a cone-beam
projection costs one square root a pixel, needs no sampling step and has no sampling error.

Lengths are mm in the patient's frame: x to the patient's left, y to the back, z to the head
(DICOM's LPS, PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SIDES = (6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 1 << 30)
"""Sides of the windows around shadows, in pixels; the last one stands for the whole detector."""


@dataclass(frozen=True, eq=False)
class Ellipsoids:
    """N ellipsoids of one use, such as all the ribs.

    Args:
        centers: (N, 3), mm.
        shapes: (N, 3, 3); each row is a unit axis divided by its half-length, so that a point p
            lies inside where |shape @ (p - center)| <= 1.
        weights: (N,); what one mm of path adds to the line integral, per mm.
    """

    centers: Floats
    shapes: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.centers)

    def __getitem__(self, index: slice) -> Ellipsoids:
        return Ellipsoids(self.centers[index], self.shapes[index], self.weights[index])

    def contain(self, points: Floats) -> Bools:
        """Which ellipsoids hold which points.

        Args:
            points: (..., 3), mm.

        Returns:
            (N, ...) booleans.
        """
        flat = points.reshape(-1, 3)
        inside = [
            np.square((flat - center) @ shape.T).sum(axis=1) <= 1.0
            for center, shape in zip(self.centers, self.shapes, strict=True)
        ]
        return np.reshape(inside, (len(self), *points.shape[:-1]))

    def scaled(self, factor: float, weight: float = 1.0) -> Ellipsoids:
        """The same ellipsoids, `factor` times as large, with their weights multiplied."""
        return Ellipsoids(self.centers, self.shapes / factor, self.weights * weight)


def ellipsoid(
    center: Sequence[float] | Floats,
    half_axes: Sequence[float] | Floats,
    axes: Floats | None = None,
    *,
    weight: float = 1.0,
) -> Ellipsoids:
    """One ellipsoid, as a set of one.

    Args:
        center: (3,), mm.
        half_axes: (3,), mm.
        axes: (3, 3) with the unit axes as rows; the frame's own without it.
        weight: what one mm of path adds, per mm.
    """
    rows = np.eye(3) if axes is None else axes
    shape = rows / np.asarray(half_axes, dtype=np.float64)[:, None]
    return Ellipsoids(np.array([center], dtype=np.float64), shape[None], np.array([weight]))


def join(parts: Sequence[Ellipsoids]) -> Ellipsoids:
    """Several sets as one, in order."""
    return Ellipsoids(
        np.concatenate([part.centers for part in parts]),
        np.concatenate([part.shapes for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )


def rotation(axis: int, degrees: float) -> Floats:
    """Rotation matrix about x (0), y (1) or z (2), right-handed."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def weigh_grid(ellipsoids: Ellipsoids, x: Floats, y: Floats, z: Floats) -> Floats:
    """Sum of the weights of the ellipsoids that hold each point of a grid.

    Args:
        ellipsoids: N of them.
        x: (X,), mm, in rising or falling order, and `y` (Y,), `z` (Z,) alike.
        y: see `x`.
        z: see `x`.

    Returns:
        (X, Y, Z), per mm.
    """
    total = np.zeros((len(x), len(y), len(z)))
    reach = np.stack([_supports(ellipsoids, axis) for axis in np.eye(3)], axis=1)
    for center, shape, weight, bound in zip(
        ellipsoids.centers, ellipsoids.shapes, ellipsoids.weights, reach, strict=True
    ):
        near = [
            np.flatnonzero(np.abs(line - center[i]) <= bound[i]) for i, line in enumerate((x, y, z))
        ]
        if not all(len(part) for part in near):
            continue
        box = tuple(slice(part[0], part[-1] + 1) for part in near)
        dx, dy, dz = (
            line[part] - center[i]
            for i, (line, part) in enumerate(zip((x, y, z), box, strict=True))
        )
        distance = sum(
            (row[0] * dx[:, None, None] + row[1] * dy[:, None] + row[2] * dz) ** 2 for row in shape
        )
        total[box] += weight * (distance <= 1.0)
    return total


@dataclass(frozen=True, eq=False)
class ConeBeam:
    """A point source and a flat detector of H rows and W columns.

    Args:
        source: (3,), mm.
        corner: (3,), mm; centre of the pixel at row 0, column 0.
        along_row: (3,), mm; from one column to the next.
        along_column: (3,), mm; from one row to the next.
        rows: H.
        columns: W.
    """

    source: Floats
    corner: Floats
    along_row: Floats
    along_column: Floats
    rows: int
    columns: int

    def ray_lengths(self) -> Floats:
        """(H, W), mm from the source to each pixel: what t = 1 is worth."""
        u, v = np.arange(self.columns), np.arange(self.rows)[:, None]
        ends = [
            self.corner[i] - self.source[i] + u * self.along_row[i] + v * self.along_column[i]
            for i in range(3)
        ]
        lengths: Floats = np.sqrt(ends[0] ** 2 + ends[1] ** 2 + ends[2] ** 2)
        return lengths


@dataclass(frozen=True, eq=False)
class _Quadratic:
    """Coefficients of a t² + 2 b t + q for a batch of ellipsoids, as polynomials in u and v."""

    a: Floats  # (6, N) of 1, u, v, u², uv, v²
    b: Floats  # (3, N) of 1, u, v
    q: Floats  # (N,)


def _quadratic(ellipsoids: Ellipsoids, beam: ConeBeam) -> _Quadratic:
    shapes = ellipsoids.shapes
    origin = np.einsum("nij,nj->ni", shapes, beam.source - ellipsoids.centers)
    start, du, dv = (
        np.einsum("nij,j->ni", shapes, vector)
        for vector in (beam.corner - beam.source, beam.along_row, beam.along_column)
    )
    pairs = (
        (start, start, 1),
        (start, du, 2),
        (start, dv, 2),
        (du, du, 1),
        (du, dv, 2),
        (dv, dv, 1),
    )
    a = np.stack([factor * (left * right).sum(axis=1) for left, right, factor in pairs])
    b = np.stack([(origin * vector).sum(axis=1) for vector in (start, du, dv)])
    return _Quadratic(a, b, np.square(origin).sum(axis=1) - 1.0)


def _evaluate(quadratic: _Quadratic, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """a, b and the discriminant b² - a q at u (n, 1, k) and v (n, k, 1)."""
    a0, au, av, auu, auv, avv = (values[:, None, None] for values in quadratic.a)
    b0, bu, bv = (values[:, None, None] for values in quadratic.b)
    a = a0 + u * (au + u * auu) + v * (av + v * avv) + (u * auv) * v
    b = b0 + u * bu + v * bv
    return a, b, b * b - a * quadratic.q[:, None, None]


def intervals(
    ellipsoids: Ellipsoids, beam: ConeBeam, pixels: NDArray[np.intp] | None = None
) -> tuple[Floats, Floats]:
    """Where rays enter and leave each ellipsoid.

    Args:
        ellipsoids: N of them; weights play no part.
        beam: H rows by W columns.
        pixels: (P,) row * W + column of the rays asked for; all H * W of them without it.

    Returns:
        Two arrays (N, P) of t in [0, 1] from source to detector. A ray that misses enters and
        leaves at 0.
    """
    if pixels is None:
        v = np.arange(beam.rows, dtype=np.float64)[None, :, None]
        u = np.arange(beam.columns, dtype=np.float64)[None, None, :]
    else:
        v, u = (part.astype(np.float64)[None, None, :] for part in divmod(pixels, beam.columns))
    a, b, root = (
        part.reshape(len(ellipsoids), -1) for part in _evaluate(_quadratic(ellipsoids, beam), u, v)
    )
    missed = root <= 0
    np.sqrt(root, out=root, where=~missed)
    starts, ends = (-b - root) / a, (root - b) / a
    starts[missed] = ends[missed] = 0.0
    return starts, ends


def shadow(ellipsoids: Ellipsoids, beam: ConeBeam) -> Bools:
    """(H, W), the pixels whose ray meets any of the ellipsoids."""
    starts, ends = intervals(ellipsoids, beam)
    return np.asarray(ends > starts).any(axis=0).reshape((beam.rows, beam.columns))


def union_length(starts: Floats, ends: Floats) -> Floats:
    """Length of each ray inside the union of K bodies, which may overlap.

    Args:
        starts: (K, P), and `ends` alike: where each ray enters and leaves each body.
        ends: see `starts`.

    Returns:
        (P,), in the unit of the intervals.
    """
    covered = np.zeros(starts.shape[1])
    hit = np.flatnonzero((ends > starts).any(axis=0))
    pairs = np.empty((len(hit), len(starts)), dtype=np.complex128)
    pairs.real, pairs.imag = starts[:, hit].T, ends[:, hit].T
    pairs.sort(axis=1)  # complex numbers sort by their real part
    total, reached = np.zeros(len(hit)), np.zeros(len(hit))
    for start, end in zip(pairs.real.T, pairs.imag.T, strict=True):
        total += np.maximum(end - np.maximum(start, reached), 0.0)
        np.maximum(reached, end, out=reached)
    covered[hit] = total
    return covered


def _supports(ellipsoids: Ellipsoids, direction: Floats) -> Floats:
    """(N,), mm that each ellipsoid reaches from its centre along a unit direction."""
    squares = 1.0 / np.square(ellipsoids.shapes).sum(axis=2)  # half-axes, squared
    return np.asarray(np.linalg.norm(squares * (ellipsoids.shapes @ direction), axis=1))


def _windows(ellipsoids: Ellipsoids, beam: ConeBeam) -> tuple[NDArray[np.int64], Floats]:
    """Centre pixel (N, 2) of each shadow, and bounds (N, 2) on its half-height and half-width."""
    steps = np.stack([beam.along_column, beam.along_row])
    spacing = np.linalg.norm(steps, axis=1)
    axis = np.cross(beam.along_row, beam.along_column) / spacing.prod()
    distance = float((beam.corner - beam.source) @ axis)
    if distance < 0:
        axis, distance = -axis, -distance
    from_source = ellipsoids.centers - beam.source
    depth = from_source @ axis
    reach = _supports(ellipsoids, axis)
    centers, half = [], []
    for step, size in zip(steps, spacing, strict=True):
        direction = step / size
        across = from_source @ direction
        centers.append((distance * across / depth - (beam.corner - beam.source) @ direction) / size)
        # |(X + x) / (Z + z) - X / Z| <= (|x| + |X / Z| |z|) / (Z - |z|)
        bound = _supports(ellipsoids, direction) + np.abs(across / depth) * reach
        half.append(bound * distance / (depth - reach) / size)
    return np.rint(np.stack(centers, axis=1)).astype(np.int64), np.stack(half, axis=1)


def _pixels_along(centers: NDArray[np.int64], size: int, length: int) -> NDArray[np.int64]:
    """(n, size) pixel numbers around each centre; all of the detector for the largest size."""
    if size >= min(length, max(_SIDES)):
        return np.broadcast_to(np.arange(length), (len(centers), length))
    return centers[:, None] + (np.arange(size) - size // 2)


def line_integrals(ellipsoids: Ellipsoids, beam: ConeBeam) -> Floats:
    """Sum over the ellipsoids of weight times path length.

    Every small ellipsoid is evaluated in a window around its shadow only; windows of like size go
    through numpy together.

    Returns:
        (H, W), dimensionless where weights are attenuation coefficients per mm.
    """
    H, W = beam.rows, beam.columns
    total = np.zeros(H * W)
    quadratic = _quadratic(ellipsoids, beam)
    centers, half = _windows(ellipsoids, beam)
    sizes = np.take(_SIDES, np.searchsorted(_SIDES, np.minimum(2 * half + 2, max(_SIDES))))
    for size in np.unique(sizes, axis=0):
        chosen = np.flatnonzero((sizes == size).all(axis=1))
        rows, columns = (
            _pixels_along(centers[chosen, axis], int(size[axis]), length)
            for axis, length in enumerate((H, W))
        )
        part = _Quadratic(quadratic.a[:, chosen], quadratic.b[:, chosen], quadratic.q[chosen])
        a, _, discriminant = _evaluate(
            part, columns[:, None, :].astype(np.float64), rows[:, :, None].astype(np.float64)
        )
        chords = 2.0 * np.sqrt(np.maximum(discriminant, 0.0)) / a
        chords *= ellipsoids.weights[chosen, None, None]
        on = ((rows >= 0) & (rows < H))[:, :, None] & ((columns >= 0) & (columns < W))[:, None, :]
        places = (rows[:, :, None] * W + columns[:, None, :])[on]
        total += np.bincount(places, weights=chords[on], minlength=H * W)
    return total.reshape(H, W) * beam.ray_lengths()

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.phantom.ellipsoids import (
    ConeBeam,
    ellipsoid,
    intervals,
    join,
    line_integrals,
    rotation,
    shadow,
    union_length,
    weigh_grid,
)


def beam(rows: int = 41, columns: int = 31, spacing: float = 4.0) -> ConeBeam:
    """Source 1000 mm behind the origin, detector 200 mm before it; pixel (20, 15) is central."""
    corner = np.array([-15 * spacing, -200.0, 20 * spacing])
    return ConeBeam(
        np.array([0.0, 1000.0, 0.0]),
        corner,
        np.array([spacing, 0, 0]),
        np.array([0, 0, -spacing]),
        rows,
        columns,
    )


def test_central_ray_through_a_sphere_travels_its_diameter() -> None:
    image = line_integrals(ellipsoid((0, 0, 0), (30, 30, 30), weight=0.5), beam())
    assert image[20, 15] == pytest.approx(0.5 * 60.0, abs=1e-9)


def test_oblique_ray_travels_the_chord_of_elementary_geometry() -> None:
    # 10 columns right: the ray passes the centre at distance 1000 sin(atan(40 / 1200)).
    distance = 1000 * np.sin(np.arctan(40 / 1200))
    image = line_integrals(ellipsoid((0, 0, 0), (50, 50, 50)), beam())
    assert image[20, 25] == pytest.approx(2 * np.sqrt(50**2 - distance**2), abs=1e-9)


def test_ellipsoid_is_as_deep_as_its_axis_along_the_ray() -> None:
    turned = rotation(2, 90)  # the long axis, turned into the beam
    image = line_integrals(ellipsoid((0, 0, 0), (40, 10, 20), turned), beam())
    assert image[20, 15] == pytest.approx(80.0, abs=1e-9)


def test_cone_magnifies_what_is_near_the_source() -> None:
    near, far = (shadow(ellipsoid((0, y, 0), (10, 10, 10)), beam()).sum() for y in (150, -150))
    assert near > 1.5 * far


def test_rows_run_to_the_feet_and_columns_to_the_left() -> None:
    rows, columns = np.nonzero(shadow(ellipsoid((25, 0, 40), (6, 6, 6)), beam()))
    assert rows.max() < 20
    assert columns.min() > 15


def test_ray_that_misses_has_an_empty_interval() -> None:
    starts, ends = intervals(ellipsoid((0, 0, 0), (8, 8, 8)), beam())
    assert starts.shape == (1, 41 * 31)
    assert starts[0, 0] == ends[0, 0] == 0.0


def test_intervals_of_chosen_pixels_are_those_of_all() -> None:
    bodies = join([ellipsoid((5, 0, 3), (20, 30, 40)), ellipsoid((-9, 20, 0), (8, 8, 8))])
    pixels = np.array([3, 400, 640, 1000])
    every = intervals(bodies, beam())
    some = intervals(bodies, beam(), pixels)
    np.testing.assert_allclose(some[0], every[0][:, pixels], atol=1e-12)
    np.testing.assert_allclose(some[1], every[1][:, pixels], atol=1e-12)


@given(
    st.lists(
        st.tuples(
            st.floats(-70, 70),
            st.floats(-120, 800),
            st.floats(-70, 70),
            *[st.floats(1, 45)] * 3,
            st.floats(0, 180),
            st.floats(0, 180),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=40, deadline=None)
def test_windows_lose_nothing_of_any_shadow(many: list[tuple[float, ...]]) -> None:
    bodies = join([ellipsoid(m[:3], m[3:6], rotation(2, m[6]) @ rotation(1, m[7])) for m in many])
    starts, ends = intervals(bodies, beam())
    full = ((ends - starts).sum(axis=0)).reshape(41, 31) * beam().ray_lengths()
    np.testing.assert_allclose(line_integrals(bodies, beam()), full, atol=1e-6)


def test_shadow_off_the_detector_adds_nothing() -> None:
    assert not line_integrals(ellipsoid((900, 0, 0), (9, 9, 9)), beam()).any()


@pytest.mark.parametrize(
    ("starts", "ends", "length"),
    [
        ([1.0], [4.0], 3.0),
        ([1.0, 2.0], [4.0, 6.0], 5.0),
        ([2.0, 1.0], [6.0, 4.0], 5.0),
        ([1.0, 2.0], [9.0, 3.0], 8.0),
        ([1.0, 5.0, 2.0], [2.0, 7.0, 3.0], 4.0),
        ([0.0, 3.0], [0.0, 4.0], 1.0),
        ([0.0], [0.0], 0.0),
    ],
)
def test_union_counts_overlap_once(starts: list[float], ends: list[float], length: float) -> None:
    assert union_length(np.array([starts]).T, np.array([ends]).T)[0] == length


def test_grid_holds_the_volume_of_an_ellipsoid() -> None:
    line = np.arange(-30, 30, 0.5) + 0.25
    inside = weigh_grid(ellipsoid((1, 2, 3), (20, 10, 15), weight=2.0), line, -line, line)
    assert inside.sum() * 0.125 == pytest.approx(2.0 * 4 / 3 * np.pi * 20 * 10 * 15, rel=0.003)
    column = inside.sum(axis=(0, 2))
    assert (-line)[column > 0].mean() == pytest.approx(2.0, abs=0.5)


def test_grid_agrees_with_containment() -> None:
    body = ellipsoid((3, -2, 1), (12, 7, 9), rotation(0, 33))
    x, y, z = np.linspace(-15, 15, 21), np.linspace(12, -12, 18), np.linspace(-10, 14, 25)
    points = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1)
    np.testing.assert_array_equal(weigh_grid(body, x, y, z) > 0, body.contain(points)[0])

import gzip

import nibabel as nib
import numpy as np
import pytest

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.empty_slices import select_frames
from medres.imaging.nifti import find_empty_slices
from medres.imaging.read import count_frames, read_grayscale, read_record

# World axes that slices, rows and columns run along; rows and columns run against them.
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
RAS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def write_nifti(path, array, affine=None, kind=nib.Nifti1Image, **header):
    image = kind(array, np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        # RAS[x, y, z] = 12 x + 4 y + z; rows anterior or superior first, columns right first.
        ("axial", [[21, 9], [17, 5], [13, 1]]),
        ("coronal", [[19, 7], [18, 6], [17, 5], [16, 4]]),
        ("sagittal", [[23, 19, 15], [22, 18, 14], [21, 17, 13], [20, 16, 12]]),
    ],
)
def test_plane_is_shown_in_the_radiological_convention(tmp_path, plane, expected):
    path = write_nifti(tmp_path / "a.nii", RAS, np.diag([1.0, 2, 3, 1]))
    image = read_grayscale(f"{path}::{plane}", 1)
    assert image.pixels.tolist() == expected
    assert image.record.number_of_frames == RAS.shape[PLANES[plane]]
    spacing = {"axial": (2, 1), "coronal": (3, 1), "sagittal": (3, 2)}[plane]
    assert image.record.pixel_spacing_mm == spacing


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1), (1, -1, 1)])
@pytest.mark.parametrize("plane", PLANES)
def test_order_and_direction_of_the_stored_axes_do_not_matter(tmp_path, axes, flips, plane):
    stored = RAS.transpose(axes)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = flip
        if flip < 0:
            stored = np.flip(stored, axis)
    straight = write_nifti(tmp_path / "straight.nii", RAS)
    turned = write_nifti(tmp_path / "turned.nii.gz", stored, affine)
    for frame in (0, RAS.shape[PLANES[plane]] - 1):
        np.testing.assert_array_equal(
            read_grayscale(f"{turned}::{plane}", frame).pixels,
            read_grayscale(f"{straight}::{plane}", frame).pixels,
        )


def test_axial_is_the_plane_where_none_is_named(tmp_path):
    path = write_nifti(tmp_path / "a.nii", RAS)
    assert read_grayscale(path, 3).record == read_grayscale(f"{path}::axial", 3).record
    assert count_frames(path) == 4
    assert count_frames(f"{path}::sagittal") == 2


def test_series_of_volumes_gives_its_first(tmp_path):
    series = np.stack([RAS, RAS + 100], axis=-1)
    path = write_nifti(tmp_path / "a.nii", series)
    plain = write_nifti(tmp_path / "b.nii", RAS)
    np.testing.assert_array_equal(read_grayscale(path, 2).pixels, read_grayscale(plain, 2).pixels)
    assert count_frames(path) == 4


def test_picture_in_two_dimensions_is_one_slice(tmp_path):
    path = write_nifti(tmp_path / "a.nii", RAS[:, :, 0])
    assert read_grayscale(path).pixels.tolist() == [[20, 8], [16, 4], [12, 0]]
    assert count_frames(path) == 1


def test_name_of_the_file_does_not_matter(tmp_path):
    path = write_nifti(tmp_path / "a.nii", RAS, kind=nib.Nifti2Image)
    plain = tmp_path / "volume"
    plain.write_bytes(path.read_bytes())
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for other in (plain, packed):
        np.testing.assert_array_equal(read_grayscale(other).pixels, read_grayscale(path).pixels)


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(RAS, np.eye(4))
    image.header.set_slope_inter(0.5, -10)
    path = tmp_path / "a.nii"
    nib.save(image, path)
    content = read_grayscale(path)
    stored = nib.load(path).get_fdata()
    assert content.pixels[0, 0] == np.float32(stored[1, 2, 0])
    assert content.record.voi == "none: scaled values"


def test_voxels_that_are_no_number_are_padding(tmp_path):
    array = np.ones((2, 2, 1), np.float32)
    array[0, 0, 0], array[1, 1, 0] = np.nan, np.inf
    image = read_grayscale(write_nifti(tmp_path / "a.nii", array))
    assert image.pixels.tolist() == [[0, 1], [1, 0]]
    assert image.padding.tolist() == [[True, False], [False, True]]


def test_display_takes_cal_min_and_cal_max(tmp_path):
    path = write_nifti(tmp_path / "a.nii", RAS, cal_min=4, cal_max=12)
    image = read_grayscale(path, intensity="display")
    assert image.pixels.tolist() == [[1, 0.5], [1, 0], [1, 0]]
    assert image.record.voi == "cal_min 4 to cal_max 12"


def test_display_of_integers_takes_their_full_range(tmp_path):
    path = write_nifti(tmp_path / "a.nii", np.array([[[0]], [[51]]], np.uint8))
    image = read_grayscale(path, intensity="display")
    np.testing.assert_allclose(image.pixels, [[0.2, 0]], atol=1e-7)
    assert image.record.voi == "full range of the integers"


def refused(path, reason, message, **options):
    with pytest.raises(UnreadableImageError, match=message) as caught:
        read_grayscale(path, **options)
    assert caught.value.reason is reason


def test_what_cannot_be_shown_is_refused_with_its_reason(tmp_path):
    path = write_nifti(tmp_path / "a.nii", RAS)
    refused(f"{path}::oblique", RejectReason.NOT_FOUND, "no plane of that name; axial, coronal")
    refused(path, RejectReason.FRAME_OUT_OF_RANGE, "slice 4 asked .* has 4, counted", frame=4)
    refused(path, RejectReason.FRAME_OUT_OF_RANGE, "slice -1 asked", frame=-1)
    floats = write_nifti(tmp_path / "f.nii", RAS.astype(np.float32))
    message = "float voxels without cal_min and cal_max"
    refused(floats, RejectReason.INVALID_HEADER, message, intensity="display")
    complex_ = write_nifti(tmp_path / "c.nii", RAS.astype(np.complex64))
    refused(complex_, RejectReason.UNSUPPORTED_PHOTOMETRIC, "voxels of type complex64")
    rgb = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    refused(
        write_nifti(tmp_path / "rgb.nii", rgb),
        RejectReason.UNSUPPORTED_PHOTOMETRIC,
        "real numbers are read",
    )


def test_singular_affine_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii", RAS)
    content = bytearray(path.read_bytes())
    content[252:256] = (0).to_bytes(2, "little") + (1).to_bytes(2, "little")  # sform, alone
    content[280:328] = bytes(48)
    path.write_bytes(content)
    refused(path, RejectReason.INVALID_HEADER, "the affine is singular")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_volume_never_gives_a_picture(tmp_path, name):
    rng = np.random.default_rng(0)
    path = write_nifti(tmp_path / name, rng.integers(0, 999, (8, 8, 8), dtype=np.int16))
    content = path.read_bytes()
    cut = tmp_path / "cut"
    for share in (0.6, 0.9, 0.99):
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(UnreadableImageError) as caught:
            read_grayscale(cut, 7)
        assert caught.value.reason in (RejectReason.TRUNCATED, RejectReason.UNKNOWN_FORMAT)
    assert "fewer voxels than its header promises" in caught.value.message


def test_header_of_a_pair_is_refused(tmp_path):
    nib.save(nib.Nifti1Pair(RAS, np.eye(4)), tmp_path / "a.img")
    refused(tmp_path / "a.hdr", RejectReason.INVALID_HEADER, "voxels lie in another file")


def test_real_volumes_agree_with_nibabels_canonical_orientation(test_data):
    for path in sorted((test_data / "data/nifti").glob("*.nii*")):
        canonical = nib.as_closest_canonical(nib.load(path))
        volume = np.asanyarray(canonical.dataobj)
        volume = volume.reshape(*volume.shape[:3], -1)[..., 0]
        zooms = canonical.header.get_zooms()
        for plane, axis in PLANES.items():
            rows, columns = {0: (2, 1), 1: (2, 0), 2: (1, 0)}[axis]
            for frame in (0, volume.shape[axis] // 2, volume.shape[axis] - 1):
                image = read_grayscale(f"{path}::{plane}", frame)
                expected = np.take(volume, frame, axis=axis).T[::-1, ::-1]
                np.testing.assert_array_equal(image.pixels, expected.astype(np.float32))
                spacing = pytest.approx((zooms[rows], zooms[columns]))
                assert image.record.pixel_spacing_mm == spacing
                assert image.record == read_record(f"{path}::{plane}", frame)


def test_header_that_contradicts_itself_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii", RAS)
    content = bytearray(path.read_bytes())
    content[70:72] = (3).to_bytes(2, "little")  # no such data type
    path.write_bytes(content)
    refused(path, RejectReason.INVALID_HEADER, "the NIfTI header contradicts itself")


def rotation(degrees, axis):
    angle = np.deg2rad(degrees)
    turn = np.eye(3)
    first, second = (index for index in range(3) if index != axis)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("degrees", [(25, 0, 0), (10, -20, 15), (-30, 20, 30), (0, 0, 160)])
def test_oblique_volume_is_read_along_its_nearest_axes(tmp_path, axes, degrees):
    turn = np.linalg.multi_dot([rotation(angle, axis) for axis, angle in enumerate(degrees)])
    spacing = np.array([0.7, 1.1, 2.5])
    affine = np.eye(4)
    affine[:3, :3] = (turn * spacing)[:, axes]
    affine[:3, 3] = [11, -7, 3]
    path = write_nifti(tmp_path / "a.nii", RAS.transpose(axes), affine)
    canonical = nib.as_closest_canonical(nib.load(path))
    volume, zooms = np.asanyarray(canonical.dataobj), canonical.header.get_zooms()
    for plane, axis in PLANES.items():
        rows, columns = {0: (2, 1), 1: (2, 0), 2: (1, 0)}[axis]
        for frame in range(volume.shape[axis]):
            image = read_grayscale(f"{path}::{plane}", frame)
            assert image.pixels.tolist() == np.take(volume, frame, axis).T[::-1, ::-1].tolist()
            assert image.record.pixel_spacing_mm == pytest.approx((zooms[rows], zooms[columns]))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "f4", "f8"])
def test_byte_order_of_the_file_does_not_matter(tmp_path, kind, dtype):
    header = kind.header_class(endianness=">")
    header.set_data_dtype(dtype)
    big = kind(RAS.astype(f">{dtype}"), np.diag([-2.0, 3, 4, 1]), header)
    big.header.set_slope_inter(2, -3)
    nib.save(big, tmp_path / "big.nii.gz")
    assert nib.load(tmp_path / "big.nii.gz").header.endianness == ">"
    expected = nib.as_closest_canonical(nib.load(tmp_path / "big.nii.gz")).get_fdata()
    for frame in range(4):
        image = read_grayscale(tmp_path / "big.nii.gz", frame)
        assert image.pixels.tolist() == expected[..., frame].T[::-1, ::-1].tolist()
        assert image.record.pixel_spacing_mm == (3, 2)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_slope_of_zero_or_none_means_unscaled(tmp_path, slope):
    path = write_nifti(tmp_path / "a.nii", RAS)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, 5], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    plain = write_nifti(tmp_path / "b.nii", RAS)
    assert read_grayscale(path, 1).pixels.tolist() == read_grayscale(plain, 1).pixels.tolist()


@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 3, 4, 1, 3), (2, 3, 4, 2, 2)])
def test_further_axes_are_read_at_their_first_index(tmp_path, shape):
    extra = int(np.prod(shape[3:]))
    array = np.stack([RAS + 100 * index for index in range(extra)], axis=-1).reshape(shape)
    path = write_nifti(tmp_path / "a.nii.gz", array)
    plain = write_nifti(tmp_path / "b.nii", RAS)
    for plane in PLANES:
        image = read_grayscale(f"{path}::{plane}", 1)
        assert image.pixels.tolist() == read_grayscale(f"{plain}::{plane}", 1).pixels.tolist()
        assert image.record.number_of_frames == RAS.shape[PLANES[plane]]


def test_each_volume_of_a_series_has_an_address(tmp_path):
    series = np.arange(2 * 3 * 4 * 3 * 2, dtype=np.int16).reshape(2, 3, 4, 3, 2)
    path = write_nifti(tmp_path / "series.nii.gz", series)
    for number, (fourth, fifth) in enumerate([(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]):
        alone = write_nifti(tmp_path / "alone.nii", series[..., fourth, fifth])
        found = read_grayscale(f"{path}::coronal:{number}", 2)
        assert np.array_equal(found.pixels, read_grayscale(f"{alone}::coronal", 2).pixels)
        assert found.record.number_of_volumes == 6
        assert found.record.number_of_frames == 3
    first = read_grayscale(path, 1).pixels
    assert np.array_equal(first, read_grayscale(f"{path}::axial:0", 1).pixels)
    assert find_empty_slices(path, "axial:5") == (False,) * 4


def test_empty_slices_are_those_of_the_volume_asked_for(tmp_path):
    series = np.ones((2, 3, 2, 2), np.int16)
    series[0, 0, 1, 1] = 5
    path = write_nifti(tmp_path / "series.nii", series)
    assert select_frames(f"{path}::axial:0", empty_slices="drop") == ()
    assert select_frames(f"{path}::axial:1", empty_slices="drop") == (1,)


@pytest.mark.parametrize(
    ("member", "reason", "message"),
    [
        ("axial:2", "frame_out_of_range", "volume 2 asked for, but the file has 2, counted from 0"),
        ("axial:", "not_found", "there is no plane of that name; .* such as axial:3"),
        ("axial:-1", "not_found", "there is no plane"),
        ("oblique:1", "not_found", "there is no plane"),
    ],
)
def test_a_volume_that_is_not_there_is_named(tmp_path, member, reason, message):
    path = write_nifti(tmp_path / "series.nii", np.ones((2, 3, 2, 2), np.int16))
    with pytest.raises(UnreadableImageError, match=message) as info:
        read_record(f"{path}::{member}")
    assert info.value.reason == reason


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_affine_that_is_not_finite_is_refused_and_never_written_as_nan(tmp_path, number):
    path = write_nifti(tmp_path / "a.nii", RAS, srow_x=[number, 0, 0, 0], sform_code=1)
    content = bytearray(path.read_bytes())
    content[280:284] = np.float32(number).tobytes()  # nibabel mends it when it writes
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match="the affine holds numbers that are not finite"):
        read_record(path)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_pixel_spacing_that_is_none_is_left_out(tmp_path, number):
    path = write_nifti(tmp_path / "a.nii", RAS)
    content = bytearray(path.read_bytes())
    content[80:84] = np.float32(number).tobytes()  # pixdim[1]; the sform says where it lies
    path.write_bytes(content)
    record = read_record(path)
    assert (record.pixel_spacing_mm, record.pixel_spacing_source) == (None, "")


def test_affine_that_overflows_is_refused_by_what_it_is(tmp_path):
    affine = np.diag([1e38, 1e38, 1e38, 1])
    path = write_nifti(tmp_path / "a.nii", RAS, affine, kind=nib.Nifti2Image)
    content = bytearray(path.read_bytes())
    content[400:408] = np.float64(1e308).tobytes()  # srow_x[0]
    path.write_bytes(content)
    refused(path, RejectReason.INVALID_HEADER, "the affine is singular")

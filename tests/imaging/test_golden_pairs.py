"""Every setting of a file beside every other: pairs of all factors, against the standard's steps.

A case is one level of each factor in `FACTORS`. A greedy covering array holds every pair of levels
that can stand together, so that a fault which needs two things at once, such as a window of its own
frame and padding, or dirt above the stored bits and a sign, is met. Three frames each, read alone.
"""

import itertools
import random

import numpy as np
import pytest
from golden_codings import (
    BY_IMAGECODECS,
    BY_PYDICOM,
    HAS_IMAGECODECS,
    LOSSLESS,
    NATIVE,
    code_pixels,
    write_coded,
)
from golden_reference import by_the_standard, stored_limits
from pydicom import Dataset

from medres.imaging.dicom import read_dicom, read_dicom_record

ROWS, COLUMNS, SQUARE, FRAMES = 8, 7, 5, 3
WHOLE_WORDS = (*NATIVE, "rle")
FACTORS = {
    "coding": LOSSLESS,
    "bits": (8, 10, 12, 15, 16),
    "signed": (False, True),
    "photometric": ("MONOCHROME1", "MONOCHROME2"),
    "shape": ("", "IDENTITY", "INVERSE"),
    "modality": ("nothing", "empty", "rescale", "negative slope", "table"),
    "voi": (
        *("nothing", "empty", "LINEAR", "LINEAR_EXACT", "SIGMOID", "three windows"),
        *("table", "two tables", "tables and windows"),
    ),
    "voi_index": (0, 1),
    "where": ("top", "shared", "per frame", "per frame over shared"),
    "padding": ("nothing", "value", "range", "range from above", "wrong sign"),
    "unused": ("clean", "dirty above", "overlay in pixel", "dirty below"),
    "overlay": (False, True),
    "layout": ("offsets", "no offsets", "two fragments", "extended"),
    "aspect": ("square", "spacing", "ratio"),
    "preamble": ("zeros", "TIFF"),
}


def possible(case):
    """Whether the levels may stand together in a file that is to be read."""
    whole = case["coding"] in WHOLE_WORDS
    return (
        (case["unused"] == "clean" or (whole and case["bits"] < 16))
        and not (case["unused"] == "dirty below" and case["bits"] in (8, 15) and case["signed"])
        and (case["layout"] == "offsets" or case["coding"] not in NATIVE)
        and (case["layout"] != "two fragments" or case["coding"] != "rle")
        and (case["padding"] != "wrong sign" or case["signed"])
        and case["voi_index"] < count_voi(case["voi"])
    )


def count_voi(voi):
    return {"three windows": 3, "two tables": 2, "tables and windows": 2}.get(voi, 1)


def pairs_of(case):
    return set(itertools.combinations(case.items(), 2))


def cover():
    """Cases that hold every possible pair of levels; the same at every run."""
    rng = random.Random(0)
    wanted = set()
    for one, other in itertools.combinations(FACTORS, 2):
        for levels in itertools.product(FACTORS[one], FACTORS[other]):
            given = dict(zip((one, other), levels, strict=True))
            if any(possible(draw(rng, given)) for _ in range(400)):
                wanted.add(((one, levels[0]), (other, levels[1])))
    cases = []
    while wanted:
        given = dict(rng.choice(sorted(wanted, key=repr)))
        drawn = [draw(rng, given) for _ in range(200)]
        best = max(filter(possible, drawn), key=lambda case: len(pairs_of(case) & wanted))
        cases.append(best)
        wanted -= pairs_of(best)
    return cases


def draw(rng, given):
    return {name: given.get(name, rng.choice(levels)) for name, levels in FACTORS.items()}


def frames_of(case):
    """(FRAMES, ROWS, COLUMNS) values over the whole range, the ends and their neighbours among."""
    low, high = stored_limits(case["bits"], case["signed"])
    rng = np.random.default_rng(case["bits"])
    values = rng.integers(low, high, (FRAMES, ROWS, COLUMNS), endpoint=True)
    values[:, 0, :5] = low, low + 1, low + 2, high - 1, high
    eight = case["bits"] == 8 and case["unused"] == "clean"
    return values.astype(("i" if case["signed"] else "u") + ("1" if eight else "2"))


def padding_of(case):
    """The pair of attributes, and the range that they mean."""
    low, high = stored_limits(case["bits"], case["signed"])
    match case["padding"]:
        case "value":
            return (low, None), (low, low)
        case "range":
            return (low, low + 2), (low, low + 2)
        case "range from above":
            return (high, high - 1), (high - 1, high)
        case "wrong sign":  # the bits of low, written as if unsigned
            return (low + 2 ** case["bits"], None), (low, low)
    return (None, None), None


def modality_of(case):
    low, high = stored_limits(case["bits"], case["signed"])
    middle = (low + high) // 2
    return {
        "rescale": ("rescale", 0.5, -1024.0),
        "negative slope": ("rescale", -2.0, 7.0),
        "table": ("lut", middle - 20, [(k * k * 37 + 11 * k) % 1024 for k in range(50)], 10),
    }.get(case["modality"])


def vois_of(case, frame):
    """What a frame may be shown by: the first is the default. Each frame has its own numbers."""
    modality = modality_of(case)
    low, high = stored_limits(case["bits"], case["signed"])
    if modality and modality[0] == "lut":
        low, high = 0, 1023
    elif modality:
        low, high = sorted(modality[1] * end + modality[2] for end in (low, high))
    apart = frame if case["where"].startswith("per frame") else 0
    center = round(low + (high - low) * (0.4 + 0.1 * apart))
    width = round((high - low) / (3 + apart)) + 2
    tables = [
        ("lut", max(center - 40, -32768), [(k * k * 37 + 11 * k + n) % 4096 for k in range(90)], 12)
        for n in (apart, 1000 + apart)
    ]
    windows = [("LINEAR", center, width), ("LINEAR", center + 3, 2), ("LINEAR", center, 1)]
    match case["voi"]:
        case "LINEAR" | "LINEAR_EXACT" | "SIGMOID" as function:
            return [(function, center, width)], []
        case "three windows":
            return windows, []
        case "table":
            return [], tables[:1]
        case "two tables":
            return [], tables
        case "tables and windows":
            return windows, tables
    return [], []


def table_item(table, coding):
    _, first, entries, bits = table
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    order = ">u2" if coding == "big-endian" else "<u2"
    item.add_new("LUTData", "OW", np.array(entries, order).tobytes())
    return item


def voi_attributes(case, frame):
    item = Dataset()
    windows, tables = vois_of(case, frame)
    if windows:
        item.WindowCenter = [window[1] for window in windows]
        item.WindowWidth = [window[2] for window in windows]
        item.VOILUTFunction = windows[0][0]
    if tables:
        item.VOILUTSequence = [table_item(table, case["coding"]) for table in tables]
    if case["voi"] == "empty":
        item.WindowCenter, item.WindowWidth, item.VOILUTFunction = None, None, None
    return item


def modality_attributes(case):
    item = Dataset()
    modality = modality_of(case)
    if modality and modality[0] == "lut":
        item.ModalityLUTSequence = [table_item(modality, case["coding"])]
    elif modality:
        item.RescaleSlope, item.RescaleIntercept = modality[1:]
    elif case["modality"] == "empty":
        item.RescaleSlope, item.RescaleIntercept = None, None
    return item


def decoy():
    """What must not be taken where something more specific stands."""
    item = Dataset()
    item.WindowCenter, item.WindowWidth = 12345, 3
    return item


def group(**sequences):
    item = Dataset()
    for keyword, content in sequences.items():
        if len(content):
            setattr(item, keyword, [content])
    return item


def place(dataset, case):
    """Modality and VOI at the top, in the shared functional groups, or in each frame's."""
    if case["where"] == "top":
        dataset.update(modality_attributes(case))
        dataset.update(voi_attributes(case, 0))
        return
    modality = {"PixelValueTransformationSequence": modality_attributes(case)}
    if case["where"] == "shared":
        shared = {"FrameVOILUTSequence": voi_attributes(case, 0), **modality}
        dataset.SharedFunctionalGroupsSequence = [group(**shared)]
        dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(FRAMES)]
        return
    over = case["where"] == "per frame over shared" and case["voi"] != "nothing"
    shared = {**modality, **({"FrameVOILUTSequence": decoy()} if over else {})}
    dataset.SharedFunctionalGroupsSequence = [group(**shared)]
    dataset.PerFrameFunctionalGroupsSequence = [
        group(FrameVOILUTSequence=voi_attributes(case, frame)) for frame in range(FRAMES)
    ]


def add_overlay(dataset, in_pixel_bit):
    """Overlay 6000: ones all over, which must not show (PS3.3 C.9.2)."""
    dataset.add_new(0x60000010, "US", dataset.Rows)
    dataset.add_new(0x60000011, "US", dataset.Columns)
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 16 if in_pixel_bit else 1)
    dataset.add_new(0x60000102, "US", in_pixel_bit)
    if not in_pixel_bit:
        size = -(-dataset.Rows * dataset.Columns // 8)
        dataset.add_new(0x60003000, "OW", b"\xff" * (size + size % 2))


def dirty_words(case, frames):
    """The container's words with something in the bits that are not stored; and High Bit."""
    bits = case["bits"]
    words = frames.astype(np.int64) & (2**bits - 1)
    rng = np.random.default_rng(1)
    match case["unused"]:
        case "clean":
            return None, bits - 1
        case "dirty above":
            words |= rng.integers(0, 2 ** (16 - bits), words.shape) << bits
        case "overlay in pixel":
            words |= rng.integers(0, 2, words.shape) << bits
        case "dirty below":
            words = words << (16 - bits) | rng.integers(0, 2 ** (16 - bits), words.shape)
            return words.astype(np.uint16).view(frames.dtype), 15
    return words.astype(np.uint16).view(frames.dtype), bits - 1


def write_case(case, make, path):
    frames = np.kron(frames_of(case), np.ones((1, SQUARE, SQUARE), np.int8)).astype(
        frames_of(case).dtype
    )
    dirt, high_bit = dirty_words(case, frames)
    dataset = make(frames, BitsStored=case["bits"], HighBit=high_bit)
    dataset.PhotometricInterpretation = case["photometric"]
    if case["shape"]:
        dataset.PresentationLUTShape = case["shape"]
    place(dataset, case)
    for keyword, value in zip(
        ("PixelPaddingValue", "PixelPaddingRangeLimit"), padding_of(case)[0], strict=True
    ):
        if value is not None:
            dataset.add_new(keyword, "US" if value > 32767 or not case["signed"] else "SS", value)
    if case["unused"] == "overlay in pixel":
        add_overlay(dataset, case["bits"])
    elif case["overlay"]:
        add_overlay(dataset, 0)
    if case["aspect"] == "spacing":
        dataset.PixelSpacing = [0.5, 0.1]
    elif case["aspect"] == "ratio":
        dataset.PixelAspectRatio = [5, 1]
    if case["preamble"] == "TIFF":
        dataset.preamble = b"II*\0".ljust(128, b"\1")
    coded = code_pixels(case["coding"], frames, case["bits"], layout=case["layout"], dirt=dirt)
    write_coded(dataset, coded, path)


CASES = cover()


def test_cases_hold_every_pair_of_levels_and_every_coding():
    covered = set().union(*map(pairs_of, CASES))
    assert all(map(possible, CASES))
    assert len(CASES) > 100
    for name, levels in FACTORS.items():
        assert {case[name] for case in CASES} == set(levels)
    assert len(covered) == 1759 or not HAS_IMAGECODECS
    assert {*BY_PYDICOM, *NATIVE} <= {case["coding"] for case in CASES}
    assert set(LOSSLESS) <= {*BY_PYDICOM, *NATIVE, *BY_IMAGECODECS}


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_settings_of_a_file_do_not_disturb_each_other(dicom_dataset, tmp_path, case):
    path = tmp_path / "a.dcm"
    write_case(case, dicom_dataset, path)
    limits = stored_limits(case["bits"], case["signed"])
    inverted = case["photometric"] == "MONOCHROME1" or case["shape"] == "INVERSE"
    padding, index = padding_of(case)[1], case["voi_index"]
    for frame, stored in enumerate(frames_of(case)):
        windows, tables = vois_of(case, frame)
        vois = tables or windows or [None]
        expected = [
            by_the_standard(
                int(value),
                limits,
                modality_of(case),
                vois[index],
                inverted=inverted,
                padding=padding,
            )
            for value in stored.ravel()
        ]
        units, display = np.array(expected).T.reshape(2, ROWS, COLUMNS)
        square = np.ones((SQUARE, SQUARE))
        image = read_dicom(path, frame, intensity="display", voi_index=index)
        np.testing.assert_allclose(image.pixels, np.kron(display, square), rtol=0, atol=1e-3 / 255)
        image = read_dicom(path, frame, intensity="modality", voi_index=index)
        right = np.kron(units.astype(np.float32), square)
        np.testing.assert_array_equal(image.pixels, right)
        masked = image.padding if image.padding is not None else np.zeros(right.shape, bool)
        inside = (stored >= padding[0]) & (stored <= padding[1]) if padding else stored != stored
        np.testing.assert_array_equal(masked, np.kron(inside, square) == 1)
    record = read_dicom_record(path)
    assert (record.rows, record.columns) == right.shape
    assert record.number_of_frames == FRAMES
    assert record.pixel_spacing_mm == ((0.5, 0.1) if case["aspect"] == "spacing" else None)

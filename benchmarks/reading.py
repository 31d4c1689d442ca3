"""From a radiograph's file to the network's input: medres against MONAI's usual chain.

    python -m benchmarks.reading                  # prints the table; about 15 s
    python -m benchmarks.reading --out benchmarks/RESULTS.md

Radiographs of 2048 x 2048 pixels, 12 bits, uncompressed, to 224 x 224. The chains take turns on
the same file, in one process and one thread, so that whatever else the machine does burdens all
of them; each turn takes the next of several files. Expect a ratio of at least 6 to MONAI's usual
chain, and of at least 2 to the same chain without its transposition.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from benchmarks.results import seen_on, show_section

SIDE = 2048
BITS = 12
SIZE = 224
PACKAGES = ("medres", "monai", "torch", "numpy", "pydicom")
TARGETS = {"MONAI, usual": 6.0, "MONAI, swap_ij=False": 2.0}

Chain = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Timing:
    """Of one chain.

    Args:
        name: of the chain.
        milliseconds: median of its turns.
        fastest: its fastest turn in milliseconds, the least disturbed by other programs.
        ratio: median, over the turns, of this chain's time to medres' in the same turn.
    """

    name: str
    milliseconds: float
    fastest: float
    ratio: float


def radiograph_pixels(seed: int) -> NDArray[np.uint16]:
    """(2048, 2048) 12-bit values: a smooth picture with the noise of a detector."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    picture = 2048 + 1200 * np.sin(3 * rows + seed) * np.cos(4 * columns)
    picture += rng.normal(0, 40, picture.shape)
    return np.asarray(np.clip(picture, 0, 2**BITS - 1), dtype=np.uint16)


def write_radiograph(path: Path, pixels: NDArray[np.uint16]) -> None:
    """A DX file whose window is its full range, so that every chain gives the same picture."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS, BITS - 1
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0  # a DX file must have them
    dataset.ImagerPixelSpacing = [0.168, 0.168]
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (BITS - 1), 2**BITS
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)


def build_chains() -> dict[str, Chain]:
    """Each from `{"image": path}` to (1, 224, 224); medres first."""
    from monai.data import PydicomReader
    from monai.transforms import Compose, LoadImaged, Resized, ScaleIntensityRanged

    from medres.transforms.geometry import FitGeometryd
    from medres.transforms.load import LoadGrayscaled
    from medres.transforms.normalize import NormalizeGrayscaled

    def monai_chain(*, swap_ij: bool) -> Chain:
        chain: Chain = Compose(
            [
                LoadImaged("image", PydicomReader(swap_ij=swap_ij), ensure_channel_first=True),
                ScaleIntensityRanged("image", 0, 2**BITS - 1, 0.0, 1.0, clip=True),
                Resized("image", (SIZE, SIZE)),
            ]
        )
        return chain

    return {
        "medres": Compose(
            [
                LoadGrayscaled("image", fit_size=SIZE),
                FitGeometryd("image", SIZE),
                NormalizeGrayscaled("image", 0.0, 1.0, 0.0, 1.0),
            ]
        ),
        "MONAI, usual": monai_chain(swap_ij=True),
        "MONAI, swap_ij=False": monai_chain(swap_ij=False),
    }


def check_equal_pictures(chains: Mapping[str, Chain], path: str) -> None:
    """All chains give the same picture, MONAI's usual one its transposition.

    Raises:
        AssertionError: they do not, and their times cannot be compared.
    """
    ours, usual, straight = (
        np.asarray(chain({"image": path})["image"])[0] for chain in chains.values()
    )
    assert ours.shape == usual.shape == straight.shape == (SIZE, SIZE)
    assert np.allclose(usual.T, straight, atol=1e-6)
    assert np.abs(ours - straight).mean() < 0.01  # resampled differently: ours averages noise


def time_chains(chains: Mapping[str, Chain], paths: Sequence[str], turns: int) -> list[Timing]:
    """Let the chains take turns, one file each turn, after one turn that does not count.

    Another chain begins each turn: the first to read a file finds it in no cache of the processor.
    """
    seconds: dict[str, list[float]] = {name: [] for name in chains}
    for turn in range(turns + 1):
        first = turn % len(chains)
        for name in [*chains][first:] + [*chains][:first]:
            start = time.perf_counter()
            chains[name]({"image": paths[turn % len(paths)]})
            seconds[name].append(time.perf_counter() - start)
    counted = {name: times[1:] for name, times in seconds.items()}
    ours = next(iter(counted.values()))
    return [
        Timing(
            name,
            1e3 * statistics.median(times),
            1e3 * min(times),
            statistics.median(other / own for other, own in zip(times, ours, strict=True)),
        )
        for name, times in counted.items()
    ]


def report(timings: Sequence[Timing], turns: int) -> str:
    """A section of RESULTS.md."""
    rows = [
        f"| {t.name} | {t.milliseconds:.1f} | {t.fastest:.1f} | {t.ratio:.1f} | {_target(t)} |"
        for t in timings
    ]
    return "\n".join(
        [
            "## File to network input",
            "",
            "    python -m benchmarks.reading --out benchmarks/RESULTS.md",
            "",
            f"Digital radiographs (DX) of {SIDE} x {SIDE} pixels, {BITS} bits, uncompressed, to",
            f"{SIZE} x {SIZE}; {turns} turns in one process and one thread, in each of which every",
            "chain reads the same file.",
            "MONAI's chain is `LoadImaged(PydicomReader)`, `ScaleIntensityRanged`, `Resized`;",
            "medres' is `LoadGrayscaled`, `FitGeometryd` (which averages where MONAI's `Resized`",
            "picks pixels), `NormalizeGrayscaled`. The window is the full range, so that all",
            "chains give one picture; medres applies such a one after resizing. One that clips",
            "goes before, through a table, and costs medres some 3 ms more.",
            "",
            "| chain | median, ms | fastest, ms | time against medres, median | target |",
            "|---|--:|--:|--:|--:|",
            *rows,
            "",
            seen_on(PACKAGES),
            "",
        ]
    )


def _target(timing: Timing) -> str:
    target = TARGETS.get(timing.name)
    return f"at least {target:g}" if target else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="put the table into this file too")
    parser.add_argument("--turns", type=int, default=40, help="of each chain (default 40)")
    parser.add_argument("--files", type=int, default=8, help="how many there are (default 8)")
    arguments = parser.parse_args(argv)

    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # MONAI's, of files without a position
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{number}.dcm")) for number in range(arguments.files)]
        for number, path in enumerate(paths):
            write_radiograph(Path(path), radiograph_pixels(number))
        chains = build_chains()
        check_equal_pictures(chains, paths[0])
        timings = time_chains(chains, paths, arguments.turns)
    text = report(timings, arguments.turns)
    show_section(text, arguments.out)
    return int(any(timing.ratio < TARGETS.get(timing.name, 0.0) for timing in timings))


if __name__ == "__main__":
    sys.exit(main())

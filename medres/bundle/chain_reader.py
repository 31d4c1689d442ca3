"""A bundle's own chain in processes of its own: a decoder that crashes or hangs costs one file.

As `medres.imaging.isolated`, whose processes these are, with another answer. Each imports torch and
MONAI first, which takes some seconds; a member of an archive gets a name for the chain's readers,
which go by names, but lies in memory where the system has such files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from medres.bundle.zoo_chain import Chain, load_chain
from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.isolated import IsolatedReader
from medres.imaging.limits import Limits
from medres.imaging.reader_process import serve
from medres.imaging.reader_protocol import ReadRequest

SUFFIXES: Final = (
    *(".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
    *(".nii", ".nii.gz"),
)
"""Of members, that they keep; a name of another kind tells a chain's readers nothing."""
NO_PIXELS: Final = "the bundle's own chain leaves no pixels of it"
ROUNDING: Final = 1e-5  # of pixels that were equal, once resampled


@dataclass(frozen=True, eq=False)
class ChainInput:
    """An image as a bundle's chain gives it.

    Args:
        pixels: (C, H, W) float32.
        digest: SHA-256 of shape and pixels.
        constant: all pixels of each channel are equal.
    """

    pixels: NDArray[np.float32]
    digest: str
    constant: bool


def chain_program(folder: Path, *, trust: bool, scratch: Path, limits: Limits) -> str:
    """What the processes run; see `serve_chain`."""
    places = f"{str(folder.resolve())!r}, {trust}, {str(scratch)!r}"
    return f"from {__name__} import serve_chain; serve_chain({places}, {limits.reader_bytes})"


def read_chain_input(reader: IsolatedReader, request: ReadRequest) -> ChainInput:
    """One image as the chain gives it.

    Raises:
        UnreadableImageError: as `IsolatedReader.read`, and where the chain does not take it.
    """
    header, pixels, _ = reader.ask(request, "chain")
    values = np.frombuffer(pixels, np.float32).reshape(header["shape"])  # writable
    return ChainInput(values, header["digest"], header["constant"])


def serve_chain(folder: str, trust: bool, scratch: str, reader_bytes: int) -> None:
    """The reading process: as `serve`, with a bundle's chain.

    Args:
        folder: of the bundle.
        trust: run its config as code.
        scratch: folder for what a chain must find under a name; removed where the asker has gone.
        reader_bytes: of address space, beside what torch and MONAI take.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the network's device is the asker's
    tempfile.tempdir = scratch
    torch.set_num_threads(1)
    with _nothing_printed():
        chain = load_chain(Path(folder), trust=trust)
    with suppress(BrokenPipeError):
        serve(_used_bytes() + reader_bytes, {"chain": partial(_answer_chain, chain)})
    shutil.rmtree(scratch, ignore_errors=True)


def _answer_chain(chain: Chain, address: str, request: ReadRequest) -> tuple[Any, ...]:
    with _under_a_name(address, request) as path:
        pixels = chain.apply(path)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    facts = {"shape": pixels.shape, "digest": digest, "constant": _is_constant(pixels)}
    return facts, pixels.tobytes()


@contextmanager
def _under_a_name(address: str, request: ReadRequest) -> Generator[str, None, None]:
    """A path whose suffix is the member's, as long as the block lasts; a file has its own."""
    if not request.archive:
        yield address
        return
    name = PurePosixPath(request.image).name.lower()
    suffix = next((s for s in reversed(SUFFIXES) if name.endswith(s)), "")
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, f"member{suffix}")
        link.symlink_to(address)
        yield str(link)


def _is_constant(pixels: NDArray[np.float32]) -> bool:
    if not pixels.size:
        raise UnreadableImageError(RejectReason.DECODE_FAILED, "", NO_PIXELS)
    channels = pixels.reshape(len(pixels) if pixels.ndim > 2 else 1, -1)
    low, high = channels.min(axis=1), channels.max(axis=1)
    size = np.maximum(1, np.maximum(abs(low), abs(high)))
    return bool((high - low <= ROUNDING * size).all())


@contextmanager
def _nothing_printed() -> Generator[None, None, None]:
    """What a bundle prints while it is read would be taken for an answer."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _used_bytes() -> int:
    """Of address space, by now; 0 where the system does not say, and limits none."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0

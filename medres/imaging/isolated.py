"""Read images in a process of their own: a decoder that crashes, hangs or swells costs one file.

Decoders are C code that meets whatever lies in an archive. The process that asks never decodes:
it sends an address and receives either plain numbers or a reason code, nothing that is unpickled.
The reading process has an address space of `Limits.reader_bytes` (not on Windows and macOS, which
do not enforce one) and `Limits.read_seconds` an image; when it ends, the next image starts another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import select
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medres.errors import ConfigError, RejectReason, UnreadableImageError
from medres.imaging.containers import Member, inflating_seconds, listing_seconds
from medres.imaging.grayscale import GrayscaleImage, ImageRecord
from medres.imaging.limits import LIMITS, Limits
from medres.imaging.reader_process import serve
from medres.imaging.reader_protocol import ReadRequest, Wanted, receive, send

START_SECONDS = 120  # that a process may take before its first image, on a machine that is busy


@dataclass(frozen=True)
class ImageFacts:
    """What is to be known of an image before it is used, without its pixels.

    Args:
        record: what the file says.
        digest: of the pixels; see `digest_pixels`.
        constant: all pixels are equal, padding aside.
    """

    record: ImageRecord
    digest: str
    constant: bool


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """An image at the size that a network takes, with what is to be known of it.

    Args:
        pixels: (h, w) float32, padding filled.
        record: what the file says.
        digest: SHA-256 of the pixels, in hexadecimal.
        constant: all pixels of the image in the file are equal.
    """

    pixels: NDArray[np.float32]
    record: ImageRecord
    digest: str
    constant: bool


class IsolatedReader:
    """One reading process, started with the first image. For one thread at a time.

    Use it as a context manager, or `close` it; its process ends with the one that asks at the
    latest. Pickled or forked, it starts a process of its own there.

    Args:
        limits: of memory and time.
        program: what the process runs, as Python: a call of `serve` with other answers, where
            images are read by other code than medres'. None for medres' own.
    """

    def __init__(self, limits: Limits = LIMITS, program: str | None = None) -> None:
        self.limits = limits
        self.program = program or own_program(limits)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._ready = False

    def __reduce__(self) -> tuple[type[IsolatedReader], tuple[Limits, str]]:
        return IsolatedReader, (self.limits, self.program)

    def read(self, request: ReadRequest) -> GrayscaleImage:
        """What `read_grayscale` gives, or raises.

        Raises:
            UnreadableImageError: as `read_grayscale`; decoder_crashed where the reading process
                died of the file; timed_out where it did not answer in time.
        """
        header, pixels, padding = self.ask(request, "pixels")
        shape = tuple(header["shape"])
        mask = np.frombuffer(padding, np.bool_).reshape(shape) if padding else None
        values = np.frombuffer(pixels, np.float32).reshape(shape)  # writable
        return GrayscaleImage(values, mask, _record(header))

    def inspect(self, request: ReadRequest) -> ImageFacts:
        """Read the pixels over there, and tell what they are like.

        Raises:
            UnreadableImageError: as `read`.
        """
        header, _, _ = self.ask(request, "facts")
        return ImageFacts(_record(header), header["digest"], header["constant"])

    def read_input(self, request: ReadRequest) -> NetworkInput:
        """One image as a network takes it; the request has a `fit`.

        Raises:
            UnreadableImageError: as `read`.
        """
        header, pixels, _ = self.ask(request, "input")
        values = np.frombuffer(pixels, np.float32).reshape(header["shape"])
        return NetworkInput(values, _record(header), header["digest"], header["constant"])

    def read_records(self, request: ReadRequest) -> list[tuple[str, ImageRecord]]:
        """What a file says of its images, pixels undecoded: each array of an npz, or the file.

        Returns:
            The part of the address ("" or an array's name), and the record of its first frame.

        Raises:
            UnreadableImageError: as `read`; nested_archive where it is a zip or tar.
        """
        header, _, _ = self.ask(request, "records")
        return [(part, _record({"record": record})) for part, record in header["records"]]

    def list_members(self, archive: str) -> list[Member]:
        """The files in a zip or tar; see `medres.imaging.containers.list_members`."""
        header, _, _ = self.ask(ReadRequest(archive), "members")
        return [
            Member(name, at, size, RejectReason(reason) if reason else None, message, grown)
            for name, at, size, reason, message, grown in header["members"]
        ]

    def read_references(self, dicomdir: str) -> list[tuple[str, ...]]:
        """The files that a DICOMDIR names; see `medres.imaging.dicomdir.read_references`."""
        header, _, _ = self.ask(ReadRequest(dicomdir), "references")
        return [tuple(parts) for parts in header["references"]]

    def ask(
        self, request: ReadRequest, wanted: Wanted
    ) -> tuple[dict[str, Any], bytearray, bytearray]:
        """What the reading process says: a header, and two parts as they lie in memory.

        Raises:
            UnreadableImageError: as `read`.
        """
        process = self._start()
        seconds = self.limits.read_seconds + _inflating_seconds(request, wanted)
        question = {**dataclasses.asdict(request), "wanted": wanted, "seconds": seconds}
        try:
            if not self._ready:
                _receive(process, START_SECONDS)
                self._ready = True
            send(process.stdin, json.dumps(question).encode())
            answer = _receive(process, seconds)
        except TimeoutError:
            self._end()
            raise UnreadableImageError(
                RejectReason.TIMED_OUT,
                request.image,
                f"was not decoded within {seconds} seconds; the file is damaged, or its decoder "
                "is; leave it out, or transcode it",
            ) from None
        except (EOFError, OSError):
            status = self._end()
            raise UnreadableImageError(
                RejectReason.DECODER_CRASHED,
                request.image,
                f"ended the process that decoded it (status {status}); the file is damaged, or "
                "its decoder is; leave it out, or transcode it",
            ) from None
        header = json.loads(answer[0])
        if "reason" in header:
            raise UnreadableImageError(
                RejectReason(header["reason"]), request.image, header["message"]
            )
        return header, answer[1], answer[2]

    def start(self) -> None:
        """Start the reading process now, so that the first image need not wait for it."""
        self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # forked: the process over there answers to the other
            self._process, self._owner = None, os.getpid()
        if self._process is None:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", self.program],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # decoders print what they find
                    env=_environment(),
                )
            except OSError as error:
                raise ConfigError(
                    f"workers: no process that reads images can be started ({error.strerror}); "
                    "give fewer, or raise the system's limits of processes, memory and open files"
                ) from error
            self._ready = False
            self._finish = weakref.finalize(self, _kill, self._process, self._owner)
        return self._process

    def _end(self) -> int:
        """Kill the process and forget it; returns its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        self._finish()
        return process.returncode

    def interrupt(self) -> None:
        """Kill the reading process, from any thread; whoever waits for it is told at once."""
        process = self._process
        if process is not None and self._owner == os.getpid():
            process.kill()

    def close(self) -> None:
        """End the reading process."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def own_program(limits: Limits) -> str:
    """What a process runs that reads as medres does."""
    return f"from {serve.__module__} import serve; serve({limits.reader_bytes})"


def _receive(
    process: subprocess.Popen[bytes], seconds: int
) -> tuple[bytearray, bytearray, bytearray]:
    """What a process answers, or `TimeoutError`; see `medres.imaging.reader_protocol.receive`."""
    assert isinstance(process.stdout, io.BufferedReader)
    if hasattr(select, "poll"):
        return receive(process.stdout.raw, seconds)
    late = threading.Event()  # Windows waits for no pipe: the process is ended when it is time

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        return receive(process.stdout.raw, None)
    except (EOFError, OSError):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a process for good, unless it is that of the process which forked this one."""
    if owner != os.getpid():
        return
    process.kill()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    process.wait()


def _inflating_seconds(request: ReadRequest, wanted: Wanted) -> int:
    """What an archive takes beyond the image itself: it is gone through, or inflated up to it."""
    if wanted == "members":
        return listing_seconds(Path(request.image))
    return inflating_seconds(Path(request.archive), request.at) if request.archive else 0


def _record(header: dict[str, Any]) -> ImageRecord:
    return ImageRecord(**{name: _as_tuples(value) for name, value in header["record"].items()})


def _as_tuples(value: Any) -> Any:
    """JSON has lists for the tuples of a frozen record."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _environment() -> dict[str, str]:
    """The asker's own, with its import path; one thread, since there are several readers."""
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": paths}

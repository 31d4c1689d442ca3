"""Read images in a process of their own: a decoder that crashes, hangs or swells costs one file.

Decoders are C code that meets whatever lies in an archive. The process that asks never decodes:
it sends an address and receives either plain numbers or a reason code, nothing that is unpickled.
The reading process has an address space of `Limits.reader_bytes` (not on Windows and macOS, which
do not enforce one) and `Limits.read_seconds` an image; when it ends, the next image starts another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Self, TypeVar

import numpy as np

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.grayscale import (
    GrayscaleImage,
    ImageRecord,
    Intensity,
    digest_pixels,
    is_constant,
)
from medres.imaging.limits import LIMITS, Limits
from medres.imaging.read import read_grayscale
from medres.imaging.resampling import Fit

Result = TypeVar("Result")
Wanted = Literal["pixels", "facts"]
MOST_READERS = 8
LENGTHS = struct.Struct("<QQQ")  # bytes of the header, the pixels and the padding
GRACE_SECONDS = 5  # after which a reader whose asker has died ends itself


@dataclass(frozen=True)
class ReadRequest:
    """What to read; the arguments of `read_grayscale`."""

    image: str
    frame: int = 0
    intensity: Intensity | Literal["auto"] = "auto"
    voi_index: int = 0
    fit: Fit | None = None


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


class IsolatedReader:
    """One reading process, started with the first image. For one thread at a time.

    Use it as a context manager, or `close` it; its process ends with the one that asks at the
    latest. Pickled or forked, it starts a process of its own there.

    Args:
        limits: of memory and time.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def __reduce__(self) -> tuple[type[IsolatedReader], tuple[Limits]]:
        return IsolatedReader, (self.limits,)

    def read(self, request: ReadRequest) -> GrayscaleImage:
        """What `read_grayscale` gives, or raises.

        Raises:
            UnreadableImageError: as `read_grayscale`; decoder_crashed where the reading process
                died of the file; timed_out where it did not answer in time.
        """
        header, pixels, padding = self._ask(request, "pixels")
        shape = tuple(header["shape"])
        mask = np.frombuffer(padding, np.bool_).reshape(shape) if padding else None
        values = np.frombuffer(bytearray(pixels), np.float32).reshape(shape)  # writable
        return GrayscaleImage(values, mask, _record(header))

    def inspect(self, request: ReadRequest) -> ImageFacts:
        """Read the pixels over there, and tell what they are like.

        Raises:
            UnreadableImageError: as `read`.
        """
        header, _, _ = self._ask(request, "facts")
        return ImageFacts(_record(header), header["digest"], header["constant"])

    def _ask(self, request: ReadRequest, wanted: Wanted) -> tuple[dict[str, Any], bytes, bytes]:
        process = self._start()
        question = {**dataclasses.asdict(request), "wanted": wanted}
        try:
            _send(process.stdin, json.dumps(question).encode())
            answer = _receive(process.stdout, self.limits.read_seconds)
        except TimeoutError:
            self._end()
            raise UnreadableImageError(
                RejectReason.TIMED_OUT,
                request.image,
                f"was not decoded within {self.limits.read_seconds} seconds; the file is damaged, "
                "or its decoder is; leave it out, or transcode it",
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

    def _start(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # forked: the process over there answers to the other
            self._process, self._owner = None, os.getpid()
        if self._process is None:
            limits = f"{self.limits.reader_bytes}, {self.limits.read_seconds}"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import serve; serve({limits})"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders print what they find
                env=_environment(),
            )
            self._finish = weakref.finalize(self, _kill, self._process, self._owner)
        return self._process

    def _end(self) -> int:
        """Kill the process and forget it; returns its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        self._finish()
        return process.returncode

    def close(self) -> None:
        """End the reading process."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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


def read_ahead(
    requests: Iterable[ReadRequest], workers: int | None = None
) -> Generator[GrayscaleImage | UnreadableImageError, None, None]:
    """Read many images in several processes, in order, a few ahead of the one asked for.

    Args:
        requests: taken as they are needed.
        workers: reading processes; None for one a processor, at most 8.

    Yields:
        An image a request, or the error that it was refused with.
    """
    return _ahead(IsolatedReader.read, requests, workers)


def inspect_ahead(
    requests: Iterable[ReadRequest], workers: int | None = None
) -> Generator[ImageFacts | UnreadableImageError, None, None]:
    """The same for what images are like; see `read_ahead`."""
    return _ahead(IsolatedReader.inspect, requests, workers)


def _ahead(
    call: Callable[[IsolatedReader, ReadRequest], Result],
    requests: Iterable[ReadRequest],
    workers: int | None,
) -> Generator[Result | UnreadableImageError, None, None]:
    count = workers or min(os.cpu_count() or 1, MOST_READERS)
    own = threading.local()
    readers: list[IsolatedReader] = []

    def start() -> None:
        own.reader = IsolatedReader()
        readers.append(own.reader)

    def read(request: ReadRequest) -> Result | UnreadableImageError:
        try:
            return call(own.reader, request)
        except UnreadableImageError as error:
            return error

    pool = ThreadPoolExecutor(count, initializer=start)
    waiting: deque[Future[Result | UnreadableImageError]] = deque()
    try:
        for request in requests:
            waiting.append(pool.submit(read, request))
            if len(waiting) > 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        for reader in readers:
            reader.close()


def serve(reader_bytes: int, read_seconds: int) -> None:
    """The reading process: answer requests from standard input until it ends.

    Args:
        reader_bytes: of address space.
        read_seconds: for one image; a little later the process ends itself, should its asker not
            live to end it.
    """
    _limit_memory(reader_bytes)
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asking process decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a decoder prints is no answer
    with contextlib.suppress(EOFError):
        while True:
            request = json.loads(_receive(sys.stdin.buffer, None)[0])
            if hasattr(signal, "alarm"):
                signal.alarm(read_seconds + GRACE_SECONDS)
            _send(answers, *_answer(request))


def _answer(request: dict[str, Any]) -> tuple[bytes, ...]:
    """A header as JSON, then, where they are wanted, pixels and padding as they lie in memory."""
    fit, wanted = request.pop("fit"), request.pop("wanted")
    try:
        image = read_grayscale(
            request.pop("image"), fit=None if fit is None else Fit(**fit), **request
        )
        header = {"record": dataclasses.asdict(image.record), "shape": image.pixels.shape}
        if wanted == "facts":
            facts = {"digest": digest_pixels(image), "constant": is_constant(image)}
            return (json.dumps({**header, **facts}).encode(),)
        padding = b"" if image.padding is None else image.padding.tobytes()
        return json.dumps(header).encode(), image.pixels.tobytes(), padding
    except UnreadableImageError as error:
        refusal = {"reason": error.reason, "message": error.message}
    except MemoryError:
        message = "takes more memory than reading one image may take"
        refusal = {"reason": RejectReason.TOO_LARGE, "message": message}
    return (json.dumps(refusal).encode(),)


def _record(header: dict[str, Any]) -> ImageRecord:
    return ImageRecord(**{name: _as_tuples(value) for name, value in header["record"].items()})


def _as_tuples(value: Any) -> Any:
    """JSON has lists for the tuples of a frozen record."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _send(stream: IO[bytes] | None, *parts: bytes) -> None:
    assert stream is not None
    parts = (*parts, b"", b"")[:3]
    stream.write(LENGTHS.pack(*map(len, parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def _receive(stream: IO[bytes] | None, seconds: int | None) -> tuple[bytes, bytes, bytes]:
    """Three parts.

    Raises:
        EOFError: the other side has ended.
        TimeoutError: it has not begun to answer in time.
    """
    assert stream is not None
    if seconds is not None and not select.select([stream], [], [], seconds)[0]:
        raise TimeoutError
    lengths = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
    head, pixels, padding = (_exactly(stream, length) for length in lengths)
    return head, pixels, padding


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _environment() -> dict[str, str]:
    """The asker's own, with its import path; one thread, since there are several readers."""
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": paths}


def _limit_memory(most: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # where a system has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, most))

"""What a process that asks for images and one that reads them say to each other.

Requests are JSON; answers are JSON with plain numbers behind it: nothing is unpickled.
"""

from __future__ import annotations

import io
import select
import struct
import time
from dataclasses import dataclass
from typing import IO, Literal

from medres.imaging.grayscale import Intensity
from medres.imaging.resampling import Fit

Wanted = Literal["pixels", "facts", "input", "records", "members", "references", "chain"]
LENGTHS = struct.Struct("<QQQ")  # bytes of the header, the pixels and the padding
GRACE_SECONDS = 5  # after which a reader whose asker has died ends itself


@dataclass(frozen=True)
class ReadRequest:
    """What to read; the arguments of `read_grayscale`.

    Args:
        image: an address; of a file in an archive, the member's name.
        frame: as there, like the next three.
        intensity: display, modality or auto.
        voi_index: of several windows.
        fit: the size wanted.
        archive: path of the zip or tar that holds the file; "" where it stands in a folder.
        at: the member's place in it; see `medres.imaging.containers`.
        size: the member's, in bytes.
        part: of a member: its array or plane; an address in a folder names it itself.
    """

    image: str
    frame: int = 0
    intensity: Intensity | Literal["auto"] = "auto"
    voi_index: int = 0
    fit: Fit | None = None
    archive: str = ""
    at: int = 0
    size: int = 0
    part: str = ""


def send(stream: IO[bytes] | None, *parts: bytes) -> None:
    """Up to three parts, each with its length before it."""
    assert stream is not None
    parts = (*parts, b"", b"")[:3]
    stream.write(LENGTHS.pack(*map(len, parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(
    stream: io.RawIOBase | io.BufferedIOBase, seconds: int | None
) -> tuple[bytearray, bytearray, bytearray]:
    """Three parts.

    Raises:
        EOFError: the other side has ended.
        TimeoutError: it has not answered in time.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    lengths = LENGTHS.unpack(_exactly(stream, LENGTHS.size, deadline))
    head, pixels, padding = (_exactly(stream, length, deadline) for length in lengths)
    return head, pixels, padding


def _exactly(
    stream: io.RawIOBase | io.BufferedIOBase, length: int, deadline: float | None
) -> bytearray:
    content = bytearray(length)
    rest = memoryview(content)
    while rest:
        if deadline is not None:
            _wait(stream, deadline)
        count = stream.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return content


def _wait(stream: io.RawIOBase | io.BufferedIOBase, deadline: float) -> None:
    """Until there is something to read."""
    answers = select.poll()  # `select` takes no file whose number is 1024 or more
    answers.register(stream, select.POLLIN)
    if not answers.poll(1000 * max(deadline - time.monotonic(), 0)):
        raise TimeoutError

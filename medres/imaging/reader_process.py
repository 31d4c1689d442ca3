"""The process that reads images on behalf of another; `medres.imaging.isolated` starts and asks it.

It has an address space of `Limits.reader_bytes` (not on Windows and macOS, which do not enforce
one), and ends with the process that asks at the latest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, cast

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.containers import archive_kind, list_members, member_as_file
from medres.imaging.dicomdir import read_references
from medres.imaging.grayscale import GrayscaleImage, digest_pixels, is_constant
from medres.imaging.read import (
    DICOM_SUFFIXES,
    NO_PREFIX,
    read_grayscale,
    read_records,
)
from medres.imaging.reader_protocol import GRACE_SECONDS, ReadRequest, receive, send
from medres.imaging.resampling import Fit

Answer = Callable[[str, ReadRequest], tuple[Any, ...]]
"""From where an image can be read, and what was asked, to a header and up to two parts."""
ROUNDING = 1e-5  # of resampled pixels that were equal
NESTED = "is a zip or tar, and stands where images are looked for; give it by itself, or unpack it"


def serve(reader_bytes: int, answers: Mapping[str, Answer] | None = None) -> None:
    """The reading process: answer requests from standard input until it ends.

    Each request says how long it may take; a little later the process ends itself, should its
    asker not live to end it.

    Args:
        reader_bytes: of address space.
        answers: to what is wanted; None for medres' own.
    """
    _limit_memory(reader_bytes)
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asking process decides
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a decoder prints is no answer
    send(replies, b"{}")  # ready
    with contextlib.suppress(EOFError):
        while True:
            question = json.loads(receive(cast(io.BufferedReader, sys.stdin.buffer), None)[0])
            _set_alarm(question.pop("seconds") + GRACE_SECONDS)
            answer = _answer(question, answers or ANSWERS)
            _set_alarm(0)  # however long it then waits for the next request
            send(replies, *answer)


def _set_alarm(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _answer(question: dict[str, Any], answers: Mapping[str, Answer]) -> tuple[bytes, ...]:
    """A header as JSON, then, where they are wanted, pixels and padding as they lie in memory."""
    answer = answers[question.pop("wanted")]
    fit = question.pop("fit")
    request = ReadRequest(**question, fit=None if fit is None else Fit(**fit))
    try:
        with _address(request) as address:
            header, *arrays = answer(address, request)
            return json.dumps(header).encode(), *arrays
    except UnreadableImageError as error:
        refusal = {"reason": error.reason, "message": error.message}
    except MemoryError:
        message = "takes more memory than reading one image may take"
        refusal = {"reason": RejectReason.TOO_LARGE, "message": message}
    return (json.dumps(refusal).encode(),)


@contextlib.contextmanager
def _address(request: ReadRequest) -> Generator[str, None, None]:
    """Where the image can be read; a member of an archive for as long as the block lasts."""
    if not request.archive:
        yield request.image
        return
    suffix = Path(request.image).suffix
    with member_as_file(Path(request.archive), request.at, request.size, suffix) as path:
        yield f"{path}::{request.part}" if request.part else path


def _read(address: str, request: ReadRequest) -> GrayscaleImage:
    return read_grayscale(
        address,
        request.frame,
        intensity=request.intensity,
        voi_index=request.voi_index,
        fit=request.fit,
    )


def _answer_pixels(address: str, request: ReadRequest) -> tuple[Any, ...]:
    image = _read(address, request)
    padding = b"" if image.padding is None else image.padding.tobytes()
    return _described(image), image.pixels.tobytes(), padding


def _answer_facts(address: str, request: ReadRequest) -> tuple[Any, ...]:
    image = _read(address, request)
    facts = {"digest": digest_pixels(image), "constant": is_constant(image)}
    return ({**_described(image), **facts},)


def _answer_input(address: str, request: ReadRequest) -> tuple[Any, ...]:
    image = _read(address, request)
    low, high = float(image.pixels.min()), float(image.pixels.max())
    constant = high - low <= ROUNDING * max(1.0, abs(low), abs(high))
    if constant:  # at the size wanted; a small spot may be lost there
        constant = is_constant(_read(address, dataclasses.replace(request, fit=None)))
    facts = {"digest": digest_pixels(image), "constant": constant}
    return {**_described(image), **facts}, image.pixels.tobytes()


def _answer_records(address: str, request: ReadRequest) -> tuple[Any, ...]:
    try:
        found = read_records(address)
    except UnreadableImageError as error:
        if error.reason not in (RejectReason.UNKNOWN_FORMAT, RejectReason.NOT_DICOM):
            raise
        path = Path(address)
        if archive_kind(path) is not None:
            raise UnreadableImageError(RejectReason.NESTED_ARCHIVE, path, NESTED) from None
        if Path(request.image).suffix.lower() in DICOM_SUFFIXES:  # a member has no name over here
            raise UnreadableImageError(RejectReason.NOT_DICOM, path, NO_PREFIX) from None
        raise
    return ({"records": [(part, dataclasses.asdict(record)) for part, record in found]},)


def _answer_members(address: str, _: ReadRequest) -> tuple[Any, ...]:
    return ({"members": [dataclasses.astuple(member) for member in list_members(Path(address))]},)


def _answer_references(address: str, _: ReadRequest) -> tuple[Any, ...]:
    return ({"references": read_references(Path(address))},)


ANSWERS: dict[str, Answer] = {
    "pixels": _answer_pixels,
    "facts": _answer_facts,
    "input": _answer_input,
    "records": _answer_records,
    "members": _answer_members,
    "references": _answer_references,
}


def _described(image: GrayscaleImage) -> dict[str, Any]:
    return {"record": dataclasses.asdict(image.record), "shape": image.pixels.shape}


def _limit_memory(most: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # where a system has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, most))

"""Real processes, killed, stopped and starved: each costs the image that was being read."""

import dataclasses
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from radiographs import write_radiograph

from medres.errors import ConfigError, UnreadableImageError
from medres.imaging import isolated
from medres.imaging.isolated import IsolatedReader
from medres.imaging.limits import LIMITS
from medres.imaging.read import pixel_digest, read_grayscale
from medres.imaging.reader_pool import ReaderPool, inspect_ahead
from medres.imaging.reader_protocol import ReadRequest, receive, send
from medres.imaging.resampling import Fit


@pytest.fixture
def radiograph(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40)).astype(np.uint8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME1")
    return str(tmp_path / "a.dcm")


@pytest.fixture
def slow_picture(tmp_path: Path) -> str:
    """Takes a tenth of a second or more to decode."""
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "slow.png", compress_level=1)
    return str(tmp_path / "slow.png")


def disturb(reader: IsolatedReader, wanted: int) -> threading.Thread:
    """Send a signal to the reading process a little later."""

    def act() -> None:
        time.sleep(0.02)
        assert reader._process is not None
        os.kill(reader._process.pid, wanted)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_another_process_reads_what_this_one_would(radiograph: str) -> None:
    here = read_grayscale(radiograph, fit=Fit(16, "crop"))
    with IsolatedReader() as reader:
        there = reader.read(ReadRequest(radiograph, fit=Fit(16, "crop")))
        assert np.array_equal(there.pixels, here.pixels)
        assert there.record == here.record
        assert there.padding is None
        there.pixels[0, 0] = 1  # its own memory
        facts = reader.inspect(ReadRequest(radiograph))
    assert facts.digest == pixel_digest(read_grayscale(radiograph))
    assert not facts.constant


def test_padding_travels_too(tmp_path: Path) -> None:
    pixels = np.zeros((4, 3), np.uint8)
    picture = np.stack([pixels, np.array([[0, 255, 255]] * 4, np.uint8)], axis=-1)
    Image.fromarray(picture, "LA").save(tmp_path / "a.png")
    with IsolatedReader() as reader:
        image = reader.read(ReadRequest(str(tmp_path / "a.png")))
    assert image.padding is not None
    assert image.padding.tolist() == [[True, False, False]] * 4


def test_a_refusal_keeps_its_reason_and_the_reader_goes_on(tmp_path: Path, radiograph: str) -> None:
    (tmp_path / "b.dcm").write_text("text")
    with IsolatedReader() as reader:
        with pytest.raises(UnreadableImageError, match=r"b\.dcm: is named like a DICOM file"):
            reader.read(ReadRequest(str(tmp_path / "b.dcm")))
        assert reader.read(ReadRequest(radiograph)).pixels.shape == (60, 40)


def test_a_decoder_that_dies_costs_one_file(radiograph: str, slow_picture: str) -> None:
    with IsolatedReader() as reader:
        reader.read(ReadRequest(radiograph))
        thread = disturb(reader, signal.SIGKILL)
        with pytest.raises(
            UnreadableImageError, match=r"slow\.png: ended the process .*-9"
        ) as info:
            reader.read(ReadRequest(slow_picture))
        thread.join()
        assert info.value.reason == "decoder_crashed"
        assert info.value.__cause__ is None
        assert reader.read(ReadRequest(radiograph)).pixels.shape == (60, 40)


def test_a_decoder_that_hangs_costs_one_file(radiograph: str, slow_picture: str) -> None:
    limits = dataclasses.replace(LIMITS, read_seconds=3)
    with IsolatedReader(limits) as reader:
        reader.read(ReadRequest(radiograph))
        thread = disturb(reader, signal.SIGSTOP)
        with pytest.raises(UnreadableImageError, match="not decoded within 3 seconds") as info:
            reader.read(ReadRequest(slow_picture))
        thread.join()
        assert info.value.reason == "timed_out"
        assert reader.read(ReadRequest(radiograph)).pixels.shape == (60, 40)


def test_a_file_that_takes_more_memory_than_a_reader_has_is_refused(
    tmp_path: Path, radiograph: str
) -> None:
    write_radiograph(tmp_path / "large.dcm", np.zeros((12_000, 12_000), np.uint8), "MONOCHROME2")
    with IsolatedReader(dataclasses.replace(LIMITS, reader_bytes=2**29 + 2**28)) as reader:
        with pytest.raises(UnreadableImageError) as info:
            reader.read(ReadRequest(str(tmp_path / "large.dcm")))
        assert info.value.reason == "too_large"
        assert reader.read(ReadRequest(radiograph)).pixels.shape == (60, 40)


def test_a_reader_that_cannot_be_started_is_said(
    radiograph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", fail)
    message = r"no process that reads images can be started \(Resource temporarily unavailable"
    with IsolatedReader() as reader, pytest.raises(ConfigError, match=message):
        reader.read(ReadRequest(radiograph))


def test_a_reader_whose_asker_has_gone_ends(radiograph: str) -> None:
    reader = IsolatedReader()
    reader.read(ReadRequest(radiograph))
    process = reader._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    reader.close()


def test_many_are_read_in_order_and_the_refused_stand_in_their_place(
    tmp_path: Path, radiograph: str
) -> None:
    (tmp_path / "empty.png").touch()
    names = [radiograph, str(tmp_path / "empty.png"), str(tmp_path / "absent.png")] * 4
    found = list(inspect_ahead(map(ReadRequest, names), workers=2))
    assert [getattr(item, "reason", "read") for item in found] == [
        "read",
        "empty_file",
        "not_found",
    ] * 4
    assert getattr(found[0], "digest", "") == pixel_digest(read_grayscale(radiograph))


def test_readers_end_when_nobody_asks_on(radiograph: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[IsolatedReader] = []
    original = IsolatedReader.__init__

    def remember(self: IsolatedReader, *arguments: Any) -> None:
        original(self, *arguments)
        made.append(self)

    monkeypatch.setattr(isolated.IsolatedReader, "__init__", remember)
    reading = inspect_ahead((ReadRequest(radiograph) for _ in range(100)), workers=2)
    next(reading)
    reading.close()
    assert made
    assert all(reader._process is None for reader in made)


def test_a_reader_waits_for_its_next_request_longer_than_for_an_image(radiograph: str) -> None:
    program = "from medres.imaging import reader_process as r; r.GRACE_SECONDS = 0; r.serve(2**33)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        receive(process.stdout, 30)  # that it is ready
        question = {**dataclasses.asdict(ReadRequest(radiograph)), "wanted": "records"}
        for pause in (1.5, 0):
            send(process.stdin, json.dumps({**question, "seconds": 1}).encode())
            assert b"MONOCHROME1" in receive(process.stdout, 30)[0]
            time.sleep(pause)


def test_closing_a_pool_waits_for_no_reader_that_hangs(slow_picture: str) -> None:
    pool = ReaderPool(1, dataclasses.replace(LIMITS, read_seconds=20))
    pool.start()
    process = pool._readers[0]._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    asked = pool.ask(pool._twice(IsolatedReader.read), ReadRequest(slow_picture))
    time.sleep(0.1)
    pool.close()
    refusal = asked.result()
    assert isinstance(refusal, UnreadableImageError)
    assert refusal.reason == "decoder_crashed"  # not timed_out, and not read again


def test_a_reader_that_died_while_idle_spoils_no_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b", b"c")
    with ReaderPool(1) as pool:
        pool.start()
        process = pool._readers[0]._process
        assert process is not None
        process.kill()
        members = pool.now(IsolatedReader.list_members, str(tmp_path / "a.zip"))
    assert [member.name for member in members] == ["b"]


@pytest.mark.parametrize("packing", ["zip", "tar"])
def test_arrays_in_an_archive_are_each_its_own(tmp_path: Path, packing: str) -> None:
    """All have one size, and are written to memory within a tick of the clock that times files."""
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8)).astype(np.uint8)
    path = tmp_path / f"a.{packing}"
    for number, image in enumerate(images):
        np.save(tmp_path / f"{number}.npy", image)
    names = [f"{number}.npy" for number in range(len(images))]
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.write(tmp_path / name, name)
    else:
        with tarfile.open(path, "w") as tar:
            for name in names:
                tar.add(tmp_path / name, name)
    with IsolatedReader() as reader:
        members = reader.list_members(str(path))
        for member, image in zip(members, images, strict=True):
            request = ReadRequest(member.name, archive=str(path), at=member.at, size=member.size)
            found = reader.read(dataclasses.replace(request, intensity="modality"))
            assert np.array_equal(found.pixels, image), member.name


def test_a_process_with_many_open_files_reads_too(radiograph: str) -> None:
    """Files are numbered from the lowest that is free; `select` takes those below 1,024."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 1200), before[1]))
    handles = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with IsolatedReader() as reader:
            assert reader.read(ReadRequest(radiograph)).pixels.shape == (60, 40)
    finally:
        for handle in handles:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_system_that_waits_for_no_pipe_ends_a_reader_that_hangs(
    radiograph: str, slow_picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.delattr("select.poll")
    with IsolatedReader(dataclasses.replace(LIMITS, read_seconds=3)) as reader:
        assert reader.read(ReadRequest(radiograph)).pixels.shape == (60, 40)
        for wanted, reason in ((signal.SIGSTOP, "timed_out"), (signal.SIGKILL, "decoder_crashed")):
            thread = disturb(reader, wanted)
            with pytest.raises(UnreadableImageError) as info:
                reader.read(ReadRequest(slow_picture))
            thread.join()
            assert info.value.reason == reason
            assert reader.read(ReadRequest(radiograph)).pixels.shape == (60, 40)

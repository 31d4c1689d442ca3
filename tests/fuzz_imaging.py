"""Read damaged images by the thousand: only `UnreadableImageError` may come out.

    python tests/fuzz_imaging.py --inputs 20000 --seed 0 --keep findings/

Each input is a real file (where there are any, see real_data.py) or one made here, damaged at
random. They are read in worker processes with little memory and little time: a crash, a hang, an
exception that is not documented and memory that was asked for in vain are findings, each kept
under the number of its input, and a worker goes on with the next. Ends with 1 if any.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from dicom_wounds import mutate_dicom
from fuzz_sources import sources
from picture_wounds import mutate_picture

from medres.errors import UnreadableImageError
from medres.imaging.read import read_grayscale, read_record

CPU_SECONDS, SECONDS = 20, 200
MEMORY_BYTES = 3 * 2**30
HEADER_BYTES = 3000
NUMBERS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xf0\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff"]
NUMBERS += [b"\x00\x80", b"\xff\xff\xff\x7f", b"\x01\0\0\0", b"\0\0\0\x01", b"-1", b"1e999", b"nan"]
REFUSED = "refused for lack of memory"


def mutate(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """The content damaged in its structure, in its bytes, or in both."""
    kind = rng.randrange(5)
    if kind:
        mutate_structure = mutate_dicom if content[128:132] == b"DICM" else mutate_picture
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            content = mutate_structure(rng, content)
    return content if kind > 1 else mutate_bytes(rng, content, other)


def mutate_bytes(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """The content with one to eight wounds, half of them where headers are."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not data:
            break
        at = rng.randrange(min(len(data), HEADER_BYTES if rng.random() < 0.6 else len(data)))
        length = rng.choice((1, 2, 4, 8, 64, 1024))
        match rng.randrange(8):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2 | 3:
                number = rng.choice(NUMBERS)
                data[at : at + len(number)] = number
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length] * rng.choice((1, 2, 100))
            case 6:
                there = rng.randrange(len(other))
                data[at : at + length] = other[there : there + length]
            case 7:
                del data[at if rng.random() < 0.3 else rng.randrange(len(data)) :]
    return bytes(data)


def read_everything(path: Path) -> str:
    """Read a file in every way; what became of its first picture, in a word."""
    said = []
    for read in (
        lambda: read_grayscale(path),
        lambda: read_record(path),
        lambda: read_grayscale(path, 1, intensity="modality"),
        lambda: read_grayscale(path, intensity="display", voi_index=1),
        lambda: read_grayscale(f"{path}::sagittal", intensity="display"),
    ):
        try:
            image = read()
        except UnreadableImageError as error:
            if "more memory than there is" in error.message:
                return REFUSED
            said.append(str(error.reason))
        else:
            pixels = getattr(image, "pixels", np.zeros(1))
            assert np.isfinite(pixels).all(), "not finite"
            said.append("read")
    return said[0]


def work(seed: int, first: int, last: int, folder: Path) -> None:
    """Damage and read the inputs; a line for each, so that the parent knows where it ended."""
    whole = sources()
    path = folder / "input"
    read_everything(write_input(path, seed, 0, whole))  # imports
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for number in range(first, last):
        print(json.dumps([number, "started"]), flush=True)
        write_input(path, seed, number, whole)
        signal.alarm(SECONDS)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                said = read_everything(path)
        except BaseException:
            said = "finding: " + traceback.format_exc()
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([number, said]), flush=True)


def write_input(path: Path, seed: int, number: int, whole: list[bytes]) -> Path:
    """Input of that number: the same for the same seed and sources."""
    rng = random.Random(f"{seed}/{number}")
    path.write_bytes(mutate(rng, rng.choice(whole), rng.choice(whole)))
    return path


def main() -> int:
    """Start workers until all inputs are read; print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="folder for inputs with findings")
    parser.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    end = options.first + options.inputs
    if options.worker:
        work(options.seed, options.first, end, options.worker)
        return 0
    counts: Counter[str] = Counter()
    findings: dict[int, str] = {}
    number = options.first
    with tempfile.TemporaryDirectory() as folder:
        while number < end:
            arguments = ["--worker", folder, "--seed", str(options.seed), "--first", str(number)]
            with subprocess.Popen(
                [sys.executable, __file__, *arguments, "--inputs", str(end - number)],
                stdout=subprocess.PIPE,
                text=True,
            ) as worker:
                before, said = None, "done"
                for line in worker.stdout or ():
                    number, said = before, _ = json.loads(line)
                    if said.startswith(("finding", REFUSED)):
                        findings[number] = said
                    if said != "started":
                        counts[said.partition("\n")[0]] += 1
            if before is None and worker.returncode:
                return int(worker.returncode)  # it did not even start
            if said == "started":
                findings[number] = f"the worker ended with {worker.returncode}"
                counts[findings[number]] += 1
            number += 1
    if options.keep and findings:
        options.keep.mkdir(parents=True, exist_ok=True)
        whole = sources()
        for found in findings:
            write_input(options.keep / str(found), options.seed, found, whole)
    print(json.dumps(dict(counts.most_common()), indent=1))
    for found, said in findings.items():
        print(found, said)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

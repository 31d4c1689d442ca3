"""Look at one image: what its file says of it, and the pixels that medres sees.

    medres show study/a.dcm                                  # the record, as JSON
    medres show study/a.dcm --out a.png                      # and the picture, as it is displayed
    medres show ct.nii.gz::coronal --frame 40 --out ct.npy   # and the pixels, here in HU

Without --out only the header is read. The record names no patient and holds no UID of study,
series or instance; whether names are burned into the picture, it cannot know.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.imaging.grayscale import ImageRecord

PROGRAM = "medres show"


@dataclass(frozen=True)
class ShowConfig:
    """What to look at, and how.

    Attributes:
        image: a path, or a path and a member of the file: `x.npz::train_images`.
        frame: index of a frame, slice, page or array item.
        voi: index of one of several windows or VOI LUTs.
        intensity: display, modality, or what suits the modality.
        out: where to write the picture (.png) or the pixels (.npy).
    """

    image: str
    frame: int = 0
    voi: int = 0
    intensity: Literal["auto", "display", "modality"] = "auto"
    out: Path | None = None


def run(config: ShowConfig) -> ImageRecord:
    """Read, write where asked to; returns the record."""
    from medres.imaging.isolated import IsolatedReader
    from medres.imaging.picture import write_picture
    from medres.imaging.read import read_record
    from medres.imaging.reader_protocol import ReadRequest

    if config.out is None and config.intensity == "auto" and config.voi == 0:
        return read_record(config.image, config.frame)
    picture = config.out is not None and config.out.suffix.lower() == ".png"
    intensity = "display" if picture and config.intensity == "auto" else config.intensity
    with IsolatedReader() as reader:  # a decoder may crash, and still be told of
        image = reader.read(ReadRequest(config.image, config.frame, intensity, config.voi))
    if config.out is not None:
        write_picture(config.out, image)
    return image.record


def print_record(record: ImageRecord) -> None:
    """The record as JSON, without the patient's identity."""
    import json

    print(json.dumps(record.as_json(), indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", metavar="FILE", help="a path, or path::member")
    parser.add_argument("--frame", type=int, default=0, metavar="N", help="from 0")
    parser.add_argument(
        "--voi", type=int, default=0, metavar="N", help="which window or VOI LUT, from 0"
    )
    parser.add_argument("--intensity", choices=["auto", "display", "modality"], default="auto")
    parser.add_argument("--out", type=Path, metavar="FILE", help="PICTURE.png or PIXELS.npy")
    config = ShowConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: print_record(run(config)))


if __name__ == "__main__":
    sys.exit(main())

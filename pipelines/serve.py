"""Look at runs and scored archives in a browser of this machine.

    medres serve runs
    medres serve results --images all --sources STUDIES --model runs/mine/model

Lists what lies below the folder, the newest first: trainings with their state, evaluations, scored
archives; sets chosen runs beside each other; opens their evidence and training pages; shows an
archive as a worklist, sorted and paged. Binds 127.0.0.1 alone, reads alone, and writes nothing.
Whoever has an account on this machine can open it while it runs. Pictures of an archive need the
folder that was scored and the model; see docs/serve.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from medres.config import ShownImages
from pipelines.shell import exit_status

PROGRAM = "medres serve"
PORT = 8731


@dataclass(frozen=True)
class ServeConfig:
    """What to show, and where.

    Attributes:
        folder: below which runs and archives lie.
        port: on the loopback; 0 takes a free one.
        images: whose pixels may be shown.
        sources: folder that an archive was scored from.
        model: that scored it.
    """

    folder: Path
    port: int = PORT
    images: ShownImages = "synthetic"
    sources: Path | None = None
    model: Path | None = None


def run(config: ServeConfig) -> None:
    """Answer until Ctrl-C.

    Raises:
        ConfigError: no such folder, or a port that cannot be had.
    """
    from medres.errors import ConfigError
    from medres.serving.archive_pictures import PictureSource
    from medres.serving.server import open_server
    from medres.serving.site import Site

    if not config.folder.is_dir():
        raise ConfigError(f"{config.folder}: no such folder; give one with runs or archives")
    pictures = PictureSource(config.images, config.sources, config.model)
    with open_server(Site(config.folder, pictures), config.port) as server:
        print(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="RUNS", help="folder of runs and archives")
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"{PORT} by default; 0 for a free one"
    )
    parser.add_argument(
        "--images",
        choices=get_args(ShownImages),
        default="synthetic",
        help="whose pixels an archive may show: nobody's, the phantom's alone, all",
    )
    parser.add_argument("--sources", type=Path, help="folder that the archive was scored from")
    parser.add_argument("--model", type=Path, help="that scored the archive")
    return exit_status(PROGRAM, lambda: run(ServeConfig(**vars(parser.parse_args(argv)))))


if __name__ == "__main__":
    sys.exit(main())

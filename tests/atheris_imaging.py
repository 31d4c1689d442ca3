"""Coverage-guided fuzzing of the readers, with libFuzzer by atheris. Linux, Python 3.11 to 3.13.

    pip install atheris
    python tests/atheris_imaging.py -max_total_time=600 -rss_limit_mb=3000 -timeout=60

libFuzzer changes the bytes of whole files that it knows from `fuzz_sources`, keeps what reaches new
code in medres, pydicom or nibabel, and stops at anything but an image or `UnreadableImageError`.
`tests/fuzz_imaging.py` needs no extra package and goes on after a finding.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["medres", "pydicom", "nibabel"]):
    from fuzz_imaging import read_everything
    from fuzz_sources import made_arrays, made_dicom, made_pictures, made_volumes


def main() -> None:
    """Write the corpus that libFuzzer starts from, and hand over to it; does not return."""
    folder = Path(tempfile.mkdtemp(prefix="atheris-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    made = (*made_dicom(), *made_pictures(), *made_arrays(), *made_volumes())
    for number, content in enumerate(made):
        (corpus / str(number)).write_bytes(content)
    path = folder / "input"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_everything(path)

    atheris.Setup([sys.argv[0], f"-artifact_prefix={folder}/", str(corpus), *sys.argv[1:]], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

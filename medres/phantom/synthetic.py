"""Which files show nobody: those that the phantom has written."""

from __future__ import annotations

import re
from pathlib import Path

from medres.config import ShownImages
from medres.phantom.sample import read_recipe

OWN = re.compile(r"studies/p\d+/s\d+/i\d+\.dcm|volumes/v\d+\.nii\.gz")
"""Where a sample data set has its images, below its folder."""
DEPTH = 4
"""Folders from such an image up to its data set's, at most."""


def may_show(path: Path, allowed: ShownImages) -> bool:
    """Whether a page may show the pixels of a file."""
    return allowed == "all" or (allowed == "synthetic" and is_synthetic(path))


def is_synthetic(path: Path) -> bool:
    """Whether a file is an image of a sample data set, in its place in one that is complete.

    A file under another name is not, wherever it lies: it may be anybody's.
    """
    path = path.resolve()
    return any(
        OWN.fullmatch(path.relative_to(folder).as_posix()) and read_recipe(folder) is not None
        for folder in list(path.parents)[:DEPTH]
    )

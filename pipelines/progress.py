"""Progress bars of the programs; nothing where the output is no terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def follow(things: Iterable[T], doing: str = "") -> Iterator[T]:
    """Pass things on and show how many have gone by, how fast, and the time left."""
    from tqdm import tqdm

    # Of torchrun's processes the first alone speaks.
    silent = os.environ.get("RANK", "0") != "0" or not sys.stderr.isatty()
    yield from tqdm(things, desc=doing, unit="image", dynamic_ncols=True, disable=silent)

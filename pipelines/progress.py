"""Progress bars of the programs; nothing where the output is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def follow(things: Iterable[T], doing: str = "") -> Iterator[T]:
    """Pass things on and show how many have gone by, how fast, and the time left."""
    from tqdm import tqdm

    yield from tqdm(
        things, desc=doing, unit="image", dynamic_ncols=True, disable=not sys.stderr.isatty()
    )

"""Progress bars of the programs; nothing where the output is no terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def follow(things: Iterable[T], doing: str = "") -> Iterator[T]:
    """Pass things on and show how many have gone by, how fast, and the time left."""
    from tqdm import tqdm

    # Of torchrun's processes the first alone speaks.
    silent = os.environ.get("RANK", "0") != "0" or not sys.stderr.isatty()
    yield from tqdm(things, desc=doing, unit="image", dynamic_ncols=True, disable=silent)


def follow_outcomes(batches: Iterable[list[dict[str, Any]]], total: int) -> Iterator[None]:
    """Pass over batches of what came of images; show how fast, how many rejected, the time left."""
    from tqdm import tqdm

    rejected = 0
    silent = not sys.stderr.isatty()
    with tqdm(total=total, desc="scoring", unit="image", dynamic_ncols=True, disable=silent) as bar:
        for outcomes in batches:
            rejected += sum(outcome["status"] == "rejected" for outcome in outcomes)
            bar.set_postfix(rejected=rejected, refresh=False)
            bar.update(len(outcomes))
            yield

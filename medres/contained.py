"""Code of other packages run without its traces on the process of whoever calls medres."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Without what others log up to warnings; what matters they raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def same_search_path() -> Iterator[None]:
    """Without the folders that others add to where Python looks for modules.

    MONAI adds a bundle's folder for good, onnxruntime one with modules called `metrics` and
    `optimizer`.
    """
    before = [*sys.path]
    try:
        yield
    finally:
        sys.path[:] = before

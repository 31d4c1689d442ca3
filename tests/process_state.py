"""What all tests of a process share: a test that leaves it changed fails, not the ones after it."""

from __future__ import annotations

import gc
import logging
import os
import random
import resource
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import numpy as np

# Set for good by torch itself, at the first compilation of a process, and by pytest at each phase.
NOT_OF_TESTS = {
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR",
    "PYTEST_CURRENT_TEST",
}
OF_SETUPTOOLS = ("setuptools", "_vendor")  # which adds it when it is imported, as torch does then


def reset_state() -> None:
    """What a test may change freely, as every test finds it: random numbers, urllib's proxies."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    urllib.request.install_opener(None)  # type: ignore[arg-type]  # made anew, from the environment


def read_state() -> dict[str, object]:
    """What a test has to leave as it was, by name."""
    mask = os.umask(0o077)
    os.umask(mask)
    state: dict[str, object] = {
        "working directory": Path.cwd(),
        "umask": mask,
        "sys.path": [path for path in sys.path if Path(path).parts[-2:] != OF_SETUPTOOLS],
        "recursion limit": sys.getrecursionlimit(),
        "garbage collection": gc.isenabled(),
        "socket timeout": socket.getdefaulttimeout(),
        "logging": (logging.root.level, logging.root.manager.disable),
        "numpy's errors": np.geterr(),
    }
    state |= {f"environment {k}": v for k, v in os.environ.items() if k not in NOT_OF_TESTS}
    state |= {f"handler of {s.name}": signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    for name in ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
        state[name] = resource.getrlimit(getattr(resource, name))
    if torch := sys.modules.get("torch"):
        state |= {
            "torch's threads": torch.get_num_threads(),
            "torch's dtype": torch.get_default_dtype(),
            "torch's gradients": torch.is_grad_enabled(),
            "torch's algorithms": torch.are_deterministic_algorithms_enabled(),
            "torch's matrix products": torch.get_float32_matmul_precision(),
        }
    return state


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What differs, in words; of a library that was imported in between nothing does."""
    names = before.keys() | {name for name in after if name.startswith("environment ")}
    return [
        f"{name} was {before.get(name)!r}, is {after.get(name)!r}"
        for name in sorted(names)
        if before.get(name) != after.get(name)
    ]

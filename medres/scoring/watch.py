"""A folder into which files keep coming: each is scored once it has settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from medres.scoring.sources import Found

POLL_SECONDS = 5.0
AGE_SECONDS = 60.0  # since its last change, after which a file is not looked at twice


class Settled:
    """Whether a file is whole: it was the same when the folder was last listed, or is old.

    Args:
        now: the time in seconds since the epoch, as files have it.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._before: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._waiting = False

    def __call__(self, found: Found) -> bool:
        """Ask of each file of a listing."""
        self._seen[found.name] = found.stamp
        if not found.stamp or self._before.get(found.name) == found.stamp:
            return True
        changed = int(found.stamp.rpartition("-")[2]) / 1e9
        old = self._now() - changed > AGE_SECONDS
        self._waiting |= not old
        return old

    def next_listing(self) -> bool:
        """What was seen until now is what the next is compared with; whether a file has to wait."""
        self._before, self._seen = self._seen, {}
        waiting, self._waiting = self._waiting, False
        return waiting


def rounds(
    until_idle: float | None,
    *,
    poll_seconds: float = POLL_SECONDS,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Callable[[], None]]:
    """One item a look at the folder, until nothing has come for a while, or Ctrl-C while waiting.

    Args:
        until_idle: seconds without anything new; None to go on for good.
        poll_seconds: between two looks.
        now: the time in seconds.
        sleep: waits.

    Yields:
        A function to call where something new had come, or is on its way.
    """
    last = now()

    def came() -> None:
        nonlocal last
        last = now()

    while True:
        yield came
        if until_idle is not None and now() - last >= until_idle:
            return
        try:
            sleep(poll_seconds)
        except KeyboardInterrupt:
            return

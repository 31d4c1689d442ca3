"""Several reading processes at once, kept for as long as there are images to read."""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Self, TypeVar

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.isolated import ImageFacts, IsolatedReader
from medres.imaging.limits import LIMITS, Limits
from medres.imaging.reader_protocol import ReadRequest

Result = TypeVar("Result")
Key = TypeVar("Key")
Call = Callable[[IsolatedReader, ReadRequest], Result]
MOST_READERS = 8


def count_readers(workers: int | None) -> int:
    """How many reading processes there are: as many as asked for, else one a processor, to 8."""
    return workers or min(os.cpu_count() or 1, MOST_READERS)


class ReaderPool:
    """Reading processes, and a thread for each that asks it; use it as a context manager.

    Args:
        workers: how many; see `count_readers`.
        limits: of memory and time.
        program: that the processes run; see `IsolatedReader`.
    """

    def __init__(
        self, workers: int | None = None, limits: Limits = LIMITS, program: str | None = None
    ) -> None:
        self.count = count_readers(workers)
        self._readers = [IsolatedReader(limits, program) for _ in range(self.count)]
        self._free: queue.SimpleQueue[IsolatedReader] = queue.SimpleQueue()
        for reader in self._readers:
            self._free.put(reader)
        self._threads = ThreadPoolExecutor(self.count)
        self._closing = False

    def start(self) -> None:
        """Start every reading process, so that the first images need not wait for them."""
        for reader in self._readers:
            reader.start()

    def ask(
        self, call: Call[Result], request: ReadRequest
    ) -> Future[Result | UnreadableImageError]:
        """Ask the next reader that is free."""
        return self._threads.submit(self._read, call, request)

    def _read(self, call: Call[Result], request: ReadRequest) -> Result | UnreadableImageError:
        reader = self._free.get()  # as many readers as threads: one is free
        try:
            return call(reader, request)
        except UnreadableImageError as error:
            return error
        finally:
            self._free.put(reader)

    def now(self, call: Callable[[IsolatedReader, str], Result], path: str) -> Result:
        """Ask the next reader that is free, and wait for it; one that dies or hangs is asked twice.

        Raises:
            UnreadableImageError: what the reader raises.
        """
        found = self.ask(
            self._twice(lambda reader, request: call(reader, request.image)), ReadRequest(path)
        ).result()
        if isinstance(found, UnreadableImageError):
            raise found
        return found

    def read_as_done(
        self, call: Call[Result], requests: Iterable[tuple[Key, ReadRequest]], *, ahead: int = 0
    ) -> Generator[tuple[Key, Result | UnreadableImageError], None, None]:
        """Read many images, each given as soon as it is read: none waits for a slow one.

        Where a reading process dies or hangs, its image is read once more in another: whoever
        kills processes (an administrator, a system short of memory) spoils no file, and a file
        that kills its reader does so again.

        Args:
            call: what to ask of a reader.
            requests: each with a key of the caller's, taken as they are needed.
            ahead: images that are read or waiting to be taken; at least two a reader.

        Yields:
            A request's key with what came of it, in the order of completion.
        """
        waiting: dict[Future[Result | UnreadableImageError], Key] = {}

        def done() -> Generator[tuple[Key, Result | UnreadableImageError], None, None]:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()

        try:
            for key, request in requests:
                waiting[self.ask(self._twice(call), request)] = key
                if len(waiting) > max(2 * self.count, ahead):
                    yield from done()
            while waiting:
                yield from done()
        finally:
            for future in waiting:
                future.cancel()

    def _twice(self, call: Call[Result]) -> Call[Result]:
        def read(reader: IsolatedReader, request: ReadRequest) -> Result:
            try:
                return call(reader, request)
            except UnreadableImageError as error:
                died = error.reason in (RejectReason.DECODER_CRASHED, RejectReason.TIMED_OUT)
                if self._closing or not died:
                    raise
            return call(reader, request)

        return read

    def close(self) -> None:
        """End every reading process, whatever it is at: nobody waits for a file that hangs."""
        self._closing = True
        for reader in self._readers:
            reader.interrupt()
        self._threads.shutdown(cancel_futures=True)
        for reader in self._readers:
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def inspect_ahead(
    requests: Iterable[ReadRequest], workers: int | None = None
) -> Generator[ImageFacts | UnreadableImageError, None, None]:
    """What many images are like, read in several processes, in order, a few ahead.

    Args:
        requests: taken as they are needed.
        workers: reading processes; None for one a processor, at most 8.

    Yields:
        What a request's image is like, or the error that it was refused with.
    """
    waiting: deque[Future[ImageFacts | UnreadableImageError]] = deque()
    with ReaderPool(workers) as pool:
        for request in requests:
            waiting.append(pool.ask(IsolatedReader.inspect, request))
            if len(waiting) > 2 * pool.count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

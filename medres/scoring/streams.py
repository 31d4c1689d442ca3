"""Batches through a network side by side, each with processors of its own.

On a CPU a network that shares each of its layers out among threads waits, at every layer, for the
slowest of them; on a machine that also reads images, that is the one whose processor is taken.
Batches that go their own way wait for nobody, and keep every processor busy.
"""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from medres.scoring.predictor import Predictor, place

Batch = TypeVar("Batch")
Outcome = TypeVar("Outcome")
MOST_STREAMS = 8  # a batch's activations each; from there on each takes several processors


class Streams:
    """Copies of a predictor, with the same weights in memory, and a thread for each.

    Args:
        predictor: whose network is brought to its device here. On a CPU there are as many streams
            as PyTorch has threads, to 8, which share those out; elsewhere one.
    """

    def __init__(self, predictor: Predictor) -> None:
        place(predictor.network, predictor.device)
        threads = torch.get_num_threads()
        self.count = min(threads, MOST_STREAMS) if predictor.device.type == "cpu" else 1
        self._threads = (threads, threads // self.count)
        self._free: queue.SimpleQueue[Predictor] = queue.SimpleQueue()
        for _ in range(self.count):
            self._free.put(replace(predictor, network=share_weights(predictor.network)))

    def map(
        self, forward: Callable[[Predictor, Batch], Outcome], batches: Iterable[Batch]
    ) -> Iterator[Outcome]:
        """What comes of each batch, in the order of completion.

        Args:
            forward: called in a stream's thread, with the stream's predictor.
            batches: taken as streams become free.
        """
        before, each = self._threads

        def run(batch: Batch) -> Outcome:
            torch.set_num_threads(each)  # of this thread, and of threads that are yet to begin
            predictor = self._free.get()  # as many as threads: one is free
            try:
                return forward(predictor, batch)
            finally:
                self._free.put(predictor)

        running: set[Future[Outcome]] = set()
        with ThreadPoolExecutor(self.count) as threads:
            try:
                for batch in batches:
                    running.add(threads.submit(run, batch))
                    while len(running) > self.count or _any_done(running):
                        yield _next_done(running)
                while running:
                    yield _next_done(running)
            finally:
                threads.shutdown(cancel_futures=True)
                torch.set_num_threads(before)


def share_weights(network: nn.Module) -> nn.Module:
    """A copy of a network, with hooks of its own and the same parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def _any_done(running: set[Future[Outcome]]) -> bool:
    return any(future.done() for future in running)


def _next_done(running: set[Future[Outcome]]) -> Outcome:
    future = wait(running, return_when=FIRST_COMPLETED).done.pop()
    running.remove(future)
    return future.result()

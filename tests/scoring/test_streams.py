"""Batches side by side: the same outcomes, one set of weights, and nothing left behind."""

import threading
from collections.abc import Iterator

import pytest
import torch

from medres.data.normalization import IntensityStatistics
from medres.models.resnet import GrayscaleResNet
from medres.scoring.predictor import Predictor, place
from medres.scoring.streams import Streams, share_weights
from medres.transforms.preprocessing import Preprocessing

CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(
    "display", 32, "pad", IntensityStatistics(0.0, 1.0, 0.5, 0.25, (0.1, 99.9), 1, 1, 1)
)


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(GrayscaleResNet(18, "port", 2), "multilabel", PREPROCESSING, CPU)


def test_every_batch_gets_the_scores_that_it_gets_alone(predictor: Predictor) -> None:
    batches = [(k, torch.randn(4, 1, 32, 32)) for k in range(12)]

    def forward(own: Predictor, batch: tuple[int, torch.Tensor]) -> tuple[int, torch.Tensor]:
        assert torch.get_num_threads() == 1
        return batch[0], own.score_batch(batch[1])

    found = dict(Streams(predictor).map(forward, batches))
    assert [*sorted(found)] == [*range(12)]
    torch.set_num_threads(1)
    for number, images in batches:
        assert torch.equal(found[number], predictor.score_batch(images))


def test_as_many_batches_run_at_once_as_there_are_threads(predictor: Predictor) -> None:
    together = threading.Barrier(3, timeout=30)
    streams = Streams(predictor)
    assert streams.count == 3
    own = {id(p.network) for p in streams.map(lambda p, _: (together.wait(), p)[1], range(6))}
    assert len(own) == 3


def test_batches_are_taken_one_ahead_and_no_more(predictor: Predictor) -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    outcomes = Streams(predictor).map(lambda _, batch: batch, batches())
    for done, _ in enumerate(outcomes, start=1):
        assert len(taken) <= done + 4
    assert len(taken) == 20


def test_a_failure_reaches_the_one_who_asked(predictor: Predictor) -> None:
    def forward(_: Predictor, batch: int) -> int:
        if batch == 2:
            raise MemoryError("no room")
        return batch

    with pytest.raises(MemoryError, match="no room"):
        [*Streams(predictor).map(forward, range(9))]
    assert torch.get_num_threads() == 3


def test_stopping_early_leaves_no_thread_and_the_processes_own_count(predictor: Predictor) -> None:
    before = threading.active_count()
    outcomes = Streams(predictor).map(lambda _, batch: batch, iter(range(1000)))
    next(outcomes)
    outcomes.close()
    assert threading.active_count() == before
    counts: list[int] = []
    fresh = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert counts == [3]


def test_shared_weights_are_the_same_memory_and_hooks_are_not(predictor: Predictor) -> None:
    network = predictor.network
    shared = share_weights(network)
    state = network.state_dict()
    assert shared.state_dict().keys() == state.keys()
    assert all(t.data_ptr() == state[name].data_ptr() for name, t in shared.state_dict().items())
    seen: list[str] = []
    shared.register_forward_hook(lambda *_: seen.append("shared"))
    network.eval()(torch.zeros(1, 1, 32, 32))
    assert seen == []


def test_a_network_in_its_place_is_left_untouched(predictor: Predictor) -> None:
    network = predictor.network
    place(network, CPU)
    kernel = network.backbone.layer1[0].conv1.weight
    assert not network.training
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    versions = [weights.data_ptr() for weights in network.parameters()]
    place(network, torch.device("cpu:0"))
    assert [weights.data_ptr() for weights in network.parameters()] == versions

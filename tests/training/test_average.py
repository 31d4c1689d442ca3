import torch
from ignite.engine import Engine
from torch import nn

from medres.training.average import WeightAverage


def test_average_follows_the_weights_with_a_ramp_and_takes_buffers_along() -> None:
    network = nn.BatchNorm1d(1)
    average = WeightAverage(network, 0.9)

    def step(engine: Engine, value: float) -> None:
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(10 * value)
            network.num_batches_tracked += 1

    engine = Engine(step)
    average.attach(engine)
    engine.run([1.0, 2.0, 2.0])
    # AveragedModel copies at first; then d = min(.9, (1 + t) / (10 + t)) for t = 1, 2.
    second = 1.0 + (2.0 - 1.0) * (1 - 2 / 11)
    third = second + (2.0 - second) * (1 - 3 / 12)
    assert torch.isclose(average.averaged_network.weight, torch.tensor(third))
    assert torch.isclose(average.averaged_network.running_mean, torch.tensor(10 * third))
    assert average.averaged_network.num_batches_tracked == 3


def test_average_goes_on_from_its_saved_state() -> None:
    network = nn.Linear(1, 1)
    first = WeightAverage(network, 0.5)
    first.average.update_parameters(network)
    second = WeightAverage(nn.Linear(1, 1), 0.5)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.averaged_network.weight, network.weight)
    assert int(second.average.n_averaged) == 1


def test_average_waits_for_the_last_part_of_a_step() -> None:
    network = nn.Linear(1, 1)
    average = WeightAverage(network, 0.5, every=3)
    engine = Engine(lambda *_: None)
    average.attach(engine)
    engine.run(range(7))
    assert int(average.average.n_averaged) == 2


def test_average_passes_by_what_never_trained_and_keeps_what_did() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    frozen, trained = network[0].weight, network[1].weight
    frozen.requires_grad_(False)
    average = WeightAverage(network, 0.5)
    mean = average.averaged_network[1].weight
    written = average.averaged_network[0].weight._version

    def step(_: Engine, value: float) -> None:
        with torch.no_grad():
            trained.fill_(value)
        trained.requires_grad_(value < 3)  # frozen at last: its average still moves

    engine = Engine(step)
    average.attach(engine)
    engine.run([1.0, 2.0, 3.0])
    second = 1.0 + (2.0 - 1.0) * (1 - 2 / 11)
    assert torch.isclose(mean, torch.tensor(second + (3.0 - second) * (1 - 3 / 12)))
    assert torch.equal(average.averaged_network[0].weight, frozen)
    assert average.averaged_network[0].weight._version == written + 1  # AveragedModel's first copy

    resumed = WeightAverage(network, 0.5)
    resumed.load_state_dict(average.state_dict())
    assert resumed.trained == {"1.weight"}

import math

import pytest
import torch

from medres.guard.distance import Distance


def draw(n: int, seed: int = 0) -> torch.Tensor:
    """Correlated values of four dimensions."""
    mixing = torch.tensor([[2.0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0.5, 0], [0, 0, 0.2, 0.1]])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=generator, dtype=torch.float64) @ mixing.double() + 5


def test_distance_is_mahalanobis_with_the_covariance_of_probabilistic_components() -> None:
    values, probe = draw(200), draw(5, seed=1)
    distance = Distance.fit(values)
    k = len(distance.variances)
    assert k == 3
    standardised = (values - values.mean(0)) / values.std(0)
    eigenvalues, vectors = torch.linalg.eigh(torch.cov(standardised.T))
    rest = eigenvalues[: 4 - k].mean()
    covariance = vectors[:, 4 - k :] @ torch.diag(eigenvalues[4 - k :] - rest)
    covariance = covariance @ vectors[:, 4 - k :].T + rest * torch.eye(4, dtype=torch.float64)
    x = (probe - values.mean(0)) / values.std(0)
    squares = torch.einsum("nd,de,ne->n", x, torch.linalg.inv(covariance), x)
    torch.testing.assert_close(distance.of(probe), (squares / 4).log(), rtol=1e-6, atol=1e-8)


def test_distance_grows_with_the_deviation_and_ignores_scale() -> None:
    values = draw(100)
    distance = Distance.fit(values)
    steps = torch.stack([values.mean(0) + k * torch.ones(4) for k in (1, 2, 4, 8)])
    found = distance.of(steps)
    assert (found.diff() > 0).all()
    scaled = Distance.fit(values * 1000).of(steps * 1000)
    torch.testing.assert_close(scaled, found, rtol=1e-6, atol=1e-6)


def test_what_never_varied_in_training_counts_when_it_does() -> None:
    values = draw(100)
    values[:, 3] = 7.0
    distance = Distance.fit(values)
    probe = values[:1].clone()
    probe[0, 3] = 7.5
    assert math.isfinite(distance.of(probe).item())
    assert distance.of(probe).item() > distance.of(values).max().item()


def test_fit_is_the_same_each_time_and_leaves_the_random_numbers_alone() -> None:
    values = torch.randn(60, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = Distance.fit(values), Distance.fit(values)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.of(values), second.of(values))
    assert len(first.variances) == 14  # a quarter of 59


@pytest.mark.parametrize("n", [2, 3, 9])
def test_a_few_images_or_equal_ones_give_finite_distances(n: int) -> None:
    assert Distance.fit(draw(n)).of(draw(3, seed=1)).isfinite().all()
    assert Distance.fit(torch.ones(n, 4, dtype=torch.float64)).of(draw(3)).isfinite().all()


def test_tensors_read_back() -> None:
    distance = Distance.fit(draw(50))
    again = Distance.from_tensors(distance.tensors())
    assert torch.equal(again.of(draw(5, 1)), distance.of(draw(5, 1)))


def test_what_never_varied_in_training_still_may_by_a_hundredth() -> None:
    values = torch.tensor([[0.0, 5.0], [2.0, 5.0]], dtype=torch.float64)
    fitted = Distance.fit(values)
    # the spreads are √2 and 0, whose root mean square is 1
    assert fitted.spread.tolist() == pytest.approx([2**0.5, 0.01], abs=1e-9)
    assert fitted.variances.tolist() == pytest.approx([1.0])
    assert fitted.rest.tolist() == pytest.approx([1e-4])


def test_distance_is_that_of_the_whole_decomposition() -> None:
    generator = torch.Generator().manual_seed(4)
    mixing = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    drawn = torch.randn(43, 12, generator=generator, dtype=torch.float64) @ mixing + 5
    training, fresh = drawn[:41], drawn[41:]  # (41 - 1) // 4 = 10 directions of 12 are kept
    mean, std = training.mean(0), training.std(0)
    _, values, directions = torch.linalg.svd((training - mean) / std, full_matrices=False)
    variances = values.square() / 40
    variances[10:] = variances[10:].mean()  # all others share what is left
    along = ((fresh - mean) / std) @ directions.T
    expected = ((along.square() / variances).sum(1) / 12).log()
    torch.testing.assert_close(Distance.fit(training).of(fresh), expected, rtol=1e-6, atol=1e-6)

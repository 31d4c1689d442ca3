from __future__ import annotations

import math

import pytest
import torch

from medres.metrics.resampling import Cells, draw_counts, poisson_mean, poisson_table

CPU = torch.device("cpu")


@pytest.mark.parametrize("n", [1, 2, 25, 26, 400, 4099])
def test_each_resample_is_as_many_draws_as_there_are_patients(n: int):
    counts = torch.cat([*draw_counts(n, 100, seed=1, device=CPU)])
    assert counts.shape == (100, n)
    assert (counts.sum(1) == n).all()


@pytest.mark.parametrize("n", [2, 30, 500])
def test_counts_are_multinomial_in_mean_variance_and_covariance(n: int):
    counts = torch.cat([*draw_counts(n, 40_000, seed=3, device=CPU)]).double()
    error = 4 / math.sqrt(40_000)
    assert counts.mean(0) == pytest.approx(torch.ones(n), abs=error)
    # Multinomial(n; 1/n): variance 1 - 1/n, covariance -1/n.
    assert float(counts.var(0).mean()) == pytest.approx(1 - 1 / n, rel=0.01)
    assert float((counts[:, 0] * counts[:, 1]).mean()) - 1 == pytest.approx(-1 / n, abs=2 * error)


def test_one_patients_counts_are_binomial_where_poisson_counts_would_not_be():
    counts = torch.cat([*draw_counts(3, 60_000, seed=0, device=CPU)])[:, 0]
    found = torch.bincount(counts.int(), minlength=4) / 60_000
    assert found.tolist() == pytest.approx([8 / 27, 12 / 27, 6 / 27, 1 / 27], abs=0.008)
    counts = torch.cat([*draw_counts(40, 30_000, seed=0, device=CPU)])[:, 7]
    found = torch.bincount(counts.int(), minlength=9) / 30_000
    binomial = [math.comb(40, k) * 39 ** (40 - k) / 40**40 for k in range(9)]
    assert found[:9].tolist() == pytest.approx(binomial, abs=0.012)


def test_draws_are_the_same_for_a_seed_whatever_the_blocks(monkeypatch):
    def all_draws(seed: int):
        return torch.cat([*draw_counts(300, 50, seed, CPU)])

    whole = all_draws(1)
    assert not all_draws(2).equal(whole)
    monkeypatch.setattr("medres.metrics.resampling.BLOCK_ELEMENTS", 1000)
    assert all_draws(1).equal(whole)


def test_blocks_are_sized_by_the_rows_that_a_statistic_holds():
    blocks = [*draw_counts(10, 100, 0, CPU, rows=2**17)]
    assert [len(block) for block in blocks] == [2] * 50


@pytest.mark.parametrize("n", [100, 10_000, 10**6])
def test_the_table_is_poisson_to_16_bits(n: int):
    mean = poisson_mean(n)
    table = poisson_table(mean).double()
    assert float(table.mean()) == pytest.approx(mean, rel=1e-4)
    assert float(table.var(correction=0)) == pytest.approx(mean, rel=1e-3)
    for k in range(6):
        share = float((table == k).double().mean())
        assert share == pytest.approx(math.exp(-mean) * mean**k / math.factorial(k), abs=2**-16)


def test_cells_are_multinomial_with_their_sizes_and_no_patient_is_lost():
    sizes = torch.tensor([1, 8, 3, 8, 2])
    cells = Cells(torch.repeat_interleave(torch.arange(5), sizes), sizes)
    for repeat in (1, 20):  # 22 patients are all drawn one by one, 440 mostly by the table
        n, many = 22 * repeat, sizes.repeat(repeat)
        of_patient = torch.repeat_interleave(torch.arange(5 * repeat), many)
        cells = Cells(of_patient, many)
        counts = torch.cat([*draw_counts(n, 30_000, 2, CPU, cells=cells)]).double()
        assert (counts.sum(1) == n).all()
        assert counts.mean(0)[:5].tolist() == pytest.approx(sizes.tolist(), abs=0.08)
        expected = [float(k * (1 - k / n)) for k in sizes]
        assert counts.var(0)[:5].tolist() == pytest.approx(expected, rel=0.06)


def test_the_tables_change_a_covariance_by_less_than_1_in_4000_for_any_number_of_patients():
    for n in sorted({round(17 * 1.08**k) for k in range(170)}):
        for size in range(1, 9):
            share = torch.bincount(poisson_table(poisson_mean(n) * size).int()).double() / 2**16
            count = torch.arange(len(share), dtype=torch.float64)
            mean = float(share @ count)
            variance = float(share @ count**2) - mean**2
            assert abs(variance - mean) < 2.5e-4 * size


def test_the_largest_cells_table_is_poisson():
    table = poisson_table(8.0).double()
    assert float(table.mean()) == pytest.approx(8, rel=1e-4)
    assert float(table.var(correction=0)) == pytest.approx(8, rel=1e-3)

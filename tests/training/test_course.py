import pytest
import torch

from medres.training.course import COURSES, course_factor, one_cycle_momentum


def test_cosine_rises_linearly_and_falls_as_half_a_cosine():
    factors = [course_factor("cosine", step, 8, 4) for step in range(8)]
    assert factors == pytest.approx(
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627]
    )


def test_cosine_without_warmup_starts_at_the_full_rate():
    assert course_factor("cosine", 0, 10, 0) == 1.0


def test_cosine_of_pytorch_is_the_same():
    tensor = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([tensor], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    for step in range(30):
        assert course_factor("cosine", step, 30, 0) == pytest.approx(
            optimizer.param_groups[0]["lr"]
        )
        optimizer.step()
        scheduler.step()


def test_constant_has_the_warmup_alone():
    assert [course_factor("constant", step, 5, 2) for step in range(5)] == [0.5, 1, 1, 1, 1]


def test_linear_rises_and_falls_in_straight_lines():
    factors = [course_factor("linear", step, 6, 2) for step in range(6)]
    assert factors == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])


def test_momentum_of_one_cycle_stays_between_its_ends():
    momenta = [one_cycle_momentum(step, 50) for step in range(53)]
    assert min(momenta) == pytest.approx(0.85)
    assert momenta[0] == 0.95
    assert momenta[49:] == pytest.approx([0.95] * 4)


def test_one_cycle_of_pytorch_is_the_same():
    tensor = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([tensor], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=41)
    for step in range(41):
        expected = optimizer.param_groups[0]["lr"]
        assert course_factor("one_cycle", step, 41, 0) == pytest.approx(expected, rel=1e-6)
        optimizer.step()
        if step < 40:
            scheduler.step()


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 50])
def test_factor_stays_in_its_range_and_holds_past_the_end(course, total):
    factors = [course_factor(course, step, total, min(2, total - 1)) for step in range(total + 3)]
    assert all(0 < factor <= 1 for factor in factors)
    assert len(set(factors[total - 1 :])) == 1

"""How far apart two sets of probabilities are, by hand."""

import numpy as np
import pytest

from medres.export.parity import measure_parity

OWN = np.array([[0.1, 0.5], [0.2, 0.5], [0.3, 0.5], [0.4, 0.5]])
LABELS = np.array([[0.0, 1], [1, 1], [0, 1], [1, np.nan]])


def test_differences_and_aurocs_are_those_of_the_probabilities() -> None:
    found = OWN.copy()
    found[1, 0] = 0.35  # passes the negative at .3: three of four pairs in order become four
    parity = measure_parity(OWN, found, ("a", "b"), LABELS)
    assert parity.images == 4
    assert parity.largest == pytest.approx(0.15)
    assert parity.mean == pytest.approx(0.15 / 8)
    assert parity.auroc == {"a": (0.75, 1.0)}  # b has positives alone
    assert parity.auroc_change == 0.25


@pytest.mark.parametrize(
    ("precision", "accepted", "refused"),
    [("fp32", 0.9e-4, 1.1e-4), ("bf16", 0.0099, 0.0101), ("int8", 0.0199, 0.0201)],
)
def test_each_precision_has_its_limit(precision: str, accepted: float, refused: float) -> None:
    for amount in (accepted, -accepted):
        assert measure_parity(OWN, OWN + amount).refusal(precision) == ""
    reason = measure_parity(OWN, OWN - refused).refusal(precision)
    assert reason.startswith("a probability differs by ")
    assert f"images; {precision} may differ by " in reason


def test_a_changed_auroc_is_refused_however_small_the_differences() -> None:
    own = np.array([[0.50000], [0.50001]])
    parity = measure_parity(own, own[::-1], ("a",), np.array([[0.0], [1.0]]))
    assert parity.largest < 1e-4
    assert parity.refusal("fp32") == "an AUROC changes by 1 on 2 images; it may change by 0.002"


def test_what_is_no_probability_never_agrees() -> None:
    found = OWN.copy()
    found[0, 0] = np.nan
    assert measure_parity(OWN, found, ("a", "b"), LABELS).largest == np.inf
    assert measure_parity(OWN, OWN[:, :1]).refusal("int8").startswith("a probability differs by in")
    assert measure_parity(OWN, OWN).auroc_change is None

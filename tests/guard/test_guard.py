import dataclasses
import math

import guarded_model
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from medres.errors import GuardError
from medres.guard.guard import COLUMNS, FalseAlarms, Guard, assign_folds
from medres.guard.headers import KnownHeaders
from medres.guard.measurements import Measurements
from medres.models.resnet import GrayscaleResNet

NOTHING_KNOWN = KnownHeaders({}, {}, 0.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> GrayscaleResNet:
    return guarded_model.build_network()


@pytest.fixture(scope="module")
def guard(network) -> Guard:
    return guarded_model.fit_guard(network)


@pytest.fixture(scope="module")
def own(network) -> Measurements:
    return guarded_model.measure(network, guarded_model.anatomy(100, 3))


def wrong_images(kind: str) -> torch.Tensor:
    images = guarded_model.anatomy(40, 4)
    low, high = guarded_model.LIMITS
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator)
    return {
        "inverted": low + high - images,
        "flipped": images.flip(-1),
        "upside down": images.flip(-2),
        "turned by 90": images.rot90(1, (-2, -1)),
        "turned by 180": images.rot90(2, (-2, -1)),
        "blank": 0.5 + 0.01 * noise,
        "noise": noise.clamp(low, high),
        "noisy": (images + noise).clamp(low, high),
        "half": torch.where(torch.arange(32) < 16, images, torch.full_like(images, low)),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("inverted", {"pixels", "outline"}),
        ("flipped", {"orientation"}),
        ("upside down", {"orientation"}),
        ("turned by 90", {"orientation"}),
        ("turned by 180", {"orientation"}),
        ("blank", {"pixels"}),
        ("noise", {"pixels"}),
        ("noisy", {"pixels"}),
        ("half", {"pixels"}),
    ],
)
def test_wrong_images_are_flagged_with_their_reason(kind, reasons, guard, network, own) -> None:
    measured = guarded_model.measure(network, wrong_images(kind))
    verdicts = guard.check([guarded_model.record()] * 40, measured)
    assert sum(verdict.reason in reasons for verdict in verdicts) >= 38
    ours = guard.scores(own).max(dim=1).values
    theirs = [verdict.distance for verdict in verdicts]
    assert roc_auc_score([0] * 100 + [1] * 40, [*ours.tolist(), *theirs]) > 0.99


def test_own_images_are_flagged_no_more_often_than_promised(guard, own) -> None:
    verdicts = guard.check([guarded_model.record()] * 100, own)
    flagged = sum(verdict.flagged for verdict in verdicts)
    assert flagged <= binom.ppf(0.999, 100, guard.false_alarms.interval()[1])
    for verdict in verdicts:
        assert verdict.flagged == (verdict.distance > guard.false_alarms.threshold)
        assert verdict.flagged == (verdict.p_value <= 0.02)
        assert bool(verdict.reason) == verdict.flagged


def test_header_alone_flags_an_image_that_looks_right(guard, own) -> None:
    records = [guarded_model.record(modality=m) for m in ("CR", "US")]
    fine = [k for k, v in enumerate(guard.check([records[0]] * 100, own)) if not v.flagged][:2]
    right, wrong = guard.check(records, own[fine])
    assert (right.flagged, right.reason) == (False, "")
    assert (wrong.flagged, wrong.reason) == (True, "modality")
    assert guard.check_header(records[1]) == "modality"


def test_verdict_does_not_depend_on_the_other_images(guard, own) -> None:
    together = guard.check([guarded_model.record()] * 100, own)
    for k in (0, 57, 99):
        (alone,) = guard.check([guarded_model.record()], own[[k]])
        assert alone.distance == pytest.approx(together[k].distance, rel=1e-9)
        assert alone.p_value == together[k].p_value


def test_features_that_are_not_finite_are_far(guard, own) -> None:
    parts = {name: values[:1].clone() for name, values in own.parts.items()}
    parts["layer4"][0, 3] = math.nan
    (verdict,) = guard.check([guarded_model.record()], Measurements(parts))
    assert (verdict.flagged, verdict.distance) == (True, 1e6)


def alarms(n: int, asked: float, headers: float = 0.0) -> FalseAlarms:
    return FalseAlarms(asked, headers, torch.arange(1.0, n + 1, dtype=torch.float64), n)


def test_threshold_is_the_conformal_quantile() -> None:
    ninety_nine = alarms(99, 0.05)  # (1 - .05) x 100 = the 95th smallest
    assert ninety_nine.threshold == 95
    assert ninety_nine.promised == pytest.approx(0.05)
    p = ninety_nine.p_values(torch.tensor([0.5, 95.0, 95.5, 99.0, 100.0], dtype=torch.float64))
    assert p.tolist() == pytest.approx([1.0, 0.06, 0.05, 0.02, 0.01])


def test_rate_of_one_threshold_has_the_beta_interval() -> None:
    # Of 99 distances the 95th: the share beyond is below x where 5 of 99 or more draws are.
    low, high = alarms(99, 0.05).interval()
    assert binom.sf(4, 99, low) == pytest.approx(0.025)
    assert binom.sf(4, 99, high) == pytest.approx(0.975)
    assert (low, high) == pytest.approx((0.0166, 0.1002), abs=1e-4)


def test_few_validation_images_promise_no_more_than_they_can_tell() -> None:
    few = alarms(19, 0.02)
    assert few.threshold == 19
    assert few.promised == pytest.approx(0.05)


def test_header_false_alarms_are_taken_from_the_rate_that_was_asked_for() -> None:
    both = alarms(199, 0.05, headers=0.02)
    assert both.rate == pytest.approx(0.03)
    assert both.threshold == 199 + 1 - 6
    assert both.promised == pytest.approx(0.05)


def test_over_many_draws_the_rate_is_the_promised_one() -> None:
    generator = torch.Generator().manual_seed(0)
    flagged = []
    for _ in range(2000):
        drawn = torch.rand(61, generator=generator, dtype=torch.float64)
        calibrated = FalseAlarms(0.05, 0.0, drawn[:60].sort().values, 60)
        flagged.append(float(drawn[60]) > calibrated.threshold)
    # 3 of 61 may be as far: .0492; three standard errors of 2,000 draws are .0145
    assert sum(flagged) / 2000 == pytest.approx(3 / 61, abs=0.0145)


def test_note_says_that_validation_is_too_small(guard) -> None:
    assert guard.notes() == []
    small = dataclasses.replace(guard, false_alarms=alarms(19, 0.02))
    (note,) = small.notes()
    assert note == (
        "The guard may flag 5.0% of the model's own images where 2.0% was asked for: 19 "
        "validation images tell no smaller rate."
    )
    assert dataclasses.replace(guard, false_alarms=None).notes() == []


def test_patients_are_left_out_together() -> None:
    fold = assign_folds(["a", "a", "b", "c", "d", "e", "f", "f"])
    assert fold.tolist() == [0, 0, 1, 2, 3, 4, 0, 0]
    assert assign_folds(["a", "a", "a"]).tolist() == [0, 1, 2]


def test_scores_of_left_out_training_images_have_median_zero(guard, network) -> None:
    fresh = guard.scores(guarded_model.measure(network, guarded_model.anatomy(100, 9)))
    assert fresh.shape == (100, len(COLUMNS))
    assert fresh.median(dim=0).values.abs().max() < 1


def test_guard_needs_images_a_rate_and_calibration(guard, network, own) -> None:
    with pytest.raises(GuardError, match=r"9 training images are too few .* \(guard\.fit: false\)"):
        Guard.fit(own[:9], guarded_model.patients(9), NOTHING_KNOWN, (-2.0, 3.0))
    with pytest.raises(GuardError, match="9 validation images are too few"):
        guard.calibrate(own[:9], guarded_model.patients(9))
    with pytest.raises(GuardError, match=r"false_alarms: 1\.5 is not accepted; give a share"):
        guard.calibrate(own, guarded_model.patients(100), 1.5)
    bare = dataclasses.replace(guard, false_alarms=None)
    with pytest.raises(GuardError, match="was not calibrated; call `calibrate` before `check`"):
        bare.check([guarded_model.record()] * 100, own)

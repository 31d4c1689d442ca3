import json
from dataclasses import FrozenInstanceError, replace

import pytest
from schedules import constant, rates

from medres.errors import ConfigError
from medres.training.presets import PRESETS, build_schedule
from medres.training.schedule import Schedule


def test_newly_opened_stages_warm_up_from_almost_nothing():
    schedule = build_schedule(
        "freeze_then_finetune",
        epochs=10,
        steps_per_epoch=10,
        frozen_epochs=2,
        course="constant",
        warmup_epochs=0,
        stage_warmup_epochs=1,
    )
    shares = [schedule.at(step)["layer1"].learning_rate / 5e-4 for step in range(19, 32)]
    assert shares == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1])
    assert {schedule.at(step)["head"].learning_rate for step in range(100)} == {1e-3}


def test_all_stages_share_the_warmup_and_the_cosine():
    schedule = build_schedule(
        "discriminative", epochs=4, steps_per_epoch=5, warmup_epochs=1, stem="adapter"
    )
    assert rates(schedule, 0)["head"] == pytest.approx(2e-4)
    assert rates(schedule, 4)["head"] == pytest.approx(1e-3)
    for step in range(20):
        shares = [state.learning_rate for state in schedule.at(step).values()]
        assert shares[2] / shares[0] == pytest.approx(0.5)
    assert 0 < rates(schedule, 19)["head"] < 2e-5


def test_frozen_stage_has_no_rate_and_batch_norm_in_evaluation_mode():
    before = constant("freeze_then_finetune", batch_norm="train").at(0)["layer3"]
    after = constant("freeze_then_finetune", batch_norm="train").at(50)["layer3"]
    assert (before.active, before.learning_rate, before.batch_norm) == (False, 0.0, "eval")
    assert (after.active, after.batch_norm) == (True, "train")
    assert constant("full", batch_norm="eval").at(50)["layer3"].batch_norm == "eval"


def test_schedule_past_its_end_stays_at_the_last_step():
    schedule = build_schedule("discriminative", epochs=2, steps_per_epoch=5)
    assert schedule.at(10) == schedule.at(9) == schedule.at(10_000)


def test_schedule_cannot_be_changed():
    schedule = constant("full")
    with pytest.raises(FrozenInstanceError):
        schedule.total_steps = 3
    with pytest.raises(TypeError):
        schedule.at(0)["head"] = None


def test_negative_step_is_refused():
    with pytest.raises(ConfigError, match="step: -1 is not accepted; the first global step is 0"):
        constant("full").at(-1)


def test_table_has_a_row_an_epoch():
    table = build_schedule(
        "gradual", epochs=5, steps_per_epoch=4, frozen_epochs=1, warmup_epochs=0
    ).as_table()
    assert [row["epoch"] for row in table] == [1, 2, 3, 4, 5]
    assert [row["phase"] for row in table] == [1, 2, 3, 4, 5]
    assert [len(row["learning_rates"]) for row in table] == [1, 2, 3, 4, 6]
    assert table[0]["frozen"] == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    assert table[1]["batch_norm_eval"] == ["conv1", "layer1", "layer2", "layer3"]
    # the cosine at step 7 of 20: (1 + cos(63°)) / 2
    assert table[1]["learning_rates"]["head"] == pytest.approx(0.7269952e-3)
    json.dumps(table)


@pytest.mark.parametrize("preset", PRESETS)
def test_schedule_survives_json(preset):
    schedule = constant(preset)
    assert Schedule.from_json(json.loads(json.dumps(schedule.as_json()))) == schedule


def test_json_of_something_else_is_refused():
    with pytest.raises(
        ConfigError, match=r"schedule: not one that medres wrote .*its keys are pres"
    ):
        Schedule.from_json({"preset": "full"})
    values = constant("full").as_json()
    with pytest.raises(ConfigError, match="not one that medres wrote"):
        Schedule.from_json({**values, "gamma": 0.1})
    values["stages"][0]["stage"] = "stem"
    with pytest.raises(ConfigError, match="stage: 'stem' is not accepted"):
        Schedule.from_json(values)


def test_openings_begin_the_phases():
    assert constant("gradual").openings == (0, 20, 40, 60, 80)
    assert replace(constant("full")).openings == (0,)


def test_stage_that_is_still_warming_up_at_the_end_stays_there():
    schedule = build_schedule(
        "freeze_then_finetune",
        epochs=2,
        steps_per_epoch=5,
        frozen_epochs=1.6,
        course="constant",
        warmup_epochs=0,
        stage_warmup_epochs=1,
    )
    assert schedule.at(9)["layer1"].learning_rate == pytest.approx(5e-4 * 2 / 5)
    assert schedule.at(10) == schedule.at(9)


def test_stage_that_never_opens_is_frozen_in_every_row():
    table = constant("surgical").as_table()
    assert all(row["frozen"] == ["layer2", "layer3", "layer4"] for row in table)
    assert table[-1]["batch_norm_eval"] == ["layer2", "layer3", "layer4"]
    assert [row["phase"] for row in table] == [1] * 10


def test_table_names_stages_of_which_the_norms_train_alone():
    (first, *_) = constant("batch_norm_affine").as_table()
    assert first["affine_only"] == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    assert first["frozen"] == []

import itertools
import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.errors import ConfigError
from medres.training.schedule import (
    PRESETS,
    ResolvedPreset,
    Schedule,
    build_schedule,
    resolve_preset,
)

STAGES = ("adapter", "conv1", "layer1", "layer2", "layer3", "layer4", "head")


def constant(preset, **options):
    """A schedule without warm-up or decay, so that its rates are the preset's own."""
    settings = {"epochs": 10, "steps_per_epoch": 10, "frozen_epochs": 2, "stem": "adapter"}
    return build_schedule(
        preset,
        **{**settings, **options},
        course="constant",
        warmup_epochs=0,
        stage_warmup_epochs=0,
    )


def rates(schedule, step):
    return {n: round(s.learning_rate, 9) for n, s in schedule.at(step).items() if s.active}


def test_freeze_then_finetune_has_the_seeds_figures():
    schedule = constant("freeze_then_finetune")
    assert rates(schedule, 19) == {"adapter": 1e-3, "head": 1e-3}
    assert rates(schedule, 20) == {
        "adapter": 1e-3,
        "conv1": 5e-4,
        "layer1": 5e-4,
        "layer2": 2.5e-4,
        "layer3": 1.25e-4,
        "layer4": 1.25e-4,
        "head": 1e-3,
    }


def test_discriminative_has_the_seeds_figures_from_the_first_step():
    assert rates(constant("discriminative"), 0) == {
        "adapter": 1e-3,
        "conv1": 5e-4,
        "layer1": 5e-4,
        "layer2": 3e-4,
        "layer3": 2e-4,
        "layer4": 2e-4,
        "head": 1e-3,
    }


def test_gradual_opens_one_stage_at_a_time_from_the_head_down():
    schedule = constant("gradual")
    opened = [tuple(rates(schedule, step)) for step in (0, 19, 20, 39, 40, 60, 80, 99)]
    assert opened == [
        ("adapter", "head"),
        ("adapter", "head"),
        ("adapter", "layer4", "head"),
        ("adapter", "layer4", "head"),
        ("adapter", "layer3", "layer4", "head"),
        ("adapter", "layer2", "layer3", "layer4", "head"),
        STAGES,
        STAGES,
    ]
    assert rates(schedule, 99)["layer4"] == 2e-4


def test_full_trains_everything_at_one_rate():
    assert set(rates(constant("full"), 0).values()) == {1e-3}


def test_rates_scale_with_the_base_learning_rate():
    schedule = constant("discriminative", base_learning_rate=4e-3)
    assert rates(schedule, 0)["layer2"] == pytest.approx(1.2e-3)


@pytest.mark.parametrize("stem", ["duplicate", "port"])
def test_networks_without_an_adapter_have_no_such_stage(stem):
    assert tuple(constant("gradual", stem=stem).at(0)) == STAGES[1:]


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


@settings(deadline=None, max_examples=60)
@given(
    preset=st.sampled_from(PRESETS),
    steps_per_epoch=st.integers(1, 40),
    epochs=st.integers(2, 30),
    frozen=st.floats(0, 0.24),
    warmup=st.floats(0, 0.99),
)
def test_stages_once_open_stay_open_and_all_open(preset, steps_per_epoch, epochs, frozen, warmup):
    schedule = build_schedule(
        preset,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        frozen_epochs=frozen * (epochs - 1 / steps_per_epoch),
        warmup_epochs=warmup * epochs,
    )
    steps = range(epochs * steps_per_epoch)
    active = [{n for n, s in schedule.at(i).items() if s.active} for i in steps]
    assert all(a <= b for a, b in itertools.pairwise(active))
    assert "head" in active[0]
    assert active[-1] == set(STAGES[1:])


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


def test_random_weights_resolve_every_preset_to_full_and_say_so():
    resolved = resolve_preset("gradual", weights_are_trained=False, batch_size=8, batch_norm="eval")
    assert (resolved.preset, resolved.batch_size, resolved.batch_norm) == ("full", 32, "train")
    text = " | ".join(resolved.notes)
    assert "preset gradual became full: the weights are random" in text
    assert "batch_norm eval became train" in text
    assert "batch_size 8 became 32" in text


def test_random_weights_with_a_fitting_configuration_need_no_notes():
    resolved = resolve_preset("full", weights_are_trained=False, batch_size=17)
    assert resolved == ResolvedPreset("full", 17, "train")


@pytest.mark.parametrize(("batch_size", "expected"), [(1, "eval"), (16, "eval"), (17, "train")])
def test_small_batches_keep_trained_statistics(batch_size, expected):
    resolved = resolve_preset("gradual", weights_are_trained=True, batch_size=batch_size)
    assert resolved == ResolvedPreset("gradual", batch_size, expected)


@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_batch_norm_as_asked_for_is_kept_for_trained_weights(batch_norm):
    resolved = resolve_preset("full", weights_are_trained=True, batch_size=8, batch_norm=batch_norm)
    assert resolved.batch_norm == batch_norm


def test_schedule_for_random_weights_is_full_and_notes_it():
    schedule = build_schedule(
        "freeze_then_finetune",
        epochs=2,
        steps_per_epoch=5,
        frozen_epochs=3,
        batch_norm="eval",
        weights_are_trained=False,
    )
    assert schedule.preset == "full"
    assert schedule.batch_norm == "train"
    assert all(state.active for state in schedule.at(0).values())
    assert schedule.notes[0].startswith("preset freeze_then_finetune became full")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"preset": "surgical"}, "preset: 'surgical' is not accepted; give one of freeze_then"),
        ({"batch_norm": "auto"}, "batch_norm: 'auto' is not accepted; give one of train, eval"),
        ({"course": "linear"}, "course: 'linear' is not accepted; give one of cosine"),
        ({"epochs": 0}, "epochs: 0 of 10 steps are not accepted; give at least one step"),
        ({"base_learning_rate": 0.0}, "base_learning_rate: 0 is not accepted; give a rate above"),
        ({"warmup_epochs": 8}, "warmup_epochs: 8 is not accepted; give 0 or more and less than"),
        ({"frozen_epochs": 2}, "frozen_epochs: 2 is not accepted; with 8 epochs gradual takes"),
        ({"frozen_epochs": 9}, "0 or more and less than 2, or its last stage never opens"),
        ({"frozen_epochs": -1}, "frozen_epochs: -1 is not accepted"),
        ({"stage_warmup_epochs": -1}, "stage_warmup_epochs: -1 is not accepted; give 0 or more"),
        ({"stem": "gray"}, "stem: 'gray' is not accepted; give one of duplicate, port, adapter"),
    ],
)
def test_impossible_schedules_are_refused(options, text):
    settings = {"preset": "gradual", "epochs": 8, "steps_per_epoch": 10, "frozen_epochs": 1}
    settings |= options
    with pytest.raises(ConfigError, match=text):
        build_schedule(settings.pop("preset"), **settings)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"preset": "all"}, "preset: 'all' is not accepted"),
        ({"batch_norm": "off"}, "batch_norm: 'off' is not accepted; give one of auto, train, eval"),
        ({"batch_size": 0}, "batch_size: 0 is not accepted; give at least 1"),
    ],
)
def test_impossible_presets_are_refused(options, text):
    settings = {"preset": "full", "weights_are_trained": True, "batch_size": 4} | options
    with pytest.raises(ConfigError, match=text):
        resolve_preset(settings.pop("preset"), **settings)


def test_openings_begin_the_phases():
    assert constant("gradual").openings == (0, 20, 40, 60, 80)
    assert replace(constant("full")).openings == (0,)
